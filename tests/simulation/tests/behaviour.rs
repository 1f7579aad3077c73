//! What the simulated committee does in known situations, and that the faster way of checking
//! signatures gives the verdicts of pairings. The campaigns with chance are run by `cargo xtask
//! simulate`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use tequio_core::{
    consensus::{Head, Input, Offence, Replica, RestoreError, WalRecord},
    crypto::{
        Context, KnownKeys, NodeKey,
        batch::Batch,
        bls::{self, SecretKey, known},
        vrf,
    },
    ledger::{
        Action, Block, Certificate, Checkpoint, Crime, Header, KeyClaim, Phase, Vote, leader,
    },
    light::{LightClient, LightError, Progress},
    machine::Machine,
    types::{Height, NodeId, Unverified, View},
    wire::{
        consensus::{Message, Proposal},
        light::FinalHeader,
    },
};
use tequio_simulation::{
    adversary::Lie,
    cluster::{Cluster, Pipeline, Profile, Setup},
    directed,
    disk::{Disk, Entry, Fate, Write},
    network::Regions,
    random::Rng,
    weather::{PACE, PATIENT, ROUGH, calm as calm_for, run},
    world::{BOND, Pace, World},
};

/// Runs quietly for some virtual seconds.
fn calm(seats: usize, seed: u64, lies: &[(usize, Lie)], seconds: u64) -> Cluster {
    println!("seed {seed} seats {seats} lies {lies:?}");
    let setup = Setup { lies: lies.iter().copied().collect(), ..Setup::calm(seed) };
    let mut cluster = Cluster::new(World::of(seats, PACE), setup);
    for _ in 0..seconds {
        cluster.submit(0);
        cluster.run_ms(1000);
    }
    assert_eq!(cluster.checkers.violation, None, "seed {seed}");
    cluster
}

#[test]
fn in_the_normal_case_no_view_is_changed_and_blocks_come_in_time() {
    for (seats, seed) in [(4, 1), (7, 2)] {
        let cluster = calm(seats, seed, &[], 20);
        assert_eq!(cluster.view_changes, 0);
        assert!(cluster.checkers.offences.is_empty());
        // One empty block at least each second, and one for each transaction.
        assert!(cluster.heights()[0] >= 25, "{:?}", cluster.heights());
        assert!(cluster.checkers.included.len() >= 19);
    }
}

#[test]
fn around_the_world_the_first_view_is_given_up_until_patience_fits() {
    let setup = Setup { regions: Regions::Aws10, ..Setup::calm(3) };
    let mut cluster = Cluster::new(World::of(10, PACE), setup);
    cluster.run_ms(30_000);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.checkers.height() >= 10, "height {}", cluster.checkers.height());
}

#[test]
fn a_crashed_member_costs_only_its_own_turns() {
    for (seats, seed) in [(4, 3), (7, 4)] {
        let mut cluster = Cluster::new(World::of(seats, PACE), Setup::calm(seed));
        let first = cluster.world.first_leader(0);
        cluster.crash_with(first, Fate::Lost);
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None);
        assert!(cluster.checkers.height() >= 12, "height {}", cluster.checkers.height());
        assert!(cluster.view_changes > 0);
        // It comes back and catches up.
        cluster.restart(first);
        cluster.run_ms(5000);
        assert!(cluster.heights()[0] + 1 >= cluster.checkers.height(), "{:?}", cluster.heights());
    }
}

#[test]
fn by_way_of_collectors_all_decide_in_the_first_view_with_less_to_say_and_nobody_falls_back() {
    let bytes = |profile: Profile| {
        let mut cluster = Cluster::new(World::of(20, PACE), Setup { profile, ..Setup::calm(32) });
        cluster.run_ms(10_000);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!(cluster.view_changes, 0, "{profile:?}");
        assert_eq!(cluster.fallbacks, 0, "{profile:?}");
        assert!(cluster.checkers.offences.is_empty());
        assert!(cluster.heights()[0] >= 8, "{:?}", cluster.heights());
        cluster.bytes / cluster.checkers.height()
    };
    let (all, collectors) = (bytes(Profile::All), bytes(Profile::Collectors));
    assert!(2 * collectors < all, "{collectors} bytes a decision, {all} without collectors");
    bytes(Profile::Mixed);
}

#[test]
fn a_silent_collector_costs_a_height_its_patience_but_no_view() {
    let cluster = directed::collector_silent(None);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.fallbacks > 0);
    assert_eq!(cluster.view_changes, 0);
}

