//! Several changes of encoded keys and values as one commit.

use std::fmt;
use std::marker::PhantomData;

use multibee_btree::Codec;

use super::encode;
use crate::namespace::NamespaceBatch;
use crate::{Batch as RawBatch, Error};

/// A [`Batch`](crate::Batch) with keys of `K` and values of `V`.
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch<K, V> {
    raw: NamespaceBatch,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> Batch<K, V> {
    pub(super) const fn new(raw: NamespaceBatch) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// Puts a value, as [`Batch::put`](crate::Batch::put) does.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`]: nothing was added then.
    pub fn put(&mut self, key: &K::View, value: &V::View) -> Result<&mut Self, Error> {
        self.raw.put(encode::<K>(key)?, encode::<V>(value)?);
        Ok(self)
    }

    /// Puts a value of a mergeable type, as [`Batch::put_typed`](crate::Batch::put_typed) does.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`]: nothing was added then.
    pub fn put_typed(
        &mut self,
        key: &K::View,
        kind: u32,
        value: &V::View,
    ) -> Result<&mut Self, Error> {
        self.raw.put_typed(encode::<K>(key)?, kind, encode::<V>(value)?);
        Ok(self)
    }

    /// Deletes a key.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`]: nothing was added then.
    pub fn del(&mut self, key: &K::View) -> Result<&mut Self, Error> {
        self.raw.del(encode::<K>(key)?);
        Ok(self)
    }

    /// Expects a key to show a value, as [`Batch::expect`](crate::Batch::expect) does.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`]: nothing was added then.
    pub fn expect(&mut self, key: &K::View, value: Option<&V::View>) -> Result<&mut Self, Error> {
        let value = value.map(encode::<V>).transpose()?;
        self.raw.expect(encode::<K>(key)?, value.as_deref());
        Ok(self)
    }

    /// What a key would show if the batch were committed now, as [`Batch::get`](crate::Batch::get)
    /// says.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn get(&self, key: &K::View) -> Result<Option<V::Value>, Error> {
        let value = self.raw.get(encode::<K>(key)?)?;
        Ok(value.map(|value| V::decode(&value)).transpose()?)
    }

    /// The same batch with whole keys and bytes, for changes of other kinds and elsewhere.
    pub fn into_batch(self) -> RawBatch {
        self.raw.into_batch()
    }

    /// Writes everything as one commit, as [`Batch::commit`](crate::Batch::commit) does.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn commit(self) -> Result<Vec<bool>, Error> {
        self.raw.commit()
    }
}

impl<K, V> fmt::Debug for Batch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
