//! `/tequio/light/3`: answers light nodes from the newest final state. Light nodes verify the
//! answers, so only their cost must be bounded: proofs are capped, objects are whole blocks, and a
//! request that waits for a head occupies only a task.

use super::{
    context::{NodeContext, Tip},
    relay_reservations,
};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedString, BoundedVec},
    ledger::{Checkpoint, Key, epoch},
    types::{Epoch, Height, NodeId},
    wire::{
        light::{
            ADDRESS_LEN_MAX, ADDRESSES_MAX, AddressQuery, CommitteeHandover, FinalHeader,
            HANDOVERS_MAX, HEAD_WAIT_MS_MAX, LIST_MAX, Member, REQUEST_LEN_MAX, RESPONSE_LEN_MAX,
            Refusal, Request, Response,
        },
        work::JobState,
    },
};
use tequio_p2p::{PeerInfo, Reply, identity};

/// Most bytes of committee handovers in an answer.
const HANDOVERS_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

/// Answers a request.
pub async fn serve(context: Arc<NodeContext>, body: Vec<u8>, reply: Reply) {
    let response = match codec::decode::<Request>(&body, REQUEST_LEN_MAX) {
        Ok(Request::Head { after, wait_ms }) => head(&context, after, wait_ms).await,
        Ok(request) => {
            let answer = tokio::task::spawn_blocking(move || answer(&context, request));
            answer.await.unwrap_or(Response::Refused(Refusal::Busy))
        }
        Err(_) => Response::Refused(Refusal::Malformed),
    };
    reply.send(codec::encode(&response));
}

/// The newest header above `after`; waits for it.
async fn head(context: &NodeContext, after: Height, wait_ms: u32) -> Response {
    let mut tip = context.watch_tip();
    let wait = Duration::from_millis(wait_ms.min(HEAD_WAIT_MS_MAX).into());
    match tokio::time::timeout(wait, tip.wait_for(|tip| tip.height() > after)).await {
        Ok(Ok(tip)) => Response::Header(tip.header.clone()),
        Ok(Err(_)) | Err(_) => Response::Refused(Refusal::NothingNew),
    }
}

/// Answers all requests except [`Request::Head`]. May read the disk.
fn answer(context: &NodeContext, request: Request) -> Response {
    match request {
        Request::Head { .. } => Response::Refused(Refusal::Malformed),
        Request::Header { height } => {
            found(context.store.final_header(height).map(|h| h.map(Response::Header)))
        }
        Request::Prove { keys } => {
            let (header, entries) = prove(context, &keys);
            Response::Proved { header, entries: BoundedVec::truncated(entries) }
        }
        Request::Object { cid } => {
            let object = context.store.object(&cid);
            found(object.map(|bytes| bytes.and_then(|b| b.try_into().ok()).map(Response::Object)))
        }
        Request::Submit { transaction } => match context.submit(transaction) {
            Ok(id) => Response::Submitted(id),
            Err(error) => Response::Refused(Refusal::NotAccepted(truncated(&error.to_string()))),
        },
        Request::Jobs => {
            let mut jobs = super::jobs::progress_of_all(context);
            jobs.truncate(LIST_MAX);
            Response::Jobs(BoundedVec::truncated(jobs))
        }
        Request::Events { after } => {
            Response::Events(BoundedVec::truncated(context.events.newest_after(after)))
        }
        Request::Handovers { from, count } => Response::Handovers(handovers(context, from, count)),
        Request::Members => Response::Members(BoundedVec::truncated(members(context))),
        Request::Addresses { of } => {
            Response::Addresses(BoundedVec::truncated(addresses(context, of)))
        }
    }
}

/// The committee handovers from this epoch on, as many as exist and fit into an answer.
pub fn handovers(
    context: &NodeContext,
    from: Epoch,
    count: u16,
) -> BoundedVec<CommitteeHandover, HANDOVERS_MAX> {
    let tip = context.tip();
    let (mut handovers, mut len) = (Vec::new(), 0);
    for later in 0..Epoch::from(count).min(HANDOVERS_MAX as Epoch) {
        let Some(handover) =
            from.checked_add(later).and_then(|epoch| handover(context, &tip, epoch))
        else {
            break;
        };
        len += codec::encode(&handover).len();
        if len > HANDOVERS_LEN_MAX {
            break;
        }
        handovers.push(handover);
    }
    BoundedVec::truncated(handovers)
}

