//! Passphrases from a file, from the environment or from the terminal. They never come from the
//! command line, which every process of the machine can read.

use crate::files;
use std::{
    env,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The variable that may hold the passphrase.
pub const PASSPHRASE_ENV: &str = "TEQUIO_PASSPHRASE";
/// Longest passphrase file, bytes.
const PASSPHRASE_LEN_MAX: usize = 4096;

/// A passphrase, erased when dropped.
pub type Passphrase = Zeroizing<String>;

/// The reason why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The passphrase file cannot be used.
    #[error(
        "cannot read the passphrase file {path}: its first line must be the passphrase; \
         --passphrase-file or `passphrase_file` in config.toml names it"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The environment variable is not UTF-8.
    #[error("{PASSPHRASE_ENV} is not UTF-8: use --passphrase-file")]
    NotUtf8,
    /// No source of a passphrase is available.
    #[error(
        "there is no passphrase for {0}: give --passphrase-file, set {PASSPHRASE_ENV}, or run on a \
         terminal"
    )]
    Missing(String),
    /// The terminal fails.
    #[error("cannot read the passphrase from the terminal")]
    Terminal(#[source] io::Error),
    /// The typed line is empty.
    #[error("the passphrase is empty: type one")]
    Empty,
    /// The second line differs from the first.
    #[error("the two passphrases differ: run the command again")]
    Mismatch,
}

/// Sources of a passphrase, in this order: a file, the environment, the terminal.
#[derive(Clone, Copy, Debug)]
pub struct PassphraseSource<'a> {
    /// File whose first line is the passphrase.
    pub file: Option<&'a Path>,
    /// Whether the passphrase is new: the terminal then prompts twice.
    pub new: bool,
    /// Name of the protected object, for the prompt.
    pub what: &'a str,
}

impl PassphraseSource<'_> {
    /// Reads the passphrase from the first source that exists.
    pub fn read(&self) -> Result<Passphrase, PassphraseError> {
        if let Some(path) = self.file {
            return first_line(path)
                .map_err(|source| PassphraseError::File { path: path.to_owned(), source });
        }
        if let Some(passphrase) = env::var_os(PASSPHRASE_ENV).filter(|text| !text.is_empty()) {
            let text = passphrase.into_string().map_err(|_| PassphraseError::NotUtf8)?;
            return Ok(Zeroizing::new(text));
        }
        if !io::stdin().is_terminal() {
            return Err(PassphraseError::Missing(self.what.to_owned()));
        }
        let prompt = |text: String| {
            let typed = rpassword::prompt_password(text);
            typed.map(Zeroizing::new).map_err(PassphraseError::Terminal)
        };
        let passphrase = prompt(format!("Passphrase of {}: ", self.what))?;
        if passphrase.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if self.new && *prompt("The same again: ".into())? != *passphrase {
            return Err(PassphraseError::Mismatch);
        }
        Ok(passphrase)
    }
}

fn first_line(path: &Path) -> io::Result<Passphrase> {
    let bytes = Zeroizing::new(files::read_capped(path, PASSPHRASE_LEN_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(io::Error::other("its first line is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_file_gives_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        std::fs::write(&path, "first\nsecond\n").unwrap();
        let source = PassphraseSource { file: Some(&path), new: false, what: "a test" };
        assert_eq!(source.read().unwrap().as_str(), "first");
        std::fs::write(&path, "\n").unwrap();
        assert!(source.read().is_err());
    }
}
