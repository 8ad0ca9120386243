//! When progress is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use multibee_log::LogKey;

use crate::stats::Progress;

/// Tells of each log what has changed, not more often than once in an interval, and nothing when
/// nothing has changed.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    told: BTreeMap<LogKey, Progress>,
    last: Option<Instant>,
    /// When it is looked whether anything has changed.
    due: Option<Instant>,
}

impl Feed {
    /// Something may have changed.
    pub(crate) fn touch(&mut self, every: Option<Duration>, now: Instant) {
        if let Some(every) = every
            && self.due.is_none()
        {
            self.due = Some(self.last.map_or(now, |last| (last + every).max(now)));
        }
    }

    /// When [`take`](Self::take) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The logs whose progress is not what was told last, if it is time to tell. Those that are not
    /// among `present` are forgotten.
    pub(crate) fn take(
        &mut self,
        present: impl Iterator<Item = (LogKey, Progress)>,
        every: Duration,
        now: Instant,
    ) -> Vec<(LogKey, Progress)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        (self.due, self.last) = (None, Some(now));
        let present: BTreeMap<LogKey, Progress> = present.collect();
        let told = std::mem::take(&mut self.told);
        let changed = |(key, progress): &(&LogKey, &Progress)| {
            **progress != told.get(key).copied().unwrap_or_default()
        };
        let news: Vec<_> =
            present.iter().filter(changed).map(|(key, news)| (*key, *news)).collect();
        // A rate falls although nothing happens.
        if present.values().any(|progress| progress.blocks_per_s > 0) {
            self.touch(Some(every), now);
        }
        self.told = present;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use multibee_log::LogKey;

    use super::Feed;
    use crate::stats::Progress;

    const EVERY: Duration = Duration::from_secs(1);

    fn key(number: u8) -> LogKey {
        LogKey::from_bytes([number; 32])
    }

    fn at(received: u64, blocks_per_s: u64) -> Progress {
        Progress { received, blocks_per_s, ..Progress::default() }
    }

    /// What changes is told at once at first, and then once in an interval with all that has
    /// happened in it; what has not changed is not told, and nothing is due when nothing changes.
    #[test]
    fn changes_are_told_together() {
        let (mut feed, start) = (Feed::default(), Instant::now());
        feed.touch(None, start);
        assert_eq!(feed.due(), None, "nobody wants to know");
        feed.touch(Some(EVERY), start);
        let news = feed.take([(key(1), at(1, 0)), (key(2), at(0, 0))].into_iter(), EVERY, start);
        assert_eq!(news, [(key(1), at(1, 0))]);
        assert_eq!(feed.due(), None);
        let soon = start + EVERY / 4;
        feed.touch(Some(EVERY), soon);
        assert_eq!(feed.due(), Some(start + EVERY));
        assert_eq!(feed.take([(key(1), at(2, 0))].into_iter(), EVERY, soon), []);
        feed.touch(Some(EVERY), soon + EVERY / 4);
        let later = start + EVERY;
        assert_eq!(feed.take([(key(1), at(3, 0))].into_iter(), EVERY, later).len(), 1);
        feed.touch(Some(EVERY), later);
        assert_eq!(feed.take([(key(1), at(3, 0))].into_iter(), EVERY, later + EVERY), []);
        assert_eq!(feed.due(), None);
    }

    /// A rate that falls is told until it is nothing.
    #[test]
    fn rates_are_told_down_to_nothing() {
        let (mut feed, mut now) = (Feed::default(), Instant::now());
        feed.touch(Some(EVERY), now);
        let mut told = Vec::new();
        for rate in [9, 4, 1, 0, 0] {
            let news = feed.take([(key(1), at(5, rate))].into_iter(), EVERY, now);
            told.extend(news.into_iter().map(|(_, progress)| progress.blocks_per_s));
            now = feed.due().unwrap_or(now + EVERY);
        }
        assert_eq!(told, [9, 4, 1, 0]);
        assert_eq!(feed.due(), None);
    }
}
