use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use crate::codec::Codec;
use crate::error::Result;
use crate::range::RangeOptions;
use crate::typed::{Diff, EntryOf, decode, encode, range_options};

/// A [`Tree`](crate::Tree) with keys of `K` and values of `V`.
pub struct Tree<K, V> {
    raw: crate::Tree,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> Tree<K, V> {
    pub(super) fn new(raw: crate::Tree) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// A tree of bytes, decoded from here on.
    pub fn from_raw(raw: crate::Tree) -> Self {
        Self::new(raw)
    }

    /// The tree of bytes.
    pub fn raw(&self) -> &crate::Tree {
        &self.raw
    }

    /// As [`Tree::version`](crate::Tree::version).
    pub fn version(&self) -> u64 {
        self.raw.version()
    }

    /// As [`Tree::get`](crate::Tree::get).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn get(&self, key: &K::View) -> Result<Option<EntryOf<K, V>>> {
        self.raw.get(&encode::<K>(key)?)?.map(decode::<K, V>).transpose()
    }

    /// The entries in a range of keys, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`](crate::Error::Codec) if a bound cannot be encoded.
    pub fn range<'k>(&self, range: impl RangeBounds<&'k K::View>) -> Result<Range<K, V>>
    where
        K::View: 'k,
    {
        Ok(self.read(range_options::<K>(&range)?))
    }

    /// The same from the last to the first.
    ///
    /// # Errors
    ///
    /// As [`range`](Self::range).
    pub fn range_reversed<'k>(&self, range: impl RangeBounds<&'k K::View>) -> Result<Range<K, V>>
    where
        K::View: 'k,
    {
        Ok(self.read(RangeOptions { reverse: true, ..range_options::<K>(&range)? }))
    }

    /// As [`Tree::diff`](crate::Tree::diff).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec) if a bound cannot be encoded.
    pub fn diff<'k>(&self, right: &Self, range: impl RangeBounds<&'k K::View>) -> Result<Diff<K, V>>
    where
        K::View: 'k,
    {
        Ok(Diff::new(self.raw.diff(&right.raw, range_options::<K>(&range)?)?))
    }

    fn read(&self, options: RangeOptions) -> Range<K, V> {
        Range { raw: self.raw.range(options), is_over: false, codecs: PhantomData }
    }
}

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), codecs: PhantomData }
    }
}

impl<K, V> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// A [`Range`](crate::Range), decoded. As an iterator it ends after an error; [`next`](Self::next)
/// can be tried again, and goes on behind an entry that cannot be decoded.
pub struct Range<K, V> {
    raw: crate::Range,
    is_over: bool,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> Range<K, V> {
    /// As [`Range::next`](crate::Range::next).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<EntryOf<K, V>>> {
        self.raw.next()?.map(decode::<K, V>).transpose()
    }
}

impl<K: Codec, V: Codec> Iterator for Range<K, V> {
    type Item = Result<EntryOf<K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let entry = Self::next(self);
        self.is_over = entry.is_err();
        entry.transpose()
    }
}

impl<K, V> fmt::Debug for Range<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
