//! Serves the requests that peers send on test streams.

use anyhow::{Result, bail};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tequio_webrtc_page::pattern::{StreamRequest, receive, send};

/// A writer without progress for this long has been stopped by its reader.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a slow upload is read.
const SLOW_READ_DELAY: Duration = Duration::from_secs(3);

/// Reports an event to the test, as a line of JSON.
pub fn print_event(event: &Value) {
    println!("{event}");
}

/// Reads the request on a stream and serves it. Reports `stalled` when the reader of a download
/// makes the writer wait.
pub async fn serve_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let (request, len) = StreamRequest::read(&mut stream).await?;
    match request {
        StreamRequest::Echo => {
            let (read, mut write) = stream.split();
            futures::io::copy(read, &mut write).await?;
            write.close().await?;
        }
        StreamRequest::Download => {
            send_and_report_stalls(&mut stream, len).await?;
            expect_end(&mut stream).await?;
        }
        StreamRequest::Upload | StreamRequest::SlowUpload => {
            if request == StreamRequest::SlowUpload {
                tokio::time::sleep(SLOW_READ_DELAY).await;
            }
            receive(&mut stream, len).await?;
            stream.write_all(&[1]).await?;
            expect_end(&mut stream).await?;
        }
    }
    Ok(())
}

/// Sends bytes, and reports when the reader makes the writer wait.
async fn send_and_report_stalls(stream: &mut (impl AsyncWrite + Unpin), len: u64) -> Result<()> {
    let sent = AtomicU64::new(0);
    let sending = send(stream, len, |n| sent.store(n, Relaxed));
    let watching = async {
        let mut before = (sent.load(Relaxed), Instant::now());
        loop {
            tokio::time::sleep(STALL_TIMEOUT / 10).await;
            let now = sent.load(Relaxed);
            if now != before.0 {
                before = (now, Instant::now());
            } else if before.1.elapsed() > STALL_TIMEOUT {
                print_event(&json!({"event": "stalled", "sent": now}));
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        sent = sending => Ok(sent?),
        () = watching => Ok(()),
    }
}

async fn expect_end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    stream.close().await?;
    if stream.read(&mut [0; 9]).await? != 0 {
        bail!("more than was announced");
    }
    Ok(())
}
