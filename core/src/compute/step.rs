//! One training step of one work unit: forward, error, backward, update. Section 4 of the training
//! specification.
//!
//! The element-wise rules are separate functions, because a checker applies them to a worker's
//! reported products: see [`super::freivalds`]. All lengths come from a checked plan; section 6 of
//! the specification proves that no sum overflows.

use super::{
    error::{ComputeError, check_count},
    fixed::{GRADIENT_FRACTION, INT8_MAX, LIM, WEIGHT_FRACTION, bitlen, magnitude, rshr, rshr32},
    kernel::{self, Kernel, Scratch},
    params::{JobParams, Layer, Plan, Rounding, Topology},
    prng::{self, Purpose},
    state::{QuantisedWeights, TrainingState},
};
use alloc::{vec, vec::Vec};

/// Exponent of the output error.
pub(super) const ERROR_EXPONENT: u32 = 15;
/// The value one, in confidences and errors.
pub const ONE: i32 = 1 << ERROR_EXPONENT;

/// The position of a work unit in the sequence of random numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// Round, or global number of the local step.
    pub(super) round: u32,
    /// The work unit.
    pub(super) unit: u32,
}

/// All intermediate values of one work unit; the buffers are reused from step to step.
pub(super) struct Workspace {
    kernel: &'static dyn Kernel,
    scratch: Scratch,
    /// `A_l`, with the constant column.
    pub(super) activations: Vec<Vec<i8>>,
    /// `Z_l`.
    pub(super) products: Vec<Vec<i32>>,
    /// `D_l`.
    pub(super) errors: Vec<Vec<i8>>,
    /// `E_l`, before masking; empty for the first layer.
    pub(super) back: Vec<Vec<i32>>,
    /// `G_l`.
    pub(super) gradients: Vec<Vec<i32>>,
    /// `s_l`.
    pub(super) exponents: Vec<u32>,
}

impl Workspace {
    pub(super) fn new(topology: &Topology) -> Self {
        let count = topology.layers().len();
        Self {
            kernel: kernel::best(),
            scratch: Scratch::default(),
            activations: vec![Vec::new(); count],
            products: vec![Vec::new(); count],
            errors: vec![Vec::new(); count],
            back: vec![Vec::new(); count],
            gradients: vec![Vec::new(); count],
            exponents: vec![0; count],
        }
    }

    /// Fills `activations` and `products` from row-major int8 `rows`.
    pub(super) fn forward(
        &mut self,
        topology: &Topology,
        quantised: &QuantisedWeights,
        rows: &[i8],
    ) -> Result<(), ComputeError> {
        let count = rows.len() / topology.features().max(1);
        check_count("features", rows.len(), count * topology.features())?;
        for (l, layer) in topology.layers().iter().enumerate() {
            let (before, from) = self.activations.split_at_mut(l);
            let (Some(inputs), Some(product)) = (from.first_mut(), self.products.get_mut(l)) else {
                break;
            };
            if before.is_empty() {
                with_bias(inputs, layer, rows);
            }
            product.resize(count * layer.outputs, 0);
            let (left, right) =
                kernel::a_b(inputs, quantised.matrix(layer), count, layer.rows(), layer.outputs)?;
            self.kernel.product(left, right, product, &mut self.scratch)?;
            if let (Some(next), Some(outputs)) = (topology.layers().get(l + 1), from.get_mut(1)) {
                activate(
                    outputs,
                    next,
                    product,
                    layer.exponent + quantised.exponent(l) - next.exponent,
                );
            }
        }
        Ok(())
    }

