//! The task of one connection: owns the `str0m::Rtc`, sends on the socket, executes the muxer's
//! commands.
//!
//! A dead remote is detected by its silence: a live one sends STUN consent checks every few seconds
//! (RFC 7675). Only authenticated input breaks the silence: STUN with a valid integrity, and the
//! results of SCTP on decrypted DTLS. The driver drops datagrams that str0m does not accept. It
//! ends at once if the first one, which created the connection, is among them.

use super::{
    channels::{Channels, Command},
    dtls,
    engine::{self, engine_error},
    ice,
    muxer::Connection,
    routes::{Datagram, RouteGuard},
    shared::Shared,
    socket::{Batch, Socket},
};
use crate::{Closed, Error, Stream, Violation, addr::Fingerprint, budget::Budget};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use str0m::{
    Event, IceConnectionState, Input, Output, Rtc,
    channel::{ChannelConfig, ChannelId},
    crypto::CryptoProvider,
    net::{Protocol, Receive},
};
use tokio::sync::{mpsc, oneshot};

/// A remote that has sent nothing for this long counts as gone. Chromium checks every 2.5 s,
/// Firefox every 4 to 6 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(9);
/// A dialer that has sent no DTLS by now did not receive our answer, or never requested one because
/// its STUN came from a forged address. It must not occupy a place for the whole handshake timeout.
const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(4);
/// Datagrams of a burst handled before the driver checks its other inputs.
const BURST: usize = 32;
/// Input passed to str0m before its output is polled, in the weights below. At each poll its SCTP
/// iterates over all data in flight; its DTLS queues at most 30 datagrams.
const INPUT_BATCH_WEIGHT: usize = 8;
/// A datagram that is too short to carry much data counts as an acknowledgement.
const ACK_LEN_MAX: usize = 200;
const ACK_WEIGHT: usize = 1;
/// With this weight SCTP acknowledges four datagrams of a burst at a time. More acknowledgements
/// overflow a browser's socket, which has room for some hundred. Fewer make the browser pause, as
/// it sends at most four datagrams for each.
const DATA_WEIGHT: usize = 2;
/// Sources whose local IP address the driver stores.
const SOURCES_MAX: usize = 8;
/// Outputs polled from an engine that has failed.
const FINAL_OUTPUTS_MAX: usize = 64;
/// Minimum interval between two renewals of a source binding by traffic other than STUN.
const REBIND_INTERVAL: Duration = Duration::from_secs(1);

/// Resolves once DTLS is established: the remote's fingerprint, and the stream of channel 0.
pub type Ready = oneshot::Receiver<(Fingerprint, Stream)>;

/// The driver of one connection, see the module's documentation.
pub struct Driver {
    rtc: Rtc,
    socket: Arc<Socket>,
    /// The local address given to str0m; with a socket on 0.0.0.0 any address will do.
    local: SocketAddr,
    /// With a socket on 0.0.0.0: the local address that each source has used, from which the
    /// answer must be sent.
    local_ips: Vec<(SocketAddr, IpAddr)>,
    /// Datagrams to send, and their destination.
    batch: Batch,
    batch_destination: SocketAddr,
    datagrams: mpsc::Receiver<Datagram>,
    commands: mpsc::UnboundedReceiver<Command>,
    inbound: mpsc::Sender<Stream>,
    channels: Channels,
    handshake: ChannelId,
    ready: Option<oneshot::Sender<(Fingerprint, Stream)>>,
    /// Present only for connections of a listener.
    route_guard: Option<RouteGuard>,
    /// Key of the STUN integrity in both directions.
    stun_key: String,
    crypto: CryptoProvider,
    /// Time of the last authenticated input.
    last_authenticated: Option<Instant>,
    /// The datagram being handled: its source and its time of arrival.
    current_datagram: Option<(SocketAddr, Instant)>,
    /// Time of the last renewal of the source binding.
    last_bound: Option<Instant>,
    /// DTLS has not begun. Once it has, the remote has received our answer, which proves its
    /// address.
    is_half_open: bool,
    started: Instant,
    reason: Arc<OnceLock<Closed>>,
}

impl Driver {
    /// Creates the server's half: ICE-lite, DTLS server.
    pub fn accept(
        shared: &Shared,
        socket: Arc<Socket>,
        bound: SocketAddr,
        route_guard: RouteGuard,
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
        let rtc = engine::server(shared, local, c)?;
        Ok(Self::new(rtc, socket, local, Some(route_guard), datagrams, budget, stun_key, shared))
    }

    /// Creates the client's half: full ICE, DTLS client.
    pub fn dial(
        shared: &Shared,
        socket: Arc<Socket>,
        local: SocketAddr,
        remote: SocketAddr,
        server: Fingerprint,
        datagrams: mpsc::Receiver<Datagram>,
        budget: Arc<Budget>,
    ) -> Result<(Self, Connection, Ready), Error> {
        let (rtc, credential) = engine::client(shared, local, remote, server)?;
        Ok(Self::new(rtc, socket, local, None, datagrams, budget, credential, shared))
    }

