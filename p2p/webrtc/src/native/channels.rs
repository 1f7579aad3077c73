//! The data channels of one connection: moves frames between stream cores and SCTP.
//!
//! It owns the order in which streams send (round robin, a few frames a turn), how much SCTP
//! holds at once ([`SendWindow`]), and the end of a channel. Only the opener of a stream closes its
//! channel, the other side answers: if both start, a late reset can hit the next channel that the
//! browser gives the same id. Closing also discards what SCTP has not delivered, so that is
//! awaited, and a remote that never finishes gets [`LINGER`].

use super::window::SendWindow;
use crate::{
    Stream,
    budget::Budget,
    stream::{Core, Outlet, SharedCore, lock},
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

/// How long a dropped stream waits for the remote's last words before its channel is closed.
const LINGER: Duration = Duration::from_secs(10);
/// Messages that one stream may hand to SCTP before the others get their turn.
const MESSAGES_PER_TURN: usize = 8;
/// Streams that the remote may open before it is authenticated; they wait until it is.
const UNAUTHENTICATED_STREAMS_MAX: usize = 16;

/// What the muxer and the streams ask of a driver.
pub enum Command {
    /// A stream has frames to send, or its handle was dropped.
    Dirty(ChannelId),
    /// Open a stream.
    Open(oneshot::Sender<Stream>),
    /// Close the connection.
    Close,
}

/// Puts a stream's channel on the driver's list, once until the driver has looked at it.
struct ChannelOutlet {
    id: ChannelId,
    queued: AtomicBool,
    commands: mpsc::UnboundedSender<Command>,
}

impl Outlet for ChannelOutlet {
    fn kick(&self) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let _ = self.commands.send(Command::Dirty(self.id));
        }
    }
}

struct Channel {
    core: SharedCore,
    outlet: Arc<ChannelOutlet>,
    /// Waiting to be handed to the application (a channel that we open) once it is open.
    opening: Option<oneshot::Sender<Stream>>,
    open: bool,
    /// Opened by the remote, which therefore closes it.
    inbound: bool,
    dropped_at: Option<Instant>,
    /// Bytes that SCTP still has of it.
    in_flight: usize,
}

impl Channel {
    fn stream(&self) -> Stream {
        Stream::new(self.core.clone(), self.outlet.clone())
    }
}

/// See the module's documentation.
pub struct Channels {
    commands: mpsc::UnboundedSender<Command>,
    channels: HashMap<ChannelId, Channel>,
    /// Channels with frames that SCTP had no room for, in round-robin order.
    blocked: VecDeque<ChannelId>,
    budget: Arc<Budget>,
    peer_window: Option<u64>,
    inbound_max: usize,
    window: SendWindow,
    /// Bytes ever handed to SCTP, and those of them that it still holds.
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
        let outlet = Arc::new(ChannelOutlet {
            id,
            queued: AtomicBool::new(false),
            commands: self.commands.clone(),
        });
        self.channels.entry(id).or_insert(Channel {
            core: core.shared(),
            outlet,
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

    /// Adds a channel of ours; the stream goes to `reply` once the channel is open.
    pub fn add_outbound(&mut self, id: ChannelId, reply: oneshot::Sender<Stream>) {
        let core = Core::new(self.peer_window, self.budget.clone());
        self.add(id, core, false).opening = Some(reply);
    }

    /// One of our channels is open; `None` if the channel is not ours.
    pub fn opened(&mut self, id: ChannelId) -> Option<Stream> {
        let channel = self.channels.get_mut(&id)?;
        channel.open = true;
        Some(channel.stream())
    }

    /// Takes whoever waits for this channel to open.
    pub fn take_opening(&mut self, id: ChannelId) -> Option<oneshot::Sender<Stream>> {
        self.channels.get_mut(&id)?.opening.take()
    }

    /// The remote opened a channel; `None` if it has too many already.
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

    /// A message arrived. On channel 0 the remote announces its window.
    pub fn receive(&mut self, rtc: &mut Rtc, id: ChannelId, message: Vec<u8>, is_handshake: bool) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let mut core = lock(&channel.core);
        core.receive(message.into());
        if is_handshake {
            self.peer_window = core.peer_window();
        }
        drop(core);
        // FIN_ACK, window updates to come, or the last word before closing.
        self.flush(rtc, id);
    }

    /// The stream has asked for attention.
    pub fn dirty(&mut self, rtc: &mut Rtc, id: ChannelId) {
        if let Some(channel) = self.channels.get(&id) {
            channel.outlet.queued.store(false, Ordering::Release);
            self.flush(rtc, id);
        }
    }

    /// The channel is closed.
    pub fn closed(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.remove(&id) {
            lock(&channel.core).gone();
        }
    }

    /// The connection is lost: every stream learns of it.
    pub fn close_all(&mut self) {
        for (_, channel) in self.channels.drain() {
            lock(&channel.core).gone();
        }
    }

    /// Learns what SCTP still holds, and from that how much it should. Returns whether the remote
    /// has acknowledged anything.
    pub fn measure(&mut self, rtc: &mut Rtc, now: Instant) -> bool {
        let (mut held, mut is_acknowledged) = (0, false);
        for (id, channel) in &mut self.channels {
            // A channel that is closing says nothing of the remote.
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
    /// Returns whether the stream has more and there may still be room.
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
            let settled = core.is_settled() && !channel.inbound;
            let mut delivered = || rtc.channel(id).is_none_or(|mut c| c.buffered_amount() == 0);
            if since.elapsed() > LINGER || (settled && delivered()) {
                rtc.direct_api().close_data_channel(id);
            }
        }
        more
    }

    /// Gives each blocked stream its turns, until SCTP is full or none is left.
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

    /// When blocked streams may go on without anything having come from the remote.
    pub fn paced_until(&self) -> Option<Instant> {
        self.window.paced_until(self.in_flight).filter(|_| !self.blocked.is_empty())
    }

    /// Closes what has lingered long enough.
    pub fn sweep(&mut self, rtc: &mut Rtc) {
        let dropped = self.channels.iter().filter(|(_, c)| c.dropped_at.is_some());
        let dropped: Vec<ChannelId> = dropped.map(|(id, _)| *id).collect();
        for id in dropped {
            self.flush(rtc, id);
        }
    }
}
