//! Messages of WebRTC peers, valid and invalid. The corpus contains real requests of Chromium and
//! js-libp2p under these names.

/// Valid names of both handshakes, then invalid names that look similar.
pub fn stun_usernames() -> Vec<Vec<u8>> {
    // A password of Chromium, and one of js-libp2p.
    let (chromium, js) = ("W6nJt3k2vTqB0/xY+a9LdCzR", "4b8a1f0c77e04a0f9d2e6d5b3c1a9e88");
    let v1 = format!("libp2p+webrtc+v1/{js}");
    let v2 = format!("libp2p+webrtc+v2/{chromium}");
    let names = [
        format!("{v2}:pZ1k"),
        format!("{v1}:{v1}"),
        format!("{v1}:{js}"),
        String::new(),
        ":".into(),
        format!("{v2}:pZ1k:pZ1k"),
        format!("libp2p+webrtc+v3/{chromium}:pZ1k"),
        format!("libp2p+webrtc+v2/libp2p+webrtc+v1/{js}:pZ1k"),
        "libp2p+webrtc+v2/:pZ1k".into(),
        "libp2p+webrtc+v1/:".into(),
        format!("{v2}\r\na=candidate:1 1 UDP 1 192.0.2.1 9 typ host:pZ1k"),
        format!("{v2}\0:pZ1k"),
        format!("libp2p+webrtc+v2/{}:pZ1k", "a".repeat(240)),
        format!("{v2}:{}", "a".repeat(257)),
    ];
    let mut out: Vec<Vec<u8>> = names.iter().map(|name| name.clone().into_bytes()).collect();
    // Whole requests: valid except for their integrity, with two names, with a wrong length.
    let name = names[0].as_bytes();
    out.push(request(&[(6, name), (0x24, &[0x6e, 0, 1, 0xff]), (0x8029, &[7; 8]), (8, &[0; 20])]));
    out.push(request(&[(6, name), (6, names[1].as_bytes()), (0x25, &[])]));
    let mut lying = request(&[(6, name)]);
    lying[22..24].copy_from_slice(&u16::MAX.to_be_bytes());
    out.push(lying);
    out.push(request(&[]));
    out
}

/// A STUN binding request.
fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![];
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut out = vec![0, 1];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend([0x21, 0x12, 0xa4, 0x42]);
    out.extend([5; 12]);
    out.extend(body);
    out
}

