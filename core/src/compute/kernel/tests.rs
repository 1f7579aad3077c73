use super::*;
use crate::compute::prng;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

type Operands =
    for<'a> fn(&'a [i8], &'a [i8], usize, usize, usize) -> Result<(View<'a>, View<'a>), ShapeError>;
const VARIANTS: [(&str, Operands); 3] = [("A B", a_b), ("A^T B", at_b), ("A B^T", a_bt)];

fn multiply(
    kernel: &dyn Kernel,
    variant: Operands,
    a: &[i8],
    b: &[i8],
    (m, k, n): (usize, usize, usize),
) -> Vec<i32> {
    let mut out = vec![i32::MIN; m * n];
    let (left, right) = variant(a, b, m, k, n).unwrap();
    kernel.product(left, right, &mut out, &mut Scratch::default()).unwrap();
    out
}

fn assert_all_equal(a: &[i8], b: &[i8], shape: (usize, usize, usize)) {
    for (name, variant) in VARIANTS {
        let expected = multiply(all()[0], variant, a, b, shape);
        for kernel in &all()[1..] {
            assert!(
                multiply(*kernel, variant, a, b, shape) == expected,
                "{} {name} {shape:?}",
                kernel.name()
            );
        }
    }
}

fn random(key: u32, len: usize) -> Vec<i8> {
    (0..len as u32).map(|i| prng::at(key, i) as i8).collect()
}

#[test]
fn the_reference_multiplies() {
    let (a, b) = ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]);
    assert_eq!(multiply(all()[0], a_b, &a, &b, (2, 3, 2)), [58, 64, 139, 154]);
    // A is 3 x 2 and B 3 x 2.
    assert_eq!(multiply(all()[0], at_b, &a, &b, (2, 3, 2)), [89, 98, 116, 128]);
    // A is 2 x 3 and B 2 x 3.
    assert_eq!(multiply(all()[0], a_bt, &a, &b, (2, 3, 2)), [50, 68, 122, 167]);
}

#[test]
fn kernels_agree_at_block_and_tile_edges() {
    for (m, k, n) in [
        (1, 1, 1),
        (6, 2, 16),
        (7, 3, 17),
        (96, 512, 16),
        (97, 513, 33),
        (5, 1025, 9),
        (2, 7, 1030),
    ] {
        assert_all_equal(&random(1, m * k), &random(2, k * n), (m, k, n));
    }
}

#[test]
fn kernels_agree_on_extreme_values() {
    // Pairs of -128 x -128 and 127 x -128 are where a saturating instruction would differ.
    for (x, y) in [(i8::MIN, i8::MIN), (i8::MAX, i8::MIN), (i8::MAX, i8::MAX)] {
        let (m, k, n) = (7, 1031, 18);
        assert_all_equal(&vec![x; m * k], &vec![y; k * n], (m, k, n));
        let out = multiply(best(), a_b, &vec![x; m * k], &vec![y; k * n], (m, k, n));
        assert!(out.iter().all(|v| *v == 1031 * i32::from(x) * i32::from(y)));
    }
}

#[test]
fn the_deepest_product_stays_within_its_proof() {
    let depth = 65_536;
    let out = multiply(best(), a_b, &vec![-127; depth], &vec![127; depth], (1, depth, 1));
    assert_eq!(out, [-1_057_030_144]);
}

#[test]
fn empty_operands_are_accepted_and_mismatched_ones_refused() {
    for kernel in all() {
        let (left, right) = a_b(&[], &[], 2, 0, 3).unwrap();
        let mut out = [1; 6];
        kernel.product(left, right, &mut out, &mut Scratch::default()).unwrap();
        assert_eq!(out, [0; 6]);
        assert!(kernel.product(left, right, &mut [0; 5], &mut Scratch::default()).is_err());
        let other = View::lane_inner(&[1, 2, 3], 3, 1).unwrap();
        assert!(kernel.product(left, other, &mut out, &mut Scratch::default()).is_err());
    }
    assert!(View::depth_inner(&[1, 2, 3], 2, 2).is_err());
    assert!(View::depth_inner(&[1, 2, 3], usize::MAX, 2).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn kernels_agree_bit_for_bit(
        m in 1usize..40,
        k in 1usize..600,
        n in 1usize..40,
        seed in any::<u32>(),
        extreme in any::<bool>(),
    ) {
        let (mut a, mut b) = (random(seed, m * k), random(!seed, k * n));
        if extreme {
            for v in a.iter_mut().chain(&mut b) {
                *v = if *v < 0 { i8::MIN } else { i8::MAX };
            }
        }
        assert_all_equal(&a, &b, (m, k, n));
    }

    #[test]
    fn scratch_does_not_leak_from_one_product_to_the_next(
        m in 1usize..20,
        k in 1usize..50,
        n in 1usize..20,
        seed in any::<u32>(),
    ) {
        let kernel = best();
        let mut scratch = Scratch::default();
        let dirty = vec![-1i8; 64 * 64];
        let (left, right) = a_b(&dirty, &dirty, 64, 64, 64).unwrap();
        kernel.product(left, right, &mut vec![0; 64 * 64], &mut scratch).unwrap();
        let (a, b) = (random(seed, m * k), random(!seed, k * n));
        let (left, right) = a_b(&a, &b, m, k, n).unwrap();
        let mut out = vec![0; m * n];
        kernel.product(left, right, &mut out, &mut scratch).unwrap();
        prop_assert_eq!(out, multiply(all()[0], a_b, &a, &b, (m, k, n)));
    }
}
