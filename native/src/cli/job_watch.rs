//! Follows a job until it ends.

use super::{client::Client, interrupt, job_text, options::Json, output::print};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// What [`watch`] does when standard output is closed, for example by `| head -1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedOutput {
    /// Keeps waiting: the caller has more to do after the job has ended.
    Continue,
    /// Stops waiting: the output is the command's only purpose.
    End,
}

/// Follows a job, prints each round, and returns the job when it is final.
pub fn watch(
    client: &Client,
    id: &str,
    json: Json,
    closed_output: ClosedOutput,
) -> anyhow::Result<Value> {
    let dir = client.dir().display();
    let goes_on =
        || format!("job {id} goes on; follow it again with `tequio job watch --dir {dir} {id}`");
    let _waiting = interrupt::waiting_for_job(client.dir(), id, json);
    let mut round = None;
    let (mut state, mut waits) = (String::new(), String::new());
    for job in client.events(&format!("/v1/jobs/{id}/events"))? {
        let mut job = job.with_context(goes_on)?;
        let mut is_read = true;
        let new_round = job["round"].as_u64().filter(|r| *r > 0 && Some(*r) != round);
        let now = job["state"].as_str().unwrap_or_default().to_owned();
        if let Some(number) = new_round {
            round = Some(number);
            let event = json!({
                "event": "round", "job": id, "round": number, "rounds": job["rounds"],
                "accuracy": job["accuracy"],
                "units": job["units"], "units_total": job["units_total"],
                "rejected": job["rejected"],
            });
            is_read &= print(json, &event, || job_text::line(&job));
        }
        let waiting = job["waiting_text"].as_str().unwrap_or_default();
        if waiting != waits {
            waits = waiting.to_owned();
            if !waits.is_empty() {
                let event = json!({"event": "waiting", "job": id, "for": job["waiting_for"],
                "text": waits});
                is_read &= print(json, &event, || format!("waits for {waits}"));
            }
        }
        if !is_read && closed_output == ClosedOutput::End {
            return Ok(job);
        }
        if now == state {
            continue;
        }
        state.clone_from(&now);
        match now.as_str() {
            "final" => {
                job["event"] = json!("final");
                job["job"] = json!(id);
                if !json.json {
                    print(json, &job, || job_text::line(&job));
                }
                return Ok(job);
            }
            "failed" | "cancelled" => {
                let why =
                    job_text::why(&job).unwrap_or_else(|| "the ledger gives no reason".into());
                let verb = if now == "failed" { "has failed: " } else { "was " };
                bail!(
                    "job {id} {verb}{why}, at height {}; `tequio job show --dir {dir} {id}` shows \
                     more",
                    job["height"]
                );
            }
            // As text, the reason to wait says it already.
            "pending" if json.json || waits.is_empty() => {
                print(json, &json!({"event": "pending", "job": id}), || {
                    "waiting for its auditors".into()
                });
            }
            _ => {}
        }
    }
    bail!("the node of {dir} has ended the stream, as it does when it stops: {}", goes_on())
}
