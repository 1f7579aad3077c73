//! Tests of single nodes, and of networks in virtual time in which messages get lost and nodes stop
//! or are Byzantine.

use super::*;
use std::hash::{BuildHasherDefault, DefaultHasher};
use tequio_core::types::Digest;

const STEP_MS: TimeMs = 500;

fn node(n: usize) -> NodeId {
    NodeId([n as u8; 32])
}

fn id(n: u64) -> TransactionId {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Digest(digest)
}

fn from_peer(by: usize) -> Source {
    Source::Peer { peer: node(by), forward: false }
}

/// An order that is fixed by the test's seed.
fn fixed(seed: u64) -> impl Fn(&NodeId) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    move |peer| hasher.hash_one((seed, peer.0))
}

#[test]
fn transactions_are_pushed_to_leaders_first_and_then_to_others() {
    let peers: Vec<_> = (1..50).map(node).collect();
    for seed in 0..100 {
        let chosen =
            push_targets(&peers, [node(7), node(0), node(9), node(7)].into_iter(), fixed(seed));
        assert_eq!(chosen.len(), PUSH_PEERS);
        assert!(
            chosen.contains(&node(7)) && chosen.contains(&node(9)) && !chosen.contains(&node(0)),
            "not connected"
        );
    }
    // All members of a small committee.
    assert_eq!(
        push_targets(&peers, (0..SMALL_COMMITTEE_MAX).map(node), random_order()),
        (1..SMALL_COMMITTEE_MAX).map(node).collect()
    );
    // As many as there are.
    assert_eq!(
        push_targets(&peers[..PUSH_PEERS], std::iter::empty(), random_order()).len(),
        PUSH_PEERS
    );
    assert_eq!(push_targets(&peers[..1], [node(2)].into_iter(), random_order()).len(), 1);
    assert_eq!(push_targets(&[], [node(2)].into_iter(), random_order()).len(), 0);
    // Others are chosen anew each time.
    let drawn: BTreeSet<_> = (0..50).flat_map(|_| sample(&peers, 2, random_order())).collect();
    assert!(drawn.len() > 20, "{}", drawn.len());
}

#[test]
fn waiting_transactions_are_pushed_to_each_coming_leader_once() {
    let mut dissemination = Dissemination::default();
    dissemination.on_insert(id(1), Source::Client, 10, 0);
    dissemination.on_insert(id(2), from_peer(3), 10, 0);
    dissemination.on_insert(id(3), Source::Peer { peer: node(3), forward: true }, 10, 0);
    assert_eq!(dissemination.take_fresh(), [id(1), id(3)]);
    assert_eq!(dissemination.take_fresh(), []);
    dissemination.mark_pushed(&[id(1), id(3)], &[node(1), node(2)].into(), 14);
    let leaders = [node(2), node(4)].into();
    assert_eq!(
        dissemination.repeat_pushes(12, &leaders, 16, |_| true),
        [],
        "the leader of 14 has it already"
    );
    assert_eq!(dissemination.repeat_pushes(13, &leaders, 17, |_| true), [(node(4), vec![id(1)])]);
    assert_eq!(dissemination.repeat_pushes(13, &leaders, 17, |_| true), []);
    assert_eq!(
        dissemination.repeat_pushes(16, &leaders, 20, |_| true),
        [],
        "both have received it"
    );
    assert_eq!(
        dissemination.repeat_pushes(19, &[node(5)].into(), 23, |_| false),
        [],
        "it is not waiting any more"
    );
    assert!(dissemination.local.is_empty());
}

