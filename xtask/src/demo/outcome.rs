//! What the demo came to: the object that `--json` prints last, and a sentence for people.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::network::text;

/// The result of one training. A unit is one lane of one round.
#[derive(Debug)]
pub struct Outcome {
    /// Share of the held-out fifth that the model classifies rightly, 0 to 1.
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
    /// Reads the line that `tequio job train --wait --json` ends with; `browser` is the tab's identity.
    pub fn from_record(record: &Value, browser: Option<&str>) -> Result<Self> {
        let number = |field: &str| record[field].as_u64().with_context(|| format!("no {field} in {record}"));
        let contributors = record["contributors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of_browser = contributors.iter().filter(|entry| browser.is_some() && entry["id"].as_str() == browser);
        Ok(Self {
            accuracy: record["accuracy"].as_f64().with_context(|| format!("no accuracy in {record}"))?,
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

    /// Takes note of the tab's own reading, which must be of the same model.
    pub fn verified_by_tab(&mut self, model_cid: &str, path: String) -> Result<()> {
        if model_cid != self.model_cid {
            bail!("the tab verified {model_cid}, and the network committed {}", self.model_cid);
        }
        self.verified_in_browser = true;
        self.path = Some(path);
        Ok(())
    }

    /// Prints the result: a sentence, and the object if a program asked for it.
    pub fn print(&self, as_json: bool) {
        eprintln!("{}", self.summary());
        if as_json {
            println!("{}", self.json());
        }
    }

    /// The result for a person.
    pub fn summary(&self) -> String {
        format!(
            "trained to {:.1} % in {} units ({} by browsers, {} checked, {} rejected); model {} is final at height {}",
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
            "event": "final", "accuracy": 0.9722, "units": 440, "checked": 440, "rejected": 0, "height": 31,
            "model_cid": "bafy", "contributors": [{"id": "a", "units": 300}, {"id": "b", "units": 140}],
        })
    }

    #[test]
    fn the_tab_is_credited_by_its_identity() {
        assert_eq!(Outcome::from_record(&record(), Some("b")).unwrap().units_browser, 140);
        assert_eq!(Outcome::from_record(&record(), Some("c")).unwrap().units_browser, 0);
        assert_eq!(Outcome::from_record(&record(), None).unwrap().units_browser, 0);
    }

    #[test]
    fn a_record_that_lacks_a_field_is_refused() {
        for field in ["accuracy", "units", "checked", "rejected", "height", "model_cid"] {
            let mut record = record();
            record.as_object_mut().unwrap().remove(field);
            let error = Outcome::from_record(&record, None).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn verification_must_be_of_the_same_model() {
        let mut outcome = Outcome::from_record(&record(), Some("b")).unwrap();
        assert!(outcome.verified_by_tab("other", "webrtc".into()).is_err());
        assert_eq!(outcome.json()["verified_in_browser"], false);
        outcome.verified_by_tab("bafy", "webrtc".into()).unwrap();
        assert_eq!(outcome.json()["verified_in_browser"], true);
        assert_eq!(outcome.json()["path"], "webrtc");
    }
}
