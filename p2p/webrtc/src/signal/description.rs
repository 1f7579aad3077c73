//! Checks a session description before a browser receives it, and adds the window announcement to
//! local descriptions.
//!
//! A description must contain one data channel transport with one SHA-256 certificate, and nothing
//! else: a second section, a second certificate or another hash would need a choice. The browser
//! checks the rest.
//!
//! Between browsers no channel 0 announces the window (see `crate::stream`, "Flow control"), so it
//! is an attribute of the description, `a=tequio-window:<bytes>`. The attribute is added only to
//! the text that is sent, not to the browser's own description, which must not be changed before it
//! is set. Implementations that do not support the attribute skip it (RFC 8866, 5.13).

use super::{
    error::BadSignal,
    limits::{CANDIDATE_LEN_MAX, CANDIDATES_MAX, SDP_LEN_MAX},
};
use crate::sdp;

const WINDOW: &str = "tequio-window";
/// RFC 8841: SCTP over DTLS over UDP.
const SECTION: &str = "UDP/DTLS/SCTP webrtc-datachannel";

/// The checked properties of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The window of each new stream, if the remote has flow control.
    pub window: Option<u64>,
    /// Candidates inside the description.
    pub candidates: usize,
}

/// Checks the remote's description.
pub fn check(text: &str) -> Result<Checked, BadSignal> {
    if text.len() > SDP_LEN_MAX {
        return Err(BadSignal::LongDescription(text.len()));
    }
    let (mut sections, mut fingerprints, mut candidates, mut windows) = (0, 0, 0, 0);
    for line in text.lines() {
        if line.bytes().any(|b| b.is_ascii_control()) {
            return Err(BadSignal::Description("control characters"));
        }
        let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
            return Err(BadSignal::Description("a line that is not an SDP line"));
        };
        match kind {
            "m" => {
                let mut words = value.splitn(3, ' ');
                let (media, port, rest) = (words.next(), words.next(), words.next());
                if media != Some("application") || rest != Some(SECTION) {
                    return Err(BadSignal::Description("a section that is not for data channels"));
                }
                // Port 0 rejects the section.
                if port.and_then(|p| p.parse::<u16>().ok()).is_none_or(|p| p == 0) {
                    return Err(BadSignal::Description("a section that is refused"));
                }
                sections += 1;
            }
            "a" => match value.split_once(':').map_or(value, |(name, _)| name) {
                "fingerprint" => fingerprints += 1,
                "candidate" if line.len() > CANDIDATE_LEN_MAX => {
                    return Err(BadSignal::LongCandidate(line.len()));
                }
                "candidate" => candidates += 1,
                WINDOW => windows += 1,
                _ => {}
            },
            _ => {}
        }
    }
    match sections {
        0 => return Err(BadSignal::Description("no section for data channels")),
        1 => {}
        _ => return Err(BadSignal::Description("more than one section")),
    }
    if fingerprints > 1 {
        return Err(BadSignal::Description("more than one fingerprint"));
    }
    if sdp::fingerprint(text).is_none() {
        return Err(BadSignal::Description("no SHA-256 fingerprint"));
    }
    if candidates > CANDIDATES_MAX {
        return Err(BadSignal::ManyCandidates);
    }
    let window = match windows {
        0 => None,
        1 => {
            let window =
                sdp::attribute(text, WINDOW).filter(|w| w.bytes().all(|b| b.is_ascii_digit()));
            Some(
                window
                    .and_then(|w| w.parse().ok())
                    .ok_or(BadSignal::Description("a bad window"))?,
            )
        }
        _ => return Err(BadSignal::Description("more than one window")),
    };
    Ok(Checked { window, candidates })
}