/// Bytes of a channel after the first one, which chooses how they are cut.
pub fn frames() -> Vec<Vec<u8>> {
    let data = [0x12, 5, b'h', b'e', b'l', b'l', b'o'];
    let window = [0xe8, 0x3f, 0x80, 0x80, 0x40];
    let framed = |body: &[u8]| [&[body.len() as u8], body].concat();
    let usual = [framed(&data), framed(&[8, 0]), framed(&[8, 3])].concat();
    let ours =
        [framed(&[data.as_slice(), &window].concat()), framed(&[8, 1]), framed(&[8, 2])].concat();
    let unknown = framed(&[
        9 << 3,
        1,
        10 << 3 | 2,
        2,
        0,
        0,
        11 << 3 | 1,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        12 << 3 | 5,
        1,
        2,
        3,
        4,
    ]);
    let largest = [&[0x80, 0x80, 1, 0x12, 0xfc, 0x7f], vec![7; 16_380].as_slice()].concat();
    let too_large = [&[0x81, 0x80, 1], vec![7; 16_385].as_slice()].concat();
    [
        [&[0xff], usual.as_slice()].concat(),
        [&[0], usual.as_slice()].concat(),
        [&[2], ours.as_slice()].concat(),
        [&[7], unknown.as_slice()].concat(),
        [&[255], largest.as_slice()].concat(),
        [&[255], too_large.as_slice()].concat(),
        // Lengths without an end, above 64 bits, past their frame; empty frames; numbers in more
        // bytes than needed.
        vec![0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![3, 4, 0x12, 0xff, 0xff, 3],
        vec![0, 0, 0, 0],
        vec![1, 0x82, 0x80, 0, 8, 0],
    ]
    .to_vec()
}

/// Offers of both address families: like Chromium's, and with lines that need a case of their own.
pub fn session_descriptions() -> Vec<Vec<u8>> {
    let offer = offer();
    let munged = offer
        .replace("W6nJt3k2vTqB0/xY+a9LdCzR", "libp2p+webrtc+v1/4b8a1f0c77e04a0f9d2e6d5b3c1a9e88");
    let injected = offer.replace("/xY+", "\ra=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r");
    let long = offer.replace("W6nJ", &"W6nJ".repeat(100));
    let other = offer.replace("sha-256", "sha-512");
    let signed = offer.replace("5E:5E", "5E:+E");
    let v4 = [&[0, 192, 0, 2, 1], [0; 12].as_slice(), &[0x0f, 0xa1]].concat();
    let v6 = [&[1, 0x20, 1, 0x0d, 0xb8], [0; 11].as_slice(), &[1, 0, 9]].concat();
    let offers = [offer, munged, injected, long, other, signed, String::new()];
    [v4, v6]
        .iter()
        .flat_map(|head| offers.iter().map(|offer| [head, offer.as_bytes()].concat()))
        .collect()
}

fn offer() -> String {
    let fingerprint = ["5E"; 32].join(":");
    format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=application 9 UDP/DTLS/SCTP \
         webrtc-datachannel\r\n\
         c=IN IP4 0.0.0.0\r\na=ice-ufrag:pZ1k\r\na=ice-pwd:W6nJt3k2vTqB0/xY+a9LdCzR\r\n\
         a=ice-options:trickle\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n\
         a=max-message-size:262144\r\n"
    )
}

/// Whole exchanges of both sides, with and without a window, and invalid ones: another order, two
/// sections, no fingerprint, too many candidates, lengths that are too large.
pub fn signalling() -> Vec<Vec<u8>> {
    let message = |kind: u8, text: &str| {
        let data = [&[0x12], number(text.len()).as_slice(), text.as_bytes()].concat();
        let body = [&[8, kind], data.as_slice()].concat();
        [number(body.len()), body].concat()
    };
    let candidate = concat!(
        r#"{"candidate":"candidate:1 1 udp 2113937151 6f7c.local 9 typ host","#,
        r#""sdpMid":"0","sdpMLineIndex":0}"#
    );
    let candidate = message(2, candidate);
    let (offer, window) = (offer(), "a=tequio-window:1048576\r\n");
    let section = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    let fingerprint = format!("a=fingerprint:sha-256 {}\r\n", ["5E"; 32].join(":"));
    [
        [&[0], message(1, &offer).as_slice(), &candidate, &message(2, "null")].concat(),
        [
            &[1],
            message(0, &format!("{offer}{window}")).as_slice(),
            &candidate,
            &candidate,
            &message(2, ""),
        ]
        .concat(),
        [&[1], message(0, &offer).as_slice(), &candidate.repeat(33)].concat(),
        [&[1], message(0, &offer).as_slice(), &message(0, &offer)].concat(),
        [&[0], candidate.as_slice(), &message(1, &offer)].concat(),
        [&[1], message(0, &format!("{offer}{section}")).as_slice()].concat(),
        [&[1], message(0, &offer.replace(&fingerprint, "")).as_slice()].concat(),
        [&[1], message(0, &format!("{offer}{window}{window}")).as_slice()].concat(),
        [&[1], message(0, &offer.repeat(20)).as_slice()].concat(),
        vec![1, 0xff, 0xff, 0xff, 0xff],
        vec![0, 8, 8, 1, 0x12, 1, b'x', 9 << 3, 1, 0],
        vec![0, 2, 8, 3],
    ]
    .to_vec()
}

/// Encodes a length as protobuf does.
fn number(mut n: usize) -> Vec<u8> {
    let mut out = vec![];
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}
