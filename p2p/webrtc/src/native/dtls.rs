//! Reads the header of a DTLS record before decryption (RFC 6347, section 4.1; RFC 9147, section
//! 4).
//!
//! The header is not authenticated. It only indicates for which of two connections behind one
//! address a datagram may be useful.

/// Content types: change_cipher_spec, alert, handshake.
const PLAINTEXT: std::ops::RangeInclusive<u8> = 20..=22;
const HANDSHAKE: u8 = 22;

/// Whether a datagram belongs to a handshake that has no keys yet. An association with keys does
/// not need such datagrams.
pub fn is_plaintext(datagram: &[u8]) -> bool {
    first_record(datagram).is_some_and(|(kind, epoch)| PLAINTEXT.contains(&kind) && epoch == 0)
}

/// Whether a datagram can be the first of a handshake. Late datagrams of an earlier association
/// cannot.
pub fn starts_handshake(datagram: &[u8]) -> bool {
    first_record(datagram) == Some((HANDSHAKE, 0))
}

/// Content type and epoch of the first record.
fn first_record(datagram: &[u8]) -> Option<(u8, u16)> {
    match datagram {
        [kind, _, _, high, low, ..] => Some((*kind, u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_with_the_first_epoch() {
        let client_hello = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        let finished = [22, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        let data = [23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 1, 7];
        let key_change = [20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1];
        // The unified header of DTLS 1.3.
        let data_of_1_3 = [0b0010_1101, 0, 0, 0, 0, 9];
        assert!(starts_handshake(&client_hello) && is_plaintext(&client_hello));
        assert!(!starts_handshake(&key_change) && is_plaintext(&key_change));
        for encrypted in [&finished[..], &data, &data_of_1_3, &[22, 254], &[]] {
            assert!(!starts_handshake(encrypted) && !is_plaintext(encrypted), "{encrypted:?}");
        }
    }
}
