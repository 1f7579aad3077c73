//! The parameters of a training beside its data: the defaults for a data set, and whether given
//! parameters fit it.

use super::{normalizer::Scaling, samples::Samples, table::Dataset};
use crate::{
    codec::BoundedVec,
    compute::{
        limits::{ParamsError, ROUNDS_MAX},
        params::{Architecture, JobParams, Mode, Plan, Rounding},
    },
};
use alloc::vec::Vec;

/// By default, tables with fewer training rows than this are small: they get more passes, and small
/// tables of pixels the learning rate of other tables.
const SMALL_TABLE_ROWS: u32 = 1000;
/// Steps in a work unit by default, for small tables over several passes: a step takes
/// microseconds, the overhead of a round milliseconds.
const STEPS_DEFAULT: u32 = 16;
/// Fewest steps of a job by default.
const STEPS_TOTAL_MIN: u32 = 800;

impl JobParams {
    /// The defaults of section 0 for a data set: about 40 passes over it (80 below 1,000 rows), at
    /// least 800 steps.
    pub fn for_dataset(data: &Dataset, hidden: &[u32], seed: u32) -> Result<Self, ParamsError> {
        let rows = data.train().rows();
        let (mut rows_per_step, mut units) = (8u32, 8u32);
        while rows_per_step * units > rows && units > 1 {
            units /= 2;
        }
        while rows_per_step * units > rows && rows_per_step > 1 {
            rows_per_step /= 2;
        }
        let steps_per_pass = (rows / (rows_per_step * units)).max(1);
        let small = rows < SMALL_TABLE_ROWS;
        let passes = if small { 80 } else { 40 };
        let steps_total = steps_per_pass.saturating_mul(passes).max(STEPS_TOTAL_MIN);
        let widths = [data.features()]
            .into_iter()
            .chain(hidden.iter().copied())
            .chain([data.classes().len() as u32]);
        let widths: Vec<u32> = widths.collect();
        let layers = widths.len();
        let params = Self {
            architecture: Architecture {
                dims: BoundedVec::try_from(widths).map_err(|_| ParamsError::Depth { layers })?,
                input_exponent: data.normalizer().input_exponent(),
                hidden_exponent: 5,
            },
            rows_per_step,
            mode: Mode::Local { units, steps: STEPS_DEFAULT },
            learning_rate: match data.normalizer().scaling() {
                Scaling::Global if !small => 6554,
                Scaling::Global | Scaling::PerColumn => 3277,
            },
            momentum: 230,
            rounds: steps_total.div_ceil(STEPS_DEFAULT).min(ROUNDS_MAX),
            seed,
            rounding: Rounding::Stochastic,
        };
        params.clone().validate()?.check_data(data.train())?;
        Ok(params)
    }
}

impl Plan {
    /// Checks that the data fits the network and fills at least one batch.
    pub fn check_data(&self, data: &Samples) -> Result<(), ParamsError> {
        let (features, classes) =
            (self.topology().features() as u32, self.topology().classes() as u32);
        if data.features() != features {
            return Err(ParamsError::Data {
                what: "features",
                found: data.features(),
                expected: features,
            });
        }
        if data.classes() > classes {
            return Err(ParamsError::Data {
                what: "classes",
                found: data.classes(),
                expected: classes,
            });
        }
        if u64::from(data.rows()) < self.rows_per_batch() {
            return Err(ParamsError::Rows { rows: data.rows(), batch: self.rows_per_batch() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::dataset::{CsvOptions, Label, prepare};

    #[test]
    fn defaults_of_small_tables_make_few_rounds() {
        let table = |rows: u32, columns: usize| {
            let row = |i: u32| {
                (0..columns).map(|c| format!("{},", (i * 7 + c as u32) % 50)).collect::<String>()
            };
            let csv: String = (0..rows)
                .map(|i| format!("{}{}\n", row(i), ["a", "b"][(i % 2) as usize]))
                .collect();
            let options = CsvOptions { header: false, ..CsvOptions::new(Label::Last) };
            let params =
                JobParams::for_dataset(&prepare(csv.as_bytes(), &options).unwrap(), &[16], 0)
                    .unwrap();
            let Mode::Local { units, steps } = params.mode else { panic!("{params:?}") };
            (params.rows_per_step, units, steps, params.rounds, params.learning_rate)
        };
        assert_eq!(table(150, 4), (8, 8, 16, 50, 3277));
        assert_eq!(table(50, 4), (8, 4, 16, 50, 3277));
        assert_eq!(table(10, 4), (8, 1, 16, 50, 3277));
        // Pixels, by their number and their values: few rows, then many.
        assert_eq!(table(1200, 16), (8, 8, 16, 75, 3277));
        assert_eq!(table(1250, 16), (8, 8, 16, 50, 6554));
        assert_eq!(table(8000, 16), (8, 8, 16, 250, 6554));
    }
}
