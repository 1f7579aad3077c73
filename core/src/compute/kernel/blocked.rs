//! The blocked product that all packed kernels share, after Goto and van de Geijn, "Anatomy of
//! high-performance matrix multiplication" (2008): a block of the right operand stays in the
//! second-level cache, one of its panels in the first, and a small tile of sums in registers. Only
//! the tile differs between machines.

use super::{
    pack::{Scratch, View},
    product::Kernel,
    shape::{ShapeError, fits},
};

/// Depth of a block: a right panel of 16 lanes then takes 16 KiB.
const DEPTH_BLOCK: usize = 512;
/// Left lanes of a block.
const LEFT_BLOCK: usize = 96;
/// Right lanes of a block.
const RIGHT_BLOCK: usize = 1024;

/// The innermost loop: `ROWS` left lanes times `COLUMNS` right lanes.
pub(super) trait Tile<const ROWS: usize, const COLUMNS: usize> {
    /// The sums over all pairs of one left panel (`ROWS` words a pair) and one right panel
    /// (`COLUMNS` words a pair).
    fn sums(&self, left: &[[i32; ROWS]], right: &[[i32; COLUMNS]]) -> [[i32; COLUMNS]; ROWS];
}

/// Iterates over the blocks. Always inlined, so that packing, too, is compiled for the caller's
/// instruction set.
#[inline(always)]
pub(super) fn product<const ROWS: usize, const COLUMNS: usize>(
    tile: &impl Tile<ROWS, COLUMNS>,
    left: View<'_>,
    right: View<'_>,
    out: &mut [i32],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    fits(right.depth(), left.depth())?;
    fits(out.len(), left.lanes().saturating_mul(right.lanes()))?;
    let width = right.lanes();
    if left.depth() == 0 {
        out.fill(0);
    }
    for j in (0..width).step_by(RIGHT_BLOCK) {
        let columns = j..width.min(j + RIGHT_BLOCK);
        for k in (0..left.depth()).step_by(DEPTH_BLOCK) {
            let depths = k..left.depth().min(k + DEPTH_BLOCK);
            let pairs = depths.len().div_ceil(2);
            right.pack::<COLUMNS>(columns.clone(), depths.clone(), &mut scratch.right);
            for i in (0..left.lanes()).step_by(LEFT_BLOCK) {
                let rows = i..left.lanes().min(i + LEFT_BLOCK);
                left.pack::<ROWS>(rows.clone(), depths.clone(), &mut scratch.left);
                let (left_words, _) = scratch.left.as_chunks::<ROWS>();
                let (right_words, _) = scratch.right.as_chunks::<COLUMNS>();
                for (right_panel, column) in
                    right_words.chunks_exact(pairs).zip(columns.clone().step_by(COLUMNS))
                {
                    let column_end = columns.end.min(column + COLUMNS);
                    for (left_panel, row) in
                        left_words.chunks_exact(pairs).zip(rows.clone().step_by(ROWS))
                    {
                        let sums = tile.sums(left_panel, right_panel);
                        let rows_left = rows.end - row;
                        for (line, r) in sums.iter().take(rows_left).zip(row..) {
                            let Some(cells) =
                                out.get_mut(r * width + column..r * width + column_end)
                            else {
                                continue;
                            };
                            if k == 0 {
                                cells.iter_mut().zip(line).for_each(|(cell, sum)| *cell = *sum);
                            } else {
                                cells
                                    .iter_mut()
                                    .zip(line)
                                    .for_each(|(cell, sum)| *cell = cell.wrapping_add(*sum));
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

pub(super) static PORTABLE: Portable = Portable;

/// The packed kernel in plain Rust, for machines without a kernel of their own.
pub(super) struct Portable;

impl Tile<4, 8> for Portable {
    #[inline(always)]
    fn sums(&self, left: &[[i32; 4]], right: &[[i32; 8]]) -> [[i32; 8]; 4] {
        let mut sums = [[0i32; 8]; 4];
        for (l, r) in left.iter().zip(right) {
            for (line, l) in sums.iter_mut().zip(l) {
                for (sum, r) in line.iter_mut().zip(r) {
                    let low = i32::from(*l as i16) * i32::from(*r as i16);
                    *sum = sum.wrapping_add(low).wrapping_add((l >> 16) * (r >> 16));
                }
            }
        }
        sums
    }
}

impl Kernel for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn product(
        &self,
        left: View<'_>,
        right: View<'_>,
        out: &mut [i32],
        scratch: &mut Scratch,
    ) -> Result<(), ShapeError> {
        product::<4, 8>(self, left, right, out, scratch)
    }
}