#[test]
fn long_waiting_transactions_are_announced_repeatedly() {
    let mut dissemination = Dissemination::default();
    dissemination.on_insert(id(1), Source::Client, 10, 0);
    dissemination.on_insert(id(2), from_peer(3), 10, 0);
    let both = Announcements { local: vec![id(1)], remote: vec![(id(2), node(3))] };
    assert_eq!(dissemination.due_announcements(12, 4_999, |_| true), Announcements::default());
    assert_eq!(
        dissemination.due_announcements(13, 1_999, |_| true),
        Announcements::default(),
        "a hasty chain"
    );
    assert_eq!(dissemination.due_announcements(13, 2_000, |_| true), both);
    assert_eq!(dissemination.due_announcements(99, 11_999, |_| true), Announcements::default());
    assert_eq!(dissemination.due_announcements(13, 12_000, |_| true), both);
    assert_eq!(
        dissemination.due_announcements(13, 22_000, |id| *id != self::id(2)),
        Announcements { local: vec![id(1)], remote: vec![] }
    );
    assert_eq!(dissemination.due_announcements(13, 32_000, |_| false), Announcements::default());
    assert!(dissemination.first_due.is_empty() && dissemination.repeat_due.is_empty());
    // Without new blocks: later, but not never.
    dissemination.on_insert(id(4), Source::Client, 13, 40_000);
    assert_eq!(dissemination.due_announcements(13, 45_000, |_| true).local, [id(4)]);
    // No more than fit into a message.
    (0..TRANSACTION_IDS_MAX as u64 + 5)
        .for_each(|n| dissemination.on_insert(id(100 + n), from_peer(3), 13, 50_000));
    assert_eq!(dissemination.due_announcements(13, 54_999, |_| true), Announcements::default());
    assert_eq!(
        dissemination.due_announcements(13, 55_000, |_| true).remote.len(),
        TRANSACTION_IDS_MAX
    );
    let rest = dissemination.due_announcements(13, 55_000, |_| true);
    assert_eq!((rest.remote.len(), rest.local), (5, vec![id(4)]), "the others, and our own again");
}

#[test]
fn transactions_are_requested_from_one_peer_at_a_time() {
    let mut dissemination = Dissemination::default();
    dissemination.on_insert(id(1), from_peer(3), 1, 0);
    dissemination.on_included(id(2));
    let names: Vec<_> = (1..=4).map(id).collect();
    assert_eq!(
        dissemination.on_announce(node(1), true, &names),
        [id(3), id(4)],
        "known, and in a block"
    );
    for other in 1..=9 {
        assert_eq!(dissemination.on_announce(node(other), true, &names), []);
    }
    // The first peer sends one of them.
    dissemination.on_insert(id(3), from_peer(1), 1, 0);
    assert_eq!(dissemination.on_response(node(1), &[id(3), id(4)]), [(node(2), vec![id(4)])]);
    assert_eq!(dissemination.on_response(node(1), &[id(4)]), [], "no further request");
    for (silent, next) in [(2, 3), (3, 4), (4, 5)] {
        assert_eq!(dissemination.on_response(node(silent), &[id(4)]), [(node(next), vec![id(4)])]);
    }
    assert_eq!(dissemination.on_response(node(5), &[id(4)]), [], "four other peers are stored");
    assert!(dissemination.requests.is_empty() && dissemination.requests_per_peer.is_empty());
    assert_eq!(
        dissemination.on_announce(node(1), true, &names),
        [id(4)],
        "after another announcement it is requested again"
    );
}

#[test]
fn transactions_missing_from_a_response_are_requested_again_a_limited_number_of_times() {
    let mut dissemination = Dissemination::default();
    let names: Vec<_> = (0..20).map(id).collect();
    let mut requested = dissemination.on_announce(node(1), false, &names);
    let mut questions = 1;
    // One at a time.
    while let Some(first) = requested.first().copied() {
        dissemination.on_insert(first, from_peer(1), 1, 0);
        requested = dissemination
            .on_response(node(1), &requested)
            .pop()
            .map_or(Vec::new(), |(_, names)| names);
        questions += 1;
    }
    assert_eq!(questions, usize::from(ATTEMPTS_MAX) + 1);
    assert!(dissemination.requests.is_empty() && dissemination.requests_per_peer.is_empty());
    assert_eq!(dissemination.non_member_requests, 0);
}

