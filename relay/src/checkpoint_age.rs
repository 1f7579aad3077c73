//! Warns when the browsers' checkpoint expires soon or has expired. The relay does not renew it:
//! links to the page pin the file by its hash.

use crate::http::CheckpointFile;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tequio_core::ledger::genesis::{Checkpoint, FILE_LEN_MAX};
use tequio_host::files;

/// Time between two checks of the file.
const INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// How close a checkpoint is to its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpiryStatus {
    Fresh,
    /// Less than a quarter of the trust period is left; the value is in hours.
    Expires(u64),
    Expired,
}

/// Checks the file until the relay ends.
pub async fn watch(file: CheckpointFile) {
    let mut checks = tokio::time::interval(INTERVAL);
    loop {
        checks.tick().await;
        let path = file.path.clone();
        let read =
            tokio::task::spawn_blocking(move || files::read_capped(&path, FILE_LEN_MAX)).await;
        if let Ok(Ok(bytes)) = read {
            let now_ms =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            let advice = "write a newer one with `tequio checkpoint export --out FILE --replace`, \
                          and publish a link with its hash";
            let path = file.path.display();
            // The handler that serves a damaged file reports it.
            let Ok((checkpoint, _)) = Checkpoint::open(&bytes, None, 0) else { continue };
            match expiry_status(checkpoint.header.time_ms, checkpoint.trust_period_ms, now_ms) {
                ExpiryStatus::Fresh => {}
                ExpiryStatus::Expires(hours) => {
                    tracing::warn!(%path, hours, "the checkpoint expires: {advice}")
                }
                ExpiryStatus::Expired => {
                    tracing::error!(%path, "the checkpoint has expired, so no new browser can \
                                            join: {advice}")
                }
            }
        }
    }
}

fn expiry_status(made_ms: u64, trust_period_ms: u64, now_ms: u64) -> ExpiryStatus {
    match made_ms.saturating_add(trust_period_ms).checked_sub(now_ms) {
        None => ExpiryStatus::Expired,
        Some(left_ms) if left_ms < trust_period_ms / 4 => {
            ExpiryStatus::Expires(left_ms / 3_600_000)
        }
        Some(_) => ExpiryStatus::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_warned_in_the_last_quarter_of_the_trust_period() {
        const DAY_MS: u64 = 86_400_000;
        let at = |days: u64| expiry_status(5, 30 * DAY_MS, 5 + days * DAY_MS);
        assert_eq!(
            [at(0), at(22), at(30)],
            [ExpiryStatus::Fresh, ExpiryStatus::Fresh, ExpiryStatus::Expires(0)]
        );
        assert_eq!([at(23), at(31)], [ExpiryStatus::Expires(7 * 24), ExpiryStatus::Expired]);
    }
}
