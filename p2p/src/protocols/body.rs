//! Reads a body whose length is known. It is allocated only as fast as it arrives.

use std::io;

use futures::{AsyncRead, AsyncReadExt};

/// Bodies grow in steps of this many bytes while they are read.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads exactly `len` bytes; the caller has checked the length.
pub async fn read_body<R: AsyncRead + Unpin>(stream: &mut R, len: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < len {
        let from = body.len();
        body.resize(len.min(from + CHUNK_BYTES), 0);
        stream.read_exact(&mut body[from..]).await?;
    }
    Ok(body)
}
