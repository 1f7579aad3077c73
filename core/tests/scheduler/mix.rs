//! Honest workers of every kind and number: the result always equals that of one process.

use crate::{
    byzantine::ByzantineFault,
    fixture::{JOB, data, node_id, spec_of, task},
    sim::{Profile, Sim},
};
use tequio_core::{
    ledger::job::{JobTask, TrainingTask},
    machine::Machine,
    scheduler::{
        ComputeFailed,
        coordinator::{Config, Coordinator, Event, Input, Output, Peer, StartError},
        worker::{self, Offer, Worker},
    },
    types::Digest,
    wire::work::{
        ActiveWorkers, Answer, Assignment, CachedInputs, LeaseRows, LeaseWeights,
        LocalStepsAssignment, Refusal, Request, Response, WaitReason, WaitingFor,
    },
};

const ROUNDS: u32 = 6;

fn browser(unit_ms: u64, latency_ms: u64) -> Profile {
    Profile { is_browser: true, unit_ms, latency_ms, slots: 1, ..Profile::HONEST }
}

#[test]
fn any_mix_of_workers_gives_the_weights_of_one_process() {
    let mixes: [Vec<Profile>; 5] = [
        vec![Profile::HONEST],
        vec![Profile::HONEST; 2],
        vec![Profile::HONEST; 8],
        vec![Profile::HONEST, browser(40, 15), browser(300, 80)],
        vec![browser(30, 10), Profile { slots: 8, ..Profile::HONEST }],
    ];
    for (n, mix) in mixes.iter().enumerate() {
        let mut sim = Sim::new(10 + n as u64, ROUNDS, mix);
        let outcome = sim.run_exact(120_000);
        assert_eq!(outcome.rejected, 0);
        // All units are checked, by another worker or, without one, by the host.
        assert_eq!(outcome.checks, outcome.units);
        assert_eq!(outcome.trained().unwrap().curve.len() as u32, ROUNDS);
        assert_eq!(
            outcome.trained().unwrap().curve.last().unwrap().weights,
            outcome.trained().unwrap().weights.hash()
        );
        assert!(
            outcome.trained().unwrap().accuracy.fraction() > 0.8,
            "{:?}",
            outcome.trained().unwrap().accuracy
        );
        let credited: u32 = outcome.contributors.iter().map(|c| c.units).sum();
        assert_eq!(u64::from(credited), outcome.units);
        println!(
            "{} workers: {} ms, {} messages, host computed {}",
            mix.len(),
            sim.now,
            sim.messages,
            sim.host_computed
        );
    }
}

#[test]
fn every_accepted_unit_is_known_to_its_worker() {
    let mut sim = Sim::new(20, ROUNDS, &[Profile::HONEST, Profile::HONEST, browser(20, 10)]);
    let outcome = sim.run_exact(60_000);
    sim.run_idle(5_000);
    assert!(sim.unanswered() <= 3 * 3, "expired requests are dropped: {}", sim.unanswered());
    for node in &sim.nodes {
        let credited = outcome.contributors.iter().find(|c| c.node == node.id).unwrap();
        let totals = node.worker.totals();
        assert_eq!(totals.macs, credited.macs, "{:?}", node.id);
        assert_eq!(totals.units, u64::from(credited.units + credited.checks));
        assert!(node.events.iter().all(|e| !matches!(e, worker::Event::Rejected { .. })));
    }
}

#[test]
fn events_of_a_unit_do_not_delay_the_next_lease() {
    let fast = Profile { unit_ms: 1, latency_ms: 1, slots: 1, ..Profile::HONEST };
    let rounds = 40;
    for seed in 22..26 {
        let mut sim = Sim::new(seed, rounds, &[fast; 4]);
        sim.run_exact(60_000);
        println!("seed {seed}: {} ms for {rounds} rounds, {} messages", sim.now, sim.messages);
        // Sixteen computations by four workers, each some milliseconds away, and eight writes of
        // one millisecond.
        assert!(sim.now <= u64::from(rounds) * 30, "seed {seed}: {} ms", sim.now);
    }
}

