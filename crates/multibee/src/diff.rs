//! Where two versions of the data differ.

use bytes::Bytes;
use multibee_btree::{Change as BlockChange, RangeOptions};

use crate::Error;
use crate::entry::Entry;
use crate::keyspace::{self, Place};
use crate::record::Held;
use crate::sides::Sides;
use crate::view::{RangeSpec, View, entry, halves};

/// A key under which two views show something else. Made by [`View::diff`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// What the left view shows under it.
    pub left: Option<Entry>,
    /// What the right view shows under it.
    pub right: Option<Entry>,
}

/// The keys under which two views show something else, in their order, found as they are asked for.
/// Made by [`View::diff`].
#[derive(Debug)]
pub struct Diff {
    differences: Differences,
    /// Bytes at the front of each key that are not shown.
    prefix_len: usize,
}

impl View {
    /// The keys in a range under which this view, the left one, and `right` show something else.
    ///
    /// Parts of the data that both share are passed over unread, so the work grows with what
    /// differs. Either view may be the older one. The order is always ascending: `reverse` is not
    /// heeded.
    ///
    /// A key counts as changed if it shows another value, a value of another type or of another
    /// write, or if it has other concurrent versions: it has come into conflict, for example. That
    /// its block was written again by bookkeeping does not count.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options, RangeSpec};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("bread", "rye")?;
    /// db.put("milk", "two")?;
    /// let before = db.view()?;
    /// db.del("bread")?;
    /// db.put("tea", "green")?;
    ///
    /// let changes: Vec<_> =
    ///     db.view()?.diff(&before, RangeSpec::default())?.collect::<Result<_, _>>()?;
    /// assert_eq!(changes.len(), 2);
    /// assert_eq!(changes[0].key, "bread");
    /// assert!(changes[0].left.is_none() && changes[0].right.is_some());
    /// assert_eq!(changes[1].key, "tea");
    /// assert!(changes[1].left.is_some() && changes[1].right.is_none());
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OtherDatabase`] if `right` is of another database, or of this one as it was opened
    /// another time. The iterator's items fail if this machine's disk, or its content, is at fault.
    pub fn diff(&self, right: &Self, spec: RangeSpec) -> Result<Diff, Error> {
        Ok(Diff { differences: Differences::new(self, right, &spec)?, prefix_len: 0 })
    }
}

impl Diff {
    /// The same with keys that lack their first bytes.
    pub(crate) fn without_prefix(self, prefix_len: usize) -> Self {
        Self { prefix_len, ..self }
    }
}

impl Iterator for Diff {
    type Item = Result<Change, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let difference = self.differences.next()?;
        Some(difference.map(|Difference { key, left, right }| {
            let key = keyspace::without(&key, self.prefix_len);
            let shown = |held: Option<Held>| Some(entry(key.clone(), held?.showing?));
            Change { left: shown(left), right: shown(right), key: key.clone() }
        }))
    }
}

/// A key under which two views show something else, and all that either holds of it. A side that
/// shows nothing is left out.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) key: Bytes,
    pub(crate) left: Option<Held>,
    pub(crate) right: Option<Held>,
}

/// One part of what is compared.
#[derive(Clone, Debug)]
enum Part {
    /// Two versions of one log: what both share is passed over.
    Shared(Box<multibee_btree::Diff>),
    /// A move to a fresh log lies between the two.
    Apart(Box<Sides>),
}

impl Part {
    fn next(&mut self) -> Result<Option<BlockChange>, Error> {
        match self {
            Self::Shared(diff) => Ok(multibee_btree::Diff::next(diff)?),
            Self::Apart(sides) => sides.next(),
        }
    }
}

/// The keys under which two views show something else.
#[derive(Clone, Debug)]
pub(crate) struct Differences {
    left: View,
    right: View,
    /// What is left to compare, the next part last.
    parts: Vec<Part>,
    remaining: u64,
}

impl Differences {
    pub(crate) fn new(left: &View, right: &View, spec: &RangeSpec) -> Result<Self, Error> {
        let part = |half: RangeOptions| match left.tree().diff(right.tree(), half.clone()) {
            Err(multibee_btree::Error::OtherTree) if left.is_of_same_database(right) => {
                let [left, right] = [left, right].map(|view| view.tree().range(half.clone()));
                Ok(Part::Apart(Box::new(Sides::new(left, right))))
            }
            Err(multibee_btree::Error::OtherTree) => Err(Error::OtherDatabase),
            part => Ok(Part::Shared(Box::new(part?))),
        };
        let [below, above] = halves(spec);
        let parts = vec![part(above)?, part(below)?];
        let remaining = spec.limit.unwrap_or(u64::MAX);
        Ok(Self { left: left.clone(), right: right.clone(), parts, remaining })
    }

    /// Ends it: something went wrong.
    pub(crate) const fn end(&mut self) {
        self.remaining = 0;
    }

    fn advance(&mut self) -> Result<Option<Difference>, Error> {
        while let Some(part) = self.parts.last_mut().filter(|_| self.remaining > 0) {
            let Some(change) = part.next()? else {
                self.parts.pop();
                continue;
            };
            let Place::User(key) = keyspace::place(change.key()) else { continue };
            let left = change.left.map(|block| self.left.live(&block)).transpose()?;
            let right = change.right.map(|block| self.right.live(&block)).transpose()?;
            if left.as_ref().zip(right.as_ref()).is_some_and(|(left, right)| left.shows_as(right)) {
                continue;
            }
            self.remaining -= 1;
            return Ok(Some(Difference { key, left, right }));
        }
        Ok(None)
    }
}

impl Iterator for Differences {
    type Item = Result<Difference, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.end();
        }
        next.transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use multibee_btree::{Bee, BeeOptions};
    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    use multibee_merge::DeviceId;

    use super::*;
    use crate::format::{Applied, Dot, Meta};

    /// A block that is written again, to say that more or less of what its key has seen is to be
    /// remembered, is no change. The same value of another write is one.
    #[test]
    fn a_rewritten_block_is_no_change() {
        let keys = KeyPair::from_seed([1; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        let mut views = Vec::new();
        let seen = Applied { device: 7, length: 9, tag: None };
        for (seq, seen) in [(4, vec![seen]), (4, vec![]), (5, vec![])] {
            let dot = Some(Dot { device: 9, seq });
            let extra = Meta { time: Some(1), dot, seen, ..Meta::default() }.into_extra();
            let mut batch = bee.batch().unwrap();
            batch.put(b"k", Some("v"), extra).unwrap();
            batch.flush().unwrap();
            let tree = bee.snapshot().unwrap();
            views.push(View::new(tree, DeviceId::from_u64(1), Arc::default()));
        }
        let count = |one: usize, other: usize| {
            views[one].diff(&views[other], RangeSpec::default()).unwrap().count()
        };
        assert_eq!((count(0, 1), count(1, 2), count(2, 0)), (0, 1, 1));
    }
}
