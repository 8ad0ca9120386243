use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;

use crate::bee::{Bee, Shared};
use crate::block::check_extra;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::expect::{Expect, Outcome};
use crate::limits::KEY_LEN_MAX;
use crate::prefix::Prefix;
use crate::put::Put;
use crate::range::{RangeOptions, Scan};
use crate::transaction::{Staged, StagedNode, Transaction};
use crate::walk;
use crate::write_lock::WriteGuard;

/// Puts and deletions that are appended together, or not at all.
///
/// Its own reads see what it has staged; nobody else's do before [`flush`](Self::flush). While it
/// lives, other writers wait. Dropping it discards what it has staged, except that its first
/// operation on an empty log appends the header at once.
///
/// An operation that fails has staged nothing, and the batch can go on.
///
/// `extra` is carried in the operation's block behind the tree's own fields, and has to be protobuf
/// fields with numbers above 3.
pub struct Batch {
    shared: Arc<Shared>,
    /// Of the sub-database that the keys are in.
    prefix: Prefix,
    /// From the first operation on.
    transaction: Option<Transaction>,
    /// Of the log, when the batch began.
    fork: u64,
    _turn: WriteGuard,
}

impl Batch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: Prefix, turn: WriteGuard) -> Self {
        let fork = shared.store.log().fork();
        Self { shared, prefix, transaction: None, fork, _turn: turn }
    }

    /// The same batch with the keys of another handle of the same tree, a
    /// [sub-database](Bee::sub) mostly: so one batch can write to several of them.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let bee = Bee::open(log, BeeOptions::default())?;
    /// let (users, names) = (bee.sub("users"), bee.sub("names"));
    ///
    /// let mut batch = bee.batch()?;
    /// batch.within(&users)?.put(b"7", Some("Ada"), "")?;
    /// batch.within(&names)?.put(b"Ada", Some("7"), "")?;
    /// batch.flush()?;
    /// assert!(names.snapshot()?.get(b"Ada")?.is_some());
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OtherTree`] if `bee` keeps its tree in another log, or was opened separately.
    pub fn within(&mut self, bee: &Bee) -> Result<SubBatch<'_>> {
        if !Arc::ptr_eq(&self.shared, &bee.shared) {
            return Err(Error::OtherTree);
        }
        let outer = std::mem::replace(&mut self.prefix, bee.prefix.clone());
        Ok(SubBatch { batch: self, outer })
    }

    /// Stages a put. Returns the number of the block that has, or will have, the entry: with
    /// [`always_duplicate`](crate::BeeOptions::always_duplicate) off, that may be one that is there.
    ///
    /// `None` as a value is not the same as a value of zero length, but looks like a deletion to
    /// readers of the log's history.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLong`], [`Error::BatchTooLarge`] or [`Error::BadExtra`] blame the caller;
    /// [`Error::Missing`] if blocks are to be fetched first.
    pub fn put(
        &mut self,
        key: &[u8],
        value: Option<impl Into<Bytes>>,
        extra: impl Into<Bytes>,
    ) -> Result<u64> {
        let replace = None::<fn(&Entry, &Entry) -> bool>;
        match self.stage_put(key, value.map(Into::into), extra.into(), replace)? {
            Put::Staged(seq) | Put::Kept(seq) => Ok(seq),
        }
    }

    /// Stages a put unless the key exists and `replace` says no. It is given the entry that is there
    /// and the one that would replace it. Returns the new block's number if one is staged.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_if(
        &mut self,
        key: &[u8],
        value: Option<impl Into<Bytes>>,
        extra: impl Into<Bytes>,
        replace: impl FnOnce(&Entry, &Entry) -> bool,
    ) -> Result<Option<u64>> {
        match self.stage_put(key, value.map(Into::into), extra.into(), Some(replace))? {
            Put::Staged(seq) => Ok(Some(seq)),
            Put::Kept(_) => Ok(None),
        }
    }

    /// Stages a put if what is under the key now is as expected.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_expecting(
        &mut self,
        key: &[u8],
        value: Option<impl Into<Bytes>>,
        extra: impl Into<Bytes>,
        expect: &Expect,
    ) -> Result<Outcome> {
        if let Some(refused) = self.refusal(key, expect)? {
            return Ok(refused);
        }
        self.put(key, value, extra).map(Outcome::Written)
    }

    /// Stages the deletion of a key if what is under it now is as expected, and is anything at all.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn del_expecting(
        &mut self,
        key: &[u8],
        extra: impl Into<Bytes>,
        expect: &Expect,
    ) -> Result<Outcome> {
        if let Some(refused) = self.refusal(key, expect)? {
            return Ok(refused);
        }
        Ok(self.del(key, extra)?.map_or(Outcome::Refused(None), Outcome::Written))
    }

    fn refusal(&mut self, key: &[u8], expect: &Expect) -> Result<Option<Outcome>> {
        if *expect == Expect::Any {
            return Ok(None);
        }
        let found = self.get(key)?;
        Ok((!expect.is_met_by(found.as_ref())).then_some(Outcome::Refused(found)))
    }

    fn stage_put(
        &mut self,
        key: &[u8],
        value: Option<Bytes>,
        extra: Bytes,
        replace: Option<impl FnOnce(&Entry, &Entry) -> bool>,
    ) -> Result<Put> {
        let len = self.prefix.bytes().len().saturating_add(key.len());
        if len > KEY_LEN_MAX {
            return Err(Error::KeyTooLong { len });
        }
        check_extra(&extra).map_err(Error::BadExtra)?;
        let prefix = self.prefix.clone();
        let (shared, transaction) = self.begin()?;
        let always = shared.options.always_duplicate;
        // Most puts need not know what they replace, and then it is not read.
        let next = (replace.is_some() || !always).then(|| Entry {
            seq: transaction.next_seq(),
            key: Bytes::copy_from_slice(key),
            value: value.clone(),
            extra: extra.clone(),
        });
        transaction.put(&shared.store, &prefix.stored(key), value, extra, |load| {
            let Some(next) = next else {
                return Ok(true);
            };
            let old = prefix.own(load()?)?;
            let agreed = replace.is_none_or(|replace| replace(&old, &next));
            Ok(agreed && (always || old.value != next.value))
        })
    }

    /// Stages the deletion of a key. Returns its block's number, or `None` if there is no such key.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn del(&mut self, key: &[u8], extra: impl Into<Bytes>) -> Result<Option<u64>> {
        self.stage_del(key, extra.into(), None::<fn(&Entry) -> bool>)
    }

    /// Stages the deletion of a key if it exists and `agree`, given its entry, says yes. Returns the
    /// deletion's block number if one is staged.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn del_if(
        &mut self,
        key: &[u8],
        extra: impl Into<Bytes>,
        agree: impl FnOnce(&Entry) -> bool,
    ) -> Result<Option<u64>> {
        self.stage_del(key, extra.into(), Some(agree))
    }

    fn stage_del(
        &mut self,
        key: &[u8],
        extra: Bytes,
        agree: Option<impl FnOnce(&Entry) -> bool>,
    ) -> Result<Option<u64>> {
        check_extra(&extra).map_err(Error::BadExtra)?;
        let prefix = self.prefix.clone();
        let (shared, transaction) = self.begin()?;
        transaction.del(&shared.store, &prefix.stored(key), extra, |load| match agree {
            Some(agree) => Ok(agree(&prefix.own(load()?)?)),
            None => Ok(true),
        })
    }

    /// Replaces the extra bytes of a staged operation. What is known only at the end of a batch can
    /// thus be put into its last block.
    ///
    /// # Errors
    ///
    /// [`Error::NotStaged`] if no operation of this batch has that number, or [`Error::BadExtra`].
    pub fn set_extra(&mut self, seq: u64, extra: impl Into<Bytes>) -> Result<()> {
        let extra = extra.into();
        check_extra(&extra).map_err(Error::BadExtra)?;
        let op = self.transaction.as_mut().and_then(|transaction| transaction.staged_mut(seq));
        op.ok_or(Error::NotStaged { seq })?.extra = extra;
        Ok(())
    }

    /// The entry under `key`, staged or not.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if blocks are to be fetched first.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Entry>> {
        let prefix = self.prefix.clone();
        let (shared, transaction) = self.open()?;
        let entry = walk::get(&Staged { store: &shared.store, transaction }, &prefix.stored(key))?;
        entry.map(|entry| prefix.own(entry)).transpose()
    }

    /// As [`get`](Self::get), for a key that is then written, mostly: the way to it is kept, so that
    /// the write need not find it again. Nor need other looks that go along some of it.
    ///
    /// Takes as much memory as a write. Which blocks are written is the same either way.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if blocks are to be fetched first.
    pub fn get_for_update(&mut self, key: &[u8]) -> Result<Option<Entry>> {
        let prefix = self.prefix.clone();
        let (shared, transaction) = self.open()?;
        let entry = transaction.get(&shared.store, &prefix.stored(key))?;
        entry.map(|entry| prefix.own(entry)).transpose()
    }

    /// The entries in a range of keys, staged or not.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if blocks are to be fetched first.
    pub fn range(&mut self, options: RangeOptions) -> Result<BatchRange<'_>> {
        let prefix = self.prefix.clone();
        let (shared, transaction) = self.open()?;
        let tree = Staged { store: &shared.store, transaction };
        let scan = Scan::new(prefix.range(options));
        Ok(BatchRange { tree, scan, prefix, failed: false })
    }

    /// The number of the block that the next operation gets.
    pub fn next_seq(&self) -> u64 {
        let log = self.shared.store.log();
        self.transaction.as_ref().map_or_else(|| log.len().max(1), Transaction::next_seq)
    }

    /// Number of staged operations.
    pub fn len(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.ops.len())
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends all staged operations in one append, and returns the new version. With nothing staged
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// If the log fails, it has none of the operations, and what was staged is gone.
    pub fn flush(mut self) -> Result<u64> {
        let (store, empty) = (&self.shared.store, self.is_empty());
        let log = store.log();
        let Some(transaction) = self.transaction.as_mut().filter(|_| !empty) else {
            return Ok(log.len().max(1));
        };
        if log.fork() != self.fork {
            return Err(Error::WentBack { fork: log.fork() });
        }
        let (expected, found) = (transaction.base, log.len());
        if found != expected {
            return Err(Error::LogMoved { expected, found });
        }
        transaction.encode();
        let version = log.append(&transaction.encoded.blocks())?;
        if version != transaction.next_seq() {
            return Err(Error::LogMoved { expected, found: version });
        }
        store.renew(&transaction.replaced, transaction.written());
        Ok(version)
    }

    /// Prepares for an operation that writes: on an empty log the header comes first.
    fn begin(&mut self) -> Result<(&Shared, &mut Transaction)> {
        if self.is_empty() {
            self.shared.create_header()?;
        }
        self.open()
    }

    fn open(&mut self) -> Result<(&Shared, &mut Transaction)> {
        let transaction = match &mut self.transaction {
            Some(transaction) => transaction,
            none => none.insert(Transaction::begin(&self.shared.store, self.shared.take_spare())?),
        };
        Ok((&self.shared, transaction))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(spare) = self.transaction.take().and_then(Transaction::into_spare) {
            self.shared.keep_spare(spare);
        }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A [`Batch`] with the keys of a sub-database. Made by [`Batch::within`].
#[derive(Debug)]
pub struct SubBatch<'a> {
    batch: &'a mut Batch,
    /// The prefix that the batch has otherwise.
    outer: Prefix,
}

impl Deref for SubBatch<'_> {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        self.batch
    }
}

impl DerefMut for SubBatch<'_> {
    fn deref_mut(&mut self) -> &mut Batch {
        self.batch
    }
}

impl Drop for SubBatch<'_> {
    fn drop(&mut self) {
        self.batch.prefix = std::mem::take(&mut self.outer);
    }
}

/// The entries of a [`Batch`] in a range of keys, one after the other.
///
/// As an iterator it ends after an error.
pub struct BatchRange<'a> {
    tree: Staged<'a>,
    scan: Scan<StagedNode>,
    prefix: Prefix,
    failed: bool,
}

impl Iterator for BatchRange<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = self.scan.next(&self.tree);
        let entry = entry.map(|entry| entry.and_then(|entry| self.prefix.shown(entry)));
        self.failed = entry.is_err();
        entry.transpose()
    }
}

impl std::fmt::Debug for BatchRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchRange").finish_non_exhaustive()
    }
}
