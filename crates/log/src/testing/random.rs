//! Numbers that look random and are the same for the same seed.

/// A generator of 64 bits at a time. Good enough to pick cases by, and for nothing else.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// Whether something happens that does so `count` times of `of`.
    pub(super) fn chance(&mut self, count: u64, of: u64) -> bool {
        self.below(of) < count
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next().to_le_bytes();
            chunk.iter_mut().zip(random).for_each(|(to, byte)| *to = byte);
        }
    }
}

/// An odd number whose multiples spread over all of `u64`.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads a change of any bit over all bits.
pub(super) const fn mix(value: u64) -> u64 {
    fold(value ^ STEP, 0xd6e8_feb8_6659_fd93)
}

/// One number from two.
pub(super) const fn mix2(a: u64, b: u64) -> u64 {
    mix(mix(a).wrapping_add(b))
}

/// The upper and the lower half of a product, together.
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product >> 64) as u64 ^ product as u64
}

/// A hash of bytes, the same on each machine. Not one that could withstand an attacker.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let mut sum = bytes.len() as u64 ^ STEP;
    for chunk in chunks {
        let value = u128::from_le_bytes(*chunk);
        sum = fold(sum ^ value as u64 ^ SECRET, (value >> 64) as u64 ^ sum.rotate_left(32) ^ STEP);
    }
    for byte in rest {
        sum = mix(sum ^ u64::from(*byte));
    }
    mix(sum)
}

const SECRET: u64 = 0xa076_1d64_78bd_642f;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Any two of many similar inputs have different hashes: all single bits of a page, lengths.
    #[test]
    fn similar_bytes_differ_in_their_hash() {
        let mut seen = HashSet::new();
        let mut page = [0; 512];
        for bit in 0..8 * page.len() {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(hash(&page)));
            page[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..=page.len() {
            assert!(seen.insert(hash(&page[..len])));
        }
    }

    /// The same seed gives the same numbers, another seed others.
    #[test]
    fn a_seed_decides_all() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.below(10)]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        assert_eq!(Random::new(1).below(0), 0);
    }
}
