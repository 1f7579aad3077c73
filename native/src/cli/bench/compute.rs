//! Measures matrix products on one core, beside a known library.

use super::figures::round;
use crate::cli::{options::Json, output::print};
use clap::Args;
use serde_json::json;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tequio_core::compute::kernel;

#[derive(Debug, Args)]
pub struct Compute {
    /// Rows and columns of the square matrices
    #[arg(long, value_name = "N", default_value_t = 512,
        value_parser = clap::value_parser!(u16).range(16..=2048))]
    n: u16,
    /// Time for each measurement
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    ms: u64,
    #[command(flatten)]
    json: Json,
}

impl Compute {
    pub fn execute(self) {
        let Self { n, ms, json } = self;
        let (size, time) = (usize::from(n), Duration::from_millis(ms));
        for kernel in kernel::all() {
            let mut bench = kernel::Bench::with_kernel(kernel, size);
            let gmacs = measure(size, time, || {
                black_box(bench.once());
            });
            print(json, &json!({"kernel": kernel.name(), "n": n, "gmacs": round(gmacs)}), || {
                line(kernel.name(), gmacs)
            });
        }
        let mut bench = kernel::Bench::new(size);
        // The two alternate, so that a change of the clock frequency affects both.
        let (mut gmacs, mut peer_gmacs) = (0f64, 0f64);
        let mut peer = Peer::new(size);
        for _ in 0..3 {
            gmacs = gmacs.max(measure(size, time / 3, || {
                black_box(bench.once());
            }));
            peer_gmacs = peer_gmacs.max(measure(size, time / 3, || peer.once()));
        }
        let object = json!({
            "kernel": bench.kernel(), "n": n, "gmacs": round(gmacs), "peer": "matrixmultiply f32",
            "peer_gmacs": round(peer_gmacs), "ratio": round(gmacs / peer_gmacs),
        });
        print(json, &object, || {
            format!("{}\n{}", line(bench.kernel(), gmacs), line("matrixmultiply f32", peer_gmacs))
        });
    }
}

/// Billions of multiply-accumulates a second, from the fastest run within the time.
fn measure(n: usize, time: Duration, mut product: impl FnMut()) -> f64 {
    product();
    let began = Instant::now();
    let mut best = Duration::MAX;
    while began.elapsed() < time || best == Duration::MAX {
        let run = Instant::now();
        product();
        best = best.min(run.elapsed());
    }
    (n as f64).powi(3) / best.as_secs_f64() / 1e9
}

/// The same product in f32 by a widely used library.
struct Peer {
    n: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Peer {
    fn new(n: usize) -> Self {
        let fill = |step: usize| (0..n * n).map(|i| ((i * step) % 255) as f32 - 127.0).collect();
        Self { n, a: fill(7), b: fill(11), c: vec![0.0; n * n] }
    }

    #[allow(unsafe_code)]
    fn once(&mut self) {
        let (n, stride) = (self.n, self.n as isize);
        // SAFETY: each of the three holds n x n values, which is what these sizes and strides
        // reach.
        unsafe {
            matrixmultiply::sgemm(
                n,
                n,
                n,
                1.0,
                self.a.as_ptr(),
                stride,
                1,
                self.b.as_ptr(),
                stride,
                1,
                0.0,
                self.c.as_mut_ptr(),
                stride,
                1,
            );
        }
        black_box(&self.c);
    }
}

fn line(name: &str, gmacs: f64) -> String {
    format!("{name:20} {gmacs:8.1} GMAC/s")
}
