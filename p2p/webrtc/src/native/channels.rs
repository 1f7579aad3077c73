//! The data channels of one connection: moves frames between stream cores and SCTP.
//!
//! It controls the order in which streams send (round robin, a few frames at a time), the amount of
//! data in SCTP ([`SendWindow`]), and the end of a channel. Only the opener of a stream closes its
//! channel, and the other side answers: if both start, a late reset can hit the next channel to
//! which the browser assigns the same id. Closing also discards data that SCTP has not delivered,
//! so delivery is awaited first. A remote that never finishes gets [`LINGER`].

use super::window::SendWindow;
use crate::{
    Stream,
    budget::Budget,
    stream::{Core, DriverWaker, SharedCore, lock},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use str0m::{Rtc, channel::ChannelId};
use tokio::sync::{mpsc, oneshot};

/// How long a dropped stream waits for the remote's last frames before its channel is closed.
const LINGER: Duration = Duration::from_secs(10);
/// Messages that one stream may pass to SCTP before the other streams send.
const MESSAGES_PER_TURN: usize = 8;
/// Streams that the remote may open before it is authenticated; they are delivered only after that.
const UNAUTHENTICATED_STREAMS_MAX: usize = 16;

/// Commands from the muxer and the streams to a driver.
pub enum Command {
    /// A stream has frames to send, or its handle was dropped.
    Dirty(ChannelId),
    /// Open a stream.
    Open(oneshot::Sender<Stream>),
    /// Close the connection.
    Close,
}

/// Queues a stream's channel for the driver, at most once until the driver has handled it.
struct ChannelWaker {
    id: ChannelId,
    queued: AtomicBool,
    commands: mpsc::UnboundedSender<Command>,
}

impl DriverWaker for ChannelWaker {
    fn wake(&self) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let _ = self.commands.send(Command::Dirty(self.id));
        }
    }
}

struct Channel {
    core: SharedCore,
    waker: Arc<ChannelWaker>,
    /// For an outbound channel: receives the stream once the channel is open.
    opening: Option<oneshot::Sender<Stream>>,
    open: bool,
    /// Opened by the remote, which therefore closes it.
    inbound: bool,
    dropped_at: Option<Instant>,
    /// The channel's bytes that SCTP still holds.
    in_flight: usize,
}

impl Channel {
    fn stream(&self) -> Stream {
        Stream::new(self.core.clone(), self.waker.clone())
    }
}

/// The data channels of one connection, see the module's documentation.
pub struct Channels {
    commands: mpsc::UnboundedSender<Command>,
    channels: HashMap<ChannelId, Channel>,
    /// Channels whose frames wait for room in SCTP, in round-robin order.
    blocked: VecDeque<ChannelId>,
    budget: Arc<Budget>,
    peer_window: Option<u64>,
    inbound_max: usize,
    window: SendWindow,
    /// Bytes passed to SCTP in total, and the part that SCTP still holds.
    written: u64,
    in_flight: usize,
}

impl Channels {
    pub fn new(
        commands: mpsc::UnboundedSender<Command>,
        budget: Arc<Budget>,
        inbound_max: usize,
        send_buffer: usize,
    ) -> Self {
        Self {
            commands,
            channels: HashMap::new(),
            blocked: VecDeque::new(),
            budget,
            peer_window: None,
            inbound_max,
            window: SendWindow::new(send_buffer),
            written: 0,
            in_flight: 0,
        }
    }

    fn add(&mut self, id: ChannelId, core: Core, inbound: bool) -> &mut Channel {
        let waker = Arc::new(ChannelWaker {
            id,
            queued: AtomicBool::new(false),
            commands: self.commands.clone(),
        });
        self.channels.entry(id).or_insert(Channel {
            core: core.shared(),
            waker,
            opening: None,
            open: false,
            inbound,
            dropped_at: None,
            in_flight: 0,
        })
    }

    /// Adds channel 0. The client closes it, so for a server it counts as inbound.
    pub fn add_handshake(&mut self, id: ChannelId, inbound: bool) {
        let core = Core::handshake(self.budget.clone());
        self.add(id, core, inbound);
    }

    /// Adds an outbound channel; the stream is sent to `reply` once the channel is open.
    pub fn add_outbound(&mut self, id: ChannelId, reply: oneshot::Sender<Stream>) {
        let core = Core::new(self.peer_window, self.budget.clone());
        self.add(id, core, false).opening = Some(reply);
    }

    /// Handles the opening of an outbound channel; `None` if the channel is not one.
    pub fn opened(&mut self, id: ChannelId) -> Option<Stream> {
        let channel = self.channels.get_mut(&id)?;
        channel.open = true;
        Some(channel.stream())
    }

    /// Takes the sender that waits for this channel to open.
    pub fn take_opening(&mut self, id: ChannelId) -> Option<oneshot::Sender<Stream>> {
        self.channels.get_mut(&id)?.opening.take()
    }