/// Returns the browser's description with the window attribute, as it is sent.
pub fn with_window(text: &str, window: u64) -> String {
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\r\n" };
    format!("{text}{end}a={WINDOW}:{window}\r\n")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An offer as Chromium 156 writes it, except for the numbers.
    pub fn offer() -> String {
        let fingerprint = ["A5"; 32].join(":");
        [
            "v=0",
            "o=- 4962303333179871722 2 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0",
            "a=extmap-allow-mixed",
            "a=msid-semantic: WMS",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:E8fD",
            "a=ice-pwd:Ys6bHPmCqsyGzZ5JcfzSzHqu",
            "a=ice-options:trickle",
            &format!("a=fingerprint:sha-256 {fingerprint}"),
            "a=setup:actpass",
            "a=mid:0",
            "a=sctp-port:5000",
            "a=max-message-size:262144",
            "",
        ]
        .join("\r\n")
    }

    fn refused(text: &str) -> &'static str {
        match check(text) {
            Err(BadSignal::Description(why)) => why,
            other => panic!("{other:?}: {text}"),
        }
    }

    #[test]
    fn descriptions_of_browsers_are_accepted_with_and_without_a_window() {
        assert_eq!(check(&offer()), Ok(Checked { window: None, candidates: 0 }));
        assert_eq!(
            check(&with_window(&offer(), 1 << 20)),
            Ok(Checked { window: Some(1 << 20), candidates: 0 })
        );
        // Firefox writes the fingerprint before the section, and other line ends are valid.
        let line = format!("a=fingerprint:sha-256 {}\r\n", ["A5"; 32].join(":"));
        let firefox = offer().replace(&line, "").replace("t=0 0\r\n", &format!("t=0 0\r\n{line}"));
        assert_eq!(
            check(&firefox.replace("\r\n", "\n")),
            Ok(Checked { window: None, candidates: 0 })
        );
    }

    #[test]
    fn two_media_sections_and_none_are_refused() {
        let section = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
        assert_eq!(refused(&format!("{}{section}", offer())), "more than one section");
        assert_eq!(refused(&offer().replace(section, "")), "no section for data channels");
        for other in [
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=application 9 TCP/DTLS/SCTP webrtc-datachannel",
            "m=application 9 DTLS/SCTP 5000",
            "m=application",
        ] {
            assert_eq!(
                refused(&format!("{}{other}\r\n", offer())),
                "a section that is not for data channels"
            );
        }
        assert_eq!(
            refused(&offer().replace("m=application 9", "m=application 0")),
            "a section that is refused"
        );
    }

    #[test]
    fn exactly_one_sha_256_fingerprint_is_required() {
        let line = format!("a=fingerprint:sha-256 {}\r\n", ["A5"; 32].join(":"));
        assert_eq!(refused(&offer().replace(&line, "")), "no SHA-256 fingerprint");
        assert_eq!(refused(&offer().replace("sha-256", "sha-1")), "no SHA-256 fingerprint");
        assert_eq!(refused(&offer().replace("A5:A5", "A5")), "no SHA-256 fingerprint");
        assert_eq!(refused(&format!("{}{line}", offer())), "more than one fingerprint");
        assert_eq!(
            refused(&format!("{}a=fingerprint:sha-1 00\r\n", offer())),
            "more than one fingerprint"
        );
    }

    #[test]
    fn sizes_and_numbers_are_bounded() {
        let filler = format!("a=x:{}\r\n", "y".repeat(SDP_LEN_MAX));
        let long = format!("{}{filler}", offer());
        assert_eq!(check(&long), Err(BadSignal::LongDescription(long.len())));
        let candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
        let full = format!("{}{}", offer(), candidate.repeat(CANDIDATES_MAX));
        assert_eq!(check(&full).map(|checked| checked.candidates), Ok(CANDIDATES_MAX));
        assert_eq!(check(&format!("{full}{candidate}")), Err(BadSignal::ManyCandidates));
        let line = format!("a=candidate:{}", "9".repeat(CANDIDATE_LEN_MAX));
        assert_eq!(
            check(&format!("{}{line}\r\n", offer())),
            Err(BadSignal::LongCandidate(line.len()))
        );
    }

    #[test]
    fn malformed_lines_are_refused() {
        assert_eq!(refused(""), "no section for data channels");
        assert_eq!(refused("hello"), "a line that is not an SDP line");
        assert_eq!(refused(&offer().replace("s=-", "s=\0")), "control characters");
        for window in ["", "-1", "+1", "1 ", "18446744073709551616"] {
            let text = offer() + "a=tequio-window:" + window + "x\r\n";
            assert_eq!(refused(&text), "a bad window");
        }
        assert_eq!(refused(&with_window(&with_window(&offer(), 1), 2)), "more than one window");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(
            text in
                "((m=application 9 |a=(fingerprint:|tequio-window:)?)?\\PC{0,40}\r?\n){0,20}",
        ) {
            let _ = check(&text);
        }
    }
}
