//! Values that merge by themselves, changes that depend on what is there, and rules.

use bytes::Bytes;
use multibee_merge::{Map, PLAIN, WriteError};

use crate::entry::Entry;
use crate::op::Op;
use crate::rules::{Rule, RuleEntry};
use crate::view::View;
use crate::{Error, Multibee, Namespace};

impl Multibee {
    /// Puts a value of a mergeable type, by its number: [`Map::KIND`], [`crate::Set::KIND`],
    /// [`crate::Counter::KIND`], or that of a type of one's own.
    ///
    /// What differs from the value that is shown is what the put changes; the rest stays open to
    /// what other devices change meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if the type is not known or does not take the value; or as
    /// [`put`](Self::put).
    pub fn put_typed(
        &self,
        key: impl AsRef<[u8]>,
        kind: u32,
        value: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.put_typed(key, kind, value);
        batch.commit().map(|_| ())
    }

    /// Puts a JSON object that merges field by field.
    ///
    /// # Errors
    ///
    /// As [`put_typed`](Self::put_typed).
    pub fn put_map(&self, key: impl AsRef<[u8]>, object: impl Into<Bytes>) -> Result<(), Error> {
        self.put_typed(key, Map::KIND, object)
    }

    /// Merges a JSON object into the map under a key, as RFC 7396 says: fields that are not named
    /// stay, nested objects are merged, `null` removes a field. Returns the whole map.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if something else than a JSON object is there; or as
    /// [`put_typed`](Self::put_typed).
    pub fn patch(&self, key: impl AsRef<[u8]>, fields: impl Into<Bytes>) -> Result<Bytes, Error> {
        let mut batch = self.batch();
        batch.patch(key, fields);
        Ok(batch.write_one()?.value.unwrap_or_default())
    }

    /// Adds to the counter under a key, in one step, and returns what it then shows. Concurrent
    /// additions of several devices all count.
    ///
    /// A key that is absent counts from 0, and one with a plain integer from there.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if something else than an integer is there, or the sum is out of range; or
    /// as [`put_typed`](Self::put_typed).
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i128, Error> {
        let mut batch = self.batch();
        batch.increment(key, by);
        let value = batch.write_one()?.value.unwrap_or_default();
        let sum = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        sum.ok_or_else(|| WriteError::OutOfRange.into())
    }

    /// Adds an element, as JSON text, to the set under a key. Says whether it was not there.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if something else than a JSON list is there; or as
    /// [`put_typed`](Self::put_typed).
    pub fn set_insert(
        &self,
        key: impl AsRef<[u8]>,
        element: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.set_insert(key, element);
        Ok(batch.write_one()?.changed)
    }

    /// Removes an element, as JSON text, from the set under a key. Says whether it was there. What
    /// another device adds concurrently stays.
    ///
    /// # Errors
    ///
    /// As [`set_insert`](Self::set_insert).
    pub fn set_remove(
        &self,
        key: impl AsRef<[u8]>,
        element: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.set_remove(key, element);
        Ok(batch.write_one()?.changed)
    }

    /// Puts a value if the key shows `expected`, or is absent for `None`. Says whether it did:
    /// compare and swap.
    ///
    /// That is so on this device: another one may write the key at the same time, as ever.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.expect(&key, expected).put(&key, value);
        match batch.commit() {
            Ok(_) => Ok(true),
            Err(Error::NotAsExpected { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes a key by what is there: puts what `change` makes of the entry, or deletes the key if
    /// it makes `None` of it. Returns what is there afterwards.
    ///
    /// If the key is written in between, by another thread or a merge, `change` is asked again. A
    /// value of a mergeable type stays of that type.
    ///
    /// # Errors
    ///
    /// As [`put_typed`](Self::put_typed).
    pub fn update(
        &self,
        key: impl AsRef<[u8]>,
        mut change: impl FnMut(Option<Entry>) -> Option<Bytes>,
    ) -> Result<Option<Bytes>, Error> {
        loop {
            let entry = self.get(&key)?;
            let kind = entry.as_ref().map(|entry| entry.kind).filter(|kind| *kind != PLAIN);
            let mut batch = self.batch();
            batch.expect_block(&key, entry.as_ref().map(|entry| entry.seq));
            match change(entry) {
                Some(value) => batch.push(&key, |key| Op::Put { key, kind, value }),
                None => batch.del(&key),
            };
            match batch.write_one() {
                Ok(outcome) => return Ok(outcome.value),
                Err(Error::NotAsExpected { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The keys that begin with `prefix`, as a database of their own.
    pub fn namespace(&self, prefix: impl AsRef<[u8]>) -> Namespace {
        Namespace::new(self.clone(), Bytes::copy_from_slice(prefix.as_ref()))
    }

    /// Sets how keys that begin with `prefix` are merged, on every device. The rule of the longest
    /// prefix counts, as a whole.
    ///
    /// What is shown of keys in conflict is chosen anew, wherever the rule arrives. Values stay of
    /// the type that they were written as.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStrategy`], [`Error::Value`] for an unknown type, or
    /// [`Error::TooManyRules`] blame the caller; or as [`put`](Self::put).
    pub fn set_rule(&self, prefix: impl AsRef<[u8]>, rule: Rule) -> Result<(), Error> {
        let known = self.resolver();
        if known.strategies.get(&rule.strategy).is_none() {
            return Err(Error::UnknownStrategy { name: rule.strategy });
        }
        if rule.kind != PLAIN && known.types.get(rule.kind).is_none() {
            return Err(WriteError::UnknownKind { kind: rule.kind }.into());
        }
        let mut batch = self.batch();
        batch.push(prefix, |prefix| Op::Rule { prefix, rule: Some(rule) });
        batch.commit().map(|_| ())
    }

    /// Takes the rule for a prefix away, on every device. Says whether there was one.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn clear_rule(&self, prefix: impl AsRef<[u8]>) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.push(prefix, |prefix| Op::Rule { prefix, rule: None });
        Ok(batch.write_one()?.changed)
    }

    /// All rules, by their prefixes.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn rules(&self) -> Result<Vec<RuleEntry>, Error> {
        self.view()?.rules()
    }

    /// All values that a key shows, the foremost first: several, if its rule keeps them all.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_all(&self, key: impl AsRef<[u8]>) -> Result<Vec<Entry>, Error> {
        self.view()?.get_all(key.as_ref())
    }
}

impl View {
    /// All rules, by their prefixes.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn rules(&self) -> Result<Vec<RuleEntry>, Error> {
        Ok(self.loaded_rules()?.entries(self.resolver()))
    }
}