#[test]
fn at_a_turn_those_who_go_hear_from_their_collector_and_those_who_come_find_the_new_one() {
    for (profile, seed) in [(Profile::All, 36), (Profile::Collectors, 37), (Profile::Mixed, 38)] {
        let setup = Setup { profile, churn: true, ..Setup::calm(seed) };
        let mut cluster = Cluster::new(World::of(7, Pace { is_weighted: false, ..PACE }), setup);
        let world = cluster.world;
        let turn = PACE.epoch_blocks() - 1;
        let (goes, comes, rotates) = (0, world.seats(), 1);
        let claim = |member: usize, generation: usize| {
            let keys = &world.seat_keys[member][generation];
            KeyClaim::new(&world.start.chain, &world.keys[member].0.id(), &keys.vote, &keys.vrf)
                .unwrap()
        };
        cluster.ask(goes, Action::Leave);
        cluster.ask(comes, Action::Join { amount: BOND, keys: claim(comes, 0) });
        cluster.ask(rotates, Action::RotateKeys { keys: claim(rotates, 1) });
        // Then a moment that is too short for anybody to have said something again.
        while cluster.checkers.height() < turn && cluster.checkers.violation.is_none() {
            cluster.run_ms(1);
        }
        cluster.run_ms(PACE.view_timeout_ms / 4);
        assert_eq!(cluster.hosts[goes].disk.height(), turn, "{profile:?}");
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None, "{profile:?}");
        assert!(cluster.checkers.handovers.len() >= 3, "{profile:?}");
        let seats = cluster.checkers.handovers[0].seats.as_ref().unwrap();
        let seat =
            |member: usize| seats.iter().position(|seat| seat.node == world.keys[member].0.id());
        assert_eq!((seat(goes), seat(comes).is_some()), (None, true), "{profile:?}");
        assert_eq!(seats[seat(rotates).unwrap()].key, world.seat_keys[rotates][1].vote.public());
        assert_eq!(cluster.view_changes, 0, "{profile:?}");
        assert_eq!(cluster.fallbacks, 0, "{profile:?}");
        assert!(cluster.checkers.offences.is_empty(), "{profile:?}");
    }
}

#[test]
fn a_certificate_that_does_not_hold_is_blamed_on_the_collector_that_shows_it() {
    for (seats, liar, seed) in [(4, 2, 33), (7, 1, 34)] {
        let lies = BTreeMap::from([(liar, Lie::ForgeCertificates)]);
        let setup = Setup { lies, profile: Profile::Collectors, ..Setup::calm(seed) };
        let mut cluster = Cluster::new(World::of(seats, PACE), setup);
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None);
        let node = cluster.world.keys[liar].0.id();
        let blamed = |is: &dyn Fn(&Offence) -> bool| {
            cluster.checkers.offences.iter().any(|(p, o)| *p == node && is(o))
        };
        assert!(blamed(&|offence| matches!(offence, Offence::BadCertificate(_))), "{seats} seats");
        assert!(blamed(&|offence| matches!(offence, Offence::NotCollector)), "{seats} seats");
    }
}

#[test]
fn a_member_that_was_away_for_a_thousand_blocks_catches_up_while_the_others_go_on() {
    let cluster = directed::away_for(None, 1_000);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.heights()[0] >= 1_000, "{:?}", cluster.heights());
}

