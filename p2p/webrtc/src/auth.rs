//! Noise XX on data channel 0, bound to both DTLS certificates by its prologue.
//!
//! DTLS proves nothing to us about the client (its fingerprint travels nowhere before), and only
//! a hash about the server. The Noise handshake proves both libp2p identities, and the prologue
//! `libp2p-webrtc-noise:<client fingerprint><server fingerprint>` proves that no one sits between
//! (`webrtc/webrtc-direct.md`, "Connection Security").
//!
//! Once our last message is out, the remote may know that it has been let in before we get to say
//! so, and may send as much as a peer may. So the limits of a stranger end with that message, not
//! with the end of the handshake. A listener has checked all of the remote's proof by then but for
//! the signature of its libp2p key, which follows at once; a dialer has the certificate that the
//! address named. Who fails from there on loses the connection.

use crate::{Error, addr::Fingerprint, stream::Stream};
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_identity::{Keypair, PeerId};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The name by which `libp2p-noise` knows its one protocol; the upgrades ignore it.
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

/// The WebRTC server is the Noise initiator: with DTLS 1.2 it is the first able to send.
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub async fn as_server(
    keys: &Keypair,
    stream: Stream,
    client: Fingerprint,
    server: Fingerprint,
    let_in: impl FnOnce() + Unpin + Send + 'static,
) -> Result<PeerId, Error> {
    let stream = Answering::new(stream, let_in);
    let (peer, mut io) = config(keys, &client, &server)?.upgrade_outbound(stream, NOISE).await?;
    // Close, do not just drop: a reset would let the client discard our last message.
    io.close().await?;
    Ok(peer)
}

/// The dialer answers, and learns the server's identity first.
pub async fn as_client(
    keys: &Keypair,
    stream: Stream,
    client: Fingerprint,
    server: Fingerprint,
    let_in: impl FnOnce() + Unpin + Send + 'static,
) -> Result<PeerId, Error> {
    let stream = Answering::new(stream, let_in);
    let (peer, mut io) = config(keys, &client, &server)?.upgrade_inbound(stream, NOISE).await?;
    io.close().await?;
    Ok(peer)
}

/// A stream that says, before it goes out, when the first message after one of the remote's is
/// written. With Noise XX that is our last one, for either side.
struct Answering<S, F> {
    stream: S,
    has_read: bool,
    let_in: Option<F>,
}

impl<S, F> Answering<S, F> {
    fn new(stream: S, let_in: F) -> Self {
        Self { stream, has_read: false, let_in: Some(let_in) }
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Answering<S, F> {
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

impl<S: AsyncWrite + Unpin, F: FnOnce() + Unpin> AsyncWrite for Answering<S, F> {
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
        let unhex = |s: &str| -> Vec<u8> {
            (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
        };
        let f = |s| Fingerprint(unhex(s).try_into().unwrap());
        let client = f("3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870");
        let server = f("30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99");
        let want = "6c69627032702d7765627274632d6e6f6973653a12203e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870122030fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99";
        assert_eq!(prologue(&client, &server), unhex(want));
    }
}
