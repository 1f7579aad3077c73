//! The libp2p `Transport`: listeners with their addresses, incoming connections, dials.
//!
//! A listener on `0.0.0.0` or `[::]` reports one address per interface, as they come and go. It
//! refuses addresses that are not exactly WebRTC-direct, and dials without a `/certhash`.

use super::{
    admission::Admission,
    certificate::Certificate,
    config::Config,
    demultiplexer::{Demultiplexer, Incoming},
    dialer,
    muxer::Connection,
    routes::Routes,
    shared::{Shared, Upgrade},
    socket::Socket,
};
use crate::{Error, addr, budget::Pool};
use futures::FutureExt;
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p_core::{
    Multiaddr,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use libp2p_identity::{Keypair, PeerId};
use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::{sync::mpsc, task::AbortHandle};

/// WebRTC-direct over UDP. Removing a listener ends its connections, which share its socket.
pub struct Transport {
    shared: Arc<Shared>,
    listeners: HashMap<ListenerId, Listener>,
    events: VecDeque<TransportEvent<Upgrade, Error>>,
    incoming_tx: mpsc::UnboundedSender<(ListenerId, Incoming)>,
    // Bounded by the handshakes that admission lets in.
    incoming: mpsc::UnboundedReceiver<(ListenerId, Incoming)>,
}

struct Listener {
    bound: SocketAddr,
    task: AbortHandle,
    /// For an unspecified address: the watcher of its interfaces.
    interfaces: Option<IfWatcher>,
}

impl Transport {
    /// Creates a transport. Must be used inside a tokio runtime.
    pub fn new(keys: Keypair, certificate: Certificate, config: Config) -> Self {
        let (incoming_tx, incoming) = mpsc::unbounded_channel();
        let admission = Admission::new(&config, Instant::now());
        let pool = Pool::new(config.max_unread);
        let crypto = str0m::crypto::from_feature_flags();
        let shared = Arc::new(Shared { keys, certificate, config, admission, pool, crypto });
        Self { shared, listeners: HashMap::new(), events: VecDeque::new(), incoming_tx, incoming }
    }

    fn listen(&mut self, id: ListenerId, socket: SocketAddr) -> io::Result<()> {
        let socket = Arc::new(Socket::bind(socket)?);
        let bound = socket.local_addr()?;
        let interfaces = bound.ip().is_unspecified().then(IfWatcher::new).transpose()?;
        let demultiplexer =
            Demultiplexer { socket, bound, shared: self.shared.clone(), routes: Routes::shared() };
        let incoming = self.incoming_tx.clone();
        let task = tokio::spawn(demultiplexer.run(move |i| incoming.send((id, i)).is_ok()));
        if interfaces.is_none() {
            self.events.push_back(TransportEvent::NewAddress {
                listener_id: id,
                listen_addr: self.address(bound),
            });
        }
        self.listeners.insert(id, Listener { bound, task: task.abort_handle(), interfaces });
        Ok(())
    }

    /// The address to announce.
    fn address(&self, socket: SocketAddr) -> Multiaddr {
        addr::format(socket, Some(&self.shared.certificate.fingerprint()))
    }

    fn poll_interfaces(&mut self, cx: &mut Context<'_>) {
        let mut changes = Vec::new();
        for (id, listener) in &mut self.listeners {
            while let Some(watcher) = &mut listener.interfaces
                && let Poll::Ready(change) = watcher.poll_if_event(cx)
            {
                if change.is_err() {
                    // Without the watcher, the known addresses stay.
                    listener.interfaces = None;
                }
                changes.push((*id, listener.bound, change));
            }
        }
        for (listener_id, bound, change) in changes {
            let event = match change {
                Ok(IfEvent::Up(net)) if usable(net.addr(), bound) => TransportEvent::NewAddress {
                    listener_id,
                    listen_addr: self.address(SocketAddr::new(net.addr(), bound.port())),
                },
                Ok(IfEvent::Down(net)) if usable(net.addr(), bound) => {
                    TransportEvent::AddressExpired {
                        listener_id,
                        listen_addr: self.address(SocketAddr::new(net.addr(), bound.port())),
                    }
                }
                Ok(_) => continue,
                Err(error) => TransportEvent::ListenerError { listener_id, error: error.into() },
            };
            self.events.push_back(event);
        }
    }
}

/// Whether an interface's address belongs to the listener's family and is usable by others:
/// link-local IPv6 addresses need a zone, which a multiaddress cannot express.
fn usable(ip: IpAddr, bound: SocketAddr) -> bool {
    match ip {
        IpAddr::V4(_) => bound.is_ipv4(),
        IpAddr::V6(ip) => bound.is_ipv6() && !ip.is_unicast_link_local(),
    }
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Error>> {
        let Some(direct) = addr::parse(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        self.listen(id, direct.socket).map_err(|e| TransportError::Other(e.into()))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listeners.remove(&id) else { return false };
        listener.task.abort();
        self.events.push_back(TransportEvent::ListenerClosed { listener_id: id, reason: Ok(()) });
        true
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Upgrade, TransportError<Error>> {
        match addr::parse(&addr) {
            Some(direct) if direct.socket.port() != 0 && !direct.socket.ip().is_unspecified() => {
                match direct.fingerprint {
                    Some(server) => Ok(dialer::dial(self.shared.clone(), direct, server).boxed()),
                    None => Err(TransportError::MultiaddrNotSupported(addr)),
                }
            }
            _ => Err(TransportError::MultiaddrNotSupported(addr)),
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Upgrade, Error>> {
        self.poll_interfaces(cx);
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        let Poll::Ready(Some((listener_id, incoming))) = self.incoming.poll_recv(cx) else {
            return Poll::Pending;
        };
        let bound = self.listeners.get(&listener_id).map(|l| l.bound);
        Poll::Ready(TransportEvent::Incoming {
            listener_id,
            local_addr: addr::format(bound.unwrap_or(incoming.remote), None),
            send_back_addr: addr::format(incoming.remote, None),
            upgrade: incoming.upgrade,
        })
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.listeners.values().for_each(|l| l.task.abort());
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}