#[test]
fn each_lie_is_survived_and_the_visible_ones_are_blamed() {
    let blamed = |lie: Lie, is: &dyn Fn(&Offence) -> bool| {
        for (seats, liar, seed) in [(4, 2, 5), (7, 1, 6)] {
            let mut cluster = calm(seats, seed, &[(liar, lie)], 12);
            assert!(
                cluster.checkers.height() >= 8,
                "{lie:?}: height {}",
                cluster.checkers.height()
            );
            let node = cluster.world.keys[liar].0.id();
            let is_blamed =
                |c: &Cluster| c.checkers.offences.iter().any(|(peer, o)| *peer == node && is(o));
            // Chance decides when a liar leads: some of these lies are told by leaders only.
            for _ in 0..60 {
                if !is_blamed(&cluster) {
                    cluster.run_ms(1000);
                }
            }
            assert!(is_blamed(&cluster), "{lie:?} of {seats}");
            assert_eq!(cluster.checkers.violation, None, "seed {seed}");
        }
    };
    blamed(Lie::ProposeTwice, &|o| matches!(o, Offence::DoubleProposal(..)));
    blamed(Lie::VoteTwice, &|o| matches!(o, Offence::DoubleVote(..)));
    blamed(Lie::BadShare, &|o| matches!(o, Offence::BadVote(_)));
    blamed(Lie::BadBlock, &|o| matches!(o, Offence::BadBlock(_)));
    blamed(Lie::Forge, &|o| matches!(o, Offence::BadCertificate(_)));
    blamed(Lie::OutOfTurn, &|o| matches!(o, Offence::NotLeader));
    let quiet =
        [Lie::Silence, Lie::Equivocate, Lie::HideLock, Lie::Withhold, Lie::Stale, Lie::Impersonate];
    for lie in quiet.into_iter().chain([Lie::IgnoreLock, Lie::BadJustification, Lie::ForgeLock]) {
        let cluster = calm(4, 7, &[(1, lie)], 12);
        assert!(cluster.checkers.height() >= 8, "{lie:?}: height {}", cluster.checkers.height());
    }
    for lie in [Lie::KeepCertificates, Lie::ForgeCertificates, Lie::ChooseReceivers] {
        let lies = BTreeMap::from([(1, lie)]);
        let mut cluster = Cluster::new(
            World::of(4, PACE),
            Setup { lies, profile: Profile::Collectors, ..Setup::calm(35) },
        );
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None, "{lie:?}");
        assert!(cluster.checkers.height() >= 8, "{lie:?}: height {}", cluster.checkers.height());
    }
}

/// What a proposer gains by withholding, as docs/consensus.md says, of whole machines: one of four
/// leads the first views of so many terms. Its share `s` is also its chance to lead the first view
/// of a term's last height; there it takes the seed of its own proof, if that gives it more than
/// its fair `p`, or one that it cannot foresee: `s = p + s G`, where `G` is what a binomial share
/// has above `p` in the mean.
#[test]
fn withholding_gains_what_follows_from_the_rule_and_costs_a_view_each_time() {
    const TERMS: usize = 1_200;
    const LIAR: usize = 1;
    let (world, seed) = (World::of(4, PACE), 39);
    let lies = BTreeMap::from([(LIAR, Lie::WithholdSeed)]);
    let mut cluster = Cluster::new(world, Setup { lies, ..Setup::calm(seed) });
    let term = world.start.params.term_blocks as usize;
    while cluster.checkers.height() < (TERMS * term) as u64 && cluster.checkers.violation.is_none()
    {
        cluster.run_ms(60_000);
        cluster.forget_events();
    }
    assert_eq!(cluster.checkers.violation, None, "seed {seed}");
    assert!(cluster.checkers.offences.is_empty(), "nobody can prove it");

    let headers: Vec<_> =
        cluster.hosts[0].disk.blocks.iter().map(|(block, _)| &block.header).collect();
    let leads =
        |header: &&Header| leader(&world.start.committee, &header.seed, header.height, 0) == LIAR;
    // From the second term on: the first seed is given.
    let terms = headers[term - 1..].chunks_exact(term).take(TERMS - 1);
    let shares: Vec<f64> = terms
        .map(|t| t.iter().copied().filter(|h| leads(h)).count() as f64 / term as f64)
        .collect();
    let withheld = headers.iter().filter(|h| h.proof.is_some() && h.view > 0 && leads(h)).count();
    let (count, p) = (shares.len() as f64, 1.0 / 4.0);
    let mean = shares.iter().sum::<f64>() / count;
    let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / count;
    let chances = [81.0, 108.0, 54.0, 12.0, 1.0].map(|ways| ways / 256.0);
    assert_eq!(term + 1, chances.len());
    let gain: f64 =
        (0..=term).map(|led| (led as f64 / term as f64 - p).max(0.0) * chances[led]).sum();
    let expected = p / (1.0 - gain);
    // Four standard errors. That it leads the last height of a term raises its share of the next
    // one: neighbours correlate, by less than 0.1, which widens the errors by less than a
    // tenth.
    let bound = 4.0 * 1.1 * (variance / count).sqrt();
    println!(
        "seed {seed}: {mean:.4} of the first views of {count} terms, {expected:.4} +- {bound:.4} expected, {p} is fair"
    );
    println!("{withheld} blocks withheld");
    assert!((mean - expected).abs() < bound, "seed {seed}: {mean} against {expected}");
    // It keeps back what gives it one of four or none: by chance in 189 of 256 cases in which it
    // leads.
    let led = headers.iter().filter(|h| h.proof.is_some() && leads(h)).count() as f64;
    let rate = 189.0 / 256.0;
    let bound = 4.0 * (led * rate * (1.0 - rate)).sqrt();
    assert!((withheld as f64 - led * rate).abs() < bound, "seed {seed}: {withheld} of {led}");
}

