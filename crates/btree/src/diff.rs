mod side;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cursor::Bound;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::{DIFF_AHEAD_BLOCKS, DIFF_AHEAD_STEPS};
use crate::missing::Missing;
use crate::node::{Kid, Node, Outline};
use crate::range::{RangeOptions, bound};
use crate::store::Store;
use crate::tree::Tree;
use crate::walk::{Stored, Walk};
use side::{Head, Side};

/// A key under which two trees have different entries. Made by [`Tree::diff`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the left tree has under the key.
    pub left: Option<Entry>,
    /// What the right tree has under it.
    pub right: Option<Entry>,
}

impl Change {
    /// The key.
    pub fn key(&self) -> &Bytes {
        let entry = self.left.as_ref().or(self.right.as_ref());
        &entry.expect("a change has an entry on one side at least").key
    }
}

/// The differences between two [`Tree`]s, one after the other, in the order of their keys.
///
/// [`next`](Self::next) suits any log. The iterator suits logs that are all here, and ends after an
/// error.
///
/// Both trees are walked in step. A part that both have, which is to say a node stored at the same
/// place, is passed over without being read, so a few changes in a large tree are found quickly.
/// (Section 6.3 of docs/spec/btree.md.)
#[derive(Clone)]
pub struct Diff {
    tree: Tree,
    right: u64,
    steps: Steps,
    failed: bool,
}

impl Diff {
    pub(crate) fn new(left: Tree, right: u64, options: RangeOptions) -> Self {
        let steps = Steps::new(left.prefix.range(options));
        Self { tree: left, right, steps, failed: false }
    }

    /// The next difference, or `None` at the end.
    ///
    /// # Errors
    ///
    /// After [`Error::Missing`] the diff has not moved: fetch the blocks and call again. The blocks
    /// named are those that the rest of the diff needs, as far as can be told from what is here.
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<Change>> {
        let store = &self.tree.shared.store;
        let versions = [self.tree.version(), self.right];
        match self.tree.on_fork(self.steps.next(store, versions)) {
            Ok(change) => Ok(change.and_then(|Change { left, right }| {
                let shown = |entry: Option<Entry>| self.tree.prefix.shown(entry?);
                let change = Change { left: shown(left), right: shown(right) };
                (change.left.is_some() || change.right.is_some()).then_some(change)
            })),
            Err(Error::Missing(seqs)) if store.guesses() => {
                Err(Error::Missing(self.steps.look_ahead(store, versions, seqs)))
            }
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Diff {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let change = Self::next(self);
        self.failed = change.is_err();
        change.transpose()
    }
}

impl std::fmt::Debug for Diff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diff")
            .field("left", &self.tree.version())
            .field("right", &self.right)
            .finish_non_exhaustive()
    }
}

/// How far a diff is.
#[derive(Clone)]
struct Steps {
    left: Side,
    right: Side,
    from: Option<Bound>,
    end: Option<Bound>,
    /// Whether the roots have been opened.
    opened: bool,
    /// How many more changes to give.
    remaining: u64,
}

/// What to do next, from what comes next on either side: for each of them whether it is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Pass over what both have.
    Pass,
    /// Tell of a key.
    Tell([bool; 2]),
    /// Look into a child.
    Open([bool; 2]),
    End,
}

/// Nodes of the two sides, as far as they were asked for.
type Pair = [Option<Arc<Node>>; 2];

impl Steps {
    fn new(options: RangeOptions) -> Self {
        let RangeOptions { gt, gte, lt, lte, limit, .. } = options;
        Self {
            left: Side::default(),
            right: Side::default(),
            from: bound(gt, gte),
            end: bound(lt, lte),
            opened: false,
            remaining: limit.unwrap_or(u64::MAX),
        }
    }

    /// When a step fails, nothing has moved.
    fn next(&mut self, store: &Store, versions: [u64; 2]) -> Result<Option<Change>> {
        let [left, right] = versions;
        if left == right {
            return Ok(None);
        }
        if !self.opened {
            self.push(load(versions.map(|version| Stored { store, version }.root()), store)?)?;
            self.opened = true;
        }
        while self.remaining > 0 {
            match self.plan() {
                Action::End => break,
                Action::Pass => {
                    self.left.pass()?;
                    self.right.pass()?;
                }
                Action::Tell(sides) => {
                    let change = self.tell(store, sides)?;
                    self.pass(sides)?;
                    self.remaining -= 1;
                    return Ok(Some(change));
                }
                Action::Open(sides) => {
                    let pair = load(open(store, self.kids(sides)), store)?;
                    self.pass(sides)?;
                    self.push(pair)?;
                }
            }
        }
        Ok(None)
    }

