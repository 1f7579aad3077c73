//! One `RTCPeerConnection` and its data channels, as a libp2p `StreamMuxer`.
//!
//! The connection counts as lost at the first of three signs: the SCTP transport closes, the
//! connection fails, or it stays disconnected for [`DISCONNECTED_MAX`].

use super::{
    channel::{Channel, ChannelOwner, Kind},
    js,
};
use crate::{Closed, Error, Stream, budget::Budget, stream::Core};
use futures::{Stream as _, channel::mpsc};
use futures_timer::Delay;
use js_sys::Reflect;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use send_wrapper::SendWrapper;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{RtcDataChannel, RtcDataChannelEvent, RtcPeerConnection, RtcPeerConnectionState};

/// How long a connection may be disconnected before it counts as lost. Chromium reports a
/// disconnect after some 5 s of silence, and would wait 15 s more.
const DISCONNECTED_MAX: Duration = Duration::from_secs(3);
/// Open streams of the remote; further ones are closed on arrival.
const INBOUND_MAX: usize = 256;
/// The same limit before the remote is authenticated.
const INBOUND_UNAUTHENTICATED_MAX: usize = 16;
/// Label of the channel that `/webrtc` opens only to have a data channel in its offer.
pub const INIT_LABEL: &str = "init";

/// The state that the callbacks share.
pub struct Peer {
    pc: RtcPeerConnection,
    weak: Weak<Peer>,
    budget: Arc<Budget>,
    channels: RefCell<HashMap<u32, Rc<Channel>>>,
    next_key: Cell<u32>,
    peer_window: Cell<Option<u64>>,
    has_init: Cell<bool>,
    /// Taken when the connection is lost, which ends the muxer's inbound queue.
    inbound: RefCell<Option<mpsc::UnboundedSender<Stream>>>,
    callbacks: RefCell<Option<Callbacks>>,
}

struct Callbacks {
    _on_channel: Closure<dyn FnMut(RtcDataChannelEvent)>,
    on_state: Closure<dyn FnMut(JsValue)>,
}

impl Peer {
    /// The browser's object.
    pub fn pc(&self) -> &RtcPeerConnection {
        &self.pc
    }

    /// Attaches a data channel, which the connection holds until the channel closes.
    pub fn attach(self: &Rc<Self>, dc: RtcDataChannel, kind: Kind) -> Rc<Channel> {
        let core = match kind {
            Kind::Handshake => Core::handshake(self.budget.clone()),
            _ => Core::new(self.peer_window.get(), self.budget.clone()),
        };
        let key = self.next_key.replace(self.next_key.get().wrapping_add(1));
        let owner: Weak<dyn ChannelOwner> = self.weak.clone();
        let channel = Channel::new(key, kind, dc, core.shared(), owner);
        self.channels.borrow_mut().insert(key, channel.clone());
        channel
    }

    /// Sets the window that the remote announced on channel 0, or in its session description.
    pub fn set_window(&self, window: Option<u64>) {
        self.peer_window.set(window);
    }

    fn is_lost(&self) -> bool {
        self.inbound.borrow().is_none()
    }

    /// Accepts a channel of the remote. It must attach at once: earlier messages would be lost.
    fn on_channel(self: &Rc<Self>, event: &RtcDataChannelEvent) {
        if event.channel().label() == INIT_LABEL {
            // The init channel does not count towards the limit, but only one is accepted; its
            // opener closes it.
            if self.has_init.replace(true) {
                event.channel().close();
            }
            return;
        }
        let max =
            if self.budget.is_authenticated() { INBOUND_MAX } else { INBOUND_UNAUTHENTICATED_MAX };
        if self.channels.borrow().values().filter(|c| c.is_inbound()).count() >= max {
            event.channel().close();
            return;
        }
        let channel = self.attach(event.channel(), Kind::Inbound);
        if let Some(inbound) = &*self.inbound.borrow() {
            let _ = inbound.unbounded_send(channel.stream());
        }
    }

