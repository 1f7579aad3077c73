//! Verified reads: a request goes to one source after the other until an answer verifies.

use crate::{
    error::NodeError,
    event::{Emitter, Event},
    identity,
    once_event::OnceEvent,
    peer_scores::PeerScores,
    store::Store,
    yielding::yield_to_page,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};
use tequio_core::{
    codec::{self, BoundedVec},
    content::{
        Cid, CidCodec,
        object::{self, Block, Contents},
    },
    ledger::{Entry, Header, Key, job::JobId, state::ProvedEntry, transaction::RefName},
    light::{LightClient, LightError, Progress},
    types::{Epoch, NodeId, Unverified, Verified},
    wire::{
        light::{CommitteeHandover, FinalHeader, RESPONSE_LEN_MAX, Refusal, Request, Response},
        work::JobProgress,
    },
};
use tequio_p2p::{Network, Protocol};
use web_time::Instant;

/// Timeout of an ordinary request.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Committee handovers in one request.
const HANDOVERS_AT_ONCE: Epoch = 128;
/// Committee handovers that are verified without a pause.
const HANDOVERS_PER_SLICE: usize = 4;
const HEAD: &str = "head";

/// State that all parts of the node share. Only the page's thread uses it.
pub struct Chain {
    pub network: Network,
    pub me: NodeId,
    pub light: RefCell<LightClient>,
    pub peer_scores: RefCell<PeerScores>,
    pub emitter: Emitter,
    pub store: Store,
    pub jobs: RefCell<BTreeMap<JobId, JobProgress>>,
    /// Set when the jobs have been read for the first time.
    pub jobs_loaded: OnceEvent,
    /// Time of the head's arrival, by a monotonic clock.
    pub head_arrived_at: Cell<Instant>,
    /// The longest time between two blocks; 0 while unknown.
    pub interval_ms: Cell<u64>,
}

/// A head is stale if none has followed for this many of the longest intervals.
const STALE_INTERVALS: u64 = 3;

/// An entry with its proof.
pub struct Proved {
    /// The entry; none if its absence is proved.
    pub found: Option<Entry>,
    /// The header to which the proof leads.
    pub header: FinalHeader,
    /// The proof.
    pub entry: ProvedEntry,
}

