//! What this device showed at an earlier time.
//!
//! Every commit says when it was made, and these times only grow along the log, so the commit that
//! was the last one at any time is found by halving.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use multibee_btree::Tree;
use multibee_merge::Time;

use crate::format::{Commit, Meta};
use crate::view::View;
use crate::{Error, Multibee};

impl Multibee {
    /// The data as this device showed it at a time, to the millisecond: what it had written and
    /// merged by then. Before its first commit that was nothing.
    ///
    /// Times are those of this device's clock, as it went then. Where it was set back, the commits
    /// that followed count as made right after the one before.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options};
    /// # use std::time::{Duration, SystemTime};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("milk", "two")?;
    /// let then = db.view()?.time()?.ok_or("a commit has a time")?;
    /// # while SystemTime::now() < then + Duration::from_millis(2) { std::thread::yield_now(); }
    /// db.put("milk", "none")?;
    ///
    /// let view = db.at(then)?;
    /// assert_eq!(view.get(b"milk")?.map(|entry| entry.value), Some("two".into()));
    /// assert!(db.at(then - Duration::from_secs(60))?.get(b"milk")?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoTime`] if it was a commit of an early version of this program; otherwise this
    /// machine's disk, or its content, is at fault.
    pub fn at(&self, time: SystemTime) -> Result<View, Error> {
        let now = self.view()?;
        let Ok(since) = time.duration_since(UNIX_EPOCH) else { return self.checkout(1) };
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let version = match last_by(now.tree(), millis)? {
            None => 1,
            Some(Ending { seq, at: None }) => return Err(Error::NoTime { seq }),
            Some(Ending { seq, at: Some(_) }) => seq + 1,
        };
        self.checkout(version)
    }
}

impl View {
    /// When the commit was made that this version ends with, by the clock of this device. `None`
    /// before the first commit.
    ///
    /// # Errors
    ///
    /// [`Error::NoTime`] if an early version of this program made it; otherwise this machine's
    /// disk, or its content, is at fault.
    pub fn time(&self) -> Result<Option<SystemTime>, Error> {
        let Some(seq) = self.version().checked_sub(1).filter(|seq| *seq > 0) else {
            return Ok(None);
        };
        let commit = commit_at(self.tree(), seq)?;
        let at = commit.and_then(|commit| commit.at).ok_or(Error::NoTime { seq })?;
        let since = Duration::from_millis(Time::from_u64(at).millis());
        Ok(UNIX_EPOCH.checked_add(since))
    }
}

/// The end of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ending {
    seq: u64,
    at: Option<Time>,
}

impl Ending {
    /// Commits without a time come before all that have one.
    fn is_by(&self, millis: u64) -> bool {
        self.at.is_none_or(|at| at.millis() <= millis)
    }
}

/// The last commit of a tree's log that was made in this millisecond or before.
fn last_by(tree: &Tree, millis: u64) -> Result<Option<Ending>, Error> {
    let mut last = None;
    // Commits that end before `rest` were made by then, those that end behind it were not.
    let mut rest = 1..tree.version();
    while !rest.is_empty() {
        let middle = rest.start + (rest.end - rest.start) / 2;
        match first_ending(tree, middle..rest.end)? {
            Some(ending) if ending.is_by(millis) => {
                last = Some(ending);
                rest.start = ending.seq + 1;
            }
            _ => rest.end = middle,
        }
    }
    Ok(last)
}

/// The first of these blocks that ends a commit. A commit is bounded, so it is not far.
fn first_ending(tree: &Tree, blocks: Range<u64>) -> Result<Option<Ending>, Error> {
    for seq in blocks {
        if let Some(commit) = commit_at(tree, seq)? {
            return Ok(Some(Ending { seq, at: commit.at.map(Time::from_u64) }));
        }
    }
    Ok(None)
}

/// What this block says of the commit that it ends, if it ends one.
pub(crate) fn commit_at(tree: &Tree, seq: u64) -> Result<Option<Commit>, Error> {
    let block = tree.get_by_seq(seq)?;
    let block = block.ok_or_else(|| Error::bad_record(seq, &"it is no entry"))?;
    let meta = Meta::decode_extra(&block.extra).map_err(|error| Error::bad_record(seq, &error))?;
    Ok(meta.commit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use multibee_btree::{Bee, BeeOptions};
    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    use multibee_merge::DeviceId;

    use super::*;

    /// A log with one commit of one block for each of these.
    fn bee(times: &[Option<u64>]) -> Bee {
        let keys = KeyPair::from_seed([1; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        for (number, millis) in times.iter().enumerate() {
            let at = millis.map(|millis| Time::from_millis(millis).as_u64());
            let commit = Some(Commit { at, ..Commit::default() });
            let mut batch = bee.batch().unwrap();
            let extra = Meta { commit, ..Meta::default() }.into_extra();
            batch.put(number.to_string().as_bytes(), None::<Bytes>, extra).unwrap();
            batch.flush().unwrap();
        }
        bee
    }

    fn found(bee: &Bee, millis: u64) -> Option<u64> {
        last_by(&bee.snapshot().unwrap(), millis).unwrap().map(|ending| ending.seq)
    }

    /// Commits of early versions come before all others: what is newer is found all the same.
    #[test]
    fn commits_without_a_time_come_first() {
        let bee = bee(&[None, None, Some(10), Some(10), Some(20)]);
        assert_eq!([9, 10, 19, 20, 99].map(|at| found(&bee, at)), [2, 4, 4, 5, 5].map(Some));
    }

    /// A version without a time says so, and the empty one has none.
    #[test]
    fn a_view_without_a_time_says_so() {
        let bee = bee(&[None, Some(10)]);
        let view = |version| {
            View::new(bee.checkout(version).unwrap(), DeviceId::from_u64(1), Arc::default())
        };
        assert_eq!(view(1).time().unwrap(), None);
        assert!(matches!(view(2).time(), Err(Error::NoTime { seq: 1 })));
        assert_eq!(view(3).time().unwrap(), Some(UNIX_EPOCH + Duration::from_millis(10)));
    }

    /// Of an empty log there is nothing to find.
    #[test]
    fn an_empty_log_has_no_commits() {
        assert_eq!(found(&bee(&[]), u64::MAX), None);
    }
}