/// The handover at the end of an epoch. The state supplies the committees of all epochs, the store
/// the headers.
fn handover(context: &NodeContext, tip: &Tip, epoch: Epoch) -> Option<CommitteeHandover> {
    let height =
        epoch::last_height(&context.params, epoch).filter(|height| *height <= tip.height())?;
    let (before, next) = (tip.state.committee(epoch)?, tip.state.committee(epoch.checked_add(1)?)?);
    match context.store.final_header(height) {
        Ok(header) => Some(CommitteeHandover::new(header?, before, next)),
        Err(error) => {
            tracing::error!(height, %error, "cannot read a header");
            None
        }
    }
}

/// The newest head as a checkpoint file.
pub fn checkpoint(context: &NodeContext) -> Option<Vec<u8>> {
    let tip = context.tip();
    let FinalHeader { header, certificate } = tip.header.clone();
    let committee = tip
        .state
        .committee(epoch::at_height(&context.params, header.height.checked_add(1)?))?
        .clone();
    Some(Checkpoint::new(header, certificate, committee, context.params.trust_period_ms).encode())
}

/// Entries of the newest state with their proofs, and the header that proves them.
pub fn prove(
    context: &NodeContext,
    keys: &[Key],
) -> (FinalHeader, Vec<tequio_core::ledger::state::ProvedEntry>) {
    let tip = context.tip();
    (tip.header.clone(), keys.iter().map(|key| tip.state.prove(key)).collect())
}

/// This node and the full nodes to which it is connected.
fn members(context: &NodeContext) -> Vec<Member> {
    let own = Member { node: context.id, agent: truncated(&super::agent()) };
    let full = context.full_nodes();
    let peers = context.network.peers().into_iter().filter(|p| full.contains(&p.id));
    let others = peers
        .map(|p| Member { node: p.id, agent: truncated(p.agent.as_deref().unwrap_or_default()) });
    std::iter::once(own).chain(others).take(LIST_MAX).collect()
}

/// Addresses that connected peers claim for themselves, if they are relays, or the coordinator of a
/// job that is not over. Addresses of other peers are not returned.
fn addresses(context: &NodeContext, of: AddressQuery) -> Vec<BoundedString<ADDRESS_LEN_MAX>> {
    let peers = match of {
        AddressQuery::Coordinator(node) if is_coordinator(context, node) => {
            context.network.peer(node).into_iter().collect()
        }
        AddressQuery::Coordinator(_) => Vec::new(),
        AddressQuery::Relays => {
            context.network.peers().into_iter().filter(relay_reservations::is_relay).collect()
        }
    };
    let text = |peer: &PeerInfo| {
        let named = peer
            .addrs
            .clone()
            .into_iter()
            .map(|addr| identity::with_peer(addr, peer.id).to_string());
        named.collect::<Vec<_>>()
    };
    peers
        .iter()
        .flat_map(text)
        .filter_map(|addr| addr.try_into().ok())
        .take(ADDRESSES_MAX)
        .collect()
}

/// Whether a node coordinates a job that is not over.
fn is_coordinator(context: &NodeContext, node: NodeId) -> bool {
    context
        .jobs()
        .iter()
        .any(|(_, job)| job.coordinator == node && !JobState::from(&job.status).is_over())
}

fn found<E: std::fmt::Display>(result: Result<Option<Response>, E>) -> Response {
    match result {
        Ok(Some(response)) => response,
        Ok(None) => Response::Refused(Refusal::NotFound),
        Err(error) => {
            tracing::error!(%error, "cannot answer from the store");
            Response::Refused(Refusal::Busy)
        }
    }
}

/// The text, cut to the capacity of the result.
pub fn truncated<const N: usize>(text: &str) -> BoundedString<N> {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().try_into().unwrap_or_default()
}
