//! The training record: contributors, checks, the accuracy curve and rejected results. One DAG-CBOR
//! block, named by the ledger's result beside the model.
//!
//! The record is the coordinator's account; the transaction that names it is signed. Anybody can
//! recompute the weights' digests in it from data set and parameters. Every record contains
//! [`STATEMENT`], which limits what it claims.

use crate::{
    codec::{self, BoundedString},
    compute::params::{JobParams, Mode, Rounding},
    content::{
        Cid,
        block::{Block, ObjectError},
        dag_cbor::{self, bytes, digest},
    },
    ledger::{
        ids::JobId,
        job::{CONTRIBUTORS_MAX, JOB_NAME_LEN_MAX, TrainingTask},
    },
    types::{Digest, NodeId, Verified},
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use ipld_core::cid::Cid as AnyCid;
use serde::{Deserialize, Serialize};

/// The kind field of the block.
const KIND: &str = "tequio/training-record";
/// Version of the block's format.
const VERSION: u32 = 1;
const WRONG_FORM: ObjectError = ObjectError::WrongForm("training record");
/// Most points of the curve.
const CURVE_LEN_MAX: usize = 1024;
/// Most rejections listed.
const REJECTIONS_MAX: usize = 256;
/// Longest reason, bytes.
const REASON_LEN_MAX: usize = 160;

/// The meaning of "verified", and its limits.
pub const STATEMENT: &str = "Verified means: computed as the parameters specify, from the named \
data set. It says nothing about whether the data are honest, correct or fit for a purpose.";

/// The record of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingRecord {
    /// The job.
    pub job: JobId,
    /// The job's name, as the ledger has it.
    pub name: BoundedString<JOB_NAME_LEN_MAX>,
    /// The data set.
    pub dataset: Cid,
    /// The requested training.
    pub task: TrainingTask,
    /// The node that leased the work units.
    pub coordinator: NodeId,
    /// Work units accepted.
    pub units: u64,
    /// Of these, work units that another node recomputed before they counted.
    pub checks: u64,
    /// Of these, work units computed by browsers.
    pub browser_units: u64,
    /// The contributors, largest contribution first.
    pub contributors: Vec<Contribution>,
    /// Accuracy and weights, round by round.
    pub curve: Vec<Point>,
    /// The first results that were rejected.
    pub rejections: Vec<Rejected>,
    /// Number of all rejected results.
    pub rejected: u32,
}

/// One node's part in the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The node.
    pub node: NodeId,
    /// Work units computed and accepted.
    pub units: u32,
    /// Work units of others recomputed.
    pub checks: u32,
    /// Multiply-accumulates of both.
    pub macs: u64,
}

/// The accuracy after some rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Rounds done.
    pub round: u32,
    /// Test rows classified correctly.
    pub correct: u32,
    /// Test rows.
    pub total: u32,
    /// Digest of the weights.
    pub weights: Digest,
}

/// A result that was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The round.
    pub round: u32,
    /// The work unit.
    pub unit: u32,
    /// The worker that submitted it.
    pub worker: NodeId,
    /// Reason, for people.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Form {
    kind: String,
    version: u32,
    statement: String,
    #[serde(with = "bytes")]
    job: Vec<u8>,
    name: String,
    dataset: AnyCid,
    training_rows: u32,
    parameters: Parameters,
    /// Share of work units that the job declares to be recomputed, in 1/65536.
    checked: u32,
    #[serde(with = "bytes")]
    coordinator: Vec<u8>,
    units: u64,
    checks: u64,
    units_guest: u64,
    contributors: Vec<ContributionForm>,
    curve: Vec<PointForm>,
    rejections: Vec<RejectedForm>,
    rejected: u32,
}

#[derive(Serialize, Deserialize)]
struct Parameters {
    dims: Vec<u32>,
    input_exponent: u8,
    hidden_exponent: u8,
    unit_rows: u32,
    mode: String,
    lanes: u32,
    steps: u32,
    learning_rate: u32,
    momentum: u16,
    rounds: u32,
    seed: u32,
    rounding: String,
}

#[derive(Serialize, Deserialize)]
struct ContributionForm {
    #[serde(with = "bytes")]
    node: Vec<u8>,
    units: u32,
    checks: u32,
    macs: u64,
}