#[test]
fn evidence_convinces_the_ledger() {
    let crimes = [
        (Lie::VoteTwice, Crime::DoubleVote),
        (Lie::ProposeTwice, Crime::DoubleProposal),
        (Lie::HideLock, Crime::HiddenLock),
    ];
    for (lie, crime) in crimes {
        // Commit votes of view 0 are kept back, so that there is something to hide.
        let setup = Setup { lies: BTreeMap::from([(0, lie)]), ..Setup::calm(8) };
        let mut cluster = Cluster::new(World::of(4, PACE), setup);
        cluster.network.withheld = |from, _, message| {
            let first = |vote: &Vote| vote.phase == Phase::Commit && vote.view == 0 && from != 0;
            matches!(message, Message::Vote(signed) if first(&signed.vote))
        };
        cluster.run_ms(5_000);
        assert_eq!(cluster.checkers.violation, None);
        assert!(
            cluster.checkers.crimes.contains(&(0, crime)),
            "{lie:?}: {:?}",
            cluster.checkers.crimes
        );
    }
}

#[test]
fn more_liars_than_the_committee_bears_break_agreement() {
    let world = World::of(4, PACE);
    let broken = (70_000..70_200).find_map(|seed| {
        let lies = BTreeMap::from([(0, Lie::Equivocate), (1, Lie::Equivocate)]);
        let cluster = run(world, Setup { lies, ..Setup::calm(seed) }, ROUGH);
        cluster
            .checkers
            .violation
            .filter(|violation| !violation.starts_with("liveness"))
            .map(|v| (seed, v))
    });
    println!("{broken:?}");
    assert!(broken.is_some_and(|(_, v)| v.starts_with("agreement") || v.starts_with("light")));
}

#[test]
fn a_block_that_one_member_saw_decided_is_proposed_again_byte_for_byte() {
    let cluster = directed::decided_by_one(None);
    assert_eq!(cluster.checkers.violation, None);
    // Decided in a later view by the others, with the view of its origin still in the header.
    let (block, certificate) = &cluster.hosts[2].disk.blocks[0];
    assert_eq!((block.header.view, block.header.proposer), (0, cluster.world.keys[3].0.id()));
    assert!(certificate.vote.view > 0);
}

/// The header of a final block, and the view in which it was decided.
fn decision(cluster: &Cluster, height: Height) -> (&Header, View) {
    let (block, certificate) = &cluster.hosts[2].disk.blocks[height as usize - 1];
    (&block.header, certificate.vote.view)
}

#[test]
fn a_view_change_of_the_lower_of_two_heights_loses_neither() {
    for cluster in
        [directed::view_change_with_two_open(None), directed::restart_with_two_open(None)]
    {
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!((cluster.ahead, cluster.orphaned), (4, 0));
        // Both are the blocks of the first view; votes for the upper one need not be cast again.
        assert_eq!(decision(&cluster, 1).0.view, 0);
        let (upper, view) = decision(&cluster, 2);
        assert_eq!((upper.view, view, upper.proposer), (0, 0, cluster.world.keys[0].0.id()));
        assert!(cluster.checkers.offences.is_empty());
    }
    assert_eq!(decision(&directed::view_change_with_two_open(None), 1).1, 1);
}

#[test]
fn a_restart_between_two_heights_repeats_the_vote_ahead() {
    let cluster = directed::restart_after_the_lower(None);
    assert_eq!(cluster.checkers.violation, None);
    assert_eq!((cluster.ahead, cluster.orphaned), (4, 0));
    assert_eq!(
        (decision(&cluster, 2).0.view, decision(&cluster, 2).0.proposer),
        (0, cluster.world.keys[0].0.id())
    );
    assert!(cluster.checkers.offences.is_empty());
}

