//! Dials `/webrtc-direct`: creates the offer, writes the server's answer itself, then runs Noise.
//!
//! It refuses addresses without a `/certhash`, and servers with another certificate or, if the
//! address names a peer, another identity.

use super::{
    channel::Kind,
    js,
    peer::{Connection, Peer},
};
use crate::{
    DialVersion, Error, Violation,
    addr::{self, DirectAddr, Fingerprint},
    auth,
    budget::{Budget, Pool},
    sdp,
    version::{V1, V2},
};
use futures::{FutureExt, future::BoxFuture};
use futures_timer::Delay;
use js_sys::Reflect;
use libp2p_core::{
    Multiaddr,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use libp2p_identity::{Keypair, PeerId};
use send_wrapper::SendWrapper;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RtcDataChannelInit, RtcPeerConnection, RtcSdpType, RtcSessionDescriptionInit};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Received bytes of a connection that the application has not read yet.
pub const UNREAD_PER_CONNECTION_MAX: usize = 32 * 1024 * 1024;
/// The same limit over all connections of a page.
pub const UNREAD_MAX: usize = 64 * 1024 * 1024;

/// Configuration of a dialer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The local identity.
    pub keys: Keypair,
    /// The handshake version.
    pub version: DialVersion,
}

/// WebRTC-direct, dialing only: a page cannot listen.
pub struct Transport {
    config: Config,
    pool: Arc<Pool>,
}

impl Transport {
    /// Creates a transport with a memory budget of its own.
    pub fn new(config: Config) -> Self {
        Self { config, pool: Pool::new(UNREAD_MAX) }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("version", &self.config.version).finish_non_exhaustive()
    }
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Error>>;

    fn listen_on(&mut self, _: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(addr))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let Some(direct) = addr::parse(&addr).filter(|d| d.socket.port() != 0) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let Some(server) = direct.fingerprint else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let (config, pool) = (self.config.clone(), self.pool.clone());
        let dial = async move {
            let mut timeout = Delay::new(HANDSHAKE_TIMEOUT).fuse();
            let dial = dial(config, pool, direct, server).fuse();
            futures::pin_mut!(dial);
            futures::select! { result = dial => result, () = timeout => Err(Error::Timeout) }
        };
        Ok(SendWrapper::new(dial).boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        Poll::Pending
    }
}

async fn dial(
    config: Config,
    pool: Arc<Pool>,
    addr: DirectAddr,
    server: Fingerprint,
) -> Result<(PeerId, Connection), Error> {
    let budget = Budget::new(pool);
    let connection = Connection::with_budget(RtcPeerConnection::new().map_err(js)?, budget.clone());
    let peer: &std::rc::Rc<Peer> = connection.peer();
    let pc = peer.pc();

    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(0);
    let channel = pc.create_data_channel_with_data_channel_dict("", &init);
    let stream = peer.attach(channel, Kind::Handshake).stream();

    let (client, credential) = offer(pc, config.version).await?;
    let answer = sdp::answer(addr.socket, &server, &credential);
    JsFuture::from(pc.set_remote_description(&description(RtcSdpType::Answer, &answer)))
        .await
        .map_err(js)?;

    let let_in = move || budget.authenticated(UNREAD_PER_CONNECTION_MAX);
    let id = auth::as_client(&config.keys, stream, client, server, let_in).await?;
    if addr.peer.is_some_and(|expected| expected != id) {
        return Err(Error::WrongPeer(id));
    }
    Ok((id, connection))
}

/// Creates the local offer; returns the local certificate's fingerprint and the server side's
/// credential.
async fn offer(
    pc: &RtcPeerConnection,
    version: DialVersion,
) -> Result<(Fingerprint, String), Error> {
    let offer = JsFuture::from(pc.create_offer()).await.map_err(js)?;
    let mut offer =
        Reflect::get(&offer, &"sdp".into()).ok().and_then(|s| s.as_string()).unwrap_or_default();
    let mut munged = None;
    if version == DialVersion::V1 {
        let credential = format!("{V1}{}", random_alphanumeric(32));
        for name in ["ice-ufrag", "ice-pwd"] {
            let old = sdp::attribute(&offer, name).ok_or(Violation::Sdp(name))?;
            offer = offer.replace(&format!("a={name}:{old}"), &format!("a={name}:{credential}"));
        }
        munged = Some(credential);
    }
    JsFuture::from(pc.set_local_description(&description(RtcSdpType::Offer, &offer)))
        .await
        .map_err(js)?;
    let local = pc.local_description().map(|d| d.sdp()).unwrap_or_default();
    let client = sdp::fingerprint(&local).ok_or(Violation::Sdp("fingerprint"))?;
    let credential = match munged {
        Some(credential) => credential,
        None => {
            let password = sdp::attribute(&local, "ice-pwd").filter(|p| sdp::is_ice_pwd(p));
            format!("{V2}{}", password.ok_or(Violation::Sdp("ice-pwd"))?)
        }
    };
    Ok((client, credential))
}

pub fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

/// Returns a random string. It is unique, but not secret: everyone on the path can read a v1
/// credential in the STUN USERNAME.
fn random_alphanumeric(n: usize) -> String {
    const CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let index = |_| (js_sys::Math::random() * CHARS.len() as f64) as usize;
    (0..n).map(index).filter_map(|i| CHARS.get(i)).map(|b| char::from(*b)).collect()
}
