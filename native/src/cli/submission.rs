//! What the submissions of jobs have in common: the key that makes them safe to repeat, the default
//! name, and errors that name the file.

use super::client::{NoResponse, RequestFailed};
use crate::store::IdempotencyKey;
use clap::Args;
use std::path::Path;

/// Options for a submission that is safe to repeat.
#[derive(Debug, Args)]
pub struct Key {
    /// Key of this submission: for 7 days, the same command with the same key makes no second job
    /// and returns the first. By default a random key, which the command uses if it sends again
    #[arg(long, value_name = "KEY", value_parser = submission_key)]
    key: Option<String>,
}

fn submission_key(text: &str) -> Result<String, String> {
    IdempotencyKey::parse(text).map(|key| key.as_str().to_owned()).ok_or_else(|| {
        format!(
            "a key has 1 to {} visible ASCII characters, without spaces and quotation marks",
            crate::store::KEY_LEN_MAX
        )
    })
}

impl Key {
    /// The given key, or a random one.
    pub fn take(self) -> anyhow::Result<String> {
        let random = || Ok(hex::encode(tequio_host::random::<16>()?.as_slice()));
        self.key.map_or_else(random, Ok)
    }
}

/// The default name of a job: the name of its file.
pub fn name_of(data: &Path) -> String {
    let stem = data.file_stem().map(|s| s.to_string_lossy().trim_end_matches(".csv").to_owned());
    stem.unwrap_or_default().chars().take(16).collect()
}

/// Adds the file to an error that the node found in the data; leaves other errors unchanged.
pub fn locate_error(error: anyhow::Error, location: impl FnOnce() -> String) -> anyhow::Error {
    if error.is::<NoResponse>() || error.is::<RequestFailed>() {
        error
    } else {
        error.context(location())
    }
}
