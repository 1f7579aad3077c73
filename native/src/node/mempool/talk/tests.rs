//! Single nodes, and networks of them in virtual time: some lose messages, some stop, some lie.

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

fn told(by: usize) -> Source {
    Source::Told { peer: node(by), pass_on: false }
}

/// An order that the test's seed decides.
fn fixed(seed: u64) -> impl Fn(&NodeId) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    move |peer| hasher.hash_one((seed, peer.0))
}

#[test]
fn leaders_are_told_first_and_then_others_until_they_are_enough() {
    let peers: Vec<_> = (1..50).map(node).collect();
    for seed in 0..100 {
        let chosen = eager(&peers, [node(7), node(0), node(9), node(7)].into_iter(), fixed(seed));
        assert_eq!(chosen.len(), EAGER);
        assert!(
            chosen.contains(&node(7)) && chosen.contains(&node(9)) && !chosen.contains(&node(0)),
            "not connected"
        );
    }
    // All members of a small committee.
    assert_eq!(eager(&peers, (0..SMALL).map(node), chance()), (1..SMALL).map(node).collect());
    // Those that there are.
    assert_eq!(eager(&peers[..EAGER], std::iter::empty(), chance()).len(), EAGER);
    assert_eq!(eager(&peers[..1], [node(2)].into_iter(), chance()).len(), 1);
    assert_eq!(eager(&[], [node(2)].into_iter(), chance()).len(), 0);
    // Others are chosen anew each time.
    let drawn: BTreeSet<_> = (0..50).flat_map(|_| some(&peers, 2, chance())).collect();
    assert!(drawn.len() > 20, "{}", drawn.len());
}

#[test]
fn what_waits_on_is_told_to_the_leaders_that_come_and_to_each_once() {
    let mut talk = Talk::default();
    talk.arrived(id(1), Source::Client, 10, 0);
    talk.arrived(id(2), told(3), 10, 0);
    talk.arrived(id(3), Source::Told { peer: node(3), pass_on: true }, 10, 0);
    assert_eq!(talk.fresh(), [id(1), id(3)]);
    assert_eq!(talk.fresh(), []);
    talk.told(&[id(1), id(3)], &[node(1), node(2)].into(), 14);
    let leaders = [node(2), node(4)].into();
    assert_eq!(talk.again(12, &leaders, 16, |_| true), [], "the leader of 14 knows of it");
    assert_eq!(talk.again(13, &leaders, 17, |_| true), [(node(4), vec![id(1)])]);
    assert_eq!(talk.again(13, &leaders, 17, |_| true), []);
    assert_eq!(talk.again(16, &leaders, 20, |_| true), [], "both have been told");
    assert_eq!(talk.again(19, &[node(5)].into(), 23, |_| false), [], "it waits no more");
    assert!(talk.ours.is_empty());
}

#[test]
fn what_waits_for_long_is_offered_again_and_again() {
    let mut talk = Talk::default();
    talk.arrived(id(1), Source::Client, 10, 0);
    talk.arrived(id(2), told(3), 10, 0);
    let both = Offers { ours: vec![id(1)], others: vec![(id(2), node(3))] };
    assert_eq!(talk.offers(12, 4_999, |_| true), Offers::default());
    assert_eq!(talk.offers(13, 1_999, |_| true), Offers::default(), "a hasty chain");
    assert_eq!(talk.offers(13, 2_000, |_| true), both);
    assert_eq!(talk.offers(99, 11_999, |_| true), Offers::default());
    assert_eq!(talk.offers(13, 12_000, |_| true), both);
    assert_eq!(
        talk.offers(13, 22_000, |id| *id != super::tests::id(2)),
        Offers { ours: vec![id(1)], others: vec![] }
    );
    assert_eq!(talk.offers(13, 32_000, |_| false), Offers::default());
    assert!(talk.due.is_empty() && talk.due_again.is_empty());
    // A chain that stands still: later, but not never.
    talk.arrived(id(4), Source::Client, 13, 40_000);
    assert_eq!(talk.offers(13, 45_000, |_| true).ours, [id(4)]);
    // No more than fits.
    (0..NAMES_MAX as u64 + 5).for_each(|n| talk.arrived(id(100 + n), told(3), 13, 50_000));
    assert_eq!(talk.offers(13, 54_999, |_| true), Offers::default());
    assert_eq!(talk.offers(13, 55_000, |_| true).others.len(), NAMES_MAX);
    let rest = talk.offers(13, 55_000, |_| true);
    assert_eq!((rest.others.len(), rest.ours), (5, vec![id(4)]), "the rest, and ours again");
}

