//! The behaviour of the simulated committee in known situations, and the agreement of the faster
//! signature checks with pairings. `cargo xtask simulate` runs the random campaigns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use tequio_core::{
    consensus::{Head, Input, Offence, Replica, RestoreError, WalRecord},
    crypto::{
        HashContext, KeyCache, NodeKey,
        bls::{self, SecretKey, known_secrets},
        signature_batch::SignatureBatch,
        vrf,
    },
    ledger::{
        Action, Block, Certificate, Checkpoint, ConvictionReason, Header, KeyRegistration, Phase,
        Vote, leader,
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
    adversary::ByzantineFault,
    chain_fixture::{BOND, ChainConfig, ChainFixture},
    cluster::{Cluster, PipelineProfile, Setup, VoteRoutingProfile},
    disk::{Disk, Entry, Write, WriteFate},
    fault_profile::{CHAIN_CONFIG, PATIENT_CONFIG, ROUGH, run, run_fault_free as calm_for},
    network::Regions,
    random::Rng,
    scenarios,
};

/// Runs without faults for some virtual seconds.
fn run_fault_free(
    seats: usize,
    seed: u64,
    byzantine: &[(usize, ByzantineFault)],
    seconds: u64,
) -> Cluster {
    println!("seed {seed} seats {seats} byzantine {byzantine:?}");
    let setup = Setup { byzantine: byzantine.iter().copied().collect(), ..Setup::fault_free(seed) };
    let mut cluster = Cluster::new(ChainFixture::of(seats, CHAIN_CONFIG), setup);
    for _ in 0..seconds {
        cluster.submit(0);
        cluster.run_ms(1000);
    }
    assert_eq!(cluster.checkers.violation, None, "seed {seed}");
    cluster
}

#[test]
fn the_normal_case_has_no_view_change_and_timely_blocks() {
    for (seats, seed) in [(4, 1), (7, 2)] {
        let cluster = run_fault_free(seats, seed, &[], 20);
        assert_eq!(cluster.view_changes, 0);
        assert!(cluster.checkers.offences.is_empty());
        // One empty block at least each second, and one for each transaction.
        assert!(cluster.heights()[0] >= 25, "{:?}", cluster.heights());
        assert!(cluster.checkers.included.len() >= 19);
    }
}

#[test]
fn around_the_world_first_views_fail_until_the_view_timeout_fits() {
    let setup = Setup { regions: Regions::Aws10, ..Setup::fault_free(3) };
    let mut cluster = Cluster::new(ChainFixture::of(10, CHAIN_CONFIG), setup);
    cluster.run_ms(30_000);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.checkers.height() >= 10, "height {}", cluster.checkers.height());
}

#[test]
fn a_crashed_member_costs_only_the_views_that_it_leads() {
    for (seats, seed) in [(4, 3), (7, 4)] {
        let mut cluster =
            Cluster::new(ChainFixture::of(seats, CHAIN_CONFIG), Setup::fault_free(seed));
        let first = cluster.fixture.first_leader(0);
        cluster.crash_with(first, WriteFate::Lost);
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None);
        assert!(cluster.checkers.height() >= 12, "height {}", cluster.checkers.height());
        assert!(cluster.view_changes > 0);
        // The host restarts and catches up.
        cluster.restart(first);
        cluster.run_ms(5000);
        assert!(cluster.heights()[0] + 1 >= cluster.checkers.height(), "{:?}", cluster.heights());
    }
}

#[test]
fn collectors_decide_in_the_first_view_with_fewer_bytes_and_no_fallback() {
    let bytes = |profile: VoteRoutingProfile| {
        let mut cluster = Cluster::new(
            ChainFixture::of(20, CHAIN_CONFIG),
            Setup { profile, ..Setup::fault_free(32) },
        );
        cluster.run_ms(10_000);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!(cluster.view_changes, 0, "{profile:?}");
        assert_eq!(cluster.fallbacks, 0, "{profile:?}");
        assert!(cluster.checkers.offences.is_empty());
        assert!(cluster.heights()[0] >= 8, "{:?}", cluster.heights());
        cluster.bytes / cluster.checkers.height()
    };
    let (all, collectors) = (bytes(VoteRoutingProfile::All), bytes(VoteRoutingProfile::Collectors));
    assert!(2 * collectors < all, "{collectors} bytes a decision, {all} without collectors");
    bytes(VoteRoutingProfile::Mixed);
}

