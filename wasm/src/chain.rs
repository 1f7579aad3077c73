//! Verified reads: every question goes to one source after the other until an answer verifies.

use crate::{
    error::NodeError,
    event::{Emitter, Event},
    identity,
    known::Known,
    sources::Sources,
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
    knowledge::{
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

/// How long an ordinary question may take.
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Committee handovers in one question.
const HANDOVERS_AT_ONCE: Epoch = 128;
/// Committee handovers verified without a pause.
const HANDOVERS_PER_SLICE: usize = 4;
const HEAD: &str = "head";

/// What all parts of the node share. One thread: the page's.
pub struct Chain {
    pub network: Network,
    pub me: NodeId,
    pub light: RefCell<LightClient>,
    pub sources: RefCell<Sources>,
    pub emitter: Emitter,
    pub store: Store,
    pub jobs: RefCell<BTreeMap<JobId, JobProgress>>,
    /// Set when the jobs have been read for the first time.
    pub jobs_known: Known,
    /// When the head arrived, by a clock that nobody can set.
    pub arrived: Cell<Instant>,
    /// The longest time between two blocks; 0 while unknown.
    pub interval_ms: Cell<u64>,
}

/// A head is stale if none has followed for so many of the longest times between two blocks.
const STALE_INTERVALS: u64 = 3;

/// An entry, and what proves it.
pub struct Proved {
    /// The entry; none where it is proved absent.
    pub found: Option<Entry>,
    /// The header that the proof leads to.
    pub header: FinalHeader,
    /// The proof.
    pub entry: ProvedEntry,
}

/// What is wrong with an answer.
pub enum Fault {
    /// The source's data is wrong.
    Lie { what: &'static str, detail: String },
    /// The source says no.
    Refused(Refusal),
    /// The chain itself has forked.
    Forked(LightError),
    /// The source is in a later epoch: the committee handovers before it come first.
    Ahead(LightError),
    /// This node slept for longer than it may believe its committee.
    Outdated(LightError),
}

impl From<LightError> for Fault {
    fn from(e: LightError) -> Self {
        let what = match &e {
            LightError::Forked(_) => return Self::Forked(e),
            LightError::Outdated => return Self::Outdated(e),
            LightError::Ahead { .. } => return Self::Ahead(e),
            // The source is behind, by a whole epoch: that is no lie.
            LightError::Past(_) => return Self::Refused(Refusal::NothingNew),
            LightError::Handover(_) => "committee",
            LightError::WrongHeader
            | LightError::NoCertificate
            | LightError::Leader
            | LightError::Time => "header",
            LightError::Certificate(_) => "certificate",
            LightError::Entry(_) | LightError::Count { .. } => "proof",
        };
        Self::Lie { what, detail: e.to_string() }
    }
}

impl Fault {
    pub fn unexpected() -> Self {
        Self::Lie { what: "answer", detail: "an answer to another question".into() }
    }
}

pub fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

impl Chain {
    /// Asks until an answer passes `check`. Refusals move on to the next source; lies are
    /// remembered.
    pub async fn ask<T>(
        &self,
        request: &Request,
        wait: Duration,
        mut check: impl FnMut(Response) -> Result<T, Fault>,
    ) -> Result<T, NodeError> {
        let body = codec::encode(request);
        let mut tried = Vec::new();
        let mut last = NodeError::Unavailable("no source is connected".into());
        loop {
            let connected: Vec<NodeId> = self.network.peers().into_iter().map(|p| p.id).collect();
            if !connected.is_empty()
                && connected.iter().all(|node| self.sources.borrow().has_lied(node))
            {
                return Err(NodeError::AllSourcesLied);
            }
            let chosen = self.sources.borrow_mut().choose(&connected, &tried);
            let Some(peer) = chosen else { return Err(last) };
            tried.push(peer);
            let answer = match self.network.request(peer, Protocol::Light, body.clone(), wait).await
            {
                Ok(bytes) => codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX),
                Err(e) => {
                    self.sources.borrow_mut().failed(peer);
                    last = NodeError::Unavailable(e.to_string());
                    continue;
                }
            };
            let checked = match answer {
                Ok(Response::Refused(refusal)) => Err(Fault::Refused(refusal)),
                Ok(response) => check(response),
                Err(e) => Err(Fault::Lie { what: "encoding", detail: e.to_string() }),
            };
            match checked {
                Ok(value) => {
                    self.sources.borrow_mut().succeeded(peer);
                    return Ok(value);
                }
                Err(Fault::Refused(refusal @ (Refusal::NothingNew | Refusal::NotFound))) => {
                    last = NodeError::NotFound(refusal.to_string());
                }
                Err(Fault::Refused(refusal)) => last = NodeError::Unavailable(refusal.to_string()),
                Err(Fault::Ahead(e)) => match self.follow_handovers(peer, &e).await {
                    Ok(0) => last = NodeError::Unavailable(e.to_string()),
                    // Asked again, with the committee that it takes to believe the answer.
                    Ok(_) => drop(tried.pop()),
                    Err(Fault::Lie { what, detail }) => self.expose(peer, what, detail),
                    Err(Fault::Forked(e)) => return Err(self.forked(e)),
                    Err(Fault::Outdated(e)) => return Err(NodeError::Outdated(e)),
                    Err(Fault::Refused(_) | Fault::Ahead(_)) => {
                        last = NodeError::Unavailable(e.to_string())
                    }
                },
                Err(Fault::Outdated(e)) => return Err(NodeError::Outdated(e)),
                Err(Fault::Lie { what, detail }) => self.expose(peer, what, detail),
                Err(Fault::Forked(e)) => return Err(self.forked(e)),
            }
        }
    }

    fn forked(&self, e: LightError) -> NodeError {
        self.emitter.emit(&Event::Alarm { detail: e.to_string() });
        NodeError::Forked(e)
    }

    /// Follows the committee handovers of a source to the epoch of the header that came too early,
    /// page by page. Returns how many epochs later the known committee is. Each page is announced
    /// as the new head, and kept for the next visit.
    async fn follow_handovers(&self, peer: NodeId, ahead: &LightError) -> Result<usize, Fault> {
        let started_at = self.light.borrow().committee().epoch();
        let LightError::Ahead { found: target, .. } = *ahead else { return Ok(0) };
        loop {
            let from = self.light.borrow().committee().epoch();
            let count = target.saturating_sub(from).min(HANDOVERS_AT_ONCE);
            let held =
                if count == 0 { 0 } else { self.follow_page(peer, from, count as u16).await? };
            if held == 0 {
                return Ok((from - started_at) as usize);
            }
            self.announce_head();
            self.save().await;
        }
    }

    /// One page of handovers. Returns how many epochs later the known committee is.
    async fn follow_page(&self, peer: NodeId, from: Epoch, count: u16) -> Result<usize, Fault> {
        let body = codec::encode(&Request::Handovers { from, count });
        let Ok(bytes) = self.network.request(peer, Protocol::Light, body, ANSWER_WAIT).await else {
            return Ok(0);
        };
        let page = match codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX) {
            Ok(Response::Handovers(handovers)) => handovers.into_vec(),
            Ok(Response::Refused(refusal)) => return Err(Fault::Refused(refusal)),
            Ok(_) => return Err(Fault::unexpected()),
            Err(e) => return Err(Fault::Lie { what: "encoding", detail: e.to_string() }),
        };
        if page.len() > usize::from(count) {
            return Err(LightError::Count { asked: count.into(), found: page.len() }.into());
        }
        for handovers in page.chunks(HANDOVERS_PER_SLICE) {
            self.follow_slice(handovers)?;
            // Lets the page work in between: one certificate takes milliseconds.
            yield_to_page().await;
        }
        Ok(self.light.borrow().committee().epoch().saturating_sub(from) as usize)
    }

    /// Follows the handovers that no other question has led past meanwhile.
    fn follow_slice(&self, handovers: &[CommitteeHandover]) -> Result<(), Fault> {
        let mut light = self.light.borrow_mut();
        let known = light.committee().epoch();
        let new: Vec<_> =
            handovers.iter().skip_while(|handover| handover.epoch() < known).cloned().collect();
        light.follow_handovers(new.len(), new, now_ms())?;
        Ok(())
    }

    /// Names a liar and stops asking it.
    fn expose(&self, peer: NodeId, what: &'static str, detail: String) {
        if self.sources.borrow_mut().lied(peer) {
            self.emitter.emit(&Event::Lie { peer: peer.to_string(), what, detail });
        }
    }

    /// Waits for a final header above the head, up to `wait`. Returns whether there is one.
    pub async fn advance(&self, wait: Duration) -> Result<bool, NodeError> {
        let after = self.light.borrow().head().height;
        let request = Request::Head { after, wait_ms: wait.as_millis() as u32 };
        let answer = self
            .ask(&request, wait + ANSWER_WAIT, |response| match response {
                Response::Header(header) => Ok(self.follow(header)?),
                _ => Err(Fault::unexpected()),
            })
            .await;
        match answer {
            // Also by the committee handovers on the way to the answer, of which the last may be
            // its header.
            Ok(_) => Ok(self.light.borrow().head().height > after),
            Err(NodeError::NotFound(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn follow(&self, header: FinalHeader) -> Result<Progress, Fault> {
        let (found, known) =
            (header.header.epoch.saturating_add(1), self.light.borrow().committee().epoch());
        let progress = self.light.borrow_mut().follow(Unverified::new(header), now_ms())?;
        if progress == Progress::EpochEnd {
            // Final, but the next committee has to be known first.
            return Err(Fault::Ahead(LightError::Ahead { found, known }));
        }
        if progress == Progress::Advanced {
            self.announce_head();
        }
        Ok(progress)
    }

    /// Records the arrival of a head, and reports it to the page.
    pub fn announce_head(&self) {
        self.arrived.set(Instant::now());
        let light = self.light.borrow();
        let Header { height, time_ms, .. } = *light.head();
        let signers = light.certificate().map_or(0, |c| c.seats().count());
        let committee = light.deciders().map(|committee| committee.seats().len());
        self.emitter.emit(&Event::Head {
            height,
            time_ms,
            hash: light.digest().to_string(),
            signers,
            committee,
        });
    }

    /// How long ago the head arrived, if a newer one is overdue. The device's clock has no part in
    /// it.
    pub fn overdue_ms(&self) -> Option<u64> {
        let age_ms = self.arrived.get().elapsed().as_millis() as u64;
        let limit_ms = self.interval_ms.get().saturating_mul(STALE_INTERVALS);
        (limit_ms > 0 && age_ms > limit_ms).then_some(age_ms)
    }

    /// Reads how often a block must come, if that is not known yet.
    pub async fn read_interval(&self) -> Result<(), NodeError> {
        if self.interval_ms.get() == 0
            && let (Some(Entry::Params(params)), _) = self.entry(Key::Params).await?
        {
            self.interval_ms.set(params.block_interval_ms_max);
        }
        Ok(())
    }

    /// Keeps the head for the next visit.
    pub async fn save(&self) {
        let saved = self.light.borrow().save();
        let reopened = self.store.reopened();
        self.store.put_bytes(HEAD, &saved).await;
        if self.store.reopened() != reopened && !identity::is_stored(&self.store).await {
            self.store
                .identity_lost("the site's data were cleared: this identity ends with this visit");
        }
    }

    /// What was kept by [`Chain::save`].
    pub async fn saved(store: &Store) -> Option<Vec<u8>> {
        store.bytes(HEAD).await
    }

    /// An entry of the newest state, or its proved absence, and the height at which it was proved.
    pub async fn entry(&self, key: Key) -> Result<(Option<Entry>, u64), NodeError> {
        let proved = self.prove(key).await?;
        Ok((proved.found, proved.header.header.height))
    }

    /// An entry of the newest state, or its proved absence, with what proves it.
    pub async fn prove(&self, key: Key) -> Result<Proved, NodeError> {
        let keys = [key];
        let request = Request::Prove { keys: BoundedVec::truncated(keys.iter().cloned()) };
        self.ask(&request, ANSWER_WAIT, |response| {
            let Response::Proved { header, entries } = response else {
                return Err(Fault::unexpected());
            };
            let height = header.header.height;
            let before = self.light.borrow().head().height;
            if height + STATE_LAG_MAX < before {
                return Err(Fault::Refused(Refusal::Busy));
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
                self.announce_head();
            }
            let entry = entries.into_vec().into_iter().next().ok_or_else(Fault::unexpected)?;
            Ok(Proved { found, header, entry })
        })
        .await
    }

    /// A ref, with the height at which it was proved.
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

    /// A block whose bytes hash to its name.
    pub async fn block(&self, cid: Cid) -> Result<Verified<Block>, NodeError> {
        self.ask(&Request::Object { cid }, ANSWER_WAIT, |response| {
            let Response::Object(bytes) = response else { return Err(Fault::unexpected()) };
            let block = Unverified::new(Block { cid, bytes: bytes.into_vec() });
            block.verify().map_err(|e| Fault::Lie { what: "object", detail: e.to_string() })
        })
        .await
    }

    /// An object's contents, joined where it was cut into parts.
    pub async fn contents(&self, cid: Cid) -> Result<Vec<u8>, NodeError> {
        let block = self.block(cid).await?;
        if cid.codec == CidCodec::DagCbor && object::contents(block.clone()).is_err() {
            // Structured knowledge, not a list of parts: its own bytes.
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

/// A source may be so many blocks behind the head and still be read from.
const STATE_LAG_MAX: u64 = 5;
