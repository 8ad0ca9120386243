//! Several changes as one commit.

use bytes::Bytes;

use crate::edit::Edit;
use crate::entry::Entry;
use crate::op::{Expectation, Expected, Op, Outcome, Written};
use crate::view::check_key;
use crate::{Error, MAX_BATCH_OPS, MAX_VALUE_LEN, Multibee};

/// Changes that become visible together, on this device and on every other, or not at all.
///
/// Nothing happens before [`commit`](Self::commit); a batch that is dropped leaves no trace.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    database: Multibee,
    ops: Vec<Op>,
    expected: Vec<Expectation>,
}

impl Batch {
    pub(crate) const fn new(database: Multibee) -> Self {
        Self { database, ops: Vec::new(), expected: Vec::new() }
    }

    /// Puts a value, of the type that the rule for the key says. Changes count in their order.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> &mut Self {
        let value = value.into();
        self.push(key, |key| Op::Put { key, kind: None, value })
    }

    /// Puts a value of this type.
    pub fn put_typed(
        &mut self,
        key: impl AsRef<[u8]>,
        kind: u32,
        value: impl Into<Bytes>,
    ) -> &mut Self {
        let value = value.into();
        self.push(key, |key| Op::Put { key, kind: Some(kind), value })
    }

    /// Merges a JSON object into a map, as [`Multibee::patch`] does.
    pub fn patch(&mut self, key: impl AsRef<[u8]>, fields: impl Into<Bytes>) -> &mut Self {
        self.edit(key, Edit::Patch(fields.into()))
    }

    /// Adds to a counter, as [`Multibee::increment`] does.
    pub fn increment(&mut self, key: impl AsRef<[u8]>, by: i64) -> &mut Self {
        self.edit(key, Edit::Add(by))
    }

    /// Adds a JSON value to a set.
    pub fn set_insert(&mut self, key: impl AsRef<[u8]>, element: impl Into<Bytes>) -> &mut Self {
        self.edit(key, Edit::Insert(element.into()))
    }

    /// Removes a JSON value from a set.
    pub fn set_remove(&mut self, key: impl AsRef<[u8]>, element: impl Into<Bytes>) -> &mut Self {
        self.edit(key, Edit::Remove(element.into()))
    }

    /// Writes nothing of the batch unless the key shows this value, or is absent for `None`, when
    /// it is committed.
    pub fn expect(&mut self, key: impl AsRef<[u8]>, value: Option<&[u8]>) -> &mut Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        let found = Expected::Value(value.map(Bytes::copy_from_slice));
        self.expected.push(Expectation { key, found });
        self
    }

    /// Writes nothing of the batch if the key was written since this entry was read, or, for `None`,
    /// if it is there by now: what was computed from what was read still holds then.
    ///
    /// A merge that only writes down more of what is known of the key counts as a write, too.
    pub fn expect_entry(&mut self, key: impl AsRef<[u8]>, entry: Option<&Entry>) -> &mut Self {
        self.expect_block(key, entry.map(|entry| entry.seq))
    }

    /// The database, and what is to be done to it.
    pub(crate) fn parts(&self) -> (&Multibee, &[Op]) {
        (&self.database, &self.ops)
    }

    pub(crate) fn edit(&mut self, key: impl AsRef<[u8]>, edit: Edit) -> &mut Self {
        self.push(key, |key| Op::Edit { key, edit })
    }

    pub(crate) fn push(
        &mut self,
        key: impl AsRef<[u8]>,
        op: impl FnOnce(Bytes) -> Op,
    ) -> &mut Self {
        self.ops.push(op(Bytes::copy_from_slice(key.as_ref())));
        self
    }

    pub(crate) fn expect_block(&mut self, key: impl AsRef<[u8]>, seq: Option<u64>) -> &mut Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.expected.push(Expectation { key, found: Expected::Block(seq) });
        self
    }

    /// Deletes a key.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.push(key, |key| Op::Delete { key })
    }

    /// Number of changes so far.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing was asked for yet.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Writes everything as one commit. Says for each change whether it changed anything: a
    /// delete of a key that is not there does not, nor an edit that leaves its value as it is.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLong`], [`Error::ValueTooLong`], [`Error::BatchTooLarge`] or [`Error::Value`]
    /// blame the caller; [`Error::NotAsExpected`] says that an expectation was not met; others
    /// blame the disk. Nothing was written then.
    pub fn commit(self) -> Result<Vec<bool>, Error> {
        let written = self.write()?;
        Ok(written.outcomes.iter().map(|outcome| outcome.changed).collect())
    }

    /// As [`commit`](Self::commit), with what came of each change.
    pub(crate) fn write(self) -> Result<Written, Error> {
        if self.ops.len() > MAX_BATCH_OPS {
            return Err(Error::BatchTooLarge { count: self.ops.len() });
        }
        for op in &self.ops {
            check_key(op.key())?;
            if let Op::Put { value, .. } = op
                && value.len() > MAX_VALUE_LEN
            {
                return Err(Error::ValueTooLong { len: value.len() });
            }
        }
        self.database.write(&self.ops, &self.expected)
    }

    /// Writes a batch of one change, and says what came of it.
    pub(crate) fn write_one(self) -> Result<Outcome, Error> {
        Ok(self.write()?.outcomes.pop().unwrap_or_default())
    }
}
