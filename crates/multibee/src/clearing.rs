//! Clearing replicas: which blocks of another device's log are needed here no more.
//!
//! What a device wrote is joined into the own tree, and the blocks that it came in are then of use
//! only to others who may still ask for it. Below the applied length and below what every other
//! member has seen, nobody does. Whoever lacks something all the same absorbs a device's state.

use std::collections::BTreeSet;
use std::ops::Range;

use multibee_log::{Log, LogKey};
use multibee_merge::{Clock, DeviceId};

/// Blocks in one piece: whoever writes meanwhile need not wait for more.
pub(crate) const PIECE_BLOCKS: u64 = 65_536;

/// How far the blocks of a log are needed no more, and who needs the next ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) length: u64,
    /// The member that has seen least, if that is less than what is applied here.
    pub(crate) held_back_by: Option<LogKey>,
}

/// How far the log of `author` may be cleared that is applied here up to `applied`. `others` are the
/// other members with what they are known to have seen.
pub(crate) fn bound<'a>(
    author: (LogKey, DeviceId),
    applied: u64,
    others: impl IntoIterator<Item = (LogKey, &'a Clock)>,
) -> Bound {
    let others = others.into_iter().filter(|(key, _)| *key != author.0);
    let least = others.map(|(key, clock)| (clock.length(author.1), key)).min();
    match least.filter(|(length, _)| *length < applied) {
        Some((length, key)) => Bound { length, held_back_by: Some(key) },
        None => Bound { length: applied, held_back_by: None },
    }
}

/// The blocks below `length` that are here and may go, but for those in `kept`. The first one, which
/// says what the log is, stays.
pub(crate) fn clearable(log: &Log, length: u64, kept: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut at = 1;
    for &end in kept.range(1..length.max(1)).chain([&length]) {
        ranges.extend((at < end).then_some(at..end));
        at = end + 1;
    }
    // From the first block that is here up to the last one: what lies between need not be named.
    let here = |range: Range<u64>| {
        let held = log.held(range);
        Some(held.first()?.start..held.last()?.end)
    };
    ranges.into_iter().filter_map(here).collect()
}

#[cfg(test)]
mod tests {
    use multibee_log::{KeyPair, LogOptions, MemoryStorage};
    use multibee_merge::Applied;

    use super::*;
    use crate::merging::device_of;

    /// A log may go as far as it is applied, and no further than the member that has seen least of
    /// it; its author need not be asked.
    #[test]
    fn whoever_has_seen_least_is_waited_for() {
        let [author, b, c] = [1, 2, 3].map(|number| LogKey::from_bytes([number; 32]));
        let device = device_of(&author);
        let seen =
            |length| -> Clock { [(device, Applied { length, tag: None })].into_iter().collect() };
        let (seven, nine, nothing) = (seen(7), seen(9), Clock::new());
        let bound_of = |others: &[(LogKey, &Clock)]| {
            let bound = bound((author, device), 8, others.iter().copied());
            (bound.length, bound.held_back_by)
        };
        assert_eq!(bound_of(&[]), (8, None));
        assert_eq!(bound_of(&[(author, &nothing), (b, &nine)]), (8, None));
        assert_eq!(bound_of(&[(b, &nine), (c, &seven)]), (7, Some(c)));
        assert_eq!(bound_of(&[(b, &nothing), (c, &seven)]), (0, Some(b)));
    }

    /// What is kept stays, as does the first block; what is not here is not named.
    #[test]
    fn what_is_kept_stays() {
        let keys = KeyPair::from_seed([1; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        log.append(&["block"; 12]).unwrap();
        log.clear(5..7).unwrap();
        let kept = BTreeSet::from([0, 3, 9]);
        assert_eq!(clearable(&log, 10, &kept), [1..3, 4..9]);
        assert_eq!(clearable(&log, 6, &kept), [1..3, 4..5]);
        assert_eq!(clearable(&log, 9, &BTreeSet::new()), vec![1..9; 1]);
        assert!(clearable(&log, 1, &kept).is_empty() && clearable(&log, 0, &kept).is_empty());
    }
}