    #[allow(clippy::too_many_arguments)] // What the two halves above have in common.
    fn new(
        mut rtc: Rtc,
        socket: Arc<Socket>,
        local: SocketAddr,
        route_guard: Option<RouteGuard>,
        datagrams: mpsc::Receiver<Datagram>,
        budget: Arc<Budget>,
        stun_key: String,
        Shared { config, crypto, .. }: &Shared,
    ) -> (Self, Connection, Ready) {
        let negotiated = ChannelConfig { negotiated: Some(0), ..Default::default() };
        let handshake = rtc.direct_api().create_data_channel(negotiated);
        let (commands_tx, commands) = mpsc::unbounded_channel();
        // The remote opens and closes streams at any rate, so the queue of undelivered ones is
        // bounded, too.
        let (inbound_tx, inbound) = mpsc::channel(config.max_inbound_streams.max(1));
        let (ready_tx, ready) = oneshot::channel();
        let reason = Arc::new(OnceLock::new());
        let mut channels = Channels::new(
            commands_tx.clone(),
            budget,
            config.max_inbound_streams,
            config.send_buffer,
        );
        let is_listener = route_guard.is_some();
        channels.add_handshake(handshake, is_listener);
        let connection = Connection::new(commands_tx, inbound, reason.clone());
        let driver = Self {
            rtc,
            socket,
            local,
            local_ips: Vec::new(),
            batch: Batch::default(),
            batch_destination: local,
            datagrams,
            commands,
            inbound: inbound_tx,
            channels,
            handshake,
            ready: Some(ready_tx),
            route_guard,
            stun_key,
            crypto: crypto.clone(),
            last_authenticated: None,
            current_datagram: None,
            last_bound: None,
            is_half_open: is_listener,
            started: Instant::now(),
            reason,
        };
        (driver, connection, ready)
    }

    /// Runs the connection to its end.
    pub async fn run(mut self) {
        let Err(error) = self.drive().await;
        tracing::debug!(%error, "connection ended");
        let reason = match error {
            Error::Closed(reason) => reason,
            Error::Engine(_) if self.is_closed_by_remote() => Closed::ByRemote,
            _ => Closed::Lost,
        };
        let _ = self.reason.set(reason);
        self.channels.close_all();
    }

