//! WebAssembly SIMD: `i32x4.dot_i16x8_s` on tiles of 2 x 16 sums.
//!
//! Unsafe code is needed to load and store vectors; a module compiled with `simd128` runs only
//! where it exists. Tile shape and plain loop were chosen by measurement: in V8, tiles of 4 x 8, 3
//! x 12, 5 x 8 and 2 x 20, and this one with its loop unrolled, are all slower, most by a third.

use super::{
    blocked::{self, Tile},
    pack::{Scratch, View},
    product::Kernel,
    shape::ShapeError,
};
use core::arch::wasm32::{i32x4_add, i32x4_dot_i16x8, i32x4_splat, v128, v128_load, v128_store};

const ROWS: usize = 2;
const COLUMNS: usize = 16;
/// Vectors in a row of a tile.
const VECTORS: usize = COLUMNS / 4;

type Sums = [[v128; VECTORS]; ROWS];

pub(super) static KERNEL: Simd128 = Simd128;

/// The kernel of browsers.
pub(super) struct Simd128;

impl Kernel for Simd128 {
    fn name(&self) -> &'static str {
        "simd128"
    }

    fn product(
        &self,
        left: View<'_>,
        right: View<'_>,
        out: &mut [i32],
        scratch: &mut Scratch,
    ) -> Result<(), ShapeError> {
        blocked::product::<ROWS, COLUMNS>(self, left, right, out, scratch)
    }
}

impl Tile<ROWS, COLUMNS> for Simd128 {
    #[inline(always)]
    fn sums(&self, left: &[[i32; ROWS]], right: &[[i32; COLUMNS]]) -> [[i32; COLUMNS]; ROWS] {
        let mut acc: Sums = [[i32x4_splat(0); VECTORS]; ROWS];
        for (l, r) in left.iter().zip(right) {
            acc = multiply_add(acc, l, r);
        }
        let mut sums = [[0; COLUMNS]; ROWS];
        for (line, acc) in sums.iter_mut().zip(acc) {
            for (words, acc) in line.as_chunks_mut::<4>().0.iter_mut().zip(acc) {
                // SAFETY: four words; wasm stores need no alignment.
                unsafe { v128_store(words.as_mut_ptr().cast::<v128>(), acc) };
            }
        }
        sums
    }
}

/// One pair of depths.
#[inline(always)]
fn multiply_add(mut acc: Sums, left: &[i32; ROWS], right: &[i32; COLUMNS]) -> Sums {
    let right = right.as_ptr().cast::<v128>();
    let l = left.map(|word| i32x4_splat(word));
    // SAFETY: the columns are this many vectors; wasm loads need no alignment.
    let r: [v128; VECTORS] = core::array::from_fn(|v| unsafe { v128_load(right.add(v)) });
    for (acc, l) in acc.iter_mut().zip(l) {
        for (acc, r) in acc.iter_mut().zip(r) {
            *acc = i32x4_add(*acc, i32x4_dot_i16x8(l, r));
        }
    }
    acc
}
