//! Readers of requests and responses on bytes in memory, for fuzzers and decoder tests. They run
//! the code that reads substreams. See `docs/format.md`, section 4.

use crate::{
    error::RequestError,
    protocol::Protocol,
    protocols::{read_body, request_response::codec},
};
use futures::{
    executor::block_on,
    io::{Cursor, Error},
};

/// Reads the body of a request, as the responder does.
///
/// # Errors
/// If the length exceeds the protocol's cap, or the bytes end before the body does.
pub fn read_request(protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stream = Cursor::new(bytes);
    block_on(async {
        match codec::read_request_len(&mut stream, protocol).await? {
            Ok(len) => read_body(&mut stream, len).await,
            Err(len) => Err(Error::other(format!("{len} bytes are above the cap"))),
        }
    })
}

/// Reads the body of a response, as the requester does.
///
/// # Errors
/// If the status is not `Status::Ok`, the length exceeds the protocol's cap, or the bytes end
/// early.
pub fn read_response(protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
    block_on(codec::read_response(&mut Cursor::new(bytes), protocol, 0))
}