    /// Whether the remaining output of the failed engine contains the remote's close. A close that
    /// arrives while a record waits to be sent is reported late: before that, SCTP's next packet is
    /// refused, because DTLS is closed already.
    fn is_closed_by_remote(&mut self) -> bool {
        for _ in 0..FINAL_OUTPUTS_MAX {
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
            let wake_at = self.drain_outputs().await?;
            self.send().await;
            if !self.rtc.is_alive() {
                return Err(Closed::Locally.into());
            }
            let idle_deadline = self.idle_deadline();
            let wake_at = self.channels.paced_until().map_or(wake_at, |paced| paced.min(wake_at));
            tokio::select! {
                biased;
                datagram = self.datagrams.recv() => {
                    let first = datagram.ok_or(Closed::ListenerRemoved)?;
                    let mut taken = self.weight(&first);
                    self.receive(first)?;
                    // Handles the rest of a burst, with its output, before the other inputs. The
                    // output is collected: one system call sends many acknowledgements.
                    for _ in 0..BURST {
                        let Ok(next) = self.datagrams.try_recv() else { break };
                        if taken >= INPUT_BATCH_WEIGHT {
                            taken = 0;
                            self.drain_outputs().await?;
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
                () = tokio::time::sleep_until(wake_at.min(idle_deadline).into()) => {
                    if Instant::now() >= idle_deadline {
                        return Err(Closed::TimedOut.into());
                    }
                    self.rtc.handle_input(Input::Timeout(Instant::now())).map_err(engine_error)?;
                    self.channels.close_lingering(&mut self.rtc);
                }
            }
            if self.channels.measure(&mut self.rtc, Instant::now()) {
                self.mark_authenticated();
            }
            self.channels.flush_blocked(&mut self.rtc);
        }
    }

    /// The share of [`INPUT_BATCH_WEIGHT`] that a datagram takes. During the handshake it takes all
    /// of it, because each step waits for an answer.
    fn weight(&self, datagram: &Datagram) -> usize {
        match datagram.data.len() {
            _ if self.ready.is_some() => INPUT_BATCH_WEIGHT,
            0..=ACK_LEN_MAX => ACK_WEIGHT,
            _ => DATA_WEIGHT,
        }
    }

    /// The time at which the remote counts as gone unless input arrives.
    fn idle_deadline(&self) -> Instant {
        match self.is_half_open {
            true => self.started + HALF_OPEN_TIMEOUT,
            false => self.last_authenticated.unwrap_or(self.started) + IDLE_TIMEOUT,
        }
    }

    fn receive(&mut self, d: Datagram) -> Result<(), Error> {
        let is_stun = ice::is_stun(&d.data);
        let is_of_use = match is_stun {
            // str0m accepts any datagram from the address that it sends to, and checks its
            // integrity only later.
            true => ice::is_authentic(&d.data, &self.stun_key, &self.crypto),
            false => !self.is_half_open || dtls::starts_handshake(&d.data),
        };
        if !is_stun
            && !is_of_use
            && let Some(route_guard) = &mut self.route_guard
        {
            // Encrypted data without a handshake: the dialer continues a connection that this node
            // has ended.
            route_guard.mark_final();
        }
        let accepted = match Receive::new(Protocol::Udp, d.source, self.local, &d.data) {
            Ok(receive) => Some(Input::Receive(d.at, receive))
                .filter(|input| is_of_use && self.rtc.accepts(input)),
            Err(_) => None,
        };
        let Some(input) = accepted else {
            // Stray datagrams (the last ones of an old connection) must not end this connection.
            return if self.last_authenticated.is_some() || self.route_guard.is_none() {
                Ok(())
            } else {
                Err(Violation::Stun.into())
            };
        };
        self.current_datagram = Some((d.source, d.at));
        // While there are no keys, the handshake timeout is the limit.
        if is_stun || self.ready.is_some() {
            self.last_authenticated = Some(d.at);
        }
        if is_stun {
            if let Some(route_guard) = &self.route_guard {
                route_guard.confirm_source(d.source, d.at);
            }
            if let Some(local) = d.local.filter(|_| self.route_guard.is_some()) {
                self.local_ips.retain(|(source, _)| *source != d.source);
                self.local_ips.truncate(SOURCES_MAX - 1);
                self.local_ips.insert(0, (d.source, local));
            }
        } else if std::mem::replace(&mut self.is_half_open, false)
            && let Some(route_guard) = &mut self.route_guard
        {
            route_guard.mark_final();
        }
        self.rtc.handle_input(input).map_err(engine_error)
    }

    /// Records that the current datagram could be decrypted and was useful.
    fn mark_authenticated(&mut self) {
        let Some((source, at)) = self.current_datagram else { return };
        self.last_authenticated = Some(at);
        if let Some(route_guard) = &self.route_guard
            && self.last_bound.is_none_or(|last_bound| {
                at.saturating_duration_since(last_bound) >= REBIND_INTERVAL
            })
        {
            self.last_bound = Some(at);
            route_guard.confirm_source(source, at);
        }
    }

    /// Polls str0m's outputs until it waits; returns the time of its next timeout.
    async fn drain_outputs(&mut self) -> Result<Instant, Error> {
        loop {
            match self.rtc.poll_output().map_err(engine_error)? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(t) => {
                    let is_elsewhere =
                        self.batch_destination != t.destination && !self.batch.is_empty();
                    if is_elsewhere || !self.batch.push(&self.socket, &t.contents) {
                        self.send().await;
                        self.batch.push(&self.socket, &t.contents);
                    }
                    self.batch_destination = t.destination;
                }
                Output::Event(event) => self.event(event)?,
            }
        }
    }

    /// Sends the collected datagrams.
    async fn send(&mut self) {
        if !self.batch.is_empty() {
            let from = self
                .local_ips
                .iter()
                .find(|(source, _)| *source == self.batch_destination)
                .map(|(_, local)| *local);
            self.socket.send(&mut self.batch, self.batch_destination, from).await;
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::ChannelOpen(id, _) => self.channel_open(id)?,
            Event::ChannelData(data) => {
                self.mark_authenticated();
                self.channels.receive(&mut self.rtc, data.id, data.data, data.id == self.handshake);
            }
            // SCTP's default threshold is 0: the whole stream is acknowledged, so a channel that
            // waits for that can be closed.
            Event::ChannelBufferedAmountLow(id) => drop(self.channels.flush(&mut self.rtc, id)),
            Event::ChannelClose(id) => self.channels.closed(id),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                return Err(Closed::TimedOut.into());
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
                // If the muxer has given up, the stream is dropped here, which resets it.
                if let Some(reply) = self.channels.take_opening(id) {
                    let _ = reply.send(stream);
                }
            }
            None => match self.channels.accept(id) {
                // A stream that does not fit is dropped, which resets it; its channel closes after
                // the linger time.
                Some(stream) => drop(self.inbound.try_send(stream)),
                None => {
                    tracing::debug!("too many inbound streams");
                    self.rtc.direct_api().close_data_channel(id);
                }
            },
        }
        Ok(())
    }

    /// Executes all queued commands.
    fn commands(&mut self) -> Result<(), Error> {
        while let Ok(command) = self.commands.try_recv() {
            self.command(command)?;
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Dirty(id) => self.channels.flush_dirty(&mut self.rtc, id),
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
