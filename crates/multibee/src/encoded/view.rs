//! Reading decoded keys and values at one version.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use multibee_btree::Codec;

use super::{Changes, EntryOf, decode, encode, range_spec};
use crate::namespace::NamespaceRange;
use crate::view::RangeSpec;
use crate::{Error, NamespaceView};

/// A [`NamespaceView`] with keys of `K` and values of `V`.
pub struct View<K, V> {
    raw: NamespaceView,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// A [`Range`](crate::Range), decoded. An entry that can't be decoded is an error, and the range goes
/// on behind it.
pub struct Range<K, V> {
    raw: NamespaceRange,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// A [`Change`](crate::Change), decoded: `E` is an entry of its codecs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<E> {
    /// What the left view shows under the key.
    pub left: Option<E>,
    /// What the right view shows under it.
    pub right: Option<E>,
}

/// A [`Diff`](crate::Diff), decoded. A change that can't be decoded is an error, and the diff goes on
/// behind it.
pub struct Diff<K, V> {
    raw: crate::Diff,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> View<K, V> {
    /// A view of bytes, decoded from here on.
    pub const fn from_raw(raw: NamespaceView) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// The same as bytes.
    pub const fn raw(&self) -> &NamespaceView {
        &self.raw
    }

    /// The version that is read, as [`View::version`](crate::View::version).
    pub fn version(&self) -> u64 {
        self.raw.version()
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// As [`View::get`](crate::View::get), and [`Error::Codec`].
    pub fn get(&self, key: &K::View) -> Result<Option<EntryOf<K, V>>, Error> {
        self.raw.get(encode::<K>(key)?)?.map(decode::<K, V>).transpose()
    }

    /// Reads all values that a key shows, the foremost first.
    ///
    /// # Errors
    ///
    /// As [`View::get_all`](crate::View::get_all), and [`Error::Codec`].
    pub fn get_all(&self, key: &K::View) -> Result<Vec<EntryOf<K, V>>, Error> {
        self.raw.get_all(encode::<K>(key)?)?.into_iter().map(decode::<K, V>).collect()
    }

    /// Reads entries in the order of their encoded keys.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`] if a bound has no encoding.
    pub fn range<'k>(&self, range: impl RangeBounds<&'k K::View>) -> Result<Range<K, V>, Error>
    where
        K::View: 'k,
    {
        Ok(self.read(range_spec::<K>(&range)?))
    }

    /// The same from the last to the first.
    ///
    /// # Errors
    ///
    /// As [`range`](Self::range).
    pub fn range_reversed<'k>(
        &self,
        range: impl RangeBounds<&'k K::View>,
    ) -> Result<Range<K, V>, Error>
    where
        K::View: 'k,
    {
        Ok(self.read(RangeSpec { reverse: true, ..range_spec::<K>(&range)? }))
    }

    /// Where this view, the left one, and another of the same keys differ, as
    /// [`View::diff`](crate::View::diff).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`] if a bound has no encoding.
    pub fn diff<'k>(
        &self,
        right: &Self,
        range: impl RangeBounds<&'k K::View>,
    ) -> Result<Diff<K, V>, Error>
    where
        K::View: 'k,
    {
        let raw = self.raw.diff(&right.raw, range_spec::<K>(&range)?)?;
        Ok(Diff { raw, codecs: PhantomData })
    }

    /// What has changed since an earlier version, as
    /// [`View::changes_since`](crate::View::changes_since).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`] if a bound has no encoding.
    pub fn changes_since<'k>(
        &self,
        before: &Self,
        range: impl RangeBounds<&'k K::View>,
    ) -> Result<Changes<K, V>, Error>
    where
        K::View: 'k,
    {
        let raw = self.raw.changes_since(&before.raw, range_spec::<K>(&range)?)?;
        Ok(Changes::from_raw(raw))
    }

    fn read(&self, spec: RangeSpec) -> Range<K, V> {
        Range { raw: self.raw.range(spec), codecs: PhantomData }
    }
}

impl<K, V> Clone for View<K, V> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), codecs: PhantomData }
    }
}

impl<K, V> fmt::Debug for View<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<K: Codec, V: Codec> Iterator for Range<K, V> {
    type Item = Result<EntryOf<K, V>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.raw.next()?.and_then(decode::<K, V>))
    }
}

impl<K, V> fmt::Debug for Range<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<K: Codec, V: Codec> Iterator for Diff<K, V> {
    type Item = Result<Change<EntryOf<K, V>>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let decoded = |entry: Option<crate::Entry>| entry.map(decode::<K, V>).transpose();
        Some(self.raw.next()?.and_then(|crate::Change { left, right, .. }| {
            Ok(Change { left: decoded(left)?, right: decoded(right)? })
        }))
    }
}

impl<K, V> fmt::Debug for Diff<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
