//! Seats: requests, departures, changes of keys, and the epoch boundary, which forms the next
//! committee.
//!
//! A change takes effect at the first epoch boundary at least one leader term later, see
//! [`epoch::is_effective`]. Weights decide the order of leaders, so a member that can foresee the
//! next seed must no longer be able to choose among weights.
//!
//! A bond stays locked until [`Params::unbonding_ms`](crate::ledger::Params::unbonding_ms) after
//! its seat is gone, which is longer than any light node trusts the committee. Until then evidence
//! can forfeit it.

use super::{
    error::{TransactionError, TransactionResult},
    executor::BlockExecutor,
};
use crate::{
    codec::BoundedVec,
    ledger::{
        committee::SEATS_MIN,
        epoch::{self, Candidate},
        membership::{KeyRegistration, MEMBERS_MAX, Member, MemberKeys, MemberStatus},
        mutation::rule,
        state::{Account, Entry, Key},
    },
    types::{Height, NodeId},
};
use alloc::vec::Vec;

/// Key registrations that one block checks; each costs two pairings.
pub const KEYS_PER_BLOCK_MAX: usize = 8;

impl BlockExecutor<'_> {
    pub(super) fn join(
        &mut self,
        account: Account,
        amount: u64,
        registration: &KeyRegistration,
    ) -> TransactionResult {
        self.ensure_not_convicted(&account.node)?;
        let mut member_set = self.state.member_set().to_vec();
        if member_set.contains(&account.node) {
            return Err(TransactionError::AlreadyMember);
        }
        if member_set.len() >= MEMBERS_MAX {
            return Err(TransactionError::QuotaExceeded(MEMBERS_MAX as u32));
        }
        if account.reputation < self.params.reputation_min {
            return Err(TransactionError::ReputationTooLow(self.params.reputation_min));
        }
        let account = with_bond(account, amount)?;
        if account.bond < self.params.bond_min {
            return Err(TransactionError::BondTooSmall(self.params.bond_min));
        }
        self.register_keys(&account.node, registration)?;
        let node = account.node;
        member_set.push(node);
        self.put(Entry::Account(account));
        self.put(Entry::MemberSet(BoundedVec::truncated(member_set)));
        let (keys, since) = (registration.keys, self.height);
        self.put_member(Member {
            node,
            keys,
            pending_keys: None,
            pending_bond: None,
            since,
            status: MemberStatus::Active,
        });
        Ok(())
    }

    /// Adds bond to a seat; its weight follows at an epoch boundary.
    pub(super) fn bond(&mut self, account: Account, amount: u64) -> TransactionResult {
        self.ensure_not_convicted(&account.node)?;
        let member = self.active_member(&account.node)?;
        // Only one addition may be pending: a second one would delay the first.
        if member.pending_bond.is_some() {
            return Err(TransactionError::BondPending);
        }
        self.put(Entry::Account(with_bond(account, amount)?));
        self.put_member(Member { pending_bond: Some((amount, self.height)), ..member });
        Ok(())
    }

    pub(super) fn leave(&mut self, node: NodeId) -> TransactionResult {
        let member = self.active_member(&node)?;
        self.put_member(Member { status: MemberStatus::Leaving { since: self.height }, ..member });
        Ok(())
    }

    pub(super) fn rotate_keys(
        &mut self,
        node: NodeId,
        registration: &KeyRegistration,
    ) -> TransactionResult {
        let member = self.active_member(&node)?;
        if member.pending_keys.is_some() {
            return Err(TransactionError::KeyRotationPending);
        }
        self.register_keys(&node, registration)?;
        self.put_member(Member { pending_keys: Some((registration.keys, self.height)), ..member });
        Ok(())
    }

    fn ensure_not_convicted(&self, node: &NodeId) -> TransactionResult {
        if self.state.conviction(node).is_some() {
            Err(TransactionError::Convicted)
        } else {
            Ok(())
        }
    }

    fn active_member(&self, node: &NodeId) -> Result<Member, TransactionError> {
        let member = self.state.member(node).filter(|member| member.status == MemberStatus::Active);
        member.cloned().ok_or(TransactionError::NotMember)
    }

    /// Both keys are unique for ever: a signature then names one member, and no member votes with
    /// another's key.
    fn register_keys(
        &mut self,
        node: &NodeId,
        registration: &KeyRegistration,
    ) -> TransactionResult {
        let MemberKeys { key, vrf_key, .. } = registration.keys;
        let known = [Key::VotingKey(key), Key::VrfKey(vrf_key)];
        if known.iter().any(|key| self.state.entry(key).is_some()) {
            return Err(TransactionError::KeyUsed);
        }
        if self.keys_checked >= KEYS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyKeys);
        }
        self.keys_checked += 1;
        let is_proved = rule!(
            registration.proves_possession(&self.chain, node),
            SkipPossessionCheck => true
        );
        if !is_proved {
            return Err(TransactionError::InvalidPossession);
        }
        self.put(Entry::VotingKey(key));
        self.put(Entry::VrfKey(vrf_key));
        Ok(())
    }

    /// Runs at the last block of an epoch: forms the next committee, changes keys and releases
    /// bonds.
    pub(super) fn apply_epoch_boundary(&mut self) {
        if !epoch::is_last_height(&self.params, self.height) {
            return;
        }
        let mut members: Vec<Member> = self
            .state
            .member_set()
            .iter()
            .filter_map(|node| self.state.member(node).cloned())
            .collect();
        let is_effective = |since: Height| epoch::is_effective(&self.params, since, self.height);
        for member in &mut members {
            member.pending_bond.take_if(|(_, since)| is_effective(*since));
            if let Some((keys, _)) = member.pending_keys.take_if(|(_, since)| is_effective(*since))
            {
                member.keys = keys;
            }
        }
        let candidates = self.candidates(&members);
        let next = epoch::successor(self.committee.record(), &candidates, self.parent_ms);
        for member in &mut members {
            let is_seated = next.seats.iter().any(|seat| seat.node == member.node);
            self.advance_unbonding(member, is_seated);
        }
        self.put(Entry::Committee(next));
        let member_set = members
            .iter()
            .filter(|member| member.status != MemberStatus::Left)
            .map(|member| member.node);
        let member_set = BoundedVec::truncated(member_set.collect::<Vec<_>>());
        if *member_set != *self.state.member_set() {
            self.put(Entry::MemberSet(member_set));
        }
        for member in members {
            if self.state.member(&member.node) != Some(&member) {
                self.put_member(member);
            }
        }
    }

    /// The target of each member, in order of precedence: first the convicted, then members that
    /// leave, then seats that stay, then newcomers, by reputation, bond and time.
    fn candidates(&self, members: &[Member]) -> Vec<Candidate> {
        let seated = |member: &&Member| self.committee.seat_of(&member.node).is_some();
        let is_convicted = |member: &&Member| self.state.conviction(&member.node).is_some();
        let account = |member: &Member| self.state.account(&member.node);
        let bond = |member: &Member| {
            let pending = member.pending_bond.map_or(0, |(amount, _)| amount);
            account(member).map_or(0, |account| account.bond).saturating_sub(pending)
        };
        let candidate = |member: &Member, target_weight, fallback_weight| Candidate {
            node: member.node,
            keys: member.keys,
            target_weight,
            fallback_weight,
        };

        let (mut convicted, others): (Vec<&Member>, Vec<&Member>) =
            members.iter().partition(is_convicted);
        convicted.retain(seated);
        let (seats, newcomers): (Vec<&Member>, Vec<&Member>) = others.into_iter().partition(seated);
        let leaves = |member: &&Member| match member.status {
            MemberStatus::Leaving { since } => {
                epoch::is_effective(&self.params, since, self.height)
            }
            _ => false,
        };
        let (mut leave, mut stay): (Vec<&Member>, Vec<&Member>) =
            seats.into_iter().partition(leaves);
        leave.sort_by_key(|member| match member.status {
            MemberStatus::Leaving { since } => (since, member.node),
            _ => (0, member.node),
        });
        // Fewer than four seats tolerate no fault: members that leave wait until there are enough
        // others.
        let may_go = (stay.len() + leave.len()).saturating_sub(SEATS_MIN);
        stay.extend(leave.split_off(may_go.min(leave.len())));

        let mut newcomers: Vec<&Member> = newcomers
            .into_iter()
            .filter(|member| member.status == MemberStatus::Active)
            .filter(|member| epoch::is_effective(&self.params, member.since, self.height))
            .filter(|member| bond(member) >= self.params.bond_min)
            .collect();
        let rank = |member: &&Member| {
            let reputation = account(member).map_or(0, |account| account.reputation);
            (u64::MAX - reputation, u64::MAX - bond(member), member.since, member.node)
        };
        newcomers.sort_by_key(rank);
        let convicted = convicted.into_iter().map(|member| candidate(member, 0, 0));
        let leave = leave.into_iter().map(|member| candidate(member, 0, bond(member)));
        let stay =
            stay.into_iter().chain(newcomers).map(|member| candidate(member, bond(member), 0));
        convicted.chain(leave).chain(stay).collect()
    }

    /// Starts unbonding when the seat is gone; releases the bond after its time.
    fn advance_unbonding(&mut self, member: &mut Member, is_seated: bool) {
        if is_seated {
            return;
        }
        if self.state.conviction(&member.node).is_some() {
            member.status = MemberStatus::Left;
        }
        if matches!(member.status, MemberStatus::Leaving { .. }) {
            let unbonding_ms = rule!(self.params.unbonding_ms, SkipUnbonding => 0);
            member.status =
                MemberStatus::Unbonding { until_ms: self.parent_ms.saturating_add(unbonding_ms) };
        }
        if let MemberStatus::Unbonding { until_ms } = member.status
            && until_ms <= self.parent_ms
        {
            member.status = MemberStatus::Left;
            if let Some(account) = self.state.account(&member.node).cloned() {
                let balance = account.balance.saturating_add(account.bond);
                self.put(Entry::Account(Account { balance, bond: 0, ..account }));
            }
        }
    }
}

fn with_bond(account: Account, amount: u64) -> Result<Account, TransactionError> {
    let balance = account
        .balance
        .checked_sub(amount)
        .ok_or(TransactionError::InsufficientBalance(account.balance))?;
    Ok(Account { balance, bond: account.bond.saturating_add(amount), ..account })
}
