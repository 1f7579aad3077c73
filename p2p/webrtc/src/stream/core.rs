//! The state machine of one stream: framing, both halves' life cycle, credit and memory.
//!
//! It refuses frames that do not decode, data beyond the granted window and data beyond the
//! connection's budget: each resets the stream, never the connection. The life cycle is that of
//! libp2p's `webrtc/README.md`, "Multiplexing".

use crate::{
    budget::{Budget, ENTRY_COST},
    frame::{self, BadFrame, Decoder, Flag, Frame},
};
use bytes::{Buf, Bytes};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The window of every new stream that is granted to the remote: the memory bound per stream.
pub const RECV_WINDOW: u64 = 1024 * 1024;
/// The minimum raise of the window. It is small so that SCTP detects a lost raise by the next ones
/// while the writer still has some of its window: detection takes three of them. Detection by
/// timeout would cost a whole second.
const GRANT_STEP: u64 = RECV_WINDOW / 16;
/// Unread bytes held for a peer without flow control before the stream is reset.
pub(super) const LEGACY_CAP: usize = 16 * 1024 * 1024;

/// A core shared between the stream's handle and the driver.
pub type SharedCore = Arc<Mutex<Core>>;

/// Locks a core. No code can panic while it is locked, so a poisoned core is still consistent.
pub fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Open,
    /// The remote finished; the inbox may still hold data.
    Fin,
    /// The remote reset its side, or the channel vanished before a FIN.
    Reset,
    /// The application stopped reading.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Open,
    /// FIN is queued or sent, but not acknowledged.
    Finishing,
    Finished,
    /// The local side aborted sending.
    Reset,
    /// The remote stopped reading.
    Stopped,
}

/// The state of a stream, see the module's documentation.
pub struct Core {
    budget: Arc<Budget>,
    decoder: Decoder,
    inbox: VecDeque<Bytes>,
    pub(super) unread: usize,
    consumed: u64,
    received: u64,
    /// Absolute receive limit granted to the remote.
    recv_limit: u64,
    pub(super) read: Read,
    /// FIN or RESET has arrived: the remote sends no more data.
    remote_ended: bool,

    pub(super) outbox: VecDeque<Vec<u8>>,
    outbox_len: usize,
    sent: u64,
    /// Absolute send limit; `u64::MAX` for a peer without flow control.
    send_limit: u64,
    pub(super) write: Write,
    fin_sent: bool,

    /// Channel 0 only: the next data frame carries our window.
    announces_window: bool,
    /// Channel 0 only: the window that the remote announced.
    peer_window: Option<u64>,
    has_flow_control: bool,

