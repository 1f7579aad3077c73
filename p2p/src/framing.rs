//! The readers of an exchange's two halves on bytes in memory, for fuzzers and tests of decoders:
//! the same code that reads substreams. `docs/format.md`, section 4.

use crate::{error::RequestError, protocol::Protocol, rpc::codec};
use futures::{
    executor::block_on,
    io::{Cursor, Error},
};

/// What a responder reads: the body of a request.
///
/// # Errors
/// If the length is above the protocol's cap, or the bytes end before the body does.
pub fn read_request(protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stream = Cursor::new(bytes);
    block_on(async {
        match codec::read_request_len(&mut stream, protocol).await? {
            Ok(len) => codec::read_body(&mut stream, len).await,
            Err(len) => Err(Error::other(format!("{len} bytes are above the cap"))),
        }
    })
}

/// What a requester reads: the body of a response.
///
/// # Errors
/// Every status but the first, a length above the protocol's cap, and bytes that end too early.
pub fn read_response(protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
    block_on(codec::read_response(&mut Cursor::new(bytes), protocol, 0))
}
