//! Square products of a given size for hosts to time; core has no clock.

use super::{
    pack::{Scratch, a_b},
    product::Kernel,
    select::best,
};
use crate::compute::prng;
use alloc::{vec, vec::Vec};

/// Largest size: three matrices of it take 24 MiB.
pub const SIZE_MAX: usize = 2048;

/// Two int8 matrices of `n` x `n` and room for their product.
pub struct Bench {
    kernel: &'static dyn Kernel,
    n: usize,
    a: Vec<i8>,
    b: Vec<i8>,
    out: Vec<i32>,
    scratch: Scratch,
}

impl Bench {
    /// Matrices of `n` x `n`, at most [`SIZE_MAX`], for the best kernel.
    pub fn new(n: usize) -> Self {
        Self::with_kernel(best(), n)
    }

    /// Like [`Self::new`], for a given kernel.
    pub fn with_kernel(kernel: &'static dyn Kernel, n: usize) -> Self {
        let n = n.clamp(1, SIZE_MAX);
        let fill = |key: u32| {
            (0..(n * n) as u32).map(move |i| (prng::at(key, i) % 255) as i32 - 127).map(|v| v as i8)
        };
        let (a, b) = (fill(1).collect(), fill(2).collect());
        Self { kernel, n, a, b, out: vec![0; n * n], scratch: Scratch::default() }
    }

    /// Multiplies once and returns the sum of the product's entries, which is equal on every
    /// machine.
    pub fn once(&mut self) -> i64 {
        let Ok((left, right)) = a_b(&self.a, &self.b, self.n, self.n, self.n) else { return 0 };
        match self.kernel.product(left, right, &mut self.out, &mut self.scratch) {
            Ok(()) => self.out.iter().map(|v| i64::from(*v)).sum(),
            Err(_) => 0,
        }
    }

    /// Multiply-accumulates of one product.
    pub fn macs(&self) -> u64 {
        (self.n as u64).pow(3)
    }

    /// Size of the matrices.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Name of the kernel.
    pub fn kernel(&self) -> &'static str {
        self.kernel.name()
    }
}

/// Computes one product of size `n` with the best kernel and returns its checksum. [`Bench`] avoids
/// the set-up for repeated timing.
pub fn bench_once(n: usize) -> i64 {
    Bench::new(n).once()
}