#[test]
fn one_peer_is_asked_and_then_the_next() {
    let mut talk = Talk::default();
    talk.arrived(id(1), told(3), 1, 0);
    talk.settled(id(2));
    let names: Vec<_> = (1..=4).map(id).collect();
    assert_eq!(talk.offered(node(1), true, &names), [id(3), id(4)], "known, and in a block");
    for other in 1..=9 {
        assert_eq!(talk.offered(node(other), true, &names), []);
    }
    // The first gives one of them.
    talk.arrived(id(3), told(1), 1, 0);
    assert_eq!(talk.answered(node(1), &[id(3), id(4)]), [(node(2), vec![id(4)])]);
    assert_eq!(talk.answered(node(1), &[id(4)]), [], "not asked any more");
    for (silent, next) in [(2, 3), (3, 4), (4, 5)] {
        assert_eq!(talk.answered(node(silent), &[id(4)]), [(node(next), vec![id(4)])]);
    }
    assert_eq!(talk.answered(node(5), &[id(4)]), [], "four others are remembered");
    assert!(talk.wanted.is_empty() && talk.asked.is_empty());
    assert_eq!(
        talk.offered(node(1), true, &names),
        [id(4)],
        "offered again, it is asked for again"
    );
}

#[test]
fn what_does_not_fit_into_an_answer_is_asked_for_again_but_not_for_ever() {
    let mut talk = Talk::default();
    let names: Vec<_> = (0..20).map(id).collect();
    let mut asked = talk.offered(node(1), false, &names);
    let mut questions = 1;
    // One at a time.
    while let Some(first) = asked.first().copied() {
        talk.arrived(first, told(1), 1, 0);
        asked = talk.answered(node(1), &asked).pop().map_or(Vec::new(), |(_, names)| names);
        questions += 1;
    }
    assert_eq!(questions, usize::from(ROUNDS_MAX) + 1);
    assert!(talk.wanted.is_empty() && talk.asked.is_empty());
    assert_eq!(talk.wanted_of_strangers, 0);
}

#[test]
fn who_offers_what_he_has_not_fills_no_more_than_his_share() {
    let mut talk = Talk::default();
    let mut count = 0;
    let mut junk = || {
        count += NAMES_MAX as u64;
        (count..count + NAMES_MAX as u64).map(id).collect::<Vec<_>>()
    };
    assert_eq!(talk.offered(node(1), false, &junk()).len(), WANTED_PER_PEER_MAX);
    assert_eq!(talk.offered(node(1), false, &junk()).len(), 0);
    let strangers: usize = (2..40).map(|n| talk.offered(node(n), false, &junk()).len()).sum();
    assert_eq!(strangers, WANTED_OF_STRANGERS_MAX - WANTED_PER_PEER_MAX);
    // Members have the rest to themselves.
    assert_eq!(talk.offered(node(50), true, &junk()).len(), WANTED_PER_PEER_MAX);
    let members: usize = (51..70).map(|n| talk.offered(node(n), true, &junk()).len()).sum();
    assert_eq!(strangers + members + 2 * WANTED_PER_PEER_MAX, WANTED_MAX);
    // Nothing of it comes, so all of it is given back.
    let asked: Vec<(TransactionId, NodeId)> =
        talk.wanted.iter().map(|(id, w)| (*id, w.asked)).collect();
    for (id, peer) in asked {
        assert_eq!(talk.answered(peer, &[id]), []);
    }
    assert!(talk.wanted.is_empty() && talk.asked.is_empty());
    assert_eq!(talk.wanted_of_strangers, 0);
}

