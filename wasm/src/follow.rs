//! The loops that keep the node current: heads, jobs and events. They are driven by answers to
//! long-polled requests and by new heads, at most every [`HEAD_INTERVAL`]. A tab in the background,
//! whose timers fire late, only follows more slowly.

use crate::{
    chain::{AnswerError, Chain, now_ms},
    error::NodeError,
    event::{Event, JobView},
    work::Work,
};
use futures::{FutureExt, future::Shared};
use futures_timer::Delay;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};
use tequio_core::{
    ledger::{
        Entry, Key,
        job::{Job, JobId, JobStatus},
    },
    scheduler::worker::Offer,
    types::NodeId,
    wire::{
        light::{self, Request, Response},
        progress::eviction_candidate,
        work::{JobProgress, JobState},
    },
};
use tequio_p2p::Multiaddr;

/// How long a source may delay its answer to a request for the next head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const UNVERIFIED_TIMEOUT: Duration = Duration::from_secs(5);
/// Least interval between two heads. A busy chain makes several blocks a second, each certificate
/// costs the page's thread some 30 ms, and no person reads heights that fast.
const HEAD_INTERVAL: Duration = Duration::from_secs(2);
/// Pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Least interval between two writes of the head to the store.
const SAVE_EVERY_MS: u64 = 3000;
/// Stored ids of rejections that were shown; the oldest are dropped first.
const SHOWN_MAX: usize = 1024;
/// Rejections that are shown at once: the newest.
const SHOWN_AT_ONCE_MAX: usize = 16;
/// Stored jobs; ended ones are dropped first.
const JOBS_MAX: usize = 256;

/// Resolves when the node closes.
pub type Closed = Shared<futures::channel::oneshot::Receiver<()>>;

/// State of the loops.
#[derive(Default)]
struct FollowState {
    /// Jobs as the ledger proves them. Unproved data is only displayed.
    proved: BTreeMap<JobId, Job>,
    views: BTreeMap<JobId, JobView>,
    shown: ShownRejections,
    offers: Vec<Offer>,
}

/// Job, round, unit and worker of a rejection. The events' own numbers differ between sources.
type RejectionKey = (JobId, u32, u32, NodeId);

/// The newest rejections that have been shown.
#[derive(Default)]
struct ShownRejections {
    keys: BTreeSet<RejectionKey>,
    order: VecDeque<RejectionKey>,
}

impl ShownRejections {
    /// Inserts a rejection and returns whether it has not been shown yet.
    fn insert(&mut self, key: RejectionKey) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > SHOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}

/// Follows heads until the node closes, and after each head jobs and events.
pub async fn run(chain: Rc<Chain>, work: Work, relays: Vec<Multiaddr>, closed: Closed) {
    let seen = RefCell::new(FollowState::default());
    let mut saved_ms = 0;
    let mut member = None;
    let mut is_stale = false;
    // Reads the jobs at once, not only after the next block.
    let mut wait = Duration::ZERO;
    let mut closed = closed.fuse();
    loop {
        let next = Delay::new(HEAD_INTERVAL);
        let turn = async {
            let advanced = chain.advance(wait).await?;
            wait = HEAD_TIMEOUT;
            chain.read_interval().await?;
            if advanced && now_ms().saturating_sub(saved_ms) > SAVE_EVERY_MS {
                saved_ms = now_ms();
                chain.save().await;
            }
            if member.is_none() {
                member = connect_member(&chain, &work, &relays).await;
            }
            jobs(&chain, &work, &seen).await?;
            events(&chain, &seen).await
        }
        .fuse();
        futures::pin_mut!(turn);
        let result: Result<(), NodeError> =
            futures::select! { result = turn => result, _ = closed => return };
        // Also pauses after a failure: a source that does not answer at all brings no head either.
        let overdue_ms = chain.overdue_ms();
        if let (Some(head_age_ms), false) = (overdue_ms, is_stale) {
            chain.emitter.emit(&Event::Stale { head_age_ms });
        }
        is_stale = overdue_ms.is_some();
        if let Err(e) = result {
            chain.emitter.log("warn", e.to_string());
            futures::select! { _ = Delay::new(RETRY_INTERVAL).fuse() => {}, _ = closed => return }
        }
        futures::select! { _ = next.fuse() => {}, _ = closed => return }
    }
}

/// Connects to one full node through a relay, as a second source. The relay cannot change its data,
/// because the connection is encrypted from end to end.
async fn connect_member(chain: &Chain, work: &Work, relays: &[Multiaddr]) -> Option<NodeId> {
    let members = chain
        .query(&Request::Members, UNVERIFIED_TIMEOUT, |response| match response {
            Response::Members(members) => Ok(members),
            _ => Err(AnswerError::InvalidData {
                what: "answer",
                detail: "an answer to another question".into(),
            }),
        })
        .await
        .ok()?;
    let seat = |node: &NodeId| chain.light.borrow().committee().seat_of(node).is_some();
    for member in members.iter().filter(|m| seat(&m.node) && m.node != chain.me) {
        if work.reach(member.node, relays).await.is_ok() {
            return Some(member.node);
        }
    }
    None
}

