//! Noise XX on data channel 0, bound to both DTLS certificates by its prologue.
//!
//! DTLS alone proves nothing about the client (its fingerprint is not sent in advance), and only a
//! hash about the server. The Noise handshake proves both libp2p identities. The prologue
//! `libp2p-webrtc-noise:<client fingerprint><server fingerprint>` proves that there is no man in
//! the middle (`webrtc/webrtc-direct.md`, "Connection Security").
//!
//! Once our last handshake message is sent, the remote may complete the handshake before we do, and
//! may then send as much as an authenticated peer. So the limits of an unauthenticated remote end
//! with that message, not with the end of the handshake. By then a listener has checked all of the
//! remote's proof except the signature of its libp2p key, which follows at once. A dialer has the
//! certificate that the address named. A remote that fails after this point loses the connection.

use crate::{Error, addr::Fingerprint, stream::Stream};
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_identity::{Keypair, PeerId};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The name of the one protocol of `libp2p-noise`; the upgrades ignore it.
const NOISE: &str = "/noise";

fn prologue(client: &Fingerprint, server: &Fingerprint) -> Vec<u8> {
    let mut out = b"libp2p-webrtc-noise:".to_vec();
    out.extend(client.multihash().to_bytes());
    out.extend(server.multihash().to_bytes());
    out
}

fn config(
    keys: &Keypair,
    client: &Fingerprint,
    server: &Fingerprint,
) -> Result<libp2p_noise::Config, Error> {
    Ok(libp2p_noise::Config::new(keys)?.with_prologue(prologue(client, server)))
}

/// Authenticates as the WebRTC server, which is the Noise initiator: with DTLS 1.2 it is the first
/// that can send.
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub async fn as_server(
    keys: &Keypair,
    stream: Stream,
    client: Fingerprint,
    server: Fingerprint,
    let_in: impl FnOnce() + Unpin + Send + 'static,
) -> Result<PeerId, Error> {
    let stream = NotifyOnReply::new(stream, let_in);
    let (peer, mut io) = config(keys, &client, &server)?.upgrade_outbound(stream, NOISE).await?;
    // Close instead of dropping: a reset would make the client discard our last message.
    io.close().await?;
    Ok(peer)
}

/// Authenticates as the dialer, which is the Noise responder and receives the server's identity
/// first.
pub async fn as_client(
    keys: &Keypair,
    stream: Stream,
    client: Fingerprint,
    server: Fingerprint,
    let_in: impl FnOnce() + Unpin + Send + 'static,
) -> Result<PeerId, Error> {
    let stream = NotifyOnReply::new(stream, let_in);
    let (peer, mut io) = config(keys, &client, &server)?.upgrade_inbound(stream, NOISE).await?;
    io.close().await?;
    Ok(peer)
}

/// A stream that calls a function just before the first write that follows a read. With Noise XX
/// that write is the last handshake message of either side.
struct NotifyOnReply<S, F> {
    stream: S,
    has_read: bool,
    let_in: Option<F>,
}

impl<S, F> NotifyOnReply<S, F> {
    fn new(stream: S, let_in: F) -> Self {
        Self { stream, has_read: false, let_in: Some(let_in) }
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for NotifyOnReply<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.has_read |= n > 0;
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncWrite + Unpin, F: FnOnce() + Unpin> AsyncWrite for NotifyOnReply<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_read
            && let Some(let_in) = self.let_in.take()
        {
            let_in();
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prologue_matches_the_test_vector_of_the_specification() {
        let f = |s| Fingerprint(hex::decode(s).unwrap().try_into().unwrap());
        let client = f("3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870");
        let server = f("30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99");
        let expected = concat!(
            "6c69627032702d7765627274632d6e6f6973653a12203e79af40d6059617a0d8",
            "3b83a52ce73b0c1f37a72c6043ad2969e2351bdca870122030fc9f469c207419",
            "dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99",
        );
        assert_eq!(prologue(&client, &server), hex::decode(expected).unwrap());
    }
}
