//! Giving the writes of a log that was written twice another author.
//!
//! A device that goes on from an older copy of its log signs a second history. From where the two part,
//! each history counts as a log of its own, with an id of its own: what was written there is renamed,
//! and nothing else about it changes.

use crate::{Applied, Clock, DeviceId, Dot, State, Version};

/// Which writes get another author: those of one log from one block on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renaming {
    /// The log that has two histories.
    pub device: DeviceId,
    /// The first block that is not the same in both.
    pub from: u64,
    /// First 8 bytes of the log's tree hash at `from`, if known.
    pub tag: Option<[u8; 8]>,
    /// The id under which the writes from there on are known.
    pub to: DeviceId,
}

impl Renaming {
    /// Whether a write gets another author.
    pub fn concerns(&self, dot: Dot) -> bool {
        dot.device == self.device && dot.seq >= self.from
    }

    /// The name of a write.
    #[must_use]
    pub fn dot(&self, dot: Dot) -> Dot {
        if self.concerns(dot) { Dot { device: self.to, seq: dot.seq } } else { dot }
    }

    /// What a clock has seen: of the log up to where its histories part, and the rest of the branch.
    #[must_use]
    pub fn clock(&self, clock: &Clock) -> Clock {
        let Some(at) = clock.get(self.device).filter(|at| at.length > self.from) else {
            return clock.clone();
        };
        let mut renamed = clock.clone();
        renamed.remove(self.device);
        renamed.advance(self.device, Applied { length: self.from, tag: self.tag });
        renamed.advance(self.to, at);
        renamed
    }

    /// A key's state. `state` renames what a type's state says of its own.
    ///
    /// # Errors
    ///
    /// Those of `state`.
    pub fn state<E>(
        &self,
        state: &State,
        mut renamed: impl FnMut(&Version) -> Result<Version, E>,
    ) -> Result<State, E> {
        let mut versions = Vec::with_capacity(state.versions().len());
        for version in state.versions() {
            let version = renamed(version)?;
            versions.push(Version { dot: self.dot(version.dot), ..version });
        }
        Ok(State::new(versions, self.clock(state.context())))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::{Counter, Map, MergeType, Set, Time};

    const LOG: DeviceId = DeviceId::from_u64(1);
    const FROM: u64 = 100;

    fn branch(to: u64) -> Renaming {
        Renaming { device: LOG, from: FROM, tag: None, to: DeviceId::from_u64(to) }
    }

    /// Writes of a type, some of them by another device that has seen all before.
    fn write(kind: &dyn MergeType, state: Option<&Bytes>, number: u8, dot: Dot) -> Bytes {
        let value = match kind.kind() {
            Counter::KIND => i64::from(number).to_string(),
            Set::KIND => format!("[{}, {}]", number % 4, number / 4 % 4),
            _ => format!("{{\"a{}\": {number}, \"list\": [{}, \"x\"]}}", number % 3, number % 5),
        };
        let state = state.map(|state| &state[..]);
        if number % 16 == 15 {
            return kind.delete(state, dot).unwrap();
        }
        kind.write(state, value.as_bytes(), dot, Time::from_millis(dot.seq)).unwrap()
    }

    /// What the log and another device did to a key, up to where the histories part, and in each.
    #[derive(Clone, Debug)]
    struct Work {
        before: Vec<(bool, u8)>,
        branches: [Vec<(bool, u8)>; 2],
    }

    fn work() -> impl Strategy<Value = Work> {
        let writes = || vec((any::<bool>(), any::<u8>()), 0..5);
        (writes(), writes(), writes())
            .prop_map(|(before, one, other)| Work { before, branches: [one, other] })
    }

    /// Applies writes. Those of the log count from `from`, those of the other device from `other`.
    fn apply(
        kind: &dyn MergeType,
        mut state: Option<Bytes>,
        writes: &[(bool, u8)],
        log: u64,
        (device, from): (u64, u64),
    ) -> Option<Bytes> {
        for (at, &(by_log, number)) in (0..).zip(writes) {
            let dot = if by_log {
                Dot { device: DeviceId::from_u64(log), seq: from + at }
            } else {
                Dot { device: DeviceId::from_u64(device), seq: from + at }
            };
            state = Some(write(kind, state.as_ref(), number, dot));
        }
        state
    }

    proptest! {
        /// Two histories of one log, renamed, are what two devices would have written that went on
        /// from the same state; and renaming goes through joins.
        #[test]
        fn branches_are_as_devices_of_their_own(work in work(), kind in 0..3_usize) {
            let kind: &dyn MergeType = [&Counter as &dyn MergeType, &Set, &Map][kind];
            let base = apply(kind, None, &work.before, 1, (2, 0));
            let base_bytes = base.as_deref();
            let mut ends = Vec::new();
            for (number, writes) in (11_u64..).zip(&work.branches) {
                // By the log itself, and by another device in its place.
                let as_log = apply(kind, base.clone(), writes, 1, (number + 10, FROM));
                let as_device = apply(kind, base.clone(), writes, number, (number + 10, FROM));
                let (Some(as_log), Some(as_device)) = (as_log, as_device) else { return Ok(()) };
                let renamed = kind.rename(&as_log, &branch(number), base_bytes).unwrap();
                prop_assert_eq!(kind.value(&renamed).unwrap(), kind.value(&as_device).unwrap());
                let with_base = base.as_ref().map_or(as_log.clone(), |base| kind.join(base, &as_log).unwrap());
                let renamed_with = kind.rename(&with_base, &branch(number), base_bytes).unwrap();
                let joined = base.as_ref().map_or(renamed.clone(), |base| kind.join(base, &renamed).unwrap());
                prop_assert_eq!(renamed_with, joined);
                prop_assert_eq!(kind.rename(&renamed, &branch(number), base_bytes).unwrap(), renamed.clone());
                ends.push((renamed, as_device));
            }
            let [(one, as_one), (other, as_other)] = &ends[..] else { return Ok(()) };
            let both = kind.join(one, other).unwrap();
            prop_assert_eq!(
                kind.value(&both).unwrap(),
                kind.value(&kind.join(as_one, as_other).unwrap()).unwrap()
            );
        }
    }

    /// A clock that has seen the log beyond where its histories part has seen the branch so far.
    #[test]
    fn a_clock_is_split() {
        let clock = |entries: &[(u64, u64)]| -> Clock {
            let entry = |&(id, length)| (DeviceId::from_u64(id), Applied { length, tag: None });
            entries.iter().map(entry).collect()
        };
        let renamed = branch(9).clock(&clock(&[(1, 120), (2, 5)]));
        assert_eq!(renamed, clock(&[(1, FROM), (2, 5), (9, 120)]));
        assert_eq!(branch(9).clock(&clock(&[(1, FROM)])), clock(&[(1, FROM)]));
    }
}