async fn jobs(chain: &Chain, work: &Work, seen: &RefCell<FollowState>) -> Result<(), NodeError> {
    let advice = chain
        .query(&Request::Jobs, UNVERIFIED_TIMEOUT, |response| match response {
            Response::Jobs(jobs) => Ok(jobs),
            _ => Err(AnswerError::InvalidData {
                what: "answer",
                detail: "an answer to another question".into(),
            }),
        })
        .await?;
    for mut job in advice.into_vec() {
        let Some(proved) = proved(chain, seen, &job).await? else { continue };
        // State, coordinator, name and data are those of the ledger; the rest is unproved.
        job.kind = proved.spec.kind();
        job.name = proved.spec.name.clone();
        job.dataset = proved.spec.dataset;
        job.rounds = proved.spec.rounds();
        job.coordinator = proved.coordinator;
        job.state = JobState::from(&proved.status);
        let view = JobView::new(&job, &chain.me);
        let changed = seen.borrow().views.get(&job.id) != Some(&view);
        chain.jobs.borrow_mut().insert(job.id, job.clone());
        if changed {
            chain.emitter.emit(&Event::Job(view.clone()));
            seen.borrow_mut().views.insert(job.id, view);
        }
    }
    evict_jobs(chain, seen);
    update_offers(chain, work, seen);
    chain.jobs_loaded.set();
    Ok(())
}

/// Enforces the cap on jobs.
fn evict_jobs(chain: &Chain, seen: &RefCell<FollowState>) {
    let mut seen = seen.borrow_mut();
    while seen.proved.len() > JOBS_MAX
        && let Some(id) = eviction_candidate(&seen.proved)
    {
        seen.proved.remove(&id);
        seen.views.remove(&id);
        chain.jobs.borrow_mut().remove(&id);
    }
}

/// Returns a job as the ledger proves it. Requests it again while it can change.
async fn proved(
    chain: &Chain,
    seen: &RefCell<FollowState>,
    job: &JobProgress,
) -> Result<Option<Job>, NodeError> {
    let known = seen.borrow().proved.get(&job.id).cloned();
    let settled = known.as_ref().is_some_and(|k| match k.status {
        JobStatus::Final { .. } | JobStatus::Failed { .. } => true,
        JobStatus::Running => job.state == JobState::Running,
        JobStatus::Pending { .. } => false,
    });
    if settled {
        return Ok(known);
    }
    match chain.entry(Key::Job(job.id)).await? {
        (Some(Entry::Job(_, job_entry)), _) => {
            seen.borrow_mut().proved.insert(job.id, Job::clone(&job_entry));
            Ok(Some(*job_entry))
        }
        _ => Ok(None),
    }
}

/// Offers only work of the coordinators that the ledger names.
fn update_offers(chain: &Chain, work: &Work, seen: &RefCell<FollowState>) {
    let mut seen = seen.borrow_mut();
    let offers: Vec<Offer> = chain
        .jobs
        .borrow()
        .values()
        .filter(|job| job.state == JobState::Running)
        .map(|job| Offer { job: job.id, coordinator: job.coordinator })
        .collect();
    if offers != seen.offers {
        seen.offers = offers.clone();
        work.offer(offers);
    }
}

async fn events(chain: &Chain, seen: &RefCell<FollowState>) -> Result<(), NodeError> {
    let events = chain
        .query(&Request::Events { after: 0 }, UNVERIFIED_TIMEOUT, |response| match response {
            Response::Events(events) => Ok(events),
            _ => Err(AnswerError::InvalidData {
                what: "answer",
                detail: "an answer to another question".into(),
            }),
        })
        .await?;
    let is_new = |(_, _, event): &(u64, u64, light::Event)| {
        let light::Event::Rejected { job, round, unit, worker, .. } = event;
        chain.jobs.borrow().contains_key(job)
            && seen.borrow_mut().shown.insert((*job, *round, *unit, *worker))
    };
    let new: Vec<_> = events.into_vec().into_iter().filter(is_new).collect();
    let hidden = new.len().saturating_sub(SHOWN_AT_ONCE_MAX);
    for (_, time_ms, event) in new.into_iter().skip(hidden) {
        let light::Event::Rejected { job, round, unit, worker, kind, reason } = event;
        chain.emitter.emit(&Event::Rejected {
            worker: worker.to_string(),
            job: job.to_string(),
            round,
            unit,
            kind: kind.as_str(),
            reason: reason.to_string(),
            time_ms,
        });
    }
    Ok(())
}
