//! Jobs end by the verdicts of auditors, and mint within their limits.

use super::*;
use crate::ledger::transition::jobs::JOBS_PER_OWNER_MAX;

#[test]
fn a_result_becomes_final_only_by_auditors_drawn_later() {
    let mut ledger = Ledger::new();
    let job = ledger.submit();
    let found =
        result(vec![ledger.contributor(4, 300_000_000), ledger.contributor(0, 500_000_000)]);
    assert_eq!(
        ledger.apply_action(1, Action::JobResult { job, result: found.clone() }),
        Err(TransactionError::NotCoordinator)
    );
    assert_eq!(ledger.apply_action(0, Action::JobResult { job, result: found }), Ok(()));
    // Auditors are not drawn yet: no node can audit.
    assert_eq!(
        ledger.apply_action(1, Action::Audit { job, verdict: Verdict::Agree }),
        Err(TransactionError::NotAuditor)
    );
    ledger.block(&[]);
    let auditors = ledger.auditors(&job);
    assert_eq!(auditors.len(), 3, "a quorum of the four, without the coordinator");
    assert!(!auditors.contains(&0));
    let agree = Action::Audit { job, verdict: Verdict::Agree };
    assert_eq!(ledger.apply_action(0, agree.clone()), Err(TransactionError::NotAuditor));
    assert_eq!(ledger.apply_action(auditors[0], agree.clone()), Ok(()));
    assert_eq!(
        ledger.apply_action(auditors[0], agree.clone()),
        Err(TransactionError::AlreadyAudited)
    );
    ledger.block(&[]);
    assert!(matches!(ledger.status(&job), JobStatus::Pending { .. }), "one audit is not enough");
    assert_eq!(ledger.apply_action(auditors[1], agree), Ok(()));
    let JobStatus::Final { minted, .. } = ledger.status(&job) else { panic!("not final") };
    assert_eq!(*minted, 300, "the coordinator's own work mints nothing");
    let worker = ledger.state.account(&ledger.keys[4].id()).unwrap();
    assert_eq!((worker.reputation, worker.units, worker.registered), (300, 1, false));
    let own = ledger.state.account(&ledger.keys[0].id()).unwrap();
    assert_eq!((own.reputation, own.units, own.jobs), (0, 1, 0));
    let name = RefName::try_from(alloc::format!("{MODELS}{job}")).unwrap();
    assert_eq!(ledger.state.reference(&name).unwrap().cid, Cid::of(CidCodec::DagCbor, b"model"));
    assert!(ledger.state.pending_jobs().is_empty());
}

#[test]
fn a_batch_is_answered_only_by_a_final_model() {
    let mut ledger = Ledger::new();
    let job = ledger.submit();
    let task = InferenceTask {
        training_job: job,
        model: trained().model,
        architecture: training().params.architecture,
        rows: 1000,
    };
    let submit = |ledger: &mut Ledger, task: InferenceTask| {
        let nonce = ledger.state.account(&ledger.keys[1].id()).unwrap().nonce;
        let spec = JobSpec { task: JobTask::Infer(task), ..spec() };
        let transaction = ledger.sign(1, nonce, Action::SubmitJob(spec));
        let id = transaction.id();
        ledger.block(&[transaction]).remove(0).map(|()| id)
    };
    assert_eq!(
        submit(&mut ledger, task.clone()),
        Err(TransactionError::WrongModel),
        "not final yet"
    );
    ledger.audit_to_final(0, job, result(vec![]));
    let other_model = InferenceTask { model: trained().record, ..task.clone() };
    assert_eq!(submit(&mut ledger, other_model), Err(TransactionError::WrongModel));
    let mut other_shape = task.clone();
    other_shape.architecture.dims = vec![64, 128, 10].try_into().unwrap();
    assert_eq!(submit(&mut ledger, other_shape), Err(TransactionError::WrongModel));
    let no_rows = InferenceTask { rows: 0, ..task.clone() };
    assert_eq!(submit(&mut ledger, no_rows), Err(TransactionError::InvalidJobParams));
    let batch = submit(&mut ledger, task.clone()).unwrap();
    // A model is no valid result of an inference, and answers are no model to infer with.
    let wrong = Action::JobResult { job: batch, result: result(vec![]) };
    assert_eq!(ledger.apply_action(1, wrong), Err(TransactionError::BadResult));
    let answers = Cid::of(CidCodec::DagCbor, b"answers");
    let found = JobResult {
        output: JobOutput::Answers(answers),
        ..result(vec![ledger.contributor(4, 1000)])
    };
    ledger.audit_to_final(1, batch, found);
    let name = RefName::try_from(alloc::format!("{ANSWERS}{batch}")).unwrap();
    assert_eq!(ledger.state.reference(&name).unwrap().cid, answers);
    assert_eq!(
        submit(&mut ledger, InferenceTask { training_job: batch, ..task }),
        Err(TransactionError::WrongModel)
    );
}

