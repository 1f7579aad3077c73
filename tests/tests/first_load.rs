//! The first load of the page, measured in a real Chromium: `cargo xtask test --long` runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;
use tequio_tests::{browser, network::Network};

const WAIT: Duration = Duration::from_secs(300);
/// Longest time from the press of the button to a verified head on this machine; half of it where
/// nothing else runs.
const LOOPBACK_MS_MAX: u64 = 1_000;
/// Longest time at 1.6 Mbit/s and with a processor four times as slow.
const SLOW_MS_MAX: u64 = 5_000;
/// Largest transfer of a first load over HTTP, including the headers of the responses.
const BYTES_MAX: u64 = 755_000;

#[test]
fn a_first_visit_is_quick_on_a_slow_link() {
    let network = Network::start(4, 1).unwrap();
    let url = network.page(0).unwrap();
    let mut script =
        browser::script(&network, "first-load", &["--url", &url, "--loads", "5"]).unwrap();
    let limits = [("loopback", LOOPBACK_MS_MAX), ("slow", SLOW_MS_MAX)];
    // All figures are printed before the first is checked.
    let measured = limits.map(|_| script.event("measured", WAIT).unwrap());
    measured.iter().for_each(|figures| eprintln!("first load: {figures}"));
    for ((profile, ms_max), figures) in limits.into_iter().zip(&measured) {
        assert_eq!(figures["profile"], profile);
        assert!(figures["head_ms"].as_u64().unwrap() <= ms_max, "{figures}");
        assert!(figures["bytes"].as_u64().unwrap() <= BYTES_MAX, "{figures}");
    }
    assert!(script.finish(WAIT).unwrap().success());
}
