//! Seats: who asks for one, gives one up, or changes its keys; and the turn of an epoch, which
//! makes the next committee.
//!
//! What is asked for counts at the first turn that is a whole term away, see [`epoch::is_ripe`]:
//! weights decide the order of leaders, so whoever can foresee the next seed must not be able to
//! choose among weights any more.
//!
//! A bond stays bound until [`Params::unbonding_ms`](crate::ledger::Params::unbonding_ms) after its
//! seat has gone, which is longer than any light node trusts the committee: until then evidence can
//! cost it.

use super::{Account, Applied, Applying, Entry, TransactionError};
use crate::{
    codec::BoundedVec,
    ledger::{
        committee::SEATS_MIN,
        epoch::{self, Candidate},
        fault,
        membership::{KeyClaim, MEMBERS_MAX, Member, MemberKeys, MemberStatus},
        state::Key,
    },
    types::{Height, NodeId},
};
use alloc::vec::Vec;

/// Registrations of keys that one block checks; each costs two pairings.
pub const KEYS_PER_BLOCK_MAX: usize = 8;

impl Applying<'_> {
    pub(super) fn transfer(&mut self, account: Account, to: NodeId, amount: u64) -> Applied {
        let balance = account
            .balance
            .checked_sub(amount)
            .ok_or(TransactionError::Balance(account.balance))?;
        // Who comes later can be given what a seat takes before it opens its account.
        let opens = amount >= self.params.bond_min;
        let new = opens.then(|| Account { registered: false, ..Account::new(to, 0) });
        let receiver =
            self.state.account(&to).cloned().or(new).ok_or(TransactionError::UnknownReceiver)?;
        if to == account.node {
            return Ok(());
        }
        self.put(Entry::Account(Account { balance, ..account }));
        self.put(Entry::Account(Account {
            balance: receiver.balance.saturating_add(amount),
            ..receiver
        }));
        Ok(())
    }

    pub(super) fn join(&mut self, account: Account, amount: u64, claim: &KeyClaim) -> Applied {
        self.not_convicted(&account.node)?;
        let mut roster = self.state.roster().to_vec();
        if roster.contains(&account.node) {
            return Err(TransactionError::MemberAlready);
        }
        if roster.len() >= MEMBERS_MAX {
            return Err(TransactionError::Quota(MEMBERS_MAX as u32));
        }
        if account.reputation < self.params.reputation_min {
            return Err(TransactionError::Reputation(self.params.reputation_min));
        }
        let account = bonded(account, amount)?;
        if account.bond < self.params.bond_min {
            return Err(TransactionError::BondTooSmall(self.params.bond_min));
        }
        self.register_keys(&account.node, claim)?;
        let node = account.node;
        roster.push(node);
        self.put(Entry::Account(account));
        self.put(Entry::Roster(BoundedVec::truncated(roster)));
        let (keys, since) = (claim.keys, self.height);
        self.put_member(Member {
            node,
            keys,
            next: None,
            more: None,
            since,
            status: MemberStatus::Active,
        });
        Ok(())
    }

    /// More bond for a seat; its weight follows at the turns.
    pub(super) fn bond(&mut self, account: Account, amount: u64) -> Applied {
        self.not_convicted(&account.node)?;
        let member = self.active(&account.node)?;
        // With one at a time, nobody can hold back what waits by adding to it.
        if member.more.is_some() {
            return Err(TransactionError::BondWaits);
        }
        self.put(Entry::Account(bonded(account, amount)?));
        self.put_member(Member { more: Some((amount, self.height)), ..member });
        Ok(())
    }

    pub(super) fn leave(&mut self, node: NodeId) -> Applied {
        let member = self.active(&node)?;
        self.put_member(Member { status: MemberStatus::Leaving { since: self.height }, ..member });
        Ok(())
    }

    pub(super) fn rotate_keys(&mut self, node: NodeId, claim: &KeyClaim) -> Applied {
        let member = self.active(&node)?;
        if member.next.is_some() {
            return Err(TransactionError::KeysWait);
        }
        self.register_keys(&node, claim)?;
        self.put_member(Member { next: Some((claim.keys, self.height)), ..member });
        Ok(())
    }

    fn not_convicted(&self, node: &NodeId) -> Applied {
        if self.state.conviction(node).is_some() {
            Err(TransactionError::Convicted)
        } else {
            Ok(())
        }
    }

    fn active(&self, node: &NodeId) -> Result<Member, TransactionError> {
        let member = self.state.member(node).filter(|member| member.status == MemberStatus::Active);
        member.cloned().ok_or(TransactionError::NotMember)
    }

    /// Both keys are unique for ever: a signature then names one member, and nobody votes with
    /// another's key.
    fn register_keys(&mut self, node: &NodeId, claim: &KeyClaim) -> Applied {
        let MemberKeys { key, vrf_key, .. } = claim.keys;
        let known = [Key::VotingKey(key), Key::VrfKey(vrf_key)];
        if known.iter().any(|key| self.state.entry(key).is_some()) {
            return Err(TransactionError::KeyUsed);
        }
        if self.keys_checked >= KEYS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyKeys);
        }
        self.keys_checked += 1;
        if !fault::is(fault::Fault::NoPossession) && !claim.is_held_by(&self.chain, node) {
            return Err(TransactionError::Possession);
        }
        self.put(Entry::VotingKey(key));
        self.put(Entry::VrfKey(vrf_key));
        Ok(())
    }

    /// At the last block of an epoch: the next committee, new keys, and bonds that have become
    /// free.
    pub(super) fn turn(&mut self) {
        if !epoch::ends(&self.params, self.height) {
            return;
        }
        let mut members: Vec<Member> = self
            .state
            .roster()
            .iter()
            .filter_map(|node| self.state.member(node).cloned())
            .collect();
        let is_ripe = |since: Height| epoch::is_ripe(&self.params, since, self.height);
        for member in &mut members {
            member.more.take_if(|(_, since)| is_ripe(*since));
            if let Some((keys, _)) = member.next.take_if(|(_, since)| is_ripe(*since)) {
                member.keys = keys;
            }
        }
        let candidates = self.candidates(&members);
        let next = epoch::successor(self.committee.record(), &candidates, self.parent_ms);
        for member in &mut members {
            let is_seated = next.seats.iter().any(|seat| seat.node == member.node);
            self.settle_member(member, is_seated);
        }
        self.put(Entry::Committee(next));
        let roster = members
            .iter()
            .filter(|member| member.status != MemberStatus::Left)
            .map(|member| member.node);
        let roster = BoundedVec::truncated(roster.collect::<Vec<_>>());
        if *roster != *self.state.roster() {
            self.put(Entry::Roster(roster));
        }
        for member in members {
            if self.state.member(&member.node) != Some(&member) {
                self.put_member(member);
            }
        }
    }

    /// What each member wants, in the order in which it is heard: the convicted go first, then
    /// those who have asked to, then come the seats that stay, then newcomers, by reputation,
    /// bond and time.
    fn candidates(&self, members: &[Member]) -> Vec<Candidate> {
        let seated = |member: &&Member| self.committee.seat_of(&member.node).is_some();
        let is_convicted = |member: &&Member| self.state.conviction(&member.node).is_some();
        let account = |member: &Member| self.state.account(&member.node);
        let bond = |member: &Member| {
            let waits = member.more.map_or(0, |(amount, _)| amount);
            account(member).map_or(0, |account| account.bond).saturating_sub(waits)
        };
        let candidate = |member: &Member, wanted, fallback| Candidate {
            node: member.node,
            keys: member.keys,
            wanted,
            fallback,
        };

        let (mut convicted, others): (Vec<&Member>, Vec<&Member>) =
            members.iter().partition(is_convicted);
        convicted.retain(seated);
        let (seats, newcomers): (Vec<&Member>, Vec<&Member>) = others.into_iter().partition(seated);
        let (mut leave, mut stay): (Vec<&Member>, Vec<&Member>) = seats.into_iter().partition(|member| {
            matches!(member.status, MemberStatus::Leaving { since } if epoch::is_ripe(&self.params, since, self.height))
        });
        leave.sort_by_key(|member| match member.status {
            MemberStatus::Leaving { since } => (since, member.node),
            _ => (0, member.node),
        });
        // Without four seats nothing bears a fault: whoever wants to go waits until there are
        // enough others.
        let may_go = (stay.len() + leave.len()).saturating_sub(SEATS_MIN);
        stay.extend(leave.split_off(may_go.min(leave.len())));

        let mut newcomers: Vec<&Member> = newcomers
            .into_iter()
            .filter(|member| member.status == MemberStatus::Active)
            .filter(|member| epoch::is_ripe(&self.params, member.since, self.height))
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

    /// The seat is gone: the bond follows after its time.
    fn settle_member(&mut self, member: &mut Member, is_seated: bool) {
        if is_seated {
            return;
        }
        if self.state.conviction(&member.node).is_some() {
            member.status = MemberStatus::Left;
        }
        if matches!(member.status, MemberStatus::Leaving { .. }) {
            let unbonding_ms =
                if fault::is(fault::Fault::NoUnbonding) { 0 } else { self.params.unbonding_ms };
            member.status =
                MemberStatus::Unbonding { until_ms: self.parent_ms.saturating_add(unbonding_ms) };
        }
        if matches!(member.status, MemberStatus::Unbonding { until_ms } if until_ms <= self.parent_ms)
        {
            member.status = MemberStatus::Left;
            if let Some(account) = self.state.account(&member.node).cloned() {
                let balance = account.balance.saturating_add(account.bond);
                self.put(Entry::Account(Account { balance, bond: 0, ..account }));
            }
        }
    }
}

fn bonded(account: Account, amount: u64) -> Result<Account, TransactionError> {
    let balance =
        account.balance.checked_sub(amount).ok_or(TransactionError::Balance(account.balance))?;
    Ok(Account { balance, bond: account.bond.saturating_add(amount), ..account })
}
