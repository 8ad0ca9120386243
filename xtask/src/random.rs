//! Numbers for what tries many things.

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    pub(crate) fn number_below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// As [`number_below`](Self::number_below), for places in a list.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number_below(end as u64)).unwrap_or(0)
    }

    /// True one time in `count`.
    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let at = self.below(list.len());
        *list.get(at).expect("the number is below the length, which is not 0")
    }
}