#[test]
fn what_one_member_saw_prepared_ahead_is_carried_when_its_leader_dies() {
    let cluster = directed::prepared_by_one_ahead(None);
    assert_eq!(cluster.checkers.violation, None);
    assert_eq!((cluster.ahead, cluster.orphaned), (4, 0));
    let (upper, view) = decision(&cluster, 2);
    assert_eq!((upper.view, upper.proposer), (0, cluster.world.keys[0].0.id()));
    // The member that was locked on it brought it into the later view.
    assert!(view > 0);
}

#[test]
fn a_vote_ahead_in_vain_costs_a_view_and_blames_nobody() {
    for restart in [false, true] {
        let cluster = directed::orphaned(None, restart);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!((cluster.ahead, cluster.orphaned), (2, 2));
        assert!(decision(&cluster, 1).0.view > 0);
        assert!(decision(&cluster, 2).0.view > 0);
        assert!(cluster.checkers.offences.is_empty(), "{:?}", cluster.checkers.offences);
    }
}

/// A vote of the next height stands behind a lock of the present one, or the store has lost a
/// block.
#[test]
fn a_log_with_a_vote_ahead_and_no_lock_below_is_refused() {
    let cluster = calm(4, 48, &[], 5);
    let (world, host) = (cluster.world, &cluster.hosts[0]);
    for (height, view) in [(2, 0), (2, 1), (3, 0)] {
        let block = host.disk.blocks[height - 1].0.clone();
        let record = WalRecord::Accepted(Proposal::sign(view, block, None, &world.keys[0].0));
        let now_ms = world.start.header.time_ms + 60_000;
        let restored =
            Replica::restore(host.config.clone(), Head::genesis(&world.start), [record], now_ms);
        assert_eq!(
            restored.err(),
            Some(RestoreError::StoreBehindLog { height: height as Height }),
            "{height} {view}"
        );
    }
}

/// The oath's rule: nobody speaks of a height before the term below has ended.
#[test]
fn a_busy_chain_opens_heights_ahead_but_never_the_first_of_a_term() {
    for profile in [Profile::All, Profile::Collectors, Profile::Mixed] {
        let cluster = directed::always_busy(None, profile, None);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!((cluster.view_changes, cluster.orphaned), (0, 0), "{profile:?}");
        // Three of four heights are within a term. Their leaders are ahead; when their proposals
        // come some others are, too.
        let (ahead, height) = (cluster.ahead, cluster.checkers.height());
        assert!((height / 3..=3 * height).contains(&ahead), "{ahead} votes ahead, height {height}");
        assert!(cluster.checkers.offences.is_empty());
    }
}

#[test]
fn a_leader_that_has_too_much_to_do_opens_nothing() {
    let run = |waiting: usize| directed::always_busy(None, Profile::All, Some(waiting));
    let (free, busy) = (run(4), run(5));
    assert_eq!((free.checkers.violation, &busy.checkers.violation), (None, &None));
    assert!(free.ahead > 0);
    assert_eq!(busy.ahead, 0);
    assert!(busy.heights()[0] > 20, "{:?}", busy.heights());
}

/// With `auto`, not even for a try; with `on`, whoever runs the node has decided.
#[test]
fn a_leader_whose_processors_are_contended_opens_nothing_by_itself() {
    let run = |pipeline: Pipeline, contended: bool| {
        let setup = Setup { regions: Regions::Us2, pipeline, ..Setup::calm(49) };
        let mut cluster = Cluster::new(World::of(4, PATIENT), setup);
        (0..4).for_each(|host| cluster.contend(host, contended));
        for number in 0..500 {
            cluster.submit(number % cluster.world.clients.len());
            cluster.run_ms(20);
        }
        assert_eq!(cluster.checkers.violation, None);
        assert!(cluster.checkers.height() > 40, "{}", cluster.checkers.height());
        cluster.ahead
    };
    assert!(run(Pipeline::Auto, false) > 0);
    assert_eq!(run(Pipeline::Auto, true), 0);
    assert!(run(Pipeline::On, true) > 0);
}

