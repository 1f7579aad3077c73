//! `/tequio/light/3`: answers light nodes from the newest final state. They verify what they get, so an answer needs
//! no care but for cost: proofs are capped, objects are whole blocks, and waiting for a head holds nothing but a task.

use super::{context::Context, reachable};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedString, BoundedVec},
    ledger::Key,
    types::{Epoch, Height, NodeId},
    wire::{
        light::{
            ADDRESS_LEN_MAX, ADDRESSES_MAX, AddressesOf, FinalHeader, HEAD_WAIT_MS_MAX, LIST_MAX, Member,
            REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Refusal, Request, Response, TURNS_MAX, Turn,
        },
        work::JobState,
    },
};
use tequio_p2p::{PeerInfo, Reply, identity};

/// What turns may take of an answer.
const TURNS_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

/// Answers a question.
pub async fn serve(context: Arc<Context>, body: Vec<u8>, reply: Reply) {
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

/// The newest header above `after`, waited for.
async fn head(context: &Context, after: Height, wait_ms: u32) -> Response {
    let mut tip = context.watch_tip();
    let wait = Duration::from_millis(wait_ms.min(HEAD_WAIT_MS_MAX).into());
    match tokio::time::timeout(wait, tip.wait_for(|tip| tip.height() > after)).await {
        Ok(Ok(tip)) => Response::Header(tip.header.clone()),
        Ok(Err(_)) | Err(_) => Response::Refused(Refusal::NothingNew),
    }
}

/// All but [`Request::Head`]. May read the disk.
fn answer(context: &Context, request: Request) -> Response {
    match request {
        Request::Head { .. } => Response::Refused(Refusal::Malformed),
        Request::Header { height } => found(context.store.final_header(height).map(|h| h.map(Response::Header))),
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
            Err(error) => Response::Refused(Refusal::NotAccepted(shortened(&error.to_string()))),
        },
        Request::Jobs => {
            let mut jobs = super::jobs::progress_of_all(context);
            jobs.truncate(LIST_MAX);
            Response::Jobs(BoundedVec::truncated(jobs))
        }
        Request::Events { after } => Response::Events(BoundedVec::truncated(context.events.newest_after(after))),
        Request::Turns { from, count } => Response::Turns(BoundedVec::truncated(turns(context, from, count))),
        Request::Members => Response::Members(BoundedVec::truncated(members(context))),
        Request::Addresses { of } => Response::Addresses(BoundedVec::truncated(addresses(context, of))),
    }
}

/// The ends of epochs from this one on, as many as there are and fit an answer.
fn turns(context: &Context, from: Epoch, count: u8) -> Vec<Turn> {
    let tip = context.tip();
    let (mut turns, mut len) = (Vec::new(), 0);
    for later in 0..Epoch::from(count).min(TURNS_MAX as Epoch) {
        let Some(next) = from.checked_add(later).and_then(|epoch| epoch.checked_add(1)) else { break };
        let Some(height) = next.checked_mul(context.params.epoch_blocks).and_then(|first| first.checked_sub(1)) else {
            break;
        };
        if height > tip.height() {
            break;
        }
        let Some(committee) = tip.state.committee(next).cloned() else { break };
        let header = match context.store.final_header(height) {
            Ok(Some(header)) => header,
            Ok(None) => break,
            Err(error) => {
                tracing::error!(height, %error, "cannot read a header");
                break;
            }
        };
        let turn = Turn { header, committee };
        len += codec::encode(&turn).len();
        if len > TURNS_LEN_MAX {
            break;
        }
        turns.push(turn);
    }
    turns
}

/// Entries of the newest state with their proofs, and the header they lead to.
pub fn prove(context: &Context, keys: &[Key]) -> (FinalHeader, Vec<tequio_core::ledger::state::ProvedEntry>) {
    let tip = context.tip();
    (tip.header.clone(), keys.iter().map(|key| tip.state.prove(key)).collect())
}

/// This node and the full nodes that it is connected with.
fn members(context: &Context) -> Vec<Member> {
    let own = Member { node: context.id, agent: shortened(&super::agent()) };
    let full = context.full_nodes();
    let peers = context.network.peers().into_iter().filter(|p| full.contains(&p.id));
    let others = peers.map(|p| Member { node: p.id, agent: shortened(p.agent.as_deref().unwrap_or_default()) });
    std::iter::once(own).chain(others).take(LIST_MAX).collect()
}

/// Addresses that connected peers claim for themselves: relays, or the coordinator of a job that is not over. Of other peers
/// nothing is told.
fn addresses(context: &Context, of: AddressesOf) -> Vec<BoundedString<ADDRESS_LEN_MAX>> {
    let peers = match of {
        AddressesOf::Coordinator(node) if coordinates(context, node) => {
            context.network.peer(node).into_iter().collect()
        }
        AddressesOf::Coordinator(_) => Vec::new(),
        AddressesOf::Relays => context.network.peers().into_iter().filter(reachable::is_relay).collect(),
    };
    let text = |peer: &PeerInfo| {
        let named = peer.addrs.clone().into_iter().map(|addr| identity::with_peer(addr, peer.id).to_string());
        named.collect::<Vec<_>>()
    };
    peers.iter().flat_map(text).filter_map(|addr| addr.try_into().ok()).take(ADDRESSES_MAX).collect()
}

/// Whether a node coordinates a job that is not over.
fn coordinates(context: &Context, node: NodeId) -> bool {
    context.jobs().iter().any(|(_, job)| job.coordinator == node && !JobState::from(&job.status).is_over())
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

/// As much of a text as there is room for.
pub fn shortened<const N: usize>(text: &str) -> BoundedString<N> {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().try_into().unwrap_or_default()
}
