//! Two open heights: rules, restarts, and when leaders pipeline.

use crate::support::run_fault_free;
use tequio_core::{
    consensus::{Head, Input, Replica, RestoreError, WalRecord},
    ledger::{Block, Certificate, Header, Phase, Vote},
    machine::Machine,
    types::{Height, NodeId, Unverified, View},
    wire::consensus::{Message, Proposal},
};
use tequio_simulation::{
    chain_fixture::ChainFixture,
    cluster::{Cluster, PipelineProfile, Setup, VoteRoutingProfile},
    fault_profile::{PATIENT_CONFIG, run_fault_free as calm_for},
    network::Regions,
    scenarios,
};

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
    for profile in [VoteRoutingProfile::All, VoteRoutingProfile::Leader, VoteRoutingProfile::Mixed]
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
