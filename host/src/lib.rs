//! Code that the native programs share: atomic files, the lock of a directory, sealed keystores,
//! passphrases, and the rate limit per client. The full node and the relay use this crate; it
//! imports neither.

pub mod directory_lock;
pub mod environment;
pub mod files;
pub mod keystore;
pub mod passphrase;
pub mod random;
pub mod rate_limit;

pub use directory_lock::{DirectoryLock, LockError};
pub use passphrase::{Passphrase, PassphraseError, PassphraseSource};
pub use random::{RandomError, random};
pub use rate_limit::RateLimit;
