//! The bytes of one exchange on its substream; lengths are unsigned 32-bit little-endian.
//!
//! The requester sends length and body, then closes its half. The responder sends one status byte,
//! and with [`Status::Ok`] length and body; then it closes. A length above the protocol's cap is
//! refused before anything is allocated.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future::Either};

use crate::{error::RequestError, protocol::Protocol, protocols::body::read_body};

/// First byte of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Length and body follow.
    Ok = 0,
    /// The application declined to answer.
    Refused = 1,
    /// The responder's queue is full.
    Busy = 2,
    /// The requester is over its rate.
    Throttled = 3,
    /// The request is above the protocol's cap.
    RequestTooLarge = 4,
    /// The response would be above the protocol's cap.
    ResponseTooLarge = 5,
}

impl Status {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Status::Ok,
            1 => Status::Refused,
            2 => Status::Busy,
            3 => Status::Throttled,
            4 => Status::RequestTooLarge,
            5 => Status::ResponseTooLarge,
            _ => return None,
        })
    }
}

async fn read_len<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<usize> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    usize::try_from(u32::from_le_bytes(len)).map_err(io::Error::other)
}

/// Reads the length of a request; returns `Err(len)` inside if it exceeds the cap.
pub async fn read_request_len<R: AsyncRead + Unpin>(
    stream: &mut R,
    protocol: Protocol,
) -> io::Result<Result<usize, usize>> {
    let len = read_len(stream).await?;
    Ok(if len <= protocol.request_max() { Ok(len) } else { Err(len) })
}

async fn write_framed<W: AsyncWrite + Unpin>(
    stream: &mut W,
    status: Option<Status>,
    body: &[u8],
) -> io::Result<()> {
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(5);
    head.extend(status.map(|s| s as u8));
    head.extend(len.to_le_bytes());
    stream.write_all(&head).await?;
    stream.write_all(body).await?;
    stream.close().await
}

/// Writes a response and closes the local half.
pub async fn write_response<W: AsyncWrite + Unpin>(
    stream: &mut W,
    response: Result<&[u8], Status>,
) -> io::Result<()> {
    match response {
        Ok(body) => write_framed(stream, Some(Status::Ok), body).await,
        Err(status) => {
            stream.write_all(&[status as u8]).await?;
            stream.close().await
        }
    }
}

/// Reads a whole response; `request_len` is used only in the error.
pub async fn read_response<R: AsyncRead + Unpin>(
    stream: &mut R,
    protocol: Protocol,
    request_len: usize,
) -> Result<Vec<u8>, RequestError> {
    let mut status = [0];
    stream.read_exact(&mut status).await.map_err(stream_error)?;
    match Status::from_byte(status[0]).ok_or(RequestError::Malformed)? {
        Status::Ok => {}
        Status::Refused => return Err(RequestError::Refused),
        Status::Busy => return Err(RequestError::Busy),
        Status::Throttled => return Err(RequestError::Throttled),
        Status::RequestTooLarge => {
            return Err(RequestError::RequestTooLarge {
                len: request_len,
                max: protocol.request_max(),
            });
        }
        Status::ResponseTooLarge => {
            return Err(RequestError::ResponseTooLarge { max: protocol.response_max() });
        }
    }
    let len = read_len(stream).await.map_err(stream_error)?;
    if len > protocol.response_max() {
        return Err(RequestError::ResponseTooLarge { max: protocol.response_max() });
    }
    read_body(stream, len).await.map_err(stream_error)
}

/// Runs an exchange on the requester's side.
///
/// It reads while it writes, because a refusal may arrive before the request is sent completely.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    protocol: Protocol,
    body: &[u8],
) -> Result<Vec<u8>, RequestError> {
    let (mut reader, mut writer) = stream.split();
    let write = std::pin::pin!(write_framed(&mut writer, None, body));
    let read = std::pin::pin!(read_response(&mut reader, protocol, body.len()));
    match futures::future::select(write, read).await {
        // Read also after a failed write: the responder may have sent a status before it left.
        Either::Left((_written, read)) => read.await,
        Either::Right((response, _)) => response,
    }
}

/// An unknown protocol shows only here, because the negotiation is sent with the first bytes.
fn stream_error(error: io::Error) -> RequestError {
    use libp2p::core::upgrade::NegotiationError;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<NegotiationError>()) {
        Some(NegotiationError::Failed) => RequestError::Unsupported,
        _ => RequestError::ConnectionLost,
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    fn response(bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
        block_on(read_response(&mut Cursor::new(bytes), Protocol::GetTransactions, 3))
    }

    #[test]
    fn responses_round_trip() {
        let mut bytes = Cursor::new(Vec::new());
        block_on(write_response(&mut bytes, Ok(b"yes"))).unwrap();
        assert_eq!(bytes.get_ref(), b"\x00\x03\0\0\0yes");
        assert_eq!(response(bytes.get_ref()), Ok(b"yes".to_vec()));
    }

    #[test]
    fn every_status_has_its_error_and_unknown_ones_are_malformed() {
        for byte in 0..=255u8 {
            let error = match byte {
                0 => RequestError::ConnectionLost, // The length is missing.
                1 => RequestError::Refused,
                2 => RequestError::Busy,
                3 => RequestError::Throttled,
                4 => RequestError::RequestTooLarge {
                    len: 3,
                    max: Protocol::GetTransactions.request_max(),
                },
                5 => {
                    RequestError::ResponseTooLarge { max: Protocol::GetTransactions.response_max() }
                }
                _ => RequestError::Malformed,
            };
            assert_eq!(response(&[byte]), Err(error), "status {byte}");
        }
    }

    #[test]
    fn lengths_are_refused_before_the_body() {
        let max = Protocol::GetTransactions.response_max();
        assert_eq!(
            response(&[0, 0xff, 0xff, 0xff, 0xff]),
            Err(RequestError::ResponseTooLarge { max })
        );
        let over = [&[0], (max as u32 + 1).to_le_bytes().as_slice()].concat();
        assert_eq!(response(&over), Err(RequestError::ResponseTooLarge { max }));
        assert_eq!(
            response(&[0, 64, 0, 0, 0, 1, 2]),
            Err(RequestError::ConnectionLost),
            "a body cut short"
        );
        let over = (Protocol::Sync.request_max() as u32 + 1).to_le_bytes();
        let len = block_on(read_request_len(&mut Cursor::new(over), Protocol::Sync)).unwrap();
        assert_eq!(len, Err(Protocol::Sync.request_max() + 1));
    }

    proptest::proptest! {
        /// For any input, the reader ends with an error or a body within the cap.
        #[test]
        fn readers_are_total(bytes: Vec<u8>, body: Vec<u8>) {
            for protocol in Protocol::ALL {
                if let Ok(read) = block_on(read_response(&mut Cursor::new(&bytes), protocol, 0)) {
                    proptest::prop_assert!(read.len() <= protocol.response_max());
                    proptest::prop_assert_eq!(Some(read.as_slice()), bytes.get(5..5 + read.len()));
                }
                let len = block_on(read_request_len(&mut Cursor::new(&bytes), protocol));
                if let Ok(Ok(len)) = len {
                    proptest::prop_assert!(len <= protocol.request_max());
                }
            }
            let mut written = Cursor::new(Vec::new());
            block_on(write_framed(&mut written, None, &body)).unwrap();
            let mut reader = Cursor::new(written.into_inner());
            let len = block_on(read_request_len(&mut reader, Protocol::Work)).unwrap().unwrap();
            proptest::prop_assert_eq!(block_on(read_body(&mut reader, len)).unwrap(), body);
        }
    }
}
