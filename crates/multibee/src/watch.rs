//! Waiting for changes of the data, whoever makes them.

use std::fmt;

use bytes::Bytes;
use tokio::sync::watch::Receiver;

use crate::changes::{Changed, Changes};
use crate::entry::Entry;
use crate::multibee::WeakMultibee;
use crate::namespace::without;
use crate::view::{RangeSpec, View};
use crate::{Error, Multibee};

/// Tells of changes in a range of keys: own writes as well as what was merged. Made by
/// [`Multibee::watch`].
///
/// What was not asked for yet is kept as two versions, however much it is: who asks late is told
/// everything since the last time as one set of changes, and nothing is missed.
///
/// A watch does not keep the database open, and ends when it is closed: by
/// [`close`](Multibee::close), or with its last handle. [`version`](Self::version) says from where to
/// [go on](Multibee::watch_since) when it is opened again.
pub struct Watch {
    database: WeakMultibee,
    changes: Receiver<u64>,
    spec: RangeSpec,
    /// What has changed up to this version was told.
    told: View,
    /// Bytes at the front of each key that are not shown.
    prefix_len: usize,
}

/// A key that is kept up to date. Made by [`Multibee::get_and_watch`], used as a [`Watch`].
#[derive(Debug)]
pub struct KeyWatch {
    watch: Watch,
    entry: Option<Entry>,
}

impl Multibee {
    /// Tells of changes in a range of keys from now on. `reverse` is not heeded, nor is `limit`.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options, Origin, RangeSpec};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    /// # runtime.block_on(async {
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// let mut watch = db.watch(RangeSpec::prefix(b"list/"))?;
    /// db.put("list/milk", "two")?;
    /// db.put("elsewhere", "1")?;
    ///
    /// let changes = watch.next().await?.ok_or("the database is open")?;
    /// let changes: Vec<_> = changes.iter().collect::<Result<_, _>>()?;
    /// assert_eq!(changes.len(), 1);
    /// assert_eq!((&changes[0].key[..], changes[0].origin), (&b"list/milk"[..], Origin::Own));
    ///
    /// db.close().await?;
    /// assert!(watch.next().await?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("the example runs");
    /// ```
    ///
    /// # Errors
    ///
    /// As [`view`](Self::view).
    pub fn watch(&self, spec: RangeSpec) -> Result<Watch, Error> {
        let changes = self.changes();
        let told = self.view()?;
        let spec = RangeSpec { reverse: false, limit: None, ..spec };
        Ok(Watch { database: self.downgrade(), changes, spec, told, prefix_len: 0 })
    }

    /// Tells of changes in a range of keys since a version: the first ones are those up to now.
    ///
    /// # Errors
    ///
    /// [`Error::NotAVersion`]; or as [`view`](Self::view).
    pub fn watch_since(&self, version: u64, spec: RangeSpec) -> Result<Watch, Error> {
        let told = self.checkout(version)?;
        Ok(Watch { told, ..self.watch(spec)? })
    }

    /// Reads one key, and tells of all that becomes of it.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    /// # runtime.block_on(async {
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// let mut milk = db.get_and_watch("milk")?;
    /// assert!(milk.entry().is_none());
    /// db.put("milk", "two")?;
    ///
    /// milk.next().await?;
    /// assert_eq!(milk.entry().map(|entry| &entry.value[..]), Some(&b"two"[..]));
    /// # Ok::<(), multibee::Error>(())
    /// # }).expect("the example runs");
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_and_watch(&self, key: impl AsRef<[u8]>) -> Result<KeyWatch, Error> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let changes = self.changes();
        let view = self.view()?;
        let entry = view.get(&key)?;
        let spec = RangeSpec { gte: Some(key.clone()), lte: Some(key), ..RangeSpec::default() };
        let watch = Watch { database: self.downgrade(), changes, spec, told: view, prefix_len: 0 };
        Ok(KeyWatch { watch, entry })
    }
}

impl Watch {
    /// The same with keys that lack their first bytes.
    pub(crate) fn without_prefix(self, prefix_len: usize) -> Self {
        Self { prefix_len, ..self }
    }

    /// The version up to which changes were told: those of the last call, or that at which the
    /// watch began. Give it to [`Multibee::watch_since`] to go on from there another time.
    pub fn version(&self) -> u64 {
        self.told.version()
    }

    /// Waits for the next changes. `None` once the database is closed.
    ///
    /// Dropping the future loses nothing: what it would have told, the next one tells. Whether the
    /// range was touched is read from this machine's disk, as everything that is local, at once.
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault. The next call tries again.
    pub async fn next(&mut self) -> Result<Option<Changes>, Error> {
        loop {
            // Before looking, so that no change falls in between.
            self.changes.borrow_and_update();
            let Some(database) = self.database.upgrade() else { return Ok(None) };
            let is_closed = database.is_closed();
            if let Some(changes) = self.look_at(&database)? {
                return Ok(Some(changes));
            }
            drop(database);
            if is_closed || self.changes.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// What has changed since the last call, if anything has. Never waits, and needs no runtime.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn look(&mut self) -> Result<Option<Changes>, Error> {
        match self.database.upgrade() {
            Some(database) => self.look_at(&database),
            None => Ok(None),
        }
    }

    fn look_at(&mut self, database: &Multibee) -> Result<Option<Changes>, Error> {
        let now = database.view()?;
        if now.is_same_version(&self.told) {
            return Ok(None);
        }
        let changes = now.changes_since(&self.told, self.spec.clone())?;
        let is_empty = changes.is_empty()?;
        self.told = now;
        Ok((!is_empty).then(|| changes.without_prefix(self.prefix_len)))
    }
}

impl KeyWatch {
    /// The same with a key that lacks its first bytes.
    pub(crate) fn without_prefix(self, prefix_len: usize) -> Self {
        let entry = self.entry.map(|entry| without(entry, prefix_len));
        Self { watch: self.watch.without_prefix(prefix_len), entry }
    }

    /// What the key shows, as far as was told.
    pub const fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Waits until the key shows something else, and tells what, and who wrote it. `None` once the
    /// database is closed.
    ///
    /// Several writes in between are one change, if the key shows something else in the end. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`Watch::next`].
    pub async fn next(&mut self) -> Result<Option<Changed>, Error> {
        let Some(changes) = self.watch.next().await? else { return Ok(None) };
        self.take(&changes)
    }

    /// What has become of the key since the last call, if anything has. Never waits, and needs no
    /// runtime.
    ///
    /// # Errors
    ///
    /// As [`Watch::next`].
    pub fn look(&mut self) -> Result<Option<Changed>, Error> {
        match self.watch.look()? {
            Some(changes) => self.take(&changes),
            None => Ok(None),
        }
    }

    fn take(&mut self, changes: &Changes) -> Result<Option<Changed>, Error> {
        let read = changes.iter().next().transpose();
        if read.is_err() {
            // It was not told.
            self.watch.told = changes.before().clone();
        }
        let changed = read?;
        if let Some(changed) = &changed {
            self.entry.clone_from(&changed.now);
        }
        Ok(changed)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("version", &self.version()).finish_non_exhaustive()
    }
}
