//! The messages: protobuf, each behind its length.
//!
//! ```proto
//! message Message {
//!   enum Type { SDP_OFFER = 0; SDP_ANSWER = 1; ICE_CANDIDATE = 2; }
//!   optional Type type = 1;
//!   optional string data = 2;
//! }
//! ```
//!
//! It refuses lengths above [`MESSAGE_LEN_MAX`] before anything is read, and text that is not
//! UTF-8. Unknown fields are skipped, as protobuf requires.

use super::{error::BadSignal, limits::MESSAGE_LEN_MAX};
use crate::frame::{put_uvarint, take_bytes, take_uvarint};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;

const TAG_TYPE: u64 = 1 << 3;
const TAG_DATA: u64 = 2 << 3 | 2;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The dialer's session description.
    Offer(String),
    /// The listener's session description.
    Answer(String),
    /// `RTCIceCandidate.toJSON()` as text.
    Candidate(String),
}

impl Message {
    fn parts(&self) -> (u8, &str) {
        match self {
            Message::Offer(text) => (0, text),
            Message::Answer(text) => (1, text),
            Message::Candidate(text) => (2, text),
        }
    }

    /// The message's name, for errors.
    pub fn name(&self) -> &'static str {
        ["an offer", "an answer", "a candidate"][usize::from(self.parts().0)]
    }

    /// Encodes the message with its length prefix.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, text) = self.parts();
        let mut body = vec![TAG_TYPE as u8, kind, TAG_DATA as u8];
        put_uvarint(&mut body, text.len() as u64);
        body.extend(text.as_bytes());
        let mut out = Vec::with_capacity(body.len() + 3);
        put_uvarint(&mut out, body.len() as u64);
        out.extend(body);
        out
    }

    /// Decodes a message without its length prefix.
    pub fn decode(body: &[u8]) -> Result<Self, BadSignal> {
        let (mut kind, mut data) = (None, &b""[..]);
        let mut rest = body;
        while !rest.is_empty() {
            let tag = take_uvarint(&mut rest).ok_or(BadSignal::Encoding)?;
            match (tag, tag & 7) {
                (TAG_TYPE, _) => kind = Some(take_uvarint(&mut rest).ok_or(BadSignal::Encoding)?),
                (TAG_DATA, _) => data = take_bytes(&mut rest).map_err(|_| BadSignal::Encoding)?,
                (_, 0) => drop(take_uvarint(&mut rest).ok_or(BadSignal::Encoding)?),
                (_, 1) => rest = rest.get(8..).ok_or(BadSignal::Encoding)?,
                (_, 2) => drop(take_bytes(&mut rest).map_err(|_| BadSignal::Encoding)?),
                (_, 5) => rest = rest.get(4..).ok_or(BadSignal::Encoding)?,
                _ => return Err(BadSignal::Encoding),
            }
        }
        let text = || std::str::from_utf8(data).map(str::to_owned).map_err(|_| BadSignal::Encoding);
        match kind {
            Some(0) => Ok(Message::Offer(text()?)),
            Some(1) => Ok(Message::Answer(text()?)),
            Some(2) => Ok(Message::Candidate(text()?)),
            _ => Err(BadSignal::Type),
        }
    }
}

/// Writes one message.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &Message) -> io::Result<()> {
    stream.write_all(&message.encode()).await?;
    stream.flush().await
}

/// Reads the next message; `None` if the stream has ended or failed. Bytes that are not a message
/// are an error.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Message>, BadSignal> {
    let (mut len, mut shift) = (0u64, 0);
    loop {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            return Ok(None);
        }
        let [byte] = byte;
        len |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
        // Three bytes hold any valid length.
        if shift >= 21 {
            return Err(BadSignal::Long(len));
        }
    }
    let body_len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MESSAGE_LEN_MAX)
        .ok_or(BadSignal::Long(len))?;
    let mut body = vec![0; body_len];
    if stream.read_exact(&mut body).await.is_err() {
        return Ok(None);
    }
    Message::decode(&body).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Message>, BadSignal> {
        let mut stream = Cursor::new(bytes);
        let mut out = vec![];
        while let Some(message) = block_on(read(&mut stream))? {
            out.push(message);
        }
        Ok(out)
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let bytes = Message::Answer("v=0".into()).encode();
        assert_eq!(bytes, [7, 0x08, 1, 0x12, 3, b'v', b'=', b'0']);
        assert_eq!(Message::Offer(String::new()).encode(), [4, 0x08, 0, 0x12, 0]);
    }

    #[test]
    fn unknown_fields_are_skipped_and_garbage_refused() {
        let body =
            [9 << 3, 1, 0x08, 2, 10 << 3 | 2, 2, 0, 0, 0x12, 1, b'x', 3 << 3 | 5, 0, 0, 0, 0];
        assert_eq!(Message::decode(&body), Ok(Message::Candidate("x".into())));
        assert_eq!(Message::decode(&[0x12, 1, b'x']), Err(BadSignal::Type), "no type");
        assert_eq!(Message::decode(&[0x08, 3]), Err(BadSignal::Type), "unknown type");
        assert_eq!(
            Message::decode(&[0x08, 0, 0x12, 2, b'x']),
            Err(BadSignal::Encoding),
            "longer than its message"
        );
        assert_eq!(
            Message::decode(&[0x08, 0, 0x12, 1, 0xff]),
            Err(BadSignal::Encoding),
            "not UTF-8"
        );
        assert_eq!(Message::decode(&[3]), Err(BadSignal::Encoding), "unknown wire type");
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_are_read() {
        let mut long = vec![];
        put_uvarint(&mut long, MESSAGE_LEN_MAX as u64 + 1);
        assert_eq!(read_all(&long), Err(BadSignal::Long(MESSAGE_LEN_MAX as u64 + 1)));
        assert!(matches!(read_all(&[0xff; 4]), Err(BadSignal::Long(_))), "endless number");
        let whole = Message::Offer("v=0".into()).encode();
        assert_eq!(read_all(&whole[..4]), Ok(vec![]), "a stream that breaks off has ended");
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(
            texts in prop::collection::vec((0..3u8, "\\PC{0,300}"), 0..5),
        ) {
            let messages: Vec<_> = texts.into_iter().map(|(kind, text)| match kind {
                0 => Message::Offer(text),
                1 => Message::Answer(text),
                _ => Message::Candidate(text),
            }).collect();
            let bytes: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
            prop_assert_eq!(read_all(&bytes), Ok(messages));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_all(&bytes);
        }
    }
}
