//! The machine itself: its state, its construction from what the store has, and the way of an input
//! through it.

use super::{
    ahead::Asked,
    catch_up::CatchUp,
    collect::VotesTo,
    error::{Error, RestoreError, SnapshotError},
    future::Future,
    input::Input,
    instance::Instance,
    outbox::Outbox,
    output::Output,
    pace::{Pace, Pipeline},
    timing::Timing,
    validate::Remembered,
};
use crate::{
    crypto::{NodeKey, bls, vrf},
    ledger::{
        Block, Certificate, Committee, Header, Params, Phase, Seat, State, Vote,
        committee::CommitteeRecord, epoch, genesis::Start, leader, seed,
    },
    machine::Machine,
    types::{Digest, Height, NodeId, TimeMs, Unverified, Verified, View},
    wire::{consensus::Message, light::FinalHeader},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// Sets of keys that are held at once: the present ones, those of the next epoch, and some of which
/// nothing came.
pub(super) const SEAT_KEYS_MAX: usize = 8;

/// The keys of a node, and what its operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its identity.
    pub node_key: NodeKey,
    /// Those of its seat, and those that it will have after a turn; without any that fit, or
    /// without a seat, it follows and says nothing.
    pub seat_keys: Vec<SeatKeys>,
    /// Where its votes go.
    pub votes_to: VotesTo,
    /// Whether it opens the next height while one is being decided, and whether it may rest.
    pub pipeline: Pipeline,
}

/// The secrets of a seat.
#[derive(Clone, Debug)]
pub struct SeatKeys {
    /// Signs votes.
    pub vote: bls::SecretKey,
    /// Makes the seed of the next term, when this seat proposes the last block of one.
    pub vrf: vrf::SecretKey,
}

/// The newest final block, and what follows from it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its header.
    pub header: Header,
    /// What made it final; genesis has none.
    pub certificate: Option<Certificate>,
    /// The state after it.
    pub state: State,
    /// Decides the next block.
    pub committee: Committee,
    digest: Digest,
    seed: Digest,
}

/// One member of the committee, or a follower of it.
#[derive(Debug)]
pub struct Replica {
    pub(super) config: Config,
    /// Its seat, if it has one and the keys for it.
    pub(super) seat: Option<usize>,
    /// Those keys.
    pub(super) keys: Option<SeatKeys>,
    pub(super) head: Head,
    pub(super) params: Params,
    pub(super) instance: Instance,
    /// The next height, where this node has voted for a block of it already.
    pub(super) ahead: Option<Instance>,
    /// Whether the mempool was asked for a block of it.
    pub(super) asked: Asked,
    /// Whether that has been worth it, and how long blocks take.
    pub(super) pace: Pace,
    /// What the host has said of its processors.
    pub(super) is_contended: bool,
    pub(super) future: Future,
    pub(super) catch_up: CatchUp,
    /// Saves work on signatures.
    pub(super) remembered: Remembered,
    pub(super) timing: Timing,
    pub(super) outbox: Outbox,
    /// When each peer that is behind was last told so.
    pub(super) told_ms: BTreeMap<NodeId, TimeMs>,
    pub(super) now_ms: TimeMs,
    /// Set once a final block executed differently here.
    pub(super) halted: Option<Height>,
}

impl SeatKeys {
    /// Whether they are those that the committee knows for a seat.
    pub fn fit(&self, seat: &Seat) -> bool {
        seat.key == self.vote.public() && seat.vrf_key == self.vrf.public()
    }
}

impl Head {
    /// As the store has it: the state is known to be the header's.
    pub fn new(
        header: Header,
        certificate: Option<Certificate>,
        state: State,
    ) -> Result<Self, SnapshotError> {
        let record = next_record(&header, &state).ok_or(SnapshotError::Incomplete)?;
        let committee =
            Committee::of_state(record.clone()).map_err(|_| SnapshotError::Incomplete)?;
        Ok(Self::of_parts(header, certificate, state, committee))
    }

