//! The shape of a network: layer widths and exponents, checked once, and the position of each layer
//! in the flat arrays.
//!
//! Limits are those of section 1 of the training specification; widths, exponents and sizes outside
//! them are refused.

use super::limits::{CLASSES_MAX, DIMS_MAX, PARAMETERS_MAX, ParamsError, WIDTH_MAX};
use crate::codec::BoundedVec;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// The layers and the exponents of their activations. A value `v` at exponent `e` means `v / 2^e`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Architecture {
    /// Features, hidden widths, classes.
    pub dims: BoundedVec<u32, DIMS_MAX>,
    /// Exponent of the input bytes, 4 to 6.
    pub input_exponent: u8,
    /// Exponent of hidden activations, 4 or 5.
    pub hidden_exponent: u8,
}

/// One layer of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Inputs, without the constant one of the bias.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Start of its weights in the flat array.
    pub offset: usize,
    /// Exponent of its input activations.
    pub exponent: u32,
}

impl Layer {
    /// Rows of its matrix: the inputs and the bias.
    pub const fn rows(&self) -> usize {
        self.inputs + 1
    }

    /// Weights and biases.
    pub const fn len(&self) -> usize {
        self.rows() * self.outputs
    }

    /// Always false: a layer has at least a bias.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Range of its weights in the flat array.
    pub const fn range(&self) -> core::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// A checked architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    architecture: Architecture,
    layers: Vec<Layer>,
    parameters: usize,
}

impl Topology {
    /// Checks widths, exponents and size.
    pub fn new(architecture: Architecture) -> Result<Self, ParamsError> {
        let dims = &architecture.dims;
        if dims.len() < 2 {
            return Err(ParamsError::Depth { layers: dims.len() });
        }
        for (layer, &width) in dims.iter().enumerate() {
            let max = if layer + 1 == dims.len() { CLASSES_MAX } else { WIDTH_MAX };
            if width == 0 || width > max {
                return Err(ParamsError::Width { layer, width, max });
            }
        }
        if !(4..=6).contains(&architecture.input_exponent) {
            return Err(ParamsError::InputExponent(architecture.input_exponent));
        }
        if !(4..=5).contains(&architecture.hidden_exponent) {
            return Err(ParamsError::HiddenExponent(architecture.hidden_exponent));
        }
        let total: u64 = dims.windows(2).map(|d| (u64::from(d[0]) + 1) * u64::from(d[1])).sum();
        if total > PARAMETERS_MAX as u64 {
            return Err(ParamsError::Parameters { parameters: total });
        }
        let mut offset = 0;
        let layers = dims
            .windows(2)
            .enumerate()
            .map(|(l, d)| {
                let exponent =
                    if l == 0 { architecture.input_exponent } else { architecture.hidden_exponent };
                let (inputs, outputs) = (d[0] as usize, d[1] as usize);
                let layer = Layer { inputs, outputs, offset, exponent: u32::from(exponent) };
                offset += layer.len();
                layer
            })
            .collect();
        Ok(Self { architecture, layers, parameters: offset })
    }

    /// The architecture in its encoded form.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The layers, input first; never empty.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.layers.first().map_or(0, |l| l.inputs)
    }

    /// Classes.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// Multiply-accumulates of a forward pass over `rows` rows.
    pub fn forward_macs(&self, rows: u64) -> u64 {
        rows * self.parameters as u64
    }
}
