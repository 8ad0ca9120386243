//! The keys under a prefix as a database of their own.

use bytes::Bytes;

use crate::entry::Entry;
use crate::keyspace;
use crate::view::{Range, RangeSpec};
use crate::{Batch, Error, Multibee};

/// The keys of a database that begin with a prefix, named without it.
///
/// What is written here is written to the database, under the whole key, and arrives on other
/// devices as anything else.
#[derive(Clone, Debug)]
pub struct Namespace {
    database: Multibee,
    prefix: Bytes,
}

/// Several changes under a prefix as one commit.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct NamespaceBatch {
    batch: Batch,
    prefix: Bytes,
}

/// Entries under a prefix in the order of their keys, which are named without it.
#[derive(Debug)]
pub struct NamespaceRange {
    range: Range,
    prefix_len: usize,
}

impl Namespace {
    pub(crate) const fn new(database: Multibee, prefix: Bytes) -> Self {
        Self { database, prefix }
    }

    /// The prefix of all its keys.
    pub const fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The whole database.
    pub const fn database(&self) -> &Multibee {
        &self.database
    }

    /// The whole key of a key here, for all that a namespace has no method for.
    pub fn key(&self, key: impl AsRef<[u8]>) -> Bytes {
        whole(&self.prefix, key.as_ref())
    }

    /// A namespace within this one.
    #[must_use]
    pub fn namespace(&self, prefix: impl AsRef<[u8]>) -> Self {
        Self::new(self.database.clone(), self.key(prefix))
    }

    /// Puts a value, as [`Multibee::put`] does.
    ///
    /// # Errors
    ///
    /// As [`Multibee::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        self.database.put(self.key(key), value)
    }

    /// Deletes a key, as [`Multibee::del`] does.
    ///
    /// # Errors
    ///
    /// As [`Multibee::del`].
    pub fn del(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.database.del(self.key(key))
    }

    /// Reads one key. The entry has the key without the prefix.
    ///
    /// # Errors
    ///
    /// As [`Multibee::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let entry = self.database.get(self.key(key))?;
        Ok(entry.map(|entry| without(entry, self.prefix.len())))
    }

    /// Reads entries in the order of their keys, as of now. Bounds and keys are without the prefix.
    ///
    /// # Errors
    ///
    /// As [`Multibee::range`]; the iterator's items, too.
    pub fn range(&self, spec: RangeSpec) -> Result<NamespaceRange, Error> {
        let within = |bound: Option<Bytes>| bound.map(|key| whole(&self.prefix, &key));
        let mut spec = RangeSpec {
            gte: within(spec.gte),
            gt: within(spec.gt),
            lt: within(spec.lt),
            lte: within(spec.lte),
            ..spec
        };
        if spec.gte.is_none() && spec.gt.is_none() {
            spec.gte = Some(self.prefix.clone());
        }
        if spec.lt.is_none() && spec.lte.is_none() {
            spec.lt = keyspace::after_prefix(&self.prefix);
        }
        let range = self.database.range(spec)?;
        Ok(NamespaceRange { range, prefix_len: self.prefix.len() })
    }

    /// Begins a batch of changes to keys here.
    pub fn batch(&self) -> NamespaceBatch {
        NamespaceBatch { batch: self.database.batch(), prefix: self.prefix.clone() }
    }
}

impl NamespaceBatch {
    /// Puts a value, as [`Batch::put`] does.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> &mut Self {
        self.batch.put(whole(&self.prefix, key.as_ref()), value);
        self
    }

    /// Deletes a key, as [`Batch::del`] does.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.batch.del(whole(&self.prefix, key.as_ref()));
        self
    }

    /// The same batch with whole keys, for changes of other kinds and elsewhere.
    pub fn into_batch(self) -> Batch {
        self.batch
    }

    /// Writes everything as one commit, as [`Batch::commit`] does.
    ///
    /// # Errors
    ///
    /// As [`Batch::commit`].
    pub fn commit(self) -> Result<Vec<bool>, Error> {
        self.batch.commit()
    }
}

impl Iterator for NamespaceRange {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.range.next()?.map(|entry| without(entry, self.prefix_len)))
    }
}

fn whole(prefix: &[u8], key: &[u8]) -> Bytes {
    [prefix, key].concat().into()
}

fn without(entry: Entry, prefix_len: usize) -> Entry {
    let key = entry.key.slice(prefix_len.min(entry.key.len())..);
    Entry { key, ..entry }
}
