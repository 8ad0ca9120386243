//! How far a catch-up has come, as it is shown to people: it never goes backwards.

/// The progress of one catch-up, in blocks of news.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    pub(crate) total: u64,
    pub(crate) done: u64,
    pub(crate) fraction: f64,
    is_under_way: bool,
}

impl Progress {
    /// Takes in how much is left to do.
    ///
    /// When nothing was left before, a new catch-up begins. News that comes meanwhile adds to the
    /// total; what is done, and the part of the whole that it is, only grow.
    pub(crate) fn update(&mut self, remaining: u64) {
        if remaining == 0 {
            self.done = self.total;
            self.fraction = 1.0;
            self.is_under_way = false;
            return;
        }
        if !self.is_under_way {
            *self = Self { total: remaining, is_under_way: true, ..Self::default() };
        }
        self.total = self.total.max(self.done.saturating_add(remaining));
        self.done = self.total - remaining;
        self.fraction = self.fraction.max(self.done as f64 / self.total as f64);
    }

    pub(crate) const fn remaining(&self) -> u64 {
        self.total - self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Until nothing is left, no number falls; then everything is done.
        #[test]
        fn progress_never_goes_backwards(left in vec(1..1000_u64, 1..50)) {
            let mut progress = Progress::default();
            let mut before = progress;
            for remaining in left {
                progress.update(remaining);
                prop_assert!(progress.total >= before.total && progress.done >= before.done);
                prop_assert!(progress.fraction >= before.fraction && progress.fraction < 1.0);
                prop_assert_eq!(progress.remaining(), remaining);
                before = progress;
            }
            progress.update(0);
            prop_assert_eq!((progress.done, progress.fraction), (progress.total, 1.0));
            progress.update(5);
            prop_assert_eq!((progress.total, progress.done, progress.fraction), (5, 0, 0.0));
        }
    }
}
