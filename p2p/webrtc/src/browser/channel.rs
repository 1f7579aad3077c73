//! Connects an `RTCDataChannel` to a stream's core.
//!
//! Only the opener of a stream closes its channel, after both sides have ended (the native
//! `channels` module gives the reason). A remote that never finishes gets [`LINGER`].

use crate::{
    Stream,
    stream::{DriverWaker, SharedCore, lock},
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

/// How long a dropped stream waits for the remote's last frames before its channel is closed.
const LINGER: Duration = Duration::from_secs(10);
/// Limit of a stream's bytes in the send buffer of its data channel. Chrome refuses more than 16
/// MiB; a few hundred KiB keep SCTP busy.
const BUFFERED_HIGH: u32 = 256 * 1024;

/// The purpose of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Channel 0, closed by this side.
    Handshake,
    /// Opened and closed by this side.
    Outbound,
    /// Opened and closed by the remote.
    Inbound,
}

/// The connection that a channel belongs to. It holds the channel until the channel is removed.
pub trait ChannelOwner {
    /// Sets the window that the remote announced on channel 0.
    fn announced(&self, window: Option<u64>);
    /// Removes a closed channel.
    fn remove(&self, key: u32);
}

/// A data channel and its stream's core, see the module's documentation.
pub struct Channel {
    key: u32,
    kind: Kind,
    dc: RtcDataChannel,
    core: SharedCore,
    owner: Weak<dyn ChannelOwner>,
    weak: Weak<Channel>,
    /// Whether a task that calls [`Channel::flush`] is scheduled.
    is_flush_scheduled: Cell<bool>,
    lingering: Cell<bool>,
    callbacks: RefCell<Option<Callbacks>>,
}

struct Callbacks {
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_ready: Closure<dyn FnMut(JsValue)>,
    _on_close: Closure<dyn FnMut(JsValue)>,
}

impl Channel {
    /// Connects a data channel to the core of its stream. `key` names the channel to its owner.
    pub fn new(
        key: u32,
        kind: Kind,
        dc: RtcDataChannel,
        core: SharedCore,
        owner: Weak<dyn ChannelOwner>,
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
            let on_ready = with(Channel::flush);
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
                owner,
                weak: weak.clone(),
                is_flush_scheduled: Cell::new(false),
                lingering: Cell::new(false),
                callbacks: RefCell::new(Some(callbacks)),
            }
        })
    }

    /// The stream handle for the application.
    pub fn stream(self: &Rc<Self>) -> Stream {
        Stream::new(self.core.clone(), Arc::new(ChannelWaker(SendWrapper::new(self.clone()))))
    }

    /// Whether the remote opened the channel.
    pub fn is_inbound(&self) -> bool {
        self.kind == Kind::Inbound
    }

    fn receive(&self, data: JsValue) {
        // Ignore text: the specification allows binary messages only.
        let Ok(buffer) = data.dyn_into::<ArrayBuffer>() else { return };
        let mut core = lock(&self.core);
        core.receive(Uint8Array::new(&buffer).to_vec().into());
        if self.kind == Kind::Handshake
            && let Some(owner) = self.owner.upgrade()
        {
            // Apply it at once: the server may open streams before our Noise handshake is complete.
            owner.announced(core.peer_window());
        }
        drop(core);
        self.schedule_flush();
    }

    /// Schedules one [`Channel::flush`] after the tasks that are ready now, so that their writes
    /// are sent in few messages: a message costs the thread more than its bytes.
    fn schedule_flush(&self) {
        if self.is_flush_scheduled.replace(true) {
            return;
        }
        let weak = self.weak.clone();
        spawn_local(async move {
            if let Some(channel) = weak.upgrade() {
                channel.flush();
            }
        });
    }

    /// Moves frames from the stream to the data channel, and closes it once all are sent.
    fn flush(&self) {
        self.is_flush_scheduled.set(false);
        let mut core = lock(&self.core);
        if self.dc.ready_state() == RtcDataChannelState::Open {
            let mut buffered = self.dc.buffered_amount() as usize;
            while let Some(message) = core.next_message() {
                // Sending continues at onbufferedamountlow, which fires because the buffer is well
                // filled.
                if buffered >= BUFFERED_HIGH as usize
                    || self.dc.send_with_u8_array(message).is_err()
                {
                    break;
                }
                buffered += message.len();
                core.sent();
            }
        }
        let (dropped, settled) = (core.is_dropped(), core.is_finished());
        drop(core);
        // The browser sends the buffered data before it closes.
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
        if let Some(owner) = self.owner.upgrade() {
            owner.remove(self.key);
        }
    }

    /// Removes the callbacks from the data channel and ends the stream.
    pub fn detach(&self) {
        if self.is_flush_scheduled.get() {
            self.flush();
        }
        self.dc.set_onmessage(None);
        self.dc.set_onopen(None);
        self.dc.set_onbufferedamountlow(None);
        self.dc.set_onclose(None);
        lock(&self.core).channel_closed();
        self.callbacks.borrow_mut().take();
    }
}

struct ChannelWaker(SendWrapper<Rc<Channel>>);

impl DriverWaker for ChannelWaker {
    fn wake(&self) {
        self.0.schedule_flush();
    }
}
