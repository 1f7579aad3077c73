//! Browser to browser: two `RTCPeerConnection`s exchange signalling over a stream of a circuit
//! (libp2p's `webrtc/webrtc.md`).
//!
//! [`crate::signal`] checks the remote's messages before the browser receives them. No Noise
//! handshake follows: the circuit that carried the descriptions is authenticated. The descriptions
//! contain the hashes of both certificates, which DTLS then proves.

use super::{
    events::EventListener,
    js,
    peer::{Connection, INIT_LABEL, Peer},
    route::{self, Route},
    transport::{UNREAD_MAX, UNREAD_PER_CONNECTION_MAX, description},
};
use crate::{
    Error,
    budget::{Budget, Pool},
    ice_server::{IceServer, IceServers},
    signal::{
        BadSignal, Role, SIGNALLING_TIMEOUT,
        description::with_window,
        exchange::{Exchange, Received},
        limits::CANDIDATES_MAX,
        message::{self, Message},
    },
    stream::RECV_WINDOW,
};
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, channel::mpsc,
    future::BoxFuture,
};
use futures_timer::Delay;
use js_sys::{Array, JSON, Reflect};
use libp2p_identity::PeerId;
use send_wrapper::SendWrapper;
use std::{
    cell::RefCell,
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    RtcConfiguration, RtcDataChannel, RtcDataChannelState, RtcIceCandidateInit, RtcIceServer,
    RtcIceTransportPolicy, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState,
    RtcSdpType,
};

/// Limit of local candidates sent before those of TURN servers, which come last and need free
/// slots.
const CANDIDATES_BEFORE_TURN_MAX: usize = CANDIDATES_MAX - 8;

type Connected = Vec<(PeerId, Weak<Peer>)>;

/// Establishes browser-to-browser connections.
#[derive(Clone)]
pub struct Signaller {
    ice_servers: IceServers,
    relay_only: bool,
    pool: Arc<Pool>,
    connected: SendWrapper<Rc<RefCell<Connected>>>,
}

impl fmt::Debug for Signaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signaller").field("relay_only", &self.relay_only).finish_non_exhaustive()
    }
}

impl Signaller {
    /// Creates a signaller with a memory budget of its own. With `relay_only` connections use only
    /// paths through TURN servers, which hides the local addresses from the peer. Must be called on
    /// the page's main thread: workers have no `RTCPeerConnection`.
    pub fn new(ice_servers: IceServers, relay_only: bool) -> Self {
        let connected = SendWrapper::new(Rc::default());
        Self { ice_servers, relay_only, pool: Pool::new(UNREAD_MAX), connected }
    }

    /// Connects to the peer at the other end of a stream, which must belong to an authenticated
    /// connection to that peer.
    pub fn connect<S>(
        &self,
        peer: PeerId,
        stream: S,
        role: Role,
    ) -> BoxFuture<'static, Result<Connection, Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let this = self.clone();
        SendWrapper::new(async move {
            let mut timeout = Delay::new(SIGNALLING_TIMEOUT).fuse();
            let exchange = this.exchange(stream, role).fuse();
            futures::pin_mut!(exchange);
            let connection = futures::select! {
                result = exchange => result?,
                () = timeout => return Err(Error::Timeout),
            };
            let mut connected = this.connected.borrow_mut();
            connected.retain(|(_, peer)| peer.strong_count() > 0);
            connected.push((peer, Rc::downgrade(connection.peer())));
            Ok(connection)
        })
        .boxed()
    }

    /// The ICE route of the newest connection to a peer.
    pub fn route(&self, peer: &PeerId) -> BoxFuture<'static, Option<Route>> {
        let pc = self.connected.borrow().iter().rev().find_map(|(id, connected)| {
            let connected = connected.upgrade().filter(|_| id == peer)?;
            Some(connected.pc().clone())
        });
        SendWrapper::new(async move { route::of(&pc?).await }).boxed()
    }

    fn configuration(&self) -> RtcConfiguration {
        let configuration = RtcConfiguration::new();
        let servers: Array = self.ice_servers.get().iter().map(ice_server).collect();
        configuration.set_ice_servers(&servers);
        if self.relay_only {
            configuration.set_ice_transport_policy(RtcIceTransportPolicy::Relay);
        }
        configuration
    }

    async fn exchange<S>(&self, stream: S, role: Role) -> Result<Connection, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let budget = Budget::new(self.pool.clone());
        budget.authenticated(UNREAD_PER_CONNECTION_MAX);
        let pc = RtcPeerConnection::new_with_configuration(&self.configuration()).map_err(js)?;
        // Accepts the remote's channels from the first one on, and closes everything on failure.
        let connection = Connection::with_budget(pc.clone(), budget);
        let (changed, mut changes) = mpsc::unbounded();
        let (found, mut candidates) = mpsc::unbounded();
        let _candidates = EventListener::new(&pc, "icecandidate", move |event| {
            Candidate::found(&event)
                .into_iter()
                .for_each(|candidate| drop(found.unbounded_send(candidate)));
        });
        let _state = EventListener::new(&pc, "connectionstatechange", {
            let changed = changed.clone();
            move |_| drop(changed.unbounded_send(()))
        });
        // Only a connection with a data channel has a data channel section in its offer.
        let init = (role == Role::Dialer).then(|| Init::open(&pc, changed));

        let (read, mut write) = stream.split();
        let mut remote = Remote { read, exchange: Exchange::new(role) };
        let answers = connection.peer();
        match role {
            Role::Dialer => {
                let offer = sdp_of(&JsFuture::from(pc.create_offer()).await.map_err(js)?);
                message::write(&mut write, &Message::Offer(with_window(&offer, RECV_WINDOW)))
                    .await?;
                set_local(&pc, RtcSdpType::Offer, &offer).await?;
                remote.describe(answers, RtcSdpType::Answer).await?;
            }
            Role::Listener => {
                remote.describe(answers, RtcSdpType::Offer).await?;
                let answer = sdp_of(&JsFuture::from(pc.create_answer()).await.map_err(js)?);
                message::write(&mut write, &Message::Answer(with_window(&answer, RECV_WINDOW)))
                    .await?;
                set_local(&pc, RtcSdpType::Answer, &answer).await?;
            }
        }

        let incoming = remote.into_stream().fuse();
        futures::pin_mut!(incoming);
        let mut sent = 0;
        loop {
            match pc.connection_state() {
                RtcPeerConnectionState::Connected if init.as_ref().is_none_or(Init::is_open) => {
                    break;
                }
                RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed => {
                    return Err(Error::NoPath);
                }
                _ => {}
            }
            futures::select! {
                candidate = candidates.select_next_some() => {
                    let room = match candidate.is_turn {
                        true => CANDIDATES_MAX,
                        false => CANDIDATES_BEFORE_TURN_MAX,
                    };
                    if sent < room {
                        sent += 1;
                        // A remote that is connected already may have ended the stream.
                        let message = Message::Candidate(candidate.json);
                        let _ = message::write(&mut write, &message).await;
                    }
                }
                received = incoming.next() => {
                    if let Some(Received::Candidate(json)) = received.transpose()? {
                        add_candidate(&pc, &json).await?;
                    }
                }
                () = changes.select_next_some() => {}
            }
        }
        // The new connection is established, so the close of the stream is not awaited.
        spawn_local(async move { drop(write.close().await) });
        Ok(connection)
    }
}

