//! What must hold, whoever lies and whatever breaks. Each rule is checked as soon as it can be
//! broken.

use crate::{
    oath::Oaths,
    order,
    world::{CLOCK_SKEW_MS_MAX, World},
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    consensus::{Finalised, Offence},
    crypto::hash::{Context, hash_of},
    ledger::{
        Committee, Crime, MemberStatus, Phase, TransactionError, block::transactions_root, epoch,
        genesis::Checkpoint, seed, transaction::TransactionId,
    },
    light::{LightClient, LightError, Progress},
    types::{Digest, Epoch, Height, NodeId, TimeMs, Unverified, View},
    wire::{
        consensus::Message,
        light::{CommitteeHandover, FinalHeader},
    },
};

/// Heights whose votes are still watched, below the newest final one of the slowest host.
const OATHS_BEHIND: Height = 64;

/// Correct clocks are ahead of the world's by at most this, in any weather.
pub const CLOCK_AHEAD_MS_MAX: u64 = 1_100;

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// The block.
    pub digest: Digest,
    /// Its time.
    pub time_ms: TimeMs,
    /// When the first correct host had it, in world time.
    pub at_us: u64,
    /// The seed of the next block, where this one's proof gives one.
    next_seed: Option<Digest>,
}

/// The checkers of one run.
#[derive(Debug)]
pub struct Checkers {
    world: &'static World,
    /// By height, as the first correct host decided it.
    pub decided: BTreeMap<Height, Decided>,
    /// What clients have asked for, since it was last forgotten.
    pub submitted: BTreeSet<TransactionId>,
    /// What of it is final.
    pub included: BTreeSet<TransactionId>,
    correct: BTreeSet<NodeId>,
    /// Who was blamed for what.
    pub offences: Vec<(NodeId, Offence)>,
    /// Seats that the ledger would convict, and of what.
    pub crimes: BTreeSet<(usize, Crime)>,
    /// The first broken rule.
    pub violation: Option<String>,
    /// Of all that happened, in order: equal for equal seeds.
    pub trace: Digest,
    oaths: Oaths,
    /// Follows every new final header, like a browser.
    light: LightClient,
    /// By epoch.
    committees: BTreeMap<Epoch, Committee>,
    /// The committee handover of each epoch that has ended.
    pub handovers: Vec<CommitteeHandover>,
    /// Heights that a host has acknowledged as stored.
    stored: BTreeMap<usize, Height>,
}

