//! The keys under a prefix as a database of their own.

use bytes::Bytes;

use crate::entry::Entry;
use crate::keyspace;
use crate::namespace_view::NamespaceView;
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
        keyspace::within(&self.prefix, key.as_ref())
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
        Ok(self.view()?.range(spec))
    }

    /// The data as of now, to be read in peace.
    ///
    /// # Errors
    ///
    /// As [`Multibee::view`].
    pub fn view(&self) -> Result<NamespaceView, Error> {
        Ok(self.database.view()?.namespace(&self.prefix))
    }

    /// Begins a batch of changes to keys here.
    pub fn batch(&self) -> NamespaceBatch {
        NamespaceBatch { batch: self.database.batch(), prefix: self.prefix.clone() }
    }
}

impl NamespaceBatch {
    /// Puts a value, as [`Batch::put`] does.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> &mut Self {
        self.batch.put(keyspace::within(&self.prefix, key.as_ref()), value);
        self
    }

    /// Puts a value of a type, as [`Batch::put_typed`] does.
    pub fn put_typed(
        &mut self,
        key: impl AsRef<[u8]>,
        kind: u32,
        value: impl Into<Bytes>,
    ) -> &mut Self {
        self.batch.put_typed(keyspace::within(&self.prefix, key.as_ref()), kind, value);
        self
    }

    /// Merges a JSON object into a map, as [`Batch::patch`] does.
    pub fn patch(&mut self, key: impl AsRef<[u8]>, fields: impl Into<Bytes>) -> &mut Self {
        self.batch.patch(keyspace::within(&self.prefix, key.as_ref()), fields);
        self
    }

    /// Adds to a counter, as [`Batch::increment`] does.
    pub fn increment(&mut self, key: impl AsRef<[u8]>, by: i64) -> &mut Self {
        self.batch.increment(keyspace::within(&self.prefix, key.as_ref()), by);
        self
    }

    /// Adds a JSON value to a set.
    pub fn set_insert(&mut self, key: impl AsRef<[u8]>, element: impl Into<Bytes>) -> &mut Self {
        self.batch.set_insert(keyspace::within(&self.prefix, key.as_ref()), element);
        self
    }

    /// Removes a JSON value from a set.
    pub fn set_remove(&mut self, key: impl AsRef<[u8]>, element: impl Into<Bytes>) -> &mut Self {
        self.batch.set_remove(keyspace::within(&self.prefix, key.as_ref()), element);
        self
    }

    /// Expects a key to show a value, as [`Batch::expect`] does.
    pub fn expect(&mut self, key: impl AsRef<[u8]>, value: Option<&[u8]>) -> &mut Self {
        self.batch.expect(keyspace::within(&self.prefix, key.as_ref()), value);
        self
    }

    /// Expects a key not to have been written since, as [`Batch::expect_entry`] does.
    pub fn expect_entry(&mut self, key: impl AsRef<[u8]>, entry: Option<&Entry>) -> &mut Self {
        self.batch.expect_entry(keyspace::within(&self.prefix, key.as_ref()), entry);
        self
    }

    /// What a key would show if the batch were committed now, as [`Batch::get`] says.
    ///
    /// # Errors
    ///
    /// As [`Batch::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        self.batch.get(keyspace::within(&self.prefix, key.as_ref()))
    }

    /// Number of changes so far.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether nothing was asked for yet.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Deletes a key, as [`Batch::del`] does.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.batch.del(keyspace::within(&self.prefix, key.as_ref()));
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

impl NamespaceRange {
    pub(crate) const fn new(range: Range, prefix_len: usize) -> Self {
        Self { range, prefix_len }
    }
}

impl Iterator for NamespaceRange {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.range.next()?.map(|entry| without(entry, self.prefix_len)))
    }
}

/// An entry named without the first bytes of its key.
pub(crate) fn without(entry: Entry, prefix_len: usize) -> Entry {
    Entry { key: keyspace::without(&entry.key, prefix_len), ..entry }
}
