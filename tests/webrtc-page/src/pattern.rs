//! The first bytes of a stream contain a request. Then come bytes with a period that no buffer
//! length has, so that any lost, doubled or swapped byte shows at once.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::{io, sync::LazyLock};

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut x = 7u64;
    let byte = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..1_000_003).map(byte).collect()
});
const STEP: usize = 64 * 1024;

/// The request of a stream's opener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRequest {
    /// Echo all bytes.
    Echo,
    /// Send bytes to the opener.
    Download,
    /// Receive bytes of the opener.
    Upload,
    /// Receive bytes of the opener, and do not read them at first.
    SlowUpload,
}

impl StreamRequest {
    const ALL: [Self; 4] = [Self::Echo, Self::Download, Self::Upload, Self::SlowUpload];

    /// Writes the request, with the number of bytes.
    pub async fn write(self, stream: &mut (impl AsyncWrite + Unpin), len: u64) -> io::Result<()> {
        let mut head = vec![self as u8];
        head.extend(len.to_le_bytes());
        stream.write_all(&head).await
    }

    /// Reads what [`StreamRequest::write`] wrote.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Self, u64)> {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [request, len @ ..] = head;
        let request =
            Self::ALL.get(usize::from(request)).copied().ok_or(io::ErrorKind::InvalidData)?;
        Ok((request, u64::from_le_bytes(len)))
    }
}

fn at(position: u64) -> &'static [u8] {
    let start = (position % PATTERN.len() as u64) as usize;
    PATTERN.get(start..).unwrap_or_default()
}

/// Returns the first `len` bytes.
pub fn bytes(len: usize) -> Vec<u8> {
    PATTERN.iter().copied().cycle().take(len).collect()
}

/// Writes `len` bytes and reports the number of written bytes to `progress` after each step.
pub async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    len: u64,
    progress: impl Fn(u64),
) -> io::Result<()> {
    let mut sent = 0;
    while sent < len {
        let rest = at(sent);
        let n = rest.len().min(STEP).min(usize::try_from(len - sent).unwrap_or(usize::MAX));
        stream.write_all(rest.get(..n).unwrap_or_default()).await?;
        sent += n as u64;
        progress(sent);
    }
    stream.flush().await
}

/// Reads `len` bytes. Fails if one differs or the stream ends early.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin), len: u64) -> io::Result<()> {
    let mut buffer = vec![0; STEP];
    let mut received = 0;
    while received < len {
        let n =
            at(received).len().min(STEP).min(usize::try_from(len - received).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..n).unwrap_or_default();
        stream.read_exact(buffer).await?;
        if *buffer != *at(received).get(..n).unwrap_or_default() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("changed after byte {received}"),
            ));
        }
        received += n as u64;
    }
    Ok(())
}
