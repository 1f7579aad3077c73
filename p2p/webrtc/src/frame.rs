//! The message framing of libp2p's `webrtc/README.md`, written by hand (the schema is tiny).
//!
//! It handles the bytes of a frame, not their meaning. It refuses frames above [`MAX_MESSAGE`],
//! lengths that run past their container and varints above ten bytes. The schema:
//!
//! ```proto
//! message Message { optional Flag flag = 1; optional bytes message = 2; }
//! ```
//!
//! plus a field of this project, `optional uint64 window = 1021`. Protobuf readers skip unknown
//! fields, so implementations without it (js-libp2p, go-libp2p) ignore it.

use bytes::{Buf, Bytes, BytesMut};

/// Largest encoded message including its length prefix, as specified.
pub const MAX_MESSAGE: usize = 16 * 1024;
/// Largest payload: leaves room for prefix 3, flag 2, bytes header 4, window 2 + 10 (rounded up).
pub const MAX_PAYLOAD: usize = MAX_MESSAGE - 24;

/// Longest encoding of a number.
const MAX_UVARINT: usize = 10;
const TAG_FLAG: u64 = 1 << 3;
const TAG_MESSAGE: u64 = 2 << 3 | 2;
const TAG_WINDOW: u64 = 1021 << 3;

/// The control flag of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The sender will send no more.
    Fin = 0,
    /// The sender will read no more.
    StopSending = 1,
    /// The sender aborted sending; its data may be incomplete.
    Reset = 2,
    /// The sender has received our FIN.
    FinAck = 3,
}

impl Flag {
    /// Unknown flags are ignored, as unknown fields are.
    fn from_wire(n: u64) -> Option<Self> {
        match n {
            0 => Some(Flag::Fin),
            1 => Some(Flag::StopSending),
            2 => Some(Flag::Reset),
            3 => Some(Flag::FinAck),
            _ => None,
        }
    }
}

/// One message of the schema above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub flag: Option<Flag>,
    pub payload: Bytes,
    /// Flow control: the absolute number of payload bytes the peer may send on this stream. On
    /// channel 0 (Noise): the window that every new stream starts with.
    pub window: Option<u64>,
}

/// The remote sent bytes that are not a frame.
#[derive(Debug, PartialEq, Eq)]
pub struct BadFrame;

/// Encodes a frame with its length prefix; `payload` holds at most [`MAX_PAYLOAD`] bytes.
pub fn encode(flag: Option<Flag>, payload: &[u8], window: Option<u64>) -> Vec<u8> {
    let mut body = 0;
    if flag.is_some() {
        body += 2;
    }
    if !payload.is_empty() {
        body += 1 + uvarint_len(payload.len() as u64) + payload.len();
    }
    if let Some(w) = window {
        body += 2 + uvarint_len(w);
    }
    let mut out = Vec::with_capacity(body + 3);
    put_uvarint(&mut out, body as u64);
    if let Some(flag) = flag {
        out.extend([TAG_FLAG as u8, flag as u8]);
    }
    if !payload.is_empty() {
        out.push(TAG_MESSAGE as u8);
        put_uvarint(&mut out, payload.len() as u64);
        out.extend_from_slice(payload);
    }
    if let Some(w) = window {
        put_uvarint(&mut out, TAG_WINDOW);
        put_uvarint(&mut out, w);
    }
    debug_assert!(out.len() <= MAX_MESSAGE);
    out
}

/// Reassembles frames. A data channel message holds one or several, and some implementations treat
/// the channel as a byte stream, so a frame may also be split.
///
/// Holds at most one message and one incomplete frame.
#[derive(Default)]
pub struct Decoder {
    input: Bytes,
}

impl Decoder {
    /// Takes one data channel message; [`Decoder::next`] then returns the frames it completes.
    pub fn push(&mut self, message: Bytes) {
        // The usual case, without a copy: nothing left over, whole frames inside.
        if self.input.is_empty() {
            self.input = message;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.input.len() + message.len());
        joined.extend_from_slice(&self.input);
        joined.extend_from_slice(&message);
        self.input = joined.freeze();
    }

    /// Returns the next complete frame, or `None` until more is pushed.
    pub fn next(&mut self) -> Result<Option<Frame>, BadFrame> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let mut body = &self.input[..];
        let len = match take_uvarint(&mut body) {
            Some(n) => usize::try_from(n).ok().filter(|n| *n <= MAX_MESSAGE).ok_or(BadFrame)?,
            None if self.input.len() < MAX_UVARINT => return Ok(self.compact()),
            None => return Err(BadFrame),
        };
        if body.len() < len {
            return Ok(self.compact());
        }
        let head = self.input.len() - body.len();
        self.input.advance(head);
        decode_body(self.input.split_to(len)).map(Some)
    }

    /// Bytes of an incomplete frame.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub fn held(&self) -> usize {
        self.input.len()
    }

    /// Copies an incomplete frame, so that it does not keep its whole message alive.
    fn compact(&mut self) -> Option<Frame> {
        self.input = Bytes::copy_from_slice(&self.input);
        None
    }
}

