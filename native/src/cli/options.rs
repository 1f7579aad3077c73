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

/// Parses the separator of fields: one character, or `\t` for a tab.
pub fn separator(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (text, chars.next(), chars.next()) {
        ("\\t" | "tab", ..) => Ok('\t'),
        (_, Some(only), None) => Ok(only),
        _ => Err("a separator is one character, such as ; or \\t for a tab".into()),
    }
}

/// The option for the passphrase file.
#[derive(Debug, Args)]
pub struct PassphraseFile {
    /// File whose first line is the passphrase of the keys
    #[arg(long, env = "TEQUIO_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_a_character_or_an_escaped_tab() {
        let parsed = [";", "\t", "\\t", "tab", "ab", ""].map(|text| separator(text).ok());
        assert_eq!(parsed, [Some(';'), Some('\t'), Some('\t'), Some('\t'), None, None]);
    }
}
