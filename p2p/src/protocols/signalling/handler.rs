//! The signalling of one connection. Only circuits take part: other connections do not need
//! signalling, and must not authenticate it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    channel::oneshot,
    future::{Ready, ready},
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

use super::{protocol_name::PROTOCOL, transport::SignallingError};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that waits for a substream.
pub struct OpenInfo(pub oneshot::Sender<Result<Stream, SignallingError>>);

impl fmt::Debug for OpenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenInfo")
    }
}

/// An inbound signalling substream.
pub struct Opened(pub Stream);

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

/// Offers the protocol on circuits only.
#[derive(Clone, Debug)]
pub struct Accept {
    is_circuit: bool,
}

impl UpgradeInfo for Accept {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.is_circuit.then_some(PROTOCOL).into_iter()
    }
}

impl InboundUpgrade<Stream> for Accept {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

pub struct Handler {
    is_circuit: bool,
    pending: VecDeque<OpenInfo>,
    opened: VecDeque<Opened>,
}

impl Handler {
    pub fn new(is_circuit: bool) -> Self {
        Self { is_circuit, pending: VecDeque::new(), opened: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenInfo;
    type ToBehaviour = Opened;
    type InboundProtocol = Accept;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        SubstreamProtocol::new(Accept { is_circuit: self.is_circuit }, ())
    }

    fn on_behaviour_event(&mut self, opening: OpenInfo) {
        self.pending.push_back(opening);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Accept, Self::OutboundProtocol, (), OpenInfo>,
    ) {
        match event {
            // The next poll follows at once and returns the stream. This implementation never opens
            // more than one at a time.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => {
                self.opened.truncate(1);
                self.opened.push_front(Opened(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                let _ = info.0.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let failed = match error {
                    StreamUpgradeError::NegotiationFailed => SignallingError::Unsupported,
                    other => SignallingError::Substream(other.to_string()),
                };
                let _ = info.0.send(Err(failed));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, OpenInfo, Opened>> {
        if let Some(opened) = self.opened.pop_back() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(opened));
        }
        if let Some(opening) = self.pending.pop_front() {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), opening)
                .with_timeout(OPEN_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }
}
