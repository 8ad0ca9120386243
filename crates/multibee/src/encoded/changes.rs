//! Decoded changes, and waiting for them.

use std::fmt;
use std::marker::PhantomData;

use multibee_btree::Codec;
use multibee_merge::Time;

use super::{Entry, EntryOf, decode};
use crate::{Error, Origin};

/// A [`Changed`](crate::Changed), decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<K, V> {
    /// The key.
    pub key: K,
    /// What it showed before; `None` if nothing.
    pub before: Option<Entry<K, V>>,
    /// What it shows now; `None` if nothing.
    pub now: Option<Entry<K, V>>,
    /// Who wrote what is new.
    pub origin: Origin,
    /// When, by the writer's hybrid clock.
    pub time: Time,
}

/// A change as a codec for its key and one for its values make it.
type ChangedOf<K, V> = Changed<<K as Codec>::Value, <V as Codec>::Value>;

/// [`Changes`](crate::Changes), decoded.
pub struct Changes<K, V> {
    raw: crate::Changes,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// The changed keys in the order of their encoding. One that can't be decoded is an error, and what
/// comes behind it comes next.
pub struct ChangesIter<K, V> {
    raw: crate::ChangesIter,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// A [`Watch`](crate::Watch), decoded.
pub struct Watch<K, V> {
    raw: crate::Watch,
    codecs: PhantomData<fn() -> (K, V)>,
}

/// A [`KeyWatch`](crate::KeyWatch), decoded.
pub struct KeyWatch<K, V> {
    raw: crate::KeyWatch,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> Changes<K, V> {
    /// Changes of bytes, decoded from here on: those of a [`Commit`](crate::Commit), for example.
    pub const fn from_raw(raw: crate::Changes) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// The same as bytes.
    pub const fn raw(&self) -> &crate::Changes {
        &self.raw
    }

    /// The changed keys, in their order. Each time from the first.
    pub fn iter(&self) -> ChangesIter<K, V> {
        ChangesIter { raw: self.raw.iter(), codecs: PhantomData }
    }
}

impl<K: Codec, V: Codec> IntoIterator for &Changes<K, V> {
    type Item = Result<ChangedOf<K, V>, Error>;
    type IntoIter = ChangesIter<K, V>;

    fn into_iter(self) -> ChangesIter<K, V> {
        self.iter()
    }
}

impl<K: Codec, V: Codec> Iterator for ChangesIter<K, V> {
    type Item = Result<ChangedOf<K, V>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.raw.next()?.and_then(decoded::<K, V>))
    }
}

impl<K: Codec, V: Codec> Watch<K, V> {
    pub(super) const fn new(raw: crate::Watch) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// The version up to which changes were told, as [`Watch::version`](crate::Watch::version).
    pub fn version(&self) -> u64 {
        self.raw.version()
    }

    /// Waits for the next changes, as [`Watch::next`](crate::Watch::next).
    ///
    /// # Errors
    ///
    /// As that.
    pub async fn next(&mut self) -> Result<Option<Changes<K, V>>, Error> {
        Ok(self.raw.next().await?.map(Changes::from_raw))
    }

    /// What has changed since the last call, as [`Watch::look`](crate::Watch::look).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn look(&mut self) -> Result<Option<Changes<K, V>>, Error> {
        Ok(self.raw.look()?.map(Changes::from_raw))
    }
}

impl<K: Codec, V: Codec> KeyWatch<K, V> {
    pub(super) const fn new(raw: crate::KeyWatch) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// What the key shows, as far as was told.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`].
    pub fn entry(&self) -> Result<Option<EntryOf<K, V>>, Error> {
        self.raw.entry().cloned().map(decode::<K, V>).transpose()
    }

    /// Waits until the key shows something else, as [`KeyWatch::next`](crate::KeyWatch::next).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub async fn next(&mut self) -> Result<Option<ChangedOf<K, V>>, Error> {
        self.raw.next().await?.map(decoded::<K, V>).transpose()
    }

    /// What has become of the key since the last call, as [`KeyWatch::look`](crate::KeyWatch::look).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`].
    pub fn look(&mut self) -> Result<Option<ChangedOf<K, V>>, Error> {
        self.raw.look()?.map(decoded::<K, V>).transpose()
    }
}

fn decoded<K: Codec, V: Codec>(changed: crate::Changed) -> Result<ChangedOf<K, V>, Error> {
    let crate::Changed { key, before, now, origin, time } = changed;
    let entry = |entry: Option<crate::Entry>| entry.map(decode::<K, V>).transpose();
    Ok(Changed { key: K::decode(&key)?, before: entry(before)?, now: entry(now)?, origin, time })
}

impl<K, V> fmt::Debug for Changes<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<K, V> fmt::Debug for ChangesIter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<K, V> fmt::Debug for Watch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<K, V> fmt::Debug for KeyWatch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