    is_closed: bool,
    /// The channel closed with unsent local frames.
    output_lost: bool,
    handle_dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Core {
    /// Creates the core of an application stream. `peer_window` is the remote's announced window,
    /// if any.
    pub fn new(peer_window: Option<u64>, budget: Arc<Budget>) -> Self {
        Self {
            budget,
            decoder: Decoder::default(),
            inbox: VecDeque::new(),
            unread: 0,
            consumed: 0,
            received: 0,
            recv_limit: RECV_WINDOW,
            read: Read::Open,
            remote_ended: false,
            outbox: VecDeque::new(),
            outbox_len: 0,
            sent: 0,
            send_limit: peer_window.unwrap_or(u64::MAX),
            write: Write::Open,
            fin_sent: false,
            announces_window: false,
            peer_window: None,
            has_flow_control: peer_window.is_some(),
            is_closed: false,
            output_lost: false,
            handle_dropped: false,
            reader: None,
            writer: None,
        }
    }

    /// Creates the core of channel 0, which carries the Noise handshake and announces windows.
    pub fn handshake(budget: Arc<Budget>) -> Self {
        let mut core = Self::new(None, budget);
        core.announces_window = true;
        core
    }

    /// Wraps the core for sharing between a handle and a driver.
    pub fn shared(self) -> SharedCore {
        Arc::new(Mutex::new(self))
    }

    // ---- driver side

    /// Takes one message from the data channel.
    pub fn receive(&mut self, message: Bytes) {
        self.decoder.push(message);
        loop {
            match self.decoder.next() {
                Ok(Some(frame)) => self.receive_frame(frame),
                Ok(None) => return,
                Err(BadFrame) => {
                    self.decoder = Decoder::default();
                    return self.abort();
                }
            }
        }
    }

    fn receive_frame(&mut self, frame: Frame) {
        if !frame.payload.is_empty() && self.read == Read::Open && !self.admit(frame.payload) {
            return self.abort();
        }
        if let Some(limit) = frame.window {
            if self.announces_window {
                self.peer_window = Some(limit);
            } else if self.has_flow_control && limit > self.send_limit {
                self.send_limit = limit;
                wake(&mut self.writer);
            }
        }
        match frame.flag {
            // Acknowledged once: a remote that repeats its FIN must not make us queue answers.
            Some(Flag::Fin) if !self.remote_ended => {
                self.remote_ended = true;
                if self.read == Read::Open {
                    self.read = Read::Fin;
                }
                self.push(Some(Flag::FinAck), b"", None);
                wake(&mut self.reader);
            }
            Some(Flag::FinAck) if self.write == Write::Finishing => self.write = Write::Finished,
            Some(Flag::Reset) => {
                self.remote_ended = true;
                if self.read == Read::Open {
                    self.read = Read::Reset;
                }
                wake(&mut self.reader);
            }
            Some(Flag::StopSending) if matches!(self.write, Write::Open | Write::Finishing) => {
                self.write = Write::Stopped;
                wake(&mut self.writer);
            }
            _ => {}
        }
    }

    /// Puts a payload into the inbox if the remote's credit and the budget allow it.
    fn admit(&mut self, payload: Bytes) -> bool {
        let n = payload.len();
        self.received = self.received.saturating_add(n as u64);
        let overrun = if self.has_flow_control {
            self.received > self.recv_limit
        } else {
            self.unread + n > LEGACY_CAP
        };
        if overrun || !self.budget.charge(n + ENTRY_COST) {
            tracing::debug!(
                unread = self.unread,
                overrun,
                "the remote sent more than the receive window"
            );
            return false;
        }
        self.unread += n;
        self.inbox.push_back(payload);
        wake(&mut self.reader);
        true
    }

    /// Handles the end of the data channel or the connection.
    pub fn channel_closed(&mut self) {
        self.is_closed = true;
        if self.read == Read::Open {
            self.read = Read::Reset;
        }
        self.output_lost = !self.outbox.is_empty();
        self.clear_outbox();
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    /// Returns the next message for the data channel: as many queued frames as fit. Call
    /// [`Core::sent`] once the channel has accepted it.
    pub fn next_message(&mut self) -> Option<&[u8]> {
        while let [first, second, ..] = self.outbox.make_contiguous()
            && first.len() + second.len() <= frame::MAX_MESSAGE
        {
            first.append(second);
            self.outbox.remove(1);
        }
        self.outbox.front().map(Vec::as_slice)
    }

    /// Records that the data channel accepted the message of [`Core::next_message`].
    pub fn sent(&mut self) {
        if let Some(message) = self.outbox.pop_front() {
            self.outbox_len -= message.len();
            self.budget.unqueued(message.len());
            if self.outbox_len <= self.budget.outbox_max() / 2 {
                wake(&mut self.writer);
            }
        }
    }

    /// Channel 0 only: the window that the remote announced, if it has flow control.
    pub fn peer_window(&self) -> Option<u64> {
        self.peer_window
    }

    /// Whether the stream's handle is dropped; the driver then lingers and closes the channel.
    pub fn is_dropped(&self) -> bool {
        self.handle_dropped
    }

    /// Whether both sides have ended and this is acknowledged, so that the data channel can be
    /// closed at once. To str0m, a frame that arrives after closing would look like a new channel.
    pub fn is_finished(&self) -> bool {
        let ended = self.remote_ended && !matches!(self.write, Write::Open | Write::Finishing);
        self.is_closed || (self.handle_dropped && self.outbox.is_empty() && ended)
    }

    // ---- shared

    fn push(&mut self, flag: Option<Flag>, payload: &[u8], window: Option<u64>) {
        if !self.is_closed {
            let frame = frame::encode(flag, payload, window);
            self.outbox_len += frame.len();
            self.budget.queued(frame.len());
            self.outbox.push_back(frame);
        }
    }

    /// Ends both directions at once.
    fn abort(&mut self) {
        self.clear_inbox();
        if self.read == Read::Open {
            self.read = Read::Reset;
            self.push(Some(Flag::StopSending), b"", None);
        }
        if self.write == Write::Open {
            self.write = Write::Reset;
            self.push(Some(Flag::Reset), b"", None);
        }
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn clear_inbox(&mut self) {
        self.budget.release(self.unread + self.inbox.len() * ENTRY_COST);
        self.inbox.clear();
        self.unread = 0;
    }

    fn clear_outbox(&mut self) {
        self.budget.unqueued(self.outbox_len);
        self.outbox.clear();
        self.outbox_len = 0;
    }

    // ---- application side; the returned flag states whether the driver must be woken

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> (Poll<io::Result<usize>>, bool) {
        let (mut n, mut entries) = (0, 0);
        while let (Some(front), Some(room)) =
            (self.inbox.front_mut(), buf.get_mut(n..).filter(|r| !r.is_empty()))
        {
            let k = front.len().min(room.len());
            front.copy_to_slice(room.split_at_mut(k).0);
            n += k;
            if front.is_empty() {
                self.inbox.pop_front();
                entries += 1;
            }
        }
        if n == 0 && !buf.is_empty() {
            return match self.read {
                Read::Open => {
                    self.reader = Some(cx.waker().clone());
                    (Poll::Pending, false)
                }
                Read::Fin | Read::Stopped => (Poll::Ready(Ok(0)), false),
                Read::Reset => (Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())), false),
            };
        }
        self.unread -= n;
        self.budget.release(n + entries * ENTRY_COST);
        self.consumed += n as u64;
        let limit = self.consumed + RECV_WINDOW;
        let grant = self.has_flow_control
            && self.read == Read::Open
            && limit - self.recv_limit >= GRANT_STEP;
        if grant {
            self.recv_limit = limit;
            self.push(None, b"", Some(limit));
        }
        (Poll::Ready(Ok(n)), grant)
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write != Write::Open || self.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut rest = data;
        while !rest.is_empty()
            && self.outbox_len < self.budget.outbox_max()
            && self.sent < self.send_limit
        {
            let credit = (self.send_limit - self.sent).min(frame::MAX_PAYLOAD as u64) as usize;
            let (payload, tail) = rest.split_at(credit.min(rest.len()));
            // The first frame of channel 0 announces our window.
            let window = (self.announces_window && self.sent == 0).then_some(RECV_WINDOW);
            self.push(None, payload, window);
            self.sent += payload.len() as u64;
            rest = tail;
        }
        if rest.len() == data.len() && !data.is_empty() {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(data.len() - rest.len()))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A remote that has received all it needs may close the channel before we get here: no
        // error.
        if self.output_lost {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Queues FIN. It does not wait for FIN_ACK (a round trip for every request); the driver keeps
    /// the channel until it arrives.
    pub(super) fn start_close(&mut self) -> bool {
        let open = self.write == Write::Open;
        if open {
            self.write = Write::Finishing;
            self.finish();
        }
        open
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.fin_sent, true) {
            self.push(Some(Flag::Fin), b"", None);
        }
    }

    pub(super) fn drop_handle(&mut self) {
        self.handle_dropped = true;
        self.clear_inbox();
        if self.write == Write::Open {
            self.write = Write::Reset;
            self.push(Some(Flag::Reset), b"", None);
        } else if self.write == Write::Stopped {
            // js-libp2p keeps a stream that it stopped reading until our side is finished, too.
            self.finish();
        }
        if self.read == Read::Open {
            self.read = Read::Stopped;
            self.push(Some(Flag::StopSending), b"", None);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.clear_inbox();
        self.clear_outbox();
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(w) = waker.take() {
        w.wake();
    }
}