/// Where cores are the limit, a block takes less when the one before leaves nothing to do, and
/// there are hardly fewer. With `on` nobody rests.
#[test]
fn a_leader_whose_processors_are_contended_rests_after_a_block() {
    let run = |pipeline: Pipeline, contended: bool, seed: u64| {
        let mut cluster =
            Cluster::new(World::of(4, PATIENT), Setup { pipeline, ..Setup::calm(seed) });
        cluster.slowness = 30;
        (0..4).for_each(|host| cluster.contend(host, contended));
        for number in 0..1_000 {
            cluster.submit(number % cluster.world.clients.len());
            cluster.run_ms(20);
        }
        assert_eq!((cluster.checkers.violation.clone(), cluster.view_changes), (None, 0));
        cluster.latencies_ms.sort_unstable();
        (cluster.checkers.height(), cluster.latencies_ms[cluster.latencies_ms.len() / 2])
    };
    for seed in [51, 52, 53] {
        let ((rested, rested_ms), (hurried, hurried_ms)) =
            (run(Pipeline::Off, true, seed), run(Pipeline::Off, false, seed));
        assert!(
            20 * rested_ms < 19 * hurried_ms,
            "seed {seed}: {rested_ms} ms, {hurried_ms} without rest"
        );
        assert!(10 * rested > 9 * hurried, "seed {seed}: {rested} blocks, {hurried} without rest");
    }
    assert_eq!(run(Pipeline::On, true, 51), run(Pipeline::On, false, 51));
}

/// Where cores are the limit, blocks take longer beside each other, and leaders notice; where
/// distances are, they do not.
#[test]
fn heights_are_opened_ahead_where_it_pays() {
    let run = |pipeline: Pipeline, slowness: u64| {
        let setup = Setup { regions: Regions::Us2, pipeline, ..Setup::calm(48) };
        let mut cluster = Cluster::new(World::of(4, PATIENT), setup);
        cluster.slowness = slowness;
        for number in 0..60_000 / 20 {
            cluster.submit(number % cluster.world.clients.len());
            cluster.run_ms(20);
        }
        assert_eq!((cluster.checkers.violation.clone(), cluster.view_changes), (None, 0));
        cluster.ahead
    };
    let (far, far_always) = (run(Pipeline::Auto, 1), run(Pipeline::On, 1));
    assert!(4 * far > 3 * far_always, "{far} votes ahead, {far_always} were possible");
    // What others have open beside a height, and this member does not see, is not taken for alone.
    let (busy, busy_always) = (run(Pipeline::Auto, 16), run(Pipeline::On, 16));
    assert!(5 * busy < 2 * busy_always, "{busy} votes ahead, {busy_always} were possible");
    let (slow, slow_always) = (run(Pipeline::Auto, 60), run(Pipeline::On, 60));
    assert!(3 * slow < slow_always, "{slow} votes ahead, {slow_always} were possible");
    assert!(slow > 0, "it is tried now and then");
}

/// What a member takes for the pace of blocks is that of blocks which it sees decided, and in time.
#[test]
fn what_came_late_or_by_sync_says_nothing_of_the_pace() {
    /// The first height that is known to be decided alone.
    const HEIGHT: Height = 16;
    /// Host 0 has voted for a block that the others have made final: an input tells it so, so much
    /// later.
    fn told(
        later_ms: u64,
        input: fn(NodeId, Block, Certificate) -> Input,
    ) -> (Option<u64>, Option<u64>) {
        let setup = Setup { pipeline: Pipeline::Off, ..Setup::calm(50) };
        let mut cluster = Cluster::new(World::of(4, PATIENT), setup);
        cluster.network.withheld = |_, to, message| {
            let decides = |vote: &Vote| vote.phase == Phase::Commit && vote.height == HEIGHT;
            to == 0
                && match message {
                    Message::Vote(signed) => decides(&signed.vote),
                    Message::Finalised(certificate) => decides(&certificate.vote),
                    _ => false,
                }
        };
        while cluster.hosts[1].disk.height() < HEIGHT {
            cluster.submit(0);
            cluster.run_ms(5);
        }
        let from = cluster.world.keys[1].0.id();
        let (block, certificate) = cluster.hosts[1].disk.blocks[HEIGHT as usize - 1].clone();
        let host = &mut cluster.hosts[0];
        let now_ms = host.clock_ms(cluster.now_us);
        let replica = host.replica.as_mut().unwrap();
        assert_eq!(
            (replica.height(), replica.view(), replica.pace_ms()),
            (HEIGHT, 0, (None, None))
        );
        replica.handle(now_ms + later_ms, input(from, block, certificate)).unwrap();
        assert_eq!(replica.height(), HEIGHT + 1);
        replica.pace_ms()
    }
    let decided: fn(NodeId, Block, Certificate) -> Input = |from, _, certificate| Input::Received {
        from,
        message: Unverified::new(Message::Finalised(certificate)),
    };
    let synced: fn(NodeId, Block, Certificate) -> Input =
        |from, block, certificate| Input::Synced { from, blocks: vec![(block, certificate)] };
    let (alone, together) = told(100, decided);
    assert!(alone.is_some_and(|ms| (100..500).contains(&ms)), "{alone:?}");
    assert_eq!(together, None);
    assert_eq!(told(100, synced), (None, None));
    assert_eq!(told(PATIENT.view_timeout_ms, decided), (None, None));
}

