//! The exchanges and notifications of one connection.
//!
//! Outbound requests wait here until a substream is free. Inbound requests are read only as the
//! peer's rate and the application's queue allow. The others receive an error status and are not
//! read.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
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
    messages::{FromHandler, OutboundRequest, ToHandler},
    notifications::{
        reader::{self, ReadError},
        writer::Writer,
    },
    peer_limits::PeerLimits,
    request_response::{codec, serve::serve},
    shared_state::SharedState,
};
use crate::{
    error::RequestError,
    protocol::{NotificationProtocol, Protocol},
};
use tequio_core::types::NodeId;

/// Outbound requests in progress on one connection; further ones wait. Below [`INBOUND_MAX`], so
/// that honest peers never reach that limit.
const OUTBOUND_MAX: usize = 64;
/// Inbound requests in progress on one connection; further ones are reset, each with a strike.
const INBOUND_MAX: usize = 128;
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Accepts the served protocols and returns the negotiated one.
#[derive(Clone)]
pub struct Accept(Arc<SharedState>);

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
        // The negotiated protocol is one of the offered ones, and all of those are in this list.
        let protocol = Protocol::ALL
            .into_iter()
            .find(|p| p.name() == name.as_ref())
            .unwrap_or(Protocol::Light);
        ready(Ok((stream, protocol)))
    }
}

/// The purpose of an outbound substream.
#[derive(Debug)]
pub enum OpenInfo {
    Request(OutboundRequest),
    Notifications(NotificationProtocol),
}

pub struct Handler {
    shared: Arc<SharedState>,
    limits: Arc<PeerLimits>,
    peer: NodeId,
    writers: [Writer; NotificationProtocol::COUNT],
    is_standby: bool,
    /// For each notification protocol: aborts the newest inbound stream. Starting that stream
    /// aborted the one before it.
    reader_aborts: [Option<AbortHandle>; NotificationProtocol::COUNT],
    /// The inbound notification streams. As with the other sets here, a stream is polled only when
    /// it is woken.
    readers: FuturesUnordered<BoxFuture<'static, Option<(NotificationProtocol, ReadError)>>>,
    pending_requests: VecDeque<OutboundRequest>,
    opening: usize,
    outbound: FuturesUnordered<BoxFuture<'static, ()>>,
    inbound: FuturesUnordered<BoxFuture<'static, ()>>,
    events_tx: mpsc::UnboundedSender<FromHandler>,
    events: mpsc::UnboundedReceiver<FromHandler>,
}

impl Handler {
    pub fn new(
        peer: NodeId,
        served: Arc<SharedState>,
        limits: Arc<PeerLimits>,
        writers: [Writer; NotificationProtocol::COUNT],
    ) -> Self {
        // At most one event per inbound stream, and the number of streams is bounded.
        let (events_tx, events) = mpsc::unbounded();
        Self {
            shared: served,
            limits,
            peer,
            writers,
            is_standby: false,
            reader_aborts: Default::default(),
            readers: FuturesUnordered::new(),
            pending_requests: VecDeque::new(),
            opening: 0,
            outbound: FuturesUnordered::new(),
            inbound: FuturesUnordered::new(),
            events_tx,
            events,
        }
    }

    fn accept_request(&mut self, stream: Stream, protocol: Protocol) {
        if self.inbound.len() >= INBOUND_MAX {
            drop(stream);
            if self.limits.strike(Instant::now()) {
                let _ = self.events_tx.unbounded_send(FromHandler::Flooding(protocol));
            }
            return;
        }
        let (served, limits, events) =
            (self.shared.clone(), self.limits.clone(), self.events_tx.clone());
        self.inbound.push(
            async move {
                if let Err(error) = serve(stream, protocol, served, limits, events).await {
                    let protocol = protocol.name();
                    tracing::debug!(protocol, %error, "inbound exchange ended early");
                }
            }
            .boxed(),
        );
    }

