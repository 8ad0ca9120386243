//! Databases of any types of keys and values.
//!
//! Thin handles over those of bytes: what they do and when they fail is said there. `K` and `V` are
//! [`Codec`]s: text, JSON of any type that serde knows, or one's own. Values merge as their bytes do:
//! [`Json`](crate::Json) objects field by field, if they are put as a [`Map`](crate::Map), by
//! [`Database::put_typed`] or a rule.
//!
//! ```
//! use multibee::{Home, Json, Multibee, Options, Utf8, encoded};
//!
//! let db = Multibee::create(Home::memory(), Options::default())?;
//! let stock: encoded::Database<Utf8, Json<u32>> = db.namespace("stock/").encoded();
//!
//! stock.put("bread", &3)?;
//! stock.put("milk", &2)?;
//! assert_eq!(stock.get("bread")?.map(|entry| entry.value), Some(3));
//! let names: Vec<String> =
//!     stock.view()?.range("c"..)?.map(|entry| Ok(entry?.key)).collect::<Result<_, multibee::Error>>()?;
//! assert_eq!(names, ["milk"]);
//! # Ok::<(), multibee::Error>(())
//! ```

mod batch;
mod changes;
mod view;

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use bytes::Bytes;
use multibee_btree::Codec;
use multibee_merge::{DeviceId, Time};

pub use batch::Batch;
pub use changes::{Changed, Changes, ChangesIter, KeyWatch, Watch};
pub use view::{Change, Diff, Range, View};

use crate::view::RangeSpec;
use crate::{Error, Multibee, Namespace};

/// A [`Namespace`], or a whole database, with keys of `K` and values of `V`. Made by
/// [`Multibee::encoded`] and [`Namespace::encoded`].
pub struct Database<K, V> {
    raw: Namespace,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// An [`Entry`](crate::Entry), decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The type of the value, as for [`Entry::kind`](crate::Entry::kind).
    pub kind: u32,
    /// The block of this device's log that holds the entry.
    pub seq: u64,
    /// Who wrote the value; of a joined one, its latest part.
    pub device: DeviceId,
    /// When, by the writer's hybrid clock.
    pub time: Time,
    /// Concurrent versions that the value does not come from.
    pub conflicts: usize,
}

/// An entry as a codec for its key and one for its value make it.
pub type EntryOf<K, V> = Entry<<K as Codec>::Value, <V as Codec>::Value>;

impl Multibee {
    /// The same database with keys and values of other types than bytes. See [`encoded`](self).
    pub fn encoded<K: Codec, V: Codec>(&self) -> Database<K, V> {
        self.namespace("").encoded()
    }
}

impl Namespace {
    /// The same keys and values as other types than bytes. See [`encoded`](self).
    pub fn encoded<K: Codec, V: Codec>(&self) -> Database<K, V> {
        Database { raw: self.clone(), codecs: PhantomData }
    }
}

impl<K: Codec, V: Codec> Database<K, V> {
    /// The same as bytes, for all that is not here.
    pub const fn raw(&self) -> &Namespace {
        &self.raw
    }

    /// Puts a value, as [`Multibee::put`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn put(&self, key: &K::View, value: &V::View) -> Result<(), Error> {
        self.raw.put(encode::<K>(key)?, encode::<V>(value)?)
    }

    /// Puts a value of a mergeable type, as [`Multibee::put_typed`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn put_typed(&self, key: &K::View, kind: u32, value: &V::View) -> Result<(), Error> {
        self.raw.put_typed(encode::<K>(key)?, kind, encode::<V>(value)?)
    }

    /// Puts a value if the key shows `expected`, as [`Multibee::put_if`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn put_if(
        &self,
        key: &K::View,
        expected: Option<&V::View>,
        value: &V::View,
    ) -> Result<bool, Error> {
        let expected = expected.map(encode::<V>).transpose()?;
        self.raw.put_if(encode::<K>(key)?, expected.as_deref(), encode::<V>(value)?)
    }

    /// Deletes a key, as [`Multibee::del`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn del(&self, key: &K::View) -> Result<bool, Error> {
        self.raw.del(encode::<K>(key)?)
    }

    /// Deletes a key if it shows `expected`, as [`Multibee::del_if`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn del_if(&self, key: &K::View, expected: &V::View) -> Result<bool, Error> {
        self.raw.del_if(encode::<K>(key)?, &encode::<V>(expected)?)
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// As [`Multibee::get`], and [`Error::Codec`].
    pub fn get(&self, key: &K::View) -> Result<Option<EntryOf<K, V>>, Error> {
        self.raw.get(encode::<K>(key)?)?.map(decode::<K, V>).transpose()
    }

    /// The data as of now, to be read in peace.
    ///
    /// # Errors
    ///
    /// As [`Multibee::view`].
    pub fn view(&self) -> Result<View<K, V>, Error> {
        Ok(View::from_raw(self.raw.view()?))
    }

    /// The data as of an earlier version.
    ///
    /// # Errors
    ///
    /// As [`Multibee::checkout`].
    pub fn checkout(&self, version: u64) -> Result<View<K, V>, Error> {
        Ok(View::from_raw(self.raw.checkout(version)?))
    }

    /// Begins a batch: several changes as one commit.
    pub fn batch(&self) -> Batch<K, V> {
        Batch::new(self.raw.batch())
    }

    /// Tells of changes in a range of keys from now on, as [`Multibee::watch`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn watch<'k>(&self, range: impl RangeBounds<&'k K::View>) -> Result<Watch<K, V>, Error>
    where
        K::View: 'k,
    {
        Ok(Watch::new(self.raw.watch(range_spec::<K>(&range)?)?))
    }

    /// Reads one key, and tells of all that becomes of it, as [`Multibee::get_and_watch`] does.
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn get_and_watch(&self, key: &K::View) -> Result<KeyWatch<K, V>, Error> {
        Ok(KeyWatch::new(self.raw.get_and_watch(encode::<K>(key)?)?))
    }
}

impl<K, V> Clone for Database<K, V> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), codecs: PhantomData }
    }
}

impl<K, V> fmt::Debug for Database<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

fn encode<C: Codec>(view: &C::View) -> Result<Bytes, Error> {
    Ok(C::encode(view)?)
}

fn decode<K: Codec, V: Codec>(entry: crate::Entry) -> Result<EntryOf<K, V>, Error> {
    let crate::Entry { key, value, kind, seq, device, time, conflicts } = entry;
    let (key, value) = (K::decode(&key)?, V::decode(&value)?);
    Ok(Entry { key, value, kind, seq, device, time, conflicts })
}

fn range_spec<'k, K: Codec>(range: &impl RangeBounds<&'k K::View>) -> Result<RangeSpec, Error>
where
    K::View: 'k,
{
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let mut spec = RangeSpec::default();
    match range.start_bound() {
        Included(key) => spec.gte = Some(encode::<K>(key)?),
        Excluded(key) => spec.gt = Some(encode::<K>(key)?),
        Unbounded => {}
    }
    match range.end_bound() {
        Included(key) => spec.lte = Some(encode::<K>(key)?),
        Excluded(key) => spec.lt = Some(encode::<K>(key)?),
        Unbounded => {}
    }
    Ok(spec)
}
