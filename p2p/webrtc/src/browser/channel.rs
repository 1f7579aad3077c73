//! Ties an `RTCDataChannel` to a stream's core.
//!
//! Only the opener of a stream closes its channel, after both sides have ended (see the native
//! side's `channels` for why); a remote that never finishes gets [`LINGER`].

use super::peer::Peer;
use crate::{
    Stream,
    stream::{Outlet, SharedCore, lock},
};
use futures_timer::Delay;
use js_sys::{ArrayBuffer, Uint8Array};
use send_wrapper::SendWrapper;
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

/// How long a dropped stream waits for the remote's last words before its channel is closed.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes a stream may have in its data channel's own send buffer. Chrome refuses more than
/// 16 MiB; a few hundred KiB keep SCTP busy.
const BUFFERED_HIGH: u32 = 256 * 1024;

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Channel 0, ours to close.
    Handshake,
    /// Opened by us, ours to close.
    Outbound,
    /// Opened by the remote, which closes it.
    Inbound,
}

/// See the module's documentation.
pub struct Channel {
    key: u32,
    kind: Kind,
    dc: RtcDataChannel,
    core: SharedCore,
    peer: Weak<Peer>,
    weak: Weak<Channel>,
    /// A task that calls [`Channel::pump`] is scheduled.
    is_pump_scheduled: Cell<bool>,
    lingering: Cell<bool>,
    callbacks: RefCell<Option<Callbacks>>,
}

struct Callbacks {
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_ready: Closure<dyn FnMut(JsValue)>,
    _on_close: Closure<dyn FnMut(JsValue)>,
}

impl Channel {
    /// Attaches a data channel of the peer's, which keeps the result until the channel closes.
    pub fn attach(peer: &Rc<Peer>, dc: RtcDataChannel, kind: Kind) -> Rc<Channel> {
        let core = if kind == Kind::Handshake { peer.handshake_core() } else { peer.new_core() };
        peer.insert(|key| Self::new(key, kind, dc, core.shared(), Rc::downgrade(peer)))
    }

    fn new(
        key: u32,
        kind: Kind,
        dc: RtcDataChannel,
        core: SharedCore,
        peer: Weak<Peer>,
    ) -> Rc<Channel> {
        Rc::new_cyclic(|weak: &Weak<Channel>| {
            let with = |f: fn(&Channel)| {
                let weak = weak.clone();
                Closure::<dyn FnMut(JsValue)>::new(move |_: JsValue| {
                    if let Some(channel) = weak.upgrade() {
                        f(&channel);
                    }
                })
            };
            let on_message = Closure::<dyn FnMut(MessageEvent)>::new({
                let weak = weak.clone();
                move |event: MessageEvent| {
                    if let Some(channel) = weak.upgrade() {
                        channel.receive(event.data());
                    }
                }
            });
            let on_ready = with(Channel::pump);
            let on_close = with(Channel::closed);
            dc.set_binary_type(RtcDataChannelType::Arraybuffer);
            dc.set_buffered_amount_low_threshold(BUFFERED_HIGH / 2);
            dc.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            dc.set_onopen(Some(on_ready.as_ref().unchecked_ref()));
            dc.set_onbufferedamountlow(Some(on_ready.as_ref().unchecked_ref()));
            dc.set_onclose(Some(on_close.as_ref().unchecked_ref()));
            let callbacks =
                Callbacks { _on_message: on_message, _on_ready: on_ready, _on_close: on_close };
            Channel {
                key,
                kind,
                dc,
                core,
                peer,
                weak: weak.clone(),
                is_pump_scheduled: Cell::new(false),
                lingering: Cell::new(false),
                callbacks: RefCell::new(Some(callbacks)),
            }
        })
    }

    /// The application's handle.
    pub fn stream(self: &Rc<Self>) -> Stream {
        Stream::new(self.core.clone(), Arc::new(ChannelOutlet(SendWrapper::new(self.clone()))))
    }

    /// Whether the remote opened it.
    pub fn is_inbound(&self) -> bool {
        self.kind == Kind::Inbound
    }

    fn receive(&self, data: JsValue) {
        // Text is not ours; the specification knows binary messages only.
        let Ok(buffer) = data.dyn_into::<ArrayBuffer>() else { return };
        let mut core = lock(&self.core);
        core.receive(Uint8Array::new(&buffer).to_vec().into());
        if self.kind == Kind::Handshake
            && let Some(peer) = self.peer.upgrade()
        {
            // At once: the server may open streams before our side of Noise is through.
            peer.announced(core.peer_window());
        }
        drop(core);
        self.schedule_pump();
    }

    /// Schedules one [`Channel::pump`] after the tasks that are ready now, so that what they write
    /// leaves in few messages: a message costs the thread more than its bytes do.
    fn schedule_pump(&self) {
        if self.is_pump_scheduled.replace(true) {
            return;
        }
        let weak = self.weak.clone();
        spawn_local(async move {
            if let Some(channel) = weak.upgrade() {
                channel.pump();
            }
        });
    }

    /// Moves frames from the stream to the data channel, and closes it once all are sent.
    fn pump(&self) {
        self.is_pump_scheduled.set(false);
        let mut core = lock(&self.core);
        if self.dc.ready_state() == RtcDataChannelState::Open {
            let mut buffered = self.dc.buffered_amount() as usize;
            while let Some(message) = core.next_message() {
                // Goes on at onbufferedamountlow, which fires because the buffer is well filled.
                if buffered >= BUFFERED_HIGH as usize
                    || self.dc.send_with_u8_array(message).is_err()
                {
                    break;
                }
                buffered += message.len();
                core.sent();
            }
        }
        let (dropped, settled) = (core.is_dropped(), core.is_settled());
        drop(core);
        // The browser sends what is buffered before it closes.
        if dropped && settled && self.kind != Kind::Inbound {
            self.dc.close();
        } else if dropped && !self.lingering.replace(true) {
            let weak = self.weak.clone();
            spawn_local(async move {
                Delay::new(LINGER).await;
                if let Some(channel) = weak.upgrade() {
                    channel.dc.close();
                }
            });
        }
    }

    fn closed(&self) {
        self.detach();
        if let Some(peer) = self.peer.upgrade() {
            peer.remove(self.key);
        }
    }

    /// Takes the callbacks off the data channel and ends the stream.
    pub fn detach(&self) {
        if self.is_pump_scheduled.get() {
            self.pump();
        }
        self.dc.set_onmessage(None);
        self.dc.set_onopen(None);
        self.dc.set_onbufferedamountlow(None);
        self.dc.set_onclose(None);
        lock(&self.core).gone();
        self.callbacks.borrow_mut().take();
    }
}

struct ChannelOutlet(SendWrapper<Rc<Channel>>);

impl Outlet for ChannelOutlet {
    fn kick(&self) {
        self.0.schedule_pump();
    }
}
