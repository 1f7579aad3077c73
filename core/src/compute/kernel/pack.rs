//! Views of the kernels' operands, and their packing into panels.
//!
//! A panel holds `WIDTH` lanes (rows of the left operand, columns of the right one). Its word
//! `p * WIDTH + lane` is the pair of depths `2p` and `2p + 1` as two int16, the even depth in the
//! low half: the input of one lane of a pair multiply-add. Lanes and depths beyond the operand's
//! edge are zero.

use super::shape::{ShapeError, fits};
use alloc::vec::Vec;
use core::ops::Range;

#[derive(Clone, Copy, Debug)]
enum Layout {
    /// `lane * depth_count + depth`.
    DepthInner,
    /// `depth * lane_count + lane`.
    LaneInner,
}

/// An int8 matrix seen as lanes times depth, whichever of the two is contiguous.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [i8],
    lanes: usize,
    depth: usize,
    layout: Layout,
}

impl<'a> View<'a> {
    /// Depth is contiguous: the rows of a row-major left operand.
    pub fn depth_inner(data: &'a [i8], lanes: usize, depth: usize) -> Result<Self, ShapeError> {
        fits(data.len(), lanes.saturating_mul(depth))?;
        Ok(Self { data, lanes, depth, layout: Layout::DepthInner })
    }

    /// Lanes are contiguous: the columns of a row-major right operand.
    pub fn lane_inner(data: &'a [i8], lanes: usize, depth: usize) -> Result<Self, ShapeError> {
        fits(data.len(), lanes.saturating_mul(depth))?;
        Ok(Self { data, lanes, depth, layout: Layout::LaneInner })
    }

    /// Rows of the left operand, columns of the right one.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Length of the sums.
    pub fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn at(&self, lane: usize, depth: usize) -> i8 {
        let index = match self.layout {
            Layout::DepthInner => lane * self.depth + depth,
            Layout::LaneInner => depth * self.lanes + lane,
        };
        self.data.get(index).copied().unwrap_or(0)
    }

    /// Packs `lanes` x `depths` into panels of `WIDTH` lanes, one after another.
    #[inline(always)]
    pub(super) fn pack<const WIDTH: usize>(
        &self,
        lanes: Range<usize>,
        depths: Range<usize>,
        out: &mut Vec<i32>,
    ) {
        let pairs = depths.len().div_ceil(2);
        let len = lanes.len().div_ceil(WIDTH) * WIDTH * pairs;
        // Every word is written below; only growth costs.
        if out.len() < len {
            out.resize(len, 0);
        }
        out.truncate(len);
        for (panel, first) in
            out.chunks_exact_mut((WIDTH * pairs).max(1)).zip(lanes.clone().step_by(WIDTH))
        {
            let count = WIDTH.min(lanes.end - first);
            match self.layout {
                Layout::DepthInner => self.pack_along::<WIDTH>(first, count, depths.clone(), panel),
                Layout::LaneInner => self.pack_across::<WIDTH>(first, count, depths.clone(), panel),
            }
        }
    }

    #[inline(always)]
    fn pack_along<const WIDTH: usize>(
        &self,
        first: usize,
        count: usize,
        depths: Range<usize>,
        panel: &mut [i32],
    ) {
        if count < WIDTH {
            panel.fill(0);
        }
        for lane in 0..count.min(WIDTH) {
            let start = (first + lane) * self.depth;
            let Some(line) = self.data.get(start + depths.start..start + depths.end) else {
                return;
            };
            let (pairs, rest) = line.as_chunks::<2>();
            let mut words = panel.as_chunks_mut::<WIDTH>().0.iter_mut();
            // The pairs end first, so that the zip discards no word.
            for ([low, high], word) in pairs.iter().zip(&mut words) {
                word[lane] = pair(*low, *high);
            }
            if let ([last], Some(word)) = (rest, words.next()) {
                word[lane] = pair(*last, 0);
            }
        }
    }

    #[inline(always)]
    fn pack_across<const WIDTH: usize>(
        &self,
        first: usize,
        count: usize,
        depths: Range<usize>,
        panel: &mut [i32],
    ) {
        const ZERO: [i8; 64] = [0; 64];
        let line = |depth: usize| {
            let start = depth * self.lanes + first;
            if depth < depths.end { self.data.get(start..start + count) } else { ZERO.get(..count) }
        };
        for (words, depth) in panel.chunks_exact_mut(WIDTH).zip(depths.clone().step_by(2)) {
            let (Some(low), Some(high)) = (line(depth), line(depth + 1)) else { return };
            if let (Ok(words), Ok(low), Ok(high)) = (
                <&mut [i32; WIDTH]>::try_from(&mut *words),
                <&[i8; WIDTH]>::try_from(low),
                <&[i8; WIDTH]>::try_from(high),
            ) {
                for j in 0..WIDTH {
                    words[j] = pair(low[j], high[j]);
                }
                continue;
            }
            words.fill(0);
            for ((word, low), high) in words.iter_mut().zip(low).zip(high) {
                *word = pair(*low, *high);
            }
        }
    }
}

#[inline(always)]
const fn pair(low: i8, high: i8) -> i32 {
    (low as i32 & 0xFFFF) | ((high as i32) << 16)
}

/// Buffers that products reuse.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(super) left: Vec<i32>,
    pub(super) right: Vec<i32>,
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
