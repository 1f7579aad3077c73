//! Jobs as text: a line in a list, a line of progress, and the full description.

use serde_json::Value;
use time::OffsetDateTime;

/// A job in a list: its kind and progress, and below them its coordinator and the reason for its
/// state.
pub fn in_list(job: &Value) -> String {
    let mut lines = vec![format!(
        "{} {:9} {} {}",
        text(job, "id"),
        text(job, "state"),
        date(job),
        progress(job)
    )];
    lines.push(format!(
        "    coordinator {}, data {}",
        short(text(job, "coordinator")),
        text(job, "dataset_cid")
    ));
    lines.extend(
        Some(parameters(&job["params"]))
            .filter(|text| !text.is_empty())
            .map(|text| format!("    {text}")),
    );
    lines.extend(why(job).map(|why| format!("    {why}")));
    lines.join("\n")
}

/// A job's progress as one line.
pub fn line(job: &Value) -> String {
    format!("{} {:9} {}", text(job, "id"), text(job, "state"), progress(job))
}

/// How many of a job's newest events are shown.
const EVENTS_SHOWN_MAX: usize = 8;

/// The full description of a job.
pub fn in_full(job: &Value) -> String {
    let mut lines = vec![
        format!("job         {}", text(job, "id")),
        format!("name        {} ({})", name(job), text(job, "kind")),
        format!("state       {}", text(job, "state")),
    ];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:11} {value}"));
        }
    };
    add("", why(job).unwrap_or_default());
    add("submitted", format!("{} in block {}", date(job), job["submitted"]));
    add("coordinator", text(job, "coordinator").to_owned());
    add("data", text(job, "dataset_cid").to_owned());
    add("parameters", parameters(&job["params"]));
    add("progress", progress(job));
    add("curve", curve(job).unwrap_or_default());
    let workers = &job["workers_now"];
    if let (Some(full), Some(browsers)) = (workers["full"].as_u64(), workers["browsers"].as_u64()) {
        add("workers", format!("{full} nodes and {browsers} browsers now"));
    }
    for (name, field) in
        [("model", "model_cid"), ("record", "record_cid"), ("answers", "answers_cid")]
    {
        add(name, text(job, field).to_owned());
    }
    let events = job["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    for event in events.iter().skip(events.len().saturating_sub(EVENTS_SHOWN_MAX)) {
        add("", self::event(event));
    }
    lines.join("\n")
}

/// A late or refused result. A late result is not the worker's fault.
fn event(event: &Value) -> String {
    let what = match text(event, "kind") {
        kind @ ("late" | "withheld" | "wrong") => kind,
        _ => "refused",
    };
    let (round, unit, worker) = (&event["round"], &event["unit"], short(text(event, "worker")));
    format!("{what}: unit {unit} of round {round} by {worker}: {}", text(event, "reason"))
}

/// The reason why a job waits, or why it ended without a result.
pub fn why(job: &Value) -> Option<String> {
    let reason = job["reason"].as_str().map(|reason| match reason {
        "cancelled" => "cancelled by its coordinator".to_owned(),
        "refuted" => "its auditors found that the result is wrong".to_owned(),
        "unaudited" => "too few auditors answered in time".to_owned(),
        other => other.to_owned(),
    });
    reason.or_else(|| job["waiting_text"].as_str().map(|text| format!("waits for {text}")))
}

fn text<'a>(job: &'a Value, name: &str) -> &'a str {
    job[name].as_str().unwrap_or_default()
}

/// A job's name, safe to print on a terminal. Anybody can choose a name: control characters, line
/// separators and bidirectional overrides could forge output, so each is replaced.
fn name(job: &Value) -> String {
    let is_shown = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text(job, "name")
        .chars()
        .map(|c| if is_shown(c) { c } else { char::REPLACEMENT_CHARACTER })
        .collect()
}

