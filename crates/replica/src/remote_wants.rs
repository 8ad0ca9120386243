//! Which blocks a remote wants to be told about.

use std::ops::Range;

use crate::limits::{REMOTE_WANTS_MAX, WANT_BLOCKS_MAX};
use crate::ranges::RangeSet;

/// The stretches that a remote has asked about and not taken back.
///
/// As Hypercore 11 does it: a remote that asks is told of new blocks where it has asked, and of the
/// last few; one that never has is told of all, as Hypercore 10 does.
#[derive(Debug, Default)]
pub(crate) struct RemoteWants {
    stretches: RangeSet,
    has_asked: bool,
    /// It has asked for more stretches than are remembered.
    wants_all: bool,
}

impl RemoteWants {
    /// Notes a want.
    pub(crate) fn add(&mut self, start: u64, length: u64) {
        if length > WANT_BLOCKS_MAX {
            return;
        }
        self.has_asked = true;
        self.stretches.insert(start..start.saturating_add(length));
        if self.stretches.range_count() > REMOTE_WANTS_MAX {
            self.wants_all = true;
            self.stretches.clear();
        }
    }

    /// Takes a want back.
    pub(crate) fn remove(&mut self, start: u64, length: u64) {
        self.stretches.remove(start..start.saturating_add(length));
    }

    /// Whether the remote is to be told of new blocks in a log of `len` blocks.
    pub(crate) fn tells(&self, blocks: Range<u64>, len: u64) -> bool {
        let is_last = blocks.end.saturating_add(LAST_BLOCKS) > len;
        let is_asked = || self.stretches.first_within(blocks).is_some();
        !self.has_asked || self.wants_all || is_last || is_asked()
    }
}

/// Blocks at the end of a log of which everybody is told.
const LAST_BLOCKS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::RemoteWants;
    use crate::limits::REMOTE_WANTS_MAX;

    /// All is told until something is asked; then what was asked for and not taken back, and the
    /// last blocks.
    #[test]
    fn tells_what_was_asked_for() {
        let mut wants = RemoteWants::default();
        let told =
            |wants: &RemoteWants| [5, 150, 9_700, 9_800].map(|n| wants.tells(n..n + 1, 10_000));
        assert_eq!(told(&wants), [true, true, true, true]);
        wants.add(0, 1 << 40);
        assert_eq!(told(&wants), [true, true, true, true], "longer than anybody answers");
        wants.add(128, 64);
        assert_eq!(told(&wants), [false, true, false, true]);
        wants.add(0, 32);
        wants.remove(128, 64);
        assert_eq!(told(&wants), [true, false, false, true]);
        wants.add(u64::MAX - 3, 64);
    }

    /// Many stretches cost no more than some: then all is told.
    #[test]
    fn many_wants_are_one_for_all() {
        let mut wants = RemoteWants::default();
        for number in 0..2 * REMOTE_WANTS_MAX as u64 {
            wants.add(number * 64, 32);
            assert!(wants.stretches.range_count() <= REMOTE_WANTS_MAX);
        }
        assert!(wants.tells(40..41, 1 << 40));
    }
}
