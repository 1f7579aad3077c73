//! The state of a network in training: master weights, momentum, and the int8 form that the
//! arithmetic uses.
//!
//! Specification, sections 3 (initial state) and 4 (publish). Values outside ±[`LIM`] are refused
//! on decoding. Lengths that do not fit the network are refused wherever a state meets a
//! [`Topology`].

use super::{
    array::{Array, for_each_block, update_hash},
    fixed::{INT8_MAX, LIM, WEIGHT_FRACTION, bitlen, isqrt, magnitude, rshr32},
    limits::{DIMS_MAX, PARAMETERS_MAX},
    params::{Layer, Plan, Topology},
    prng::{self, Purpose},
};
use crate::{codec::BoundedVec, crypto::hash::HashContext, types::Digest};
use alloc::{vec, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize, io};
use sha2::{Digest as _, Sha256};

/// The reason why a state, or an input to a computation on one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum StateError {
    #[error("{what}: {found} numbers where {expected} are needed")]
    Length { what: &'static str, found: usize, expected: usize },
    #[error("{what}: number {index} is out of range")]
    Range { what: &'static str, index: usize },
}

pub(super) fn check_length(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), StateError> {
    if found == expected { Ok(()) } else { Err(StateError::Length { what, found, expected }) }
}

fn check_range(what: &'static str, values: &[i32]) -> Result<(), StateError> {
    match values.iter().position(|v| v.unsigned_abs() > LIM.unsigned_abs()) {
        None => Ok(()),
        Some(index) => Err(StateError::Range { what, index }),
    }
}

/// Master weights: 24 fraction bits, layer after layer, each `(inputs + 1) x outputs` row-major,
/// the bias last.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Weights(Array<i32, PARAMETERS_MAX>);

impl Weights {
    /// The weights that every run of a plan starts from.
    pub fn initial(plan: &Plan) -> Self {
        let seed = plan.params().seed;
        let mut values = Vec::with_capacity(plan.topology().parameters());
        for (l, layer) in plan.topology().layers().iter().enumerate() {
            let lim = isqrt((6 << (2 * WEIGHT_FRACTION)) / layer.inputs.max(1) as u64) as i64;
            let key = prng::key(&[seed, Purpose::Weights as u32, l as u32]);
            let drawn = (0..(layer.inputs * layer.outputs) as u32)
                .map(|i| ((i64::from(prng::at(key, i)) * (2 * lim + 1)) >> 32) - lim);
            values.extend(drawn.map(|w| w as i32));
            values.resize(layer.range().end, 0);
        }
        Self(Array::new(values).unwrap_or_default())
    }

    /// Checks weights from outside.
    pub fn new(topology: &Topology, values: Vec<i32>) -> Result<Self, StateError> {
        check_length("weights", values.len(), topology.parameters())?;
        Self::of(values)
    }

    /// Checks weights of any network.
    pub(crate) fn of(values: Vec<i32>) -> Result<Self, StateError> {
        check_range("weights", &values)?;
        let found = values.len();
        Array::new(values).map(Self).map_err(|_| StateError::Length {
            what: "weights",
            found,
            expected: PARAMETERS_MAX,
        })
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[i32] {
        &self.0
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [i32] {
        self.0.as_mut_slice()
    }

    /// Refuses weights of another network.
    pub fn check(&self, topology: &Topology) -> Result<(), StateError> {
        check_length("weights", self.0.len(), topology.parameters())
    }

    /// The digest that names these weights in the protocol.
    pub fn hash(&self) -> Digest {
        let mut hasher = HashContext::Weights.hasher();
        update_hash(&mut hasher, &self.0);
        Digest(*hasher.finalize().as_bytes())
    }

    /// SHA-256 of the numbers as little-endian bytes: the digest that other implementations print.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let fed: Result<(), core::convert::Infallible> = for_each_block(&self.0, |block| {
            hasher.update(block);
            Ok(())
        });
        match fed {
            Ok(()) => hasher.finalize().into(),
        }
    }

    /// The int8 form of these weights.
    pub fn quantise(&self, topology: &Topology) -> Result<QuantisedWeights, StateError> {
        self.check(topology)?;
        let mut quantised = QuantisedWeights::zero(topology);
        quantised.quantise(topology, &self.0);
        Ok(quantised)
    }
}

impl BorshDeserialize for Weights {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let values = Array::<i32, PARAMETERS_MAX>::deserialize_reader(reader)?.into_vec();
        Self::of(values)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "weight out of range"))
    }
}

/// Quantised weights: int8 in the same layout, and one exponent per layer. They suffice for
/// inference.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct QuantisedWeights {
    weights: Array<i8, PARAMETERS_MAX>,
    exponents: BoundedVec<u8, DIMS_MAX>,
}

impl QuantisedWeights {
    pub(super) fn zero(topology: &Topology) -> Self {
        Self {
            weights: Array::new(vec![0; topology.parameters()]).unwrap_or_default(),
            exponents: BoundedVec::truncated(topology.layers().iter().map(|_| 1)),
        }
    }

