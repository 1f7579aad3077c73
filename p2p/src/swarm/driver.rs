//! The loop of the task that owns the swarm: commands, events of the swarm, and timers.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, channel::mpsc};
use libp2p::{Multiaddr, PeerId, Swarm, Transport, identity::Keypair, relay, swarm::SwarmEvent};
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{
    behaviour::{Behaviour, BehaviourEvent},
    command::Command,
    shared::Shared,
    transports::transports,
};
use crate::{
    config::Config,
    connections::{
        listeners::Listeners,
        peers::Peers,
        pending_dials::{DIALS_MAX, Origin, PendingDials},
        persistent_peers::PersistentPeers,
        relay_metrics::RelayMetrics,
        webrtc_upgrade::WebRtcUpgrades,
    },
    error::{RequestError, SpawnError},
    event::{DisconnectReason, Event},
    identity::peer_id,
    path::{self, TransportKind},
    protocols::OutboundRequest,
    timer::Delay,
    transport,
};

/// Events queued for the application before the swarm pauses.
pub const EVENTS_MAX: usize = 1024;
/// Steps after which the driver yields to other tasks: in a browser tab they share its thread.
const STEPS_PER_YIELD: u32 = 64;
/// Time limit for closing the connections when the network ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Driver {
    pub(super) local: PeerId,
    pub(super) swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Events that did not fit into `events`. The swarm is polled only while this is empty.
    outbox: VecDeque<Event>,
    pub(super) peers: Peers,
    pub(super) relay_metrics: RelayMetrics,
    pub(super) pending_dials: PendingDials,
    dials_max: usize,
    /// Handle to cancel the dial that was started last.
    pub(super) last_dial: transport::cancel::LastDial,
    pub(super) persistent_peers: PersistentPeers,
    pub(super) webrtc_upgrades: WebRtcUpgrades,
    pub(super) listeners: Listeners,
    /// Addresses announced as given, instead of the listening addresses.
    pub(super) external_addrs: Vec<Multiaddr>,
    /// The transports that this host can dial.
    pub(super) dialable: Vec<TransportKind>,
    timer: Timer,
    steps: u32,
}

enum Step {
    Command(Option<Command>),
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Deadline,
    /// The application has dropped its event stream.
    EventsDropped,
}

impl Driver {
    pub fn new(
        config: Config,
        keys: &Keypair,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        shared: Shared,
    ) -> Result<Self, SpawnError> {
        let local = keys.public().to_peer_id();
        let (relay_transport, relay_client) = relay::client::new(local);
        let newest_dial = transport::cancel::LastDial::default();
        let (transport, signalling) = transports(&config, keys, relay_transport, &shared)?;
        let transport = transport::cancel::Cancellable::new(transport, newest_dial.clone()).boxed();
        let behaviour =
            Behaviour::new(&config, keys, relay_client, signalling, shared.notifications.clone());
        let mut swarm =
            Swarm::new(transport, behaviour, local, swarm_config(config.standby_timeout));
        // Announced with each reservation, whose circuits carry the signalling.
        #[cfg(target_arch = "wasm32")]
        swarm
            .listen_on(Multiaddr::empty().with(libp2p::multiaddr::Protocol::WebRTC))
            .map_err(|error| SpawnError::Transport(error.to_string()))?;
        config.external_addrs.iter().for_each(|addr| swarm.add_external_address(addr.clone()));

        let dialable = TransportKind::ALL
            .into_iter()
            .filter(|kind| transport::can_dial(&config, *kind))
            .collect();

        let now = Instant::now();
        let seed = seed_of(&local);
        let mut persistent_peers = PersistentPeers::new(seed);
        let others =
            config.persistent_peers.iter().filter(|addr| path::target_of(addr) != Some(local));
        others.for_each(|addr| persistent_peers.add(addr.clone(), false, now));
        Ok(Self {
            local,
            swarm,
            commands,
            events,
            outbox: VecDeque::new(),
            peers: Peers::new(shared.peers, shared.notifications),
            relay_metrics: shared.relay_metrics,
            pending_dials: PendingDials::default(),
            dials_max: DIALS_MAX
                .min(usize::try_from(config.limits.pending_outbound).unwrap_or(DIALS_MAX)),
            last_dial: newest_dial,
            persistent_peers,
            webrtc_upgrades: WebRtcUpgrades::default(),
            listeners: Listeners::new(!seed),
            external_addrs: config.external_addrs,
            dialable,
            timer: Timer::default(),
            steps: 0,
        })
    }

    pub async fn run(mut self) {
        let closed = loop {
            self.poll_timers();
            match poll_fn(|cx| self.poll(cx)).await {
                Step::Command(Some(Command::Close(done))) => break Some(done),
                Step::Command(Some(command)) => self.command(command),
                Step::Command(None) | Step::EventsDropped => break None,
                Step::Swarm(event) => self.on_swarm_event(*event),
                Step::Deadline => {}
            }
        };
        self.close().await;
        drop(self);
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_YIELD) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Alternates the order of commands and swarm, so that neither starves the other.
        let step = match self.steps % 2 {
            0 => self.poll_commands(cx).or_else(|| self.poll_swarm(cx)),
            _ => self.poll_swarm(cx).or_else(|| self.poll_commands(cx)),
        };
        if let Some(step) = step {
            return Poll::Ready(step);
        }
        // Without a free dial slot the driver waits for a dial to end.
        let dials = self.persistent_peers.deadline().filter(|_| self.free_dial_slots() > 0);
        let deadlines = [dials, self.webrtc_upgrades.deadline(), self.listeners.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        self.timer.poll(deadline, cx).map(|()| Step::Deadline)
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        match self.commands.poll_next_unpin(cx) {
            Poll::Ready(command) => Some(Step::Command(command)),
            Poll::Pending => None,
        }
    }

