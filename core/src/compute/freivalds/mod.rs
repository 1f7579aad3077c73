//! Checks products faster than computing them, after R. Freivalds, "Probabilistic machines can use
//! less running time" (1977); section 7 of the training specification.
//!
//! To check `C = A B`, draw a random vector `r` and compare `C r` with `A (B r)`. The entries of
//! `r` are uniform below 2^31, and arithmetic is modulo 2^64. A wrong entry of `C` is off by less
//! than 2^32, so it passes for at most one of 2^31 values of `r`. The sum of a round's gradients is
//! shifted by up to 20 bits, so that argument lacks its odd factor. The sum is therefore checked
//! modulo the prime 2^61 - 1, and only up to 256 work units.
//!
//! **The seed must be drawn from the operating system after the worker has committed to its trace,
//! and stay secret until the round closes.** A worker that knows the vectors can pass with a wrong
//! product.
//!
//! Sums at or above 2^30, which int8 products never reach, are refused before they are rounded: a
//! forged value near 2^31 would overflow there.

use super::{
    dataset::Samples,
    error::ComputeError,
    exact::{ExactStepTrace, check_products},
    fixed::GRADIENT_FRACTION,
    infer::Inference,
    params::{Layer, Plan, Topology},
    predict::{Classifier, argmax},
    state::QuantisedWeights,
    step::{
        ERROR_EXPONENT, Position, activate, mask, output_error, quantise, with_bias, without_bias,
    },
    work_unit::check_rows,
};
use crate::crypto::hash::HashContext;
use alloc::{vec, vec::Vec};

mod field;

use field::{add, multiply, reduce};

/// Most work units of a round whose sum may be checked at once.
pub const AGGREGATE_UNITS_MAX: u32 = 256;

/// The value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Rejection {
    #[error(transparent)]
    Form(#[from] ComputeError),
    #[error("forward product of layer {layer} is wrong in row {row}")]
    Forward { layer: usize, row: usize },
    #[error("backward product of layer {layer} is wrong in row {row}")]
    Backward { layer: usize, row: usize },
    #[error("gradient of layer {layer} is wrong in row {row}")]
    Gradient { layer: usize, row: usize },
    #[error("exponent of layer {layer} is wrong")]
    Exponent { layer: usize },
    #[error("class of row {row} is not that of its products")]
    Class { row: usize },
}

/// Random words below 2^31, for one product.
fn vector(seed: &[u8; 32], product: u32, layer: usize, len: usize) -> Vec<i32> {
    stream(seed, product, layer, 4 * len)
        .chunks_exact(4)
        .map(|b| b.try_into().map_or(0, |b| (u32::from_le_bytes(b) >> 1) as i32))
        .collect()
}

fn stream(seed: &[u8; 32], product: u32, layer: usize, bytes: usize) -> Vec<u8> {
    let mut hasher = HashContext::ProductCheck.hasher();
    hasher.update(seed).update(&product.to_le_bytes()).update(&(layer as u32).to_le_bytes());
    let mut out = vec![0; bytes];
    hasher.finalize_xof().fill(&mut out);
    out
}

const FORWARD: u32 = 0;
const BACKWARD: u32 = 1;
const GRADIENT: u32 = 2;
const AGGREGATE: u32 = 3;

fn dot32(values: &[i32], vector: &[i32]) -> u64 {
    values
        .iter()
        .zip(vector)
        .fold(0u64, |sum, (v, r)| sum.wrapping_add((i64::from(*v) * i64::from(*r)) as u64))
}

fn dot8(values: &[i8], vector: &[i32]) -> u64 {
    values.iter().zip(vector).fold(0i64, |sum, (v, r)| sum + i64::from(*v) * i64::from(*r)) as u64
}

fn dot8_wide(values: &[i8], vector: &[u64]) -> u64 {
    values
        .iter()
        .zip(vector)
        .fold(0u64, |sum, (v, x)| sum.wrapping_add((i64::from(*v) as u64).wrapping_mul(*x)))
}