    /// What follows from the next final block and its state.
    pub fn after(
        &self,
        block: &Block,
        certificate: Certificate,
        state: State,
    ) -> Result<Self, SnapshotError> {
        if block.header.next_committee != self.header.next_committee {
            let record = next_record(&block.header, &state).ok_or(SnapshotError::Incomplete)?;
            let committee =
                self.committee.next(record.clone()).map_err(|_| SnapshotError::Incomplete)?;
            return Ok(Self::of_parts(block.header.clone(), Some(certificate), state, committee));
        }
        Ok(Self::of_parts(block.header.clone(), Some(certificate), state, self.committee.clone()))
    }

    fn of_parts(
        header: Header,
        certificate: Option<Certificate>,
        state: State,
        committee: Committee,
    ) -> Self {
        let digest = header.digest();
        // A proof that is no point has no seed after it, and is in no header that was verified.
        let seed = seed::after(&header).unwrap_or(header.seed);
        Self { header, certificate, state, committee, digest, seed }
    }

    /// What would follow, were this block of the same term final already.
    pub(super) fn after_undecided(&self, block: &Block, state: State) -> Self {
        Self::of_parts(block.header.clone(), None, state, self.committee.clone())
    }

    /// Of a new chain.
    pub fn genesis(start: &Start) -> Self {
        Self::of_parts(start.header.clone(), None, start.state.clone(), start.committee.clone())
    }

    /// Of a state that was fetched whole, under a header that was found to be final.
    pub fn of_snapshot(
        header: Verified<FinalHeader>,
        state: State,
    ) -> Result<Verified<Self>, SnapshotError> {
        let FinalHeader { header, certificate } = header.into_inner();
        if state.root() != header.state {
            return Err(SnapshotError::WrongState);
        }
        let record = next_record(&header, &state).ok_or(SnapshotError::Incomplete)?;
        let committee =
            Committee::new(record.clone(), &header.chain).map_err(|_| SnapshotError::Incomplete)?;
        if state.params().is_none() {
            return Err(SnapshotError::Incomplete);
        }
        Ok(Unverified::new(Self::of_parts(header, certificate, state, committee)).into_verified())
    }

    /// Digest of its header.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The seed of the next block's term.
    pub fn seed(&self) -> &Digest {
        &self.seed
    }
}

impl Replica {
    pub(super) fn empty(config: Config, head: Head, now_ms: TimeMs) -> Result<Self, RestoreError> {
        let params = head.state.params().cloned().ok_or(RestoreError::NoParams)?;
        let (seat, keys) = seated(&config, &head.committee).unzip();
        let own = own_seat(&config, &head.committee)
            .filter(|_| seat.is_none() && !config.seat_keys.is_empty());
        if let Some(own) = own {
            let has_vote = config.seat_keys.iter().any(|keys| keys.vote.public() == own.key);
            return Err(if has_vote {
                RestoreError::WrongVrfKey
            } else {
                RestoreError::WrongVoteKey
            });
        }
        let timing = Timing::new(&params);
        Ok(Self {
            keys,
            instance: Instance::new(head.header.height.saturating_add(1), now_ms),
            ahead: None,
            asked: Asked::default(),
            pace: Pace::default(),
            is_contended: false,
            config,
            seat,
            head,
            params,
            future: Future::default(),
            catch_up: CatchUp::default(),
            remembered: Remembered::default(),
            timing,
            outbox: Outbox::default(),
            told_ms: BTreeMap::new(),
            now_ms,
            halted: None,
        })
    }

    /// The newest final block.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The height that is being decided.
    pub fn height(&self) -> Height {
        self.instance.height
    }

    /// The attempt at it.
    pub fn view(&self) -> View {
        self.instance.view
    }

    /// Who leads this attempt.
    pub fn leader(&self) -> NodeId {
        self.node_at(self.leader_seat(self.instance.view))
    }

    /// This node's seat, if it votes.
    pub fn seat(&self) -> Option<usize> {
        self.seat
    }

    /// How long blocks with transactions take this node from its vote to the end, milliseconds:
    /// alone, and beside another height. `None` where none has been seen.
    pub fn pace_ms(&self) -> (Option<u64>, Option<u64>) {
        self.pace.means_ms()
    }

    pub(super) fn leader_seat(&self, view: View) -> usize {
        self.leader_at(self.instance.height, view)
    }

    /// Who leads a view of the present height, or of a later one of the same term.
    pub(super) fn leader_at(&self, height: Height, view: View) -> usize {
        leader(&self.head.committee, &self.head.seed, height, view)
    }