    /// Accepts a channel of the remote; `None` if the remote has too many already.
    pub fn accept(&mut self, id: ChannelId) -> Option<Stream> {
        let max = if self.budget.is_authenticated() {
            self.inbound_max
        } else {
            UNAUTHENTICATED_STREAMS_MAX
        };
        if self.channels.values().filter(|c| c.inbound).count() >= max {
            return None;
        }
        let core = Core::new(self.peer_window, self.budget.clone());
        let channel = self.add(id, core, true);
        channel.open = true;
        Some(channel.stream())
    }

    /// Handles a message. On channel 0 the remote announces its window.
    pub fn receive(&mut self, rtc: &mut Rtc, id: ChannelId, message: Vec<u8>, is_handshake: bool) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let mut core = lock(&channel.core);
        core.receive(message.into());
        if is_handshake {
            self.peer_window = core.peer_window();
        }
        drop(core);
        // There may be a FIN_ACK, window updates, or the last frame before closing to send.
        self.flush(rtc, id);
    }

    /// Flushes a stream that woke the driver.
    pub fn flush_dirty(&mut self, rtc: &mut Rtc, id: ChannelId) {
        if let Some(channel) = self.channels.get(&id) {
            channel.waker.queued.store(false, Ordering::Release);
            self.flush(rtc, id);
        }
    }

    /// Handles a closed channel.
    pub fn closed(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.remove(&id) {
            lock(&channel.core).channel_closed();
        }
    }

    /// Ends every stream, because the connection is lost.
    pub fn close_all(&mut self) {
        for (_, channel) in self.channels.drain() {
            lock(&channel.core).channel_closed();
        }
    }

    /// Measures the amount that SCTP still holds, and updates the send window. Returns whether the
    /// remote has acknowledged anything.
    pub fn measure(&mut self, rtc: &mut Rtc, now: Instant) -> bool {
        let (mut held, mut is_acknowledged) = (0, false);
        for (id, channel) in &mut self.channels {
            // A closing channel gives no evidence about the remote.
            let Some(amount) = rtc.channel(*id).map(|mut sctp| sctp.buffered_amount()) else {
                continue;
            };
            is_acknowledged |= amount < std::mem::replace(&mut channel.in_flight, amount);
            held += amount;
        }
        self.in_flight = held;
        let acknowledged = self.written.saturating_sub(self.in_flight as u64);
        self.window.update(now, self.written, acknowledged);
        is_acknowledged
    }

    /// Moves frames from a stream to SCTP, as far as there is room, and ends finished channels.
    /// Returns whether the stream has more frames and there may still be room.
    pub fn flush(&mut self, rtc: &mut Rtc, id: ChannelId) -> bool {
        let Some(channel) = self.channels.get_mut(&id) else { return false };
        let mut more = false;
        let mut core = lock(&channel.core);
        if channel.open
            && let Some(mut sctp) = rtc.channel(id)
        {
            for turn in 0..=MESSAGES_PER_TURN {
                let Some(message) = core.next_message() else { break };
                let len = message.len();
                more = turn == MESSAGES_PER_TURN;
                if more
                    || !self.window.has_room(self.in_flight, len)
                    || !matches!(sctp.write(true, message), Ok(true))
                {
                    if !self.blocked.contains(&id) {
                        self.blocked.push_back(id);
                    }
                    break;
                }
                self.written += len as u64;
                self.in_flight += len;
                channel.in_flight += len;
                self.window.spend(len);
                core.sent();
            }
        }
        if core.is_dropped() {
            let since = *channel.dropped_at.get_or_insert_with(Instant::now);
            let settled = core.is_finished() && !channel.inbound;
            let mut delivered = || rtc.channel(id).is_none_or(|mut c| c.buffered_amount() == 0);
            if since.elapsed() > LINGER || (settled && delivered()) {
                rtc.direct_api().close_data_channel(id);
            }
        }
        more
    }

    /// Flushes the blocked streams in rounds, until SCTP is full or no stream is left.
    pub fn flush_blocked(&mut self, rtc: &mut Rtc) {
        let mut more = true;
        while std::mem::take(&mut more) {
            for _ in 0..self.blocked.len() {
                if let Some(id) = self.blocked.pop_front() {
                    more |= self.flush(rtc, id);
                }
            }
        }
    }

    /// The time at which pacing lets blocked streams continue without input from the remote.
    pub fn paced_until(&self) -> Option<Instant> {
        self.window.paced_until(self.in_flight).filter(|_| !self.blocked.is_empty())
    }

    /// Closes the channels whose linger time is over.
    pub fn close_lingering(&mut self, rtc: &mut Rtc) {
        let dropped = self.channels.iter().filter(|(_, c)| c.dropped_at.is_some());
        let dropped: Vec<ChannelId> = dropped.map(|(id, _)| *id).collect();
        for id in dropped {
            self.flush(rtc, id);
        }
    }
}
