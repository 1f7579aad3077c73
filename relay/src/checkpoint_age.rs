//! Warns while the checkpoint that browsers start from is about to expire, or has expired. The
//! relay does not renew it: links to the page pin the file by its hash.

use crate::http::CheckpointFile;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tequio_core::ledger::genesis::{Checkpoint, FILE_LEN_MAX};
use tequio_host::files;

/// Between two looks at the file.
const INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// How close a checkpoint is to its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fresh,
    /// Less than a quarter of the trust period is left: hours.
    Expires(u64),
    Expired,
}

/// Looks at the file until the relay ends.
pub async fn watch(file: CheckpointFile) {
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        looks.tick().await;
        let path = file.path.clone();
        let read =
            tokio::task::spawn_blocking(move || files::read_capped(&path, FILE_LEN_MAX)).await;
        if let Ok(Ok(bytes)) = read {
            let now_ms =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            let advice = "write a newer one with `tequio checkpoint export --out FILE --replace`, and publish a link with its hash";
            let path = file.path.display();
            // A damaged file is reported where it is served.
            let Ok((checkpoint, _)) = Checkpoint::open(&bytes, None, 0) else { continue };
            match verdict(checkpoint.header.time_ms, checkpoint.trust_period_ms, now_ms) {
                Verdict::Fresh => {}
                Verdict::Expires(hours) => {
                    tracing::warn!(%path, hours, "the checkpoint expires: {advice}")
                }
                Verdict::Expired => {
                    tracing::error!(%path, "the checkpoint has expired, so no new browser can join: {advice}")
                }
            }
        }
    }
}

fn verdict(made_ms: u64, trust_period_ms: u64, now_ms: u64) -> Verdict {
    match made_ms.saturating_add(trust_period_ms).checked_sub(now_ms) {
        None => Verdict::Expired,
        Some(left_ms) if left_ms < trust_period_ms / 4 => Verdict::Expires(left_ms / 3_600_000),
        Some(_) => Verdict::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_trust_period_before_its_end_the_operator_is_warned() {
        const DAY_MS: u64 = 86_400_000;
        let at = |days: u64| verdict(5, 30 * DAY_MS, 5 + days * DAY_MS);
        assert_eq!([at(0), at(22), at(30)], [Verdict::Fresh, Verdict::Fresh, Verdict::Expires(0)]);
        assert_eq!([at(23), at(31)], [Verdict::Expires(7 * 24), Verdict::Expired]);
    }
}
