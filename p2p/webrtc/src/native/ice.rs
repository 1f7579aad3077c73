//! Parses a dialer's first STUN binding request to a WebRTC-direct server (RFC 8489).
//!
//! In handshake v2 the dialer's password is part of the server's half of the USERNAME; in v1 both
//! sides use one string for everything. Both halves are validated before use: only ICE characters
//! (RFC 8839, section 5.4), sensible lengths, and known versions. The server's half itself is the
//! key of a request's MESSAGE-INTEGRITY, so the integrity is checked before any state is created. A
//! forged request without it costs one HMAC.

use crate::version::{V1, V2};
use str0m::{crypto::CryptoProvider, ice::StunMessage};

/// The ICE credentials of both sides, recovered from the STUN USERNAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Also the local password, in v1 and v2 alike.
    pub server_ufrag: String,
    pub client_ufrag: String,
    pub client_pwd: String,
}

/// STUN and DTLS share the port; STUN's first byte is 0 to 3 (RFC 7983).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|b| *b < 4)
}

/// The USERNAME of a STUN binding request.
pub fn username(datagram: &[u8]) -> Option<&str> {
    const BINDING_REQUEST: [u8; 2] = [0, 1];
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 6;
    let (head, mut attributes) = datagram.split_first_chunk::<20>()?;
    if !head.starts_with(&BINDING_REQUEST) || head.get(4..8) != Some(&MAGIC_COOKIE[..]) {
        return None;
    }
    while let Some(([k0, k1, l0, l1], rest)) = attributes.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = rest.get(..len)?;
        if u16::from_be_bytes([*k0, *k1]) == USERNAME {
            return std::str::from_utf8(value).ok();
        }
        attributes = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}

/// Whether the sender of a STUN message knows the server's half of the USERNAME: it is the key of
/// the dialer's requests, and of the answers to them.
pub fn is_authentic(datagram: &[u8], server_ufrag: &str, crypto: &CryptoProvider) -> bool {
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    StunMessage::parse(datagram).is_ok_and(|m| m.verify(server_ufrag.as_bytes(), hmac))
}

/// Splits and validates a USERNAME. Unknown versions are refused, never guessed.
pub fn credentials(username: &str) -> Option<Credentials> {
    let (server, client) = username.split_once(':')?;
    if !is_ice_string(server, 4) || !is_ice_string(client, 4) {
        return None;
    }
    let client_pwd = match server.strip_prefix(V2) {
        Some(pwd) if is_ice_string(pwd, 22) => pwd,
        Some(_) => return None,
        // v1: the client munged its own offer so that ufrag and password are equal.
        None if server.starts_with(V1)
            && is_ice_string(server, 22)
            && is_ice_string(client, 22) =>
        {
            client
        }
        None => return None,
    };
    Some(Credentials {
        server_ufrag: server.to_owned(),
        client_ufrag: client.to_owned(),
        client_pwd: client_pwd.to_owned(),
    })
}

/// RFC 8839, section 5.4: `min` to 256 of ALPHA / DIGIT / "+" / "/".
fn is_ice_string(s: &str, min: usize) -> bool {
    (min..=256).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            request.extend([0; 12]);
            request.extend(&bytes);
            for datagram in [&bytes, &request] {
                if let Some(name) = username(datagram) {
                    let _ = credentials(name);
                }
            }
        }

        #[test]
        fn accepted_ice_strings_contain_only_safe_characters(
            name in "(libp2p\\+webrtc\\+v[123]/)?[a-zA-Z0-9+/ :\r\n]{0,300}",
        ) {
            if let Some(c) = credentials(&name) {
                for s in [&c.server_ufrag, &c.client_ufrag, &c.client_pwd] {
                    prop_assert!(is_ice_string(s, 4));
                }
                prop_assert!(c.client_pwd.len() >= 22);
                prop_assert_eq!(format!("{}:{}", c.server_ufrag, c.client_ufrag), name);
            }
        }
    }

    #[test]
    fn versions_and_validation() {
        let pwd = "abcdefghijklmnopqrstuv";
        let c = credentials(&format!("libp2p+webrtc+v2/{pwd}:uFrg")).unwrap();
        assert_eq!((c.client_ufrag.as_str(), c.client_pwd.as_str()), ("uFrg", pwd));
        let v1 = format!("libp2p+webrtc+v1/{pwd}");
        assert_eq!(credentials(&format!("{v1}:{v1}")).unwrap().client_pwd, v1);
        for bad in [
            "libp2p+webrtc+v2/short:uFrg".to_owned(),
            format!("libp2p+webrtc+v3/{pwd}:uFrg"),
            format!("{pwd}:uFrg"),
            format!("libp2p+webrtc+v2/{pwd}\r\n:uFrg"),
            format!("libp2p+webrtc+v2/{pwd}:u"),
            format!("libp2p+webrtc+v2/{}:uFrg", "a".repeat(256)),
            format!("libp2p+webrtc+v2/{pwd}"),
            // RFC 8839 allows no such password.
            format!("libp2p+webrtc+v1/:{v1}"),
        ] {
            assert_eq!(credentials(&bad), None, "{bad}");
        }
    }

    #[test]
    fn username_of_a_binding_request() {
        let mut m = vec![0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42];
        m.extend([0; 12]);
        m.extend([0x80, 0x22, 0, 2, 1, 1, 0, 0]); // another attribute, padded
        m.extend([0, 6, 0, 3, b'a', b':', b'b', 0]);
        assert_eq!(username(&m), Some("a:b"));
        assert_eq!(username(&m[..m.len() - 2]), None);
        assert_eq!(username(&[0; 10]), None);
    }
}
