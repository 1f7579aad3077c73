//! Creates the `str0m::Rtc` of a connection. A listener's is ICE-lite and DTLS server; a dialer's
//! has full ICE and is DTLS client.

use super::{ice, shared::Shared};
use crate::{
    DialVersion, Error,
    addr::Fingerprint,
    frame::MAX_MESSAGE,
    version::{V1, V2},
};
use std::{net::SocketAddr, time::Instant};
use str0m::{Candidate, IceCreds, Rtc, RtcConfig, net::Protocol};

/// Creates the server's engine for a client with these credentials.
pub fn server(shared: &Shared, local: SocketAddr, c: ice::Credentials) -> Result<Rtc, Error> {
    let server = IceCreds { ufrag: c.server_ufrag.clone(), pass: c.server_ufrag };
    let client = IceCreds { ufrag: c.client_ufrag, pass: c.client_pwd };
    let mut rtc = engine(shared, local, server, |config| {
        // Noise authenticates the client's real fingerprint.
        config.set_ice_lite(true).set_fingerprint_verification(false)
    })?;
    let mut api = rtc.direct_api();
    api.set_ice_controlling(false);
    api.set_remote_ice_credentials(client);
    // str0m requires a fingerprint, and does not check it here.
    api.set_remote_fingerprint(str0m::config::Fingerprint {
        hash_func: "sha-256".into(),
        bytes: vec![0; 32],
    });
    api.start_dtls(false).map_err(engine_error)?;
    api.start_sctp(false);
    Ok(rtc)
}

/// Creates the client's engine, and the key of the STUN integrity.
pub fn client(
    shared: &Shared,
    local: SocketAddr,
    remote: SocketAddr,
    server: Fingerprint,
) -> Result<(Rtc, String), Error> {
    let mut own = IceCreds::new();
    let credential = match shared.config.dial_version {
        DialVersion::V2 => format!("{V2}{}", own.pass),
        DialVersion::V1 => {
            let credential = format!("{V1}{}", own.pass);
            own = IceCreds { ufrag: credential.clone(), pass: credential.clone() };
            credential
        }
    };
    let mut rtc = engine(shared, local, own, |config| config.set_fingerprint_verification(true))?;
    rtc.add_remote_candidate(Candidate::host(remote, Protocol::Udp).map_err(engine_error)?);
    let mut api = rtc.direct_api();
    api.set_ice_controlling(true);
    api.set_remote_ice_credentials(IceCreds {
        ufrag: credential.clone(),
        pass: credential.clone(),
    });
    api.set_remote_fingerprint(str0m::config::Fingerprint {
        hash_func: "sha-256".into(),
        bytes: server.0.to_vec(),
    });
    api.start_dtls(true).map_err(engine_error)?;
    api.start_sctp(true);
    Ok((rtc, credential))
}

/// Creates an engine with the settings that both halves share.
fn engine(
    shared: &Shared,
    local: SocketAddr,
    credentials: IceCreds,
    role: impl FnOnce(RtcConfig) -> RtcConfig,
) -> Result<Rtc, Error> {
    let config = Rtc::builder()
        .set_local_ice_credentials(credentials)
        .set_dtls_cert(shared.certificate.dtls())
        .set_sctp_max_buffered_amount(shared.config.send_buffer)
        .set_sctp_max_message_size(MAX_MESSAGE as u32);
    let mut rtc = role(config).build(Instant::now());
    rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).map_err(engine_error)?);
    Ok(rtc)
}

/// Converts an error of str0m.
pub fn engine_error(error: impl std::fmt::Display) -> Error {
    Error::Engine(error.to_string())
}
