//! Vector clocks: how far each device's log has been applied.

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

impl Applied {
    /// Moves forward. What is as far or further already stays.
    fn advance(&mut self, to: Self) {
        if to.length > self.length {
            *self = to;
        } else if to.length == self.length && self.tag.is_none() {
            self.tag = to.tag;
        }
    }
}

/// How far the logs of several devices have been applied: a version vector with tags.
///
/// A device that is not named has length 0. Equality compares lengths and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// In the order of the ids, each once. Clocks have few entries and are copied for each key.
    lengths: Vec<(DeviceId, Applied)>,
}

impl Clock {
    /// A clock that has seen nothing.
    pub const fn new() -> Self {
        Self { lengths: Vec::new() }
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
        self.get(device).map_or(0, |applied| applied.length)
    }

    /// Length and tag for one device, if it is named.
    pub fn get(&self, device: DeviceId) -> Option<Applied> {
        self.lengths.get(self.place(device).ok()?).map(|(_, applied)| *applied)
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
        match self.place(device) {
            Err(place) => self.lengths.insert(place, (device, applied)),
            Ok(place) => {
                if let Some((_, known)) = self.lengths.get_mut(place) {
                    known.advance(applied);
                }
            }
        }
    }

    /// The pointwise maximum.
    pub fn merge(&mut self, other: &Self) {
        let known = self.count();
        for (device, applied) in other.iter() {
            let (known, _) = self.lengths.split_at_mut(known);
            match known.binary_search_by_key(&device, |(device, _)| *device) {
                Ok(place) => {
                    if let Some((_, known)) = known.get_mut(place) {
                        known.advance(applied);
                    }
                }
                Err(_) => self.lengths.push((device, applied)),
            }
        }
        if self.count() > known {
            // Two runs, each in order: that takes one pass.
            self.lengths.sort_by_key(|(device, _)| *device);
        }
    }

    /// Drops every entry that `base` covers: what is left is what this clock adds to `base`.
    pub fn beyond(&self, base: &Self) -> Self {
        let lengths = self.iter().filter(|(device, at)| at.length > base.length(*device)).collect();
        Self { lengths }
    }

    /// The entries, in the order of the device ids.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, Applied)> + '_ {
        self.lengths.iter().copied()
    }

    /// Forgets one device.
    pub fn remove(&mut self, device: DeviceId) {
        if let Ok(place) = self.place(device) {
            self.lengths.remove(place);
        }
    }

    /// Where a device's entry is, or else belongs.
    fn place(&self, device: DeviceId) -> Result<usize, usize> {
        self.lengths.binary_search_by_key(&device, |(device, _)| *device)
    }
}

impl FromIterator<(DeviceId, Applied)> for Clock {
    fn from_iter<T: IntoIterator<Item = (DeviceId, Applied)>>(entries: T) -> Self {
        let named = entries.into_iter().filter(|(_, applied)| applied.length > 0);
        let mut lengths: Vec<_> = named.collect();
        lengths.sort_by_key(|(device, _)| *device);
        lengths.dedup_by(|(next, at), (device, known)| {
            let is_same = next == device;
            if is_same {
                known.advance(*at);
            }
            is_same
        });
        Self { lengths }
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

    /// Entries come in any order, some of them more than once: the furthest counts, as if each had
    /// been moved forward by itself.
    #[test]
    fn entries_in_any_order_make_a_clock() {
        let applied = |length, tag: Option<u8>| Applied { length, tag: tag.map(|tag| [tag; 8]) };
        let entries = [(3, 5, None), (1, 2, None), (3, 5, Some(7)), (2, 0, None), (1, 9, Some(1))];
        let entries =
            entries.map(|(id, length, tag)| (DeviceId::from_u64(id), applied(length, tag)));
        let whole: Clock = entries.into_iter().collect();
        let (mut moved, mut merged) = (Clock::new(), Clock::new());
        for (device, at) in entries {
            moved.advance(device, at);
            merged.merge(&[(device, at)].into_iter().collect());
        }
        assert_eq!((&moved, &merged), (&whole, &whole));
        let listed: Vec<_> = whole.iter().collect();
        let expected = [(1, applied(9, Some(1))), (3, applied(5, Some(7)))];
        assert_eq!(listed, expected.map(|(id, at)| (DeviceId::from_u64(id), at)));
        moved.remove(DeviceId::from_u64(1));
        assert_eq!((moved.count(), moved.length(DeviceId::from_u64(3))), (1, 5));
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
