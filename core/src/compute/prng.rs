//! The training specification's pseudo-random numbers: 32-bit words from a key and a position.
//!
//! The numbers fill initial weights, shuffle rows and round gradients. They are not cryptographic,
//! and nothing depends on their being unpredictable: every node must be able to compute the same
//! ones.

/// 2^32 divided by the golden ratio: neighbouring positions map far apart.
const PHI: u32 = 0x9E37_79B9;
/// The first hexadecimal digits of pi: a start without a hidden purpose.
const START: u32 = 0x243F_6A88;

/// The purpose of a key: the second word of each key, after the job's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights of a layer.
    Weights = 1,
    /// Order of the rows in an epoch.
    Order = 2,
    /// Stochastic rounding in one work unit's block.
    Rounding = 3,
    /// Split of a class into training and test rows.
    Split = 4,
}

/// A bijection on 32-bit words in which each input bit reaches every output bit.
#[inline(always)]
pub const fn mix32(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// Folds words into a key; their order matters.
pub fn key(words: &[u32]) -> u32 {
    words.iter().fold(START, |k, w| mix32(k ^ w).wrapping_add(PHI))
}

/// The word at a position of a key's sequence.
#[inline(always)]
pub const fn at(key: u32, position: u32) -> u32 {
    mix32(key.wrapping_add(position.wrapping_add(1).wrapping_mul(PHI)))
}

/// The numbers `0..rows` in the pseudo-random order of a key: sorted by (word at the number,
/// number).
pub fn permutation(key: u32, rows: u32) -> alloc::vec::Vec<u32> {
    let mut order: alloc::vec::Vec<u64> =
        (0..rows).map(|row| (u64::from(at(key, row)) << 32) | u64::from(row)).collect();
    order.sort_unstable();
    order.into_iter().map(|word| word as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generates_the_published_words() {
        assert_eq!(mix32(1), 0x6889_90C0);
        let k = key(&[0, 1, 0]);
        assert_eq!(k, 0xE2AA_94C1);
        assert_eq!((at(k, 0), at(k, 1)), (0x3766_65D5, 0xCAD8_F028));
    }

    #[test]
    fn a_permutation_contains_each_number_once() {
        let mut order = permutation(7, 1000);
        assert_ne!(order, (0..1000).collect::<alloc::vec::Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<alloc::vec::Vec<_>>());
    }
}
