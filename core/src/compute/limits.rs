//! The limits of a job (section 1 of the training specification) and of its data, and the errors of
//! parameters outside them.

/// Most entries of `dims`: sixteen layers of weights.
pub const DIMS_MAX: usize = 17;
/// Widest layer.
pub const WIDTH_MAX: u32 = 65_535;
/// Most classes: a class number is a byte.
pub const CLASSES_MAX: u32 = 255;
/// Most weights and biases: 16 MiB of master weights.
pub const PARAMETERS_MAX: usize = 1 << 22;
/// Most rows in a step of a work unit.
pub const ROWS_PER_STEP_MAX: u32 = 65_536;
/// Most work units in a round.
pub const UNITS_PER_ROUND_MAX: u32 = 4096;
/// Most local steps in a work unit.
pub const STEPS_MAX: usize = 1024;
/// Most rounds; with [`STEPS_MAX`] the number of a step stays within 32 bits.
pub const ROUNDS_MAX: u32 = 1 << 20;
/// Most multiply-accumulates in one work unit: about ten seconds of one browser core.
pub const UNIT_MACS_MAX: u64 = 1 << 38;
/// Most numbers in the products of a work unit.
pub const TRACE_VALUES_MAX: usize = 1 << 22;
/// Most features of a row.
pub const FEATURES_MAX: u32 = 4096;
/// Most rows.
pub const ROWS_MAX: usize = 1_000_000;
/// Most feature values, rows times features.
pub const VALUES_MAX: usize = 16 << 20;

/// Most bytes of a CSV.
pub const CSV_BYTES_MAX: usize = 64 << 20;
/// Most bytes of an encoded [`Dataset`](super::dataset::Dataset).
pub const DATASET_BYTES_MAX: usize = 16 << 20;
/// Most bytes of a class's or a column's name.
pub const NAME_BYTES_MAX: usize = 128;

/// The reason why parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ParamsError {
    #[error("{layers} layer widths, but 2 to {DIMS_MAX} are allowed")]
    Depth { layers: usize },
    #[error("layer {layer} has {width} units, but 1 to {max} are allowed")]
    Width { layer: usize, width: u32, max: u32 },
    #[error("{parameters} weights, but at most {PARAMETERS_MAX} are allowed")]
    Parameters { parameters: u64 },
    #[error("input exponent {0} is outside 4 to 6")]
    InputExponent(u8),
    #[error("hidden exponent {0} is outside 4 to 5")]
    HiddenExponent(u8),
    #[error("{what} is {value}, but must be a power of two up to {max}")]
    PowerOfTwo { what: &'static str, value: u32, max: u32 },
    #[error("{what} is {value}, but must be {min} to {max}")]
    Range { what: &'static str, value: u32, min: u32, max: u32 },
    #[error(
        "a work unit costs {macs} multiply-accumulates, but at most {UNIT_MACS_MAX} are allowed"
    )]
    Work { macs: u64 },
    #[error("a work unit holds {values} {what}, but at most {max} are allowed")]
    Memory { what: &'static str, values: u64, max: u64 },
    #[error("the data has {found} {what}, the job {expected}")]
    Data { what: &'static str, found: u32, expected: u32 },
    #[error("{rows} training rows are too few for a batch of {batch}")]
    Rows { rows: u32, batch: u64 },
}
