//! Polls the coordinators of running jobs for their progress.

use super::progress::JobsView;
use crate::node::chain_view::ChainView;
use std::{collections::BTreeSet, time::Duration};
use tequio_core::{
    codec,
    ledger::job::JobStatus,
    types::NodeId,
    wire::{light, work::JobProgress},
};
use tequio_p2p::{Network, Protocol};
use tokio::task::JoinSet;

/// Interval at which the coordinators of running jobs are polled for progress.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const POLL_TIMEOUT: Duration = Duration::from_secs(5);
/// Coordinators polled at the same time. Some that do not answer must not make others seem silent.
const POLLS_MAX: usize = 64;

/// Polls the coordinators of running jobs for progress, so that any node can show it. Each is
/// polled again after its answer or failure.
pub async fn poll_coordinators(jobs: JobsView, chain: ChainView, network: Network) {
    let mut polls: JoinSet<NodeId> = JoinSet::new();
    let mut under_way: BTreeSet<NodeId> = BTreeSet::new();
    let mut last: Option<NodeId> = None;
    let mut interval = tokio::time::interval(POLL_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        while let Some(answered) = polls.try_join_next() {
            match answered {
                Ok(coordinator) => {
                    under_way.remove(&coordinator);
                }
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The node stops.
                    Err(_) => return,
                },
            }
        }
        let running = chain.jobs().into_iter().filter(|(_, job)| job.status == JobStatus::Running);
        let is_asked =
            |c: &NodeId| *c != chain.node && !under_way.contains(c) && network.peer(*c).is_some();
        let coordinators: BTreeSet<NodeId> =
            running.map(|(_, job)| job.coordinator).filter(is_asked).collect();
        // Round robin: jobs after the last polled one come first.
        let (first, later): (Vec<_>, Vec<_>) =
            coordinators.into_iter().partition(|c| last.is_none_or(|l| *c > l));
        for coordinator in
            first.into_iter().chain(later).take(POLLS_MAX.saturating_sub(polls.len()))
        {
            last = Some(coordinator);
            under_way.insert(coordinator);
            polls.spawn(poll_coordinator(
                jobs.clone(),
                chain.clone(),
                network.clone(),
                coordinator,
            ));
        }
    }
}

async fn poll_coordinator(
    jobs: JobsView,
    chain: ChainView,
    network: Network,
    coordinator: NodeId,
) -> NodeId {
    let body = codec::encode(&light::Request::Jobs);
    let answer = network.request(coordinator, Protocol::Light, body, POLL_TIMEOUT).await;
    let decoded = answer.map(|body| codec::decode(&body, light::RESPONSE_LEN_MAX));
    if let Ok(Ok(light::Response::Jobs(reports))) = decoded {
        // A node may report only its own jobs, and only those in the ledger.
        let of_its_own =
            |r: &JobProgress| chain.job(&r.id).is_some_and(|j| j.coordinator == coordinator);
        for report in
            reports.into_vec().into_iter().filter(|r| r.coordinator == coordinator && of_its_own(r))
        {
            jobs.store_report(report);
        }
    }
    coordinator
}
