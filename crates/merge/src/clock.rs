//! Vector clocks: how far each device's log has been applied.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::{DeviceId, Dot};

/// How far one log has been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Blocks: every write in the first `length` blocks of the log is known.
    pub length: u64,
    /// First 8 bytes of the log's tree hash at `length`: which history is meant. `None` where it
    /// is not known (a context made of dots alone).
    pub tag: Option<[u8; 8]>,
}

/// How far the logs of several devices have been applied: a version vector with tags.
///
/// A device that is not named has length 0. Equality compares lengths and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    lengths: BTreeMap<DeviceId, Applied>,
}

impl Clock {
    /// A clock that has seen nothing.
    pub const fn new() -> Self {
        Self { lengths: BTreeMap::new() }
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Number of devices named.
    pub fn count(&self) -> usize {
        self.lengths.len()
    }

    /// Blocks of this device's log that have been applied.
    pub fn length(&self, device: DeviceId) -> u64 {
        self.lengths.get(&device).map_or(0, |applied| applied.length)
    }

    /// Length and tag for one device, if it is named.
    pub fn get(&self, device: DeviceId) -> Option<Applied> {
        self.lengths.get(&device).copied()
    }

    /// Whether the write that `dot` names has been seen.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.seq < self.length(dot.device)
    }

    /// Whether everything that `other` has seen has been seen here.
    pub fn covers_all(&self, other: &Self) -> bool {
        other.iter().all(|(device, applied)| applied.length <= self.length(device))
    }

    /// Whether both have seen the same writes, tags left aside.
    pub fn same_lengths(&self, other: &Self) -> bool {
        self.covers_all(other) && other.covers_all(self)
    }

    /// Moves one device's entry forward. An entry that is as far or further already stays.
    pub fn advance(&mut self, device: DeviceId, applied: Applied) {
        if applied.length == 0 {
            return;
        }
        match self.lengths.entry(device) {
            Entry::Vacant(entry) => {
                entry.insert(applied);
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if applied.length > known.length {
                    *known = applied;
                } else if applied.length == known.length && known.tag.is_none() {
                    known.tag = applied.tag;
                }
            }
        }
    }

    /// The pointwise maximum.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(device, applied)| self.advance(device, applied));
    }

    /// Drops every entry that `base` covers: what is left is what this clock adds to `base`.
    pub fn beyond(&self, base: &Self) -> Self {
        let lengths = self.iter().filter(|(device, at)| at.length > base.length(*device)).collect();
        Self { lengths }
    }

    /// The entries, in the order of the device ids.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, Applied)> + '_ {
        self.lengths.iter().map(|(device, applied)| (*device, *applied))
    }

    /// Forgets one device.
    pub fn remove(&mut self, device: DeviceId) {
        self.lengths.remove(&device);
    }
}

impl FromIterator<(DeviceId, Applied)> for Clock {
    fn from_iter<T: IntoIterator<Item = (DeviceId, Applied)>>(entries: T) -> Self {
        let mut clock = Self::new();
        entries.into_iter().for_each(|(device, applied)| clock.advance(device, applied));
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(entries: &[(u64, u64)]) -> Clock {
        entries
            .iter()
            .map(|&(id, length)| (DeviceId::from_u64(id), Applied { length, tag: None }))
            .collect()
    }

    /// A merge is the pointwise maximum, and each side is covered by it.
    #[test]
    fn a_merge_covers_both_sides() {
        let (a, b) = (clock(&[(1, 5), (2, 1)]), clock(&[(2, 7), (3, 2)]));
        let mut both = a.clone();
        both.merge(&b);
        assert_eq!(both, clock(&[(1, 5), (2, 7), (3, 2)]));
        assert!(both.covers_all(&a) && both.covers_all(&b) && !a.covers_all(&b));
    }

    /// What lies beyond a base, merged into the base again, gives the whole.
    #[test]
    fn beyond_is_what_the_base_lacks() {
        let (a, base) = (clock(&[(1, 5), (2, 1)]), clock(&[(1, 4), (2, 1)]));
        assert_eq!(a.beyond(&base), clock(&[(1, 5)]));
        assert!(base.beyond(&base).is_empty());
    }

    /// Block `n` is covered by a length of `n + 1`, not of `n`.
    #[test]
    fn a_length_covers_the_blocks_below_it() {
        let device = DeviceId::from_u64(1);
        assert!(clock(&[(1, 5)]).covers(Dot { device, seq: 4 }));
        assert!(!clock(&[(1, 5)]).covers(Dot { device, seq: 5 }));
    }
}