#[derive(Serialize, Deserialize)]
struct PointForm {
    round: u32,
    correct: u32,
    total: u32,
    #[serde(with = "bytes")]
    weights: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct RejectedForm {
    round: u32,
    lane: u32,
    #[serde(with = "bytes")]
    worker: Vec<u8>,
    reason: String,
}

impl Parameters {
    fn of(params: &JobParams) -> Self {
        let (mode, lanes, steps) = match params.mode {
            Mode::Local { units: lanes, steps } => ("local", lanes, steps),
            Mode::Exact { units } => ("exact", units, 1),
        };
        Self {
            dims: params.architecture.dims.to_vec(),
            input_exponent: params.architecture.input_exponent,
            hidden_exponent: params.architecture.hidden_exponent,
            unit_rows: params.rows_per_step,
            mode: mode.to_string(),
            lanes,
            steps,
            learning_rate: params.learning_rate,
            momentum: params.momentum,
            rounds: params.rounds,
            seed: params.seed,
            rounding: rounding_name(params.rounding).to_string(),
        }
    }

    fn read(self) -> Option<JobParams> {
        let mode = match (self.mode.as_str(), self.steps) {
            ("local", steps) => Mode::Local { units: self.lanes, steps },
            ("exact", 1) => Mode::Exact { units: self.lanes },
            _ => return None,
        };
        let params = JobParams {
            architecture: crate::compute::params::Architecture {
                dims: self.dims.try_into().ok()?,
                input_exponent: self.input_exponent,
                hidden_exponent: self.hidden_exponent,
            },
            rows_per_step: self.unit_rows,
            mode,
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            rounds: self.rounds,
            seed: self.seed,
            rounding: [Rounding::Stochastic, Rounding::Nearest]
                .into_iter()
                .find(|r| rounding_name(*r) == self.rounding)?,
        };
        params.clone().validate().ok().map(|_| params)
    }
}

const fn rounding_name(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Stochastic => "stochastic",
        Rounding::Nearest => "nearest",
    }
}

fn shortened(reason: &str) -> String {
    let end = (0..=REASON_LEN_MAX).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    reason.get(..end).unwrap_or(reason).to_string()
}

fn node(bytes: &[u8]) -> Result<NodeId, ObjectError> {
    digest(bytes, &WRONG_FORM).map(NodeId)
}

impl TrainingRecord {
    /// The block of this record. Entries beyond the caps are left out of the lists, but not of the
    /// counts.
    pub fn to_block(&self) -> Result<Block, ObjectError> {
        let contribution = |c: &Contribution| ContributionForm {
            node: c.node.0.to_vec(),
            units: c.units,
            checks: c.checks,
            macs: c.macs,
        };
        let point = |p: &Point| PointForm {
            round: p.round,
            correct: p.correct,
            total: p.total,
            weights: p.weights.0.to_vec(),
        };
        let rejection = |r: &Rejected| RejectedForm {
            round: r.round,
            lane: r.unit,
            worker: r.worker.0.to_vec(),
            reason: shortened(&r.reason),
        };
        dag_cbor::encode(&Form {
            kind: KIND.to_string(),
            version: VERSION,
            statement: STATEMENT.to_string(),
            job: self.job.0.to_vec(),
            name: self.name.to_string(),
            dataset: self.dataset.into(),
            training_rows: self.task.training_rows,
            parameters: Parameters::of(&self.task.params),
            checked: self.task.spot_check_share,
            coordinator: self.coordinator.0.to_vec(),
            units: self.units,
            checks: self.checks,
            units_guest: self.browser_units,
            contributors: self
                .contributors
                .iter()
                .take(CONTRIBUTORS_MAX)
                .map(contribution)
                .collect(),
            curve: self.curve.iter().take(CURVE_LEN_MAX).map(point).collect(),
            rejections: self.rejections.iter().take(REJECTIONS_MAX).map(rejection).collect(),
            rejected: self.rejected,
        })
    }

