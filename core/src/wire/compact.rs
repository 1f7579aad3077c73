//! Variable-width encoding of integers: the weights of leases, and the numbers of task outputs.
//!
//! An array is its length (u32 LE) and blocks of 128 numbers. A block is a width (one byte, 8 to
//! 32) and the numbers, zig-zag coded, in that many bits each, least significant bits first, padded
//! to a whole byte. The form is canonical: the width is the least that fits, and the padding bits
//! are 0. One byte never encodes more than one number, so the decoder allocates at most four times
//! the received bytes. It checks the length cap first.

use crate::compute::{
    array::Array,
    exact::{ExactStepResult, ExactStepTrace},
    infer::Inference,
    limits::PARAMETERS_MAX,
    local_steps::LocalStepsResult,
    state::{TrainingState, Weights},
};
use alloc::vec::Vec;
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error, ErrorKind, Read, Result, Write},
};

const BLOCK: usize = 128;
const WIDTH_MIN: u32 = 8;
const WIDTH_MAX: u32 = 32;

const fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

const fn unzigzag(code: u32) -> i32 {
    (code >> 1) as i32 ^ -((code & 1) as i32)
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn width_of(block: &[i32]) -> u32 {
    let all = block.iter().fold(0, |bits, value| bits | zigzag(*value));
    (u32::BITS - all.leading_zeros()).max(WIDTH_MIN)
}

fn write_ints<W: Write>(values: &[i32], writer: &mut W) -> Result<()> {
    u32::try_from(values.len()).map_err(|_| invalid("array too long"))?.serialize(writer)?;
    let mut out = Vec::with_capacity(1 + 4 * BLOCK);
    for block in values.chunks(BLOCK) {
        let width = width_of(block);
        out.clear();
        out.push(width as u8);
        let (mut bits, mut count) = (0u64, 0);
        for value in block {
            bits |= u64::from(zigzag(*value)) << count;
            count += width;
            while count >= 8 {
                out.push(bits as u8);
                bits >>= 8;
                count -= 8;
            }
        }
        if count > 0 {
            out.push(bits as u8);
        }
        writer.write_all(&out)?;
    }
    Ok(())
}

fn read_ints<const N: usize, R: Read>(reader: &mut R) -> Result<Vec<i32>> {
    let len = u32::deserialize_reader(reader)? as usize;
    if len > N {
        return Err(invalid("length above the cap"));
    }
    let mut values = Vec::new();
    let mut bytes = [0; 4 * BLOCK];
    while values.len() < len {
        let items = BLOCK.min(len - values.len());
        let width = u32::from(u8::deserialize_reader(reader)?);
        if !(WIDTH_MIN..=WIDTH_MAX).contains(&width) {
            return Err(invalid("width out of range"));
        }
        let packed = bytes.get_mut(..(items * width as usize).div_ceil(8)).unwrap_or_default();
        reader.read_exact(packed)?;
        let start = values.len();
        let (mut bits, mut count, mut next) = (0u64, 0, packed.iter());
        for _ in 0..items {
            while count < width {
                bits |= u64::from(next.next().copied().unwrap_or_default()) << count;
                count += 8;
            }
            values.push(unzigzag((bits & ((1 << width) - 1)) as u32));
            bits >>= width;
            count -= width;
        }
        if bits != 0 || width_of(values.get(start..).unwrap_or_default()) != width {
            return Err(invalid("not the canonical form"));
        }
    }
    Ok(values)
}

fn read_array<const N: usize, R: Read>(reader: &mut R) -> Result<Array<i32, N>> {
    Array::new(read_ints::<N, R>(reader)?).map_err(|_| invalid("length above the cap"))
}

/// Writes weights.
pub fn write_weights<W: Write>(weights: &Weights, writer: &mut W) -> Result<()> {
    write_ints(weights.as_slice(), writer)
}

/// Reads weights.
pub fn read_weights<R: Read>(reader: &mut R) -> Result<Weights> {
    let values = read_ints::<PARAMETERS_MAX, R>(reader)?;
    Weights::of(values).map_err(|_| invalid("weight out of range"))
}

/// Writes a state.
pub fn write_state<W: Write>(state: &TrainingState, writer: &mut W) -> Result<()> {
    write_weights(state.weights(), writer)?;
    write_ints(state.momentum(), writer)
}

/// Reads a state.
pub fn read_state<R: Read>(reader: &mut R) -> Result<TrainingState> {
    let (weights, momentum) = (read_weights(reader)?, read_weights(reader)?);
    Ok(TrainingState::of(weights, momentum))
}

/// Writes a state, if there is one.
#[allow(clippy::ref_option)] // The derived encoding requires this signature.
pub fn write_optional_state<W: Write>(state: &Option<TrainingState>, writer: &mut W) -> Result<()> {
    state.is_some().serialize(writer)?;
    state.iter().try_for_each(|state| write_state(state, writer))
}

/// Reads a state, if there is one.
pub fn read_optional_state<R: Read>(reader: &mut R) -> Result<Option<TrainingState>> {
    if bool::deserialize_reader(reader)? { read_state(reader).map(Some) } else { Ok(None) }
}

/// Writes the result of local steps.
pub fn write_local_steps<W: Write>(result: &LocalStepsResult, writer: &mut W) -> Result<()> {
    let LocalStepsResult { step_digests, delta, macs, digest } = result;
    (step_digests, macs, digest).serialize(writer)?;
    write_ints(delta, writer)
}

/// Reads the result of local steps.
pub fn read_local_steps<R: Read>(reader: &mut R) -> Result<LocalStepsResult> {
    let (step_digests, macs, digest) = BorshDeserialize::deserialize_reader(reader)?;
    Ok(LocalStepsResult { step_digests, macs, digest, delta: read_array(reader)? })
}

/// Writes the trace of an exact step.
pub fn write_exact_step<W: Write>(trace: &ExactStepTrace, writer: &mut W) -> Result<()> {
    let ExactStepTrace { forward, backward, result: ExactStepResult { gradients, exponents } } =
        trace;
    exponents.serialize(writer)?;
    [&**forward, &**backward, &**gradients]
        .iter()
        .try_for_each(|numbers| write_ints(numbers, writer))
}

/// Reads the trace of an exact step.
pub fn read_exact_step<R: Read>(reader: &mut R) -> Result<ExactStepTrace> {
    let exponents = BorshDeserialize::deserialize_reader(reader)?;
    let (forward, backward) = (read_array(reader)?, read_array(reader)?);
    Ok(ExactStepTrace {
        forward,
        backward,
        result: ExactStepResult { gradients: read_array(reader)?, exponents },
    })
}

/// Writes the answers to an inference part.
pub fn write_inference<W: Write>(answers: &Inference, writer: &mut W) -> Result<()> {
    answers.classes.serialize(writer)?;
    write_ints(&answers.products, writer)
}

/// Reads the answers to an inference part.
pub fn read_inference<R: Read>(reader: &mut R) -> Result<Inference> {
    let classes = BorshDeserialize::deserialize_reader(reader)?;
    Ok(Inference { classes, products: read_array(reader)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn packed(values: &[i32]) -> Vec<u8> {
        let mut out = Vec::new();
        write_ints(values, &mut out).unwrap();
        out
    }

    fn unpacked<const N: usize>(bytes: &[u8]) -> Result<Vec<i32>> {
        let mut rest = bytes;
        let values = read_ints::<N, _>(&mut rest)?;
        if rest.is_empty() { Ok(values) } else { Err(invalid("more bytes")) }
    }

    #[test]
    fn numbers_take_the_bits_that_they_need() {
        assert_eq!(packed(&[]), [0; 4]);
        assert_eq!(packed(&[0, -1, 1, 127, -128]), [5, 0, 0, 0, 8, 0, 1, 2, 254, 255]);
        assert_eq!(packed(&[256]), [1, 0, 0, 0, 10, 0, 2]);
        assert_eq!(packed(&[i32::MIN, i32::MAX]).len(), 4 + 1 + 8);
        assert_eq!(packed(&vec![(1 << 19) - 1; 1280]).len(), 4 + 10 * (1 + 128 * 20 / 8));
    }

    #[test]
    fn other_forms_and_lengths_are_refused_before_memory_is_taken() {
        assert!(unpacked::<4>(&packed(&[1; 5])).is_err(), "above the cap");
        assert!(unpacked::<{ 1 << 30 }>(&[0, 0, 0, 0x40]).is_err(), "nothing behind the length");
        for (width, rest) in [(7, [0, 0]), (33, [0, 0]), (9, [1, 0]), (10, [0, 6])] {
            let bytes = [&[1, 0, 0, 0, width][..], &rest].concat();
            assert!(unpacked::<9>(&bytes).is_err(), "width {width}");
        }
        assert_eq!(unpacked::<9>(&[1, 0, 0, 0, 10, 0, 2]).unwrap(), [256]);
    }

    proptest! {
        #[test]
        fn round_trips(
            values in proptest::collection::vec(any::<i32>(), 0..300),
            shift in 0u32..32,
        ) {
            let values: Vec<i32> = values.iter().map(|v| v >> shift).collect();
            prop_assert_eq!(unpacked::<300>(&packed(&values)).unwrap(), values);
        }

        #[test]
        fn any_bytes_are_refused_or_canonical(bytes: Vec<u8>) {
            if let Ok(values) = unpacked::<4096>(&bytes) {
                prop_assert_eq!(packed(&values), bytes);
            }
        }
    }
}
