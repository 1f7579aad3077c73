//! Options that several commands have.

use clap::{Args, builder::BoolishValueParser};
use std::path::PathBuf;

/// The option for the node's directory.
#[derive(Debug, Args)]
pub struct Dir {
    /// The node's directory
    #[arg(long, env = "TEQUIO_DIR", value_name = "DIR")]
    pub dir: PathBuf,
}

/// The option for machine-readable output.
#[derive(Clone, Copy, Debug, Args)]
pub struct Json {
    /// Print JSON, one object a line
    #[arg(long, env = "TEQUIO_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// The option for the passphrase file.
#[derive(Debug, Args)]
pub struct PassphraseFile {
    /// File whose first line is the passphrase of the keys
    #[arg(long, env = "TEQUIO_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}
