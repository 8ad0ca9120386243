//! What has changed from one version of the data to a later one, and who changed it.

use std::fmt;

use bytes::Bytes;
use multibee_merge::{DeviceId, Time, Version};

use crate::diff::{Difference, Differences};
use crate::entry::Entry;
use crate::record::{self, Held};
use crate::view::{RangeSpec, View, entry};
use crate::{Error, keyspace};

/// Who wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This device.
    Own,
    /// Another device, or a plain Hyperbee that is taken in, by its short id.
    Device(DeviceId),
}

/// A key that shows something else than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: Bytes,
    /// What it showed before; `None` if nothing.
    pub before: Option<Entry>,
    /// What it shows now; `None` if nothing: it was deleted.
    pub now: Option<Entry>,
    /// Who wrote what is new: the value that is shown, or the delete. If that was there before, the
    /// latest of the concurrent writes that were not.
    pub origin: Origin,
    /// When, by the writer's hybrid clock. 0 if a plain Hyperbee did: it does not say.
    pub time: Time,
}

/// What has changed from one version to a later one. Nothing of it is read before it is asked for.
///
/// Several writes of a key in between are one change, if it shows something else in the end.
/// [`View::diff`] says what counts as something else.
#[derive(Clone, Debug)]
pub struct Changes {
    before: View,
    now: View,
    /// From the start.
    differences: Differences,
    /// Bytes at the front of each key that are not shown.
    prefix_len: usize,
}

/// The changed keys in their order, found as they are asked for. Made by [`Changes::iter`].
#[derive(Debug)]
pub struct ChangesIter(Changes);

impl View {
    /// What has changed in a range of keys since an earlier version, and who changed it. `reverse`
    /// is not heeded.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options, Origin, RangeSpec};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// let before = db.view()?;
    /// db.put("milk", "two")?;
    ///
    /// for changed in &db.view()?.changes_since(&before, RangeSpec::default())? {
    ///     let changed = changed?;
    ///     assert_eq!((&changed.key[..], changed.origin), (&b"milk"[..], Origin::Own));
    /// }
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OtherDatabase`], as [`diff`](Self::diff).
    pub fn changes_since(&self, before: &Self, spec: RangeSpec) -> Result<Changes, Error> {
        let differences = Differences::new(before, self, &spec)?;
        Ok(Changes { before: before.clone(), now: self.clone(), differences, prefix_len: 0 })
    }
}

impl Changes {
    /// The same with keys that lack their first bytes.
    pub(crate) fn without_prefix(self, prefix_len: usize) -> Self {
        Self { prefix_len, ..self }
    }

    /// The version from which on changes are told.
    pub fn from_version(&self) -> u64 {
        self.before.version()
    }

    /// The version up to which changes are told.
    pub fn to_version(&self) -> u64 {
        self.now.version()
    }

    /// All data as it was at the earlier version.
    pub const fn before(&self) -> &View {
        &self.before
    }

    /// All data as it was at the later version.
    pub const fn now(&self) -> &View {
        &self.now
    }

    /// The changed keys, in their order. Each time from the first.
    pub fn iter(&self) -> ChangesIter {
        ChangesIter(self.clone())
    }

    /// Whether anything has changed at all.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.differences.clone().next().transpose()?.is_none())
    }

    fn changed(&self, difference: Difference) -> Result<Changed, Error> {
        let Difference { key, left: before, right: now } = difference;
        let now = match now {
            Some(now) => now,
            None => self.now.held(&key)?,
        };
        let before = match before {
            Some(before) => before,
            // A single version of something that showed nothing before can only be new.
            None if now.versions.len() < 2 => Held::default(),
            None => self.before.held(&key)?,
        };
        Ok(changed(keyspace::without(&key, self.prefix_len), before, now, self.now.device()))
    }
}

/// What became of a key, in the log of `own`.
pub(crate) fn changed(key: Bytes, before: Held, now: Held, own: DeviceId) -> Changed {
    let (device, time) = match news(&before, &now) {
        Some(version) => (version.dot.device, version.time),
        // Only a plain Hyperbee's own entries go without a trace, when it drops them.
        None => (before.showing.as_ref().map_or(own, |one| one.dot.device), Time::default()),
    };
    let origin = if device == own { Origin::Own } else { Origin::Device(device) };
    let shown = |held: Held| Some(entry(key.clone(), held.showing?));
    Changed { before: shown(before), now: shown(now), origin, time, key: key.clone() }
}

/// The version that made the difference: what is shown, or the latest delete, if it is new; else the
/// latest that is; else a rule has changed what the same versions show, and it is what is shown.
fn news<'a>(before: &Held, now: &'a Held) -> Option<&'a Version> {
    let latest = |versions: &[&'a Version]| {
        versions.iter().copied().max_by_key(|version| (version.time, version.dot))
    };
    let all: Vec<_> = now.versions.iter().collect();
    let shown = match &now.showing {
        Some(showing) => all.iter().copied().find(|version| version.dot == showing.dot),
        None => {
            let deletes = all.iter().copied().filter(|version| record::is_delete(version));
            latest(&deletes.collect::<Vec<_>>())
        }
    };
    let is_new = |version: &&Version| !before.versions.iter().any(|old| old.dot == version.dot);
    let new: Vec<_> = all.iter().copied().filter(is_new).collect();
    shown.filter(is_new).or_else(|| latest(&new)).or(shown).or_else(|| latest(&all))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("this device"),
            Self::Device(device) => device.fmt(f),
        }
    }
}

impl Iterator for ChangesIter {
    type Item = Result<Changed, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let difference = self.0.differences.next()?;
        let changed = difference.and_then(|difference| self.0.changed(difference));
        if changed.is_err() {
            self.0.differences.end();
        }
        Some(changed)
    }
}

impl IntoIterator for &Changes {
    type Item = Result<Changed, Error>;
    type IntoIter = ChangesIter;

    fn into_iter(self) -> ChangesIter {
        self.iter()
    }
}

impl IntoIterator for Changes {
    type Item = Result<Changed, Error>;
    type IntoIter = ChangesIter;

    fn into_iter(self) -> ChangesIter {
        ChangesIter(self)
    }
}