    /// Fills `errors`, `back`, `gradients` and `exponents` after a forward pass over rows with
    /// these labels.
    pub(super) fn backward(
        &mut self,
        plan: &Plan,
        quantised: &QuantisedWeights,
        at: Position,
        labels: &[u8],
    ) -> Result<(), ComputeError> {
        let topology = plan.topology();
        let (rows, last) = (labels.len(), topology.layers().len() - 1);
        let logits_exponent =
            topology.layers().get(last).map_or(0, |l| l.exponent) + quantised.exponent(last);
        let mut error =
            output_error(&self.products[last], topology.classes(), logits_exponent, labels);
        let mut exponent = ERROR_EXPONENT;
        for (l, layer) in topology.layers().iter().enumerate().rev() {
            let int8_errors = &mut self.errors[l];
            exponent = quantise(int8_errors, &error, exponent, plan.params(), at, l);
            self.exponents[l] = exponent;
            let gradient = &mut self.gradients[l];
            gradient.resize(layer.len(), 0);
            let (left, right) =
                kernel::at_b(&self.activations[l], int8_errors, layer.rows(), rows, layer.outputs)?;
            self.kernel.product(left, right, gradient, &mut self.scratch)?;
            if l > 0 {
                let weights = without_bias(quantised.matrix(layer), layer);
                let back = &mut self.back[l];
                back.resize(rows * layer.inputs, 0);
                let (left, right) =
                    kernel::a_bt(int8_errors, weights, rows, layer.outputs, layer.inputs)?;
                self.kernel.product(left, right, back, &mut self.scratch)?;
                error.clone_from(back);
                mask(&mut error, &self.activations[l], layer);
                exponent += quantised.exponent(l);
            }
        }
        Ok(())
    }
}

/// A layer's weights without the row of the bias.
pub(super) fn without_bias<'a>(matrix: &'a [i8], layer: &Layer) -> &'a [i8] {
    matrix.get(..layer.inputs * layer.outputs).unwrap_or_default()
}

/// Input rows with the constant column that the bias multiplies.
pub(super) fn with_bias(out: &mut Vec<i8>, layer: &Layer, rows: &[i8]) {
    out.clear();
    for row in rows.chunks_exact(layer.inputs) {
        out.extend_from_slice(row);
        out.push(1 << layer.exponent);
    }
}

/// The activations of `next` from the products before it: rescaled, clipped at zero (ReLU) and at
/// 127.
pub(super) fn activate(out: &mut Vec<i8>, next: &Layer, products: &[i32], shift: u32) {
    out.clear();
    for row in products.chunks_exact(next.inputs) {
        out.extend(row.iter().map(|z| rshr32(*z, shift).clamp(0, INT8_MAX) as i8));
        out.push(1 << next.exponent);
    }
}

/// Probabilities of one row of logits, 15 fraction bits: a softmax in integers.
pub(super) fn softmax(logits: &[i32], exponent: u32, out: &mut [i32]) {
    let max = logits.iter().copied().max().unwrap_or(0);
    let mut sum = 0i64;
    for (e, z) in out.iter_mut().zip(logits) {
        let gap = i64::from(max) - i64::from(*z);
        let scaled = if exponent <= 10 { gap << (10 - exponent) } else { gap >> (exponent - 10) };
        // Times log2(e), to eight fraction bits.
        *e = exp2_negative((scaled.min(1 << 15) as i32 * 369) >> 10);
        sum += i64::from(*e);
    }
    for e in out.iter_mut() {
        *e = (((i64::from(*e) << 15) + (sum >> 1)) / sum.max(1)) as i32;
    }
}

/// `2^15 * 2^(-u / 256)` for `u >= 0`, by a cubic in the fraction.
pub(super) const fn exp2_negative(u: i32) -> i32 {
    let whole = if u >> 8 < 31 { u >> 8 } else { 31 };
    let f = u & 255;
    (ONE - ((f * (22662 - ((f * (7575 - ((f * 1296) >> 8))) >> 8))) >> 8)) >> whole
}

/// Probabilities minus the target probabilities.
pub(super) fn output_error(
    logits: &[i32],
    classes: usize,
    exponent: u32,
    labels: &[u8],
) -> Vec<i32> {
    let mut error = vec![0; logits.len()];
    let rows = logits.chunks_exact(classes).zip(error.chunks_exact_mut(classes));
    for ((z, out), label) in rows.zip(labels) {
        softmax(z, exponent, out);
        if let Some(wanted) = out.get_mut(usize::from(*label)) {
            *wanted -= ONE;
        }
    }
    error
}

/// Sets errors to zero where the activation was clipped at zero.
pub(super) fn mask(errors: &mut [i32], activations: &[i8], layer: &Layer) {
    for (row, active) in
        errors.chunks_exact_mut(layer.inputs).zip(activations.chunks_exact(layer.rows()))
    {
        for (e, a) in row.iter_mut().zip(active) {
            if *a <= 0 {
                *e = 0;
            }
        }
    }
}

