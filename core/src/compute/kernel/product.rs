//! The interface of every kernel.

use super::{
    pack::{Scratch, View},
    shape::ShapeError,
};

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
