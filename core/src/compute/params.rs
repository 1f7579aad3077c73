//! The fixed parameters of a training job: the shape of the network and the constants of its
//! arithmetic.
//!
//! [`JobParams`] is the encoded form that the job's digest binds; its values are unchecked.
//! [`Plan`] is the same after every limit of the specification's section 1 has been checked. Only a
//! plan reaches the arithmetic, so section 6's proof that nothing overflows also covers parameters
//! from a peer.

pub use super::topology::{Architecture, Layer, Topology};

use super::{
    fixed::{GRADIENT_FRACTION, WEIGHT_FRACTION},
    limits::{
        ParamsError, ROUNDS_MAX, ROWS_MAX, ROWS_PER_STEP_MAX, STEPS_MAX, TRACE_VALUES_MAX,
        UNIT_MACS_MAX, UNITS_PER_ROUND_MAX, VALUES_MAX,
    },
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The split of a round's work among workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Mode {
    /// Each work unit makes `steps` steps of its own from the same weights; the units' deltas are
    /// averaged.
    Local {
        /// Work units in a round, a power of two.
        units: u32,
        /// Steps in a work unit.
        steps: u32,
    },
    /// Each round is one step; its batch is `units` work units whose gradients are summed.
    Exact {
        /// Work units in a batch, a power of two.
        units: u32,
    },
}

/// The rounding of a gradient to int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Rounding {
    /// Up with the probability of the fraction that is dropped.
    Stochastic,
    /// To the nearest, halves up.
    Nearest,
}

/// Everything that determines a training run, apart from its data.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JobParams {
    /// The network.
    pub architecture: Architecture,
    /// Rows in a step of a work unit, a power of two.
    pub rows_per_step: u32,
    /// The split of a round.
    pub mode: Mode,
    /// Learning rate with 16 fraction bits; halved after half of the rounds and again after three
    /// quarters.
    pub learning_rate: u32,
    /// Momentum with 8 fraction bits.
    pub momentum: u16,
    /// Number of rounds.
    pub rounds: u32,
    /// Seed of initial weights, order and rounding.
    pub seed: u32,
    /// Rounding of gradients.
    pub rounding: Rounding,
}

impl JobParams {
    /// The same training with an exchange after every step: the same number of work units and of
    /// total steps.
    pub fn exact(mut self) -> Self {
        if let Mode::Local { units, steps } = self.mode {
            self.mode = Mode::Exact { units };
            self.rounds = self.rounds.saturating_mul(steps).min(ROUNDS_MAX);
        }
        self
    }

    /// Checks every limit.
    pub fn validate(self) -> Result<Plan, ParamsError> {
        let topology = Topology::new(self.architecture.clone())?;
        power_of_two("rows per step", self.rows_per_step, ROWS_PER_STEP_MAX)?;
        range("learning rate", self.learning_rate, 1, 1 << 20)?;
        range("momentum", u32::from(self.momentum), 0, 256)?;
        range("rounds", self.rounds, 1, ROUNDS_MAX)?;
        match self.mode {
            Mode::Local { units, steps } => {
                power_of_two("units", units, UNITS_PER_ROUND_MAX)?;
                range("steps", steps, 1, STEPS_MAX as u32)?;
            }
            Mode::Exact { units } => power_of_two("units", units, UNITS_PER_ROUND_MAX)?,
        }
        let plan = Plan { params: self, topology };
        // The shift that brings a sum to the weights' format must not be negative.
        debug_assert!(
            plan.topology
                .layers()
                .iter()
                .all(|l| l.exponent + GRADIENT_FRACTION >= WEIGHT_FRACTION)
        );
        let rows = plan.rows_per_unit() as u64;
        memory("rows", rows, ROWS_MAX)?;
        memory("input values", rows * plan.topology.features() as u64, VALUES_MAX)?;
        let widths: u64 =
            plan.topology.layers().iter().map(|l| l.inputs.max(l.outputs) as u64).sum();
        memory(
            "intermediate values",
            u64::from(plan.params.rows_per_step) * widths,
            TRACE_VALUES_MAX,
        )?;
        let macs = plan.macs_per_unit();
        if macs > UNIT_MACS_MAX {
            return Err(ParamsError::Work { macs });
        }
        Ok(plan)
    }
}