#[test]
fn a_silent_collector_delays_a_height_but_costs_no_view() {
    let cluster = scenarios::collector_silent(None);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.fallbacks > 0);
    assert_eq!(cluster.view_changes, 0);
}

#[test]
fn at_an_epoch_boundary_former_and_new_seats_use_their_own_collectors() {
    for (profile, seed) in [
        (VoteRoutingProfile::All, 36),
        (VoteRoutingProfile::Collectors, 37),
        (VoteRoutingProfile::Mixed, 38),
    ] {
        let setup = Setup { profile, churn: true, ..Setup::fault_free(seed) };
        let mut cluster = Cluster::new(
            ChainFixture::of(7, ChainConfig { is_weighted: false, ..CHAIN_CONFIG }),
            setup,
        );
        let fixture = cluster.fixture;
        let turn = CHAIN_CONFIG.epoch_blocks() - 1;
        let (goes, comes, rotates) = (0, fixture.seats(), 1);
        let claim = |member: usize, generation: usize| {
            let keys = &fixture.seat_keys[member][generation];
            KeyRegistration::new(
                &fixture.genesis.chain,
                &fixture.keys[member].0.id(),
                &keys.vote,
                &keys.vrf,
            )
            .unwrap()
        };
        cluster.submit_member_action(goes, Action::Leave);
        cluster.submit_member_action(comes, Action::Join { amount: BOND, keys: claim(comes, 0) });
        cluster.submit_member_action(rotates, Action::RotateKeys { keys: claim(rotates, 1) });
        // Then an interval that is too short for a retransmission.
        while cluster.checkers.height() < turn && cluster.checkers.violation.is_none() {
            cluster.run_ms(1);
        }
        cluster.run_ms(CHAIN_CONFIG.view_timeout_ms / 4);
        assert_eq!(cluster.hosts[goes].disk.height(), turn, "{profile:?}");
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None, "{profile:?}");
        assert!(cluster.checkers.handovers.len() >= 3, "{profile:?}");
        let seats = cluster.checkers.handovers[0].seats.as_ref().unwrap();
        let seat =
            |member: usize| seats.iter().position(|seat| seat.node == fixture.keys[member].0.id());
        assert_eq!((seat(goes), seat(comes).is_some()), (None, true), "{profile:?}");
        assert_eq!(seats[seat(rotates).unwrap()].key, fixture.seat_keys[rotates][1].vote.public());
        assert_eq!(cluster.view_changes, 0, "{profile:?}");
        assert_eq!(cluster.fallbacks, 0, "{profile:?}");
        assert!(cluster.checkers.offences.is_empty(), "{profile:?}");
    }
}

#[test]
fn an_invalid_certificate_is_blamed_on_the_collector_that_sends_it() {
    for (seats, byzantine_seat, seed) in [(4, 2, 33), (7, 1, 34)] {
        let byzantine = BTreeMap::from([(byzantine_seat, ByzantineFault::ForgeCertificates)]);
        let setup =
            Setup { byzantine, profile: VoteRoutingProfile::Collectors, ..Setup::fault_free(seed) };
        let mut cluster = Cluster::new(ChainFixture::of(seats, CHAIN_CONFIG), setup);
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None);
        let node = cluster.fixture.keys[byzantine_seat].0.id();
        let blamed = |is: &dyn Fn(&Offence) -> bool| {
            cluster.checkers.offences.iter().any(|(p, o)| *p == node && is(o))
        };
        assert!(blamed(&|offence| matches!(offence, Offence::BadCertificate(_))), "{seats} seats");
        assert!(blamed(&|offence| matches!(offence, Offence::NotCollector)), "{seats} seats");
    }
}

#[test]
fn a_member_a_thousand_blocks_behind_catches_up_while_the_others_continue() {
    let cluster = scenarios::away_for(None, 1_000);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.heights()[0] >= 1_000, "{:?}", cluster.heights());
}