/// Reads the fields. A payload that is a small part of its frame is copied, too: unknown fields
/// must not let a remote pin unaccounted memory.
fn decode_body(body: Bytes) -> Result<Frame, BadFrame> {
    let mut frame = Frame::default();
    let mut rest = &body[..];
    while !rest.is_empty() {
        let tag = take_uvarint(&mut rest).ok_or(BadFrame)?;
        match (tag, tag & 7) {
            (TAG_FLAG, _) => frame.flag = Flag::from_wire(take_uvarint(&mut rest).ok_or(BadFrame)?),
            (TAG_WINDOW, _) => frame.window = Some(take_uvarint(&mut rest).ok_or(BadFrame)?),
            (TAG_MESSAGE, _) => {
                let payload = take_bytes(&mut rest)?;
                let small = payload.len() < body.len() / 2;
                frame.payload =
                    if small { Bytes::copy_from_slice(payload) } else { body.slice_ref(payload) };
            }
            // Unknown fields, by wire type.
            (_, 0) => drop(take_uvarint(&mut rest).ok_or(BadFrame)?),
            (_, 1) => rest = rest.get(8..).ok_or(BadFrame)?,
            (_, 2) => drop(take_bytes(&mut rest)?),
            (_, 5) => rest = rest.get(4..).ok_or(BadFrame)?,
            _ => return Err(BadFrame),
        }
    }
    Ok(frame)
}

pub fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], BadFrame> {
    let len = take_uvarint(input).and_then(|n| usize::try_from(n).ok()).ok_or(BadFrame)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(BadFrame)?;
    *input = rest;
    Ok(bytes)
}

/// Reads a varint. `None` if the input ends before the number does, or if the number is too long;
/// bits above 64 are dropped, as protobuf does.
pub fn take_uvarint(input: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    let mut rest = *input;
    for shift in (0..MAX_UVARINT).map(|i| 7 * i) {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *input = rest;
            return Some(n);
        }
    }
    None
}

pub fn put_uvarint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn uvarint_len(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, BadFrame> {
        std::iter::from_fn(|| decoder.next().transpose()).collect()
    }

    fn one(bytes: &[u8]) -> Result<Option<Frame>, BadFrame> {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::copy_from_slice(bytes));
        decoder.next()
    }

    #[test]
    fn round_trip_split_and_joined() {
        let frames = [
            encode(None, &vec![7; MAX_PAYLOAD], Some(u64::MAX)),
            encode(Some(Flag::Fin), b"", None),
            encode(Some(Flag::FinAck), b"x", Some(300)),
            encode(None, b"", None),
        ];
        assert!(frames[0].len() <= MAX_MESSAGE);
        let bytes: Vec<u8> = frames.concat();
        for step in [1, 3, 1000, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut got = vec![];
            for part in bytes.chunks(step) {
                decoder.push(Bytes::copy_from_slice(part));
                got.extend(all(&mut decoder).unwrap());
            }
            assert_eq!(got.len(), 4);
            assert_eq!(got[0].payload.len(), MAX_PAYLOAD);
            assert_eq!(got[0].window, Some(u64::MAX));
            assert_eq!(got[1].flag, Some(Flag::Fin));
            assert_eq!((got[2].flag, got[2].window), (Some(Flag::FinAck), Some(300)));
            assert_eq!(got[3], Frame::default());
        }
    }

    #[test]
    fn unknown_fields_are_skipped_and_garbage_refused() {
        // field 9 varint, field 10 bytes, then the payload
        let body = [9 << 3, 1, 10 << 3 | 2, 2, 0, 0, 2 << 3 | 2, 1, 42];
        let message = [&[body.len() as u8][..], &body].concat();
        assert_eq!(&one(&message).unwrap().unwrap().payload[..], [42]);
        assert_eq!(one(&[2, 0x12, 9]), Err(BadFrame), "payload longer than its frame");
        assert_eq!(one(&[0xff; 12]), Err(BadFrame), "endless number");
        assert_eq!(one(&[0xff, 0xff, 0xff, 0x7f]), Err(BadFrame), "above the largest message");
        assert_eq!(one(&[1, 3]), Err(BadFrame), "unknown wire type");
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(
            flag in prop::option::of((0u64..4).prop_map(|n| Flag::from_wire(n).unwrap())),
            payload in prop::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD),
            window in any::<Option<u64>>(),
        ) {
            let bytes = encode(flag, &payload, window);
            prop_assert!(bytes.len() <= MAX_MESSAGE);
            let frame = one(&bytes).unwrap().unwrap();
            prop_assert_eq!(frame, Frame { flag, payload: payload.into(), window });
        }

        #[test]
        fn any_bytes_decode_or_are_refused_however_they_are_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            step in 1usize..600,
        ) {
            let mut decoder = Decoder::default();
            for part in bytes.chunks(step) {
                decoder.push(Bytes::copy_from_slice(part));
                match all(&mut decoder) {
                    Ok(frames) => prop_assert!(frames.len() <= bytes.len()),
                    Err(BadFrame) => return Ok(()),
                }
                prop_assert!(decoder.held() <= bytes.len());
            }
        }
    }
}