impl Checkers {
    /// Of a run in which these seats are at fault.
    pub fn new(world: &'static World, faulty: &[usize]) -> Self {
        let correct = (0..world.keys.len()).filter(|seat| !faulty.contains(seat));
        let genesis = &world.start.header;
        let (digest, time_ms, next_seed) =
            (genesis.digest(), genesis.time_ms, Some(order::first_seed(&genesis.chain)));
        let first = Decided { digest, time_ms, at_us: genesis.time_ms * 1000, next_seed };
        let (committee, trust_ms) =
            (world.start.committee.record().clone(), world.start.params.trust_period_ms);
        let checkpoint = Checkpoint::new(genesis.clone(), None, committee, trust_ms);
        Self {
            world,
            decided: BTreeMap::from([(0, first)]),
            submitted: BTreeSet::new(),
            included: BTreeSet::new(),
            correct: correct.map(|seat| world.keys[seat].0.id()).collect(),
            offences: Vec::new(),
            crimes: BTreeSet::new(),
            violation: None,
            trace: Digest::default(),
            oaths: Oaths::default(),
            light: LightClient::start(&checkpoint.encode(), None, genesis.time_ms).unwrap(),
            committees: BTreeMap::from([(0, world.start.committee.clone())]),
            handovers: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    /// A rule is broken; the first one counts.
    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Something happened.
    pub fn note(&mut self, what: &impl borsh::BorshSerialize) {
        self.trace = hash_of(Context::Vote, &(self.trace, what));
    }

    /// A host says something, truthful or not.
    pub fn said(&mut self, seat: usize, is_correct: bool, message: &Message) {
        let world = self.world;
        let (height, said) = (message.height(), epoch_of(message));
        let due = epoch::of(&world.start.params, height);
        if !is_correct {
            return self
                .oaths
                .hear(seat, message, self.committees.get(&due), |node| world.member(node));
        }
        if said != due {
            return self.fail(format!(
                "epoch: member {seat} says epoch {said} of height {height}, which is of {due}"
            ));
        }
        let Some(committee) = self.committees.get(&due) else {
            return self.fail(format!(
                "epoch: member {seat} speaks of epoch {due}, which no turn has begun"
            ));
        };
        let is_seated = committee.seat_of(&world.keys[seat].0.id()).is_some();
        if !is_seated && !matches!(message, Message::Finalised(_)) {
            return self
                .fail(format!("epoch: member {seat} has no seat in epoch {due} and decides"));
        }
        let below = height.saturating_sub(1);
        let is_ahead = !self.decided.contains_key(&below);
        if is_ahead
            && (seed::ends_term(&world.start.params, below)
                || !self.decided.contains_key(&(height.saturating_sub(2))))
        {
            return self
                .fail(format!("oath: member {seat} speaks of height {height} before its time"));
        }
        if let Err(broken) =
            self.oaths.say(seat, message, is_ahead, committee, |node| world.member(node))
        {
            self.fail(broken);
        }
    }

    /// A correct host has locked a block.
    pub fn locked(&mut self, seat: usize, height: Height, view: View, digest: Digest) {
        if view == 0 {
            self.oaths.locked(seat, height, digest);
        }
    }

    /// A correct host says that a block is final.
    pub fn finalised(&mut self, host: usize, finalised: &Finalised, now_us: u64) {
        let Finalised { block, certificate, outcome } = finalised;
        let header = &block.header;
        let digest = header.digest();
        self.note(&(host as u64, digest));
        let decision = Decided {
            digest,
            time_ms: header.time_ms,
            at_us: now_us,
            next_seed: order::seed_after(header),
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
        // What a light client would believe, and follow where it is new.
        let shown = Unverified::new(FinalHeader {
            header: header.clone(),
            certificate: Some(certificate.clone()),
        });
        let due = epoch::of(&self.world.start.params, header.height);
        let verdict = self.committees.get(&due).map(|committee| {
            let (chain, vote) = (&self.world.start.chain, &certificate.vote);
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
            Ok(Progress::EpochEnd) if is_first => self.turned(finalised, now_us / 1000),
            Ok(Progress::Advanced | Progress::Known | Progress::Older | Progress::EpochEnd)
            | Err(LightError::Past(_)) => {}
            Err(error) => self.fail(format!("light: {error}")),
        }
        let next = self.committees.get(&epoch::of(&self.world.start.params, header.height + 1));
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
                    .map(|(seed, committee)| order::fault(header, committee, &seed));
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
        if header.proof.is_some() != seed::ends_term(&self.world.start.params, header.height) {
            self.fail(format!(
                "seed: height {} bears a proof where none is due, or none",
                header.height
            ));
        }
        if header.time_ms > now_us / 1000 + CLOCK_SKEW_MS_MAX + CLOCK_AHEAD_MS_MAX {
            self.fail(format!("time: the block of height {} is from the future", header.height));
        }
        // Only what clients have asked for, and that only once.
        for (signed, receipt) in block.transactions.iter().zip(&outcome.receipts) {
            let id = signed.id();
            if !self.submitted.contains(&id) {
                self.fail(format!(
                    "validity: height {} has a transaction that nobody submitted",
                    header.height
                ));
            }
            // What fails for what it asks is done with, too.
            let is_done = !matches!(receipt.result, Err(TransactionError::Nonce { .. }));
            if is_first && is_done && !self.included.insert(id) {
                self.fail(format!(
                    "validity: height {} applies a transaction again",
                    header.height
                ));
            }
        }
    }

    /// The end of an epoch: the next committee is one that may follow, and those who are gone still
    /// answer for what they did.
    fn turned(&mut self, finalised: &Finalised, now_ms: TimeMs) {
        let (header, state) = (&finalised.block.header, &finalised.outcome.state);
        let next = header.epoch + 1;
        let Some(record) = state.committee(next) else {
            return self.fail(format!("epoch: no committee follows at height {}", header.height));
        };
        let before = &self.committees[&header.epoch];
        let committee = match before.successor(record.clone(), &self.world.start.chain) {
            Ok(committee) => committee,
            Err(error) => {
                return self.fail(format!("possession: the committee of epoch {next}: {error}"));
            }
        };
        let old = before.seats();
        if !epoch::overlaps(old, committee.seats()) {
            return self.fail(format!("overlap: epoch {next} keeps too little of the one before"));
        }
        // A conviction takes a seat at once, and what it leaves comes into balance at the next
        // turns.
        if self.crimes.is_empty() && !epoch::is_balanced(committee.seats()) {
            return self.fail(format!("share: a seat of epoch {next} can stop the others alone"));
        }
        for gone in old.iter().filter(|seat| committee.seat_of(&seat.node).is_none()) {
            let is_bound = state.account(&gone.node).is_some_and(|account| account.bond > 0);
            let waits = matches!(
                state.member(&gone.node).map(|member| member.status),
                Some(MemberStatus::Unbonding { until_ms }) if until_ms > header.time_ms + self.world.start.params.trust_period_ms / 2
            );
            if state.conviction(&gone.node).is_none() && !(is_bound && waits) {
                return self
                    .fail(format!("bond: {:?} has left and answers for nothing", gone.node));
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

    /// A client that knows the first committee only follows the handovers to the last one, and
    /// accepts its newest header.
    pub fn follow_handovers(&mut self) {
        let (world, newest) = (self.world, self.light.head().clone());
        let start = &world.start;
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

    /// A correct host has acknowledged that a block is stored.
    pub fn stored(&mut self, host: usize, height: Height) {
        self.stored.insert(host, height);
        if let Some(lowest) = self.stored.values().min() {
            self.oaths.forget_below(lowest.saturating_sub(OATHS_BEHIND));
        }
    }

    /// A correct host starts with this store.
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

    /// Correct members blame liars only.
    pub fn offence(&mut self, by: usize, peer: NodeId, offence: &Offence) {
        if self.correct.contains(&peer) {
            self.fail(format!("blame: host {by} accuses the correct {peer:?}: it {offence}"));
        }
        if let Some(evidence) = offence.evidence() {
            let start = &self.world.start;
            let verdict = self
                .committees
                .get(&evidence.epoch())
                .map(|c| evidence.verify(&peer, &start.chain, c));
            match (verdict, self.world.member(&peer)) {
                (Some(Ok(crime)), Some(seat)) => drop(self.crimes.insert((seat, crime))),
                (verdict, _) => self.fail(format!(
                    "evidence: host {by}'s does not convince the ledger: {verdict:?}"
                )),
            }
        }
        self.offences.push((peer, offence.clone()));
    }

    /// Nobody speaks of heights this far below any more, nor of who was blamed there.
    pub fn forget_below(&mut self, height: Height) {
        self.committees = self.committees.split_off(&epoch::of(&self.world.start.params, height));
        self.offences.clear();
    }

    /// The newest decision.
    pub fn height(&self) -> Height {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }
}

/// The epoch that a message names.
fn epoch_of(message: &Message) -> Epoch {
    match message {
        Message::Proposal(proposal) => proposal.block.header.epoch,
        Message::Vote(signed) => signed.vote.epoch,
        Message::ViewChange { change, .. } => change.change.epoch,
        Message::Finalised(certificate) | Message::Prepared(certificate) => certificate.vote.epoch,
    }
}