#[test]
fn each_byzantine_fault_is_survived_and_visible_ones_are_blamed() {
    let blamed = |fault: ByzantineFault, is: &dyn Fn(&Offence) -> bool| {
        for (seats, byzantine_seat, seed) in [(4, 2, 5), (7, 1, 6)] {
            let mut cluster = run_fault_free(seats, seed, &[(byzantine_seat, fault)], 12);
            assert!(
                cluster.checkers.height() >= 8,
                "{fault:?}: height {}",
                cluster.checkers.height()
            );
            let node = cluster.fixture.keys[byzantine_seat].0.id();
            let is_blamed =
                |c: &Cluster| c.checkers.offences.iter().any(|(peer, o)| *peer == node && is(o));
            // Chance decides when a Byzantine member leads, and only leaders show some of these
            // faults.
            for _ in 0..60 {
                if !is_blamed(&cluster) {
                    cluster.run_ms(1000);
                }
            }
            assert!(is_blamed(&cluster), "{fault:?} of {seats}");
            assert_eq!(cluster.checkers.violation, None, "seed {seed}");
        }
    };
    blamed(ByzantineFault::ProposeTwice, &|o| matches!(o, Offence::DoubleProposal(..)));
    blamed(ByzantineFault::VoteTwice, &|o| matches!(o, Offence::DoubleVote(..)));
    blamed(ByzantineFault::BadVoteSignature, &|o| matches!(o, Offence::BadVote(_)));
    blamed(ByzantineFault::BadBlock, &|o| matches!(o, Offence::BadBlock(_)));
    blamed(ByzantineFault::Forge, &|o| matches!(o, Offence::BadCertificate(_)));
    blamed(ByzantineFault::ProposeOutOfTurn, &|o| matches!(o, Offence::NotLeader));
    let quiet = [
        ByzantineFault::Silence,
        ByzantineFault::Equivocate,
        ByzantineFault::HideLock,
        ByzantineFault::SelectiveOmission,
        ByzantineFault::Replay,
        ByzantineFault::Impersonate,
    ];
    for fault in quiet.into_iter().chain([
        ByzantineFault::IgnoreLock,
        ByzantineFault::BadJustification,
        ByzantineFault::ForgeLock,
    ]) {
        let cluster = run_fault_free(4, 7, &[(1, fault)], 12);
        assert!(cluster.checkers.height() >= 8, "{fault:?}: height {}", cluster.checkers.height());
    }
    for fault in [
        ByzantineFault::WithholdCertificates,
        ByzantineFault::ForgeCertificates,
        ByzantineFault::SelectiveCertificates,
    ] {
        let byzantine = BTreeMap::from([(1, fault)]);
        let mut cluster = Cluster::new(
            ChainFixture::of(4, CHAIN_CONFIG),
            Setup { byzantine, profile: VoteRoutingProfile::Collectors, ..Setup::fault_free(35) },
        );
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None, "{fault:?}");
        assert!(cluster.checkers.height() >= 8, "{fault:?}: height {}", cluster.checkers.height());
    }
}

