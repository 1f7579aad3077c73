//! Submissions that a node has only queued because there is no quorum.

use super::{client::Client, interrupt, options::Json, output::print};
use anyhow::bail;
use serde_json::{Value, json};
use std::time::Duration;

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The id of a submission. If the node has only queued it, prints that; then waits until the
/// submission is in the ledger if `wait` is set, or returns `None`.
pub fn submitted_id(
    client: &Client,
    submitted: &Value,
    wait: bool,
    json: Json,
) -> anyhow::Result<Option<String>> {
    if let Some(id) = submitted["id"].as_str() {
        return Ok(Some(id.to_owned()));
    }
    let Some(number) = submitted["queued"].as_u64() else {
        bail!(
            "the node of {} gave no id: it is of another version than this program",
            client.dir().display()
        )
    };
    let mut event = submitted.clone();
    event["event"] = json!("queued");
    print(json, &event, || text(submitted, number));
    if !wait {
        return Ok(None);
    }
    let _waiting = interrupt::waiting_for_write(client.dir(), number, json);
    loop {
        let queued = client.json(&format!("/v1/queue/{number}"))?;
        match queued["state"].as_str() {
            Some("applied") => return Ok(queued["transaction"].as_str().map(str::to_owned)),
            Some("refused") => bail!("refused: {}", queued["error"].as_str().unwrap_or("unknown")),
            _ => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

/// The message about a queued write.
pub fn text(answer: &Value, number: u64) -> String {
    let why = match answer["reduced"].as_bool() {
        Some(false) => "no block has taken it up yet",
        _ => "there is no quorum now",
    };
    format!(
        "queued as number {number}, NOT final: {why}. The node keeps it and sends it as soon as it \
         can"
    )
}