    /// Reads a block whose bytes have been checked against its name.
    pub fn from_block(block: Verified<Block>) -> Result<Self, ObjectError> {
        let form: Form = dag_cbor::decode(&block.bytes)?;
        let fits = form.kind == KIND
            && form.version == VERSION
            && form.statement == STATEMENT
            && form.contributors.len() <= CONTRIBUTORS_MAX
            && form.curve.len() <= CURVE_LEN_MAX
            && form.rejections.len() <= REJECTIONS_MAX
            && form.rejections.iter().all(|r| r.reason.len() <= REASON_LEN_MAX);
        if !fits {
            return Err(WRONG_FORM);
        }
        let dataset: Cid = form.dataset.try_into().map_err(|_| WRONG_FORM)?;
        let name = form.name.try_into().map_err(|_: codec::DecodeError| WRONG_FORM)?;
        let task = TrainingTask {
            params: form.parameters.read().ok_or(WRONG_FORM)?,
            training_rows: form.training_rows,
            spot_check_share: form.checked,
        };
        let contribution = |c: &ContributionForm| {
            Ok(Contribution {
                node: node(&c.node)?,
                units: c.units,
                checks: c.checks,
                macs: c.macs,
            })
        };
        let point = |p: &PointForm| {
            let weights = Digest(digest(&p.weights, &WRONG_FORM)?);
            Ok(Point { round: p.round, correct: p.correct, total: p.total, weights })
        };
        let rejection = |r: RejectedForm| {
            Ok(Rejected {
                round: r.round,
                unit: r.lane,
                worker: node(&r.worker)?,
                reason: r.reason,
            })
        };
        Ok(Self {
            job: Digest(digest(&form.job, &WRONG_FORM)?),
            name,
            dataset,
            task,
            coordinator: node(&form.coordinator)?,
            units: form.units,
            checks: form.checks,
            browser_units: form.units_guest,
            contributors: form
                .contributors
                .iter()
                .map(contribution)
                .collect::<Result<_, ObjectError>>()?,
            curve: form.curve.iter().map(point).collect::<Result<_, ObjectError>>()?,
            rejections: form
                .rejections
                .into_iter()
                .map(rejection)
                .collect::<Result<_, ObjectError>>()?,
            rejected: form.rejected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compute::params::Architecture,
        content::{CidCodec, block::BLOCK_LEN_MAX},
        types::Unverified,
    };
    use alloc::vec;

    fn record() -> TrainingRecord {
        let params = JobParams {
            architecture: Architecture {
                dims: vec![64, 64, 10].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            rows_per_step: 8,
            mode: Mode::Local { units: 8, steps: 16 },
            learning_rate: 6554,
            momentum: 230,
            rounds: 55,
            seed: 0,
            rounding: Rounding::Stochastic,
        };
        let node = NodeId([5; 32]);
        TrainingRecord {
            job: Digest([1; 32]),
            name: "digits".try_into().unwrap(),
            dataset: Cid::of(CidCodec::Raw, b"digits"),
            task: TrainingTask { params, training_rows: 1437, spot_check_share: 65536 },
            coordinator: NodeId([2; 32]),
            units: 440,
            checks: 440,
            browser_units: 120,
            contributors: vec![Contribution { node, units: 440, checks: 0, macs: 1 << 40 }],
            curve: vec![Point { round: 1, correct: 100, total: 360, weights: Digest([4; 32]) }],
            rejections: vec![Rejected {
                round: 0,
                unit: 7,
                worker: node,
                reason: "step 3 is computed wrongly".into(),
            }],
            rejected: 1,
        }
    }

    #[test]
    fn a_record_round_trips_through_its_block() {
        let record = record();
        let block = record.to_block().unwrap();
        assert_eq!(
            TrainingRecord::from_block(Unverified::new(block).verify().unwrap()),
            Ok(record)
        );
    }

    #[test]
    fn the_fullest_record_fits_into_a_block() {
        let mut record = record();
        record.contributors = vec![record.contributors[0].clone(); CONTRIBUTORS_MAX];
        record.curve = vec![record.curve[0].clone(); CURVE_LEN_MAX];
        record.rejections[0].reason = "é".repeat(REASON_LEN_MAX);
        record.rejections = vec![record.rejections[0].clone(); REJECTIONS_MAX];
        let block = record.to_block().unwrap();
        assert!(block.bytes.len() < BLOCK_LEN_MAX / 4, "{}", block.bytes.len());
        let read = TrainingRecord::from_block(Unverified::new(block).verify().unwrap()).unwrap();
        assert_eq!(read.rejections[9].reason.len(), REASON_LEN_MAX);
    }

    #[test]
    fn another_statement_or_wrong_parameters_are_refused() {
        let bytes = record().to_block().unwrap().bytes;
        let change = |change: &dyn Fn(&mut Form)| {
            let mut form: Form = dag_cbor::decode(&bytes).unwrap();
            change(&mut form);
            TrainingRecord::from_block(
                Unverified::new(dag_cbor::encode(&form).unwrap()).verify().unwrap(),
            )
        };
        assert!(change(&|_| ()).is_ok());
        let refused: [&dyn Fn(&mut Form); 6] = [
            &|f| f.statement = "trust me".into(),
            &|f| f.kind.clear(),
            &|f| f.parameters.mode = "other".into(),
            &|f| f.parameters.unit_rows = 3,
            &|f| f.coordinator.clear(),
            &|f| f.name = "x".repeat(65),
        ];
        assert!(refused.iter().all(|f| change(f).is_err()));
    }
}
