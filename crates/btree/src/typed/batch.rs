use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;

use crate::codec::Codec;
use crate::error::Result;
use crate::expect::{Expect, Outcome};
use crate::typed::{EntryOf, decode, encode};

/// A [`Batch`](crate::Batch) with keys of `K` and values of `V`.
pub struct Batch<K, V> {
    raw: crate::Batch,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> Batch<K, V> {
    pub(super) fn new(raw: crate::Batch) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// The batch of bytes, for what is not here: other sub-databases, extra fields, ranges.
    pub fn raw(&mut self) -> &mut crate::Batch {
        &mut self.raw
    }

    /// As [`Batch::put`](crate::Batch::put).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn put(&mut self, key: &K::View, value: &V::View) -> Result<u64> {
        self.raw.put(&encode::<K>(key)?, Some(encode::<V>(value)?), Bytes::new())
    }

    /// As [`Batch::put_expecting`](crate::Batch::put_expecting).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn put_expecting(
        &mut self,
        key: &K::View,
        value: &V::View,
        expect: &Expect,
    ) -> Result<Outcome> {
        let value = Some(encode::<V>(value)?);
        self.raw.put_expecting(&encode::<K>(key)?, value, Bytes::new(), expect)
    }

    /// As [`Batch::del`](crate::Batch::del).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn del(&mut self, key: &K::View) -> Result<Option<u64>> {
        self.raw.del(&encode::<K>(key)?, Bytes::new())
    }

    /// As [`Batch::get`](crate::Batch::get).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn get(&mut self, key: &K::View) -> Result<Option<EntryOf<K, V>>> {
        self.raw.get(&encode::<K>(key)?)?.map(decode::<K, V>).transpose()
    }

    /// As [`Batch::flush`](crate::Batch::flush).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn flush(self) -> Result<u64> {
        self.raw.flush()
    }
}

impl<K, V> fmt::Debug for Batch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