    /// Delivers queued events first; polls the swarm only when none is left.
    fn poll_swarm(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        while !self.outbox.is_empty() {
            match self.events.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    if let Some(event) = self.outbox.pop_front() {
                        // There is room, or the receiver is gone, which the next step detects.
                        let _ = self.events.start_send(event);
                    }
                }
                Poll::Ready(Err(_)) => return Some(Step::EventsDropped),
                Poll::Pending => return None,
            }
        }
        match self.swarm.poll_next_unpin(cx) {
            Poll::Ready(Some(event)) => Some(Step::Swarm(Box::new(event))),
            Poll::Ready(None) => Some(Step::EventsDropped),
            Poll::Pending => None,
        }
    }

    /// Dials the persistent peers and renews the reservations that are due.
    fn poll_timers(&mut self) {
        let now = Instant::now();
        for (peer, connection, is_standby) in self.peers.standby_changes() {
            self.swarm.behaviour_mut().protocols.set_standby(peer, connection, is_standby);
        }
        for addr in self.persistent_peers.due(now, self.free_dial_slots()) {
            self.dial(addr, Origin::PersistentPeer);
        }
        for addr in self.webrtc_upgrades.due(now) {
            self.dial(addr, Origin::WebRtcUpgrade);
        }
        for addr in self.listeners.due(now) {
            self.listen(addr, None);
        }
    }

    /// How many more dials may start.
    fn free_dial_slots(&self) -> usize {
        self.dials_max.saturating_sub(self.pending_dials.len())
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.outbox.push_back(event);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Listen(addr, reply) => self.listen(addr, Some(reply)),
            Command::Unlisten(addr) => self.unlisten(&addr),
            Command::Dial(addr, reply) => self.dial(addr, Origin::Caller(reply)),
            Command::Request(peer, outbound) => self.request(peer, outbound),
            Command::AddPersistentPeer(addr) => {
                let target = path::target_of(&addr);
                if target != Some(self.local) {
                    let is_connected = target.is_some_and(|peer| self.peers.best(&peer).is_some());
                    self.persistent_peers.add(addr, is_connected, Instant::now());
                }
            }
            Command::RemovePersistentPeer(peer) => {
                if let Some(peer) = peer_id(peer) {
                    self.persistent_peers.remove(&peer);
                }
            }
            Command::Disconnect(peer, done) => {
                if let Some(peer) = peer_id(peer) {
                    self.disconnect(&peer, &DisconnectReason::Local);
                }
                let _ = done.send(());
            }
            Command::Close(_) => {}
        }
    }

    fn request(&mut self, peer: NodeId, outbound: OutboundRequest) {
        let best = peer_id(peer).and_then(|peer| Some((peer, self.peers.best(&peer)?)));
        match best {
            Some((peer, (connection, _))) => {
                self.swarm.behaviour_mut().protocols.send(peer, connection, outbound)
            }
            None => drop(outbound.response.send(Err(RequestError::NotConnected))),
        }
    }

    fn disconnect(&mut self, peer: &PeerId, reason: &DisconnectReason) {
        for connection in self.peers.mark_all_closing(peer, reason) {
            self.swarm.close_connection(connection);
        }
    }

    async fn close(&mut self) {
        for peer in self.peers.all() {
            self.disconnect(&peer, &DisconnectReason::Local);
        }
        let mut deadline = Delay::new(CLOSE_TIMEOUT);
        while !self.peers.is_empty() {
            futures::select_biased! {
                () = (&mut deadline).fuse() => break,
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } = event {
                        self.peers.closed(&peer_id, connection_id, DisconnectReason::Local);
                    }
                }
            }
        }
        for peer in self.peers.all() {
            self.peers.forget(&peer);
        }
    }
}

/// A timer that is reset only when the deadline changes.
#[derive(Default)]
struct Timer {
    at: Option<Instant>,
    delay: Option<Delay>,
}

impl Timer {
    fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        if deadline != self.at {
            let wait = |at: Instant| Delay::new(at.saturating_duration_since(Instant::now()));
            (self.at, self.delay) = (deadline, deadline.map(wait));
        }
        let Some(delay) = &mut self.delay else { return Poll::Pending };
        futures::ready!(delay.poll_unpin(cx));
        (self.at, self.delay) = (None, None);
        Poll::Ready(())
    }
}

fn seed_of(peer: &PeerId) -> u64 {
    peer.to_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// A standby connection without streams is closed after this time.
fn swarm_config(standby: Duration) -> libp2p::swarm::Config {
    #[cfg(not(target_arch = "wasm32"))]
    let config = libp2p::swarm::Config::with_tokio_executor();
    #[cfg(target_arch = "wasm32")]
    let config = libp2p::swarm::Config::with_wasm_executor();
    let config = config.with_idle_connection_timeout(standby);
    // Protocol negotiation is sent with a request's first bytes: an exchange takes one round trip,
    // not two.
    config.with_substream_upgrade_protocol_override(libp2p::core::upgrade::Version::V1Lazy)
}