    /// Whether this node leads a view of the present height.
    pub(super) fn leads(&self, view: View) -> bool {
        self.seat == Some(self.leader_seat(view))
    }

    pub(super) fn node_at(&self, seat: usize) -> NodeId {
        self.head.committee.seats().get(seat).map_or(NodeId([0; 32]), |seat| seat.node)
    }

    pub(super) fn vote(&self, view: View, phase: Phase, digest: Digest) -> Vote {
        self.vote_at(self.instance.height, view, phase, digest)
    }

    /// A vote of the present height, or of a later one of the same epoch.
    pub(super) fn vote_at(&self, height: Height, view: View, phase: Phase, digest: Digest) -> Vote {
        let (chain, epoch) = (self.head.header.chain, self.head.committee.epoch());
        Vote { chain, epoch, height, view, phase, digest }
    }

    /// The nodes that a message to all goes to. What is said of the last height of an epoch is for
    /// those who decided it: who has lost the seat at the turn waits for it as well.
    pub fn audience(&self, message: &Message) -> Vec<NodeId> {
        let (committee, height) = (&self.head.committee, message.height());
        let decided = (height < self.instance.height).then(|| epoch::of(&self.params, height));
        let before = decided
            .and_then(|epoch| self.head.state.committee(epoch))
            .map_or(&[][..], |record| &record.seats);
        let gone = before.iter().filter(|seat| committee.seat_of(&seat.node).is_none());
        committee.seats().iter().chain(gone).map(|seat| seat.node).collect()
    }

    fn dispatch(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::Received { from, message } => self.on_received(from, message),
            Input::Persisted => self.outbox.persisted(),
            Input::Built { height, view, parent, transactions, waiting } => {
                let is_busy = self.is_busy(waiting);
                self.on_built((height, view, parent), transactions, is_busy)
            }
            Input::Contended(is_contended) => {
                self.is_contended = is_contended;
                Ok(())
            }
            Input::Synced { from, blocks } => self.on_synced(from, blocks),
            Input::Checked(transactions) => self.on_checked(transactions),
            Input::Snapshot(head) => self.on_snapshot(*head),
            Input::SeatKeys(keys) => {
                self.on_seat_keys(*keys);
                Ok(())
            }
            Input::WantBlock { height } => self.on_want_block(height),
            Input::Tick => Ok(()),
        }
    }
}

fn own_seat<'a>(config: &Config, committee: &'a Committee) -> Option<&'a Seat> {
    committee.seat_of(&config.node_key.id()).and_then(|seat| committee.seats().get(seat))
}

/// This node's seat in a committee, with the keys for it.
pub(super) fn seated(config: &Config, committee: &Committee) -> Option<(usize, SeatKeys)> {
    let seat = own_seat(config, committee)?;
    let keys = config.seat_keys.iter().find(|keys| keys.fit(seat))?;
    Some((committee.seat_of(&seat.node)?, keys.clone()))
}

/// The record of the committee that decides the block after this header.
pub(super) fn next_record<'a>(header: &Header, state: &'a State) -> Option<&'a CommitteeRecord> {
    let epoch = epoch::of(state.params()?, header.height.checked_add(1)?);
    state.committee(epoch).filter(|record| record.digest() == header.next_committee)
}

impl Machine for Replica {
    type Input = Input;
    type Output = Output;
    type Error = Error;

    fn handle(&mut self, now_ms: TimeMs, input: Input) -> Result<(), Error> {
        if let Some(height) = self.halted {
            return Err(Error::Diverged { height });
        }
        self.now_ms = self.now_ms.max(now_ms);
        let silent = matches!(
            input,
            Input::Persisted
                | Input::WantBlock { .. }
                | Input::Contended(_)
                | Input::Checked(_)
                | Input::Tick
        );
        if self.outbox.is_full() && !silent {
            return Err(Error::Overloaded);
        }
        let handled = self.dispatch(input).and_then(|()| self.on_kept_messages());
        let handled = handled.map(|()| self.on_kept_proposal()).and_then(|()| self.on_time());
        if let Err(Error::Diverged { height }) = handled {
            self.halted = Some(height);
        }
        handled
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<TimeMs> {
        if self.halted.is_some() {
            return None;
        }
        self.next_deadline()
    }
}