#[test]
fn disagreement_and_silence_end_a_job_without_a_model() {
    let mut ledger = Ledger::new();
    let refuted = ledger.submit();
    assert_eq!(
        ledger.apply_action(0, Action::JobResult { job: refuted, result: result(vec![]) }),
        Ok(())
    );
    let silent = ledger.submit();
    assert_eq!(
        ledger.apply_action(0, Action::JobResult { job: silent, result: result(vec![]) }),
        Ok(())
    );
    ledger.block(&[]);
    ledger.block(&[]);
    for auditor in ledger.auditors(&refuted).into_iter().take(2) {
        assert_eq!(
            ledger
                .apply_action(auditor, Action::Audit { job: refuted, verdict: Verdict::Disagree }),
            Ok(())
        );
    }
    assert!(matches!(
        ledger.status(&refuted),
        JobStatus::Failed { reason: FailReason::Refuted, .. }
    ));
    for _ in 0..AUDIT_BLOCKS_MAX {
        ledger.block(&[]);
    }
    assert!(matches!(
        ledger.status(&silent),
        JobStatus::Failed { reason: FailReason::Unaudited, .. }
    ));
    let cancelled = ledger.submit();
    assert_eq!(ledger.apply_action(0, Action::CancelJob { job: cancelled }), Ok(()));
    assert_eq!(
        ledger.apply_action(0, Action::CancelJob { job: cancelled }),
        Err(TransactionError::WrongJobStatus)
    );
    for job in [refuted, silent, cancelled] {
        let name = RefName::try_from(alloc::format!("{MODELS}{job}")).unwrap();
        assert_eq!(ledger.state.reference(&name), None);
    }
}

#[test]
fn minting_is_capped_per_submitter_and_results_may_not_overclaim() {
    let mut ledger = Ledger::new();
    let job = ledger.submit();
    let twice = vec![ledger.contributor(4, 1), ledger.contributor(4, 1)];
    let greedy = vec![Contributor { units: 441, ..ledger.contributor(4, 1) }];
    let endless = vec![ledger.contributor(4, u64::MAX)];
    for contributors in [twice, greedy, endless] {
        let result = result(contributors);
        assert_eq!(
            ledger.apply_action(0, Action::JobResult { job, result }),
            Err(TransactionError::BadResult)
        );
    }
    let contributors = vec![ledger.contributor(4, 900_000_000), ledger.contributor(5, 900_000_000)];
    assert_eq!(
        ledger.apply_action(0, Action::JobResult { job, result: result(contributors) }),
        Ok(())
    );
    ledger.block(&[]);
    ledger.block(&[]);
    for auditor in ledger.auditors(&job).into_iter().take(2) {
        ledger.apply_action(auditor, Action::Audit { job, verdict: Verdict::Agree }).unwrap();
    }
    let reputation =
        |key: usize| ledger.state.account(&ledger.keys[key].id()).map(|a| a.reputation);
    assert_eq!((reputation(4), reputation(5)), (Some(900), Some(MINT_MAX - 900)));
}

#[test]
fn jobs_outside_the_limits_are_refused() {
    let mut ledger = Ledger::new();
    let mut submit = |change: &dyn Fn(&mut TrainingTask)| {
        let mut task = training();
        change(&mut task);
        ledger.apply_action(0, Action::SubmitJob(JobSpec { task: JobTask::Train(task), ..spec() }))
    };
    assert_eq!(submit(&|task| task.params.rounds = 0), Err(TransactionError::InvalidJobParams));
    assert_eq!(submit(&|task| task.training_rows = 63), Err(TransactionError::InvalidJobParams));
    assert!(matches!(
        submit(&|task| task.params.rounds = 1 << 20),
        Err(TransactionError::JobTooLarge(_))
    ));
    for _ in 0..JOBS_PER_OWNER_MAX {
        ledger.submit();
    }
    assert_eq!(
        ledger.apply_action(0, Action::SubmitJob(spec())),
        Err(TransactionError::QuotaExceeded(JOBS_PER_OWNER_MAX))
    );
}
