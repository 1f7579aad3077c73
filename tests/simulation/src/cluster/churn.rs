//! Membership changes: members join, leave, bond more and change their keys at times that the seed
//! draws, some with keys that are not theirs. A host that receives no new blocks requests them.

use super::state::{Cluster, SimulationEvent};
use tequio_core::{
    consensus::{Head, SeatKeys},
    ledger::{Action, Evidence, Key, KeyRegistration, MemberStatus, Transaction},
    types::NodeId,
};

/// Lifetime of such a transaction, in blocks.
const VALIDITY_BLOCKS: u64 = 4000;
/// The client that submits reports.
const REPORTER: usize = 2;

impl Cluster {
    /// A correct member requests a membership change. Its state and chance decide which one.
    pub fn churn_step(&mut self) {
        let correct: Vec<usize> =
            (0..self.fixture.keys.len()).filter(|member| self.is_correct(*member)).collect();
        let Some(member) = correct.get(self.rng.below(correct.len())).copied() else { return };
        // The newest disk decides, so some of these requests come twice or too late.
        let (kind, action) = match (self.member_status(member), self.unused_keys(member)) {
            (None | Some(MemberStatus::Left), Some(keys)) if self.rng.chance(300) => {
                // Keys whose secret no host has.
                let mut forged = keys;
                forged.keys.key =
                    tequio_core::crypto::bls::SecretKey::from_seed(&[member as u8 ^ 0x5a; 32])
                        .public();
                ("forged_join", Action::Join { amount: 110, keys: forged })
            }
            (None | Some(MemberStatus::Left), Some(keys)) => {
                ("join", Action::Join { amount: 140, keys })
            }
            (Some(MemberStatus::Active), _)
                if self.byzantine.is_empty() && self.rng.chance(350) =>
            {
                ("leave", Action::Leave)
            }
            (Some(MemberStatus::Active), Some(keys)) if self.rng.chance(600) => {
                ("rotate_keys", Action::RotateKeys { keys })
            }
            (Some(MemberStatus::Active), _) => ("bond", Action::Bond { amount: 5 }),
            _ => return,
        };
        self.count_fault(kind);
        self.submit_member_action(member, action);
    }

    /// Returns the newest head of all disks.
    pub fn newest_head(&self) -> &Head {
        let head =
            self.hosts.iter().map(|host| &host.disk.head).max_by_key(|head| head.header.height);
        head.unwrap_or(&self.hosts[0].disk.head)
    }

    /// Returns a member's entry, by the newest disk.
    pub fn member_status(&self, member: usize) -> Option<MemberStatus> {
        self.newest_head()
            .state
            .member(&self.fixture.keys[member].0.id())
            .map(|member| member.status)
    }

    /// Returns keys of a member that have never had a seat, while there are any.
    pub fn unused_keys(&self, member: usize) -> Option<KeyRegistration> {
        let (state, node) = (&self.newest_head().state, self.fixture.keys[member].0.id());
        let is_unused =
            |keys: &&SeatKeys| state.entry(&Key::VotingKey(keys.vote.public())).is_none();
        let unused = self.fixture.seat_keys[member].iter().find(is_unused)?;
        KeyRegistration::new(&self.fixture.genesis.chain, &node, &unused.vote, &unused.vrf).ok()
    }

    /// Submits a member's next transaction to every mempool.
    pub fn submit_member_action(&mut self, member: usize, action: Action) {
        let key = &self.fixture.keys[member].0;
        let (chain, nonce) = (self.fixture.genesis.chain, self.member_nonces[member]);
        let expires = self.checkers.height() + VALIDITY_BLOCKS;
        let signed = Transaction { chain, sender: key.id(), nonce, expires, action }.sign(key);
        self.member_nonces[member] += 1;
        self.broadcast_transaction(signed);
    }

    pub(super) fn report(&mut self, accused: NodeId, evidence: Evidence) {
        if !self.reported.insert(accused) {
            return;
        }
        self.count_fault("report");
        let key = &self.fixture.clients[REPORTER];
        let (chain, nonce) = (self.fixture.genesis.chain, self.nonces[REPORTER]);
        let expires = self.checkers.height() + VALIDITY_BLOCKS;
        let action = Action::Report { accused, evidence: Box::new(evidence) };
        let signed = Transaction { chain, sender: key.id(), nonce, expires, action }.sign(key);
        self.nonces[REPORTER] += 1;
        self.broadcast_transaction(signed);
    }

    pub(super) fn schedule_poll(&mut self, host: usize) {
        let (low_us, high_us) = self.poll_interval_us;
        let at_us = self.now_us + self.rng.range(low_us, high_us);
        self.schedule(at_us, SimulationEvent::PollPeers { host });
    }

    /// A host without a seat receives no blocks, nor does one whose known peers have all lost their
    /// seats.
    pub(super) fn poll_peers(&mut self, host: usize) {
        if let Some(replica) = &self.hosts[host].replica {
            let (height, is_seated) = (replica.height(), replica.seat().is_some());
            let stands = std::mem::replace(&mut self.hosts[host].polled_height, height) == height;
            let other = self.rng.below(self.hosts.len());
            if other != host
                && (stands || !is_seated)
                && let Some(travel_us) = self.message_delay_us(host, other)
            {
                let at_us = self.now_us + travel_us;
                let life = self.hosts[host].life;
                self.schedule(
                    at_us,
                    SimulationEvent::SyncRequested { host: other, by: host, life, from: height },
                );
            }
        }
        self.schedule_poll(host);
    }
}
