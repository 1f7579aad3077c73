//! Rules that must hold whatever the faults. Each rule is checked as soon as it can be broken.

use crate::{
    chain_fixture::{CLOCK_SKEW_MS_MAX, ChainFixture},
    leader_oracle,
    protocol_monitor::ProtocolMonitor,
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    consensus::{Finalised, Offence},
    crypto::hash::{HashContext, hash_of},
    ledger::{
        Committee, ConvictionReason, MemberStatus, Phase, TransactionError,
        block::transactions_root, epoch, genesis::Checkpoint, leader_seed,
        transaction::TransactionId,
    },
    light::{LightClient, LightError, Progress},
    types::{Digest, Epoch, Height, NodeId, TimeMs, Unverified, View},
    wire::{
        consensus::Message,
        light::{CommitteeHandover, FinalHeader},
    },
};

/// Heights below the newest final one of the slowest host whose votes are still checked.
const MONITOR_HEIGHTS: Height = 64;

/// Largest lead of a correct clock over the true time, in any fault profile.
pub const CLOCK_AHEAD_MS_MAX: u64 = 1_100;

/// A decision.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// The digest of the block.
    pub digest: Digest,
    /// The time of the block.
    pub time_ms: TimeMs,
    /// The true time at which the first correct host had the block.
    pub at_us: u64,
    /// The seed of the next block, if the proof of this block gives one.
    next_seed: Option<Digest>,
}

/// The checkers of one run.
#[derive(Debug)]
pub struct Checkers {
    fixture: &'static ChainFixture,
    /// Decisions by height, as the first correct host made them.
    pub decided: BTreeMap<Height, Decided>,
    /// Transactions that clients have submitted, since the last reset.
    pub submitted: BTreeSet<TransactionId>,
    /// Those of them that are final.
    pub included: BTreeSet<TransactionId>,
    correct: BTreeSet<NodeId>,
    /// Blamed members, with the reasons.
    pub offences: Vec<(NodeId, Offence)>,
    /// Seats that the ledger would convict, with the evidence.
    pub conviction_reasons: BTreeSet<(usize, ConvictionReason)>,
    /// The first broken rule.
    pub violation: Option<String>,
    /// Hash over all events in order: equal for equal seeds.
    pub trace: Digest,
    monitor: ProtocolMonitor,
    /// A light client that follows every new final header, like a browser.
    light: LightClient,
    /// Committees by epoch.
    committees: BTreeMap<Epoch, Committee>,
    /// The committee handover of each epoch that has ended.
    pub handovers: Vec<CommitteeHandover>,
    /// Heights that a host has acknowledged as stored.
    stored: BTreeMap<usize, Height>,
}