/// A product's random vector, and the right operand times it: the checks of one round share them.
struct Probe {
    vector: Vec<i32>,
    image: Vec<u64>,
}

impl Probe {
    /// The probe for `Z = A w`: the image is `w r`.
    fn forward(seed: &[u8; 32], quantised: &QuantisedWeights, index: usize, layer: &Layer) -> Self {
        let vector = vector(seed, FORWARD, index, layer.outputs);
        let image = quantised
            .matrix(layer)
            .chunks_exact(layer.outputs)
            .map(|row| dot8(row, &vector))
            .collect();
        Self { vector, image }
    }

    /// The probe for `E = D w^T` without the bias: the image is `w^T q`.
    fn backward(
        seed: &[u8; 32],
        quantised: &QuantisedWeights,
        index: usize,
        layer: &Layer,
    ) -> Self {
        let vector = vector(seed, BACKWARD, index, layer.inputs);
        let mut image = vec![0u64; layer.outputs];
        for (row, q) in
            without_bias(quantised.matrix(layer), layer).chunks_exact(layer.outputs).zip(&vector)
        {
            for (sum, w) in image.iter_mut().zip(row) {
                *sum = sum.wrapping_add((i64::from(*w) * i64::from(*q)) as u64);
            }
        }
        Self { vector, image }
    }

    /// The first row in which `product` is not `left` times the right operand.
    fn refute(&self, product: &[i32], left: &[i8]) -> Option<usize> {
        let products = product.chunks_exact(self.vector.len().max(1));
        let mut rows = products.zip(left.chunks_exact(self.image.len().max(1)));
        rows.position(|(z, a)| dot32(z, &self.vector) != dot8_wide(a, &self.image))
    }
}

/// Checks `Z_l` of every layer and returns the activations `A_l` that follow from them.
fn check_forward(
    topology: &Topology,
    quantised: &QuantisedWeights,
    probes: &[Probe],
    rows: &[i8],
    products: &[&[i32]],
) -> Result<Vec<Vec<i8>>, Rejection> {
    let mut activations: Vec<Vec<i8>> = Vec::with_capacity(products.len());
    for (l, ((layer, probe), product)) in
        topology.layers().iter().zip(probes).zip(products).enumerate()
    {
        let mut inputs = Vec::new();
        match l
            .checked_sub(1)
            .and_then(|before| Some((topology.layers().get(before)?, products.get(before)?)))
        {
            None => with_bias(&mut inputs, layer, rows),
            Some((before, z)) => {
                activate(
                    &mut inputs,
                    layer,
                    z,
                    before.exponent + quantised.exponent(l - 1) - layer.exponent,
                );
            }
        }
        if let Some(row) = probe.refute(product, &inputs) {
            return Err(Rejection::Forward { layer: l, row });
        }
        activations.push(inputs);
    }
    Ok(activations)
}

/// Splits a flat array into parts of these lengths.
fn parts(mut flat: &[i32], lengths: impl Iterator<Item = usize>) -> Vec<&[i32]> {
    lengths
        .map(|len| {
            let (part, rest) = flat.split_at_checked(len).unwrap_or_default();
            flat = rest;
            part
        })
        .collect()
}

/// The secret vectors of one round, with their products with the round's quantised weights.
pub struct RoundSecrets {
    forward: Vec<Probe>,
    backward: Vec<Probe>,
    gradient: Vec<Vec<i32>>,
}

impl RoundSecrets {
    /// Expands a seed, drawn from the operating system, for a round that computes with `quantised`.
    pub fn draw(
        plan: &Plan,
        quantised: &QuantisedWeights,
        seed: &[u8; 32],
    ) -> Result<Self, ComputeError> {
        quantised.check(plan.topology())?;
        let layers = || plan.topology().layers().iter().enumerate();
        Ok(Self {
            forward: layers().map(|(l, layer)| Probe::forward(seed, quantised, l, layer)).collect(),
            backward: layers()
                .map(|(l, layer)| Probe::backward(seed, quantised, l, layer))
                .collect(),
            gradient: layers().map(|(l, layer)| vector(seed, GRADIENT, l, layer.outputs)).collect(),
        })
    }
}

