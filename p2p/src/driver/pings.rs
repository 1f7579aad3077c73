//! Pings, so that a peer that has gone is noticed by its silence: often by the side that was
//! dialled, seldom by the one that has dialled.
//!
//! A ping and its answer are heard on both sides, so one side is enough. A browser slows the timers
//! of a tab that is not looked at, and tabs dial; so it is the other side that pings. The dialler
//! does so as well, for the path's round-trip time, and for peers that never ping. A path that
//! looks open but carries nothing, which only an answer that does not come can show, it notices
//! some seconds later than the other side.

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

/// How long after a ping is answered comes the next.
#[derive(Clone, Copy)]
struct Intervals {
    of_dialled: Duration,
    of_dialler: Duration,
}

/// A third of the silence after which the transports give a peer up, and within that silence.
const INTERVALS: Intervals =
    Intervals { of_dialled: Duration::from_secs(3), of_dialler: Duration::from_secs(7) };
/// Generous: an answer may wait behind a large message. That nothing at all comes is noticed by the
/// transports.
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub struct Pings {
    often: ping::Behaviour,
    seldom: ping::Behaviour,
}

impl Pings {
    pub fn new() -> Self {
        Self::every(INTERVALS)
    }

    fn every(Intervals { of_dialled, of_dialler }: Intervals) -> Self {
        let pings = |interval| {
            ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(TIMEOUT))
        };
        Self { often: pings(of_dialled), seldom: pings(of_dialler) }
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
        self.often.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Of two that dial each other at once, one takes the listener's part.
        let pings = if role.is_listener() { &mut self.often } else { &mut self.seldom };
        pings.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.often.on_swarm_event(event);
        self.seldom.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        // Either would pass it on.
        self.often.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<ping::Event, THandlerInEvent<Self>>> {
        self.often.poll(cx)
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
    use crate::transport::silence::SILENCE_MAX;

    /// Generous: the machine may be busy.
    const WITHIN: Duration = Duration::from_secs(60);
    const NEVER: Duration = Duration::from_secs(1_000_000);
    /// More than the first one, which waits for nothing.
    const MANY: usize = 20;

    /// Upgrades what it has dialled as a dialler, whatever part the swarm takes it for: there is no
    /// listener on either side of a connection that both have dialled.
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
            Pings::every(intervals),
            keys.public().to_peer_id(),
            config,
        )
    }

    /// How often the side that was dialled has pinged, and the one that has dialled, once each has
    /// done so as often as is asked for.
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
        let dialled = Intervals { of_dialled: often, of_dialler: seldom };
        assert_eq!(counted(dialled, false, [MANY, 1]).await[1], 1);
        let dialler = Intervals { of_dialled: seldom, of_dialler: often };
        assert_eq!(counted(dialler, false, [1, MANY]).await[0], 1);
        // Who has dialled, and takes the listener's part, pings as one that was dialled.
        counted(dialled, true, [MANY; 2]).await;
    }

    #[test]
    fn the_side_that_was_dialled_pings_often_and_the_other_seldom_but_before_it_is_given_up() {
        let Intervals { of_dialled, of_dialler } = INTERVALS;
        assert_eq!(of_dialled * 3, SILENCE_MAX);
        // Two of the others are heard, as a rule, before it says something itself.
        assert!(
            of_dialled * 2 < of_dialler && of_dialler < SILENCE_MAX,
            "{of_dialled:?}, {of_dialler:?}"
        );
    }
}
