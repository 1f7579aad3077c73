//! The exchanges of one connection.
//!
//! Outbound requests wait here until a substream is free. Inbound requests are read
//! only as the peer's rate and the application's queue allow; the rest is answered with a status
//! and not read.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{AbortHandle, BoxFuture, Either, Ready, abortable, ready, select},
    stream::FuturesUnordered,
};
use libp2p::{
    StreamProtocol,
    core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use web_time::Instant;

use super::{
    Served,
    budget::Permit,
    codec::{self, Status},
    limits::{PeerLimits, Verdict},
};
use crate::{
    error::RequestError,
    event::Reply,
    protocol::{Channel, Protocol},
    tell::{
        reader::{self, End},
        writer::Writer,
    },
    timer::Delay,
};
use tequio_core::types::NodeId;

/// Our own requests in progress on one connection; more wait. Below [`INBOUND_MAX`], so that honest
/// peers never meet it.
const OUTBOUND_MAX: usize = 64;
/// The peer's requests in progress on one connection; more are reset, each a strike.
const INBOUND_MAX: usize = 128;
/// For a request to arrive, and for a response to be taken.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// For the application to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// A request on its way out. Dropping it unanswered tells the requester that the connection is
/// gone.
pub struct Outbound {
    pub protocol: Protocol,
    pub body: Vec<u8>,
    pub response: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    pub permit: Permit,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?}, {} bytes)", self.protocol, self.body.len())
    }
}

/// What the connection is told.
#[derive(Debug)]
pub enum ToHandler {
    Request(Outbound),
    /// Whether it is kept only while streams use it.
    Standby(bool),
}

/// What the connection reports.
pub enum FromHandler {
    Inbound { protocol: Protocol, body: Vec<u8>, reply: Reply },
    Flooding(Protocol),
}

impl fmt::Debug for FromHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FromHandler::Inbound { protocol, body, .. } => {
                write!(f, "Inbound({protocol:?}, {} bytes)", body.len())
            }
            FromHandler::Flooding(protocol) => write!(f, "Flooding({protocol:?})"),
        }
    }
}

/// Accepts the served protocols and remembers which one it was.
#[derive(Clone)]
pub struct Accept(Arc<Served>);

impl UpgradeInfo for Accept {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocols.iter().map(|p| p.stream_protocol()).collect()
    }
}

impl InboundUpgrade<Stream> for Accept {
    type Output = (Stream, Protocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        // It is one of those that were offered, and they are all among these.
        let protocol = Protocol::ALL
            .into_iter()
            .find(|p| p.name() == name.as_ref())
            .unwrap_or(Protocol::Light);
        ready(Ok((stream, protocol)))
    }
}

/// What we open one for.
#[derive(Debug)]
pub enum Opening {
    Exchange(Outbound),
    Tell(Channel),
}

pub struct Handler {
    served: Arc<Served>,
    limits: Arc<PeerLimits>,
    peer: NodeId,
    writers: [Writer; Channel::COUNT],
    is_standby: bool,
    /// What ends the newest stream of the peer's messages, of each channel; it has given up those
    /// before.
    newest: [Option<AbortHandle>; Channel::COUNT],
    /// Those streams. As everything here, a stream is looked at only when something has come on
    /// it.
    reading: FuturesUnordered<BoxFuture<'static, Option<(Channel, End)>>>,
    waiting: VecDeque<Outbound>,
    opening: usize,
    outbound: FuturesUnordered<BoxFuture<'static, ()>>,
    inbound: FuturesUnordered<BoxFuture<'static, ()>>,
    events_tx: mpsc::UnboundedSender<FromHandler>,
    events: mpsc::UnboundedReceiver<FromHandler>,
}

impl Handler {
    pub fn new(
        peer: NodeId,
        served: Arc<Served>,
        limits: Arc<PeerLimits>,
        writers: [Writer; Channel::COUNT],
    ) -> Self {
        // At most one event per inbound stream, and those are bounded.
        let (events_tx, events) = mpsc::unbounded();
        Self {
            served,
            limits,
            peer,
            writers,
            is_standby: false,
            newest: Default::default(),
            reading: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            opening: 0,
            outbound: FuturesUnordered::new(),
            inbound: FuturesUnordered::new(),
            events_tx,
            events,
        }
    }

