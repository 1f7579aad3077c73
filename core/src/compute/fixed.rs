//! Fixed-point primitives of the training specification (its section 2) and the formats it fixes.

/// Fraction bits of the master weights.
pub const WEIGHT_FRACTION: u32 = 24;
/// Fraction bits at which gradients of different work units are summed.
pub const GRADIENT_FRACTION: u32 = 20;
/// Master weights, momenta and clipped gradients stay within plus or minus this.
pub const LIM: i32 = (1 << 30) - 1;
/// Largest magnitude of an int8 operand: -128 never occurs, so pairs of products fit every SIMD
/// form.
pub const INT8_MAX: i32 = 127;

/// Shift to the right, rounding halves up. The caller keeps `x` far enough from the ends for the
/// half.
#[inline(always)]
pub const fn rshr(x: i64, shift: u32) -> i64 {
    (x + ((1 << shift) >> 1)) >> shift
}

/// The same in 32 bits, for values whose headroom section 6 of the specification proves.
#[inline(always)]
pub const fn rshr32(x: i32, shift: u32) -> i32 {
    x.wrapping_add((1 << shift) >> 1) >> shift
}

/// Number of bits of a magnitude; 0 for 0.
#[inline(always)]
pub const fn bitlen(v: u32) -> u32 {
    u32::BITS - v.leading_zeros()
}

/// Floor of the square root, by Newton's method from above.
pub const fn isqrt(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let mut x = 1 << (u64::BITS - n.leading_zeros()).div_ceil(2);
    loop {
        let next = (x + n / x) / 2;
        if next >= x {
            return x;
        }
        x = next;
    }
}

/// Largest magnitude in a slice.
pub fn magnitude(values: &[i32]) -> u32 {
    values.iter().fold(0, |max, v| max.max(v.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounding_is_half_up_on_both_sides() {
        assert_eq!([-3, -2, -1, 1, 2, 3].map(|x| rshr(x, 1)), [-1, -1, 0, 1, 1, 2]);
        assert_eq!(rshr(-5, 0), -5);
        assert_eq!([0, 1, 127, 128].map(bitlen), [0, 1, 7, 8]);
    }

    proptest! {
        #[test]
        fn isqrt_is_the_floor(n in any::<u64>()) {
            let r = u128::from(isqrt(n));
            prop_assert!(r * r <= u128::from(n) && u128::from(n) < (r + 1) * (r + 1));
        }

        #[test]
        fn both_widths_round_alike(x in -(1i32 << 30)..1 << 30, shift in 0u32..24) {
            prop_assert_eq!(i64::from(rshr32(x, shift)), rshr(i64::from(x), shift));
        }
    }
}
