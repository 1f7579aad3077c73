//! The SDP that a browser dialer needs: reads its own offer, writes the server's answer.
//!
//! No SDP is sent over the network; the answer is the one that the server would have sent (RFC
//! 8866, and `webrtc-direct.md`). Attributes with forbidden characters are refused, not escaped.

use crate::addr::Fingerprint;
use std::net::SocketAddr;

/// The value of the first `a=<name>:` line.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines()
        .find_map(|l| l.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// The SHA-256 fingerprint of the certificate.
pub fn fingerprint(sdp: &str) -> Option<Fingerprint> {
    let hex = attribute(sdp, "fingerprint")?.strip_prefix("sha-256 ")?;
    let mut out = [0; 32];
    let mut parts = hex.split(':');
    for byte in &mut out {
        let digits =
            parts.next().filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    parts.next().is_none().then_some(Fingerprint(out))
}

/// Whether the string is an ICE password as RFC 8839 defines it.
pub fn is_ice_pwd(s: &str) -> bool {
    (22..=256).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Returns the answer of the server, which itself never sends one: ICE-lite, DTLS server.
pub fn answer(server: SocketAddr, fingerprint: &Fingerprint, credential: &str) -> String {
    let (ip, port) = (server.ip(), server.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let hex: Vec<String> = fingerprint.0.iter().map(|b| format!("{b:02X}")).collect();
    let hex = hex.join(":");
    [
        "v=0".to_owned(),
        format!("o=- 0 0 IN {family} {ip}"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        "a=ice-lite".to_owned(),
        format!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel"),
        format!("c=IN {family} {ip}"),
        "a=mid:0".to_owned(),
        format!("a=ice-ufrag:{credential}"),
        format!("a=ice-pwd:{credential}"),
        format!("a=fingerprint:sha-256 {hex}"),
        "a=setup:passive".to_owned(),
        "a=sctp-port:5000".to_owned(),
        "a=max-message-size:16384".to_owned(),
        format!("a=candidate:1 1 UDP 1 {ip} {port} typ host"),
        "a=end-of-candidates".to_owned(),
        String::new(),
    ]
    .join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_reads_back() {
        let f = Fingerprint([0xa5; 32]);
        for (socket, candidate) in
            [("127.0.0.1:4001", "UDP 1 127.0.0.1 4001"), ("[2001:db8::1]:9", "UDP 1 2001:db8::1 9")]
        {
            let sdp =
                answer(socket.parse().unwrap(), &f, "libp2p+webrtc+v2/abcdefghijklmnopqrstuv");
            assert_eq!(fingerprint(&sdp), Some(f));
            assert_eq!(attribute(&sdp, "ice-ufrag"), attribute(&sdp, "ice-pwd"));
            assert_eq!(
                attribute(&sdp, "candidate"),
                Some(format!("1 1 {candidate} typ host").as_str())
            );
            assert!(sdp.lines().all(|l| l.as_bytes().get(1) == Some(&b'=')));
        }
    }

    #[test]
    fn bad_fingerprints_are_refused() {
        let good = ["AA"; 32].join(":");
        assert!(fingerprint(&format!("a=fingerprint:sha-256 {good}")).is_some());
        let (short, long, sign) = (&good[3..], format!("{good}:AA"), good.replacen("AA", "+A", 1));
        for bad in [short, &long, &sign, ""] {
            assert_eq!(fingerprint(&format!("a=fingerprint:sha-256 {bad}")), None, "{bad}");
        }
        assert_eq!(fingerprint(&format!("a=fingerprint:sha-512 {good}")), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(
            text in "(a=(fingerprint|ice-pwd):?(sha-256 )?)?\\PC{0,200}",
        ) {
            let _ = fingerprint(&text);
            let _ = attribute(&text, "ice-pwd").map(is_ice_pwd);
        }
    }
}