    fn plan(&mut self) -> Action {
        for side in [&mut self.left, &mut self.right] {
            side.pass_outside(self.from.as_ref(), self.end.as_ref());
        }
        match (self.left.head(), self.right.head()) {
            (None, None) => Action::End,
            (Some(Head::Key { .. }), None) => Action::Tell([true, false]),
            (None, Some(Head::Key { .. })) => Action::Tell([false, true]),
            (Some(Head::Kid { .. }), None) => Action::Open([true, false]),
            (None, Some(Head::Kid { .. })) => Action::Open([false, true]),
            (Some(left), Some(right)) => compare(&left, &right),
        }
    }

    fn tell(&self, store: &Store, [left, right]: [bool; 2]) -> Result<Change> {
        let entry = |side: &Side, is_told: bool| match side.head() {
            Some(Head::Key { node, number, .. }) if is_told => store.entry(node, number).map(Some),
            _ => Ok(None),
        };
        match (entry(&self.left, left), entry(&self.right, right)) {
            (Ok(left), Ok(right)) => Ok(Change { left, right }),
            (left, right) => Err(joined(left.err(), right.err())),
        }
    }

    fn kids(&self, [left, right]: [bool; 2]) -> [Option<Kid>; 2] {
        let kid = |side: &Side, is_wanted: bool| match side.head() {
            Some(Head::Kid { kid, .. }) if is_wanted => Some(kid),
            _ => None,
        };
        [kid(&self.left, left), kid(&self.right, right)]
    }

    fn pass(&mut self, [left, right]: [bool; 2]) -> Result<()> {
        if left {
            self.left.pass()?;
        }
        if right {
            self.right.pass()?;
        }
        Ok(())
    }

    fn push(&mut self, [left, right]: Pair) -> Result<()> {
        left.map_or(Ok(()), |node| self.left.push(node))?;
        right.map_or(Ok(()), |node| self.right.push(node))
    }

    /// Adds to the missing blocks that stop the next step those that the steps after it will lack.
    ///
    /// Walks on over what is here, around what is not: what the other side has in place of a child
    /// that is not here may be the same, so it is not asked for.
    fn look_ahead(&self, store: &Store, versions: [u64; 2], first: Vec<u64>) -> Vec<u64> {
        let mut missing = Missing::default();
        missing.extend(first);
        let mut ahead = self.clone();
        for _ in 0..DIFF_AHEAD_STEPS {
            match ahead.next(store, versions) {
                Ok(Some(_)) => continue,
                Err(Error::Missing(seqs)) if ahead.opened => missing.extend(seqs),
                _ => break,
            }
            if missing.len() >= DIFF_AHEAD_BLOCKS || ahead.pass_hole().is_err() {
                break;
            }
        }
        missing.into_seqs()
    }

    /// Passes over children that cannot be opened, and over what the other side has in their place.
    fn pass_hole(&mut self) -> Result<()> {
        let (Action::Open([left, right]) | Action::Tell([left, right])) = self.plan() else {
            return Ok(());
        };
        let upper = |side: &Side| side.head().and_then(|head| head.upper().map(<[u8]>::to_vec));
        let uppers = (upper(&self.left), upper(&self.right));
        self.pass([left, right])?;
        match (left, right) {
            (true, false) => self.right.pass_below(uppers.0.as_deref()),
            (false, true) => self.left.pass_below(uppers.1.as_deref()),
            _ => Ok(()),
        }
    }
}

/// What to do about two things of which either may come first.
fn compare(left: &Head<'_>, right: &Head<'_>) -> Action {
    let (first, second) = (Action::Open([true, false]), Action::Open([false, true]));
    match (left, right) {
        (Head::Key { seq: a, key: left, .. }, Head::Key { seq: b, key: right, .. }) => {
            match left.cmp(right) {
                _ if a == b => Action::Pass,
                Ordering::Less => Action::Tell([true, false]),
                Ordering::Equal => Action::Tell([true, true]),
                Ordering::Greater => Action::Tell([false, true]),
            }
        }
        (Head::Key { key, .. }, Head::Kid { lower, .. }) => {
            if lower.is_some_and(|lower| *key <= lower) {
                Action::Tell([true, false])
            } else {
                second
            }
        }
        (Head::Kid { lower, .. }, Head::Key { key, .. }) => {
            if lower.is_some_and(|lower| *key <= lower) {
                Action::Tell([false, true])
            } else {
                first
            }
        }
        (Head::Kid { kid: a, .. }, Head::Kid { kid: b, .. }) if a == b => Action::Pass,
        (Head::Kid { lower: a, upper: b, .. }, Head::Kid { lower: c, upper: d, .. }) => {
            // One that ends before the other begins comes first. Of two that overlap, the wider one
            // may have the narrower one further below.
            if is_before(*b, *c) {
                return first;
            }
            if is_before(*d, *a) {
                return second;
            }
            let by_upper = match (b, d) {
                (None, None) => Ordering::Equal,
                (None, _) => Ordering::Greater,
                (_, None) => Ordering::Less,
                (Some(b), Some(d)) => b.cmp(d),
            };
            // Without a lower bound it reaches furthest down; `None` is less than any other.
            match by_upper.then_with(|| c.cmp(a)) {
                Ordering::Greater => first,
                Ordering::Less => second,
                Ordering::Equal => Action::Open([true, true]),
            }
        }
    }
}

