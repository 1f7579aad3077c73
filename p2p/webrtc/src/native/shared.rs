//! State that the connections of one transport share.

use super::{admission::Admission, certificate::Certificate, config::Config, muxer::Connection};
use crate::{Error, budget::Pool};
use futures::future::BoxFuture;
use libp2p_identity::{Keypair, PeerId};
use std::{sync::Arc, time::Duration};
use str0m::crypto::CryptoProvider;

/// Time limit from the first datagram to an authenticated peer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// A handshake in progress.
pub type Upgrade = BoxFuture<'static, Result<(PeerId, Connection), Error>>;

/// State that the connections of one transport share.
pub struct Shared {
    pub keys: Keypair,
    pub certificate: Certificate,
    pub config: Config,
    pub admission: Arc<Admission>,
    pub pool: Arc<Pool>,
    pub crypto: CryptoProvider,
}
