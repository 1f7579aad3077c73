//! Measures the int8 kernel, for the page's benchmark.

use crate::error::NodeError;
use serde::Serialize;
use tequio_core::compute::kernel::Bench;
use wasm_bindgen::prelude::*;
use web_time::{Duration, Instant};

/// Longest duration of a run.
const RUN_MS_MAX: u32 = 60_000;
/// Largest dimension of the square matrices.
const N_MAX: u32 = 4096;

#[derive(Serialize)]
struct Measured {
    kernel: &'static str,
    n: usize,
    gmacs: f64,
}

/// Multiplies n x n matrices for `ms` milliseconds and returns `{kernel, n, gmacs}`, the best of
/// all runs.
#[wasm_bindgen(js_name = benchCompute)]
pub fn bench_compute(n: u32, ms: u32) -> Result<JsValue, JsValue> {
    let mut bench = Bench::new(n.clamp(1, N_MAX) as usize);
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < Duration::from_millis(ms.min(RUN_MS_MAX).into()) {
        let once = Instant::now();
        // Several products for each reading, because the browser's clock is coarse.
        for _ in 0..4 {
            core::hint::black_box(bench.once());
        }
        best = best.min(once.elapsed() / 4);
    }
    let gmacs = bench.macs() as f64 / best.as_secs_f64() / 1e9;
    let measured = Measured { kernel: bench.kernel(), n: bench.n(), gmacs };
    Ok(crate::event::to_js(&measured).map_err(NodeError::from)?)
}
