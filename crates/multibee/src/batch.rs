//! Several changes as one commit.

use bytes::Bytes;

use crate::primary::Op;
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
}

impl Batch {
    pub(crate) const fn new(database: Multibee) -> Self {
        Self { database, ops: Vec::new() }
    }

    /// Puts a value. Of several changes to one key the last one counts.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> &mut Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.ops.push(Op::Put { key, value: value.into() });
        self
    }

    /// Deletes a key.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.ops.push(Op::Delete { key: Bytes::copy_from_slice(key.as_ref()) });
        self
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
    /// delete of a key that is not there does not.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLong`], [`Error::ValueTooLong`] or [`Error::BatchTooLarge`] blame the caller,
    /// others the disk. Nothing was written then.
    pub fn commit(self) -> Result<Vec<bool>, Error> {
        if self.ops.len() > MAX_BATCH_OPS {
            return Err(Error::BatchTooLarge { count: self.ops.len() });
        }
        for op in &self.ops {
            match op {
                Op::Put { key, value } => {
                    check_key(key)?;
                    if value.len() > MAX_VALUE_LEN {
                        return Err(Error::ValueTooLong { len: value.len() });
                    }
                }
                Op::Delete { key } => check_key(key)?,
            }
        }
        self.database.write(&self.ops)
    }
}
