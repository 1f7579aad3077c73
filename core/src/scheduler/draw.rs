//! Draws that nobody outside can foresee, and that a seed reproduces: BLAKE3 in counter mode under
//! a secret seed.

use crate::crypto::hash::Context;

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Draw {
    seed: [u8; 32],
    count: u64,
}

impl Draw {
    /// The seed must be fresh from the operating system where others must not foresee the draws.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    /// 32 bytes that the sequence has not given before.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.count += 1;
        self.of(&[b"sequence", &self.count.to_le_bytes()])
    }

    /// A number that the sequence has not given before.
    pub fn number(&mut self) -> u64 {
        head(self.bytes())
    }

    /// An index, each with the probability of its weight; none where all weights are 0.
    pub fn weighted(&mut self, weights: &[u64]) -> Option<usize> {
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        // The bias of the multiplication is below 2^-64 times the number of weights.
        let mut point = (u128::from(self.number()) * total) >> 64;
        for (index, weight) in weights.iter().enumerate() {
            let weight = u128::from(*weight);
            if point < weight {
                return Some(index);
            }
            point -= weight;
        }
        None
    }

    /// Whether an event of probability `share` / 65536 happens for this subject. The same subject
    /// gives the same answer, so asking again gains nothing.
    pub fn happens(&self, share: u32, what: &[u8], subject: &[u8]) -> bool {
        (head(self.of(&[what, subject])) & 0xffff) < u64::from(share)
    }

    fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Context::CheckerDraw.hasher();
        hasher.update(&self.seed);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

fn head(bytes: [u8; 32]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_and_seeds_reproduce() {
        let (mut draw, mut same) = (Draw::new([7; 32]), Draw::new([7; 32]));
        let mut counts = [0u32; 4];
        for _ in 0..4000 {
            let index = draw.weighted(&[1, 0, 2, 1]).unwrap();
            assert_eq!(same.weighted(&[1, 0, 2, 1]), Some(index));
            counts[index] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!(
            (1850..2150).contains(&counts[2]) && (850..1150).contains(&counts[0]),
            "{counts:?}"
        );
        assert_eq!(draw.weighted(&[]), None);
        assert_eq!(draw.weighted(&[0, 0]), None);
        assert_ne!(Draw::new([8; 32]).number(), Draw::new([7; 32]).number());
    }

    #[test]
    fn shares_are_kept_and_do_not_change_for_one_subject() {
        let draw = Draw::new([1; 32]);
        let hits = (0u32..4000).filter(|i| draw.happens(16384, b"check", &i.to_le_bytes())).count();
        assert!((900..1100).contains(&hits), "{hits}");
        assert!((0u32..99).all(|i| draw.happens(65536, b"x", &i.to_le_bytes())
            && !draw.happens(0, b"x", &i.to_le_bytes())));
    }
}
