//! What a peer of the tests does for whoever opens a stream and says its wish.

use anyhow::{Result, bail};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tequio_webrtc_page::pattern::{Wish, receive, send};

/// A writer that has not moved for so long has been stopped by its reader.
const STALLED: Duration = Duration::from_secs(1);
/// How long a slow upload is not read.
const PAUSE: Duration = Duration::from_secs(3);

/// Tells the test what happened, as a line of JSON.
pub fn say(event: &Value) {
    println!("{event}");
}

/// Reads a stream's wish and does it. Says `stalled` when a download's reader makes us wait.
pub async fn fulfil(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
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
