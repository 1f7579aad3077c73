//! Pings, so that a vanished peer is detected by its silence. The listener of a connection pings
//! often, the dialer seldom.
//!
//! Both sides receive traffic from a ping and its answer, so one side is enough. A browser slows
//! down the timers of a hidden tab, and tabs dial; therefore the listener pings. The dialer pings
//! as well, to measure the path's round-trip time, and for peers that never ping. A path that looks
//! open but carries nothing shows only by a missing answer. The dialer detects this some seconds
//! later than the listener.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    ping,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};

/// Time between the answer to a ping and the next ping.
#[derive(Clone, Copy)]
struct Intervals {
    listener: Duration,
    dialer: Duration,
}

/// A third of the transports' idle timeout for the listener, and less than that timeout for the
/// dialer.
const INTERVALS: Intervals =
    Intervals { listener: Duration::from_secs(3), dialer: Duration::from_secs(7) };
/// Generous: an answer may wait behind a large message. The transports detect complete silence
/// themselves.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The ping behaviours of both roles, see the module's documentation.
pub struct Pings {
    listener: ping::Behaviour,
    dialer: ping::Behaviour,
}

impl Pings {
    pub fn new() -> Self {
        Self::with_intervals(INTERVALS)
    }

    fn with_intervals(Intervals { listener, dialer }: Intervals) -> Self {
        let pings = |interval| {
            ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(TIMEOUT))
        };
        Self { listener: pings(listener), dialer: pings(dialer) }
    }
}

impl NetworkBehaviour for Pings {
    type ConnectionHandler = THandler<ping::Behaviour>;
    type ToSwarm = ping::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.listener.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // If two peers dial each other at once, one of them takes the listener role.
        let pings = if role.is_listener() { &mut self.listener } else { &mut self.dialer };
        pings.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.listener.on_swarm_event(event);
        self.dialer.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        // Either behaviour would handle the event.
        self.listener.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<ping::Event, THandlerInEvent<Self>>> {
        self.listener.poll(cx)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicU64, Ordering},
    };

    use futures::{StreamExt, future::Either};
    use libp2p::{
        Swarm, Transport,
        core::{
            muxing::StreamMuxerBox,
            transport::{
                Boxed, DialOpts, ListenerId, MemoryTransport, TransportError, TransportEvent,
            },
            upgrade,
        },
        identity::Keypair,
        multiaddr::Protocol,
        noise,
        swarm::{self, SwarmEvent, dial_opts},
        yamux,
    };

    use super::*;
    use crate::transport::idle_timeout::IDLE_TIMEOUT;

    /// Generous, because the machine may be busy.
    const WITHIN: Duration = Duration::from_secs(60);
    const NEVER: Duration = Duration::from_secs(1_000_000);
    /// More than the first ping, which does not wait for an interval.
    const MANY: usize = 20;

    /// Upgrades a dialled connection in the dialer role, whatever role the swarm assigns: a
    /// connection that both sides dialled has no listener.
    struct AsDialler(Boxed<(PeerId, StreamMuxerBox)>);

    type Inner = Boxed<(PeerId, StreamMuxerBox)>;

    impl Transport for AsDialler {
        type Output = <Inner as Transport>::Output;
        type Error = <Inner as Transport>::Error;
        type ListenerUpgrade = <Inner as Transport>::ListenerUpgrade;
        type Dial = <Inner as Transport>::Dial;

        fn listen_on(
            &mut self,
            id: ListenerId,
            address: Multiaddr,
        ) -> Result<(), TransportError<Self::Error>> {
            self.0.listen_on(id, address)
        }

        fn remove_listener(&mut self, id: ListenerId) -> bool {
            self.0.remove_listener(id)
        }

        fn dial(
            &mut self,
            address: Multiaddr,
            opts: DialOpts,
        ) -> Result<Self::Dial, TransportError<Self::Error>> {
            self.0.dial(address, DialOpts { role: Endpoint::Dialer, ..opts })
        }

        fn poll(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
            Pin::new(&mut self.0).poll(cx)
        }
    }

    fn swarm(intervals: Intervals) -> Swarm<Pings> {
        let keys = Keypair::generate_ed25519();
        let transport = MemoryTransport::default()
            .upgrade(upgrade::Version::V1)
            .authenticate(noise::Config::new(&keys).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(NEVER);
        Swarm::new(
            AsDialler(transport).boxed(),
            Pings::with_intervals(intervals),
            keys.public().to_peer_id(),
            config,
        )
    }

    /// Counts the pings of the listener and of the dialer, until each has sent the requested
    /// number.
    async fn count(intervals: Intervals, at_once: bool, until: [usize; 2]) -> [usize; 2] {
        static PORT: AtomicU64 = AtomicU64::new(0x7e91_0001);
        let address = Multiaddr::from(Protocol::Memory(PORT.fetch_add(1, Ordering::Relaxed)));
        let (mut dialled, mut dialler) = (swarm(intervals), swarm(intervals));
        dialled.listen_on(address.clone()).unwrap();
        let opts = dial_opts::DialOpts::peer_id(*dialled.local_peer_id()).addresses(vec![address]);
        let opts = if at_once { opts.override_role() } else { opts };
        dialler.dial(opts.build()).unwrap();
        let mut counts = [0; 2];
        while (0..2).any(|side| counts[side] < until[side]) {
            let next = futures::future::select(dialled.next(), dialler.next());
            let (side, event) = match next.await {
                Either::Left((event, _)) => (0, event),
                Either::Right((event, _)) => (1, event),
            };
            match event.unwrap() {
                SwarmEvent::Behaviour(ping::Event { result, .. }) => {
                    result.unwrap();
                    counts[side] += 1;
                }
                SwarmEvent::ConnectionClosed { cause, .. } => panic!("{cause:?}"),
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
        counts
    }

    async fn counted(intervals: Intervals, at_once: bool, until: [usize; 2]) -> [usize; 2] {
        tokio::time::timeout(WITHIN, count(intervals, at_once, until))
            .await
            .expect("one side does not ping")
    }

    #[tokio::test]
    async fn each_side_pings_again_after_its_own_interval() {
        let (often, seldom) = (Duration::ZERO, NEVER);
        let dialled = Intervals { listener: often, dialer: seldom };
        assert_eq!(counted(dialled, false, [MANY, 1]).await[1], 1);
        let dialler = Intervals { listener: seldom, dialer: often };
        assert_eq!(counted(dialler, false, [1, MANY]).await[0], 1);
        // A dialer in the listener role pings at the listener's interval.
        counted(dialled, true, [MANY; 2]).await;
    }

    #[test]
    fn the_listener_pings_often_and_the_dialer_rarely_but_within_the_timeout() {
        let Intervals { listener, dialer } = INTERVALS;
        assert_eq!(listener * 3, IDLE_TIMEOUT);
        // The dialer usually receives two of the listener's pings before it sends its own.
        assert!(listener * 2 < dialer && dialer < IDLE_TIMEOUT, "{listener:?}, {dialer:?}");
    }
}