/// The reason why an answer is not accepted.
pub enum AnswerError {
    /// The source's data is wrong.
    InvalidData { what: &'static str, detail: String },
    /// The source refused the request.
    Refused(Refusal),
    /// The chain itself has forked.
    Forked(LightError),
    /// The source is in a later epoch: this node must follow the committee handovers first.
    EpochAhead(LightError),
    /// The known committee is older than the trust period.
    Outdated(LightError),
}

impl From<LightError> for AnswerError {
    fn from(e: LightError) -> Self {
        let what = match &e {
            LightError::Forked(_) => return Self::Forked(e),
            LightError::Outdated => return Self::Outdated(e),
            LightError::LaterEpoch { .. } => return Self::EpochAhead(e),
            // The source is a whole epoch behind, which is no invalid data.
            LightError::PastEpoch(_) => return Self::Refused(Refusal::NothingNew),
            LightError::Handover(_) => "committee",
            LightError::WrongHeader
            | LightError::NoCertificate
            | LightError::Leader
            | LightError::Time => "header",
            LightError::Certificate(_) => "certificate",
            LightError::Entry(_) | LightError::Count { .. } => "proof",
        };
        Self::InvalidData { what, detail: e.to_string() }
    }
}

impl AnswerError {
    pub fn unexpected() -> Self {
        Self::InvalidData { what: "answer", detail: "an answer to another question".into() }
    }
}

pub fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

impl Chain {
    /// Sends a request until an answer passes `check`. A refusal leads to the next source; invalid
    /// data is recorded as well.
    pub async fn query<T>(
        &self,
        request: &Request,
        wait: Duration,
        mut check: impl FnMut(Response) -> Result<T, AnswerError>,
    ) -> Result<T, NodeError> {
        let body = codec::encode(request);
        let mut tried = Vec::new();
        let mut last = NodeError::Unavailable("no source is connected".into());
        loop {
            let connected: Vec<NodeId> = self.network.peers().into_iter().map(|p| p.id).collect();
            if !connected.is_empty()
                && connected.iter().all(|node| self.peer_scores.borrow().is_flagged(node))
            {
                return Err(NodeError::VerificationFailed);
            }
            let chosen = self.peer_scores.borrow_mut().choose(&connected, &tried);
            let Some(peer) = chosen else { return Err(last) };
            tried.push(peer);
            let answer = match self.network.request(peer, Protocol::Light, body.clone(), wait).await
            {
                Ok(bytes) => codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX),
                Err(e) => {
                    self.peer_scores.borrow_mut().failed(peer);
                    last = NodeError::Unavailable(e.to_string());
                    continue;
                }
            };
            let checked = match answer {
                Ok(Response::Refused(refusal)) => Err(AnswerError::Refused(refusal)),
                Ok(response) => check(response),
                Err(e) => Err(AnswerError::InvalidData { what: "encoding", detail: e.to_string() }),
            };
            match checked {
                Ok(value) => {
                    self.peer_scores.borrow_mut().succeeded(peer);
                    return Ok(value);
                }
                Err(AnswerError::Refused(refusal @ (Refusal::NothingNew | Refusal::NotFound))) => {
                    last = NodeError::NotFound(refusal.to_string());
                }
                Err(AnswerError::Refused(refusal)) => {
                    last = NodeError::Unavailable(refusal.to_string())
                }
                Err(AnswerError::EpochAhead(e)) => match self.follow_handovers(peer, &e).await {
                    Ok(0) => last = NodeError::Unavailable(e.to_string()),
                    // Repeats the request, now with the committee that can verify the answer.
                    Ok(_) => drop(tried.pop()),
                    Err(AnswerError::InvalidData { what, detail }) => {
                        self.flag_peer(peer, what, detail)
                    }
                    Err(AnswerError::Forked(e)) => return Err(self.forked(e)),
                    Err(AnswerError::Outdated(e)) => return Err(NodeError::Outdated(e)),
                    Err(AnswerError::Refused(_) | AnswerError::EpochAhead(_)) => {
                        last = NodeError::Unavailable(e.to_string())
                    }
                },
                Err(AnswerError::Outdated(e)) => return Err(NodeError::Outdated(e)),
                Err(AnswerError::InvalidData { what, detail }) => {
                    self.flag_peer(peer, what, detail)
                }
                Err(AnswerError::Forked(e)) => return Err(self.forked(e)),
            }
        }
    }

    fn forked(&self, e: LightError) -> NodeError {
        self.emitter.emit(&Event::ForkEvidence { detail: e.to_string() });
        NodeError::Forked(e)
    }

    /// Follows the committee handovers of a source to the epoch of the header that was too new,
    /// page by page. Returns how many epochs later the known committee is. Each page is reported as
    /// the new head and stored for the next visit.
    async fn follow_handovers(
        &self,
        peer: NodeId,
        ahead: &LightError,
    ) -> Result<usize, AnswerError> {
        let started_at = self.light.borrow().committee().epoch();
        let LightError::LaterEpoch { found: target, .. } = *ahead else { return Ok(0) };
        loop {
            let from = self.light.borrow().committee().epoch();
            let count = target.saturating_sub(from).min(HANDOVERS_AT_ONCE);
            let held =
                if count == 0 { 0 } else { self.follow_page(peer, from, count as u16).await? };
            if held == 0 {
                return Ok((from - started_at) as usize);
            }
            self.emit_head();
            self.save().await;
        }
    }

