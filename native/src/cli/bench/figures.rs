//! Figures in the output of benches.

/// Rounds to one decimal.
pub fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}
