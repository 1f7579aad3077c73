//! The reference kernel, which defines a product: one multiply-add at a time.

use super::{
    pack::{Scratch, View},
    product::Kernel,
    shape::{ShapeError, fits},
};

pub(super) static REFERENCE: Scalar = Scalar;

/// The reference kernel: three loops.
pub(super) struct Scalar;

impl Kernel for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn product(
        &self,
        left: View<'_>,
        right: View<'_>,
        out: &mut [i32],
        _: &mut Scratch,
    ) -> Result<(), ShapeError> {
        fits(right.depth(), left.depth())?;
        fits(out.len(), left.lanes() * right.lanes())?;
        for (i, row) in out.chunks_exact_mut(right.lanes().max(1)).enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                *cell = (0..left.depth()).fold(0i32, |sum, k| {
                    sum.wrapping_add(i32::from(left.at(i, k)) * i32::from(right.at(j, k)))
                });
            }
        }
        Ok(())
    }
}