/// The values that follow from a work unit's checked products by the element-wise rules.
pub struct Derived {
    activations: Vec<Vec<i8>>,
    errors: Vec<Vec<i8>>,
    exponents: Vec<u32>,
}

/// Checks all products of a work unit but the gradients, and derives the operands of the gradients.
pub fn check_exact_step_products(
    plan: &Plan,
    secrets: &RoundSecrets,
    quantised: &QuantisedWeights,
    (round, unit): (u32, u32),
    rows: &Samples,
    trace: &ExactStepTrace,
) -> Result<Derived, Rejection> {
    trace.check_form(plan)?;
    check_rows(plan, rows, plan.rows_per_step())?;
    quantised.check(plan.topology()).map_err(ComputeError::from)?;
    let (topology, count) = (plan.topology(), plan.rows_per_step());
    let layers = topology.layers();
    let forward = parts(&trace.forward, layers.iter().map(|l| count * l.outputs));
    let first_has_none =
        |(l, layer): (usize, &Layer)| if l == 0 { 0 } else { count * layer.inputs };
    let backward = parts(&trace.backward, layers.iter().enumerate().map(first_has_none));
    let activations =
        check_forward(topology, quantised, &secrets.forward, rows.values(), &forward)?;

    let last = layers.len() - 1;
    let logits_exponent = layers[last].exponent + quantised.exponent(last);
    let mut error = output_error(forward[last], topology.classes(), logits_exponent, rows.labels());
    let mut exponent = ERROR_EXPONENT;
    let mut errors = vec![Vec::new(); layers.len()];
    let mut exponents = vec![0; layers.len()];
    for (l, layer) in layers.iter().enumerate().rev() {
        exponent =
            quantise(&mut errors[l], &error, exponent, plan.params(), Position { round, unit }, l);
        exponents[l] = exponent;
        if trace.result.exponents.get(l).map(|e| u32::from(*e)) != Some(exponent) {
            return Err(Rejection::Exponent { layer: l });
        }
        if l > 0 {
            if let Some(row) = secrets.backward[l].refute(backward[l], &errors[l]) {
                return Err(Rejection::Backward { layer: l, row });
            }
            error = backward[l].to_vec();
            mask(&mut error, &activations[l], layer);
            exponent += quantised.exponent(l);
        }
    }
    Ok(Derived { activations, errors, exponents })
}

/// Checks all products of a work unit.
pub fn check_exact_step(
    plan: &Plan,
    secrets: &RoundSecrets,
    quantised: &QuantisedWeights,
    at: (u32, u32),
    rows: &Samples,
    trace: &ExactStepTrace,
) -> Result<(), Rejection> {
    let derived = check_exact_step_products(plan, secrets, quantised, at, rows, trace)?;
    for (l, layer) in plan.topology().layers().iter().enumerate() {
        let t = &secrets.gradient[l];
        let mut expected = vec![0u64; layer.rows()];
        let rows = derived.activations[l].chunks_exact(layer.rows());
        for (activations, errors) in rows.zip(derived.errors[l].chunks_exact(layer.outputs)) {
            let weight = dot8(errors, t);
            for (sum, a) in expected.iter_mut().zip(activations) {
                *sum = sum.wrapping_add((i64::from(*a) as u64).wrapping_mul(weight));
            }
        }
        let gradient = trace.result.gradients.get(layer.range()).unwrap_or_default();
        let mut rows = gradient.chunks_exact(layer.outputs).zip(&expected);
        if let Some(row) = rows.position(|(g, expected)| dot32(g, t) != *expected) {
            return Err(Rejection::Gradient { layer: l, row });
        }
    }
    Ok(())
}

/// The check of a round's summed gradients. Add every work unit whose other products are correct.
pub struct AggregateCheck {
    vectors: Vec<Vec<u64>>,
    sums: Vec<Vec<u64>>,
}