fn is_before(upper: Option<&[u8]>, lower: Option<&[u8]>) -> bool {
    upper.zip(lower).is_some_and(|(upper, lower)| upper <= lower)
}

/// Opens a child of one side, or one of each. Of two only what differs: what they have in common at
/// their beginnings and ends would be passed over, and its keys need not be read.
fn open(store: &Store, kids: [Option<Kid>; 2]) -> [Result<Option<Arc<Node>>>; 2] {
    let [Some(left), Some(right)] = kids else {
        return kids.map(|kid| kid.map(|kid| store.kid(kid)).transpose());
    };
    if let (Some(left), Some(right)) = (store.cached(left), store.cached(right)) {
        return [Ok(Some(left)), Ok(Some(right))];
    }
    match (store.outline(left), store.outline(right)) {
        (Ok(a), Ok(b)) => {
            let (keys_of_a, keys_of_b) = differing(&a, &b);
            let part = |kid, outline, keys| Ok(Some(Arc::new(store.part(kid, outline, keys)?)));
            [part(left, &a, keys_of_a), part(right, &b, keys_of_b)]
        }
        (a, b) => [a.map(|_| None), b.map(|_| None)],
    }
}

/// The keys of two nodes that are left once those are gone that both begin with and both end with,
/// each together with the child before or behind it.
fn differing(a: &Outline, b: &Outline) -> (Range<usize>, Range<usize>) {
    let (a_len, b_len) = (a.key_seqs.len(), b.key_seqs.len());
    let most = a_len.min(b_len);
    let is_same = |i: usize, j: usize, kid_behind: usize| {
        a.key_seqs.get(i) == b.key_seqs.get(j)
            && a.kids.get(i + kid_behind) == b.kids.get(j + kid_behind)
    };
    let start = (0..most).take_while(|i| is_same(*i, *i, 0)).count();
    let end = (1..=most - start).take_while(|i| is_same(a_len - i, b_len - i, 1)).count();
    (start..a_len - end, start..b_len - end)
}

/// The nodes of both sides, all their keys known. If not, what is missing names those keys, and the
/// children that only one of the two nodes has: they will be looked into.
fn load(loaded: [Result<Option<Arc<Node>>>; 2], store: &Store) -> Result<Pair> {
    let pair = match loaded {
        [Ok(left), Ok(right)] => [left, right],
        [left, right] => return Err(joined(left.err(), right.err())),
    };
    let mut missing = Missing::default();
    for node in pair.iter().flatten() {
        missing.extend(node.unknown_seqs());
    }
    if missing.len() == 0 {
        return Ok(pair);
    }
    if let ([Some(left), Some(right)], true) = (&pair, store.guesses()) {
        for (node, other) in [(left, right), (right, left)] {
            let differing = node.kids().iter().filter(|kid| !other.kids().contains(kid));
            let seqs = differing.map(|kid| kid.seq).filter(|seq| !store.log().has(*seq));
            missing.extend(seqs);
        }
    }
    Err(Error::Missing(missing.into_seqs()))
}

/// The error of either side; what is missing on both together.
fn joined(left: Option<Error>, right: Option<Error>) -> Error {
    match (left, right) {
        (Some(Error::Missing(seqs)), Some(Error::Missing(more))) => {
            let mut missing = Missing::default();
            missing.extend(seqs.into_iter().chain(more));
            Error::Missing(missing.into_seqs())
        }
        (Some(Error::Missing(_)), Some(error)) | (Some(error), _) | (None, Some(error)) => error,
        (None, None) => Error::Missing(Vec::new()),
    }
}