fn power_of_two(what: &'static str, value: u32, max: u32) -> Result<(), ParamsError> {
    if value.is_power_of_two() && value <= max {
        Ok(())
    } else {
        Err(ParamsError::PowerOfTwo { what, value, max })
    }
}

fn memory(what: &'static str, values: u64, max: usize) -> Result<(), ParamsError> {
    let max = max as u64;
    if values <= max { Ok(()) } else { Err(ParamsError::Memory { what, values, max }) }
}

fn range(what: &'static str, value: u32, min: u32, max: u32) -> Result<(), ParamsError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ParamsError::Range { what, value, min, max })
    }
}

/// Checked parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    params: JobParams,
    topology: Topology,
}

impl Plan {
    /// The parameters in their encoded form.
    pub fn params(&self) -> &JobParams {
        &self.params
    }

    /// The network.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Number of rounds.
    pub fn rounds(&self) -> u32 {
        self.params.rounds
    }

    /// Work units in a round.
    pub fn units_per_round(&self) -> u32 {
        match self.params.mode {
            Mode::Local { units, .. } => units,
            Mode::Exact { units } => units,
        }
    }

    /// Steps in a work unit; one where every step is exchanged.
    pub fn steps_per_unit(&self) -> u32 {
        match self.params.mode {
            Mode::Local { steps, .. } => steps,
            Mode::Exact { .. } => 1,
        }
    }

    /// Rows in a step of a work unit.
    pub fn rows_per_step(&self) -> usize {
        self.params.rows_per_step as usize
    }

    /// Rows that a step over all work units uses up.
    pub fn rows_per_batch(&self) -> u64 {
        u64::from(self.params.rows_per_step) * u64::from(self.units_per_round())
    }

    /// Rows that one work unit of one round reads.
    pub fn rows_per_unit(&self) -> usize {
        self.rows_per_step() * self.steps_per_unit() as usize
    }

    /// Multiply-accumulates of one step of one work unit: forward, weight gradients, input
    /// gradients.
    pub fn macs_per_step(&self) -> u64 {
        let inner: u64 =
            self.topology.layers().iter().skip(1).map(|l| (l.inputs * l.outputs) as u64).sum();
        u64::from(self.params.rows_per_step) * (2 * self.topology.parameters() as u64 + inner)
    }

    /// Multiply-accumulates of one work unit of one round.
    pub fn macs_per_unit(&self) -> u64 {
        self.macs_per_step().saturating_mul(u64::from(self.steps_per_unit()))
    }