/// With pipelining more heights are decided in the same time, and each takes no longer.
#[test]
fn two_heights_at_a_time_decide_more() {
    let run = |pipeline: Pipeline| {
        let setup = Setup { pipeline, regions: Regions::Aws10, ..Setup::calm(47) };
        let cluster = calm_for(World::of(7, PATIENT), setup, 20);
        assert_eq!((cluster.checkers.violation.clone(), cluster.view_changes), (None, 0));
        let mut latencies = cluster.latencies_ms.clone();
        latencies.sort_unstable();
        (cluster.checkers.height(), latencies[latencies.len() / 2])
    };
    let ((off, off_ms), (on, on_ms)) = (run(Pipeline::Off), run(Pipeline::On));
    assert!(4 * on >= 5 * off, "{on} decisions with, {off} without");
    assert!(on_ms <= off_ms + off_ms / 20, "{on_ms} ms with, {off_ms} ms without");
}

#[test]
fn a_torn_write_is_dropped_and_damage_is_noticed() {
    let (world, mut rng) = (World::of(4, PACE), Rng::new(1));
    let source = calm(4, 9, &[], 3);
    let (block, certificate) = source.hosts[0].disk.blocks[0].clone();
    let write = |block: &_, certificate: &_| Write {
        entry: Entry::Block(Clone::clone(block), Clone::clone(certificate)),
        finalised: None,
    };
    for _ in 0..200 {
        let mut disk = Disk::new(world);
        disk.blocks.push((block.clone(), certificate.clone()));
        disk.apply(write(&block, &certificate));
        disk.interrupt(write(&block, &certificate), Fate::Torn, &mut rng);
        assert!(disk.recover().is_ok_and(|records| records.is_empty()));
        disk.apply(write(&block, &certificate));
        assert!(disk.recover().is_ok());
        // A bit of a frame with others behind it: noticed, or (in a length) taken for a write that
        // never finished.
        let before = disk.log_len();
        assert!(disk.rot(&mut rng));
        assert!(disk.recover().is_err() || disk.log_len() < before);
    }
}

#[test]
fn known_secrets_give_the_verdicts_and_bytes_of_the_pairing() {
    let secrets: Vec<_> = (1..=4).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    let keys: Vec<_> = secrets.iter().map(|secret| secret.public().decode().unwrap()).collect();
    let outcomes = |is_known: bool| {
        known::learn(if is_known { &secrets[..] } else { &[] });
        let parts: Vec<_> = secrets.iter().map(|secret| secret.sign(b"vote")).collect();
        let sums: Vec<_> = (1..=4).map(|n| bls::aggregate(&parts[..n]).unwrap()).collect();
        let mut verdicts = Vec::new();
        for (sum, message) in sums.iter().flat_map(|sum| [(sum, b"vote"), (sum, b"veto")]) {
            for signers in 0..=4 {
                verdicts.push(bls::verify_aggregate(&keys[..signers], message, sum).is_ok());
            }
            for at in 0..48 {
                let mut changed = *sum;
                changed.0[at] ^= 1;
                verdicts.push(bls::verify_aggregate(&keys[..2], message, &changed).is_ok());
            }
        }
        let strange = [bls::Signature([0xab; 48]), parts[0]];
        (parts, sums, verdicts, bls::aggregate(&strange).is_err())
    };
    let pairing = outcomes(false);
    assert_eq!(pairing.2.iter().filter(|verdict| **verdict).count(), 4);
    assert_eq!(outcomes(true), pairing);
}

