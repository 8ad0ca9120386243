use std::sync::Arc;

use bytes::Bytes;

use crate::bee::{Bee, Shared};
use crate::diff::Diff;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::extension::{ExtensionMessage, GetHint};
use crate::prefix::Prefix;
use crate::range::{Range, RangeOptions};
use crate::walk::{self, Stored};

/// A tree as it was at one length of the log. It never changes, and costs nothing to keep or clone.
/// Should the log be cut by its writer, all that is asked of it is answered by [`Error::WentBack`].
///
/// Of a [sub-database](crate::Bee::sub) it has that one's entries.
#[derive(Clone)]
pub struct Tree {
    pub(crate) shared: Arc<Shared>,
    version: u64,
    /// Of the log.
    fork: u64,
    pub(crate) prefix: Prefix,
}

impl Tree {
    pub(crate) fn new(shared: Arc<Shared>, version: u64, fork: u64, prefix: Prefix) -> Self {
        Self { shared, version, fork, prefix }
    }

    /// The length of the log that this tree stands for. Below 2 it is empty.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The fork of the log that it is of.
    pub(crate) fn fork(&self) -> u64 {
        self.fork
    }

    /// The same tree at another version, as [`Bee::checkout`](crate::Bee::checkout) gives it.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn checkout(&self, version: u64) -> Result<Self> {
        Bee { shared: self.shared.clone(), prefix: self.prefix.clone() }.checkout(version)
    }

    /// The entries of a sub-database as they were then. See [`Bee::sub`](crate::Bee::sub).
    pub fn sub(&self, name: impl AsRef<[u8]>) -> Self {
        self.sub_with(name, b"\0")
    }

    /// As [`sub`](Self::sub), with a separator of one's own.
    pub fn sub_with(&self, name: impl AsRef<[u8]>, separator: impl AsRef<[u8]>) -> Self {
        let prefix = self.prefix.sub(name.as_ref(), separator.as_ref());
        Self { prefix, ..self.clone() }
    }

    /// The entry under `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if blocks are to be fetched first. Each time they are, the next call gets
    /// at least one level further.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let entry = self.on_fork(walk::get(&self.walk(), &self.prefix.stored(key)))?;
        Ok(entry.and_then(|entry| self.prefix.shown(entry)))
    }

    /// What block `seq` says about its key, as [`Bee::get_by_seq`](crate::Bee::get_by_seq) does.
    /// `None` for blocks that came after this version, too.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the block is to be fetched first.
    pub fn get_by_seq(&self, seq: u64) -> Result<Option<Entry>> {
        if seq == 0 || seq >= self.version {
            return Ok(None);
        }
        let entry = self.on_fork(self.shared.store.block(seq).map(|block| block.entry(seq)))?;
        Ok(self.prefix.shown(entry))
    }

    /// The entries with keys in a range.
    pub fn range(&self, options: RangeOptions) -> Range {
        Range::new(self.clone(), options)
    }

    /// The first entry of a range.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn peek(&self, options: RangeOptions) -> Result<Option<Entry>> {
        let limit = Some(options.limit.unwrap_or(1).min(1));
        self.range(RangeOptions { limit, ..options }).next()
    }

    /// The keys in a range under which this tree, the left one, and `right` have different entries,
    /// in their order. Parts that both trees have are not read.
    ///
    /// An entry that was put again counts as another one, even if its value is the same. Either
    /// tree may be the older one. The order is always ascending: `reverse` is not heeded.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions, RangeOptions};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let bee = Bee::open(log, BeeOptions::default())?;
    /// bee.put(b"bread", Some("rye"))?;
    /// bee.put(b"milk", Some("two"))?;
    /// let before = bee.snapshot()?;
    /// bee.del(b"bread")?;
    /// bee.put(b"tea", Some("green"))?;
    ///
    /// let changes: Vec<_> =
    ///     bee.snapshot()?.diff(&before, RangeOptions::default())?.collect::<Result<_, _>>()?;
    /// assert_eq!(changes[0].key(), "bread");
    /// assert!(changes[0].left.is_none() && changes[0].right.is_some());
    /// assert_eq!(changes[1].key(), "tea");
    /// assert!(changes[1].left.is_some() && changes[1].right.is_none());
    /// assert_eq!(changes.len(), 2);
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OtherTree`] if `right` is not of the same log, or not of the same sub-database.
    pub fn diff(&self, right: &Self, options: RangeOptions) -> Result<Diff> {
        if !Arc::ptr_eq(&self.shared, &right.shared) || self.prefix != right.prefix {
            return Err(Error::OtherTree);
        }
        Ok(Diff::new(self.clone(), right.version, options))
    }

    /// What was read just now, unless it may have been of another history.
    pub(crate) fn on_fork<T>(&self, read: Result<T>) -> Result<T> {
        let fork = self.shared.store.log().fork();
        if fork == self.fork { read } else { Err(Error::WentBack { fork }) }
    }

    /// What to send to peers with [`EXTENSION_NAME`](crate::EXTENSION_NAME), once, when
    /// [`get`](Self::get) of this key has found blocks missing. They may answer with the numbers of
    /// all that it needs. `None` if the tree is empty.
    pub fn hint(&self, key: &[u8]) -> Option<ExtensionMessage> {
        let key = Bytes::copy_from_slice(&self.prefix.stored(key));
        (self.version >= 2).then(|| GetHint { version: self.version, key }.into())
    }

    pub(crate) fn walk(&self) -> Stored<'_> {
        Stored { store: &self.shared.store, version: self.version }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("version", &self.version).finish_non_exhaustive()
    }
}
