//! The parsers of remote input, for the fuzz targets of this repository. Not part of the crate's
//! interface: it may change with any release.
//!
//! Each function parses one kind of input and panics if the result violates an invariant of the
//! parser.

use crate::{
    addr::Fingerprint,
    frame::{self, Decoder, Frame, MAX_MESSAGE, MAX_PAYLOAD},
    native::{Credentials, credentials, is_authentic, is_stun, username},
    sdp,
    signal::{
        Role,
        description::{check, with_window},
        exchange::{Exchange, Received},
        limits::{CANDIDATE_LEN_MAX, CANDIDATES_MAX, SDP_LEN_MAX},
        message::{self, Message},
    },
};
use bytes::Bytes;
use futures::executor::block_on;
use std::net::{IpAddr, SocketAddr};
use str0m::{
    crypto::from_feature_flags as crypto,
    ice::{StunMessage, TransId},
};

/// The largest datagram that a listener reads.
const DATAGRAM_MAX: usize = 2048;
/// The longest length prefix of a frame that is read: ten bytes, although valid ones are shorter.
const PREFIX_MAX: usize = 10;
/// The longest USERNAME that str0m writes; it reads longer ones.
const WRITTEN_NAME_MAX: usize = 128;

/// Parses a datagram as a listener does, then uses its bytes as the USERNAME of a valid request.
pub fn stun_username(bytes: &[u8]) {
    if is_stun(bytes)
        && let Some(name) = username(bytes)
        && let Some(credentials) = accepted(name)
    {
        let _ = is_authentic(bytes, &credentials.server_ufrag, &crypto());
    }
    if let Ok(name) = std::str::from_utf8(bytes)
        && let Some(credentials) = accepted(name)
        && name.len() <= WRITTEN_NAME_MAX
    {
        let request = request(name, &credentials.server_ufrag);
        assert!(is_stun(&request));
        assert_eq!(username(&request), Some(name), "another name than the one that was sent");
        assert!(
            is_authentic(&request, &credentials.server_ufrag, &crypto()),
            "a good request is refused"
        );
        let forged = self::request(name, "a password of no one");
        assert!(
            !is_authentic(&forged, &credentials.server_ufrag, &crypto()),
            "a forged request is accepted"
        );
    }
}

/// Returns the credentials of a valid USERNAME, and checks that they are safe: they are used in
/// ICE, and in browsers in SDP.
fn accepted(name: &str) -> Option<Credentials> {
    let found = credentials(name)?;
    assert_eq!(format!("{}:{}", found.server_ufrag, found.client_ufrag), name);
    assert!(sdp::is_ice_pwd(&found.server_ufrag) && sdp::is_ice_pwd(&found.client_pwd));
    assert!(
        found.client_ufrag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    );
    Some(found)
}

/// A binding request as a dialer sends it.
fn request(name: &str, password: &str) -> Vec<u8> {
    let message = StunMessage::binding_request(name, TransId::new(), true, 1, 1, false);
    let mut out = vec![0; DATAGRAM_MAX];
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto().sha1_hmac_provider.sha1_hmac(key, parts);
    let len = message.to_bytes(Some(password.as_bytes()), &mut out, hmac).unwrap_or(0);
    out.truncate(len);
    out
}

/// Decodes the bytes of a data channel, once in messages of the length given by the first byte, and
/// once in a single message.
pub fn framing(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let cut = frames(bytes.chunks(usize::from(*step) + 1));
    let whole = frames(std::iter::once(bytes));
    assert_eq!(cut, whole, "the result depends on the message boundaries");
    for frame in whole.0.iter().filter(|frame| frame.payload.len() <= MAX_PAYLOAD) {
        let encoded = frame::encode(frame.flag, &frame.payload, frame.window);
        assert!(encoded.len() <= MAX_MESSAGE);
        assert_eq!(frames(std::iter::once(encoded.as_slice())), (vec![frame.clone()], true));
    }
}

