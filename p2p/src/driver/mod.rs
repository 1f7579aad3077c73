//! The one task that owns the swarm.
//!
//! It takes commands from the handles, turns what libp2p reports into [`Event`]s, and keeps
//! connections to kept peers and reservations at relays alive. Nothing in here waits: while the
//! application does not take its events, the swarm is not polled, and so peers wait instead of
//! memory growing.

mod backoff;
mod behaviour;
mod claims;
mod dials;
mod keep;
mod listens;
mod peers;
mod per_ip;
mod pings;
mod prompt;
mod race;
mod react;
mod upgrade;

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, channel::mpsc};
use libp2p::{Multiaddr, PeerId, Swarm, Transport, identity::Keypair, relay, swarm::SwarmEvent};
use tequio_core::types::NodeId;
use web_time::Instant;

pub(crate) use self::behaviour::Signalling;
#[cfg(target_arch = "wasm32")]
pub(crate) use self::dials::root_cause;
pub(crate) use self::peers::Snapshot;
use self::{
    behaviour::{Behaviour, BehaviourEvent},
    dials::{DIALS_MAX, Dials, Origin},
    keep::Keep,
    listens::Listens,
    peers::Peers,
    upgrade::Upgrades,
};
pub use self::{claims::may_try, peers::PeerInfo};
use crate::{
    circuits::CircuitMeter,
    config::Config,
    error::{RequestError, SpawnError},
    event::{DisconnectReason, Event},
    identity::peer_id,
    network::Command,
    path::{self, TransportKind},
    rpc::Outbound,
    tell::Hub,
    timer::Delay,
    traffic::Meter,
    transport,
};

/// Events that may wait for the application before the swarm pauses.
pub const EVENTS_MAX: usize = 1024;
/// Steps after which other tasks get a turn: in a browser tab they share our thread.
const STEPS_PER_TURN: u32 = 64;
/// For connections to close once the network ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Driver {
    local: PeerId,
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// What did not fit into `events`; the swarm is polled only while it is empty.
    outbox: VecDeque<Event>,
    peers: Peers,
    circuits: CircuitMeter,
    dials: Dials,
    dials_max: usize,
    /// To give up the dial that was started last.
    newest_dial: transport::cancel::Newest,
    keep: Keep,
    upgrades: Upgrades,
    listens: Listens,
    /// Announced as given instead of what we listen on.
    external: Vec<Multiaddr>,
    /// What this host can dial over.
    dialable: Vec<TransportKind>,
    timer: Timer,
    steps: u32,
}

/// What the driver shares with the handles of the network.
#[derive(Clone)]
pub(crate) struct Shared {
    pub peers: Snapshot,
    pub meter: Meter,
    pub circuits: CircuitMeter,
    pub hub: Arc<Hub>,
    pub ice_servers: tequio_webrtc::IceServers,
    #[cfg(target_arch = "wasm32")]
    pub signaller: tequio_webrtc::Signaller,
}

enum Step {
    Command(Option<Command>),
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Deadline,
    /// The application has dropped its events.
    Abandoned,
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
        let newest_dial = transport::cancel::Newest::default();
        let (transport, signalling) = transport::build(&config, keys, relay_transport, &shared)?;
        let transport = transport::cancel::Cancellable::new(transport, newest_dial.clone()).boxed();
        let behaviour = Behaviour::new(&config, keys, relay_client, signalling, shared.hub.clone());
        let mut swarm = Swarm::new(transport, behaviour, local, swarm_config(config.standby));
        // Announced with each reservation, by whose circuits it is reached.
        #[cfg(target_arch = "wasm32")]
        swarm
            .listen_on(Multiaddr::empty().with(libp2p::multiaddr::Protocol::WebRTC))
            .map_err(|error| SpawnError::Transport(error.to_string()))?;
        config.external.iter().for_each(|addr| swarm.add_external_address(addr.clone()));

        let dialable = TransportKind::ALL
            .into_iter()
            .filter(|kind| transport::dials(&config, *kind))
            .collect();

