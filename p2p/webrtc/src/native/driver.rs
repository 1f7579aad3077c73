//! The task of one connection: owns the `str0m::Rtc`, sends on the socket, obeys the muxer.
//!
//! It notices a dead remote by its silence: a live one sends STUN consent checks every few
//! seconds (RFC 7675). Only what nobody else can have sent breaks the silence: STUN whose integrity
//! holds, and what SCTP makes of DTLS that could be decrypted. It refuses datagrams that str0m does
//! not accept, and ends at once if the very first one, which made the connection, is among them.

use super::{
    channels::{Channels, Command},
    dtls, ice,
    muxer::Connection,
    routes::{Datagram, Place},
    socket::{Batch, Socket},
    transport::Shared,
};
use crate::{
    Closed, DialVersion, Error, Stream, Violation,
    addr::Fingerprint,
    budget::Budget,
    frame::MAX_MESSAGE,
    version::{V1, V2},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use str0m::{
    Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig,
    channel::{ChannelConfig, ChannelId},
    crypto::CryptoProvider,
    net::{Protocol, Receive},
};
use tokio::sync::{mpsc, oneshot};

/// A remote that has sent nothing for so long is gone. Chromium checks every 2.5 s, Firefox
/// every 4 to 6 s.
const SILENCE_MAX: Duration = Duration::from_secs(9);
/// A dialer that has sent no DTLS by now did not get our answer, or never asked for one: its STUN
/// came from a forged address. It must not hold a place for the whole time of a handshake.
const HALF_OPEN_MAX: Duration = Duration::from_secs(4);
/// Datagrams of a burst handled before the driver looks at anything else.
const BURST: usize = 32;
/// What is taken in before str0m is asked for output, in the weights below. Each time it is asked,
/// its SCTP walks over all that is in flight; its DTLS takes in 30 datagrams at most.
const INTAKE: usize = 8;
/// A datagram that is too short to carry much data is an acknowledgement.
const ACK_LEN_MAX: usize = 200;
const ACK_WEIGHT: usize = 1;
/// So SCTP acknowledges four datagrams of a burst at a time. More acknowledgements overflow the
/// socket of a browser, which has room for some hundred; fewer make it pause, as it sends at most
/// four for each.
const DATA_WEIGHT: usize = 2;
/// Sources of which the driver remembers where they have reached us.
const SOURCES_MAX: usize = 8;
/// What is asked of an engine that has failed.
const LAST_WORDS_MAX: usize = 64;
/// How often traffic that needs no STUN says that its source is in use.
const PLACE_INTERVAL: Duration = Duration::from_secs(1);

/// Resolves once DTLS is up: the remote's fingerprint, and the stream of channel 0.
pub type Ready = oneshot::Receiver<(Fingerprint, Stream)>;

/// See the module's documentation.
pub struct Driver {
    rtc: Rtc,
    socket: Arc<Socket>,
    /// The address that str0m believes in; with a socket on 0.0.0.0 any one will do.
    local: SocketAddr,
    /// With such a socket: the address of ours that each source has used, from which the answer
    /// has to leave.
    reached_at: Vec<(SocketAddr, IpAddr)>,
    /// Datagrams to be sent, and where to.
    batch: Batch,
    batch_to: SocketAddr,
    datagrams: mpsc::Receiver<Datagram>,
    commands: mpsc::UnboundedReceiver<Command>,
    inbound: mpsc::Sender<Stream>,
    channels: Channels,
    handshake: ChannelId,
    ready: Option<oneshot::Sender<(Fingerprint, Stream)>>,
    /// A listener's connections only.
    place: Option<Place>,
    /// Key of the integrity of STUN in both directions.
    stun_key: String,
    crypto: CryptoProvider,
    /// When something came that only the remote can have sent.
    heard: Option<Instant>,
    /// The datagram that is being looked at: where from, and when it came.
    latest: Option<(SocketAddr, Instant)>,
    /// When the place at the address was last renewed.
    placed: Option<Instant>,
    /// No DTLS has begun yet. Once it has, the remote has our answer, and so its address is its
    /// own.
    is_half_open: bool,
    started: Instant,
    reason: Arc<OnceLock<Closed>>,
}

impl Driver {
    /// The server's half: ICE-lite, DTLS server.
    pub fn accept(
        shared: &Shared,
        socket: Arc<Socket>,
        bound: SocketAddr,
        place: Place,
        datagrams: mpsc::Receiver<Datagram>,
        budget: Arc<Budget>,
        c: ice::Credentials,
    ) -> Result<(Self, Connection, Ready), Error> {
        let mut local = bound;
        if local.ip().is_unspecified() {
            local.set_ip(if local.is_ipv4() {
                IpAddr::from(Ipv4Addr::LOCALHOST)
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        let stun_key = c.server_ufrag.clone();
        let server = IceCreds { ufrag: c.server_ufrag.clone(), pass: c.server_ufrag };
        let client = IceCreds { ufrag: c.client_ufrag, pass: c.client_pwd };
        let mut rtc = engine(shared, local, server, |config| {
            // Noise authenticates the client's real fingerprint.
            config.set_ice_lite(true).set_fingerprint_verification(false)
        })?;
        let mut api = rtc.direct_api();
        api.set_ice_controlling(false);
        api.set_remote_ice_credentials(client);
        // str0m insists on one, and does not check it here.
        api.set_remote_fingerprint(str0m::config::Fingerprint {
            hash_func: "sha-256".into(),
            bytes: vec![0; 32],
        });
        api.start_dtls(false).map_err(engine_error)?;
        api.start_sctp(false);
        Ok(Self::new(rtc, socket, local, Some(place), datagrams, budget, stun_key, shared))
    }

    /// The client's half: full ICE, DTLS client.
    pub fn dial(
        shared: &Shared,
        socket: Arc<Socket>,
        local: SocketAddr,
        remote: SocketAddr,
        server: Fingerprint,
        datagrams: mpsc::Receiver<Datagram>,
        budget: Arc<Budget>,
    ) -> Result<(Self, Connection, Ready), Error> {
        let mut own = IceCreds::new();
        let credential = match shared.config.dial_version {
            DialVersion::V2 => format!("{V2}{}", own.pass),
            DialVersion::V1 => {
                let credential = format!("{V1}{}", own.pass);
                own = IceCreds { ufrag: credential.clone(), pass: credential.clone() };
                credential
            }
        };
        let mut rtc =
            engine(shared, local, own, |config| config.set_fingerprint_verification(true))?;
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
        Ok(Self::new(rtc, socket, local, None, datagrams, budget, credential, shared))
    }

    #[allow(clippy::too_many_arguments)] // What the two halves above have in common.
    fn new(
        mut rtc: Rtc,
        socket: Arc<Socket>,
        local: SocketAddr,
        place: Option<Place>,
        datagrams: mpsc::Receiver<Datagram>,
        budget: Arc<Budget>,
        stun_key: String,
        Shared { config, crypto, .. }: &Shared,
    ) -> (Self, Connection, Ready) {
        let negotiated = ChannelConfig { negotiated: Some(0), ..Default::default() };
        let handshake = rtc.direct_api().create_data_channel(negotiated);
        let (commands_tx, commands) = mpsc::unbounded_channel();
        // The remote opens and closes as fast as it likes: what nobody has taken yet is bounded,
        // too.
        let (inbound_tx, inbound) = mpsc::channel(config.max_inbound_streams.max(1));
        let (ready_tx, ready) = oneshot::channel();
        let reason = Arc::new(OnceLock::new());
        let mut channels = Channels::new(
            commands_tx.clone(),
            budget,
            config.max_inbound_streams,
            config.send_buffer,
        );
        let is_listener = place.is_some();
        channels.add_handshake(handshake, is_listener);
        let connection = Connection::new(commands_tx, inbound, reason.clone());
        let driver = Self {
            rtc,
            socket,
            local,
            reached_at: Vec::new(),
            batch: Batch::default(),
            batch_to: local,
            datagrams,
            commands,
            inbound: inbound_tx,
            channels,
            handshake,
            ready: Some(ready_tx),
            place,
            stun_key,
            crypto: crypto.clone(),
            heard: None,
            latest: None,
            placed: None,
            is_half_open: is_listener,
            started: Instant::now(),
            reason,
        };
        (driver, connection, ready)
    }

    /// Drives the connection to its end.
    pub async fn run(mut self) {
        let Err(error) = self.drive().await;
        tracing::debug!(%error, "connection ended");
        let reason = match error {
            Error::Closed(reason) => reason,
            Error::Engine(_) if self.has_said_goodbye() => Closed::ByRemote,
            _ => Closed::Lost,
        };
        let _ = self.reason.set(reason);
        self.channels.close_all();
    }

    /// Whether the remote's goodbye is among what the failed engine still has to say. A goodbye
    /// that comes while a record waits to be sent is told late: SCTP's next packet is refused
    /// before, as DTLS is closed already.
    fn has_said_goodbye(&mut self) -> bool {
        for _ in 0..LAST_WORDS_MAX {
            match self.rtc.poll_output() {
                Ok(Output::Event(Event::Closed)) => return true,
                Ok(Output::Timeout(_)) => return false,
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    async fn drive(&mut self) -> Result<std::convert::Infallible, Error> {
        loop {
            let wake_at = self.pump().await?;
            self.send().await;
            if !self.rtc.is_alive() {
                return Err(Closed::Locally.into());
            }
            let silent_at = self.silent_at();
            let wake_at = self.channels.paced_until().map_or(wake_at, |paced| paced.min(wake_at));
            tokio::select! {
                biased;
                datagram = self.datagrams.recv() => {
                    let first = datagram.ok_or(Closed::ListenerRemoved)?;
                    let mut taken = self.weight(&first);
                    self.receive(first)?;
                    // More of a burst, with its output, before looking at anything else. What there is to send is
                    // collected: one call for many acknowledgements.
                    for _ in 0..BURST {
                        let Ok(next) = self.datagrams.try_recv() else { break };
                        if taken >= INTAKE {
                            taken = 0;
                            self.pump().await?;
                        }
                        taken += self.weight(&next);
                        self.receive(next)?;
                    }
                    self.commands()?;
                }
                Some(command) = self.commands.recv() => {
                    self.command(command)?;
                    self.commands()?;
                }
                () = tokio::time::sleep_until(wake_at.min(silent_at).into()) => {
                    if Instant::now() >= silent_at {
                        return Err(Closed::Silent.into());
                    }
                    self.rtc.handle_input(Input::Timeout(Instant::now())).map_err(engine_error)?;
                    self.channels.sweep(&mut self.rtc);
                }
            }
            if self.channels.measure(&mut self.rtc, Instant::now()) {
                self.authenticated();
            }
            self.channels.flush_blocked(&mut self.rtc);
        }
    }

    /// How much of [`INTAKE`] a datagram takes: all of it during the handshake, each step of which
    /// waits for an answer.
    fn weight(&self, datagram: &Datagram) -> usize {
        match datagram.data.len() {
            _ if self.ready.is_some() => INTAKE,
            0..=ACK_LEN_MAX => ACK_WEIGHT,
            _ => DATA_WEIGHT,
        }
    }

    /// When to give the remote up unless something comes.
    fn silent_at(&self) -> Instant {
        match self.is_half_open {
            true => self.started + HALF_OPEN_MAX,
            false => self.heard.unwrap_or(self.started) + SILENCE_MAX,
        }
    }

    fn receive(&mut self, d: Datagram) -> Result<(), Error> {
        let is_stun = ice::is_stun(&d.data);
        let is_of_use = match is_stun {
            // str0m takes whatever comes from the address that it sends to, and looks at its
            // integrity later.
            true => ice::is_authentic(&d.data, &self.stun_key, &self.crypto),
            false => !self.is_half_open || dtls::starts_handshake(&d.data),
        };
        if !is_stun
            && !is_of_use
            && let Some(place) = &mut self.place
        {
            // Something encrypted without a handshake: the dialer goes on with a connection that we
            // have no more.
            place.is_final();
        }
        let accepted = match Receive::new(Protocol::Udp, d.source, self.local, &d.data) {
            Ok(receive) => Some(Input::Receive(d.at, receive))
                .filter(|input| is_of_use && self.rtc.accepts(input)),
            Err(_) => None,
        };
        let Some(input) = accepted else {
            // Stray datagrams (an old connection's last words) must not end this one.
            return if self.heard.is_some() || self.place.is_none() {
                Ok(())
            } else {
                Err(Violation::Stun.into())
            };
        };
        self.latest = Some((d.source, d.at));
        // While there are no keys, the time that a handshake may take is the limit.
        if is_stun || self.ready.is_some() {
            self.heard = Some(d.at);
        }
        if is_stun {
            if let Some(place) = &self.place {
                place.heard(d.source, d.at);
            }
            if let Some(local) = d.local.filter(|_| self.place.is_some()) {
                self.reached_at.retain(|(source, _)| *source != d.source);
                self.reached_at.truncate(SOURCES_MAX - 1);
                self.reached_at.insert(0, (d.source, local));
            }
        } else if std::mem::replace(&mut self.is_half_open, false)
            && let Some(place) = &mut self.place
        {
            place.is_final();
        }
        self.rtc.handle_input(input).map_err(engine_error)
    }

    /// The datagram that is being looked at could be decrypted and was of use.
    fn authenticated(&mut self) {
        let Some((source, at)) = self.latest else { return };
        self.heard = Some(at);
        if let Some(place) = &self.place
            && self
                .placed
                .is_none_or(|placed| at.saturating_duration_since(placed) >= PLACE_INTERVAL)
        {
            self.placed = Some(at);
            place.heard(source, at);
        }
    }

    /// Runs str0m until it waits; returns until when.
    async fn pump(&mut self) -> Result<Instant, Error> {
        loop {
            match self.rtc.poll_output().map_err(engine_error)? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(t) => {
                    let is_elsewhere = self.batch_to != t.destination && !self.batch.is_empty();
                    if is_elsewhere || !self.batch.push(&self.socket, &t.contents) {
                        self.send().await;
                        self.batch.push(&self.socket, &t.contents);
                    }
                    self.batch_to = t.destination;
                }
                Output::Event(event) => self.event(event)?,
            }
        }
    }

    /// Sends what the engine has given out.
    async fn send(&mut self) {
        if !self.batch.is_empty() {
            let from = self
                .reached_at
                .iter()
                .find(|(source, _)| *source == self.batch_to)
                .map(|(_, local)| *local);
            self.socket.send(&mut self.batch, self.batch_to, from).await;
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::ChannelOpen(id, _) => self.channel_open(id)?,
            Event::ChannelData(data) => {
                self.authenticated();
                self.channels.receive(&mut self.rtc, data.id, data.data, data.id == self.handshake);
            }
            // SCTP's default threshold is 0: all of the stream is acknowledged, so a channel that
            // waits for that can be closed.
            Event::ChannelBufferedAmountLow(id) => drop(self.channels.flush(&mut self.rtc, id)),
            Event::ChannelClose(id) => self.channels.closed(id),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                return Err(Closed::Silent.into());
            }
            Event::Closed => return Err(Closed::ByRemote.into()),
            _ => {}
        }
        Ok(())
    }

    fn channel_open(&mut self, id: ChannelId) -> Result<(), Error> {
        match self.channels.opened(id) {
            Some(stream) if id == self.handshake => {
                let remote = self.rtc.direct_api().remote_dtls_fingerprint().cloned();
                let digest =
                    remote.and_then(|f| f.bytes.try_into().ok()).ok_or(Violation::Fingerprint)?;
                if let Some(ready) = self.ready.take() {
                    let _ = ready.send((Fingerprint(digest), stream));
                }
            }
            Some(stream) => {
                // If the muxer gave up, the stream is dropped here and thereby reset.
                if let Some(reply) = self.channels.take_opening(id) {
                    let _ = reply.send(stream);
                }
            }
            None => match self.channels.accept(id) {
                // A stream that does not fit is dropped, and so reset; its channel goes by
                // lingering.
                Some(stream) => drop(self.inbound.try_send(stream)),
                None => {
                    tracing::debug!("too many inbound streams");
                    self.rtc.direct_api().close_data_channel(id);
                }
            },
        }
        Ok(())
    }

    /// All commands that wait.
    fn commands(&mut self) -> Result<(), Error> {
        while let Ok(command) = self.commands.try_recv() {
            self.command(command)?;
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Dirty(id) => self.channels.dirty(&mut self.rtc, id),
            Command::Open(reply) => {
                let id = self.rtc.direct_api().create_data_channel(ChannelConfig::default());
                self.channels.add_outbound(id, reply);
                self.rtc.handle_input(Input::Timeout(Instant::now())).map_err(engine_error)?;
            }
            Command::Close => self.rtc.close().map_err(engine_error)?,
        }
        Ok(())
    }
}

/// An engine with what both halves share.
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

fn engine_error(error: impl std::fmt::Display) -> Error {
    Error::Engine(error.to_string())
}