/// Returns the frames in the messages, and whether all of them were valid.
fn frames<'a>(messages: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::default();
    let mut out = vec![];
    for message in messages {
        decoder.push(Bytes::copy_from_slice(message));
        loop {
            match decoder.next() {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(frame::BadFrame) => return (out, false),
            }
        }
        assert!(decoder.held() < MAX_MESSAGE + PREFIX_MAX, "more is kept than one frame");
    }
    (out, true)
}

/// Parses an address (its family, 16 bytes, a port), then a browser's offer, and builds the answer
/// from them.
pub fn session_description(bytes: &[u8]) {
    let Some((head, offer)) = bytes.split_first_chunk::<19>() else { return };
    let offer = String::from_utf8_lossy(offer);
    let [family, ip @ .., high, low] = *head;
    let [a, b, c, d, ..] = ip;
    let ip: IpAddr = if family & 1 == 0 { [a, b, c, d].into() } else { ip.into() };
    let server = SocketAddr::new(ip, u16::from_be_bytes([high, low]));
    for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "candidate"] {
        let _ = sdp::attribute(&offer, name);
    }
    let fingerprint = sdp::fingerprint(&offer).unwrap_or(Fingerprint([0xa5; 32]));
    let password = sdp::attribute(&offer, "ice-pwd").filter(|password| sdp::is_ice_pwd(password));
    let password = password.unwrap_or("libp2p+webrtc+v1/abcdefgh");
    let answer = sdp::answer(server, &fingerprint, password);
    assert_eq!(sdp::fingerprint(&answer), Some(fingerprint));
    assert_eq!(sdp::attribute(&answer, "ice-ufrag"), Some(password));
    assert_eq!(sdp::attribute(&answer, "ice-pwd"), Some(password));
    assert_eq!(answer.lines().count(), 16, "a value of the remote added a line");
    assert!(answer.lines().all(|line| line.as_bytes().get(1) == Some(&b'=')));
    let candidate = format!("1 1 UDP 1 {} {} typ host", server.ip(), server.port());
    assert_eq!(sdp::attribute(&answer, "candidate"), Some(candidate.as_str()));
}

/// Reads a role, then the bytes of a signalling stream as that side receives them.
pub fn signalling(bytes: &[u8]) {
    let Some((role, bytes)) = bytes.split_first() else { return };
    let mut exchange = Exchange::new(if role & 1 == 0 { Role::Dialer } else { Role::Listener });
    let mut stream = futures::io::Cursor::new(bytes);
    let (mut is_described, mut candidates) = (false, 0);
    while let Ok(Some(message)) = block_on(message::read(&mut stream)) {
        let encoded = message.encode();
        let again = block_on(message::read(&mut futures::io::Cursor::new(&encoded)));
        assert_eq!(again, Ok(Some(message.clone())), "the read message differs");
        let is_candidate = matches!(message, Message::Candidate(_));
        match exchange.receive(Some(message)) {
            Ok(Received::Description { sdp, window }) => {
                assert!(!is_described && sdp.len() <= SDP_LEN_MAX);
                assert!(sdp::fingerprint(&sdp).is_some());
                assert_eq!(sdp.lines().filter(|line| line.starts_with("m=")).count(), 1);
                if window.is_none() && sdp.len() + 64 <= SDP_LEN_MAX {
                    assert_eq!(
                        check(&with_window(&sdp, 1)).map(|checked| checked.window),
                        Ok(Some(1))
                    );
                }
                is_described = true;
            }
            Ok(Received::Candidate(json)) => {
                assert!(is_described && json.len() <= CANDIDATE_LEN_MAX);
                candidates += 1;
            }
            Ok(Received::NoMoreCandidates) => assert!(is_described && is_candidate),
            Err(_) => return,
        }
        assert!(candidates <= CANDIDATES_MAX);
    }
}
