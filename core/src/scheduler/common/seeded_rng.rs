//! A random generator that is unpredictable without its secret seed and reproducible with it:
//! BLAKE3 in counter mode.

use crate::crypto::hash::HashContext;

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub struct SeededRng {
    seed: [u8; 32],
    counter: u64,
}

impl SeededRng {
    /// Creates a generator. The seed must be fresh from the operating system if others must not
    /// predict the numbers.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next 32 bytes of the sequence.
    pub fn next_bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        self.keyed_hash(&[b"sequence", &self.counter.to_le_bytes()])
    }

    /// The next number of the sequence.
    pub fn next_u64(&mut self) -> u64 {
        head(self.next_bytes())
    }

    /// Draws an index with the probability of its weight; none if all weights are 0.
    pub fn weighted_index(&mut self, weights: &[u64]) -> Option<usize> {
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        // The bias of the multiplication is below 2^-64 times the number of weights.
        let mut point = (u128::from(self.next_u64()) * total) >> 64;
        for (index, weight) in weights.iter().enumerate() {
            let weight = u128::from(*weight);
            if point < weight {
                return Some(index);
            }
            point -= weight;
        }
        None
    }

    /// Whether an event of probability `share` / 65536 occurs for this subject. The result depends
    /// only on the subject, so repeated calls gain nothing.
    pub fn bernoulli(&self, share: u32, label: &[u8], subject: &[u8]) -> bool {
        (head(self.keyed_hash(&[label, subject])) & 0xffff) < u64::from(share)
    }

    fn keyed_hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = HashContext::CheckerDraw.hasher();
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
    fn draws_follow_the_weights_and_equal_seeds_repeat_them() {
        let (mut rng, mut same) = (SeededRng::new([7; 32]), SeededRng::new([7; 32]));
        let mut counts = [0u32; 4];
        for _ in 0..4000 {
            let index = rng.weighted_index(&[1, 0, 2, 1]).unwrap();
            assert_eq!(same.weighted_index(&[1, 0, 2, 1]), Some(index));
            counts[index] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!(
            (1850..2150).contains(&counts[2]) && (850..1150).contains(&counts[0]),
            "{counts:?}"
        );
        assert_eq!(rng.weighted_index(&[]), None);
        assert_eq!(rng.weighted_index(&[0, 0]), None);
        assert_ne!(SeededRng::new([8; 32]).next_u64(), SeededRng::new([7; 32]).next_u64());
    }

    #[test]
    fn bernoulli_draws_match_the_requested_share() {
        let rng = SeededRng::new([1; 32]);
        let hits =
            (0u32..4000).filter(|i| rng.bernoulli(16384, b"check", &i.to_le_bytes())).count();
        assert!((900..1100).contains(&hits), "{hits}");
        assert!((0u32..99).all(|i| rng.bernoulli(65536, b"x", &i.to_le_bytes())
            && !rng.bernoulli(0, b"x", &i.to_le_bytes())));
    }
}