#[test]
fn verdicts_that_are_remembered_are_those_of_the_checks() {
    let (node, proof_key) = (NodeKey::from_bytes(&[1; 32]), vrf::SecretKey::from_bytes(&[2; 32]));
    let (id, public) = (node.id(), proof_key.public().decode().unwrap());
    let verdicts = |is_remembered: bool| {
        let secret = SecretKey::from_seed(&[3; 32]);
        known::learn(is_remembered.then_some(&secret));
        let (mut verdicts, mut keys) = (Vec::new(), KnownKeys::default());
        // Each claim twice: the second time it is known. One byte of it makes another claim.
        for (at, _) in (0..80).flat_map(|at| [(at, 1), (at, 2)]) {
            let mut signature = node.sign(Context::Transaction, b"a");
            let mut proof = proof_key.prove(b"b").unwrap();
            verdicts.push(id.verify(Context::Transaction, b"a", &signature).is_ok());
            verdicts.push(id.verify(Context::Vote, b"a", &signature).is_ok());
            verdicts.push(public.verify(b"b", &proof).is_ok());
            verdicts.push(public.verify(b"a", &proof).is_ok());
            signature.0[at % 64] ^= 1;
            proof.0[at] ^= 1;
            verdicts.push(id.verify(Context::Transaction, b"a", &signature).is_ok());
            verdicts.push(public.verify(b"b", &proof).is_ok());
            for claimed in [b"a", b"c"] {
                let mut batch = Batch::default();
                batch.add(
                    &mut keys,
                    &id,
                    Context::Transaction,
                    claimed,
                    &node.sign(Context::Transaction, b"a"),
                );
                verdicts.push(batch.verify().is_ok());
            }
        }
        verdicts
    };
    let checked = verdicts(false);
    assert_eq!(checked.iter().filter(|verdict| **verdict).count(), 160 * 3);
    assert_eq!(verdicts(true), checked);
}

/// What a host has made final, stored or about to be.
fn finals(cluster: &Cluster, host: usize) -> BTreeMap<Height, FinalHeader> {
    let host = &cluster.hosts[host];
    let writing = host
        .writing
        .as_ref()
        .and_then(|w| w.finalised.as_ref())
        .map(|f| (&f.block, &f.certificate));
    let stored = host.disk.blocks.iter().map(|(block, certificate)| (block, certificate));
    let final_header =
        |(block, certificate): (&tequio_core::ledger::Block, &tequio_core::ledger::Certificate)| {
            (
                block.header.height,
                FinalHeader {
                    header: block.header.clone(),
                    certificate: Some(certificate.clone()),
                },
            )
        };
    stored.chain(writing).map(final_header).collect()
}

/// More at fault than any protocol bears: two seats of four have twins, and a partition gives each
/// side one set of them. Both sides decide. A light client that hears both halts, inside the trust
/// period; after it, old keys halt nobody.
#[test]
fn twins_beyond_the_limit_fork_the_chain_and_light_clients_raise_the_alarm() {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { twins: vec![2, 3], ..Setup::calm(31) });
    // Hosts 4 and 5 are the twins of seats 2 and 3.
    cluster.network.side = vec![0, 1, 0, 0, 1, 1];
    cluster.run_ms(60_000);
    let violation = cluster.checkers.violation.clone().unwrap_or_default();
    assert!(violation.contains("agreement"), "no fork: {violation}");

    let (ours, theirs) = (finals(&cluster, 0), finals(&cluster, 1));
    let fork = ours.iter().find(|(height, o)| {
        theirs.get(height).is_some_and(|t| t.header.digest() != o.header.digest())
    });
    let (height, ours) = fork.unwrap();
    let theirs = &theirs[height];
    let genesis = &world.start.header;
    let trust_ms = world.start.params.trust_period_ms;
    let checkpoint =
        Checkpoint::new(genesis.clone(), None, world.start.committee.record().clone(), trust_ms)
            .encode();
    let light = LightClient::start(&checkpoint, None, genesis.time_ms).unwrap();
    for (first, second) in [(ours, theirs), (theirs, ours)] {
        let mut client = light.clone();
        assert_eq!(
            client.follow(Unverified::new(first.clone()), first.header.time_ms),
            Ok(Progress::Advanced)
        );
        let mut late = client.clone();
        let after = second.header.time_ms + trust_ms + 1;
        assert_eq!(late.follow(Unverified::new(second.clone()), after), Ok(Progress::Older));
        assert!(late.alarm().is_none());
        let halted =
            client.follow(Unverified::new(second.clone()), second.header.time_ms + trust_ms);
        assert_eq!(halted, Err(LightError::Forked(*height)));
        assert!(client.alarm().is_some());
    }
}
