//! A wrapper of a behaviour that polls its idle handlers a second time, and only when something has
//! woken them.
//!
//! It works around a lost waker in libp2p-ping. After its answer to a ping, the inbound handler
//! waits for the next ping, but reads the stream only at its next poll and registers no waker. So
//! it detected a stream's end only when something else woke the connection, up to seconds later.
//! js-libp2p opens a stream for each ping and allows one at a time. It refused the next ping
//! meanwhile (`TooManyOutboundProtocolStreamsError`), and its connection monitor then treats the
//! connection as dead. The second poll fixes this; skipping handlers that nothing has woken pays
//! for its cost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures::task::{ArcWake, AtomicWaker, waker};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, SubstreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::ConnectionEvent,
    },
};

/// Wraps a behaviour, see the module's documentation.
pub struct PingWaker<B>(pub B);

/// Whether a handler is due for a poll, and the waker of its connection.
#[derive(Default)]
struct WakeFlag {
    is_woken: AtomicBool,
    connection: AtomicWaker,
}

impl ArcWake for WakeFlag {
    fn wake_by_ref(wake_flag: &Arc<Self>) {
        wake_flag.is_woken.store(true, Ordering::Release);
        wake_flag.connection.wake();
    }
}

/// The handler of one connection.
pub struct PingWakerHandler<H> {
    inner: H,
    wake_flag: Arc<WakeFlag>,
    waker: Waker,
}

impl<H> PingWakerHandler<H> {
    fn new(inner: H) -> Self {
        let wake_flag =
            Arc::new(WakeFlag { is_woken: AtomicBool::new(true), connection: AtomicWaker::new() });
        Self { inner, waker: waker(wake_flag.clone()), wake_flag }
    }

    /// The connection polls again after each event by itself.
    fn set_woken(&self) {
        self.wake_flag.is_woken.store(true, Ordering::Release);
    }
}

impl<H: ConnectionHandler> ConnectionHandler for PingWakerHandler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<H::InboundProtocol, H::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<H::OutboundProtocol, H::OutboundOpenInfo, H::ToBehaviour>>
    {
        // Register before the flag is read: a wake-up in between then wakes the connection.
        self.wake_flag.connection.register(cx.waker());
        if !self.wake_flag.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let mut cx = Context::from_waker(&self.waker);
        let polled = match self.inner.poll(&mut cx) {
            Poll::Pending => self.inner.poll(&mut cx),
            ready => ready,
        };
        if polled.is_ready() {
            self.set_woken();
        }
        polled
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<H::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: H::FromBehaviour) {
        self.set_woken();
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            H::InboundProtocol,
            H::OutboundProtocol,
            H::InboundOpenInfo,
            H::OutboundOpenInfo,
        >,
    ) {
        self.set_woken();
        self.inner.on_connection_event(event);
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for PingWaker<B> {
    type ConnectionHandler = PingWakerHandler<B::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.0
            .handle_established_inbound_connection(connection, peer, local, remote)
            .map(PingWakerHandler::new)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.0
            .handle_established_outbound_connection(connection, peer, addr, role, port)
            .map(PingWakerHandler::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<B::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::atomic::AtomicUsize};

    use libp2p::core::upgrade::DeniedUpgrade;

    use super::*;

    /// Counts its polls, and exposes the waker of the last one.
    #[derive(Default)]
    struct Sleeper {
        polls: usize,
        says: usize,
        waker: Option<Waker>,
    }

    impl ConnectionHandler for Sleeper {
        type FromBehaviour = usize;
        type ToBehaviour = usize;
        type InboundProtocol = DeniedUpgrade;
        type OutboundProtocol = DeniedUpgrade;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = Infallible;

        fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
            SubstreamProtocol::new(DeniedUpgrade, ())
        }

        fn poll(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, Infallible, usize>> {
            self.polls += 1;
            self.waker = Some(cx.waker().clone());
            if self.says == 0 {
                return Poll::Pending;
            }
            self.says -= 1;
            Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(self.says))
        }

        fn on_behaviour_event(&mut self, says: usize) {
            self.says = says;
        }

        fn on_connection_event(
            &mut self,
            _: ConnectionEvent<DeniedUpgrade, DeniedUpgrade, (), Infallible>,
        ) {
        }
    }

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl ArcWake for Counter {
        fn wake_by_ref(counter: &Arc<Self>) {
            counter.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_idle_handler_is_polled_twice_when_woken_and_after_its_last_event() {
        let woken = Arc::new(Counter::default());
        let connection = waker(woken.clone());
        let mut cx = Context::from_waker(&connection);
        let mut handler = PingWakerHandler::new(Sleeper::default());
        for _ in 0..5 {
            assert!(handler.poll(&mut cx).is_pending());
        }
        assert_eq!(handler.inner.polls, 2);
        let own = handler.inner.waker.clone().unwrap();
        own.wake_by_ref();
        own.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "and the connection with it");
        (0..5).for_each(|_| assert!(handler.poll(&mut cx).is_pending()));
        assert_eq!(handler.inner.polls, 4);
        // With three events to emit, the handler is polled until none is left.
        handler.on_behaviour_event(3);
        let mut events = 0;
        while handler.poll(&mut cx).is_ready() {
            events += 1;
        }
        assert_eq!((events, handler.inner.polls), (3, 9));
        assert!(handler.poll(&mut cx).is_pending());
        assert_eq!(handler.inner.polls, 9);
    }
}
