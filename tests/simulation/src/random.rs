//! The only source of randomness in a simulation: SplitMix64 (Steele, Lea, Flood 2014), from the
//! printed seed.

/// A generator of random numbers; equal seeds give equal numbers.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from `low..high`, uniformly distributed.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next_u64() % high.saturating_sub(low).max(1)
    }

    /// Returns an index below `len`.
    pub fn below(&mut self, len: usize) -> usize {
        self.range(0, len as u64) as usize
    }

    /// Returns true in this many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.range(0, 1000) < per_mille
    }

    /// Returns one of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Returns an exponentially distributed duration with this mean: the time until an event that
    /// occurs at a constant rate.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let even = (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - even).ln() * mean as f64) as u64
    }
}
