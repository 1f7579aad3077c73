//! The sockets of the TURN server: one that clients talk to, and one for each allocation.
//!
//! All of them feed the one [`Machine`], under a lock that is held for a packet at a time. Sending
//! never waits: what a socket does not take at once is dropped, as UDP does anyway.

use super::{
    Counts, Issuer, Targets, TurnConfig,
    allocation::Id,
    machine::{Machine, Now, Output},
};
use crate::rate_limit;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::UdpSocket,
    task::{AbortHandle, JoinHandle},
    time::MissedTickBehavior,
};

/// Longest datagram that is carried; WebRTC's stay below 1500 bytes. Longer ones are dropped.
const DATAGRAM_LEN_MAX: usize = 4096;
/// Requests a second that one address may make which has no allocation yet.
const STRANGER_REQUESTS_PER_S: u32 = 50;
/// How often expired allocations are ended.
const TICK: Duration = Duration::from_secs(1);
/// How often this machine's addresses are looked up: they come and go while the relay runs.
const INTERFACES_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after an error of a socket, so that one that lasts does not take the whole processor.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// `RTCIceServer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// STUN and TURN at the same port.
    pub urls: Vec<String>,
    /// Good for [`TurnServer::credential_lifetime`].
    pub username: String,
    /// Its password.
    pub credential: String,
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct TurnServer {
    shared: Arc<Shared>,
    /// As clients reach it.
    addr: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    /// The same, for sending: tokio's own would first ask whether the socket is ready.
    sender: std::net::UdpSocket,
    /// Where the sockets of allocations are bound, and by which address they are reached.
    bind: IpAddr,
    announced: IpAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    sockets: BTreeMap<Id, Socket>,
}

/// An allocation's socket and the task that reads it.
#[derive(Debug)]
struct Socket {
    sender: std::net::UdpSocket,
    reader: AbortHandle,
}

impl TurnServer {
    /// Binds and starts; needs a tokio runtime. `targets` lacks the port that the system chooses.
    pub(crate) fn start(
        config: &TurnConfig,
        announced: IpAddr,
        issuer: Issuer,
        mut targets: Targets,
    ) -> io::Result<Self> {
        let sender = bind(config.listen)?;
        let socket = UdpSocket::from_std(sender.try_clone()?)?;
        let addr = SocketAddr::new(announced, socket.local_addr()?.port());
        targets.own.extend([announced, config.listen.ip()]);
        targets.own_ports.push(addr.port());
        targets.interfaces = interfaces();
        targets.allow_private = config.allow_private;
        let limits = config.limits.clone();
        let machine = Machine::new(issuer, limits, targets, addr.is_ipv6(), Instant::now());
        let state = Mutex::new(State { machine, sockets: BTreeMap::new() });
        let shared =
            Arc::new(Shared { socket, sender, bind: config.listen.ip(), announced, state });
        let task = tokio::spawn(run(shared.clone()));
        Ok(Self { shared, addr, task })
    }

    /// Where clients reach it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server with a fresh credential; none if the system has no randomness.
    pub fn ice_server(&self) -> Option<IceServer> {
        let random = getrandom::u64().ok()?;
        let credential = self.shared.lock().machine.issuer().issue(now().unix_s, random);
        Some(IceServer {
            urls: vec![format!("stun:{}", self.addr), format!("turn:{}?transport=udp", self.addr)],
            username: credential.username,
            credential: credential.password,
        })
    }

    /// How long the credential of [`TurnServer::ice_server`] is good.
    pub fn credential_lifetime(&self) -> Duration {
        self.shared.lock().machine.issuer().lifetime()
    }

    /// Allocations at this time, and what happened since the start.
    pub fn counts(&self) -> (usize, Counts) {
        let state = self.shared.lock();
        (state.machine.open(), state.machine.counts())
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        self.task.abort();
        // The readers hold what holds them.
        std::mem::take(&mut self.shared.lock().sockets)
            .values()
            .for_each(|socket| socket.reader.abort());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the machine an input and does what it says.
    fn step(self: &Arc<Self>, input: impl FnOnce(&mut Machine, Now)) {
        let (state, now) = (&mut *self.lock(), now());
        input(&mut state.machine, now);
        while let Some(output) = state.machine.poll() {
            match output {
                Output::ToClient { to, bytes } => sent(self.sender.send_to(&bytes, to)),
                Output::ToPeer { from, to, bytes } => {
                    if let Some(socket) = state.sockets.get(&from) {
                        sent(socket.sender.send_to(&bytes, to));
                    }
                }
                Output::Open { id } => {
                    let relayed = self.open(id, &mut state.sockets);
                    let relayed = relayed
                        .inspect_err(|error| tracing::warn!(%error, "no socket for an allocation"));
                    state.machine.opened(id, relayed.ok(), now.at);
                }
                Output::Close { id } => {
                    if let Some(socket) = state.sockets.remove(&id) {
                        socket.reader.abort();
                    }
                }
            }
        }
    }

    fn open(
        self: &Arc<Self>,
        id: Id,
        sockets: &mut BTreeMap<Id, Socket>,
    ) -> io::Result<SocketAddr> {
        let sender = bind(SocketAddr::new(self.bind, 0))?;
        let socket = UdpSocket::from_std(sender.try_clone()?)?;
        let relayed = SocketAddr::new(self.announced, socket.local_addr()?.port());
        let reader = tokio::spawn(read(self.clone(), id, socket)).abort_handle();
        sockets.insert(id, Socket { sender, reader });
        Ok(relayed)
    }
}

/// Serves the clients.
async fn run(shared: Arc<Shared>) {
    let strangers = rate_limit(STRANGER_REQUESTS_PER_S);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    let mut looked_up = Instant::now();
    loop {
        let received = tokio::select! {
            received = shared.socket.recv_from(&mut buffer) => received,
            _ = tick.tick() => {
                if looked_up.elapsed() >= INTERFACES_INTERVAL {
                    looked_up = Instant::now();
                    shared.lock().machine.set_interfaces(interfaces());
                }
                shared.step(|machine, now| machine.tick(now.at));
                continue;
            }
        };
        match received {
            Ok((len, client)) if len < DATAGRAM_LEN_MAX => shared.step(|machine, now| {
                // A flood of strangers slows down only those who have no allocation yet.
                if machine.knows(client) || strangers.check(client.ip()).is_ok() {
                    machine.client_sent(client, &buffer[..len], now);
                }
            }),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "TURN socket");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Reads one allocation's socket.
async fn read(shared: Arc<Shared>, id: Id, socket: UdpSocket) {
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, peer)) if len < DATAGRAM_LEN_MAX => {
                shared.step(|machine, now| machine.peer_sent(id, peer, &buffer[..len], now.at));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "allocation's socket");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// A socket of one address family: a client or a peer has one address only.
fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::DGRAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// The addresses of this machine as of now, those included that nothing of ours listens on.
fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            // The addresses listened on and announced are refused all the same.
            tracing::warn!(%error, "cannot list this machine's addresses");
            Vec::new()
        }
    }
}

fn sent(result: io::Result<usize>) {
    if let Err(error) = result {
        tracing::trace!(%error, "a packet is dropped");
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { at: Instant::now(), unix_s: unix.as_secs() }
}
