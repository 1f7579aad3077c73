//! Members come and go: they join, leave, bond more and change their keys at times that the seed
//! draws, some with keys that are not theirs. Whoever hears nothing of new blocks asks for them.

use super::{Cluster, Happening};
use tequio_core::{
    consensus::{Head, SeatKeys},
    ledger::{Action, Evidence, Key, KeyClaim, MemberStatus, Transaction},
    types::NodeId,
};

/// Blocks for which such a transaction lives.
const LIFE: u64 = 4000;
/// The client that reports.
const REPORTER: usize = 2;

impl Cluster {
    /// A correct member asks for something; what it is, its state and chance decide.
    pub fn churn(&mut self) {
        let correct: Vec<usize> =
            (0..self.world.keys.len()).filter(|member| self.is_correct(*member)).collect();
        let Some(member) = correct.get(self.rng.below(correct.len())).copied() else { return };
        // As far as the newest disk knows: some of these wishes come twice, or too late.
        let (kind, action) = match (self.status(member), self.unused_keys(member)) {
            (None | Some(MemberStatus::Left), Some(keys)) if self.rng.chance(300) => {
                // Keys whose secret nobody here has.
                let mut forged = keys;
                forged.keys.key =
                    tequio_core::crypto::bls::SecretKey::from_seed(&[member as u8 ^ 0x5a; 32])
                        .public();
                ("forged_join", Action::Join { amount: 110, keys: forged })
            }
            (None | Some(MemberStatus::Left), Some(keys)) => {
                ("join", Action::Join { amount: 140, keys })
            }
            (Some(MemberStatus::Active), _) if self.lies.is_empty() && self.rng.chance(350) => {
                ("leave", Action::Leave)
            }
            (Some(MemberStatus::Active), Some(keys)) if self.rng.chance(600) => {
                ("rotate_keys", Action::RotateKeys { keys })
            }
            (Some(MemberStatus::Active), _) => ("bond", Action::Bond { amount: 5 }),
            _ => return,
        };
        self.fault(kind);
        self.ask(member, action);
    }

    /// The newest block that any disk has.
    pub fn newest(&self) -> &Head {
        let head =
            self.hosts.iter().map(|host| &host.disk.head).max_by_key(|head| head.header.height);
        head.unwrap_or(&self.hosts[0].disk.head)
    }

    /// What a member is, as far as the newest disk knows.
    pub fn status(&self, member: usize) -> Option<MemberStatus> {
        self.newest().state.member(&self.world.keys[member].0.id()).map(|member| member.status)
    }

    /// Keys of a member's that have never had a seat, while it has any.
    pub fn unused_keys(&self, member: usize) -> Option<KeyClaim> {
        let (state, node) = (&self.newest().state, self.world.keys[member].0.id());
        let is_unused =
            |keys: &&SeatKeys| state.entry(&Key::VotingKey(keys.vote.public())).is_none();
        let unused = self.world.seat_keys[member].iter().find(is_unused)?;
        KeyClaim::new(&self.world.start.chain, &node, &unused.vote, &unused.vrf).ok()
    }

    /// A member's next transaction reaches every mempool.
    pub fn ask(&mut self, member: usize, action: Action) {
        let key = &self.world.keys[member].0;
        let (chain, nonce) = (self.world.start.chain, self.member_nonces[member]);
        let expires = self.checkers.height() + LIFE;
        let signed = Transaction { chain, sender: key.id(), nonce, expires, action }.sign(key);
        self.member_nonces[member] += 1;
        self.spread(signed);
    }

    pub(super) fn report(&mut self, accused: NodeId, evidence: Evidence) {
        if !self.reported.insert(accused) {
            return;
        }
        self.fault("report");
        let key = &self.world.clients[REPORTER];
        let (chain, nonce) = (self.world.start.chain, self.nonces[REPORTER]);
        let expires = self.checkers.height() + LIFE;
        let action = Action::Report { accused, evidence: Box::new(evidence) };
        let signed = Transaction { chain, sender: key.id(), nonce, expires, action }.sign(key);
        self.nonces[REPORTER] += 1;
        self.spread(signed);
    }

    pub(super) fn look_again(&mut self, host: usize) {
        let (low_us, high_us) = self.look_us;
        let at_us = self.now_us + self.rng.range(low_us, high_us);
        self.at(at_us, Happening::Look { host });
    }

    /// Without a seat nobody tells it of blocks, nor where all that it knows have lost theirs.
    pub(super) fn look(&mut self, host: usize) {
        if let Some(replica) = &self.hosts[host].replica {
            let (height, is_seated) = (replica.height(), replica.seat().is_some());
            let stands = std::mem::replace(&mut self.hosts[host].looked_at, height) == height;
            let other = self.rng.below(self.hosts.len());
            if other != host
                && (stands || !is_seated)
                && let Some(travel_us) = self.travel(host, other)
            {
                let at_us = self.now_us + travel_us;
                let life = self.hosts[host].life;
                self.at(at_us, Happening::Asked { host: other, by: host, life, from: height });
            }
        }
        self.look_again(host);
    }
}
