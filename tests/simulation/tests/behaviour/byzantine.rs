//! Each Byzantine fault, the evidence of it, and more faults than are tolerated.

use crate::support::run_fault_free;
use std::collections::BTreeMap;
use tequio_core::{
    consensus::Offence,
    ledger::{Checkpoint, ConvictionReason, Header, Phase, Vote, leader},
    light::{LightClient, LightError, Progress},
    types::{Height, Unverified},
    wire::{consensus::Message, light::FinalHeader},
};
use tequio_simulation::{
    adversary::ByzantineFault,
    chain_fixture::ChainFixture,
    cluster::{Cluster, Setup, VoteRoutingProfile},
    fault_profile::{CHAIN_CONFIG, ROUGH, run},
};

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
            Setup { byzantine, profile: VoteRoutingProfile::Leader, ..Setup::fault_free(35) },
        );
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None, "{fault:?}");
        assert!(cluster.checkers.height() >= 8, "{fault:?}: height {}", cluster.checkers.height());
    }
}

/// The gain of a proposer that withholds, as in docs/consensus/protocol.md, with whole machines:
/// the share of first views of these terms that one of four members leads. Its share `s` is also
/// its chance to lead the first view of a term's last height. There it takes the seed of its own
/// proof, if that seed gives it more than its fair `p`, or else one that it cannot foresee. So
/// `s = p + s G`, where `G` is the mean excess of a binomial share above `p`.
#[test]
fn withholding_gains_the_predicted_share_and_costs_a_view_each_time() {
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
        "seed {seed}: {mean:.4} of the first views of {count} terms, {expected:.4} +- {bound:.4} \
         expected, {p} is fair"
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