fn short(id: &str) -> &str {
    const SHOWN: usize = 16;
    id.get(..SHOWN).unwrap_or(id)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn progress(job: &Value) -> String {
    let rounds = match text(job, "kind") {
        "infer" => "batch".to_owned(),
        _ => format!("round {}/{}", job["round"], job["rounds"]),
    };
    let is_measured = job["curve"].as_array().is_some_and(|curve| !curve.is_empty());
    let accuracy = match job["accuracy"].as_f64() {
        Some(share) => format!(", {}", percent(share)),
        None if is_measured => ", no test rows".to_owned(),
        None => String::new(),
    };
    let best = job["best_accuracy"].as_f64().filter(|best| Some(*best) != job["accuracy"].as_f64());
    let best = best.map_or(String::new(), |share| format!(" (best {})", percent(share)));
    let (units, total, rejected) = (&job["units"], &job["units_total"], &job["rejected"]);
    format!("{} {rounds}{accuracy}{best}, {units}/{total} units, {rejected} rejected", name(job))
}

/// The last point of the curve beside the best one.
fn curve(job: &Value) -> Option<String> {
    let points: Vec<(u64, f64)> = job["curve"]
        .as_array()?
        .iter()
        .filter_map(|point| Some((point["round"].as_u64()?, point["accuracy"].as_f64()?)))
        .collect();
    let (round, last) = points.last().copied()?;
    // The first of equal points: the training after it gained nothing.
    let best =
        points.iter().copied().reduce(|best, point| if point.1 > best.1 { point } else { best })?;
    Some(format!(
        "{} after round {round}, best {} after round {}",
        percent(last),
        percent(best.1),
        best.0
    ))
}

/// The parameters of a job, in the order of the options.
fn parameters(params: &Value) -> String {
    let layers = params["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    let mut parts = Vec::new();
    if !layers.is_empty() {
        parts.push(format!("layers {}", layers.join("-")));
    }
    for name in [
        "rounds",
        "rows",
        "seed",
        "mode",
        "units",
        "steps",
        "unit_rows",
        "learning_rate",
        "momentum",
        "rounding",
    ] {
        match &params[name] {
            Value::Null => {}
            Value::String(value) => parts.push(format!("{} {value}", name.replace('_', " "))),
            value => parts.push(format!("{} {value}", name.replace('_', " "))),
        }
    }
    parts.join(", ")
}

/// When a job was submitted, in UTC.
fn date(job: &Value) -> String {
    let at = job["submitted_ms"]
        .as_i64()
        .and_then(|ms| OffsetDateTime::from_unix_timestamp(ms / 1000).ok());
    at.map_or("date unknown".to_owned(), |at| {
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job() -> Value {
        json!({
            "id": "ab".repeat(32), "kind": "train", "name": "iris", "state": "final",
            "submitted_ms": 1_796_054_400_000u64,
            "submitted": 7, "coordinator": "cd".repeat(32), "dataset_cid": "bafkdata", "round": 3,
            "rounds": 3,
            "accuracy": 0.9, "best_accuracy": 0.95, "units": 12, "units_total": 12, "rejected": 0,
            "curve": [{"round": 1, "accuracy": 0.5}, {"round": 2, "accuracy": 0.95}, {"round": 3,
            "accuracy": 0.9}],
            "params": {"layers": [4, 8, 3], "rounds": 3, "seed": 0, "mode": "local"},
            "model_cid": "bafkmodel",
        })
    }

    #[test]
    fn a_name_cannot_control_the_terminal() {
        let mut job = job();
        job["name"] = json!("\u{1b}[31mred\nfake \u{202e}line");
        for text in [in_list(&job), line(&job), in_full(&job)] {
            assert!(
                !text.contains(['\u{1b}', '\u{202e}']) && text.contains("red\u{fffd}fake"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_list_shows_date_coordinator_data_and_best() {
        let text = in_list(&job());
        for part in [
            "final",
            "2026-11-30 16:00:00Z",
            "round 3/3, 90.00 % (best 95.00 %)",
            "coordinator cdcdcdcdcdcdcdcd,",
            "bafkdata",
            "layers 4-8-3, rounds 3",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_job_without_test_rows_has_no_accuracy() {
        let mut job = job();
        job["accuracy"] = Value::Null;
        job["best_accuracy"] = Value::Null;
        job["curve"] = json!([{"round": 3, "accuracy": null}]);
        for text in [line(&job), in_full(&job)] {
            assert!(text.contains("round 3/3, no test rows,") && !text.contains('%'), "{text}");
        }
    }

    #[test]
    fn one_job_is_shown_in_full() {
        let text = in_full(&job());
        for part in [
            "2026-11-30 16:00:00Z in block 7",
            "layers 4-8-3, rounds 3, seed 0, mode local",
            "90.00 % after round 3, best 95.00 % after round 2",
            "bafkmodel",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn late_and_wrong_results_are_shown_differently() {
        let mut job = job();
        let event = |kind: &str| {
            json!({"kind": kind, "round": 2, "unit": 1, "worker": "ef",
        "reason": "too slow"})
        };
        job["events"] = json!([event("late"), event("wrong")]);
        let text = in_full(&job);
        assert!(text.contains("late: unit 1 of round 2 by ef: too slow"), "{text}");
        assert!(text.contains("wrong: unit 1 of round 2 by ef"), "{text}");
    }

    #[test]
    fn a_cancelled_job_is_not_shown_as_failed_and_a_waiting_one_shows_its_reason() {
        let mut cancelled = job();
        cancelled["state"] = json!("cancelled");
        cancelled["reason"] = json!("cancelled");
        let text = in_list(&cancelled);
        assert!(text.contains("cancelled by its coordinator") && !text.contains("fail"), "{text}");
        let mut waiting = job();
        waiting["state"] = json!("running");
        waiting["waiting_text"] = json!("workers: none is connected");
        assert!(in_full(&waiting).contains("waits for workers: none is connected"));
    }
}