    fn on_state(&self) {
        let sctp = self.sctp();
        if sctp.is_object() {
            // The earliest sign that the server ended the connection.
            if let Some(callbacks) = &*self.callbacks.borrow() {
                let _ = Reflect::set(&sctp, &"onstatechange".into(), callbacks.on_state.as_ref());
            }
            let state = Reflect::get(&sctp, &"state".into()).ok().and_then(|s| s.as_string());
            if state.as_deref() == Some("closed") {
                return self.lost();
            }
        }
        match self.pc.connection_state() {
            RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed => self.lost(),
            RtcPeerConnectionState::Disconnected => {
                let weak = self.weak.clone();
                spawn_local(async move {
                    Delay::new(DISCONNECTED_MAX).await;
                    if let Some(peer) = weak.upgrade()
                        && peer.pc.connection_state() == RtcPeerConnectionState::Disconnected
                    {
                        peer.lost();
                    }
                });
            }
            _ => {}
        }
    }

    fn sctp(&self) -> JsValue {
        Reflect::get(&self.pc, &"sctp".into()).unwrap_or(JsValue::NULL)
    }

    /// Ends all streams; the muxer then reports the loss.
    fn lost(&self) {
        self.inbound.borrow_mut().take();
        let channels = std::mem::take(&mut *self.channels.borrow_mut());
        for channel in channels.values() {
            channel.detach();
        }
    }

    fn close(&self) {
        self.pc.set_ondatachannel(None);
        self.pc.set_onconnectionstatechange(None);
        let sctp = self.sctp();
        if sctp.is_object() {
            let _ = Reflect::set(&sctp, &"onstatechange".into(), &JsValue::NULL);
        }
        self.lost();
        self.pc.close();
        self.callbacks.borrow_mut().take();
    }
}

impl ChannelOwner for Peer {
    fn announced(&self, window: Option<u64>) {
        self.set_window(window);
    }

    fn remove(&self, key: u32) {
        self.channels.borrow_mut().remove(&key);
    }
}

/// An authenticated connection. Closes when dropped.
pub struct Connection {
    peer: SendWrapper<Rc<Peer>>,
    inbound: mpsc::UnboundedReceiver<Stream>,
}

impl Connection {
    /// Takes over a peer connection before any data channel exists on it.
    pub(super) fn with_budget(pc: RtcPeerConnection, budget: Arc<Budget>) -> Self {
        let (inbound_tx, inbound) = mpsc::unbounded();
        let peer = Rc::new_cyclic(|weak: &Weak<Peer>| {
            let on_channel = Closure::new({
                let weak = weak.clone();
                move |event: RtcDataChannelEvent| {
                    if let Some(peer) = weak.upgrade() {
                        peer.on_channel(&event);
                    }
                }
            });
            let on_state = Closure::new({
                let weak = weak.clone();
                move |_: JsValue| {
                    if let Some(peer) = weak.upgrade() {
                        peer.on_state();
                    }
                }
            });
            pc.set_ondatachannel(Some(on_channel.as_ref().unchecked_ref()));
            pc.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));
            Peer {
                pc,
                weak: weak.clone(),
                budget,
                channels: RefCell::default(),
                next_key: Cell::new(0),
                peer_window: Cell::new(None),
                has_init: Cell::new(false),
                inbound: RefCell::new(Some(inbound_tx)),
                callbacks: RefCell::new(Some(Callbacks { _on_channel: on_channel, on_state })),
            }
        });
        Self { peer: SendWrapper::new(peer), inbound }
    }

    pub(super) fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        let next = ready!(Pin::new(&mut self.inbound).poll_next(cx));
        Poll::Ready(next.ok_or(Closed::Lost.into()))
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        if self.peer.is_lost() {
            return Poll::Ready(Err(Closed::Lost.into()));
        }
        // Called through Reflect, because web-sys declares the function infallible: Chrome throws
        // when all 512 stream ids of its side are in use.
        let create = Reflect::get(&self.peer.pc, &"createDataChannel".into()).map_err(js)?;
        let channel = create
            .unchecked_ref::<js_sys::Function>()
            .call1(&self.peer.pc, &"".into())
            .map_err(js)?;
        Poll::Ready(Ok(self.peer.attach(channel.unchecked_into(), Kind::Outbound).stream()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.peer.close();
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Error>> {
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.close();
    }
}
