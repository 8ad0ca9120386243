mod opened;
mod side;

use std::cmp::Ordering;

use bytes::Bytes;

use crate::cursor::Bound;
use crate::entry::Entry;
use crate::error::{BlockFault, Error, Result};
use crate::limits::{DEPTH_MAX, DIFF_AHEAD_BLOCKS, DIFF_AHEAD_STEPS};
use crate::missing::Missing;
use crate::node::Kid;
use crate::range::{RangeOptions, bound};
use crate::store::{Store, bad};
use crate::tree::Tree;
use crate::walk::{Stored, Walk};
use opened::{Opened, Pair, joined, load};
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

impl Diff {
    /// The part of the left tree that was passed, from 0 to 1, about: a child counts as much as any
    /// other of its node. `None` where parts of the two trees are being compared, and it can't be
    /// told how large they are.
    pub fn fraction(&self) -> Option<f64> {
        match &self.steps.scopes[..] {
            [] => Some(if self.steps.opened { 1.0 } else { 0.0 }),
            [Scope { what: Parts::Sides([left, _]), .. }] => Some(left.fraction()),
            _ => None,
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
    /// What is left to compare, the next on top.
    scopes: Vec<Scope>,
    /// The last key that was passed on either side. A tree that leads backwards could keep a reader
    /// busy for ever.
    behind: [Option<Bytes>; 2],
    from: Option<Bound>,
    end: Option<Bound>,
    /// Whether the roots have been opened.
    opened: bool,
    /// Pairs of nodes that have been opened.
    pairs: u64,
    /// How many more changes to give.
    remaining: u64,
}

/// Parts of the two trees that cover the same range of keys.
#[derive(Clone)]
struct Scope {
    /// Nodes above it.
    depth: usize,
    what: Parts,
}

#[derive(Clone)]
enum Parts {
    /// A node of each, not looked into yet.
    Kids([Kid; 2]),
    /// What is left of each.
    Sides([Side; 2]),
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

impl Steps {
    fn new(options: RangeOptions) -> Self {
        let RangeOptions { gt, gte, lt, lte, limit, .. } = options;
        Self {
            scopes: Vec::new(),
            behind: [None, None],
            from: bound(gt, gte),
            end: bound(lt, lte),
            opened: false,
            pairs: 0,
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
            let roots = versions.map(|version| Stored { store, version }.root());
            self.enter(load(roots, store)?, 0)?;
            self.opened = true;
        }
        // No sound tree has more nodes than entries.
        let pairs_max = left.max(right);
        while self.remaining > 0 {
            let Some(scope) = self.scopes.last() else {
                break;
            };
            let depth = scope.depth;
            if let Parts::Kids(kids) = scope.what {
                let opened = self.open(store, kids, pairs_max)?;
                self.scopes.pop();
                self.push(opened, depth)?;
                continue;
            }
            match self.plan() {
                Action::End => {
                    self.scopes.pop();
                }
                Action::Pass => self.pass([true, true])?,
                Action::Tell(sides) => {
                    let change = self.tell(store, sides)?;
                    self.pass(sides)?;
                    self.remaining -= 1;
                    return Ok(Some(change));
                }
                Action::Open(sides) => match self.kids(sides) {
                    [Some(left), Some(right)] => {
                        let depth = depth + self.frames();
                        let opened = self.open(store, [left, right], pairs_max)?;
                        self.pass(sides)?;
                        self.push(opened, depth)?;
                    }
                    kids => {
                        let kid = |kid: Option<Kid>| kid.map(|kid| store.kid(kid)).transpose();
                        let pair = load(kids.map(kid), store)?;
                        self.pass(sides)?;
                        self.look_into(pair, depth)?;
                    }
                },
            }
        }
        Ok(None)
    }

    /// What the topmost scope is, once it was looked into.
    fn sides(&self) -> Option<&[Side; 2]> {
        match &self.scopes.last()?.what {
            Parts::Sides(sides) => Some(sides),
            Parts::Kids(_) => None,
        }
    }

    fn sides_mut(&mut self) -> Option<&mut [Side; 2]> {
        match &mut self.scopes.last_mut()?.what {
            Parts::Sides(sides) => Some(sides),
            Parts::Kids(_) => None,
        }
    }

    /// Nodes that both sides of the topmost scope are in, at most.
    fn frames(&self) -> usize {
        self.sides().map_or(0, |[left, right]| left.depth().max(right.depth()))
    }

    fn plan(&mut self) -> Action {
        let Some(Scope { what: Parts::Sides(sides), .. }) = self.scopes.last_mut() else {
            return Action::Open([true, true]);
        };
        for side in sides.iter_mut() {
            side.pass_outside(self.from.as_ref(), self.end.as_ref());
        }
        let [left, right] = sides;
        match (left.head(), right.head()) {
            (None, None) => Action::End,
            (Some(Head::Key { .. }), None) => Action::Tell([true, false]),
            (None, Some(Head::Key { .. })) => Action::Tell([false, true]),
            (Some(Head::Kid { .. }), None) => Action::Open([true, false]),
            (None, Some(Head::Kid { .. })) => Action::Open([false, true]),
            (Some(left), Some(right)) => compare(&left, &right),
        }
    }

    fn tell(&self, store: &Store, told: [bool; 2]) -> Result<Change> {
        let Some([left, right]) = self.sides() else {
            return Ok(Change { left: None, right: None });
        };
        let entry = |side: &Side, is_told: bool| match side.head() {
            Some(Head::Key { node, number, .. }) if is_told => store.entry(node, number).map(Some),
            _ => Ok(None),
        };
        let [tells_left, tells_right] = told;
        match (entry(left, tells_left), entry(right, tells_right)) {
            (Ok(left), Ok(right)) => Ok(Change { left, right }),
            (left, right) => Err(joined(left.err(), right.err())),
        }
    }

    fn kids(&self, [left_wanted, right_wanted]: [bool; 2]) -> [Option<Kid>; 2] {
        let kid = |side: &Side, is_wanted: bool| match side.head() {
            Some(Head::Kid { kid, .. }) if is_wanted => Some(kid),
            _ => None,
        };
        match self.sides() {
            Some([left, right]) => [kid(left, left_wanted), kid(right, right_wanted)],
            None => [None, None],
        }
    }

    fn pass(&mut self, passed: [bool; 2]) -> Result<()> {
        let Some(Scope { what: Parts::Sides(sides), .. }) = self.scopes.last_mut() else {
            return Ok(());
        };
        for ((side, behind), is_passed) in sides.iter_mut().zip(&mut self.behind).zip(passed) {
            if is_passed {
                side.pass(behind)?;
            }
        }
        Ok(())
    }

    /// Looks into a child of either side, within the topmost scope.
    fn look_into(&mut self, pair: Pair, depth: usize) -> Result<()> {
        for (side, node) in self.sides_mut().into_iter().flatten().zip(pair) {
            if let Some(node) = node {
                side.push(node, depth)?;
            }
        }
        Ok(())
    }

    /// Goes on with two parts that cover the same range of keys.
    fn enter(&mut self, pair: Pair, depth: usize) -> Result<()> {
        let mut sides = [Side::default(), Side::default()];
        for (side, node) in sides.iter_mut().zip(pair) {
            if let Some(node) = node {
                side.push(node, depth)?;
            }
        }
        self.scopes.push(Scope { depth, what: Parts::Sides(sides) });
        Ok(())
    }

    fn push(&mut self, opened: Opened, depth: usize) -> Result<()> {
        match opened {
            Opened::Nodes(pair) => self.enter(pair, depth)?,
            Opened::Kids(pairs) if depth >= DEPTH_MAX && !pairs.is_empty() => {
                return Err(Error::TooDeep);
            }
            Opened::Kids(pairs) => {
                let scope = |kids| Scope { depth: depth + 1, what: Parts::Kids(kids) };
                self.scopes.extend(pairs.iter().rev().map(|kids| scope(*kids)));
            }
        }
        Ok(())
    }

    /// Opens a node of each side, which cover the same range of keys.
    fn open(&mut self, store: &Store, kids: [Kid; 2], pairs_max: u64) -> Result<Opened> {
        let [left, right] = kids;
        if self.pairs > pairs_max {
            return Err(bad(left.seq.max(right.seq), BlockFault::Unordered));
        }
        let is_bounded = self.from.is_some() || self.end.is_some();
        let opened = Opened::read(store, kids, is_bounded)?;
        self.pairs += 1;
        Ok(opened)
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
        if self.sides().is_none() {
            self.scopes.pop();
            return Ok(());
        }
        let (Action::Open(holes) | Action::Tell(holes)) = self.plan() else {
            return Ok(());
        };
        let upper = |side: &Side| side.head().and_then(|head| head.upper().map(<[u8]>::to_vec));
        let uppers = self.sides().map(|[left, right]| [upper(left), upper(right)]);
        self.pass(holes)?;
        let [behind_left, behind_right] = &mut self.behind;
        let (Some(Scope { what: Parts::Sides([left, right]), .. }), Some(uppers)) =
            (self.scopes.last_mut(), &uppers)
        else {
            return Ok(());
        };
        let [upper_left, upper_right] = uppers;
        match holes {
            [true, false] => right.pass_below(upper_left.as_deref(), behind_right),
            [false, true] => left.pass_below(upper_right.as_deref(), behind_left),
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