/// A job is in the ledger before its coordinator has started. A worker that requests a lease in
/// between retries soon.
#[test]
fn a_job_unknown_to_its_coordinator_is_requested_again_soon() {
    let mut config = worker::Config::new(node_id(1), [1; 32]);
    config.slots = 1;
    let mut worker = Worker::new(config);
    let Ok(()) =
        worker.handle(0, worker::Input::Jobs(vec![Offer { job: JOB, coordinator: node_id(200) }]));
    let mut pauses = Vec::new();
    let mut now = 0;
    for _ in 0..8 {
        let mut requests = Vec::new();
        while let Some(output) = worker.poll() {
            if let worker::Output::Request { id, request: Request::RequestLease { .. }, .. } =
                output
            {
                requests.push(id);
            }
        }
        assert!(!requests.is_empty(), "no request after {pauses:?}");
        for id in requests {
            let outcome = Ok(Response::refused(Refusal::UnknownJob));
            let Ok(()) = worker.handle(now, worker::Input::Response { id, outcome });
        }
        let next = worker.deadline().unwrap();
        pauses.push(next - now);
        now = next;
        let Ok(()) = worker.handle(now, worker::Input::Tick);
    }
    assert!(pauses[0] <= 500 && pauses.iter().take(3).sum::<u64>() <= 4_000, "{pauses:?}");
    assert_eq!(pauses.last(), Some(&5_000), "{pauses:?}");
}

#[test]
fn a_checker_is_never_the_worker_and_both_halves_are_recorded() {
    let mut sim = Sim::new(21, ROUNDS, &[Profile::HONEST; 3]);
    sim.run_exact(60_000);
    let accepted: Vec<_> = sim
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Accepted { worker, checker, .. } => Some((*worker, *checker)),
            _ => None,
        })
        .collect();
    assert_eq!(accepted.len() as u32, ROUNDS * 8);
    assert!(accepted.iter().all(|(worker, checker)| checker.is_some_and(|c| c != *worker)));
}

#[test]
fn one_slow_browser_beside_four_fast_nodes_does_its_share() {
    let natives = Profile { unit_ms: 2, latency_ms: 1, ..Profile::HONEST };
    for seed in 30..35 {
        let mut sim = Sim::new(seed, 12, &[natives, natives, natives, natives, browser(25, 10)]);
        let outcome = sim.run_exact(120_000);
        assert!(
            4 * outcome.browser_units >= outcome.units,
            "seed {seed}: {} of {}",
            outcome.browser_units,
            outcome.units
        );
    }
    // Without the reserve the browser starves, so the reserve makes the difference.
    let mut sim =
        Sim::with(36, 12, &[natives, natives, natives, natives, browser(25, 10)], |_, config| {
            config.browser_share = 0;
        });
    let outcome = sim.run_exact(120_000);
    assert!(
        4 * outcome.browser_units < outcome.units,
        "{} of {}",
        outcome.browser_units,
        outcome.units
    );
}

#[test]
fn a_vanished_browser_delays_each_round_for_a_bounded_time() {
    let mut sim = Sim::new(37, 4, &[Profile::HONEST, Profile::HONEST, browser(10, 5)]);
    sim.closes(2, 40);
    sim.run_exact(10_000);
}

#[test]
fn faster_workers_get_more() {
    let slow = Profile { unit_ms: 400, ..Profile::HONEST };
    let mut sim = Sim::new(38, 12, &[Profile::HONEST, Profile::HONEST, slow]);
    let outcome = sim.run_exact(120_000);
    let done = |n: usize| {
        outcome.contributors.iter().find(|c| c.node == node_id(n)).map_or(0, |c| c.units + c.checks)
    };
    assert!(done(0) > 2 * done(2) && done(1) > 2 * done(2), "{:?}", outcome.contributors);
    assert!(done(2) > 0);
}

#[test]
fn a_tab_closed_in_the_middle_of_a_unit_loses_nothing() {
    for at in [1, 8, 12, 17, 23, 40, 61] {
        let mut sim = Sim::new(at, ROUNDS, &[Profile::HONEST, Profile::HONEST, browser(30, 3)]);
        sim.closes(2, at);
        let outcome = sim.run_exact(60_000);
        assert_eq!(outcome.units, u64::from(ROUNDS) * 8);
        sim.run_idle(20_000);
        assert_eq!(sim.unanswered_of(2), 0, "closed at {at}");
    }
}

#[test]
fn stragglers_get_a_backup_copy() {
    let stuck = Profile { unit_ms: 50_000, is_browser: true, slots: 1, ..Profile::HONEST };
    let mut sim = Sim::with(39, 2, &[Profile::HONEST, Profile::HONEST, stuck], |_, config| {
        config.lease_ms_min = 60_000;
    });
    let outcome = sim.run_exact(20_000);
    // The straggler still computes the unit that another worker finished in its place.
    let straggler = &sim.nodes[2];
    assert!(straggler.worker.busy() > 0, "the straggler held no lease");
    assert!(outcome.contributors.iter().all(|c| c.node != straggler.id));
}

