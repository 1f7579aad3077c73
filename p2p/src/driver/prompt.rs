//! A behaviour whose handlers are asked again after they had nothing to say, and only when
//! something has come for them.
//!
//! libp2p's answerer of pings waits for the next ping once it has answered one, but looks at the
//! stream only when it is asked the next time: it leaves no waker. So it noticed a stream's end
//! when something else woke the connection, up to seconds later. js-libp2p, which opens a stream
//! for each ping and allows one at a time, refused the next one meanwhile
//! (`TooManyOutboundProtocolStreamsError`), and its connection monitor takes that for a dead
//! connection. Being asked twice mends it; not being asked when nothing has come pays for that.

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

/// See the module's documentation.
pub struct Prompt<B>(pub B);

/// Whether a handler wants to be asked, and whom to tell.
#[derive(Default)]
struct Bell {
    has_rung: AtomicBool,
    connection: AtomicWaker,
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.has_rung.store(true, Ordering::Release);
        bell.connection.wake();
    }
}

/// The handler of one connection.
pub struct PromptHandler<H> {
    inner: H,
    bell: Arc<Bell>,
    waker: Waker,
}

impl<H> PromptHandler<H> {
    fn new(inner: H) -> Self {
        let bell =
            Arc::new(Bell { has_rung: AtomicBool::new(true), connection: AtomicWaker::new() });
        Self { inner, waker: waker(bell.clone()), bell }
    }

    /// The connection asks again after each event by itself.
    fn ring(&self) {
        self.bell.has_rung.store(true, Ordering::Release);
    }
}

impl<H: ConnectionHandler> ConnectionHandler for PromptHandler<H> {
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
        // Before the look at the bell: what rings in between wakes the connection.
        self.bell.connection.register(cx.waker());
        if !self.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let mut cx = Context::from_waker(&self.waker);
        let polled = match self.inner.poll(&mut cx) {
            Poll::Pending => self.inner.poll(&mut cx),
            said => said,
        };
        if polled.is_ready() {
            self.ring();
        }
        polled
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<H::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: H::FromBehaviour) {
        self.ring();
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
        self.ring();
        self.inner.on_connection_event(event);
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Prompt<B> {
    type ConnectionHandler = PromptHandler<B::ConnectionHandler>;
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
            .map(PromptHandler::new)
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
            .map(PromptHandler::new)
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

    use libp2p::{core::upgrade::DeniedUpgrade, swarm::dummy};

    use super::*;

    /// Counts how often it is asked, and hands out the waker that it was asked with.
    #[derive(Default)]
    struct Sleeper {
        asked: usize,
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
            self.asked += 1;
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
    fn is_asked_twice_at_first_when_woken_and_after_its_last_word_and_not_otherwise() {
        let woken = Arc::new(Counter::default());
        let connection = waker(woken.clone());
        let mut cx = Context::from_waker(&connection);
        let mut handler = PromptHandler::new(Sleeper::default());
        for _ in 0..5 {
            assert!(handler.poll(&mut cx).is_pending());
        }
        assert_eq!(handler.inner.asked, 2);
        let own = handler.inner.waker.clone().unwrap();
        own.wake_by_ref();
        own.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "and the connection with it");
        (0..5).for_each(|_| assert!(handler.poll(&mut cx).is_pending()));
        assert_eq!(handler.inner.asked, 4);
        // Told to say three things, it is asked until there are no more.
        handler.on_behaviour_event(3);
        let mut said = 0;
        while handler.poll(&mut cx).is_ready() {
            said += 1;
        }
        assert_eq!((said, handler.inner.asked), (3, 9));
        assert!(handler.poll(&mut cx).is_pending());
        assert_eq!(handler.inner.asked, 9);
    }

    #[test]
    fn wraps_any_behaviour() {
        fn is_behaviour<B: NetworkBehaviour>(_: &B) {}
        is_behaviour(&Prompt(dummy::Behaviour));
    }
}
