//! WebAssembly SIMD: `i32x4.dot_i16x8_s` on tiles of 2 x 16 sums.
//!
//! Unsafe code is needed to load and store vectors; a module compiled with `simd128` runs only where it exists.

use super::{
    Kernel, Scratch, ShapeError, View,
    blocked::{self, Tile},
};
use core::arch::wasm32::{i32x4_add, i32x4_dot_i16x8, i32x4_splat, v128, v128_load, v128_store};

const ROWS: usize = 2;
const COLUMNS: usize = 16;
/// Vectors in a row of a tile.
const VECTORS: usize = COLUMNS / 4;

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
        let mut acc = [[i32x4_splat(0); VECTORS]; ROWS];
        // Browsers check for interruption in every turn of a loop: four pairs a turn make that small.
        let (left, left_rest) = left.as_chunks::<4>();
        let (right, right_rest) = right.as_chunks::<4>();
        for (left, right) in left.iter().zip(right) {
            for (l, r) in left.iter().zip(right) {
                multiply_add(&mut acc, l, r);
            }
        }
        for (l, r) in left_rest.iter().zip(right_rest) {
            multiply_add(&mut acc, l, r);
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

#[inline(always)]
fn multiply_add(acc: &mut [[v128; VECTORS]; ROWS], left: &[i32; ROWS], right: &[i32; COLUMNS]) {
    for (v, words) in right.as_chunks::<4>().0.iter().enumerate() {
        // SAFETY: four words; wasm loads need no alignment.
        let r = unsafe { v128_load(words.as_ptr().cast::<v128>()) };
        for (acc, l) in acc.iter_mut().zip(left) {
            acc[v] = i32x4_add(acc[v], i32x4_dot_i16x8(i32x4_splat(*l), r));
        }
    }
}
