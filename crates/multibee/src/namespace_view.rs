//! The keys under a prefix at one version, and what becomes of them.

use bytes::Bytes;

use crate::changes::Changes;
use crate::diff::Diff;
use crate::entry::{Conflict, Entry};
use crate::history::{History, HistoryOptions};
use crate::key_history::KeyHistory;
use crate::namespace::{NamespaceRange, without};
use crate::view::{RangeSpec, View};
use crate::watch::{KeyWatch, Watch};
use crate::{Error, Namespace, keyspace};

/// The keys that begin with a prefix at one version, named without it.
#[derive(Clone, Debug)]
pub struct NamespaceView {
    view: View,
    prefix: Bytes,
}

impl View {
    /// The keys that begin with `prefix`, named without it.
    pub fn namespace(&self, prefix: impl AsRef<[u8]>) -> NamespaceView {
        let prefix = Bytes::copy_from_slice(prefix.as_ref());
        NamespaceView { view: self.clone(), prefix }
    }
}

impl NamespaceView {
    /// The prefix of all its keys.
    pub const fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The whole data at this version.
    pub const fn whole(&self) -> &View {
        &self.view
    }

    /// The version that is read, as [`View::version`].
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// The whole key of a key here, for all that there is no method for.
    pub fn key(&self, key: impl AsRef<[u8]>) -> Bytes {
        keyspace::within(&self.prefix, key.as_ref())
    }

    /// A namespace within this one.
    #[must_use]
    pub fn namespace(&self, prefix: impl AsRef<[u8]>) -> Self {
        Self { prefix: self.key(prefix), view: self.view.clone() }
    }

    /// Reads one key, as [`View::get`].
    ///
    /// # Errors
    ///
    /// As [`View::get`]; and so all reads here.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        Ok(self.view.get(&self.key(key))?.map(|entry| self.without(entry)))
    }

    /// Reads several keys, as [`View::get_many`].
    ///
    /// # Errors
    ///
    /// As [`View::get_many`].
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>, Error> {
        keys.into_iter().map(|key| self.get(key)).collect()
    }

    /// Reads all values that a key shows, as [`View::get_all`].
    ///
    /// # Errors
    ///
    /// As [`View::get_all`].
    pub fn get_all(&self, key: impl AsRef<[u8]>) -> Result<Vec<Entry>, Error> {
        let entries = self.view.get_all(&self.key(key))?;
        Ok(entries.into_iter().map(|entry| self.without(entry)).collect())
    }

    /// Reads entries in the order of their keys. Bounds are without the prefix.
    pub fn range(&self, spec: RangeSpec) -> NamespaceRange {
        NamespaceRange::new(self.view.range(spec.within(&self.prefix)), self.prefix.len())
    }

    /// The first entry of a range, as [`View::peek`].
    ///
    /// # Errors
    ///
    /// As [`View::peek`].
    pub fn peek(&self, spec: RangeSpec) -> Result<Option<Entry>, Error> {
        let entry = self.view.peek(spec.within(&self.prefix))?;
        Ok(entry.map(|entry| self.without(entry)))
    }

    /// Number of keys in a range, as [`View::count`].
    ///
    /// # Errors
    ///
    /// As [`View::count`].
    pub fn count(&self, spec: RangeSpec) -> Result<u64, Error> {
        self.view.count(spec.within(&self.prefix))
    }

    /// The conflict of one key, as [`View::conflict`].
    ///
    /// # Errors
    ///
    /// As [`View::conflict`].
    pub fn conflict(&self, key: impl AsRef<[u8]>) -> Result<Option<Conflict>, Error> {
        let conflict = self.view.conflict(&self.key(key))?;
        Ok(conflict.map(|conflict| self.without_conflict(conflict)))
    }

    /// All keys that are in conflict, as [`View::conflicts`].
    ///
    /// # Errors
    ///
    /// As [`View::conflicts`].
    pub fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        let conflicts = self.view.conflicts_under(&self.prefix);
        conflicts.map(|conflict| Ok(self.without_conflict(conflict?))).collect()
    }

    /// Where this view and another of the same namespace differ, as [`View::diff`].
    ///
    /// # Errors
    ///
    /// [`Error::OtherDatabase`] also if the other is of another namespace.
    pub fn diff(&self, right: &Self, spec: RangeSpec) -> Result<Diff, Error> {
        self.check(right)?;
        let diff = self.view.diff(&right.view, spec.within(&self.prefix))?;
        Ok(diff.without_prefix(self.prefix.len()))
    }

    /// What has changed here since an earlier version, as [`View::changes_since`].
    ///
    /// # Errors
    ///
    /// [`Error::OtherDatabase`] also if the other is of another namespace.
    pub fn changes_since(&self, before: &Self, spec: RangeSpec) -> Result<Changes, Error> {
        self.check(before)?;
        let changes = self.view.changes_since(&before.view, spec.within(&self.prefix))?;
        Ok(changes.without_prefix(self.prefix.len()))
    }

    /// What was done to keys here, commit by commit, as [`View::history`]. Its range is without the
    /// prefix.
    ///
    /// # Errors
    ///
    /// As [`View::history`].
    pub fn history(&self, options: HistoryOptions) -> Result<History, Error> {
        let range = options.range.within(&self.prefix);
        let history = self.view.history(HistoryOptions { range, ..options })?;
        Ok(history.without_prefix(self.prefix.len()))
    }

    /// What became of a key, as [`View::key_history`].
    pub fn key_history(&self, key: impl AsRef<[u8]>) -> KeyHistory {
        self.view.key_history(&self.key(key)).without_prefix(self.prefix.len())
    }

    fn check(&self, other: &Self) -> Result<(), Error> {
        if self.prefix == other.prefix { Ok(()) } else { Err(Error::OtherDatabase) }
    }

    fn without(&self, entry: Entry) -> Entry {
        without(entry, self.prefix.len())
    }

    fn without_conflict(&self, conflict: Conflict) -> Conflict {
        Conflict { key: keyspace::without(&conflict.key, self.prefix.len()), ..conflict }
    }
}

impl Namespace {
    /// Tells of changes in a range of keys here from now on, as [`Multibee::watch`] does. The views
    /// that its changes lie between are of the whole database.
    ///
    /// [`Multibee::watch`]: crate::Multibee::watch
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    pub fn watch(&self, spec: RangeSpec) -> Result<Watch, Error> {
        let watch = self.database().watch(spec.within(self.prefix()))?;
        Ok(watch.without_prefix(self.prefix().len()))
    }

    /// The same since a version: the first changes are those up to now.
    ///
    /// # Errors
    ///
    /// As [`Multibee::watch_since`](crate::Multibee::watch_since).
    pub fn watch_since(&self, version: u64, spec: RangeSpec) -> Result<Watch, Error> {
        let watch = self.database().watch_since(version, spec.within(self.prefix()))?;
        Ok(watch.without_prefix(self.prefix().len()))
    }

    /// Reads one key, and tells of all that becomes of it.
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    pub fn get_and_watch(&self, key: impl AsRef<[u8]>) -> Result<KeyWatch, Error> {
        let watch = self.database().get_and_watch(self.key(key))?;
        Ok(watch.without_prefix(self.prefix().len()))
    }

    /// The data as of an earlier version, as [`Multibee::checkout`](crate::Multibee::checkout).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn checkout(&self, version: u64) -> Result<NamespaceView, Error> {
        Ok(self.database().checkout(version)?.namespace(self.prefix()))
    }
}