#[test]
fn false_announcements_fill_only_the_quota_of_their_peer() {
    let mut dissemination = Dissemination::default();
    let mut count = 0;
    let mut junk = || {
        count += TRANSACTION_IDS_MAX as u64;
        (count..count + TRANSACTION_IDS_MAX as u64).map(id).collect::<Vec<_>>()
    };
    assert_eq!(dissemination.on_announce(node(1), false, &junk()).len(), REQUESTS_PER_PEER_MAX);
    assert_eq!(dissemination.on_announce(node(1), false, &junk()).len(), 0);
    let non_members: usize =
        (2..40).map(|n| dissemination.on_announce(node(n), false, &junk()).len()).sum();
    assert_eq!(non_members, NON_MEMBER_REQUESTS_MAX - REQUESTS_PER_PEER_MAX);
    // The rest is reserved for members.
    assert_eq!(dissemination.on_announce(node(50), true, &junk()).len(), REQUESTS_PER_PEER_MAX);
    let members: usize =
        (51..70).map(|n| dissemination.on_announce(node(n), true, &junk()).len()).sum();
    assert_eq!(non_members + members + 2 * REQUESTS_PER_PEER_MAX, REQUESTS_MAX);
    // No transaction arrives, so all slots become free again.
    let requested: Vec<(TransactionId, NodeId)> =
        dissemination.requests.iter().map(|(id, w)| (*id, w.peer)).collect();
    for (id, peer) in requested {
        assert_eq!(dissemination.on_response(peer, &[id]), []);
    }
    assert!(dissemination.requests.is_empty() && dissemination.requests_per_peer.is_empty());
    assert_eq!(dissemination.non_member_requests, 0);
}

#[test]
fn remembered_ids_are_bounded() {
    let mut dissemination = Dissemination::default();
    (0..3 * RECENT_IDS_MIN as u64).for_each(|n| dissemination.on_included(id(n)));
    assert!(
        dissemination.recent.newer.len() + dissemination.recent.older.len()
            < 2 * RECENT_IDS_MIN + 1
    );
    assert!(
        dissemination.recent.contains(&id(3 * RECENT_IDS_MIN as u64 - 1))
            && !dissemination.recent.contains(&id(0))
    );
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Correct,
    /// Sends and answers nothing.
    Silent,
    /// Announces everything that exists to all peers, and sends nothing.
    Byzantine,
}

struct Network {
    nodes: Vec<(Conduct, Dissemination, BTreeSet<TransactionId>)>,
    /// Each node is connected to this many on each side of a ring.
    reach: usize,
    loss_percent: u64,
    random: u64,
    now_ms: TimeMs,
    answers: usize,
}

impl Network {
    fn new(conducts: Vec<Conduct>, reach: usize, loss_percent: u64, seed: u64) -> Self {
        let nodes = conducts
            .into_iter()
            .map(|conduct| (conduct, Dissemination::default(), BTreeSet::new()))
            .collect();
        Self { nodes, reach, loss_percent, random: seed, now_ms: 0, answers: 0 }
    }

