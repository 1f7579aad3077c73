//! The only source of chance in a simulation: SplitMix64 (Steele, Lea, Flood 2014), from the
//! printed seed.

/// Draws numbers; equal seeds draw equal ones.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `low..high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % high.saturating_sub(low).max(1)
    }

    /// An index below `len`.
    pub fn below(&mut self, len: usize) -> usize {
        self.range(0, len as u64) as usize
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.range(0, 1000) < per_mille
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Exponentially distributed around a mean: the time until something happens that happens at a
    /// rate.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let even = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - even).ln() * mean as f64) as u64
    }
}
