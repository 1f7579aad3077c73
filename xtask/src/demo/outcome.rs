//! The outcome of a training: the object that `--json` prints, and a sentence for people.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::network::text;

/// The result of one training, in work units.
#[derive(Debug)]
pub struct Outcome {
    /// Share of the held-out fifth that the model classifies correctly, 0 to 1.
    accuracy: f64,
    units: u64,
    units_browser: u64,
    checked: u64,
    rejected: u64,
    height: u64,
    model_cid: String,
    verified_in_browser: bool,
    /// How the tab reached the network; `None` without a tab.
    path: Option<String>,
    pub seconds: f64,
}

impl Outcome {
    /// Reads the last line of `tequio job train --wait --json`. A contributor that is no validator
    /// is a browser.
    pub fn from_record(record: &Value, validators: &[String]) -> Result<Self> {
        let number =
            |field: &str| record[field].as_u64().with_context(|| format!("no {field} in {record}"));
        let contributors = record["contributors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_browser = |entry: &&Value| {
            entry["id"].as_str().is_some_and(|id| validators.iter().all(|v| v != id))
        };
        let of_browser = contributors.iter().filter(is_browser);
        Ok(Self {
            accuracy: record["accuracy"]
                .as_f64()
                .with_context(|| format!("no accuracy in {record}"))?,
            units: number("units")?,
            units_browser: of_browser.filter_map(|entry| entry["units"].as_u64()).sum(),
            checked: number("checked")?,
            rejected: number("rejected")?,
            height: number("height")?,
            model_cid: text(record, "model_cid")?,
            verified_in_browser: false,
            path: None,
            seconds: 0.0,
        })
    }

    /// Records the tab's result, which must be about the same model.
    pub fn verified_by_tab(&mut self, model_cid: &str, path: String) -> Result<()> {
        if model_cid != self.model_cid {
            bail!("the tab verified {model_cid}, and the network committed {}", self.model_cid);
        }
        self.verified_in_browser = true;
        self.path = Some(path);
        Ok(())
    }

    /// Returns whether a browser has worked on this model.
    pub fn with_browsers(&self) -> bool {
        self.units_browser > 0
    }

    /// Prints the object, for a program that requested it. A closed output is not an error.
    pub fn print_json(&self) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{}", self.json()).and_then(|()| out.flush());
    }

    /// Formats the result for a person.
    pub fn summary(&self) -> String {
        format!(
            "trained to {:.1} % in {} units ({} by browsers, {} checked, {} rejected); model {} is \
             final at height {}",
            self.accuracy * 100.0,
            self.units,
            self.units_browser,
            self.checked,
            self.rejected,
            self.model_cid,
            self.height,
        )
    }

    fn json(&self) -> Value {
        json!({
            "accuracy": self.accuracy,
            "units": self.units,
            "units_browser": self.units_browser,
            "checked": self.checked,
            "rejected": self.rejected,
            "height": self.height,
            "model_cid": self.model_cid,
            "verified_in_browser": self.verified_in_browser,
            "path": self.path,
            "seconds": (self.seconds * 10.0).round() / 10.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Value {
        json!({
            "event": "final", "accuracy": 0.9722, "units": 440, "checked": 440, "rejected": 0,
            "height": 31,
            "model_cid": "bafy",
            "contributors": [{"id": "a", "units": 300}, {"id": "b", "units": 140}],
        })
    }

    fn validators(ids: &[&str]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn contributors_that_are_no_validators_are_browsers() {
        assert_eq!(
            Outcome::from_record(&record(), &validators(&["a"])).unwrap().units_browser,
            140
        );
        assert!(
            !Outcome::from_record(&record(), &validators(&["a", "b"])).unwrap().with_browsers()
        );
    }

    #[test]
    fn a_record_that_lacks_a_field_is_refused() {
        for field in ["accuracy", "units", "checked", "rejected", "height", "model_cid"] {
            let mut record = record();
            record.as_object_mut().unwrap().remove(field);
            let error = Outcome::from_record(&record, &[]).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn verification_must_be_of_the_same_model() {
        let mut outcome = Outcome::from_record(&record(), &validators(&["a"])).unwrap();
        assert!(outcome.verified_by_tab("other", "webrtc".into()).is_err());
        assert_eq!(outcome.json()["verified_in_browser"], false);
        outcome.verified_by_tab("bafy", "webrtc".into()).unwrap();
        assert_eq!(outcome.json()["verified_in_browser"], true);
        assert_eq!(outcome.json()["path"], "webrtc");
    }
}
