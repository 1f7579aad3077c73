//! Random bytes from the operating system.

use zeroize::Zeroizing;

/// The operating system provides no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system did not return random bytes: {0}")]
pub struct RandomError(getrandom::Error);

/// Returns `N` random bytes from the operating system. They are erased when dropped.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).map_err(RandomError)?;
    Ok(bytes)
}