impl AggregateCheck {
    /// Expands a seed, drawn from the operating system after all work units of the round were
    /// committed to.
    pub fn draw(plan: &Plan, seed: &[u8; 32]) -> Result<Self, ComputeError> {
        if plan.units_per_round() > AGGREGATE_UNITS_MAX {
            return Err(ComputeError::Position {
                what: "unit",
                value: plan.units_per_round(),
                count: AGGREGATE_UNITS_MAX,
            });
        }
        let layers = || plan.topology().layers().iter().enumerate();
        let vectors = layers().map(|(l, layer)| {
            let bytes = stream(seed, AGGREGATE, l, 16 * layer.outputs);
            bytes
                .chunks_exact(16)
                .map(|b| b.try_into().map_or(0, |b| reduce(u128::from_le_bytes(b))))
                .collect()
        });
        Ok(Self {
            vectors: vectors.collect(),
            sums: layers().map(|(_, layer)| vec![0; layer.rows()]).collect(),
        })
    }

    /// Adds a work unit. Each must be added once, as in [`super::aggregate::ExactRound`].
    pub fn add(&mut self, plan: &Plan, unit: &Derived) {
        for (l, layer) in plan.topology().layers().iter().enumerate() {
            let scale = 1u64 << (GRADIENT_FRACTION - unit.exponents[l]);
            let rows = unit.activations[l].chunks_exact(layer.rows());
            for (activations, errors) in rows.zip(unit.errors[l].chunks_exact(layer.outputs)) {
                let weight = errors
                    .iter()
                    .zip(&self.vectors[l])
                    .fold(0, |sum, (d, t)| add(sum, multiply(field::of(i64::from(*d)), *t)));
                let weight = multiply(weight, scale);
                for (sum, a) in self.sums[l].iter_mut().zip(activations) {
                    *sum = add(*sum, multiply(field::of(i64::from(*a)), weight));
                }
            }
        }
    }

    /// Checks the sums `T` of the added work units. If they are wrong, [`check_exact_step`] on each
    /// unit finds the wrong one.
    pub fn check(&self, plan: &Plan, sums: &[i64]) -> Result<(), Rejection> {
        super::error::check_count("sums", sums.len(), plan.topology().parameters())?;
        for (l, layer) in plan.topology().layers().iter().enumerate() {
            let rows = sums.get(layer.range()).unwrap_or_default().chunks_exact(layer.outputs);
            for (row, (values, expected)) in rows.zip(&self.sums[l]).enumerate() {
                let found = values
                    .iter()
                    .zip(&self.vectors[l])
                    .fold(0, |sum, (v, t)| add(sum, multiply(field::of(*v), *t)));
                if found != *expected {
                    return Err(Rejection::Gradient { layer: l, row });
                }
            }
        }
        Ok(())
    }
}

/// The secret vectors for checking the answers of one classifier.
pub struct InferenceSecrets(Vec<Probe>);

impl InferenceSecrets {
    /// Expands a seed, drawn from the operating system after the worker has committed.
    pub fn draw(classifier: &Classifier, seed: &[u8; 32]) -> Self {
        let layers = classifier.topology().layers().iter().enumerate();
        Self(
            layers
                .map(|(l, layer)| Probe::forward(seed, classifier.quantised(), l, layer))
                .collect(),
        )
    }
}

/// Checks the answers for a batch.
pub fn check_inference(
    classifier: &Classifier,
    secrets: &InferenceSecrets,
    rows: &Samples,
    inference: &Inference,
) -> Result<(), Rejection> {
    inference.check_form(classifier, rows)?;
    check_products("products", &inference.products)?;
    let (topology, count) = (classifier.topology(), rows.rows() as usize);
    let products = parts(&inference.products, topology.layers().iter().map(|l| count * l.outputs));
    check_forward(topology, classifier.quantised(), &secrets.0, rows.values(), &products)?;
    let logits = products.last().copied().unwrap_or_default();
    let mut answers = logits.chunks_exact(topology.classes()).zip(inference.classes.iter());
    match answers.position(|(z, class)| argmax(z) != *class) {
        None => Ok(()),
        Some(row) => Err(Rejection::Class { row }),
    }
}

#[cfg(test)]
mod tests;
