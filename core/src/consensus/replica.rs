//! The replica: its state, its construction from the stored head, and the dispatch of inputs.

use super::{
    catch_up::CatchUp,
    error::{Error, RestoreError, SnapshotError},
    height_state::HeightState,
    input::Input,
    outbox::Outbox,
    output::Output,
    pacing::{Pacing, Pipeline},
    pending_messages::PendingMessages,
    pipelining::BlockRequest,
    timing::Timing,
    validate::VerificationCache,
    vote_aggregation::VoteRouting,
};
use crate::{
    crypto::{NodeKey, bls, vrf},
    ledger::{
        Block, Certificate, Committee, Header, Params, Phase, Seat, State, Vote,
        committee::CommitteeRecord, epoch, genesis::GenesisState, leader, leader_seed,
    },
    machine::Machine,
    types::{Digest, Height, NodeId, TimeMs, Unverified, Verified, View},
    wire::{consensus::Message, light::FinalHeader},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// Most sets of seat keys that a replica holds: the present keys, those of the next epoch, and keys
/// that were never registered.
pub(super) const SEAT_KEYS_MAX: usize = 8;

/// The keys of a node, and the choices of its operator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Identity key of the node.
    pub node_key: NodeKey,
    /// Keys of its seat, now and after later epoch boundaries. Without a seat, or without keys that
    /// match it, the node follows the chain and sends nothing.
    pub seat_keys: Vec<SeatKeys>,
    /// Where the node sends its votes.
    pub vote_routing: VoteRouting,
    /// Whether the node opens the next height before the present one is decided, and whether it
    /// delays proposals under contention.
    pub pipeline: Pipeline,
}

/// The secret keys of a seat.
#[derive(Clone, Debug)]
pub struct SeatKeys {
    /// Key that signs votes.
    pub vote: bls::SecretKey,
    /// Key that proves the seed of the next leader term, if this seat proposes the last block of a
    /// term.
    pub vrf: vrf::SecretKey,
}

/// The newest final block and the state derived from it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Header of the block.
    pub header: Header,
    /// The commit certificate; genesis has none.
    pub certificate: Option<Certificate>,
    /// The state after the block.
    pub state: State,
    /// The committee that decides the next block.
    pub committee: Committee,
    digest: Digest,
    seed: Digest,
}

/// One member of the committee, or a follower of it.
#[derive(Debug)]
pub struct Replica {
    pub(super) config: Config,
    /// This node's seat, if it has one and the keys for it.
    pub(super) seat: Option<usize>,
    /// Keys of that seat.
    pub(super) keys: Option<SeatKeys>,
    pub(super) head: Head,
    pub(super) params: Params,
    pub(super) height_state: HeightState,
    /// The next height, once this node has voted for a block of it.
    pub(super) pipelined: Option<HeightState>,
    /// State of the request to the mempool for a block of the next height.
    pub(super) block_request: BlockRequest,
    /// Recent block times, with and without pipelining.
    pub(super) pacing: Pacing,
    /// Whether the host reports contended processors.
    pub(super) is_contended: bool,
    pub(super) pending_messages: PendingMessages,
    pub(super) catch_up: CatchUp,
    /// Results of earlier signature checks.
    pub(super) verification_cache: VerificationCache,
    pub(super) timing: Timing,
    pub(super) outbox: Outbox,
    /// Time of the last reply to each peer that lags behind.
    pub(super) last_reply_ms: BTreeMap<NodeId, TimeMs>,
    pub(super) now_ms: TimeMs,
    /// Height of a final block that executed differently on this node.
    pub(super) halted: Option<Height>,
}

impl SeatKeys {
    /// Whether these keys are the registered keys of a seat.
    pub fn matches(&self, seat: &Seat) -> bool {
        seat.key == self.vote.public() && seat.vrf_key == self.vrf.public()
    }
}

impl Head {
    /// Restores a head from the store. The caller guarantees that `state` is the state of `header`.
    pub fn new(
        header: Header,
        certificate: Option<Certificate>,
        state: State,
    ) -> Result<Self, SnapshotError> {
        let record = next_record(&header, &state).ok_or(SnapshotError::Incomplete)?;
        let committee =
            Committee::from_state(record.clone()).map_err(|_| SnapshotError::Incomplete)?;
        Ok(Self::of_parts(header, certificate, state, committee))
    }

