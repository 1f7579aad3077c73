//! The responder's side of an exchange, within the limits of the peer and of the application.

use std::{io, sync::Arc, time::Duration};

use futures::{
    channel::{mpsc, oneshot},
    future::{Either, select},
};
use libp2p::swarm::Stream;
use web_time::Instant;

use super::codec::{self, Status};
use crate::{
    event::Reply,
    protocol::Protocol,
    protocols::{
        body::read_body,
        messages::FromHandler,
        peer_limits::{PeerLimits, RateDecision},
        shared_state::SharedState,
    },
    timer::Delay,
};

/// Time limit to read a request, and to write a response.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit for the application's response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs an exchange on the responder's side.
pub async fn serve(
    mut stream: Stream,
    protocol: Protocol,
    served: Arc<SharedState>,
    limits: Arc<PeerLimits>,
    events: mpsc::UnboundedSender<FromHandler>,
) -> io::Result<()> {
    match limits.admit(protocol, Instant::now()) {
        RateDecision::Allow => {}
        RateDecision::Delay(delay) => Delay::new(delay).await,
        RateDecision::Reject => return refuse(&mut stream, Status::Throttled).await,
        RateDecision::Disconnect => {
            let _ = events.unbounded_send(FromHandler::Flooding(protocol));
            return Ok(());
        }
    }

    let len = match with_timeout(TRANSFER_TIMEOUT, codec::read_request_len(&mut stream, protocol))
        .await?
    {
        Ok(len) => len,
        Err(len) => {
            tracing::debug!(protocol = protocol.name(), len, "request above its length limit");
            return refuse(&mut stream, Status::RequestTooLarge).await;
        }
    };
    let Some(permit) = served.inbound_budgets[protocol.index()].try_acquire(len) else {
        return refuse(&mut stream, Status::Busy).await;
    };
    let body = with_timeout(TRANSFER_TIMEOUT, read_body(&mut stream, len)).await?;
    limits.charge(protocol, len, Instant::now());

    let (response, answer) = oneshot::channel();
    let reply = Reply { response, permit };
    if events.unbounded_send(FromHandler::InboundRequest { protocol, body, reply }).is_err() {
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
            "response above its length limit is not sent"
        );
        return refuse(&mut stream, Status::ResponseTooLarge).await;
    }
    let (Some(_peer), Some(_all)) =
        (limits.reserve_response(answer.len()), served.response_budget.try_acquire(answer.len()))
    else {
        drop(answer);
        return refuse(&mut stream, Status::Busy).await;
    };
    limits.charge(protocol, answer.len(), Instant::now());
    with_timeout(TRANSFER_TIMEOUT, codec::write_response(&mut stream, Ok(&answer))).await
}

async fn refuse(stream: &mut Stream, status: Status) -> io::Result<()> {
    with_timeout(TRANSFER_TIMEOUT, codec::write_response(stream, Err(status))).await
}

async fn with_timeout<T>(
    limit: Duration,
    io: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match select(std::pin::pin!(io), Delay::new(limit)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