    /// Quantises master weights, which must be of this topology's length.
    pub(super) fn quantise(&mut self, topology: &Topology, master: &[i32]) {
        let mut exponents = Vec::with_capacity(topology.layers().len());
        for layer in topology.layers() {
            let (Some(from), Some(to)) =
                (master.get(layer.range()), self.weights.as_mut_slice().get_mut(layer.range()))
            else {
                return;
            };
            let shift = bitlen(magnitude(from)).saturating_sub(7).max(16);
            for (q, w) in to.iter_mut().zip(from) {
                *q = rshr32(*w, shift).clamp(-INT8_MAX, INT8_MAX) as i8;
            }
            exponents.push((WEIGHT_FRACTION - shift) as u8);
        }
        self.exponents = BoundedVec::truncated(exponents);
    }

    /// Refuses weights that do not come from quantising weights of this network.
    pub fn check(&self, topology: &Topology) -> Result<(), StateError> {
        check_length("quantised weights", self.weights.len(), topology.parameters())?;
        check_length("quantised exponents", self.exponents.len(), topology.layers().len())?;
        if let Some(index) = self.exponents.iter().position(|e| !(1..=8).contains(e)) {
            return Err(StateError::Range { what: "quantised exponents", index });
        }
        match self.weights.iter().position(|w| *w == i8::MIN) {
            None => Ok(()),
            Some(index) => Err(StateError::Range { what: "quantised weights", index }),
        }
    }

    /// A layer's int8 matrix.
    pub(super) fn matrix(&self, layer: &Layer) -> &[i8] {
        self.weights.get(layer.range()).unwrap_or_default()
    }

    /// A layer's exponent.
    pub(super) fn exponent(&self, index: usize) -> u32 {
        self.exponents.get(index).map_or(1, |e| u32::from(*e))
    }
}

/// Master weights and momentum: the whole state between two steps. Encoded in eight bytes per
/// weight.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TrainingState {
    weights: Weights,
    momentum: Weights,
}

impl TrainingState {
    /// A state of both parts; it is usable only if they have one length.
    pub(crate) const fn of(weights: Weights, momentum: Weights) -> Self {
        Self { weights, momentum }
    }

    /// The state at the start of a work unit or of a run: no momentum.
    pub fn without_momentum(weights: Weights) -> Self {
        let momentum = Weights(Array::new(vec![0; weights.0.len()]).unwrap_or_default());
        Self { weights, momentum }
    }

    /// The master weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The momentum, in the same layout and format.
    pub fn momentum(&self) -> &[i32] {
        self.momentum.as_slice()
    }

    /// The master weights, without the momentum.
    pub fn into_weights(self) -> Weights {
        self.weights
    }

    /// Refuses a state of another network.
    pub fn check(&self, topology: &Topology) -> Result<(), StateError> {
        self.weights.check(topology)?;
        check_length("momentum", self.momentum.0.len(), topology.parameters())
    }

    pub(super) fn parts_mut(&mut self) -> (&mut [i32], &mut [i32]) {
        (self.weights.as_mut_slice(), self.momentum.as_mut_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::compute::params::{Mode, tests::params};

    #[test]
    fn initial_weights_are_those_published() {
        let plan = params(&[64, 64, 10], Mode::Exact { units: 8 }).validate().unwrap();
        let weights = Weights::initial(&plan);
        assert_eq!(weights.as_slice()[..3], [-2_913_616, 3_003_809, -2_533_151]);
        assert!(weights.as_slice()[64 * 64..65 * 64].iter().all(|w| *w == 0));
        assert_eq!(weights.as_slice().len(), plan.topology().parameters());
    }

    #[test]
    fn quantised_weights_use_their_seven_bits() {
        let plan = params(&[64, 64, 10], Mode::Exact { units: 8 }).validate().unwrap();
        let quantised = Weights::initial(&plan).quantise(plan.topology()).unwrap();
        assert!(quantised.check(plan.topology()).is_ok());
        for (l, layer) in plan.topology().layers().iter().enumerate() {
            let largest = quantised.matrix(layer).iter().map(|w| w.unsigned_abs()).max().unwrap();
            assert!((64..=127).contains(&largest), "{largest}");
            assert!((1..=8).contains(&quantised.exponent(l)));
        }
    }

    #[test]
    fn the_largest_weights_publish_without_overflow() {
        let plan = params(&[2, 2], Mode::Exact { units: 1 }).validate().unwrap();
        let weights = Weights::new(plan.topology(), vec![LIM, -LIM, 0, 1, -1, LIM / 2]).unwrap();
        let quantised = weights.quantise(plan.topology()).unwrap();
        assert_eq!(
            (&quantised.weights[..], quantised.exponent(0)),
            (&[127, -127, 0, 0, 0, 64][..], 1)
        );
    }

    #[test]
    fn out_of_range_is_refused_on_decoding() {
        let plan = params(&[2, 2], Mode::Exact { units: 1 }).validate().unwrap();
        assert!(Weights::new(plan.topology(), vec![0; 5]).is_err());
        for bad in [LIM + 1, i32::MIN, -LIM - 1] {
            assert!(Weights::new(plan.topology(), vec![0, 0, 0, 0, 0, bad]).is_err());
            let bytes = encode(&vec![0, bad]);
            assert!(decode::<Weights>(&bytes, 64).is_err());
        }
        let state = TrainingState::without_momentum(Weights::initial(&plan));
        assert_eq!(decode::<TrainingState>(&encode(&state), 64).unwrap(), state);
    }
}