/// The gain of a proposer that withholds, as in docs/consensus.md, with whole machines: the share
/// of first views of these terms that one of four members leads. Its share `s` is also its chance
/// to lead the first view of a term's last height. There it takes the seed of its own proof, if
/// that seed gives it more than its fair `p`, or else one that it cannot foresee. So `s = p + s G`,
/// where `G` is the mean excess of a binomial share above `p`.
#[test]
fn withholding_gains_as_computed_and_costs_a_view_each_time() {
    const TERMS: usize = 1_200;
    const BYZANTINE: usize = 1;
    let (fixture, seed) = (ChainFixture::of(4, CHAIN_CONFIG), 39);
    let byzantine = BTreeMap::from([(BYZANTINE, ByzantineFault::WithholdSeed)]);
    let mut cluster = Cluster::new(fixture, Setup { byzantine, ..Setup::fault_free(seed) });
    let term = fixture.genesis.params.leader_term_blocks as usize;
    while cluster.checkers.height() < (TERMS * term) as u64 && cluster.checkers.violation.is_none()
    {
        cluster.run_ms(60_000);
        cluster.reset_event_count();
    }
    assert_eq!(cluster.checkers.violation, None, "seed {seed}");
    assert!(cluster.checkers.offences.is_empty(), "no member can prove it");

    let headers: Vec<_> =
        cluster.hosts[0].disk.blocks.iter().map(|(block, _)| &block.header).collect();
    let leads = |header: &&Header| {
        leader(&fixture.genesis.committee, &header.seed, header.height, 0) == BYZANTINE
    };
    // From the second term on, because the first seed is fixed.
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
    // Four standard errors. A member that leads the last height of a term raises its share of the
    // next one, so consecutive terms correlate, by less than 0.1. This widens the errors by less
    // than a tenth.
    let bound = 4.0 * 1.1 * (variance / count).sqrt();
    println!(
        "seed {seed}: {mean:.4} of the first views of {count} terms, {expected:.4} +- {bound:.4} expected, {p} is fair"
    );
    println!("{withheld} blocks withheld");
    assert!((mean - expected).abs() < bound, "seed {seed}: {mean} against {expected}");
    // It withholds a block that gives it one of four heights or none: by chance in 189 of 256 cases
    // in which it leads.
    let led = headers.iter().filter(|h| h.proof.is_some() && leads(h)).count() as f64;
    let rate = 189.0 / 256.0;
    let bound = 4.0 * (led * rate * (1.0 - rate)).sqrt();
    assert!((withheld as f64 - led * rate).abs() < bound, "seed {seed}: {withheld} of {led}");
}

#[test]
fn evidence_convinces_the_ledger() {
    let crimes = [
        (ByzantineFault::VoteTwice, ConvictionReason::DoubleVote),
        (ByzantineFault::ProposeTwice, ConvictionReason::DoubleProposal),
        (ByzantineFault::HideLock, ConvictionReason::HiddenLock),
    ];
    for (fault, crime) in crimes {
        // Commit votes of view 0 are withheld, so that there is a decision to hide.
        let setup = Setup { byzantine: BTreeMap::from([(0, fault)]), ..Setup::fault_free(8) };
        let mut cluster = Cluster::new(ChainFixture::of(4, CHAIN_CONFIG), setup);
        cluster.network.drop_filter = |from, _, message| {
            let first = |vote: &Vote| vote.phase == Phase::Commit && vote.view == 0 && from != 0;
            matches!(message, Message::Vote(signed) if first(&signed.vote))
        };
        cluster.run_ms(5_000);
        assert_eq!(cluster.checkers.violation, None);
        assert!(
            cluster.checkers.conviction_reasons.contains(&(0, crime)),
            "{fault:?}: {:?}",
            cluster.checkers.conviction_reasons
        );
    }
}