/// Rounds a work unit's block of errors to int8 with one exponent for all, which it returns.
pub(super) fn quantise(
    out: &mut Vec<i8>,
    errors: &[i32],
    exponent: u32,
    params: &JobParams,
    at: Position,
    layer: usize,
) -> u32 {
    let shift = bitlen(magnitude(errors))
        .saturating_sub(7)
        .max(exponent.saturating_sub(GRADIENT_FRACTION))
        .min(exponent);
    let clip = |v: i32| (v >> shift).clamp(-INT8_MAX, INT8_MAX) as i8;
    out.clear();
    match params.rounding {
        Rounding::Nearest => {
            let half = (1 << shift) >> 1;
            out.extend(errors.iter().map(|e| clip(e.wrapping_add(half))));
        }
        Rounding::Stochastic => {
            let key = prng::key(&[
                params.seed,
                Purpose::Rounding as u32,
                at.round,
                at.unit,
                layer as u32,
            ]);
            let below = (1u32 << shift) - 1;
            let drawn = (0u32..).map(|i| (prng::at(key, i) & below) as i32);
            out.extend(errors.iter().zip(drawn).map(|(e, r)| clip(e.wrapping_add(r))));
        }
    }
    exponent - shift
}

/// Moves a state by a layer's summed gradient: momentum, then weights.
///
/// `sums` yields the gradient at [`GRADIENT_FRACTION`] plus the layer's exponent; `batch_log2` is
/// the logarithm of the number of rows in it.
pub(super) fn update_layer(
    layer: &Layer,
    params: &JobParams,
    learning_rate: u32,
    batch_log2: u32,
    sums: impl Iterator<Item = i64>,
    state: &mut TrainingState,
) {
    let lim = i64::from(LIM);
    let shift = (layer.exponent + GRADIENT_FRACTION + batch_log2).saturating_sub(WEIGHT_FRACTION);
    let (momentum_rate, learning_rate) = (i64::from(params.momentum), i64::from(learning_rate));
    let (weights, momentum) = state.parts_mut();
    let (Some(weights), Some(momentum)) =
        (weights.get_mut(layer.range()), momentum.get_mut(layer.range()))
    else {
        return;
    };
    for ((w, v), sum) in weights.iter_mut().zip(momentum).zip(sums) {
        let gradient = rshr(sum, shift).clamp(-lim, lim);
        let moved = (((i64::from(*v) * momentum_rate + 128) >> 8) + gradient).clamp(-lim, lim);
        *v = moved as i32;
        *w = (i64::from(*w) - ((moved * learning_rate + (1 << 15)) >> 16)).clamp(-lim, lim) as i32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::params::{Mode, tests::params};

    #[test]
    fn published_exponentials_and_error() {
        assert_eq!([0, 100, 255, 256, 5000].map(exp2_negative), [32768, 24995, 16431, 16384, 0]);
        assert_eq!(output_error(&[5000, 1000, -2000], 3, 12, &[1]), [21020, -24838, 3818]);
    }

    #[test]
    fn published_block() {
        let params = params(&[2, 2, 3], Mode::Exact { units: 8 });
        let mut out = Vec::new();
        let exponent =
            quantise(&mut out, &[1000, -700, 3], 15, &params, Position { round: 7, unit: 2 }, 1);
        assert_eq!((out, exponent), (vec![125, -87, 0], 12));
    }

    #[test]
    fn the_exponent_of_a_block_stays_between_zero_and_its_cap() {
        let params = params(&[2, 2, 3], Mode::Exact { units: 8 });
        let at = Position { round: 0, unit: 0 };
        let mut out = Vec::new();
        // The values need more bits than the exponent allows, so they saturate.
        assert_eq!(quantise(&mut out, &[(1 << 30) - 1, -(1 << 30) + 1], 2, &params, at, 0), 0);
        assert_eq!(out, [127, -127]);
        // All zero at the highest exponent: capped.
        assert_eq!(quantise(&mut out, &[0, 0], 28, &params, at, 0), GRADIENT_FRACTION);
        assert_eq!(quantise(&mut out, &[(1 << 30) - 1, -(1 << 30) + 1], 28, &params, at, 0), 5);
    }

    #[test]
    fn softmax_of_far_apart_and_of_equal_logits() {
        let mut out = [0; 4];
        softmax(&[LIM, -LIM, -LIM, -LIM], 5, &mut out);
        assert_eq!(out, [ONE, 0, 0, 0]);
        softmax(&[9; 4], 14, &mut out);
        assert_eq!(out, [ONE / 4; 4]);
        softmax(&[], 14, &mut []);
    }
}
