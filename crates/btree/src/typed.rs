//! Trees of any types of keys and values.
//!
//! Thin handles over those of bytes: what they do, when they fail and how they are used with sparse
//! logs is said there. `K` and `V` are [`Codec`]s.
//!
//! ```
//! use multibee_btree::{Bee, BeeOptions, Utf8, typed};
//! # #[cfg(feature = "json")] {
//! use multibee_btree::Json;
//! use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
//!
//! let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
//! let bee = Bee::open(log, BeeOptions::default())?;
//! let stock: typed::Bee<Utf8, Json<u32>> = bee.sub("stock").typed();
//!
//! stock.put("bread", &3)?;
//! stock.put("milk", &2)?;
//! let bread = stock.get("bread")?.and_then(|entry| entry.value);
//! assert_eq!(bread, Some(3));
//! let names: Vec<String> =
//!     stock.snapshot()?.range("c"..)?.map(|entry| entry.map(|entry| entry.key)).collect::<Result<_, _>>()?;
//! assert_eq!(names, ["milk"]);
//! # }
//! # Ok::<(), multibee_btree::Error>(())
//! ```

mod batch;
mod changes;
mod tree;

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use bytes::Bytes;

pub use batch::Batch;
pub use changes::{Change, Diff, EntryWatch, History, Record};
pub use tree::{Range, Tree};

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::expect::{Expect, Outcome};
use crate::history::HistoryOptions;
use crate::range::RangeOptions;
use crate::watch::Watch;

/// A [`Bee`](crate::Bee) with keys of `K` and values of `V`. Made by
/// [`Bee::typed`](crate::Bee::typed).
pub struct Bee<K, V> {
    raw: crate::Bee,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// An [`Entry`](crate::Entry), decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<K, V> {
    /// Number of the block.
    pub seq: u64,
    /// The key.
    pub key: K,
    /// The value. `None` for a deletion, and for a put of no value.
    pub value: Option<V>,
    /// All fields of the block that are not the tree's own, raw, one after the other.
    pub extra: Bytes,
}

/// An entry as a codec for its key and one for its value make it.
pub type EntryOf<K, V> = Entry<<K as Codec>::Value, <V as Codec>::Value>;

impl crate::Bee {
    /// The same tree with keys and values of other types than bytes.
    pub fn typed<K: Codec, V: Codec>(&self) -> Bee<K, V> {
        Bee { raw: self.clone(), codecs: PhantomData }
    }
}

impl<K: Codec, V: Codec> Bee<K, V> {
    /// The tree of bytes.
    pub fn raw(&self) -> &crate::Bee {
        &self.raw
    }

    /// As [`Bee::put`](crate::Bee::put).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn put(&self, key: &K::View, value: &V::View) -> Result<u64> {
        self.raw.put(&encode::<K>(key)?, Some(encode::<V>(value)?))
    }

    /// As [`Bee::put_expecting`](crate::Bee::put_expecting).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn put_expecting(
        &self,
        key: &K::View,
        value: &V::View,
        expect: &Expect,
    ) -> Result<Outcome> {
        self.raw.put_expecting(&encode::<K>(key)?, Some(encode::<V>(value)?), expect)
    }

    /// As [`Bee::del`](crate::Bee::del).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn del(&self, key: &K::View) -> Result<bool> {
        self.raw.del(&encode::<K>(key)?)
    }

    /// The entry under a key as it is now.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    pub fn get(&self, key: &K::View) -> Result<Option<EntryOf<K, V>>> {
        self.snapshot()?.get(key)
    }

    /// As [`Bee::snapshot`](crate::Bee::snapshot).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn snapshot(&self) -> Result<Tree<K, V>> {
        Ok(Tree::new(self.raw.snapshot()?))
    }

    /// As [`Bee::checkout`](crate::Bee::checkout).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn checkout(&self, version: u64) -> Result<Tree<K, V>> {
        Ok(Tree::new(self.raw.checkout(version)?))
    }

    /// As [`Bee::batch`](crate::Bee::batch).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn batch(&self) -> Result<Batch<K, V>> {
        Ok(Batch::new(self.raw.batch()?))
    }

    /// As [`Bee::history`](crate::Bee::history).
    pub fn history(&self, options: HistoryOptions) -> History<K, V> {
        History::new(self.raw.history(options))
    }

    /// As [`Bee::watch`](crate::Bee::watch). What it shows are trees of bytes; see
    /// [`Tree::from_raw`].
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn watch<'k>(&self, range: impl RangeBounds<&'k K::View>) -> Result<Watch>
    where
        K::View: 'k,
    {
        self.raw.watch(range_options::<K>(&range)?)
    }

    /// As [`Bee::get_and_watch`](crate::Bee::get_and_watch).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn get_and_watch(&self, key: &K::View) -> Result<EntryWatch<K, V>> {
        Ok(EntryWatch::new(self.raw.get_and_watch(&encode::<K>(key)?)?))
    }
}

impl<K, V> Clone for Bee<K, V> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), codecs: PhantomData }
    }
}

impl<K, V> fmt::Debug for Bee<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

fn encode<C: Codec>(view: &C::View) -> Result<Bytes> {
    C::encode(view).map_err(Error::Codec)
}

fn decode<K: Codec, V: Codec>(entry: crate::Entry) -> Result<EntryOf<K, V>> {
    let crate::Entry { seq, key, value, extra } = entry;
    let key = K::decode(&key).map_err(Error::Codec)?;
    let value = value.map(|value| V::decode(&value)).transpose().map_err(Error::Codec)?;
    Ok(Entry { seq, key, value, extra })
}

fn range_options<'k, K: Codec>(range: &impl RangeBounds<&'k K::View>) -> Result<RangeOptions>
where
    K::View: 'k,
{
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let mut options = RangeOptions::default();
    match range.start_bound() {
        Included(key) => options.gte = Some(encode::<K>(key)?),
        Excluded(key) => options.gt = Some(encode::<K>(key)?),
        Unbounded => {}
    }
    match range.end_bound() {
        Included(key) => options.lte = Some(encode::<K>(key)?),
        Excluded(key) => options.lt = Some(encode::<K>(key)?),
        Unbounded => {}
    }
    Ok(options)
}
