//! AVX2: `vpmaddwd` on tiles of 6 x 16 sums in twelve registers.
//!
//! Unsafe code is needed to call functions compiled for an instruction set that was found at run
//! time, and to load and store vectors. [`Avx2`] exists only where AVX2 does.

use super::{
    blocked::{self, Tile},
    pack::{Scratch, View},
    product::Kernel,
    shape::ShapeError,
};
use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// Proof that the machine has AVX2.
pub(super) struct Avx2(());

static KERNEL: Avx2 = Avx2(());

/// The kernel, if the machine has AVX2.
pub(super) fn detect() -> Option<&'static Avx2> {
    #[cfg(feature = "std")]
    let found = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(feature = "std"))]
    let found = cfg!(target_feature = "avx2");
    found.then_some(&KERNEL)
}

impl Kernel for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn product(
        &self,
        left: View<'_>,
        right: View<'_>,
        out: &mut [i32],
        scratch: &mut Scratch,
    ) -> Result<(), ShapeError> {
        // SAFETY: `detect` returns the only instance, and only where AVX2 was found.
        unsafe { product(self, left, right, out, scratch) }
    }
}

#[target_feature(enable = "avx2")]
fn product(
    tile: &Avx2,
    left: View<'_>,
    right: View<'_>,
    out: &mut [i32],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    blocked::product::<ROWS, COLUMNS>(tile, left, right, out, scratch)
}

impl Tile<ROWS, COLUMNS> for Avx2 {
    #[inline(always)]
    fn sums(&self, left: &[[i32; ROWS]], right: &[[i32; COLUMNS]]) -> [[i32; COLUMNS]; ROWS] {
        // SAFETY: as above, `self` is the proof.
        unsafe { sums(left, right) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn sums(left: &[[i32; ROWS]], right: &[[i32; COLUMNS]]) -> [[i32; COLUMNS]; ROWS] {
    let mut acc = [[_mm256_setzero_si256(); 2]; ROWS];
    for (l, r) in left.iter().zip(right) {
        let (r0, r1) = r.split_at(8);
        // SAFETY: both halves hold eight words; unaligned loads have no other condition.
        let (r0, r1) = unsafe {
            (
                _mm256_loadu_si256(r0.as_ptr().cast::<__m256i>()),
                _mm256_loadu_si256(r1.as_ptr().cast::<__m256i>()),
            )
        };
        for (acc, l) in acc.iter_mut().zip(l) {
            let l = _mm256_set1_epi32(*l);
            acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(l, r0));
            acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(l, r1));
        }
    }
    let mut sums = [[0; COLUMNS]; ROWS];
    for (line, acc) in sums.iter_mut().zip(acc) {
        let (low, high) = line.split_at_mut(8);
        // SAFETY: both halves hold eight words; unaligned stores have no other condition.
        unsafe {
            _mm256_storeu_si256(low.as_mut_ptr().cast::<__m256i>(), acc[0]);
            _mm256_storeu_si256(high.as_mut_ptr().cast::<__m256i>(), acc[1]);
        }
    }
    sums
}
