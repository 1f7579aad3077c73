//! The replica: its state, its construction from the stored head, and the questions that all
//! handlers need from it.

use super::{
    config::{Config, SeatKeys, own_seat, seat_with_keys},
    error::RestoreError,
    head::Head,
    outbox::Outbox,
    state::{
        block_request::BlockRequest, catch_up::CatchUp, height_state::HeightState, pacing::Pacing,
        pending_messages::PendingMessages, timing::Timing,
    },
    validate::VerificationCache,
};
use crate::{
    ledger::{Params, Phase, Vote, epoch, leader},
    types::{Digest, Height, NodeId, TimeMs, View},
    wire::consensus::Message,
};
use alloc::{collections::BTreeMap, vec::Vec};

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
        leader(&self.head.committee, self.head.seed(), height, view)
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
}
