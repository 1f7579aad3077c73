//! The peer of `tests/browser/webrtc.mjs`: a WebRTC-direct listener that serves requests on
//! streams, and a WebSocket listener that serves the same requests for comparison.
//!
//! Usage: `tequio-webrtc-peer [--listen ADDR] [--certificate FILE]`. Prints a line of JSON for each
//! event: `listening`, `websocket` (the address of that listener), `connected`, `stalled` (a reader
//! has stopped, so the peer has stopped writing), `closed`.

use anyhow::{Context, Result, bail};
use futures::future::poll_fn;
use libp2p::{noise, tcp, websocket, yamux};
use libp2p_core::{
    Multiaddr, Transport as _,
    muxing::{StreamMuxer, StreamMuxerBox},
    transport::{ListenerId, TransportEvent},
    upgrade::Version,
};
use libp2p_identity::Keypair;
use serde_json::json;
use std::{fs, path::PathBuf, pin::Pin};
use tequio_tests::stream_requests::{print_event, serve_stream};
use tequio_webrtc::{Certificate, Closed, Config, Connection, Error, Transport};

#[tokio::main]
async fn main() -> Result<()> {
    let (mut listen, mut file) = ("/ip4/127.0.0.1/udp/0/webrtc-direct".to_owned(), None);
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--listen" => listen = value,
            "--certificate" => file = Some(PathBuf::from(value)),
            other => bail!("unknown argument {other}"),
        }
    }
    let mut transport =
        Transport::new(Keypair::generate_ed25519(), certificate(file)?, Config::default());
    // A restarted peer gets the address and certificate of the first one.
    let listen: Multiaddr = listen.parse()?;
    transport.listen_on(ListenerId::next(), listen.iter().take(3).collect())?;
    loop {
        match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                print_event(&json!({"event": "listening", "addr": listen_addr.to_string()}));
                tokio::spawn(by_websocket());
            }
            TransportEvent::Incoming { upgrade, .. } => drop(tokio::spawn(async move {
                match upgrade.await {
                    Ok((_, connection)) => serve(connection).await,
                    Err(error) => eprintln!("handshake: {error}"),
                }
            })),
            _ => {}
        }
    }
}

/// Serves the same requests over WebSocket, Noise and yamux.
async fn by_websocket() -> Result<()> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let mut transport = websocket::Config::new(tcp)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&Keypair::generate_ed25519())?)
        .multiplex(yamux::Config::default())
        .boxed();
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
    loop {
        match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                print_event(&json!({"event": "websocket", "addr": listen_addr.to_string()}));
            }
            TransportEvent::Incoming { upgrade, .. } => drop(tokio::spawn(async move {
                match upgrade.await {
                    Ok((_, connection)) => streams_of(connection).await,
                    Err(error) => eprintln!("handshake: {error}"),
                }
            })),
            _ => {}
        }
    }
}

async fn streams_of(mut connection: StreamMuxerBox) {
    while let Ok(stream) = poll_fn(|cx| Pin::new(&mut connection).poll_inbound(cx)).await {
        tokio::spawn(async move {
            if let Err(error) = serve_stream(stream).await {
                eprintln!("stream: {error}");
            }
        });
    }
}

fn certificate(file: Option<PathBuf>) -> Result<Certificate> {
    let Some(file) = file else { return Ok(Certificate::generate()?) };
    if let Ok(bytes) = fs::read(&file) {
        return Ok(Certificate::from_bytes(&bytes)?);
    }
    let certificate = Certificate::generate()?;
    fs::write(&file, certificate.to_bytes()).context("cannot write the certificate")?;
    Ok(certificate)
}

async fn serve(mut connection: Connection) {
    print_event(&json!({"event": "connected"}));
    let error = loop {
        match poll_fn(|cx| Pin::new(&mut connection).poll_inbound(cx)).await {
            Ok(stream) => drop(tokio::spawn(async move {
                if let Err(error) = serve_stream(stream).await {
                    eprintln!("stream: {error}");
                }
            })),
            Err(error) => break error,
        }
    };
    let silent = matches!(error, Error::Closed(Closed::TimedOut));
    print_event(&json!({"event": "closed", "silent": silent}));
}
