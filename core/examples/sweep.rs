//! Measures the accuracy of integer training over a grid of hyperparameters. The defaults of
//! `docs/training.md`, section 0, come from it.
//!
//! ```text
//! cargo run -p tequio-core --example sweep -- FILE.csv[.gz]... [--layers 16,8] [--seeds 20]
//!     [--no-header] [--unit-rows 8,4] [--units 8,2] [--steps 16,1] [--steps-total 800]
//!     [--rate 3277,6554] [--momentum 230]
//! ```
//!
//! Every list is one dimension of the grid; an option that is not given takes its default. Each
//! line is one point, averaged over seeds 0, 1, …: a seed decides split, first weights, order and
//! rounding. The class is the last column.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

use std::{env, fs, io::Read};
use tequio_core::compute::{
    dataset::{CsvOptions, Dataset, Label, prepare},
    params::{JobParams, Mode},
    predict::Classifier,
    train::train,
};

#[derive(Default)]
struct Grid {
    files: Vec<String>,
    layers: Vec<u32>,
    seeds: u32,
    header: bool,
    unit_rows: Vec<u32>,
    units: Vec<u32>,
    steps: Vec<u32>,
    steps_total: Vec<u32>,
    rates: Vec<u32>,
    momenta: Vec<u32>,
}

fn list(text: &str) -> Vec<u32> {
    let number = |part: &str| part.parse().unwrap_or_else(|_| panic!("{part:?} is not a number"));
    text.split(',').filter(|part| !part.is_empty()).map(number).collect()
}

fn grid() -> Grid {
    let mut grid = Grid { seeds: 20, header: true, layers: vec![16], ..Grid::default() };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value =
            || list(&arguments.next().unwrap_or_else(|| panic!("{argument} needs a value")));
        match argument.as_str() {
            "--no-header" => grid.header = false,
            "--layers" => grid.layers = value(),
            "--seeds" => grid.seeds = value()[0],
            "--unit-rows" => grid.unit_rows = value(),
            "--units" => grid.units = value(),
            "--steps" => grid.steps = value(),
            "--steps-total" => grid.steps_total = value(),
            "--rate" => grid.rates = value(),
            "--momentum" => grid.momenta = value(),
            _ => grid.files.push(argument),
        }
    }
    grid
}

fn table(path: &str, header: bool, seed: u32) -> Dataset {
    let mut bytes = fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    if path.ends_with(".gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    prepare(&bytes, &CsvOptions { header, seed, ..CsvOptions::new(Label::Last) })
        .unwrap_or_else(|e| panic!("{e}"))
}

/// The values of a list, or the default if the list is empty.
fn points(list: &[u32]) -> Vec<Option<u32>> {
    if list.is_empty() { vec![None] } else { list.iter().copied().map(Some).collect() }
}

/// The defaults with some of them replaced. Without a number of rounds, the total of steps stays
/// that of the defaults.
fn params(data: &Dataset, layers: &[u32], seed: u32, point: &[Option<u32>; 6]) -> JobParams {
    let mut params = JobParams::for_dataset(data, layers, seed).unwrap();
    let Mode::Local { units, steps } = params.mode else {
        unreachable!("the default is local steps")
    };
    let [unit_rows, new_units, new_steps, steps_total, rate, momentum] = *point;
    let steps_total = steps_total.unwrap_or(steps * params.rounds);
    let steps = new_steps.unwrap_or(steps);
    params.rows_per_step = unit_rows.unwrap_or(params.rows_per_step);
    params.mode = Mode::Local { units: new_units.unwrap_or(units), steps };
    params.rounds = steps_total.div_ceil(steps);
    params.learning_rate = rate.unwrap_or(params.learning_rate);
    params.momentum = momentum.map_or(params.momentum, |m| m as u16);
    params
}

/// Percent of the held-out rows that are classified correctly.
fn accuracy(data: &Dataset, params: &JobParams) -> f64 {
    let plan = params.clone().validate().unwrap_or_else(|e| panic!("{e}"));
    let weights = train(&plan, data.train(), |_, _| {}).unwrap_or_else(|e| panic!("{e}"));
    let quantised = weights.quantise(plan.topology()).unwrap();
    let classifier = Classifier::new(params.architecture.clone(), quantised).unwrap();
    100.0 * classifier.accuracy(data.test()).unwrap().fraction()
}

fn main() {
    let grid = grid();
    let tables: Vec<Vec<Dataset>> = grid
        .files
        .iter()
        .map(|f| (0..grid.seeds).map(|seed| table(f, grid.header, seed)).collect())
        .collect();
    println!(
        "unit_rows units steps rounds  rate momentum | mean of all | \
         mean ± deviation of each of {:?}",
        grid.files
    );
    let dimensions =
        [&grid.unit_rows, &grid.units, &grid.steps, &grid.steps_total, &grid.rates, &grid.momenta];
    let dimensions = dimensions.map(|list| points(list));
    for index in 0..dimensions.iter().map(Vec::len).product() {
        let mut rest = index;
        let mut point = [None; 6];
        // The last dimension varies fastest.
        for (at, dimension) in dimensions.iter().enumerate().rev() {
            point[at] = dimension[rest % dimension.len()];
            rest /= dimension.len();
        }
        let (mut means, mut shown, mut used) = (Vec::new(), String::new(), None);
        for seeds in &tables {
            let run = |(seed, data): (u32, &Dataset)| {
                let params = params(data, &grid.layers, seed, &point);
                (accuracy(data, &params), params)
            };
            let (scores, mut all): (Vec<f64>, Vec<JobParams>) = (0..).zip(seeds).map(run).unzip();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let variance =
                scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / scores.len() as f64;
            shown += &format!("  {mean:6.2} ± {:4.2}", variance.sqrt());
            means.push(mean);
            used = all.pop();
        }
        let Some(JobParams {
            rows_per_step: unit_rows,
            mode: Mode::Local { units, steps },
            rounds,
            learning_rate,
            momentum,
            ..
        }) = used
        else {
            panic!("no file is given")
        };
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        println!(
            "{unit_rows:9} {units:5} {steps:5} {rounds:6} {learning_rate:5} {momentum:8} | \
             {mean:11.2} |{shown}"
        );
    }
}