        let now = Instant::now();
        let seed = seed_of(&local);
        let mut keep = Keep::new(seed);
        let others = config.keep.iter().filter(|addr| path::target_of(addr) != Some(local));
        others.for_each(|addr| keep.add(addr.clone(), false, now));
        Ok(Self {
            local,
            swarm,
            commands,
            events,
            outbox: VecDeque::new(),
            peers: Peers::new(shared.peers, shared.hub),
            circuits: shared.circuits,
            dials: Dials::default(),
            dials_max: DIALS_MAX
                .min(usize::try_from(config.limits.pending_outbound).unwrap_or(DIALS_MAX)),
            newest_dial,
            keep,
            upgrades: Upgrades::default(),
            listens: Listens::new(!seed),
            external: config.external,
            dialable,
            timer: Timer::default(),
            steps: 0,
        })
    }

    pub async fn run(mut self) {
        let closed = loop {
            self.pursue();
            match poll_fn(|cx| self.poll(cx)).await {
                Step::Command(Some(Command::Close(done))) => break Some(done),
                Step::Command(Some(command)) => self.command(command),
                Step::Command(None) | Step::Abandoned => break None,
                Step::Swarm(event) => self.react(*event),
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
        if self.steps.is_multiple_of(STEPS_PER_TURN) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Commands and the swarm take turns in being asked first, so that neither starves the
        // other.
        let step = match self.steps % 2 {
            0 => self.poll_commands(cx).or_else(|| self.poll_swarm(cx)),
            _ => self.poll_swarm(cx).or_else(|| self.poll_commands(cx)),
        };
        if let Some(step) = step {
            return Poll::Ready(step);
        }
        // Without room for a dial, the end of one is waited for.
        let dials = self.keep.deadline().filter(|_| self.room() > 0);
        let deadlines = [dials, self.upgrades.deadline(), self.listens.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        self.timer.poll(deadline, cx).map(|()| Step::Deadline)
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        match self.commands.poll_next_unpin(cx) {
            Poll::Ready(command) => Some(Step::Command(command)),
            Poll::Pending => None,
        }
    }

    /// Hands over events first; the swarm goes on only when all have been taken.
    fn poll_swarm(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        while !self.outbox.is_empty() {
            match self.events.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    if let Some(event) = self.outbox.pop_front() {
                        // There is room, or the receiver is gone and the next round sees it.
                        let _ = self.events.start_send(event);
                    }
                }
                Poll::Ready(Err(_)) => return Some(Step::Abandoned),
                Poll::Pending => return None,
            }
        }
        match self.swarm.poll_next_unpin(cx) {
            Poll::Ready(Some(event)) => Some(Step::Swarm(Box::new(event))),
            Poll::Ready(None) => Some(Step::Abandoned),
            Poll::Pending => None,
        }
    }

    /// Dials kept peers and renews reservations, as far as they are due.
    fn pursue(&mut self) {
        let now = Instant::now();
        for (peer, connection, is_standby) in self.peers.standby_changes() {
            self.swarm.behaviour_mut().rpc.set_standby(peer, connection, is_standby);
        }
        for addr in self.keep.due(now, self.room()) {
            self.dial(addr, Origin::Keep);
        }
        for addr in self.upgrades.due(now) {
            self.dial(addr, Origin::Upgrade);
        }
        for addr in self.listens.due(now) {
            self.listen(addr, None);
        }
    }

    /// How many dials may be started.
    fn room(&self) -> usize {
        self.dials_max.saturating_sub(self.dials.len())
    }

    fn emit(&mut self, event: Event) {
        self.outbox.push_back(event);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Listen(addr, reply) => self.listen(addr, Some(reply)),
            Command::Unlisten(addr) => self.unlisten(&addr),
            Command::Dial(addr, reply) => self.dial(addr, Origin::Caller(reply)),
            Command::Request(peer, outbound) => self.request(peer, outbound),
            Command::Keep(addr) => {
                let target = path::target_of(&addr);
                if target != Some(self.local) {
                    let is_connected = target.is_some_and(|peer| self.peers.best(&peer).is_some());
                    self.keep.add(addr, is_connected, Instant::now());
                }
            }
            Command::Unkeep(peer) => {
                if let Some(peer) = peer_id(peer) {
                    self.keep.remove(&peer);
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

    fn request(&mut self, peer: NodeId, outbound: Outbound) {
        let best = peer_id(peer).and_then(|peer| Some((peer, self.peers.best(&peer)?)));
        match best {
            Some((peer, (connection, _))) => {
                self.swarm.behaviour_mut().rpc.send(peer, connection, outbound)
            }
            None => drop(outbound.response.send(Err(RequestError::NotConnected))),
        }
    }

    fn disconnect(&mut self, peer: &PeerId, reason: &DisconnectReason) {
        for connection in self.peers.closing_all(peer, reason) {
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

/// A timer that is set anew only when the deadline moves.
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

/// What streams no longer use, and is only a standby, is closed after this time.
fn swarm_config(standby: Duration) -> libp2p::swarm::Config {
    #[cfg(not(target_arch = "wasm32"))]
    let config = libp2p::swarm::Config::with_tokio_executor();
    #[cfg(target_arch = "wasm32")]
    let config = libp2p::swarm::Config::with_wasm_executor();
    let config = config.with_idle_connection_timeout(standby);
    // Negotiation rides along with a request's first bytes: an exchange is one round trip, not two.
    config.with_substream_upgrade_protocol_override(libp2p::core::upgrade::Version::V1Lazy)
}
