//! Finds paths to the coordinators of running jobs with which this node is not connected, so that
//! its worker can reach them and its clients see the progress of their jobs.
//!
//! A coordinator reserves circuits at the full nodes and relays to which it is connected
//! ([`super::relay_reservations`]). So this node dials it through each of its own peers. If none of
//! them has a reservation, it requests addresses from its peers: a peer that is connected with the
//! coordinator returns the addresses that the coordinator claims. Each node asks only its own peers
//! and answers only from its own connections, so no request is forwarded, and paths spread hop by
//! hop. Once connected by a circuit, the network replaces it by a direct connection if possible.

use super::{
    agent::{is_direct_full_node, is_relay},
    relay_reservations::request_addresses,
};
use crate::node::chain_view::ChainView;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tequio_core::{ledger::job::JobStatus, types::NodeId, wire::light::AddressQuery};
use tequio_p2p::{Multiaddr, Network, identity};
use tokio::task::JoinSet;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Most coordinators to search for, and most searches at a time.
const WANTED_MAX: usize = 256;
const SEARCHES_MAX: usize = 4;
/// Peers through which one search dials, peers that it asks, and addresses that it dials.
const CIRCUITS_TRIED_MAX: usize = 8;
const ASKED_PEERS_MAX: usize = 8;
const ADDRESSES_TRIED_MAX: usize = 8;
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest duration of a search: unreachable coordinators must not delay others.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed search; it doubles with each failure, up to the maximum.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A coordinator that is being searched for.
#[derive(Debug, Default)]
struct Search {
    /// Failed searches.
    failures: u32,
    /// None while the search is in progress. A new search is due at once.
    due: Option<Instant>,
    is_under_way: bool,
}

impl Search {
    fn is_due(&self) -> bool {
        !self.is_under_way && self.due.is_none_or(|due| due <= Instant::now())
    }

    fn record_failure(&mut self) {
        self.is_under_way = false;
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.due = Some(Instant::now() + pause);
        self.failures = self.failures.saturating_add(1);
    }
}

/// Searches for coordinators until the node stops.
pub async fn run(chain: ChainView, network: Network) {
    let mut searches: BTreeMap<NodeId, Search> = BTreeMap::new();
    let mut under_way: JoinSet<NodeId> = JoinSet::new();
    let mut interval = tokio::time::interval(POLL_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        while let Some(ended) = under_way.try_join_next() {
            if let Some(search) = ended.ok().and_then(|node| searches.get_mut(&node)) {
                search.record_failure();
            }
        }
        let missing = missing_coordinators(&chain, &network);
        searches.retain(|node, search| missing.contains(node) || search.is_under_way);
        for node in missing {
            if searches.len() < WANTED_MAX {
                searches.entry(node).or_default();
            }
        }
        while under_way.len() < SEARCHES_MAX
            && let Some((node, search)) = next_due(&mut searches)
        {
            let (network, attempt) = (network.clone(), search.failures as usize);
            search.is_under_way = true;
            under_way.spawn(async move {
                let found =
                    tokio::time::timeout(SEARCH_TIMEOUT, find(&network, node, attempt)).await;
                if let Ok(Some(addr)) = found {
                    tracing::info!(
                        coordinator = %node.short(), %addr,
                        "found a path to the coordinator"
                    );
                }
                node
            });
        }
    }
}

/// The search that has been due for longest. New ones come first, so that unreachable coordinators,
/// of which anyone can create many, do not delay them.
fn next_due(searches: &mut BTreeMap<NodeId, Search>) -> Option<(NodeId, &mut Search)> {
    let due = searches.iter_mut().filter(|(_, search)| search.is_due());
    due.min_by_key(|(_, search)| search.due).map(|(node, search)| (*node, search))
}

/// Coordinators of running jobs with which this node is not connected.
fn missing_coordinators(chain: &ChainView, network: &Network) -> BTreeSet<NodeId> {
    let running = chain.jobs().into_iter().filter(|(_, job)| job.status == JobStatus::Running);
    let coordinators: BTreeSet<NodeId> = running.map(|(_, job)| job.coordinator).collect();
    let is_missing = |node: &NodeId| *node != chain.node && network.peer(*node).is_none();
    coordinators.into_iter().filter(is_missing).collect()
}

/// Connects to a node by the first path that works; `attempt` decides which peers are tried first.
async fn find(network: &Network, node: NodeId, attempt: usize) -> Option<Multiaddr> {
    let mut peers = network.peers();
    peers.retain(|peer| is_relay(peer) || is_direct_full_node(peer));
    if !peers.is_empty() {
        let first = attempt.saturating_mul(CIRCUITS_TRIED_MAX) % peers.len();
        peers.rotate_left(first);
    }
    for peer in peers.iter().take(CIRCUITS_TRIED_MAX) {
        let relay: Option<Multiaddr> =
            identity::peer_id(peer.id).and_then(|id| format!("/p2p/{id}").parse().ok());
        let Some(circuit) = relay.and_then(|relay| identity::circuit(&relay, node)) else {
            continue;
        };
        if dial(network, &circuit).await {
            return Some(circuit);
        }
    }
    let mut tried: BTreeSet<String> = BTreeSet::new();
    for peer in peers.iter().filter(|peer| is_direct_full_node(peer)).take(ASKED_PEERS_MAX) {
        let mut received = request_addresses(network, peer, AddressQuery::Coordinator(node)).await;
        received.retain(|addr| identity::node_of(addr) == Some(node));
        // Circuits last: their traffic loads another node.
        received.sort_by_key(|addr| addr.to_string().contains("/p2p-circuit"));
        for addr in received {
            if tried.len() >= ADDRESSES_TRIED_MAX {
                return None;
            }
            if tried.insert(addr.to_string()) && dial(network, &addr).await {
                return Some(addr);
            }
        }
    }
    None
}

async fn dial(network: &Network, addr: &Multiaddr) -> bool {
    match tokio::time::timeout(DIAL_TIMEOUT, network.dial(addr.clone())).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::debug!(%addr, %error, "no path");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_coordinators_do_not_delay_others() {
        let now = Instant::now();
        let node = |byte| NodeId([byte; 32]);
        let mut searches: BTreeMap<NodeId, Search> = BTreeMap::new();
        for byte in 0..8 {
            // Due again, so the order is that of the ids.
            let search = searches.entry(node(byte)).or_default();
            search.record_failure();
            search.due = now.checked_sub(Duration::from_secs(u64::from(byte)));
        }
        searches.insert(node(200), Search::default());
        let mut order = Vec::new();
        while let Some((node, search)) = next_due(&mut searches) {
            search.is_under_way = true;
            order.push(node.0[0]);
        }
        assert_eq!(order, [200, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}
