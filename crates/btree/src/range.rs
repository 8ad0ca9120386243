use std::sync::Arc;

use bytes::Bytes;

use crate::ahead::Ahead;
use crate::cursor::{Bound, Cursor, Step};
use crate::entry::Entry;
use crate::error::{BlockFault, Error, Result};
use crate::extension::{ExtensionMessage, RangeHint, checkpoint};
use crate::limits::HINT_ENTRIES;
use crate::node::Node;
use crate::store::bad;
use crate::tree::Tree;
use crate::walk::Walk;

/// Which entries a range gives, and in which order.
///
/// No bounds give the whole tree. A bound of zero length is a bound: it is the smallest key. When
/// both bounds of an end are given, the exclusive one counts and the other is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeOptions {
    /// Keys after this one.
    pub gt: Option<Bytes>,
    /// This key and those after it.
    pub gte: Option<Bytes>,
    /// Keys before this one.
    pub lt: Option<Bytes>,
    /// This key and those before it.
    pub lte: Option<Bytes>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Most entries to give.
    pub limit: Option<u64>,
}

/// The entries of a [`Tree`] in a range of keys, one after the other.
///
/// [`next`](Self::next) suits any log. The iterator suits logs that are all here, and ends after an
/// error.
#[derive(Clone)]
pub struct Range {
    tree: Tree,
    scan: Scan<Arc<Node>>,
    /// The iterator has reported an error.
    failed: bool,
    /// How many entries were left to give when peers were last asked.
    hinted: Option<u64>,
}

impl Range {
    pub(crate) fn new(tree: Tree, options: RangeOptions) -> Self {
        let scan = Scan::new(tree.prefix.range(options));
        Self { tree, scan, failed: false, hinted: None }
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    ///
    /// After [`Error::Missing`] the range has not moved: fetch the blocks and call again. The blocks
    /// named are those that the rest of the range needs, as far as can be told from what is here.
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let walk = self.tree.walk();
        match self.tree.on_fork(self.scan.next(&walk)) {
            Ok(entry) => Ok(entry.and_then(|entry| self.tree.prefix.shown(entry))),
            Err(Error::Missing(seqs)) if walk.store.guesses() => {
                let Scan { cursor, end, left, .. } = &self.scan;
                Err(Error::Missing(Ahead::new(&walk, cursor, end.as_ref(), *left).missing(&seqs)))
            }
            Err(error) => Err(error),
        }
    }

    /// What to send to peers with [`EXTENSION_NAME`](crate::EXTENSION_NAME) when
    /// [`next`](Self::next) has found blocks missing. They may answer with the numbers of the next
    /// 2000 blocks or so that the range needs.
    ///
    /// `None` as long as there is no point in asking, or asking again.
    pub fn hint(&mut self) -> Option<ExtensionMessage> {
        let left = self.scan.left;
        if left == 0 || self.hinted.is_some_and(|then| then - left < HINT_ENTRIES) {
            return None;
        }
        let walk = self.tree.walk();
        let checkpoint = checkpoint::of(&self.scan.cursor, walk.root_spot()?)?;
        self.hinted = Some(left);
        let range = self.scan.options();
        Some(RangeHint { version: walk.version, range, checkpoint }.into())
    }
}

impl Iterator for Range {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = Self::next(self);
        self.failed = entry.is_err();
        entry.transpose()
    }
}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("tree", &self.tree).finish_non_exhaustive()
    }
}

/// A range's progress through whatever tree it is shown at each step.
#[derive(Clone)]
pub(crate) struct Scan<N> {
    cursor: Cursor<N>,
    end: Option<Bound>,
    /// What the next entry must lie behind: the start of the range, then the last entry.
    behind: Option<Bound>,
    reverse: bool,
    /// How many more entries to give.
    left: u64,
}

impl<N: Clone> Scan<N> {
    pub(crate) fn new(options: RangeOptions) -> Self {
        let RangeOptions { gt, gte, lt, lte, reverse, limit } = options;
        let lower = bound(gt, gte);
        let upper = bound(lt, lte);
        let (from, end) = if reverse { (upper, lower) } else { (lower, upper) };
        Self {
            cursor: Cursor::new(from.clone(), reverse),
            end,
            behind: from,
            reverse,
            left: limit.unwrap_or(u64::MAX),
        }
    }

    /// Goes on from other nodes than those that it came to itself.
    pub(crate) fn resume(&mut self, places: Vec<(N, Option<Step>)>) {
        self.cursor.resume(places);
    }

    /// The range from its start, with what is left of its limit.
    fn options(&self) -> RangeOptions {
        let (from, end) = (self.cursor.from().cloned(), self.end.clone());
        let (lower, upper) = if self.reverse { (end, from) } else { (from, end) };
        let split = |bound: Option<Bound>| match bound {
            Some(Bound { key, inclusive: true }) => (None, Some(key)),
            Some(Bound { key, inclusive: false }) => (Some(key), None),
            None => (None, None),
        };
        let ((gt, gte), (lt, lte)) = (split(lower), split(upper));
        // A number that the other side cannot count to is no limit.
        let limit = Some(self.left).filter(|left| *left < 1 << 53);
        RangeOptions { gt, gte, lt, lte, reverse: self.reverse, limit }
    }

    pub(crate) fn next(&mut self, tree: &impl Walk<Node = N>) -> Result<Option<Entry>> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(entry) = self.cursor.next(tree)? else {
            return Ok(None);
        };
        // A tree that leads backwards could keep a reader busy for ever.
        if self.behind.as_ref().is_some_and(|behind| !within(behind, &entry.key, !self.reverse)) {
            self.left = 0;
            return Err(bad(entry.seq, BlockFault::Unordered));
        }
        if self.end.as_ref().is_some_and(|end| !within(end, &entry.key, self.reverse)) {
            self.left = 0;
            return Ok(None);
        }
        self.left -= 1;
        self.behind = Some(Bound { key: entry.key.clone(), inclusive: false });
        Ok(Some(entry))
    }
}

/// The exclusive bound, or else the inclusive one.
pub(crate) fn bound(exclusive: Option<Bytes>, inclusive: Option<Bytes>) -> Option<Bound> {
    let exclusive = exclusive.map(|key| Bound { key, inclusive: false });
    exclusive.or(inclusive.map(|key| Bound { key, inclusive: true }))
}

/// Whether `key` is on the inner side of a bound: above it for a lower bound.
pub(crate) fn within(bound: &Bound, key: &[u8], is_lower: bool) -> bool {
    match key.cmp(&bound.key) {
        std::cmp::Ordering::Equal => bound.inclusive,
        std::cmp::Ordering::Greater => is_lower,
        std::cmp::Ordering::Less => !is_lower,
    }
}