    fn draw(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn is_lost(&mut self) -> bool {
        self.draw() % 100 < self.loss_percent
    }

    fn peers(&self, of: usize) -> Vec<NodeId> {
        let count = self.nodes.len();
        let near = |other: &usize| {
            let apart = other.abs_diff(of);
            *other != of && apart.min(count - apart) <= self.reach
        };
        (0..count).filter(near).map(node).collect()
    }

    /// A node receives the transaction.
    fn give(&mut self, to: usize, id: TransactionId, source: Source) {
        let (_, dissemination, pool) = &mut self.nodes[to];
        if pool.insert(id) {
            dissemination.on_insert(id, source, 1, self.now_ms);
        }
    }

    fn offer(&mut self, from: usize, to: usize, names: &[TransactionId]) {
        if self.is_lost() || self.nodes[to].0 != Conduct::Correct {
            return;
        }
        let mut questions =
            vec![(node(from), self.nodes[to].1.on_announce(node(from), true, names))];
        while let Some((peer, names)) = questions.pop() {
            let responder = usize::from(peer.0[0]);
            let answers = self.nodes[responder].0 == Conduct::Correct && !self.is_lost();
            for id in &names {
                if answers && self.nodes[responder].2.contains(id) {
                    self.answers += 1;
                    self.give(to, *id, from_peer(responder));
                }
            }
            questions.extend(self.nodes[to].1.on_response(peer, &names));
        }
    }

    fn step(&mut self, all: &[TransactionId]) {
        self.now_ms += STEP_MS;
        for from in 0..self.nodes.len() {
            let peers = self.peers(from);
            match self.nodes[from].0 {
                Conduct::Silent => {}
                Conduct::Byzantine => {
                    peers.iter().for_each(|to| self.offer(from, usize::from(to.0[0]), all))
                }
                Conduct::Correct => {
                    let (_, dissemination, pool) = &mut self.nodes[from];
                    let offers =
                        dissemination.due_announcements(1, self.now_ms, |id| pool.contains(id));
                    for to in &peers {
                        self.offer(from, usize::from(to.0[0]), &offers.local);
                    }
                    let seed = self.draw();
                    for to in sample(&peers, ANNOUNCE_FANOUT, fixed(seed)) {
                        let names: Vec<_> = offers
                            .remote
                            .iter()
                            .filter(|(_, by)| *by != to)
                            .map(|(id, _)| *id)
                            .collect();
                        self.offer(from, usize::from(to.0[0]), &names);
                    }
                }
            }
        }
    }

    fn lacking(&self, all: &[TransactionId]) -> usize {
        let correct = self.nodes.iter().filter(|(conduct, ..)| *conduct == Conduct::Correct);
        correct.map(|(_, _, pool)| all.iter().filter(|id| !pool.contains(id)).count()).sum()
    }

    /// Steps until all correct nodes have all of these.
    fn run_until_delivered(&mut self, all: &[TransactionId], limit_ms: TimeMs) {
        while self.lacking(all) > 0 {
            assert!(
                self.now_ms < limit_ms,
                "{} lacking after {} ms",
                self.lacking(all),
                self.now_ms
            );
            self.step(all);
        }
    }
}

#[test]
fn transactions_reach_all_correct_nodes_despite_byzantine_peers_and_lost_messages() {
    for seed in 0..30 {
        let conducts = (0..50).map(|n| match n % 6 {
            1 => Conduct::Silent,
            4 => Conduct::Byzantine,
            _ => Conduct::Correct,
        });
        let mut network = Network::new(conducts.collect(), 50, 20, seed);
        // Its origin pushes it to one node and then stops.
        let all = [id(1), id(2)];
        network.give(0, id(1), from_peer(51));
        network.give(47, id(2), from_peer(51));
        network.run_until_delivered(&all, 120_000);
        let copies = network.answers;
        assert!(copies <= 2 * 34, "unrequested copies: {copies}");
    }
}

#[test]
fn transactions_reach_all_correct_nodes_in_a_sparse_network() {
    for seed in 0..20 {
        let conducts = (0..30)
            .map(|n| if n % 7 == 3 { Conduct::Byzantine } else { Conduct::Correct })
            .collect();
        let mut network = Network::new(conducts, 2, 10, seed);
        network.give(0, id(1), Source::Client);
        network.run_until_delivered(&[id(1)], 600_000);
    }
}

#[test]
fn transactions_included_in_time_are_not_announced() {
    let mut network = Network::new(vec![Conduct::Correct; 50], 50, 0, 1);
    let all: Vec<_> = (0..100).map(id).collect();
    for id in &all {
        (0..PUSH_PEERS).for_each(|n| {
            network.give(n * 7, *id, if n == 0 { Source::Client } else { from_peer(0) })
        });
    }
    network.step(&all);
    for (_, dissemination, pool) in &mut network.nodes {
        pool.clear();
        all.iter().for_each(|id| dissemination.on_included(*id));
    }
    (0..40).for_each(|_| network.step(&all));
    assert_eq!(network.answers, 0);
    assert_eq!(network.lacking(&all), 50 * all.len());
}