    /// Streams of peers that may not send this protocol are dropped unread.
    fn accept_notifications(&mut self, stream: Stream, channel: NotificationProtocol) {
        if self.shared.notifications.accepts_from(channel, &self.peer) {
            let (limits, notifications, peer) =
                (self.limits.clone(), self.shared.notifications.clone(), self.peer);
            let reading = async move {
                (channel, reader::read(stream, channel, peer, limits, notifications).await)
            };
            let (reading, end) = abortable(reading);
            if let Some(before) = self.reader_aborts[channel.index()].replace(end) {
                before.abort();
            }
            self.readers.push(reading.map(Result::ok).boxed());
        } else if self.limits.strike(Instant::now()) {
            let _ = self.events_tx.unbounded_send(FromHandler::Flooding(channel.protocol()));
        }
    }

    fn poll_readers(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.readers.poll_next_unpin(cx) {
            match ended {
                Some((channel, ReadError::Flooding)) => {
                    let _ =
                        self.events_tx.unbounded_send(FromHandler::Flooding(channel.protocol()));
                }
                Some((channel, error)) => {
                    let peer = self.peer.short();
                    tracing::debug!(%peer, ?channel, %error, "notification stream ended");
                }
                None => {}
            }
        }
    }

    fn start_request(&mut self, stream: Stream, request: OutboundRequest) {
        self.outbound.push(
            async move {
                let OutboundRequest { protocol, body, mut response, permit } = request;
                let exchange = std::pin::pin!(codec::exchange(stream, protocol, &body));
                // A requester that has given up (timeout) frees the substream at once.
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

    fn next_request(&mut self) -> Option<OutboundRequest> {
        if self.opening + self.outbound.len() >= OUTBOUND_MAX {
            return None;
        }
        loop {
            let request = self.pending_requests.pop_front()?;
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
    type OutboundOpenInfo = OpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        SubstreamProtocol::new(Accept(self.shared.clone()), ())
    }

    /// Connections live until one side closes them or stops answering pings. The swarm keeps a
    /// standby while streams of either side use it, and some time after. Requests that wait for a
    /// substream count as use.
    fn connection_keep_alive(&self) -> bool {
        !self.is_standby || self.opening > 0 || !self.pending_requests.is_empty()
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Request(request) => self.pending_requests.push_back(request),
            ToHandler::Standby(is_standby) => self.is_standby = is_standby,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Accept, Self::OutboundProtocol, (), OpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => match protocol.notification_protocol() {
                Some(channel) => self.accept_notifications(stream, channel),
                None => self.accept_request(stream, protocol),
            },
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info,
            }) => match info {
                OpenInfo::Request(request) => {
                    self.opening = self.opening.saturating_sub(1);
                    self.start_request(stream, request);
                }
                OpenInfo::Notifications(channel) => self.writers[channel.index()].opened(stream),
            },
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: OpenInfo::Notifications(channel),
                ..
            }) => {
                self.writers[channel.index()].failed();
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: OpenInfo::Request(info),
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
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, OpenInfo, FromHandler>> {
        for channel in NotificationProtocol::ALL {
            if self.writers[channel.index()].poll(cx).is_ready() {
                let upgrade = ReadyUpgrade::new(channel.protocol().stream_protocol());
                let protocol = SubstreamProtocol::new(upgrade, OpenInfo::Notifications(channel))
                    .with_timeout(OPEN_TIMEOUT);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        self.poll_readers(cx);
        while let Poll::Ready(Some(())) = self.outbound.poll_next_unpin(cx) {}
        while let Poll::Ready(Some(())) = self.inbound.poll_next_unpin(cx) {}
        if let Poll::Ready(Some(event)) = self.events.poll_next_unpin(cx) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(request) = self.next_request() {
            self.opening += 1;
            let upgrade = ReadyUpgrade::new(request.protocol.stream_protocol());
            let protocol = SubstreamProtocol::new(upgrade, OpenInfo::Request(request))
                .with_timeout(OPEN_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }
}
