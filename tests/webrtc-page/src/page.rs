//! The exports. They reach a peer by our WebRTC transport or, for comparison, by libp2p's WebSocket
//! with Noise and yamux.

use crate::pattern::{StreamRequest, receive, send};
use futures::{AsyncReadExt, AsyncWriteExt, future::poll_fn};
use futures_timer::Delay;
use libp2p::{noise, websocket_websys, yamux};
use libp2p_core::{
    Endpoint, Transport as _,
    muxing::{StreamMuxer, StreamMuxerBox, SubstreamBox},
    transport::{DialOpts, PortUse},
    upgrade::Version,
};
use libp2p_identity::Keypair;
use std::{cell::RefCell, pin::Pin, rc::Rc, time::Duration};
use tequio_webrtc::{Config, DialVersion, Transport};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

#[wasm_bindgen(start)]
pub fn started() {
    console_error_panic_hook::set_once();
}

fn js(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

/// A connection to a `tequio-webrtc-peer`.
#[wasm_bindgen]
pub struct Peer(Rc<RefCell<StreamMuxerBox>>);

fn opts() -> DialOpts {
    DialOpts { role: Endpoint::Dialer, port_use: PortUse::New }
}

/// Dials by WebRTC, with handshake v1 if `v1` is set.
#[wasm_bindgen]
pub async fn connect(addr: String, v1: bool) -> Result<Peer, JsError> {
    let version = if v1 { DialVersion::V1 } else { DialVersion::V2 };
    let mut transport = Transport::new(Config { keys: Keypair::generate_ed25519(), version });
    let addr = addr.parse().map_err(js)?;
    let (_, connection) = transport.dial(addr, opts()).map_err(js)?.await.map_err(js)?;
    Ok(Peer(Rc::new(RefCell::new(StreamMuxerBox::new(connection)))))
}

/// Dials by WebSocket.
#[wasm_bindgen(js_name = connectWebSocket)]
pub async fn connect_websocket(addr: String) -> Result<Peer, JsError> {
    let noise = noise::Config::new(&Keypair::generate_ed25519()).map_err(js)?;
    let mut transport = websocket_websys::Transport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .boxed();
    let addr = addr.parse().map_err(js)?;
    let (_, connection) = transport.dial(addr, opts()).map_err(js)?.await.map_err(js)?;
    let connection = Rc::new(RefCell::new(connection));
    // yamux makes progress only when it is polled: until the connection ends, or the page drops it.
    let weak = Rc::downgrade(&connection);
    spawn_local(async move {
        let gone = poll_fn(|cx| {
            let Some(connection) = weak.upgrade() else { return std::task::Poll::Ready(()) };
            let mut connection = connection.borrow_mut();
            Pin::new(&mut *connection).poll(cx).map(drop)
        });
        gone.await;
    });
    Ok(Peer(connection))
}

#[wasm_bindgen]
impl Peer {
    async fn open(&self, request: StreamRequest, len: f64) -> Result<SubstreamBox, JsError> {
        let mut stream = poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_outbound(cx))
            .await
            .map_err(js)?;
        request.write(&mut stream, len as u64).await.map_err(js)?;
        Ok(stream)
    }

    /// Receives `len` bytes, and reads the first of them after a pause.
    pub async fn download(&self, len: f64, pause_ms: u32) -> Result<(), JsError> {
        let mut stream = self.open(StreamRequest::Download, len).await?;
        Delay::new(Duration::from_millis(pause_ms.into())).await;
        receive(&mut stream, len as u64).await.map_err(js)?;
        finished(stream).await
    }

    /// Sends `len` bytes and waits until the peer has received all of them unchanged.
    pub async fn upload(&self, len: f64, is_slow: bool) -> Result<(), JsError> {
        let mut stream = self
            .open(if is_slow { StreamRequest::SlowUpload } else { StreamRequest::Upload }, len)
            .await?;
        send(&mut stream, len as u64, |_| {}).await.map_err(js)?;
        stream.read_exact(&mut [0]).await.map_err(js)?;
        finished(stream).await
    }

    /// Sends `len` bytes and receives them back at the same time.
    pub async fn echo(&self, len: f64) -> Result<(), JsError> {
        let (mut read, mut write) = self.open(StreamRequest::Echo, len).await?.split();
        let sent = async {
            send(&mut write, len as u64, |_| {}).await?;
            write.close().await
        };
        let (sent, received) = futures::join!(sent, receive(&mut read, len as u64));
        sent.and(received).map_err(js)
    }

    /// Resolves with the reason once the connection has ended.
    pub async fn closed(&self) -> String {
        let connection = self.0.clone();
        loop {
            let inbound =
                poll_fn(|cx| Pin::new(&mut *connection.borrow_mut()).poll_inbound(cx)).await;
            if let Err(error) = inbound {
                return error.to_string();
            }
        }
    }
}

/// Both sides have sent everything.
async fn finished(mut stream: SubstreamBox) -> Result<(), JsError> {
    stream.close().await.map_err(js)?;
    match stream.read(&mut [0; 9]).await {
        Ok(0) => Ok(()),
        Ok(more) => Err(js(format!("{more} bytes too many"))),
        Err(error) => Err(js(error)),
    }
}