impl Checkers {
    /// Creates the checkers of a run in which these seats are faulty.
    pub fn new(fixture: &'static ChainFixture, faulty: &[usize]) -> Self {
        let correct = (0..fixture.keys.len()).filter(|seat| !faulty.contains(seat));
        let genesis = &fixture.genesis.header;
        let (digest, time_ms, next_seed) =
            (genesis.digest(), genesis.time_ms, Some(leader_oracle::first_seed(&genesis.chain)));
        let first = Decided { digest, time_ms, at_us: genesis.time_ms * 1000, next_seed };
        let (committee, trust_ms) =
            (fixture.genesis.committee.record().clone(), fixture.genesis.params.trust_period_ms);
        let checkpoint = Checkpoint::new(genesis.clone(), None, committee, trust_ms);
        Self {
            fixture,
            decided: BTreeMap::from([(0, first)]),
            submitted: BTreeSet::new(),
            included: BTreeSet::new(),
            correct: correct.map(|seat| fixture.keys[seat].0.id()).collect(),
            offences: Vec::new(),
            conviction_reasons: BTreeSet::new(),
            violation: None,
            trace: Digest::default(),
            monitor: ProtocolMonitor::default(),
            light: LightClient::start(&checkpoint.encode(), None, genesis.time_ms).unwrap(),
            committees: BTreeMap::from([(0, fixture.genesis.committee.clone())]),
            handovers: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Records a broken rule; only the first one counts.
    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Adds an event to the trace.
    pub fn record_event(&mut self, what: &impl borsh::BorshSerialize) {
        self.trace = hash_of(HashContext::Vote, &(self.trace, what));
    }

    /// Checks a message of any host, correct or Byzantine.
    pub fn message_sent(&mut self, seat: usize, is_correct: bool, message: &Message) {
        let fixture = self.fixture;
        let (height, named) = (message.height(), epoch_of(message));
        let due = epoch::at_height(&fixture.genesis.params, height);
        if !is_correct {
            return self
                .monitor
                .observe(seat, message, self.committees.get(&due), |node| fixture.member(node));
        }
        if named != due {
            return self.fail(format!(
                "epoch: member {seat} names epoch {named} for height {height}, which is of {due}"
            ));
        }
        let Some(committee) = self.committees.get(&due) else {
            return self
                .fail(format!("epoch: member {seat} names epoch {due}, which has not begun"));
        };
        let is_seated = committee.seat_of(&fixture.keys[seat].0.id()).is_some();
        if !is_seated && !matches!(message, Message::CommitCertificate(_)) {
            return self
                .fail(format!("epoch: member {seat} has no seat in epoch {due} and decides"));
        }
        let below = height.saturating_sub(1);
        let is_ahead = !self.decided.contains_key(&below);
        if is_ahead
            && (leader_seed::ends_leader_term(&fixture.genesis.params, below)
                || !self.decided.contains_key(&(height.saturating_sub(2))))
        {
            return self.fail(format!(
                "protocol: member {seat} sends messages of height {height} too early"
            ));
        }
        if let Err(broken) =
            self.monitor.check_sent(seat, message, is_ahead, committee, |node| fixture.member(node))
        {
            self.fail(broken);
        }
    }

    /// Records that a correct host has locked a block.
    pub fn block_locked(&mut self, seat: usize, height: Height, view: View, digest: Digest) {
        if view == 0 {
            self.monitor.record_lock(seat, height, digest);
        }
    }

    /// Checks a block that a correct host has reported as final.
    pub fn finalised(&mut self, host: usize, finalised: &Finalised, now_us: u64) {
        let Finalised { block, certificate, outcome } = finalised;
        let header = &block.header;
        let digest = header.digest();
        self.record_event(&(host as u64, digest));
        let decision = Decided {
            digest,
            time_ms: header.time_ms,
            at_us: now_us,
            next_seed: leader_oracle::seed_after(header),
        };
        let is_first = !self.decided.contains_key(&header.height);
        let first = *self.decided.entry(header.height).or_insert(decision);
        if first.digest != digest {
            self.fail(format!("agreement: two blocks at height {}", header.height));
        }
        if outcome.state.root() != header.state {
            self.fail(format!(
                "state: host {host} has another state than the header of height {}",
                header.height
            ));
        }
        // A light client must accept the header, and follow it if it is new.
        let shown = Unverified::new(FinalHeader {
            header: header.clone(),
            certificate: Some(certificate.clone()),
        });
        let due = epoch::at_height(&self.fixture.genesis.params, header.height);
        let verdict = self.committees.get(&due).map(|committee| {
            let (chain, vote) = (&self.fixture.genesis.chain, &certificate.vote);
            let same = (vote.height, vote.digest) == (header.height, digest) && header.epoch == due;
            same && Unverified::new(certificate.clone())
                .verify(chain, Phase::Commit, committee)
                .is_ok()
        });
        if verdict != Some(true) {
            self.fail(format!(
                "certificate: height {} is final without one of epoch {due}",
                header.height
            ));
        }
        match self.light.follow(shown, now_us / 1000) {
            Ok(Progress::EpochEnd) if is_first => self.epoch_ended(finalised, now_us / 1000),
            Ok(Progress::Advanced | Progress::Known | Progress::Older | Progress::EpochEnd)
            | Err(LightError::PastEpoch(_)) => {}
            Err(error) => self.fail(format!("light: {error}")),
        }
        let next =
            self.committees.get(&epoch::at_height(&self.fixture.genesis.params, header.height + 1));
        if next.is_none_or(|committee| committee.record().digest() != header.next_committee) {
            self.fail(format!(
                "epoch: height {} names another committee for the next block",
                header.height
            ));
        }
        match self.decided.get(&(header.height - 1)) {
            Some(parent) if parent.digest == header.parent && parent.time_ms < header.time_ms => {
                let (seed, committee) = (parent.next_seed, self.committees.get(&due));
                let fault = seed
                    .zip(committee)
                    .map(|(seed, committee)| leader_oracle::header_error(header, committee, &seed));
                if let Some(what) = fault.unwrap_or(Some("follows a proof that gives no seed")) {
                    self.fail(format!("order: the block of height {} {what}", header.height));
                }
            }
            _ => self.fail(format!("chain: height {} does not follow its parent", header.height)),
        }
        if header.transactions != transactions_root(&block.transactions) {
            self.fail(format!(
                "transactions: the header of height {} has another root",
                header.height
            ));
        }
        if header.proof.is_some()
            != leader_seed::ends_leader_term(&self.fixture.genesis.params, header.height)
        {
            self.fail(format!(
                "seed: height {} has a proof where none is due, or lacks one",
                header.height
            ));
        }
        if header.time_ms > now_us / 1000 + CLOCK_SKEW_MS_MAX + CLOCK_AHEAD_MS_MAX {
            self.fail(format!("time: the block of height {} is from the future", header.height));
        }
        // A block contains only transactions that clients have submitted, each once.
        for (signed, receipt) in block.transactions.iter().zip(&outcome.receipts) {
            let id = signed.id();
            if !self.submitted.contains(&id) {
                self.fail(format!(
                    "validity: height {} has a transaction that no client submitted",
                    header.height
                ));
            }
            // A transaction that fails when it is executed is final, too.
            let is_done = !matches!(receipt.result, Err(TransactionError::WrongNonce { .. }));
            if is_first && is_done && !self.included.insert(id) {
                self.fail(format!(
                    "validity: height {} applies a transaction again",
                    header.height
                ));
            }
        }
    }

    /// Checks the end of an epoch: the next committee must be allowed to follow, and members that
    /// have left must still have a locked bond.
    fn epoch_ended(&mut self, finalised: &Finalised, now_ms: TimeMs) {
        let (header, state) = (&finalised.block.header, &finalised.outcome.state);
        let next = header.epoch + 1;
        let Some(record) = state.committee(next) else {
            return self.fail(format!("epoch: no committee follows at height {}", header.height));
        };
        let before = &self.committees[&header.epoch];
        let committee = match before.successor(record.clone(), &self.fixture.genesis.chain) {
            Ok(committee) => committee,
            Err(error) => {
                return self.fail(format!("possession: the committee of epoch {next}: {error}"));
            }
        };
        let old = before.seats();
        if !epoch::overlaps(old, committee.seats()) {
            return self.fail(format!("overlap: epoch {next} keeps too little of the one before"));
        }
        // A conviction removes a seat at once, and the remaining weights come into balance at the
        // next epoch boundaries.
        if self.conviction_reasons.is_empty() && !epoch::is_balanced(committee.seats()) {
            return self.fail(format!("share: a seat of epoch {next} can stop the others alone"));
        }
        for former in old.iter().filter(|seat| committee.seat_of(&seat.node).is_none()) {
            let is_bound = state.account(&former.node).is_some_and(|account| account.bond > 0);
            let waits = matches!(
                state.member(&former.node).map(|member| member.status),
                Some(MemberStatus::Unbonding { until_ms })
                    if until_ms > header.time_ms + self.fixture.genesis.params.trust_period_ms / 2
            );
            if state.conviction(&former.node).is_none() && !(is_bound && waits) {
                return self
                    .fail(format!("bond: {:?} has left and answers for nothing", former.node));
            }
        }
        let header = FinalHeader {
            header: header.clone(),
            certificate: Some(finalised.certificate.clone()),
        };
        let handover = CommitteeHandover::new(header, before.record(), record);
        if let Err(error) = self.light.follow_handovers(1, vec![handover.clone()], now_ms) {
            return self.fail(format!("light: {error}"));
        }
        self.handovers.push(handover);
        self.committees.insert(next, committee);
    }

    /// Checks that a client with only the first committee can follow the handovers to the last one
    /// and accept its newest header.
    pub fn follow_handovers(&mut self) {
        let (fixture, newest) = (self.fixture, self.light.head().clone());
        let start = &fixture.genesis;
        let (committee, trust_ms) =
            (start.committee.record().clone(), start.params.trust_period_ms);
        let checkpoint = Checkpoint::new(start.header.clone(), None, committee, trust_ms).encode();
        let mut light = LightClient::start(&checkpoint, None, start.header.time_ms).unwrap();
        let (handovers, now_ms) = (self.handovers.clone(), newest.time_ms);
        let certificate = self.light.certificate().cloned();
        let followed = light.follow_handovers(handovers.len(), handovers, now_ms).and_then(|_| {
            light.follow(Unverified::new(FinalHeader { header: newest, certificate }), now_ms)
        });
        match followed {
            Ok(Progress::Advanced | Progress::Known) => {}
            other => self.fail(format!("handovers: {other:?}")),
        }
    }

    /// Records that a correct host has acknowledged a block as stored.
    pub fn stored(&mut self, host: usize, height: Height) {
        self.stored.insert(host, height);
        if let Some(lowest) = self.stored.values().min() {
            self.monitor.prune_below(lowest.saturating_sub(MONITOR_HEIGHTS));
        }
    }

    /// Checks the store with which a correct host starts.
    pub fn restarted(&mut self, host: usize, height: Height, digest: &Digest) {
        if self.stored.get(&host).is_some_and(|stored| *stored > height) {
            self.fail(format!(
                "durability: host {host} has lost final blocks above height {height}"
            ));
        }
        if self.decided.get(&height).is_some_and(|decided| decided.digest != *digest) {
            self.fail(format!("durability: host {host} has another block at height {height}"));
        }
    }

    /// Checks that correct members blame only Byzantine ones.
    pub fn offence(&mut self, by: usize, peer: NodeId, offence: &Offence) {
        if self.correct.contains(&peer) {
            self.fail(format!("blame: host {by} accuses the correct {peer:?}: it {offence}"));
        }
        if let Some(evidence) = offence.evidence() {
            let start = &self.fixture.genesis;
            let verdict = self
                .committees
                .get(&evidence.epoch())
                .map(|c| evidence.verify(&peer, &start.chain, c));
            match (verdict, self.fixture.member(&peer)) {
                (Some(Ok(crime)), Some(seat)) => {
                    self.conviction_reasons.insert((seat, crime));
                }
                (verdict, _) => self.fail(format!(
                    "evidence: host {by}'s does not convince the ledger: {verdict:?}"
                )),
            }
        }
        self.offences.push((peer, offence.clone()));
    }

    /// Drops the records of heights this far below, about which no message or blame can follow.
    pub fn prune_below(&mut self, height: Height) {
        self.committees =
            self.committees.split_off(&epoch::at_height(&self.fixture.genesis.params, height));
        self.offences.clear();
    }

    /// Returns the newest decision.
    pub fn height(&self) -> Height {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }
}

/// Returns the epoch that a message names.
fn epoch_of(message: &Message) -> Epoch {
    match message {
        Message::Proposal(proposal) => proposal.block.header.epoch,
        Message::Vote(signed) => signed.vote.epoch,
        Message::ViewChange { change, .. } => change.change.epoch,
        Message::CommitCertificate(certificate) | Message::PrepareCertificate(certificate) => {
            certificate.vote.epoch
        }
    }
}
