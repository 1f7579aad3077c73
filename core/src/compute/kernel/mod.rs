//! The one expensive operation: the product of two int8 matrices, exact in int32.
//!
//! Every kernel gives the same bits. `scalar` is the reference and defines a product. The others
//! pack both operands into panels of int16 pairs and use the pair multiply-add of their instruction
//! set (`pmaddwd`, `i32x4.dot_i16x8_s`). Instructions that saturate (`pmaddubsw`) are never used.
//!
//! Sums wrap modulo 2^32. They cannot wrap up to a depth of 65,536, since operands are at most 2^7
//! in magnitude.

#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
#[allow(unsafe_code)]
mod avx2;
mod bench;
mod blocked;
mod pack;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code)]
mod simd128;

pub use bench::{Bench, SIZE_MAX, bench_once};
pub use pack::{Scratch, View};

use alloc::vec::Vec;

/// Operands whose sizes do not fit one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matrix sizes do not fit: {found} where {expected} was needed")]
pub struct ShapeError {
    /// Size given.
    pub found: usize,
    /// Size needed.
    pub expected: usize,
}

pub(crate) fn fits(found: usize, expected: usize) -> Result<(), ShapeError> {
    if found == expected { Ok(()) } else { Err(ShapeError { found, expected }) }
}

/// An implementation of the matrix product.
pub trait Kernel: Sync {
    /// Short name, for people and benches.
    fn name(&self) -> &'static str;

    /// `out[i][j] = sum over k of left(i, k) * right(j, k)`, row-major, `left.lanes() x
    /// right.lanes()`.
    fn product(
        &self,
        left: View<'_>,
        right: View<'_>,
        out: &mut [i32],
        scratch: &mut Scratch,
    ) -> Result<(), ShapeError>;
}

/// The fastest kernel of this machine.
pub fn best() -> &'static dyn Kernel {
    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
    if let Some(kernel) = avx2::detect() {
        return kernel;
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    return &simd128::KERNEL;
    #[allow(unreachable_code)]
    &blocked::PORTABLE
}

/// Every kernel that this machine can run, the reference first.
pub fn all() -> Vec<&'static dyn Kernel> {
    let mut kernels: Vec<&'static dyn Kernel> = alloc::vec![&scalar::REFERENCE, &blocked::PORTABLE];
    if !kernels.iter().any(|k| k.name() == best().name()) {
        kernels.push(best());
    }
    kernels
}

/// `A B` for row-major `A` (m x k) and `B` (k x n).
pub fn a_b<'a>(
    a: &'a [i8],
    b: &'a [i8],
    m: usize,
    k: usize,
    n: usize,
) -> Result<(View<'a>, View<'a>), ShapeError> {
    Ok((View::depth_inner(a, m, k)?, View::lane_inner(b, n, k)?))
}

/// `A^T B` for row-major `A` (k x m) and `B` (k x n).
pub fn at_b<'a>(
    a: &'a [i8],
    b: &'a [i8],
    m: usize,
    k: usize,
    n: usize,
) -> Result<(View<'a>, View<'a>), ShapeError> {
    Ok((View::lane_inner(a, m, k)?, View::lane_inner(b, n, k)?))
}

/// `A B^T` for row-major `A` (m x k) and `B` (n x k).
pub fn a_bt<'a>(
    a: &'a [i8],
    b: &'a [i8],
    m: usize,
    k: usize,
    n: usize,
) -> Result<(View<'a>, View<'a>), ShapeError> {
    Ok((View::depth_inner(a, m, k)?, View::depth_inner(b, n, k)?))
}

#[cfg(test)]
mod tests;