#[test]
fn memory_of_names_is_bounded() {
    let mut talk = Talk::default();
    (0..3 * LATELY_MIN as u64).for_each(|n| talk.settled(id(n)));
    assert!(talk.lately.newer.len() + talk.lately.older.len() < 2 * LATELY_MIN + 1);
    assert!(talk.lately.contains(&id(3 * LATELY_MIN as u64 - 1)) && !talk.lately.contains(&id(0)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Correct,
    /// Says and answers nothing.
    Silent,
    /// Offers everything that exists to everybody, and gives nothing.
    Lying,
}

struct Network {
    nodes: Vec<(Conduct, Talk, BTreeSet<TransactionId>)>,
    /// Everybody is connected with so many on each side of a ring.
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
            .map(|conduct| (conduct, Talk::default(), BTreeSet::new()))
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

    /// The transaction reaches a node.
    fn give(&mut self, to: usize, id: TransactionId, source: Source) {
        let (_, talk, pool) = &mut self.nodes[to];
        if pool.insert(id) {
            talk.arrived(id, source, 1, self.now_ms);
        }
    }

    fn offer(&mut self, from: usize, to: usize, names: &[TransactionId]) {
        if self.is_lost() || self.nodes[to].0 != Conduct::Correct {
            return;
        }
        let mut questions = vec![(node(from), self.nodes[to].1.offered(node(from), true, names))];
        while let Some((peer, names)) = questions.pop() {
            let asked = usize::from(peer.0[0]);
            let answers = self.nodes[asked].0 == Conduct::Correct && !self.is_lost();
            for id in &names {
                if answers && self.nodes[asked].2.contains(id) {
                    self.answers += 1;
                    self.give(to, *id, told(asked));
                }
            }
            questions.extend(self.nodes[to].1.answered(peer, &names));
        }
    }

    fn step(&mut self, all: &[TransactionId]) {
        self.now_ms += STEP_MS;
        for from in 0..self.nodes.len() {
            let peers = self.peers(from);
            match self.nodes[from].0 {
                Conduct::Silent => {}
                Conduct::Lying => {
                    peers.iter().for_each(|to| self.offer(from, usize::from(to.0[0]), all))
                }
                Conduct::Correct => {
                    let (_, talk, pool) = &mut self.nodes[from];
                    let offers = talk.offers(1, self.now_ms, |id| pool.contains(id));
                    for to in &peers {
                        self.offer(from, usize::from(to.0[0]), &offers.ours);
                    }
                    let seed = self.draw();
                    for to in some(&peers, FANOUT, fixed(seed)) {
                        let names: Vec<_> = offers
                            .others
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
    fn settle(&mut self, all: &[TransactionId], limit_ms: TimeMs) {
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
fn what_has_reached_one_correct_node_reaches_all_though_a_third_lies_and_messages_are_lost() {
    for seed in 0..30 {
        let conducts = (0..50).map(|n| match n % 6 {
            1 => Conduct::Silent,
            4 => Conduct::Lying,
            _ => Conduct::Correct,
        });
        let mut network = Network::new(conducts.collect(), 50, 20, seed);
        // Its origin has told one node, and is never heard of again.
        let all = [id(1), id(2)];
        network.give(0, id(1), told(51));
        network.give(47, id(2), told(51));
        network.settle(&all, 120_000);
        let copies = network.answers;
        assert!(copies <= 2 * 34, "nobody is given more than it asks for: {copies}");
    }
}

#[test]
fn it_finds_its_way_where_few_are_connected() {
    for seed in 0..20 {
        let conducts =
            (0..30).map(|n| if n % 7 == 3 { Conduct::Lying } else { Conduct::Correct }).collect();
        let mut network = Network::new(conducts, 2, 10, seed);
        network.give(0, id(1), Source::Client);
        network.settle(&[id(1)], 600_000);
    }
}

#[test]
fn nothing_is_said_of_what_is_in_a_block_in_time() {
    let mut network = Network::new(vec![Conduct::Correct; 50], 50, 0, 1);
    let all: Vec<_> = (0..100).map(id).collect();
    for id in &all {
        (0..EAGER)
            .for_each(|n| network.give(n * 7, *id, if n == 0 { Source::Client } else { told(0) }));
    }
    network.step(&all);
    for (_, talk, pool) in &mut network.nodes {
        pool.clear();
        all.iter().for_each(|id| talk.settled(*id));
    }
    (0..40).for_each(|_| network.step(&all));
    assert_eq!(network.answers, 0);
    assert_eq!(network.lacking(&all), 50 * all.len());
}
