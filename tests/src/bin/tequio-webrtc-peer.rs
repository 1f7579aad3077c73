//! The other side of `tests/browser/webrtc.mjs`: a WebRTC-direct listener that does what a stream asks for.
//!
//! Usage: `tequio-webrtc-peer [--listen ADDR] [--certificate FILE]`. Prints a line of JSON for everything that happens:
//! `listening`, `connected`, `stalled` (a reader has stopped and so have we), `closed`.

use anyhow::{Context, Result, bail};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future::poll_fn};
use libp2p_core::{
    Multiaddr, Transport as _,
    muxing::StreamMuxer,
    transport::{ListenerId, TransportEvent},
};
use libp2p_identity::Keypair;
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tequio_webrtc::{Certificate, Closed, Config, Connection, Error, Stream, Transport};
use tequio_webrtc_page::pattern::{Wish, receive, send};

/// A writer that has not moved for so long has been stopped by its reader.
const STALLED: Duration = Duration::from_secs(1);
/// How long a slow upload is not read.
const PAUSE: Duration = Duration::from_secs(3);

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
    let mut transport = Transport::new(Keypair::generate_ed25519(), certificate(file)?, Config::default());
    // A restarted one is given the address that the first one had, certificate and all.
    let listen: Multiaddr = listen.parse()?;
    transport.listen_on(ListenerId::next(), listen.iter().take(3).collect())?;
    loop {
        match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                say(&json!({"event": "listening", "addr": listen_addr.to_string()}));
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

fn certificate(file: Option<PathBuf>) -> Result<Certificate> {
    let Some(file) = file else { return Ok(Certificate::generate()?) };
    if let Ok(bytes) = fs::read(&file) {
        return Ok(Certificate::from_bytes(&bytes)?);
    }
    let certificate = Certificate::generate()?;
    fs::write(&file, certificate.to_bytes()).context("cannot write the certificate")?;
    Ok(certificate)
}

fn say(event: &Value) {
    println!("{event}");
}

async fn serve(mut connection: Connection) {
    say(&json!({"event": "connected"}));
    let error = loop {
        match poll_fn(|cx| Pin::new(&mut connection).poll_inbound(cx)).await {
            Ok(stream) => drop(tokio::spawn(async move {
                if let Err(error) = fulfil(stream).await {
                    eprintln!("stream: {error}");
                }
            })),
            Err(error) => break error,
        }
    };
    let silent = matches!(error, Error::Closed(Closed::Silent));
    say(&json!({"event": "closed", "silent": silent}));
}

async fn fulfil(mut stream: Stream) -> Result<()> {
    let (wish, len) = Wish::read(&mut stream).await?;
    match wish {
        Wish::Echo => {
            let (read, mut write) = stream.split();
            futures::io::copy(read, &mut write).await?;
            write.close().await?;
        }
        Wish::Download => {
            watched(&mut stream, len).await?;
            ended(&mut stream).await?;
        }
        Wish::Upload | Wish::SlowUpload => {
            if wish == Wish::SlowUpload {
                tokio::time::sleep(PAUSE).await;
            }
            receive(&mut stream, len).await?;
            stream.write_all(&[1]).await?;
            ended(&mut stream).await?;
        }
    }
    Ok(())
}

/// Sends, and tells when the reader makes us wait.
async fn watched(stream: &mut (impl AsyncWrite + Unpin), len: u64) -> Result<()> {
    let sent = AtomicU64::new(0);
    let sending = send(stream, len, |n| sent.store(n, Relaxed));
    let watching = async {
        let mut before = (sent.load(Relaxed), Instant::now());
        loop {
            tokio::time::sleep(STALLED / 10).await;
            let now = sent.load(Relaxed);
            if now != before.0 {
                before = (now, Instant::now());
            } else if before.1.elapsed() > STALLED {
                say(&json!({"event": "stalled", "sent": now}));
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        sent = sending => Ok(sent?),
        () = watching => Ok(()),
    }
}

async fn ended(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    stream.close().await?;
    if stream.read(&mut [0; 9]).await? != 0 {
        bail!("more than was announced");
    }
    Ok(())
}