#[test]
fn more_byzantine_members_than_tolerated_break_agreement() {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let broken = (70_000..70_200).find_map(|seed| {
        let byzantine =
            BTreeMap::from([(0, ByzantineFault::Equivocate), (1, ByzantineFault::Equivocate)]);
        let cluster = run(fixture, Setup { byzantine, ..Setup::fault_free(seed) }, ROUGH);
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
    let cluster = scenarios::decided_by_one(None);
    assert_eq!(cluster.checkers.violation, None);
    // The others decided it in a later view; the header still names the view of its origin.
    let (block, certificate) = &cluster.hosts[2].disk.blocks[0];
    assert_eq!((block.header.view, block.header.proposer), (0, cluster.fixture.keys[3].0.id()));
    assert!(certificate.vote.view > 0);
}

/// Returns the header of a final block, and the view in which it was decided.
fn decision(cluster: &Cluster, height: Height) -> (&Header, View) {
    let (block, certificate) = &cluster.hosts[2].disk.blocks[height as usize - 1];
    (&block.header, certificate.vote.view)
}

#[test]
fn a_view_change_of_the_lower_of_two_heights_loses_neither() {
    for cluster in
        [scenarios::view_change_with_two_open(None), scenarios::restart_with_two_open(None)]
    {
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!((cluster.pipelined_votes, cluster.orphaned_votes), (4, 0));
        // Both are the blocks of the first view; votes for the upper one need not be cast again.
        assert_eq!(decision(&cluster, 1).0.view, 0);
        let (upper, view) = decision(&cluster, 2);
        assert_eq!((upper.view, view, upper.proposer), (0, 0, cluster.fixture.keys[0].0.id()));
        assert!(cluster.checkers.offences.is_empty());
    }
    assert_eq!(decision(&scenarios::view_change_with_two_open(None), 1).1, 1);
}

#[test]
fn a_restart_with_two_open_heights_repeats_the_pipelined_vote() {
    let cluster = scenarios::restart_after_the_lower(None);
    assert_eq!(cluster.checkers.violation, None);
    assert_eq!((cluster.pipelined_votes, cluster.orphaned_votes), (4, 0));
    assert_eq!(
        (decision(&cluster, 2).0.view, decision(&cluster, 2).0.proposer),
        (0, cluster.fixture.keys[0].0.id())
    );
    assert!(cluster.checkers.offences.is_empty());
}

#[test]
fn a_pipelined_prepare_seen_by_one_survives_the_death_of_its_leader() {
    let cluster = scenarios::pipelined_prepare_seen_by_one(None);
    assert_eq!(cluster.checkers.violation, None);
    assert_eq!((cluster.pipelined_votes, cluster.orphaned_votes), (4, 0));
    let (upper, view) = decision(&cluster, 2);
    assert_eq!((upper.view, upper.proposer), (0, cluster.fixture.keys[0].0.id()));
    // The member that was locked on the block carried it into the later view.
    assert!(view > 0);
}

#[test]
fn an_orphaned_pipelined_vote_costs_a_view_and_no_blame() {
    for restart in [false, true] {
        let cluster = scenarios::orphaned_pipelined_vote(None, restart);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!((cluster.pipelined_votes, cluster.orphaned_votes), (2, 2));
        assert!(decision(&cluster, 1).0.view > 0);
        assert!(decision(&cluster, 2).0.view > 0);
        assert!(cluster.checkers.offences.is_empty(), "{:?}", cluster.checkers.offences);
    }
}

/// A vote of the next height follows a lock of the present one in the log, or the store has lost a
/// block.
#[test]
fn a_log_with_a_pipelined_vote_and_no_lock_below_is_refused() {
    let cluster = run_fault_free(4, 48, &[], 5);
    let (fixture, host) = (cluster.fixture, &cluster.hosts[0]);
    for (height, view) in [(2, 0), (2, 1), (3, 0)] {
        let block = host.disk.blocks[height - 1].0.clone();
        let record = WalRecord::Accepted(Proposal::sign(view, block, None, &fixture.keys[0].0));
        let now_ms = fixture.genesis.header.time_ms + 60_000;
        let restored = Replica::restore(
            host.config.clone(),
            Head::genesis(&fixture.genesis),
            [record],
            now_ms,
        );
        assert_eq!(
            restored.err(),
            Some(RestoreError::StoreBehindLog { height: height as Height }),
            "{height} {view}"
        );
    }
}

/// The rule of the protocol monitor: no message of a height before the term below has ended.
#[test]
fn a_busy_chain_pipelines_except_the_first_height_of_a_term() {
    for profile in
        [VoteRoutingProfile::All, VoteRoutingProfile::Collectors, VoteRoutingProfile::Mixed]
    {
        let cluster = scenarios::always_busy(None, profile, None);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!((cluster.view_changes, cluster.orphaned_votes), (0, 0), "{profile:?}");
        // Three of four heights are within a term. Their leaders pipeline; when their proposals
        // arrive some others do, too.
        let (ahead, height) = (cluster.pipelined_votes, cluster.checkers.height());
        assert!(
            (height / 3..=3 * height).contains(&ahead),
            "{ahead} pipelined votes, height {height}"
        );
        assert!(cluster.checkers.offences.is_empty());
    }
}

#[test]
fn a_busy_leader_does_not_pipeline() {
    let run = |waiting: usize| scenarios::always_busy(None, VoteRoutingProfile::All, Some(waiting));
    let (free, busy) = (run(4), run(5));
    assert_eq!((free.checkers.violation, &busy.checkers.violation), (None, &None));
    assert!(free.pipelined_votes > 0);
    assert_eq!(busy.pipelined_votes, 0);
    assert!(busy.heights()[0] > 20, "{:?}", busy.heights());
}

/// With `auto` there is no trial either; with `on` the operator has decided.
#[test]
fn a_leader_with_contended_processors_pipelines_only_with_on() {
    let run = |pipeline: PipelineProfile, contended: bool| {
        let setup = Setup { regions: Regions::Us2, pipeline, ..Setup::fault_free(49) };
        let mut cluster = Cluster::new(ChainFixture::of(4, PATIENT_CONFIG), setup);
        (0..4).for_each(|host| cluster.set_contended(host, contended));
        for number in 0..500 {
            cluster.submit(number % cluster.fixture.clients.len());
            cluster.run_ms(20);
        }
        assert_eq!(cluster.checkers.violation, None);
        assert!(cluster.checkers.height() > 40, "{}", cluster.checkers.height());
        cluster.pipelined_votes
    };
    assert!(run(PipelineProfile::Auto, false) > 0);
    assert_eq!(run(PipelineProfile::Auto, true), 0);
    assert!(run(PipelineProfile::On, true) > 0);
}

/// Where cores are the limit, a block takes less time when the one before leaves no other work, and
/// there are hardly fewer blocks. With `on` there is no proposal delay.
#[test]
fn a_leader_with_contended_processors_delays_its_proposals() {
    let run = |pipeline: PipelineProfile, contended: bool, seed: u64| {
        let mut cluster = Cluster::new(
            ChainFixture::of(4, PATIENT_CONFIG),
            Setup { pipeline, ..Setup::fault_free(seed) },
        );
        cluster.slowness = 30;
        (0..4).for_each(|host| cluster.set_contended(host, contended));
        for number in 0..1_000 {
            cluster.submit(number % cluster.fixture.clients.len());
            cluster.run_ms(20);
        }
        assert_eq!((cluster.checkers.violation.clone(), cluster.view_changes), (None, 0));
        cluster.latencies_ms.sort_unstable();
        (cluster.checkers.height(), cluster.latencies_ms[cluster.latencies_ms.len() / 2])
    };
    for seed in [51, 52, 53] {
        let ((rested, rested_ms), (hurried, hurried_ms)) =
            (run(PipelineProfile::Off, true, seed), run(PipelineProfile::Off, false, seed));
        assert!(
            20 * rested_ms < 19 * hurried_ms,
            "seed {seed}: {rested_ms} ms, {hurried_ms} without rest"
        );
        assert!(10 * rested > 9 * hurried, "seed {seed}: {rested} blocks, {hurried} without rest");
    }
    assert_eq!(run(PipelineProfile::On, true, 51), run(PipelineProfile::On, false, 51));
}

/// Where cores are the limit, pipelined blocks take longer, and leaders measure it. Where distances
/// are the limit, pipelined blocks take no longer.
#[test]
fn heights_are_pipelined_where_it_is_worthwhile() {
    let run = |pipeline: PipelineProfile, slowness: u64| {
        let setup = Setup { regions: Regions::Us2, pipeline, ..Setup::fault_free(48) };
        let mut cluster = Cluster::new(ChainFixture::of(4, PATIENT_CONFIG), setup);
        cluster.slowness = slowness;
        for number in 0..60_000 / 20 {
            cluster.submit(number % cluster.fixture.clients.len());
            cluster.run_ms(20);
        }
        assert_eq!((cluster.checkers.violation.clone(), cluster.view_changes), (None, 0));
        cluster.pipelined_votes
    };
    let (far, far_always) = (run(PipelineProfile::Auto, 1), run(PipelineProfile::On, 1));
    assert!(4 * far > 3 * far_always, "{far} pipelined votes, {far_always} were possible");
    // A block counts as unpipelined only if no other member has another height open, even one that
    // this member does not see.
    let (busy, busy_always) = (run(PipelineProfile::Auto, 16), run(PipelineProfile::On, 16));
    assert!(5 * busy < 2 * busy_always, "{busy} pipelined votes, {busy_always} were possible");
    let (slow, slow_always) = (run(PipelineProfile::Auto, 60), run(PipelineProfile::On, 60));
    assert!(3 * slow < slow_always, "{slow} pipelined votes, {slow_always} were possible");
    assert!(slow > 0, "it is tried now and then");
}

/// A member measures the block time only of blocks that it sees decided, and in time.
#[test]
fn late_and_synced_blocks_do_not_count_for_the_block_time() {
    /// The first height that is certainly decided without pipelining.
    const HEIGHT: Height = 16;
    /// Host 0 has voted for a block that the others have made final. An input reports this to host
    /// 0, this much later.
    fn block_times_after(
        later_ms: u64,
        input: fn(NodeId, Block, Certificate) -> Input,
    ) -> (Option<u64>, Option<u64>) {
        let setup = Setup { pipeline: PipelineProfile::Off, ..Setup::fault_free(50) };
        let mut cluster = Cluster::new(ChainFixture::of(4, PATIENT_CONFIG), setup);
        cluster.network.drop_filter = |_, to, message| {
            let decides = |vote: &Vote| vote.phase == Phase::Commit && vote.height == HEIGHT;
            to == 0
                && match message {
                    Message::Vote(signed) => decides(&signed.vote),
                    Message::CommitCertificate(certificate) => decides(&certificate.vote),
                    _ => false,
                }
        };
        while cluster.hosts[1].disk.height() < HEIGHT {
            cluster.submit(0);
            cluster.run_ms(5);
        }
        let from = cluster.fixture.keys[1].0.id();
        let (block, certificate) = cluster.hosts[1].disk.blocks[HEIGHT as usize - 1].clone();
        let host = &mut cluster.hosts[0];
        let now_ms = host.clock_ms(cluster.now_us);
        let replica = host.replica.as_mut().unwrap();
        assert_eq!(
            (replica.height(), replica.view(), replica.mean_block_ms()),
            (HEIGHT, 0, (None, None))
        );
        replica.handle(now_ms + later_ms, input(from, block, certificate)).unwrap();
        assert_eq!(replica.height(), HEIGHT + 1);
        replica.mean_block_ms()
    }
    let decided: fn(NodeId, Block, Certificate) -> Input = |from, _, certificate| Input::Received {
        from,
        message: Unverified::new(Message::CommitCertificate(certificate)),
    };
    let synced: fn(NodeId, Block, Certificate) -> Input =
        |from, block, certificate| Input::Synced { from, blocks: vec![(block, certificate)] };
    let (unpipelined, pipelined) = block_times_after(100, decided);
    assert!(unpipelined.is_some_and(|ms| (100..500).contains(&ms)), "{unpipelined:?}");
    assert_eq!(pipelined, None);
    assert_eq!(block_times_after(100, synced), (None, None));
    assert_eq!(block_times_after(PATIENT_CONFIG.view_timeout_ms, decided), (None, None));
}

/// Pipelining decides more heights in the same time, and each takes no longer.
#[test]
fn two_heights_at_a_time_decide_more() {
    let run = |pipeline: PipelineProfile| {
        let setup = Setup { pipeline, regions: Regions::Aws10, ..Setup::fault_free(47) };
        let cluster = calm_for(ChainFixture::of(7, PATIENT_CONFIG), setup, 20);
        assert_eq!((cluster.checkers.violation.clone(), cluster.view_changes), (None, 0));
        let mut latencies = cluster.latencies_ms.clone();
        latencies.sort_unstable();
        (cluster.checkers.height(), latencies[latencies.len() / 2])
    };
    let ((off, off_ms), (on, on_ms)) = (run(PipelineProfile::Off), run(PipelineProfile::On));
    assert!(4 * on >= 5 * off, "{on} decisions with, {off} without");
    assert!(on_ms <= off_ms + off_ms / 20, "{on_ms} ms with, {off_ms} ms without");
}

#[test]
fn a_torn_write_is_dropped_and_damage_is_detected() {
    let (fixture, mut rng) = (ChainFixture::of(4, CHAIN_CONFIG), Rng::new(1));
    let source = run_fault_free(4, 9, &[], 3);
    let (block, certificate) = source.hosts[0].disk.blocks[0].clone();
    let write = |block: &_, certificate: &_| Write {
        entry: Entry::Block(Clone::clone(block), Clone::clone(certificate)),
        finalised: None,
    };
    for _ in 0..200 {
        let mut disk = Disk::new(fixture);
        disk.blocks.push((block.clone(), certificate.clone()));
        disk.apply(write(&block, &certificate));
        disk.crash_during_write(write(&block, &certificate), WriteFate::Torn, &mut rng);
        assert!(disk.recover().is_ok_and(|records| records.is_empty()));
        disk.apply(write(&block, &certificate));
        assert!(disk.recover().is_ok());
        // A flipped bit in a frame with others behind it: an error, or (in a length) taken for a
        // write that never finished.
        let before = disk.log_len();
        assert!(disk.flip_bit(&mut rng));
        assert!(disk.recover().is_err() || disk.log_len() < before);
    }
}

#[test]
fn known_secrets_give_the_verdicts_and_bytes_of_the_pairing() {
    let secrets: Vec<_> = (1..=4).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    let keys: Vec<_> = secrets.iter().map(|secret| secret.public().decode().unwrap()).collect();
    let outcomes = |is_known: bool| {
        known_secrets::register(if is_known { &secrets[..] } else { &[] });
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
fn cached_verdicts_equal_those_of_the_checks() {
    let (node, proof_key) = (NodeKey::from_bytes(&[1; 32]), vrf::SecretKey::from_bytes(&[2; 32]));
    let (id, public) = (node.id(), proof_key.public().decode().unwrap());
    let verdicts = |is_remembered: bool| {
        let secret = SecretKey::from_seed(&[3; 32]);
        known_secrets::register(is_remembered.then_some(&secret));
        let (mut verdicts, mut keys) = (Vec::new(), KeyCache::default());
        // Each claim twice: the second check uses the cache. One changed byte makes another claim.
        for (at, _) in (0..80).flat_map(|at| [(at, 1), (at, 2)]) {
            let mut signature = node.sign(HashContext::Transaction, b"a");
            let mut proof = proof_key.prove(b"b").unwrap();
            verdicts.push(id.verify(HashContext::Transaction, b"a", &signature).is_ok());
            verdicts.push(id.verify(HashContext::Vote, b"a", &signature).is_ok());
            verdicts.push(public.verify(b"b", &proof).is_ok());
            verdicts.push(public.verify(b"a", &proof).is_ok());
            signature.0[at % 64] ^= 1;
            proof.0[at] ^= 1;
            verdicts.push(id.verify(HashContext::Transaction, b"a", &signature).is_ok());
            verdicts.push(public.verify(b"b", &proof).is_ok());
            for claimed in [b"a", b"c"] {
                let mut batch = SignatureBatch::default();
                batch.add(
                    &mut keys,
                    &id,
                    HashContext::Transaction,
                    claimed,
                    &node.sign(HashContext::Transaction, b"a"),
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

/// Returns the blocks that a host has made final, stored or about to be.
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

/// More faults than any protocol tolerates: two seats of four have twins, and a partition gives
/// each side one set of them. Both sides decide. A light client that receives both decisions halts
/// within the trust period; after it, old keys halt no client.
#[test]
fn twins_beyond_the_limit_fork_the_chain_and_light_clients_detect_it() {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { twins: vec![2, 3], ..Setup::fault_free(31) });
    // Hosts 4 and 5 are the twins of seats 2 and 3.
    cluster.network.partition_ids = vec![0, 1, 0, 0, 1, 1];
    cluster.run_ms(60_000);
    let violation = cluster.checkers.violation.clone().unwrap_or_default();
    assert!(violation.contains("agreement"), "no fork: {violation}");

    let (ours, theirs) = (finals(&cluster, 0), finals(&cluster, 1));
    let fork = ours.iter().find(|(height, o)| {
        theirs.get(height).is_some_and(|t| t.header.digest() != o.header.digest())
    });
    let (height, ours) = fork.unwrap();
    let theirs = &theirs[height];
    let genesis = &fixture.genesis.header;
    let trust_ms = fixture.genesis.params.trust_period_ms;
    let checkpoint = Checkpoint::new(
        genesis.clone(),
        None,
        fixture.genesis.committee.record().clone(),
        trust_ms,
    )
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
        assert!(late.fork_evidence().is_none());
        let halted =
            client.follow(Unverified::new(second.clone()), second.header.time_ms + trust_ms);
        assert_eq!(halted, Err(LightError::Forked(*height)));
        assert!(client.fork_evidence().is_some());
    }
}