    fn accept(&mut self, stream: Stream, protocol: Protocol) {
        if self.inbound.len() >= INBOUND_MAX {
            drop(stream);
            if self.limits.strike(Instant::now()) {
                let _ = self.events_tx.unbounded_send(FromHandler::Flooding(protocol));
            }
            return;
        }
        let (served, limits, events) =
            (self.served.clone(), self.limits.clone(), self.events_tx.clone());
        self.inbound.push(
            async move {
                if let Err(error) = serve(stream, protocol, served, limits, events).await {
                    tracing::debug!(protocol = protocol.name(), %error, "inbound exchange ended early");
                }
            }
            .boxed(),
        );
    }

    /// From a peer whom nobody listens to nothing is read.
    fn listen_to(&mut self, stream: Stream, channel: Channel) {
        if self.served.hub.hears(channel, &self.peer) {
            let (limits, hub, peer) = (self.limits.clone(), self.served.hub.clone(), self.peer);
            let reading =
                async move { (channel, reader::read(stream, channel, peer, limits, hub).await) };
            let (reading, end) = abortable(reading);
            if let Some(before) = self.newest[channel.index()].replace(end) {
                before.abort();
            }
            self.reading.push(reading.map(Result::ok).boxed());
        } else if self.limits.strike(Instant::now()) {
            let _ = self.events_tx.unbounded_send(FromHandler::Flooding(channel.protocol()));
        }
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.reading.poll_next_unpin(cx) {
            match ended {
                Some((channel, End::Flooding)) => {
                    let _ =
                        self.events_tx.unbounded_send(FromHandler::Flooding(channel.protocol()));
                }
                Some((channel, error)) => {
                    tracing::debug!(peer = %self.peer.short(), ?channel, %error, "the peer's messages ended");
                }
                None => {}
            }
        }
    }

    fn begin(&mut self, stream: Stream, request: Outbound) {
        self.outbound.push(
            async move {
                let Outbound { protocol, body, mut response, permit } = request;
                let exchange = std::pin::pin!(codec::exchange(stream, protocol, &body));
                // Requesters that have given up (timeout) free the substream at once.
                let result = match select(exchange, response.cancellation()).await {
                    Either::Left((result, _)) => result,
                    Either::Right(_) => return,
                };
                drop(permit);
                let _ = response.send(result);
            }
            .boxed(),
        );
    }

