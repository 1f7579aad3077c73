//! The sockets of the TURN server: one for clients, and one for each allocation.
//!
//! All of them feed one [`Machine`], under a lock that is held for one packet at a time. Sending
//! never waits: packets that a socket does not take at once are dropped, as UDP drops them anyway.

use super::{
    Counts, Issuer, TargetPolicy, TurnConfig,
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

/// Longest forwarded datagram; those of WebRTC stay below 1500 bytes. Longer ones are dropped.
const DATAGRAM_LEN_MAX: usize = 4096;
/// Requests a second from one address that has no allocation yet.
const NEW_CLIENT_REQUESTS_PER_S: u32 = 50;
/// How often expired allocations are closed.
const TICK: Duration = Duration::from_secs(1);
/// How often this machine's addresses are looked up: they change while the relay runs.
const INTERFACES_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a socket error, so that a lasting error does not take a whole processor.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// `RTCIceServer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// STUN and TURN URLs with the same port.
    pub urls: Vec<String>,
    /// User name, valid for [`TurnServer::credential_lifetime`].
    pub username: String,
    /// The password.
    pub credential: String,
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct TurnServer {
    shared: Arc<Shared>,
    /// The address at which clients reach the server.
    addr: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    /// The same socket for sending: tokio's would first check whether the socket is ready.
    sender: std::net::UdpSocket,
    /// The bind address of the allocations' sockets, and below it their announced address.
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
    /// Binds the socket and starts the server; needs a tokio runtime. `targets` lacks the port that
    /// the system chooses.
    pub(crate) fn start(
        config: &TurnConfig,
        announced: IpAddr,
        issuer: Issuer,
        mut targets: TargetPolicy,
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

    /// The address at which clients reach the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server with a fresh credential; `None` if the system has no randomness.
    pub fn ice_server(&self) -> Option<IceServer> {
        let random = getrandom::u64().ok()?;
        let credential = self.shared.lock().machine.issuer().issue(now().unix_s, random);
        Some(IceServer {
            urls: vec![format!("stun:{}", self.addr), format!("turn:{}?transport=udp", self.addr)],
            username: credential.username,
            credential: credential.password,
        })
    }

    /// Time for which the credential of [`TurnServer::ice_server`] is valid.
    pub fn credential_lifetime(&self) -> Duration {
        self.shared.lock().machine.issuer().lifetime()
    }

    /// Open allocations, and the counters since the start.
    pub fn counts(&self) -> (usize, Counts) {
        let state = self.shared.lock();
        (state.machine.allocation_count(), state.machine.counts())
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        self.task.abort();
        // The readers hold the state that holds the readers, so they must be aborted.
        std::mem::take(&mut self.shared.lock().sockets)
            .values()
            .for_each(|socket| socket.reader.abort());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds an input to the machine and executes its outputs.
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
                    state.machine.on_socket_opened(id, relayed.ok(), now.at);
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

/// Serves the clients until the server stops.
async fn run(shared: Arc<Shared>) {
    let new_clients = rate_limit(NEW_CLIENT_REQUESTS_PER_S);
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
                // A flood of requests slows down only clients that have no allocation yet.
                if machine.has_allocation(client) || new_clients.check(client.ip()).is_ok() {
                    machine.on_client_datagram(client, &buffer[..len], now);
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

/// Reads an allocation's socket.
async fn read(shared: Arc<Shared>, id: Id, socket: UdpSocket) {
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, peer)) if len < DATAGRAM_LEN_MAX => {
                shared.step(|machine, now| {
                    machine.on_peer_datagram(id, peer, &buffer[..len], now.at)
                });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "allocation's socket");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Binds a socket of one address family: a client or a peer has only one address.
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

/// The current addresses of this machine, including those without a listener of the relay.
fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            // Listening and announced addresses are refused in any case.
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
