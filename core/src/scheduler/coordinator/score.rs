//! Scores of workers for the next work unit: 0.4 · compute + 0.3 · 1/latency + 0.3 · reputation,
//! each term normalised over the candidates to at most one. Workers are drawn with these weights,
//! so the best one is preferred and none starves.

use alloc::vec::Vec;

/// One, in scores.
pub const ONE: u64 = 1 << 16;
/// The minimum score of a candidate: a sixteenth.
const SCORE_MIN: u64 = ONE / 16;

/// Measurements of a waiting worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Multiply-accumulates a second; 0 if not measured yet.
    pub compute: u64,
    /// Round trip, milliseconds; none if not measured yet.
    pub latency_ms: Option<u32>,
    /// Reputation here and in the ledger.
    pub reputation: u64,
}

/// The score of each candidate, in 1/65536. An unknown value counts as half of the best.
pub fn scores(candidates: &[Candidate]) -> Vec<u64> {
    let compute_max = candidates.iter().map(|c| c.compute).max().unwrap_or(0).max(1);
    let latency_min =
        u64::from(candidates.iter().filter_map(|c| c.latency_ms).min().unwrap_or(1).max(1));
    let reputation_max = candidates.iter().map(|c| c.reputation).max().unwrap_or(0).max(1);
    let part =
        |value: u64, max: u64| ((u128::from(value) * u128::from(ONE)) / u128::from(max)) as u64;
    let score = |c: &Candidate| {
        let compute = if c.compute == 0 { ONE / 2 } else { part(c.compute, compute_max) };
        let nearness = c.latency_ms.map_or(ONE / 2, |ms| part(latency_min, u64::from(ms.max(1))));
        let reputation = part(c.reputation, reputation_max);
        ((4 * compute + 3 * nearness + 3 * reputation) / 10).max(SCORE_MIN)
    };
    candidates.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_weighted_and_normalised() {
        let best = Candidate { compute: 1000, latency_ms: Some(10), reputation: 50 };
        assert_eq!(scores(&[best]), [ONE]);
        let slow = Candidate { compute: 500, ..best };
        let far = Candidate { latency_ms: Some(20), ..best };
        let new = Candidate { reputation: 0, ..best };
        let unknown = Candidate { compute: 0, latency_ms: None, reputation: 0 };
        let of = |share: f64| (ONE as f64 * share) as u64;
        let found = scores(&[best, slow, far, new, unknown]);
        for (found, expected) in found.iter().zip([1.0, 0.8, 0.85, 0.7, 0.35].map(of)) {
            assert!(found.abs_diff(expected) <= 2, "{found} {expected}");
        }
        let worst = Candidate { compute: 1, latency_ms: Some(60_000), reputation: 0 };
        assert_eq!(scores(&[best, worst])[1], SCORE_MIN);
        assert_eq!(scores(&[]), [] as [u64; 0]);
        let extreme = Candidate { compute: u64::MAX, latency_ms: Some(0), reputation: u64::MAX };
        assert_eq!(scores(&[extreme, best])[0], ONE);
    }
}
