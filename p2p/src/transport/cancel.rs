//! Dials that can be cancelled one by one. The swarm can only cancel all dials of a peer at once,
//! and closes its connections with them.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::{
    FutureExt,
    future::{AbortHandle, Abortable, BoxFuture},
};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};

use super::Connections;

/// The abort handle of the last dial. The swarm calls the transport while it starts a dial, so a
/// caller that takes the handle right after that gets the handle of its own dial.
#[derive(Clone, Debug, Default)]
pub struct LastDial(Arc<Mutex<Option<AbortHandle>>>);

impl LastDial {
    pub fn take(&self) -> Option<AbortHandle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A transport whose dials can be cancelled, see the module's documentation.
pub struct Cancellable {
    inner: Connections,
    last_dial: LastDial,
}

impl Cancellable {
    pub fn new(inner: Connections, last_dial: LastDial) -> Self {
        Self { inner, last_dial }
    }
}

impl Transport for Cancellable {
    type Output = <Connections as Transport>::Output;
    type Error = io::Error;
    type ListenerUpgrade = <Connections as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let dial = self.inner.dial(addr, options)?;
        let (handle, registration) = AbortHandle::new_pair();
        *self.last_dial.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        let given_up =
            |_| Err(io::Error::new(io::ErrorKind::Interrupted, "given up for a better connection"));
        Ok(Abortable::new(dial, registration)
            .map(move |done| done.unwrap_or_else(given_up))
            .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