    /// The head after the next final block.
    pub fn after(
        &self,
        block: &Block,
        certificate: Certificate,
        state: State,
    ) -> Result<Self, SnapshotError> {
        if block.header.next_committee != self.header.next_committee {
            let record = next_record(&block.header, &state).ok_or(SnapshotError::Incomplete)?;
            let committee = self
                .committee
                .successor_from_state(record.clone())
                .map_err(|_| SnapshotError::Incomplete)?;
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
        // The proof of a verified header is always a point, so the fallback never applies to one.
        let seed = leader_seed::next(&header).unwrap_or(header.seed);
        Self { header, certificate, state, committee, digest, seed }
    }

    /// The head after this block of the same term, as if the block were final already.
    pub(super) fn after_prepared(&self, block: &Block, state: State) -> Self {
        Self::of_parts(block.header.clone(), None, state, self.committee.clone())
    }

    /// The head of a new chain.
    pub fn genesis(start: &GenesisState) -> Self {
        Self::of_parts(start.header.clone(), None, start.state.clone(), start.committee.clone())
    }

    /// The head of a state snapshot under a header that was verified as final.
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

    /// Digest of the header.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Seed of the next block's leader term.
    pub fn seed(&self) -> &Digest {
        &self.seed
    }
}

impl Replica {
    pub(super) fn empty(config: Config, head: Head, now_ms: TimeMs) -> Result<Self, RestoreError> {
        let params = head.state.params().cloned().ok_or(RestoreError::NoParams)?;
        let (seat, keys) = seat_with_keys(&config, &head.committee).unzip();
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
            height_state: HeightState::new(head.header.height.saturating_add(1), now_ms),
            pipelined: None,
            block_request: BlockRequest::default(),
            pacing: Pacing::default(),
            is_contended: false,
            config,
            seat,
            head,
            params,
            pending_messages: PendingMessages::default(),
            catch_up: CatchUp::default(),
            verification_cache: VerificationCache::default(),
            timing,
            outbox: Outbox::default(),
            last_reply_ms: BTreeMap::new(),
            now_ms,
            halted: None,
        })
    }

    /// The newest final block and its state.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The height that is being decided.
    pub fn height(&self) -> Height {
        self.height_state.height
    }

    /// The present view.
    pub fn view(&self) -> View {
        self.height_state.view
    }

    /// The leader of the present view.
    pub fn leader(&self) -> NodeId {
        self.node_at(self.leader_seat(self.height_state.view))
    }

    /// This node's seat, if it votes.
    pub fn seat(&self) -> Option<usize> {
        self.seat
    }

    /// Mean time from this node's vote to finality of blocks with transactions, milliseconds:
    /// without and with pipelining. `None` without samples.
    pub fn mean_block_ms(&self) -> (Option<u64>, Option<u64>) {
        self.pacing.means_ms()
    }

    pub(super) fn leader_seat(&self, view: View) -> usize {
        self.leader_at(self.height_state.height, view)
    }

    /// The leader of a view of the present height, or of a later one of the same term.
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
        self.vote_at(self.height_state.height, view, phase, digest)
    }

    /// A vote of the present height, or of a later one of the same epoch.
    pub(super) fn vote_at(&self, height: Height, view: View, phase: Phase, digest: Digest) -> Vote {
        let (chain, epoch) = (self.head.header.chain, self.head.committee.epoch());
        Vote { chain, epoch, height, view, phase, digest }
    }

    /// The recipients of a broadcast message. Messages of an epoch's last height also go to members
    /// that lose their seats, because they wait for its decision as well.
    pub fn recipients(&self, message: &Message) -> Vec<NodeId> {
        let (committee, height) = (&self.head.committee, message.height());
        let decided =
            (height < self.height_state.height).then(|| epoch::at_height(&self.params, height));
        let previous_seats = decided
            .and_then(|epoch| self.head.state.committee(epoch))
            .map_or(&[][..], |record| &record.seats);
        let removed = previous_seats.iter().filter(|seat| committee.seat_of(&seat.node).is_none());
        committee.seats().iter().chain(removed).map(|seat| seat.node).collect()
    }

    fn dispatch(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::Received { from, message } => self.on_received(from, message),
            Input::Persisted => self.outbox.persisted(),
            Input::Built { height, view, parent, transactions, queued_inputs } => {
                let is_busy = self.is_busy(queued_inputs);
                self.on_built((height, view, parent), transactions, is_busy)
            }
            Input::Contended(is_contended) => {
                self.is_contended = is_contended;
                Ok(())
            }
            Input::Synced { from, blocks } => self.on_synced(from, blocks),
            Input::SignaturesVerified(transactions) => self.on_signatures_verified(transactions),
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
pub(super) fn seat_with_keys(config: &Config, committee: &Committee) -> Option<(usize, SeatKeys)> {
    let seat = own_seat(config, committee)?;
    let keys = config.seat_keys.iter().find(|keys| keys.matches(seat))?;
    Some((committee.seat_of(&seat.node)?, keys.clone()))
}

/// The record of the committee that decides the block after this header.
pub(super) fn next_record<'a>(header: &Header, state: &'a State) -> Option<&'a CommitteeRecord> {
    let epoch = epoch::at_height(state.params()?, header.height.checked_add(1)?);
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
        let is_always_accepted = matches!(
            input,
            Input::Persisted
                | Input::WantBlock { .. }
                | Input::Contended(_)
                | Input::SignaturesVerified(_)
                | Input::Tick
        );
        if self.outbox.is_full() && !is_always_accepted {
            return Err(Error::Overloaded);
        }
        let result = self.dispatch(input).and_then(|()| self.on_pending_messages());
        let result = result.map(|()| self.on_pending_proposal()).and_then(|()| self.run_timers());
        if let Err(Error::Diverged { height }) = result {
            self.halted = Some(height);
        }
        result
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
