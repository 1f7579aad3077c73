//! The file of a contribution: what it proves, and the changes that make it prove nothing.

use super::{handovers::Fixture, *};
use crate::{
    compute::params::Architecture,
    content::{Cid, CidCodec},
    ledger::job::{
        Contributor, FailReason, InferenceTask, Job, JobOutput, JobResult, JobSpec, JobStatus,
        JobTask,
    },
    light::contribution::{ContributionError, ContributionFile},
};

const NODE: NodeId = NodeId([7; 32]);
const JOB: Digest = Digest([8; 32]);

/// The first state with a job in it.
fn state_with(chain: &Chain, status: JobStatus) -> State {
    let cid = Cid::of(CidCodec::Raw, b"rows");
    let architecture =
        Architecture { dims: BoundedVec::truncated([4, 2]), input_exponent: 7, hidden_exponent: 7 };
    let task =
        JobTask::Infer(InferenceTask { training_job: JOB, model: cid, architecture, rows: 8 });
    let spec = JobSpec { name: "digits".try_into().unwrap(), dataset: cid, task };
    let mut state = chain.start.state.clone();
    let job = Job { spec, coordinator: NodeId([6; 32]), submitted: 1, status };
    state.insert(Entry::Job(JOB, job.into()));
    state
}

fn is_final() -> JobStatus {
    let contributors = [(NODE, 4, 40), (NodeId([9; 32]), 6, 60)];
    let contributors =
        contributors.map(|(node, units, macs)| Contributor { node, units, checks: 1, macs });
    let output = JobOutput::Answers(Cid::of(CidCodec::Raw, b"answers"));
    let result =
        JobResult { output, contributors: BoundedVec::truncated(contributors), rejected: 0 };
    JobStatus::Final { result, at: 2, minted: 0 }
}

fn file(
    node: NodeId,
    handovers: Vec<CommitteeHandover>,
    header: FinalHeader,
    state: &State,
) -> ContributionFile {
    ContributionFile::new(node, JOB, handovers, header, state.prove(&Key::Job(JOB))).unwrap()
}

fn in_first_epoch(chain: &Chain, node: NodeId, state: &State) -> ContributionFile {
    file(node, vec![], chain.certify(&chain.header(5, state), &[0, 1, 2]), state)
}

#[test]
fn a_file_proves_what_a_member_did() {
    let chain = Chain::new(1);
    let file = in_first_epoch(&chain, NODE, &state_with(&chain, is_final()));
    let file = ContributionFile::decode(&file.encode()).unwrap();
    let proved = file.verify(chain.client(), 10_000).unwrap();
    assert_eq!((proved.contributor.units, proved.contributor.macs), (4, 40));
    assert_eq!((proved.header.height, proved.job.coordinator), (5, NodeId([6; 32])));
    assert_eq!(proved.result.contributors.len(), 2);
}

#[test]
fn a_file_verifies_across_epochs_from_an_older_or_a_newer_checkpoint() {
    let fixture = Fixture::new();
    let state = state_with(&fixture.chain, is_final());
    let file =
        file(NODE, vec![fixture.handover()], fixture.later_with(&state, &[0, 1, 2, 4]), &state);
    let mut newer = fixture.chain.client();
    newer.follow_handovers(1, vec![fixture.handover()], 10_000).unwrap();
    for client in [fixture.chain.client(), newer] {
        assert_eq!(file.clone().verify(client, 10_000).unwrap().contributor.units, 4);
    }
    let without = ContributionFile { handovers: BoundedVec::default(), ..file };
    let refused = without.verify(fixture.chain.client(), 10_000);
    assert!(
        matches!(refused, Err(ContributionError::Light(LightError::LaterEpoch { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_member_without_a_part_and_a_job_without_a_result_are_refused() {
    let chain = Chain::new(1);
    let verify = |node, status| {
        in_first_epoch(&chain, node, &state_with(&chain, status)).verify(chain.client(), 10_000)
    };
    let other_node = NodeId([1; 32]);
    assert_eq!(
        verify(other_node, is_final()).err(),
        Some(ContributionError::NoContributor(other_node))
    );
    let failed = JobStatus::Failed { at: 2, reason: FailReason::Cancelled };
    for status in [JobStatus::Running, failed] {
        assert_eq!(verify(NODE, status).err(), Some(ContributionError::NotFinal(JOB)));
    }
    let absent = in_first_epoch(&chain, NODE, &chain.start.state).verify(chain.client(), 10_000);
    assert_eq!(absent.err(), Some(ContributionError::NotFinal(JOB)));
}

#[test]
fn a_changed_byte_is_detected() {
    let chain = Chain::new(1);
    let bytes = in_first_epoch(&chain, NODE, &state_with(&chain, is_final())).encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(file) = ContributionFile::decode(&changed) else { continue };
        assert!(file.verify(chain.client(), 10_000).is_err(), "byte {at}");
    }
    assert_eq!(ContributionFile::decode(b"TEQUIOH1"), Err(ContributionError::Magic));
}

#[test]
fn a_file_of_another_network_is_refused_as_such() {
    let chain = Chain::new(1);
    let mut file = in_first_epoch(&chain, NODE, &state_with(&chain, is_final()));
    file.header.header.chain = ChainId([9; 32]);
    let refused = file.verify(chain.client(), 10_000).err();
    let known = *chain.client().chain();
    assert_eq!(refused, Some(ContributionError::OtherNetwork { known, found: ChainId([9; 32]) }));
}

#[test]
fn a_file_verifies_within_the_trust_period_or_as_of_a_time_in_it() {
    let chain = Chain::new(1);
    let file = in_first_epoch(&chain, NODE, &state_with(&chain, is_final()));
    let late = file.clone().verify(chain.client(), 1000 + TRUST_MS + 1);
    assert_eq!(late.err(), Some(ContributionError::Light(LightError::Outdated)));
    assert!(file.verify(chain.client(), 1000 + TRUST_MS).is_ok());
}
