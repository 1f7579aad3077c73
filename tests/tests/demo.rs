//! `cargo xtask demo` as a person runs it, with the existing build: in pipes, with a real Chromium,
//! until Ctrl-C.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::TcpStream,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tequio_tests::{
    browser,
    network::{binary, root},
};

const WAIT: Duration = Duration::from_secs(120);

/// The running demo. Dropping it ends it.
struct Demo {
    child: Child,
    models: Lines<BufReader<ChildStdout>>,
    messages: Lines<BufReader<ChildStderr>>,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(binary("xtask"));
        command
            .current_dir(root())
            .args(["demo", "--built", "--json", "--port", "0", "--rounds", "60"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let models = BufReader::new(child.stdout.take().unwrap()).lines();
        let messages = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, models, messages }
    }

    /// Returns the next message that contains this text. At the end, all messages have been read.
    fn message(&mut self, part: &str) -> String {
        let found = self.messages.by_ref().map_while(Result::ok).find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("the demo ended before it printed {part:?}"))
    }

    /// Returns the object of the next trained model.
    fn model(&mut self) -> Value {
        serde_json::from_str(
            &self.models.next().expect("the demo ended before a model was trained").unwrap(),
        )
        .unwrap()
    }

    fn interrupt(&self) {
        let status =
            Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < WAIT, "the demo does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Signalled first, so that it ends the processes that it has started.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.interrupt();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn the_demo_waits_for_a_tab_trains_on_enter_and_stays_until_ctrl_c() {
    let logs = TempDir::new().unwrap();
    let mut demo = Demo::start();
    let line = demo.message("The page:");
    let url = line.split_whitespace().last().unwrap().to_owned();
    let tab = |name: &str, after: &str| {
        let folder = logs.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        browser::script_in(&folder, "demo", &["--url", &url, "--after", after]).unwrap()
    };

    let mut first = tab("first", "");
    demo.message("press “Join and compute” there");
    first.event("joined", WAIT).unwrap();
    let mut keys = demo.child.stdin.take().unwrap();
    keys.write_all(b"\n").unwrap();
    let model = demo.model();
    assert!(
        model["units_browser"].as_u64().unwrap() > 0,
        "the tab takes part from the start: {model}"
    );
    assert_eq!(first.event("verified", WAIT).unwrap()["model_cid"], model["model_cid"]);

    keys.write_all(b"\n").unwrap();
    let second = demo.model();
    assert_ne!(second["model_cid"], model["model_cid"]);

    // Without Enter, the next tab starts the next training.
    drop(keys);
    assert!(first.finish(WAIT).unwrap().success());
    demo.message("training 2");
    let mut next = tab("next", second["model_cid"].as_str().unwrap());
    demo.message("training 3");
    let third = demo.model();
    assert!(third["units_browser"].as_u64().unwrap() > 0, "{third}");
    assert_eq!(next.event("verified", WAIT).unwrap()["model_cid"], third["model_cid"]);

    demo.interrupt();
    let mut output = String::new();
    while let Some(Ok(line)) = demo.messages.next() {
        output += &line;
    }
    assert_eq!(demo.exit_code(), Some(0), "{output}");
    assert!(output.contains("ending the network") && !output.contains("error"), "{output}");
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    assert!(TcpStream::connect(address).is_err(), "the relay has ended");
}