/// The receiving half of the signalling stream.
struct Remote<R> {
    read: R,
    exchange: Exchange,
}

impl<R: AsyncRead + Unpin> Remote<R> {
    /// Waits for the remote's description and passes it to the browser.
    async fn describe(&mut self, peer: &Rc<Peer>, kind: RtcSdpType) -> Result<(), Error> {
        let message = message::read(&mut self.read).await?;
        if let Received::Description { sdp, window } = self.exchange.receive(message)? {
            peer.set_window(window);
            JsFuture::from(peer.pc().set_remote_description(&description(kind, &sdp)))
                .await
                .map_err(js)?;
        }
        Ok(())
    }

    /// The messages after the description.
    fn into_stream(self) -> impl futures::Stream<Item = Result<Received, BadSignal>> {
        futures::stream::unfold(self, |mut this| async move {
            let received = match message::read(&mut this.read).await {
                Ok(None) => return None,
                Ok(message) => this.exchange.receive(message),
                Err(bad) => Err(bad),
            };
            Some((received, this))
        })
    }
}

/// The dialer's init channel, closed when the connection is established. Its opening shows that
/// SCTP works.
struct Init {
    channel: RtcDataChannel,
    _opened: EventListener,
}

impl Init {
    fn open(pc: &RtcPeerConnection, changed: mpsc::UnboundedSender<()>) -> Self {
        let channel = pc.create_data_channel(INIT_LABEL);
        let _opened =
            EventListener::new(&channel, "open", move |_| drop(changed.unbounded_send(())));
        Self { channel, _opened }
    }

    fn is_open(&self) -> bool {
        self.channel.ready_state() == RtcDataChannelState::Open
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// A local candidate.
struct Candidate {
    json: String,
    is_turn: bool,
}

impl Candidate {
    /// Returns the event's candidate. Skips the end marker, and TCP candidates, by which no browser
    /// can be reached.
    fn found(event: &JsValue) -> Option<Self> {
        let candidate = event.unchecked_ref::<RtcPeerConnectionIceEvent>().candidate()?;
        let text = candidate.candidate().to_ascii_lowercase();
        if text.is_empty() || text.contains(" tcp ") {
            return None;
        }
        let json = JSON::stringify(&candidate.to_json()).ok()?;
        Some(Self { json: json.into(), is_turn: text.contains(" typ relay") })
    }
}

/// Passes a remote candidate to the browser.
async fn add_candidate(pc: &RtcPeerConnection, json: &str) -> Result<(), Error> {
    let init = JSON::parse(json).map_err(|_| BadSignal::Candidate)?;
    let text = Reflect::get(&init, &"candidate".into()).ok().and_then(|text| text.as_string());
    let Some(text) = text else { return Err(BadSignal::Candidate.into()) };
    // Some browsers signal the end of the candidates in this way.
    if text.is_empty() {
        return Ok(());
    }
    let init = init.unchecked_ref::<RtcIceCandidateInit>();
    let added =
        JsFuture::from(pc.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(init))).await;
    if let Err(error) = added {
        // This browser does not support the candidate; it may support others.
        tracing::debug!(?error, "cannot use an ICE candidate");
    }
    Ok(())
}

async fn set_local(pc: &RtcPeerConnection, kind: RtcSdpType, sdp: &str) -> Result<(), Error> {
    JsFuture::from(pc.set_local_description(&description(kind, sdp))).await.map_err(js).map(drop)
}

fn sdp_of(description: &JsValue) -> String {
    Reflect::get(description, &"sdp".into())
        .ok()
        .and_then(|sdp| sdp.as_string())
        .unwrap_or_default()
}

fn ice_server(server: &IceServer) -> JsValue {
    let out = RtcIceServer::new();
    let urls: Array = server.urls.iter().map(|url| JsValue::from_str(url)).collect();
    out.set_urls(&urls);
    if let Some(username) = &server.username {
        out.set_username(username);
    }
    if let Some(credential) = &server.credential {
        out.set_credential(credential);
    }
    out.into()
}
