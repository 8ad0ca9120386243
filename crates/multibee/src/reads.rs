//! Reads beside single keys and ranges.

use crate::entry::Entry;
use crate::keyspace::{self, Place};
use crate::view::{RangeSpec, View, parts};
use crate::{Error, Multibee};

impl View {
    /// The first entry of a range; with `reverse`, the last.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options, RangeSpec};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("log/1", "begun")?;
    /// db.put("log/2", "done")?;
    ///
    /// let last = RangeSpec { reverse: true, ..RangeSpec::prefix(b"log/") };
    /// assert_eq!(db.view()?.peek(last)?.map(|entry| entry.key), Some("log/2".into()));
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn peek(&self, spec: RangeSpec) -> Result<Option<Entry>, Error> {
        self.range(spec).next().transpose()
    }

    /// Number of keys in a range. It takes a walk over all of them.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn count(&self, spec: RangeSpec) -> Result<u64, Error> {
        let most = spec.limit.unwrap_or(u64::MAX);
        let mut count = 0;
        for mut part in parts(self.tree(), &spec) {
            while count < most && part.next()?.is_some() {
                count += 1;
            }
        }
        Ok(count)
    }

    /// Reads several keys: for each what it shows, in their order.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>, Error> {
        keys.into_iter().map(|key| self.get(key.as_ref())).collect()
    }

    /// What block `seq` of this device's log showed of its key when it was written, as in
    /// [`Entry::seq`], whether it still does or not. `None` if it shows nothing: it deletes its key,
    /// holds what is no entry of a user's, or came after this version.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_by_seq(&self, seq: u64) -> Result<Option<Entry>, Error> {
        let Some(block) = self.tree().get_by_seq(seq)? else { return Ok(None) };
        let Place::User(key) = keyspace::place(&block.key) else { return Ok(None) };
        if self.is_delete(&block)? { Ok(None) } else { self.entry(key, &block).map(Some) }
    }
}

impl Multibee {
    /// The version of the data as it is now: a length of this device's log, which each write and
    /// each merge makes greater. [`checkout`](Self::checkout) reads it at any later time.
    pub fn version(&self) -> u64 {
        self.bee().version()
    }

    /// The first entry of a range as of now; with `reverse`, the last.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn peek(&self, spec: RangeSpec) -> Result<Option<Entry>, Error> {
        self.view()?.peek(spec)
    }

    /// Number of keys in a range as of now. It takes a walk over all of them.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn count(&self, spec: RangeSpec) -> Result<u64, Error> {
        self.view()?.count(spec)
    }

    /// Reads several keys at one version: for each what it shows, in their order.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>, Error> {
        self.view()?.get_many(keys)
    }

    /// Deletes a key if it shows `expected`. Says whether it did.
    ///
    /// That is so on this device: another one may write the key at the same time, as ever.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn del_if(&self, key: impl AsRef<[u8]>, expected: &[u8]) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.expect(&key, Some(expected)).del(&key);
        match batch.commit() {
            Ok(_) => Ok(true),
            Err(Error::NotAsExpected { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
