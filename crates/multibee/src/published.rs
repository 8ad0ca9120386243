//! Published clocks: what other members are known to have seen.
//!
//! A member publishes its clock whenever it says on a connection how far it is, and with each commit
//! of its log. What it has published it never takes back: everything that it writes later was written
//! by one who had seen all of that. Nothing of this is stored; it is learnt anew in each run.

use std::collections::{BTreeMap, VecDeque};

use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId};

use crate::merging::device_of;

/// The clocks that members have published, as far as they are known here.
#[derive(Debug, Default)]
pub(crate) struct Published {
    said: BTreeMap<LogKey, Said>,
}

/// What one member has published.
#[derive(Debug, Default)]
struct Said {
    /// All clocks together up to whose own commits the member's log is applied here.
    applied: Clock,
    /// Clocks for which it is not: the earliest, and the latest. The earliest is kept, so that a
    /// member who never stops writing does not stay unheard.
    waiting: VecDeque<Clock>,
}

impl Published {
    /// A member has published this clock, with its own log in it; perhaps before others that are known.
    pub(crate) fn note(&mut self, author: LogKey, mut clock: Clock) {
        let said = self.said.entry(author).or_default();
        let known = said.waiting.back().unwrap_or(&said.applied);
        if known.covers_all(&clock) {
            return;
        }
        if said.waiting.len() > 1
            && let Some(latest) = said.waiting.pop_back()
        {
            clock.merge(&latest);
        }
        said.waiting.push_back(clock);
    }

    /// Tells how far logs are applied here: what was waiting for that counts from now on.
    pub(crate) fn ripen(&mut self, applied: impl Fn(DeviceId) -> u64) {
        for (author, said) in &mut self.said {
            let device = device_of(author);
            let applied = applied(device);
            while said.waiting.front().is_some_and(|one| one.length(device) <= applied) {
                said.waiting.pop_front().iter().for_each(|clock| said.applied.merge(clock));
            }
        }
    }

    /// What a member has surely seen, of whom everything that it wrote before is applied here.
    pub(crate) fn applied(&self, author: &LogKey) -> Option<&Clock> {
        self.said.get(author).map(|said| &said.applied)
    }

    /// What a member has surely seen, whether or not its own writes are applied here.
    pub(crate) fn newest(&self, author: &LogKey) -> Clock {
        let mut newest = Clock::new();
        if let Some(said) = self.said.get(author) {
            newest.merge(&said.applied);
            said.waiting.iter().for_each(|clock| newest.merge(clock));
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use multibee_merge::Applied;

    use super::*;

    fn clock(own: DeviceId, length: u64, seen: u64) -> Clock {
        let at = |length| Applied { length, tag: None };
        [(own, at(length)), (DeviceId::from_u64(9), at(seen))].into_iter().collect()
    }

    /// A clock counts once all that its author had written by then is applied; one that is ahead of
    /// that does not take the place of one that will count earlier.
    #[test]
    fn a_clock_counts_once_its_author_is_applied() {
        let author = LogKey::from_bytes([1; 32]);
        let own = device_of(&author);
        let mut published = Published::default();
        assert!(published.applied(&author).is_none());
        for (length, seen) in [(5, 1), (7, 2), (9, 3), (11, 4), (6, 1), (11, 4)] {
            published.note(author, clock(own, length, seen));
        }
        let seen = |published: &Published| {
            let applied = published.applied(&author).unwrap();
            applied.length(DeviceId::from_u64(9))
        };
        published.ripen(|_| 4);
        assert_eq!(seen(&published), 0);
        published.ripen(|_| 5);
        assert_eq!(seen(&published), 1);
        published.ripen(|device| if device == own { 10 } else { 99 });
        assert_eq!(seen(&published), 1, "what was in between was left out");
        assert_eq!(published.newest(&author).length(DeviceId::from_u64(9)), 4);
        published.ripen(|_| 11);
        assert_eq!(seen(&published), 4);
    }
}
