//! The log filter at the start, and changes of the filter while the program runs.
//!
//! The filter comes from the variable RUST_LOG, or else from `--log` and `config.toml`. A filter
//! from RUST_LOG stays for the life of the process, because the environment of a running process
//! cannot change.

use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// The default filter.
pub const DEFAULT: &str = "info";
/// The variable that overrides the configured filter.
pub const VARIABLE: &str = "RUST_LOG";

/// Replaces the filter of the running program.
type Replace =
    Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>;

static REPLACE: OnceLock<Replace> = OnceLock::new();

/// The reason why a filter does not take effect.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The text is not a filter.
    #[error("{filter:?} is not a log filter ({reason}); write for example info, or tequio=debug")]
    Invalid {
        /// The given text.
        filter: String,
        /// The parser's error.
        reason: String,
    },
    /// The log is written by another subscriber.
    #[error("the log of this process cannot be changed")]
    Fixed,
}

/// Starts logging to standard error.
pub fn start() {
    let (filter, invalid) = match from_environment() {
        None => (EnvFilter::new(DEFAULT), None),
        Some(text) => match parse(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(DEFAULT), Some(error)),
        },
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let builder = builder.with_filter_reloading();
    let handle = builder.reload_handle();
    let _ = REPLACE.set(Box::new(move |filter| handle.reload(filter)));
    builder.init();
    if let Some(error) = invalid {
        tracing::warn!(%error, "{VARIABLE} has no effect: the log filter is {DEFAULT}");
    }
}

/// The filter in the environment; an empty variable counts as unset.
pub fn from_environment() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty())
}

/// Parses a filter.
pub fn parse(text: &str) -> Result<EnvFilter, LogError> {
    let invalid = |reason: String| LogError::Invalid { filter: text.to_owned(), reason };
    if text.trim().is_empty() {
        return Err(invalid("it is empty".into()));
    }
    EnvFilter::builder().parse(text).map_err(|error| invalid(error.to_string()))
}

/// Replaces the filter, unless the environment sets one. Returns whether the filter has changed.
pub fn set(text: &str) -> Result<bool, LogError> {
    let filter = parse(text)?;
    if from_environment().is_some() {
        return Ok(false);
    }
    let replace = REPLACE.get().ok_or(LogError::Fixed)?;
    replace(filter).map_err(|_| LogError::Fixed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_an_invalid_filter_shows_examples() {
        for good in ["info", "tequio=debug", "warn,tequio::node=trace"] {
            parse(good).unwrap();
        }
        for bad in ["", "  ", "tequio=loud", "[["] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(
                error.contains("not a log filter") && error.contains("tequio=debug"),
                "{error}"
            );
        }
    }
}