#[test]
fn requests_of_unknown_peers_and_for_other_jobs_are_refused_and_change_nothing() {
    let data = data();
    let spec = spec_of(&data, JobTask::Train(task(&data, 1)));
    let mut coordinator =
        Coordinator::new(0, JOB, spec, data, Config::new(node_id(200), [1; 32])).unwrap();
    let from = Peer { node: node_id(1), is_browser: false, rtt_ms: None, reputation: 0 };
    let lease = |job| tequio_core::wire::work::LeaseId { job, number: 7 };
    let cases = [
        (
            Request::RequestLease {
                job: Digest([1; 32]),
                slots: 1,
                cached: CachedInputs::default(),
            },
            Refusal::UnknownJob,
        ),
        (
            Request::Commit { lease: lease(JOB), commitment: Digest::default() },
            Refusal::UnknownLease,
        ),
        (Request::State { lease: lease(JOB), step: 1, state: None }, Refusal::UnknownLease),
    ];
    for (id, (request, refusal)) in cases.into_iter().enumerate() {
        let id = id as u64;
        coordinator.handle(1, Input::Request { id, from, request }).unwrap();
        match coordinator.poll() {
            Some(Output::Reply {
                id: to,
                response: Response { answer: Answer::Refused(why), .. },
            }) => {
                assert_eq!((to, why), (id, refusal));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(coordinator.handle(2, Input::Persisted).is_ok());
    assert!(
        coordinator
            .handle(2, Input::Computed { compute_id: 3, output: Err(ComputeFailed) })
            .is_err()
    );
}

#[test]
fn progress_names_what_is_missing_and_how_many_take_part() {
    let data = data();
    let spec = spec_of(&data, JobTask::Train(task(&data, 1)));
    let mut coordinator =
        Coordinator::new(1_000, JOB, spec, data, Config::new(node_id(200), [1; 32])).unwrap();
    let missing = |since_ms| Some(WaitingFor { reason: WaitReason::Workers, since_ms });
    coordinator.handle(5_000, Input::Tick).unwrap();
    assert_eq!(coordinator.progress().waiting, missing(1_000));
    let from = Peer { node: node_id(1), is_browser: true, rtt_ms: None, reputation: 0 };
    let request = Request::RequestLease { job: JOB, slots: 1, cached: CachedInputs::default() };
    coordinator.handle(6_000, Input::Request { id: 1, from, request }).unwrap();
    let progress = coordinator.progress();
    assert_eq!(
        (progress.waiting, progress.workers),
        (None, ActiveWorkers { full: 0, browsers: 1 })
    );
    let reported = std::iter::from_fn(|| coordinator.poll())
        .any(|o| matches!(o, Output::Event(Event::Activity)));
    assert!(reported, "a change is reported");
    // A closed tab counts until its lease has ended.
    coordinator.handle(7_000, Input::Disconnected(from.node)).unwrap();
    assert_eq!(coordinator.progress().workers.browsers, 1);
    coordinator.handle(9_000, Input::Tick).unwrap();
    let progress = coordinator.progress();
    assert_eq!((progress.waiting, progress.workers), (missing(9_000), ActiveWorkers::default()));
    coordinator.handle(9_500, Input::Cancel).unwrap();
    let progress = coordinator.progress();
    assert_eq!((progress.waiting, progress.state.as_str()), (None, "cancelled"));
}

#[test]
fn cached_inputs_and_inputs_in_transit_are_not_sent_again() {
    let data = data();
    let spec = spec_of(&data, JobTask::Train(task(&data, 1)));
    let mut coordinator =
        Coordinator::new(0, JOB, spec, data, Config::new(node_id(200), [1; 32])).unwrap();
    let from = Peer { node: node_id(1), is_browser: false, rtt_ms: None, reputation: 0 };
    let mut lease = |now, cached, gone: bool| {
        if gone {
            coordinator.handle(now, Input::Disconnected(from.node)).unwrap();
        }
        coordinator
            .handle(
                now,
                Input::Request {
                    id: 1,
                    from,
                    request: Request::RequestLease { job: JOB, slots: 3, cached },
                },
            )
            .unwrap();
        let lease = std::iter::from_fn(|| coordinator.poll()).find_map(|output| match output {
            Output::Reply { response: Response { answer: Answer::Lease(lease), .. }, .. } => {
                Some(*lease)
            }
            _ => None,
        });
        let lease = lease.expect("a work unit is free");
        // Commits, so that the lease limit does not delay the next request.
        let request = Request::Commit { lease: lease.id, commitment: Digest::default() };
        coordinator.handle(now, Input::Request { id: 2, from, request }).unwrap();
        match lease.assignment {
            Assignment::LocalSteps(LocalStepsAssignment { weights, rows, .. }) => {
                let rows = match rows {
                    LeaseRows::Cached => "cached",
                    LeaseRows::Unit(_) => "unit",
                    LeaseRows::All(_) => "all",
                };
                (matches!(weights, LeaseWeights::Inline(_)), rows)
            }
            Assignment::Task(task) => panic!("{task:?}"),
        }
    };
    let (nothing, everything) =
        (CachedInputs::default(), CachedInputs { weights_round: Some(0), rows: true });
    assert_eq!(lease(0, nothing, false), (true, "all"));
    assert_eq!(lease(100, nothing, false), (false, "unit"), "both are on their way");
    assert_eq!(lease(200, everything, false), (false, "cached"));
    assert_eq!(lease(2_500, nothing, false), (true, "unit"), "the weights must have been lost");
    assert_eq!(lease(2_600, nothing, true), (true, "all"), "another connection");
}

#[test]
fn a_flood_of_requests_is_answered_in_bounded_memory() {
    let data = data();
    let spec = spec_of(&data, JobTask::Train(task(&data, 1)));
    let mut coordinator =
        Coordinator::new(0, JOB, spec, data, Config::new(node_id(200), [1; 32])).unwrap();
    let mut answered = 0u64;
    for id in 0..5_000u64 {
        let from = Peer {
            node: node_id((id % 100) as usize),
            is_browser: false,
            rtt_ms: None,
            reputation: 0,
        };
        let request =
            Request::RequestLease { job: JOB, slots: 255, cached: CachedInputs::default() };
        coordinator.handle(id / 100, Input::Request { id, from, request }).unwrap();
        answered += replies(&mut coordinator);
    }
    assert!(answered >= 5_000 - 512, "{answered}");
    coordinator.handle(10_000, Input::Tick).unwrap();
    answered += replies(&mut coordinator);
    assert_eq!(answered, 5_000);
}

/// Responses that wait in a coordinator.
fn replies(coordinator: &mut Coordinator) -> u64 {
    std::iter::from_fn(|| coordinator.poll())
        .filter(|output| matches!(output, Output::Reply { .. }))
        .count() as u64
}

#[test]
fn jobs_that_cannot_be_coordinated_are_refused() {
    let data = data();
    let config = || Config::new(node_id(200), [1; 32]);
    let coordinate = |task: &TrainingTask| {
        Coordinator::new(
            0,
            JOB,
            spec_of(&data, JobTask::Train(task.clone())),
            data.clone(),
            config(),
        )
    };
    let mut other = task(&data, 1);
    other.training_rows += 1;
    assert!(matches!(coordinate(&other).unwrap_err(), StartError::WrongDataset { .. }));
    let mut wide = task(&data, 1);
    wide.params.architecture.dims = vec![4, 700, 700, 3].try_into().unwrap();
    wide.params.rows_per_step = 1;
    assert!(coordinate(&wide).is_ok());
    wide.params.architecture.dims = vec![4, 730, 730, 3].try_into().unwrap();
    assert!(matches!(coordinate(&wide).unwrap_err(), StartError::TooLarge { .. }));
}

#[test]
fn a_worker_that_sends_everything_twice_does_no_harm() {
    let mut sim = Sim::new(
        40,
        ROUNDS,
        &[
            Profile::byzantine(ByzantineFault::Duplicates),
            Profile::HONEST,
            Profile::byzantine(ByzantineFault::Duplicates),
        ],
    );
    let outcome = sim.run_exact(300_000);
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn a_cancelled_job_ends_all_work() {
    let mut sim = Sim::new(41, ROUNDS, &[Profile::HONEST; 2]);
    sim.run_idle(30);
    assert!(sim.nodes.iter().any(|n| n.worker.busy() > 0));
    sim.coordinator.handle(sim.now, Input::Cancel).unwrap();
    sim.run_idle(60_000);
    assert!(sim.outcome.is_none());
    assert!(sim.nodes.iter().all(|n| n.worker.busy() == 0));
}
