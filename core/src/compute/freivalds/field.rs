//! Arithmetic modulo the Mersenne prime 2^61 - 1. Values are kept below the prime.

/// 2^61 - 1.
pub(super) const P: u64 = (1 << 61) - 1;

pub(super) const fn reduce(x: u128) -> u64 {
    (x % P as u128) as u64
}

pub(super) const fn of(x: i64) -> u64 {
    x.rem_euclid(P as i64) as u64
}

pub(super) const fn add(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= P { sum - P } else { sum }
}

/// Folds the product's upper 61 bits onto the lower: 2^61 is 1.
pub(super) const fn multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    add((product as u64) & P, (product >> 61) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_plain_remainders(a in 0..P, b in 0..P, x in any::<i64>()) {
            prop_assert_eq!(multiply(a, b), reduce(u128::from(a) * u128::from(b)));
            prop_assert_eq!(add(a, b), reduce(u128::from(a) + u128::from(b)));
            prop_assert_eq!(i128::from(of(x)), i128::from(x).rem_euclid(i128::from(P)));
        }
    }

    #[test]
    fn operations_at_the_edges_of_the_field() {
        assert_eq!((multiply(P - 1, P - 1), add(P - 1, P - 1), of(-1)), (1, P - 2, P - 1));
    }
}
