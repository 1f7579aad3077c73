//! The token that allows a client to change state.

use anyhow::Context as _;
use std::path::Path;
use subtle::ConstantTimeEq as _;
use tequio_host::files;

/// Name of the file with the token, in a node's directory.
pub const TOKEN_FILE: &str = "api-token";
const TOKEN_LEN_MAX: usize = 256;
const TOKEN_CHARS_MIN: usize = 16;

/// The token that allows a client to change state. It is never shown.
pub struct Token(String);

impl Token {
    /// Reads the token from its file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let location = || {
            format!(
                "cannot read {}: remove it, and the node makes another at its next start",
                path.display()
            )
        };
        let bytes = files::read_capped(path, TOKEN_LEN_MAX).with_context(location)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| anyhow::anyhow!("it is not UTF-8 text"))
            .with_context(location)?;
        let text = text.trim().to_owned();
        anyhow::ensure!(
            text.len() >= TOKEN_CHARS_MIN,
            "{}: the token is shorter than {TOKEN_CHARS_MIN} characters; remove the file, and the \
             node makes another at its next start",
            path.display()
        );
        Ok(Self(text))
    }

    /// Random bytes as text.
    pub fn spell(bytes: &[u8]) -> String {
        hex::encode(bytes)
    }

    /// The `Authorization` header of this program's own requests.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in constant time.
    pub(super) fn is(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

/// Reads the token of a directory, and creates it if it is missing.
pub(super) fn load_or_create(dir: &Path) -> anyhow::Result<Token> {
    let path = dir.join(TOKEN_FILE);
    if !path.exists() {
        files::write_atomic(
            &path,
            Token::spell(&*tequio_host::random::<32>()?).as_bytes(),
            files::PRIVATE,
        )?;
    }
    Token::read(&path)
}

/// The `Authorization` header of this program's own requests.
pub fn bearer(dir: &Path) -> anyhow::Result<String> {
    Ok(Token::read(&dir.join(TOKEN_FILE))?.bearer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_compared_as_a_whole() {
        let token = Token("0123456789abcdef".into());
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdee"] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }
}
