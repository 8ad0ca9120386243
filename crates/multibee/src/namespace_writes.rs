//! Writing under a prefix: typed values, conditions, rules, settling.

use bytes::Bytes;

use crate::conflicts::Choice;
use crate::entry::Entry;
use crate::namespace::without;
use crate::rules::Rule;
use crate::{Error, Namespace};

impl Namespace {
    /// Puts a value of a mergeable type, as [`Multibee::put_typed`](crate::Multibee::put_typed).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn put_typed(
        &self,
        key: impl AsRef<[u8]>,
        kind: u32,
        value: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.database().put_typed(self.key(key), kind, value)
    }

    /// Puts a JSON object that merges field by field, as
    /// [`Multibee::put_map`](crate::Multibee::put_map).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn put_map(&self, key: impl AsRef<[u8]>, object: impl Into<Bytes>) -> Result<(), Error> {
        self.database().put_map(self.key(key), object)
    }

    /// Merges a JSON object into a map, as [`Multibee::patch`](crate::Multibee::patch).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn patch(&self, key: impl AsRef<[u8]>, fields: impl Into<Bytes>) -> Result<Bytes, Error> {
        self.database().patch(self.key(key), fields)
    }

    /// Adds to a counter, as [`Multibee::increment`](crate::Multibee::increment).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i128, Error> {
        self.database().increment(self.key(key), by)
    }

    /// Adds an element to a set, as [`Multibee::set_insert`](crate::Multibee::set_insert).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn set_insert(
        &self,
        key: impl AsRef<[u8]>,
        element: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        self.database().set_insert(self.key(key), element)
    }

    /// Removes an element from a set, as [`Multibee::set_remove`](crate::Multibee::set_remove).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn set_remove(
        &self,
        key: impl AsRef<[u8]>,
        element: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        self.database().set_remove(self.key(key), element)
    }

    /// Puts a value if the key is as expected, as [`Multibee::put_if`](crate::Multibee::put_if).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        self.database().put_if(self.key(key), expected, value)
    }

    /// Deletes a key if it is as expected, as [`Multibee::del_if`](crate::Multibee::del_if).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn del_if(&self, key: impl AsRef<[u8]>, expected: &[u8]) -> Result<bool, Error> {
        self.database().del_if(self.key(key), expected)
    }

    /// Changes a key by what is there, as [`Multibee::update`](crate::Multibee::update). The entry
    /// has the key without the prefix.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn update(
        &self,
        key: impl AsRef<[u8]>,
        mut change: impl FnMut(Option<Entry>) -> Option<Bytes>,
    ) -> Result<Option<Bytes>, Error> {
        let prefix_len = self.prefix().len();
        let change = |entry: Option<Entry>| change(entry.map(|entry| without(entry, prefix_len)));
        self.database().update(self.key(key), change)
    }

    /// Settles a conflict, as [`Multibee::resolve`](crate::Multibee::resolve).
    ///
    /// # Errors
    ///
    /// As that.
    pub fn resolve(&self, key: impl AsRef<[u8]>, choice: Choice) -> Result<(), Error> {
        self.database().resolve(self.key(key), choice)
    }

    /// Sets how all keys here are merged, on every device, as
    /// [`Multibee::set_rule`](crate::Multibee::set_rule) with this prefix.
    ///
    /// # Errors
    ///
    /// As that.
    pub fn set_rule(&self, rule: Rule) -> Result<(), Error> {
        self.database().set_rule(self.prefix(), rule)
    }

    /// Takes the rule for this prefix away. Says whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Multibee::clear_rule`](crate::Multibee::clear_rule).
    pub fn clear_rule(&self) -> Result<bool, Error> {
        self.database().clear_rule(self.prefix())
    }
}