    /// The learning rate of a round, 16 fraction bits.
    pub fn learning_rate(&self, round: u32) -> u32 {
        let (round, rounds) = (u64::from(round), u64::from(self.params.rounds));
        let halvings = match self.params.mode {
            Mode::Exact { .. } => {
                u32::from(round >= rounds / 2) + u32::from(round >= 3 * rounds / 4)
            }
            Mode::Local { .. } => (4 * round / rounds).saturating_sub(1).min(2) as u32,
        };
        self.params.learning_rate >> halvings
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{codec::BoundedVec, compute::limits::DIMS_MAX};
    use proptest::prelude::*;

    pub(in crate::compute) fn params(dims: &[u32], mode: Mode) -> JobParams {
        JobParams {
            architecture: Architecture {
                dims: dims.to_vec().try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            rows_per_step: 8,
            mode,
            learning_rate: 6554,
            momentum: 230,
            rounds: 880,
            seed: 0,
            rounding: Rounding::Stochastic,
        }
    }

    #[test]
    fn every_limit_is_a_typed_error() {
        let good = params(&[64, 64, 10], Mode::Local { units: 8, steps: 16 });
        assert!(good.clone().validate().is_ok());
        let refused = |change: &dyn Fn(&mut JobParams)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.validate().unwrap_err()
        };
        assert_eq!(
            refused(&|p| p.architecture.dims = vec_of(&[64])),
            ParamsError::Depth { layers: 1 }
        );
        assert!(matches!(
            refused(&|p| p.architecture.dims = vec_of(&[64, 0, 10])),
            ParamsError::Width { layer: 1, .. }
        ));
        assert!(matches!(
            refused(&|p| p.architecture.dims = vec_of(&[64, 256])),
            ParamsError::Width { layer: 1, .. }
        ));
        assert!(matches!(
            refused(&|p| p.architecture.dims = vec_of(&[65_536, 10])),
            ParamsError::Width { layer: 0, .. }
        ));
        assert!(matches!(
            refused(&|p| p.architecture.dims = vec_of(&[4096, 4096, 9])),
            ParamsError::Parameters { .. }
        ));
        assert_eq!(refused(&|p| p.architecture.input_exponent = 7), ParamsError::InputExponent(7));
        assert_eq!(
            refused(&|p| p.architecture.hidden_exponent = 3),
            ParamsError::HiddenExponent(3)
        );
        assert!(matches!(refused(&|p| p.rows_per_step = 12), ParamsError::PowerOfTwo { .. }));
        assert!(matches!(
            refused(&|p| p.mode = Mode::Local { units: 0, steps: 1 }),
            ParamsError::PowerOfTwo { .. }
        ));
        assert!(matches!(
            refused(&|p| p.mode = Mode::Exact { units: 8192 }),
            ParamsError::PowerOfTwo { .. }
        ));
        assert!(matches!(
            refused(&|p| p.mode = Mode::Local { units: 1, steps: 0 }),
            ParamsError::Range { .. }
        ));
        assert!(matches!(refused(&|p| p.learning_rate = 0), ParamsError::Range { .. }));
        assert!(matches!(refused(&|p| p.momentum = 257), ParamsError::Range { .. }));
        assert!(matches!(refused(&|p| p.rounds = 0), ParamsError::Range { .. }));
        let rows =
            refused(&|p| (p.rows_per_step, p.mode) = (65_536, Mode::Local { units: 1, steps: 16 }));
        assert!(matches!(rows, ParamsError::Memory { what: "rows", .. }));
        let values =
            refused(&|p| (p.rows_per_step, p.mode) = (32_768, Mode::Local { units: 1, steps: 16 }));
        assert!(matches!(values, ParamsError::Memory { what: "input values", .. }));
        let wide =
            refused(&|p| (p.rows_per_step, p.mode) = (65_536, Mode::Local { units: 1, steps: 1 }));
        assert!(matches!(wide, ParamsError::Memory { what: "intermediate values", .. }));
        assert!(matches!(
            refused(&|p| {
                p.rows_per_step = 1024;
                p.mode = Mode::Local { units: 1, steps: 512 };
                p.architecture.dims = vec_of(&[4, 1000, 1000, 10]);
            }),
            ParamsError::Work { .. }
        ));
    }

    fn vec_of(dims: &[u32]) -> BoundedVec<u32, DIMS_MAX> {
        dims.to_vec().try_into().unwrap()
    }

    #[test]
    fn learning_rate_halves_twice() {
        let exact = params(&[4, 2], Mode::Exact { units: 8 }).validate().unwrap();
        assert_eq!(
            [0, 439, 440, 659, 660, 879].map(|r| exact.learning_rate(r)),
            [6554, 6554, 3277, 3277, 1638, 1638]
        );
        let mut local = params(&[4, 2], Mode::Local { units: 8, steps: 16 });
        local.rounds = 55;
        let local = local.validate().unwrap();
        assert_eq!(
            [0, 27, 28, 41, 42, 54].map(|r| local.learning_rate(r)),
            [6554, 6554, 3277, 3277, 1638, 1638]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_and_validate_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            if let Ok(params) = crate::codec::decode::<JobParams>(&bytes, 120) {
                prop_assert_eq!(crate::codec::encode(&params), bytes);
                let _ = params.validate();
            }
        }
    }
}