    /// Follows one page of handovers. Returns how many epochs later the known committee is.
    async fn follow_page(
        &self,
        peer: NodeId,
        from: Epoch,
        count: u16,
    ) -> Result<usize, AnswerError> {
        let body = codec::encode(&Request::Handovers { from, count });
        let Ok(bytes) = self.network.request(peer, Protocol::Light, body, ANSWER_TIMEOUT).await
        else {
            return Ok(0);
        };
        let page = match codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX) {
            Ok(Response::Handovers(handovers)) => handovers.into_vec(),
            Ok(Response::Refused(refusal)) => return Err(AnswerError::Refused(refusal)),
            Ok(_) => return Err(AnswerError::unexpected()),
            Err(e) => {
                return Err(AnswerError::InvalidData { what: "encoding", detail: e.to_string() });
            }
        };
        if page.len() > usize::from(count) {
            return Err(LightError::Count { requested: count.into(), found: page.len() }.into());
        }
        for handovers in page.chunks(HANDOVERS_PER_SLICE) {
            self.follow_slice(handovers)?;
            // Lets the page work in between, because one certificate takes milliseconds.
            yield_to_page().await;
        }
        Ok(self.light.borrow().committee().epoch().saturating_sub(from) as usize)
    }

    /// Follows the handovers, except those that another request has already passed.
    fn follow_slice(&self, handovers: &[CommitteeHandover]) -> Result<(), AnswerError> {
        let mut light = self.light.borrow_mut();
        let known = light.committee().epoch();
        let new: Vec<_> =
            handovers.iter().skip_while(|handover| handover.epoch() < known).cloned().collect();
        light.follow_handovers(new.len(), new, now_ms())?;
        Ok(())
    }

    /// Reports a source of invalid data and sends no more requests to it.
    fn flag_peer(&self, peer: NodeId, what: &'static str, detail: String) {
        if self.peer_scores.borrow_mut().flag(peer) {
            self.emitter.emit(&Event::InvalidData { peer: peer.to_string(), what, detail });
        }
    }

    /// Waits for a final header above the head, up to `wait`. Returns whether there is one.
    pub async fn advance(&self, wait: Duration) -> Result<bool, NodeError> {
        let after = self.light.borrow().head().height;
        let request = Request::Head { after, wait_ms: wait.as_millis() as u32 };
        let answer = self
            .query(&request, wait + ANSWER_TIMEOUT, |response| match response {
                Response::Header(header) => Ok(self.follow(header)?),
                _ => Err(AnswerError::unexpected()),
            })
            .await;
        match answer {
            // The committee handovers on the way to the answer count, too: the last one's header
            // may be the answer.
            Ok(_) => Ok(self.light.borrow().head().height > after),
            Err(NodeError::NotFound(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn follow(&self, header: FinalHeader) -> Result<Progress, AnswerError> {
        let (found, known) =
            (header.header.epoch.saturating_add(1), self.light.borrow().committee().epoch());
        let progress = self.light.borrow_mut().follow(Unverified::new(header), now_ms())?;
        if progress == Progress::EpochEnd {
            // The header is final, but the next committee must be known first.
            return Err(AnswerError::EpochAhead(LightError::LaterEpoch { found, known }));
        }
        if progress == Progress::Advanced {
            self.emit_head();
        }
        Ok(progress)
    }

    /// Records the arrival of a head, and reports it to the page.
    pub fn emit_head(&self) {
        self.head_arrived_at.set(Instant::now());
        let light = self.light.borrow();
        let Header { height, time_ms, .. } = *light.head();
        let signers = light.certificate().map_or(0, |c| c.seats().count());
        let committee = light.head_committee().map(|committee| committee.seats().len());
        self.emitter.emit(&Event::Head {
            height,
            time_ms,
            hash: light.digest().to_string(),
            signers,
            committee,
        });
    }

    /// Returns the age of the head, if a newer one is overdue. The age does not depend on the
    /// device's clock.
    pub fn overdue_ms(&self) -> Option<u64> {
        let age_ms = self.head_arrived_at.get().elapsed().as_millis() as u64;
        let limit_ms = self.interval_ms.get().saturating_mul(STALE_INTERVALS);
        (limit_ms > 0 && age_ms > limit_ms).then_some(age_ms)
    }

    /// Reads the longest interval between two blocks, if it is not known yet.
    pub async fn read_interval(&self) -> Result<(), NodeError> {
        if self.interval_ms.get() == 0
            && let (Some(Entry::Params(params)), _) = self.entry(Key::Params).await?
        {
            self.interval_ms.set(params.block_interval_ms_max);
        }
        Ok(())
    }

    /// Stores the head for the next visit.
    pub async fn save(&self) {
        let saved = self.light.borrow().save();
        let reopened = self.store.reopened();
        self.store.put_bytes(HEAD, &saved).await;
        if self.store.reopened() != reopened && !identity::is_stored(&self.store).await {
            self.store
                .identity_lost("the site's data were cleared: this identity ends with this visit");
        }
    }

    /// Loads the head that [`Chain::save`] has stored.
    pub async fn saved(store: &Store) -> Option<Vec<u8>> {
        store.bytes(HEAD).await
    }

    /// Returns an entry of the newest state, or its proved absence, and the height of the proof.
    pub async fn entry(&self, key: Key) -> Result<(Option<Entry>, u64), NodeError> {
        let proved = self.prove(key).await?;
        Ok((proved.found, proved.header.header.height))
    }

    /// Returns an entry of the newest state, or its proved absence, with its proof.
    pub async fn prove(&self, key: Key) -> Result<Proved, NodeError> {
        let keys = [key];
        let request = Request::Prove { keys: BoundedVec::truncated(keys.iter().cloned()) };
        self.query(&request, ANSWER_TIMEOUT, |response| {
            let Response::Proved { header, entries } = response else {
                return Err(AnswerError::unexpected());
            };
            let height = header.header.height;
            let before = self.light.borrow().head().height;
            if height + STATE_LAG_MAX < before {
                return Err(AnswerError::Refused(Refusal::Busy));
            }
            let unverified = Unverified::new(header.clone());
            let found = self
                .light
                .borrow_mut()
                .read(&keys, unverified, &entries, now_ms())?
                .into_iter()
                .next()
                .flatten();
            if height > before {
                self.emit_head();
            }
            let entry =
                entries.into_vec().into_iter().next().ok_or_else(AnswerError::unexpected)?;
            Ok(Proved { found, header, entry })
        })
        .await
    }

    /// Returns a ref, with the height of its proof.
    pub async fn reference(
        &self,
        name: &str,
    ) -> Result<Option<(tequio_core::ledger::state::Ref, u64)>, NodeError> {
        let name = RefName::try_from(name)
            .map_err(|e| NodeError::Config(format!("the ref's name: {e}")))?;
        match self.entry(Key::Ref(name)).await? {
            (Some(Entry::Ref(r)), height) => Ok(Some((r, height))),
            _ => Ok(None),
        }
    }

    /// Returns a block whose bytes hash to its name.
    pub async fn block(&self, cid: Cid) -> Result<Verified<Block>, NodeError> {
        self.query(&Request::Object { cid }, ANSWER_TIMEOUT, |response| {
            let Response::Object(bytes) = response else { return Err(AnswerError::unexpected()) };
            let block = Unverified::new(Block { cid, bytes: bytes.into_vec() });
            block
                .verify()
                .map_err(|e| AnswerError::InvalidData { what: "object", detail: e.to_string() })
        })
        .await
    }

    /// Returns an object's contents, joined if they are stored in parts.
    pub async fn contents(&self, cid: Cid) -> Result<Vec<u8>, NodeError> {
        let block = self.block(cid).await?;
        if cid.codec == CidCodec::DagCbor && object::contents(block.clone()).is_err() {
            // Structured knowledge, not a list of parts: the contents are its own bytes.
            return Ok(block.into_inner().bytes);
        }
        match object::contents(block).map_err(|e| NodeError::BadObject(e.to_string()))? {
            Contents::Whole(bytes) => Ok(bytes),
            Contents::Parts { len, parts } => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(self.block(part).await?.into_inner().bytes);
                    if all.len() > len {
                        break;
                    }
                }
                if all.len() == len {
                    Ok(all)
                } else {
                    Err(NodeError::BadObject("its parts do not add up".into()))
                }
            }
        }
    }
}

/// A source may be this many blocks behind the head and still serve reads.
const STATE_LAG_MAX: u64 = 5;