    fn next_request(&mut self) -> Option<Outbound> {
        if self.opening + self.outbound.len() >= OUTBOUND_MAX {
            return None;
        }
        loop {
            let request = self.waiting.pop_front()?;
            if !request.response.is_canceled() {
                return Some(request);
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Accept;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        SubstreamProtocol::new(Accept(self.served.clone()), ())
    }

    /// Connections live until one side wants them gone, or stops answering pings. The swarm keeps a
    /// standby for as long as streams of either side use it, and some time after; requests that
    /// wait for a substream count here.
    fn connection_keep_alive(&self) -> bool {
        !self.is_standby || self.opening > 0 || !self.waiting.is_empty()
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Request(request) => self.waiting.push_back(request),
            ToHandler::Standby(is_standby) => self.is_standby = is_standby,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Accept, Self::OutboundProtocol, (), Opening>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => match protocol.channel() {
                Some(channel) => self.listen_to(stream, channel),
                None => self.accept(stream, protocol),
            },
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info,
            }) => match info {
                Opening::Exchange(request) => {
                    self.opening = self.opening.saturating_sub(1);
                    self.begin(stream, request);
                }
                Opening::Tell(channel) => self.writers[channel.index()].opened(stream),
            },
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: Opening::Tell(channel),
                ..
            }) => {
                self.writers[channel.index()].failed();
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: Opening::Exchange(info),
                error,
            }) => {
                self.opening = self.opening.saturating_sub(1);
                let error = match error {
                    StreamUpgradeError::Timeout => RequestError::Timeout,
                    StreamUpgradeError::NegotiationFailed => RequestError::Unsupported,
                    StreamUpgradeError::Io(_) => RequestError::ConnectionLost,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.response.send(Err(error));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Opening, FromHandler>> {
        for channel in Channel::ALL {
            if self.writers[channel.index()].poll(cx).is_ready() {
                let upgrade = ReadyUpgrade::new(channel.protocol().stream_protocol());
                let protocol = SubstreamProtocol::new(upgrade, Opening::Tell(channel))
                    .with_timeout(OPEN_TIMEOUT);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        self.poll_reading(cx);
        while let Poll::Ready(Some(())) = self.outbound.poll_next_unpin(cx) {}
        while let Poll::Ready(Some(())) = self.inbound.poll_next_unpin(cx) {}
        if let Poll::Ready(Some(event)) = self.events.poll_next_unpin(cx) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(request) = self.next_request() {
            self.opening += 1;
            let upgrade = ReadyUpgrade::new(request.protocol.stream_protocol());
            let protocol = SubstreamProtocol::new(upgrade, Opening::Exchange(request))
                .with_timeout(OPEN_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }
}

/// The responder's side of an exchange.
async fn serve(
    mut stream: Stream,
    protocol: Protocol,
    served: Arc<Served>,
    limits: Arc<PeerLimits>,
    events: mpsc::UnboundedSender<FromHandler>,
) -> io::Result<()> {
    match limits.admit(protocol, Instant::now()) {
        Verdict::Go => {}
        Verdict::Wait(delay) => Delay::new(delay).await,
        Verdict::Refuse => return refuse(&mut stream, Status::Throttled).await,
        Verdict::CutOff => {
            let _ = events.unbounded_send(FromHandler::Flooding(protocol));
            return Ok(());
        }
    }

    let len = match within(TRANSFER_TIMEOUT, codec::read_request_len(&mut stream, protocol)).await?
    {
        Ok(len) => len,
        Err(len) => {
            tracing::debug!(protocol = protocol.name(), len, "request above its cap");
            return refuse(&mut stream, Status::RequestTooLarge).await;
        }
    };
    let Some(permit) = served.inbound[protocol.index()].take(len) else {
        return refuse(&mut stream, Status::Busy).await;
    };
    let body = within(TRANSFER_TIMEOUT, codec::read_body(&mut stream, len)).await?;
    limits.charge(protocol, len, Instant::now());

    let (response, answer) = oneshot::channel();
    let reply = Reply { response, permit };
    if events.unbounded_send(FromHandler::Inbound { protocol, body, reply }).is_err() {
        return Ok(());
    }
    let answer = match select(answer, Delay::new(ANSWER_TIMEOUT)).await {
        Either::Left((Ok(body), _)) => body,
        Either::Left((Err(_dropped), _)) => return refuse(&mut stream, Status::Refused).await,
        Either::Right(_) => return refuse(&mut stream, Status::Busy).await,
    };

    if answer.len() > protocol.response_max() {
        tracing::warn!(
            protocol = protocol.name(),
            len = answer.len(),
            "response above its cap withheld"
        );
        return refuse(&mut stream, Status::ResponseTooLarge).await;
    }
    let (Some(_peer), Some(_all)) =
        (limits.hold_response(answer.len()), served.responses.take(answer.len()))
    else {
        drop(answer);
        return refuse(&mut stream, Status::Busy).await;
    };
    limits.charge(protocol, answer.len(), Instant::now());
    within(TRANSFER_TIMEOUT, codec::write_response(&mut stream, Ok(&answer))).await
}

async fn refuse(stream: &mut Stream, status: Status) -> io::Result<()> {
    within(TRANSFER_TIMEOUT, codec::write_response(stream, Err(status))).await
}

async fn within<T>(limit: Duration, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match select(std::pin::pin!(io), Delay::new(limit)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
