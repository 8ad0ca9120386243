use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::entry::Entry;
use crate::error::{BlockFault, Result};
use crate::range::RangeOptions;
use crate::store::bad;

/// What the stored keys of a sub-database begin with, and its own keys lack. Empty for a whole tree.
///
/// (Section 7 of docs/spec/btree.md.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefix(Bytes);

impl Prefix {
    /// That of a sub-database of this one.
    pub(crate) fn sub(&self, name: &[u8], separator: &[u8]) -> Self {
        Self([&self.0, name, separator].concat().into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stored key of one of the sub-database's own.
    pub(crate) fn stored<'a>(&self, key: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() { Cow::Borrowed(key) } else { Cow::Owned([&self.0, key].concat()) }
    }

    fn stored_bytes(&self, key: Bytes) -> Bytes {
        if self.0.is_empty() {
            return key;
        }
        let mut stored = BytesMut::with_capacity(self.0.len() + key.len());
        stored.put_slice(&self.0);
        stored.put_slice(&key);
        stored.freeze()
    }

    /// The entry as the sub-database shows it. `None` if it is not one of its own.
    pub(crate) fn shown(&self, mut entry: Entry) -> Option<Entry> {
        if !self.0.is_empty() {
            if !entry.key.starts_with(&self.0) {
                return None;
            }
            entry.key = entry.key.slice(self.0.len()..);
        }
        Some(entry)
    }

    /// The entry under a stored key of the sub-database, as that shows it.
    ///
    /// # Errors
    ///
    /// [`Error::BadBlock`](crate::Error::BadBlock) if the block that should have the key has another one.
    pub(crate) fn own(&self, entry: Entry) -> Result<Entry> {
        let seq = entry.seq;
        self.shown(entry).ok_or_else(|| bad(seq, BlockFault::Unordered))
    }

    /// The stored keys that a range of the sub-database's own keys stands for. Without a bound it
    /// ends where the prefix does.
    pub(crate) fn range(&self, options: RangeOptions) -> RangeOptions {
        if self.0.is_empty() {
            return options;
        }
        let RangeOptions { gt, gte, lt, lte, reverse, limit } = options;
        let stored = |key: Option<Bytes>| key.map(|key| self.stored_bytes(key));
        let (gt, lt, lte) = (stored(gt), stored(lt), stored(lte));
        let gte = Some(stored(gte).unwrap_or_else(|| self.0.clone()));
        let end = if lte.is_none() { self.end() } else { None };
        RangeOptions { gt, gte, lt: lt.or(end), lte, reverse, limit }
    }

    /// The first key behind all that begin with the prefix. `None` if there is none.
    fn end(&self) -> Option<Bytes> {
        let kept = self.0.iter().rposition(|byte| *byte != u8::MAX)?;
        let mut end = self.0.get(..=kept)?.to_vec();
        *end.last_mut()? += 1;
        Some(end.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A range without bounds has all keys with the prefix and no others, whatever bytes it
        /// consists of.
        #[test]
        fn an_open_range_is_the_prefix(
            name in prop::collection::vec(prop::sample::select(vec![0, 1, 254, 255_u8]), 1..4),
            key in prop::collection::vec(prop::sample::select(vec![0, 1, 254, 255_u8]), 0..6),
        ) {
            let prefix = Prefix::default().sub(&name, b"");
            let RangeOptions { gt, gte, lt, lte, .. } = prefix.range(RangeOptions::default());
            prop_assert!(gt.is_none() && lte.is_none());
            let is_in = gte.is_some_and(|first| key >= first) && lt.is_none_or(|end| key < end);
            prop_assert_eq!(is_in, key.starts_with(&name));
        }
    }
}
