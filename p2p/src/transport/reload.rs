//! The WebSocket transport with a TLS certificate that can be renewed while it listens.
//!
//! libp2p's transport reads its TLS configuration for each connection that it accepts. This wrapper
//! checks for a newer identity before that transport accepts, so a renewed certificate applies from
//! the next connection on.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    websocket,
};

use crate::{
    config::{ReloadableTls, TlsIdentity},
    error::SpawnError,
};

/// The transport with the TLS identity in use.
pub struct ReloadableWebSocket<T: Transport>
where
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    inner: websocket::Config<T>,
    tls: Option<ReloadableTls>,
    /// Generation of the identity in use.
    used: Option<u64>,
}

impl<T> ReloadableWebSocket<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Returns the transport. Without `tls` it listens without TLS only.
    ///
    /// # Errors
    /// If the identity cannot be used.
    pub fn new(transport: T, tls: Option<ReloadableTls>) -> Result<Self, SpawnError> {
        let mut websocket = Self { inner: websocket::Config::new(transport), tls, used: None };
        websocket.reload()?;
        Ok(websocket)
    }

    fn reload(&mut self) -> Result<(), SpawnError> {
        let Some((generation, identity)) =
            self.tls.as_ref().and_then(|tls| tls.newer_than(self.used))
        else {
            return Ok(());
        };
        // An unusable identity is not tried again.
        self.used = Some(generation);
        self.inner.set_tls_config(tls_config(&identity)?);
        Ok(())
    }
}

fn tls_config(identity: &TlsIdentity) -> Result<websocket::tls::Config, SpawnError> {
    let bad =
        |error: &dyn std::fmt::Display| SpawnError::Transport(format!("TLS identity: {error}"));
    // libp2p-websocket panics on a key that it cannot parse, so parse it here first.
    rustls::pki_types::PrivateKeyDer::try_from(identity.key_der.as_slice()).map_err(|e| bad(&e))?;
    let key = websocket::tls::PrivateKey::new(identity.key_der.to_vec());
    let chain = identity.chain_der.iter().cloned().map(websocket::tls::Certificate::new);
    websocket::tls::Config::new(key, chain).map_err(|e| bad(&e))
}

impl<T> Transport for ReloadableWebSocket<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Output: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = <websocket::Config<T> as Transport>::Output;
    type Error = <websocket::Config<T> as Transport>::Error;
    type ListenerUpgrade = <websocket::Config<T> as Transport>::ListenerUpgrade;
    type Dial = <websocket::Config<T> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.inner.dial(addr, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        if let Err(error) = self.reload() {
            tracing::error!(
                %error,
                "the renewed TLS certificate cannot be used; the previous one stays in use"
            );
        }
        Pin::new(&mut self.inner).poll(cx)
    }
}
