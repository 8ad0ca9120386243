use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cursor::{Bound, Cursor, Step, after};
use crate::error::Error;
use crate::limits::{AHEAD_BLOCKS, AHEAD_NODES, DEPTH_MAX, NODE_KEYS_MIN};
use crate::missing::Missing;
use crate::node::{Kid, Node, Place, Undecided};
use crate::range::within;
use crate::walk::Stored;

/// A look at the rest of a range in a sparse log, to name in one set what reading on will lack.
///
/// Walks in the order of the range, over what is here and around what is not, so that each round of
/// fetching gets a whole level of the tree further. Where keys are not known, neither is which
/// children lie in the range; they are few, and all of them are named.
pub(crate) struct Ahead<'a> {
    walk: &'a Stored<'a>,
    cursor: &'a Cursor<Arc<Node>>,
    end: Option<&'a Bound>,
    /// How many more entries the range gives at most, less those that were walked over.
    left: u64,
    /// How many more nodes to look at.
    nodes_left: usize,
    /// How deep the leaves are, once one was seen. The root is at 0.
    leaf_depth: Option<usize>,
    missing: Missing,
}

/// A subtree's depth below the root, and how many entries it has if all are alike.
#[derive(Clone, Copy)]
struct Share {
    depth: usize,
    entries: u64,
}

impl Share {
    /// The share of each of `count` children.
    fn of_kid(self, count: usize) -> Self {
        Self { depth: self.depth + 1, entries: self.entries / (count as u64).max(1) }
    }
}

impl<'a> Ahead<'a> {
    pub(crate) fn new(
        walk: &'a Stored<'a>,
        cursor: &'a Cursor<Arc<Node>>,
        end: Option<&'a Bound>,
        left: u64,
    ) -> Self {
        let (nodes_left, leaf_depth, missing) = (AHEAD_NODES, None, Missing::default());
        Self { walk, cursor, end, left, nodes_left, leaf_depth, missing }
    }

    /// The blocks that reading on will lack: the ones in `first`, which stop it now, and those that
    /// it will come to, as far as can be told.
    pub(crate) fn missing(mut self, first: &[u64]) -> Vec<u64> {
        self.missing.extend(first.iter().copied());
        // Either way all that could be found is named.
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) = self.rest();
        self.missing.into_seqs()
    }

    fn rest(&mut self) -> ControlFlow<()> {
        let mut share = Share { depth: 0, entries: self.walk.version };
        let Some(frames) = self.cursor.frames() else {
            return match self.walk.root_spot() {
                Some(root) => self.node(root, share, true),
                None => ControlFlow::Continue(()),
            };
        };
        let mut shares = Vec::new();
        for (node, ..) in frames.clone() {
            shares.push(share);
            share = share.of_kid(node.kids().len());
        }
        for ((node, next, seeking), share) in frames.zip(shares).rev() {
            let kid = match next {
                Some(Step::Kid(i)) if seeking => i..i + 1,
                _ => 0..0,
            };
            self.steps(node, next, share, &Start { keys: 0..0, kids: kid })?;
        }
        ControlFlow::Continue(())
    }

    /// Looks at the node at `spot` and what is below it, from the start of the range if `seeking`.
    fn node(&mut self, spot: Kid, share: Share, seeking: bool) -> ControlFlow<()> {
        let node = match self.walk.store.node(spot) {
            Ok(node) => node,
            Err(Error::Missing(seqs)) => {
                for seq in seqs {
                    self.lack(seq)?;
                }
                // The start of the range may lie at the end of this child.
                return self.pass(if seeking { 0 } else { self.entries_in(share) });
            }
            // Reading on will come here too, and say what is wrong.
            Err(_) => return ControlFlow::Break(()),
        };
        self.nodes_left = self.nodes_left.saturating_sub(1);
        if self.nodes_left == 0 || share.depth >= DEPTH_MAX {
            return ControlFlow::Break(());
        }
        if node.is_leaf() {
            self.leaf_depth = Some(share.depth);
        }
        let (next, start) = match self.cursor.from().filter(|_| seeking) {
            Some(from) => self.start(&node, from),
            None => (self.edge(&node, 0, node.key_seqs().len()), Start::default()),
        };
        self.steps(&node, next, share, &start)
    }

    /// Where in a node the range starts, as far as its known keys tell.
    fn start(&self, node: &Arc<Node>, from: &Bound) -> (Option<Step>, Start) {
        let undecided = match node.search(&from.key) {
            Ok(Place::Key(i)) if from.inclusive => return (Some(Step::Key(i)), Start::default()),
            Ok(Place::Key(i)) => {
                let next = after(self.walk, node, Step::Key(i), self.cursor.is_reverse());
                return (next, Start::default());
            }
            Ok(Place::Gap(i)) => i..i,
            Err(Undecided(keys)) => keys,
        };
        let next = self.edge(node, undecided.start, undecided.end);
        (next, Start { kids: undecided.start..undecided.end + 1, keys: undecided })
    }

    /// The first step of a node when what is before gap `low`, and behind gap `high` in reverse, is
    /// not in the range.
    fn edge(&self, node: &Arc<Node>, low: usize, high: usize) -> Option<Step> {
        let gap = if self.cursor.is_reverse() { high } else { low };
        if !node.is_leaf() {
            return Some(Step::Kid(gap));
        }
        after(self.walk, node, Step::Kid(gap), self.cursor.is_reverse())
    }

    /// Looks at the keys and children of a node from `next` on.
    fn steps(
        &mut self,
        node: &Arc<Node>,
        mut next: Option<Step>,
        share: Share,
        start: &Start,
    ) -> ControlFlow<()> {
        while let Some(step) = next {
            match step {
                Step::Kid(i) if !start.keys.is_empty() && start.kids.contains(&i) => {
                    // It may lie before the range as a whole, so what it has is of no interest yet.
                    let seq = node.kid(i).seq;
                    if !self.walk.store.log().has(seq) {
                        self.lack(seq)?;
                    }
                }
                Step::Kid(i) => {
                    let share = share.of_kid(node.kids().len());
                    self.node(node.kid(i), share, start.kids.contains(&i))?;
                }
                Step::Key(i) => self.key(node, i, start.keys.contains(&i))?,
            }
            next = after(self.walk, node, step, self.cursor.is_reverse());
        }
        ControlFlow::Continue(())
    }

    fn key(&mut self, node: &Node, i: usize, undecided: bool) -> ControlFlow<()> {
        let beyond =
            |key: &[u8]| self.end.is_some_and(|end| !within(end, key, self.cursor.is_reverse()));
        let is_beyond = match (node.key(i), node.key_seqs().get(i)) {
            (Some(key), _) => beyond(key),
            // A node that the cursor holds may know less than what has come since.
            (None, Some(seq)) => match self.walk.store.block(*seq) {
                Ok(block) => beyond(block.key()),
                Err(_) => {
                    self.lack(*seq)?;
                    false
                }
            },
            (None, None) => true,
        };
        if is_beyond {
            return ControlFlow::Break(());
        }
        self.pass(u64::from(!undecided))
    }

    /// Entries of a subtree that is not here. Too few only make the set larger than need be; too
    /// many cost a round. So where the height is known it is the fewest that there can be, and
    /// otherwise much less than its share.
    fn entries_in(&self, share: Share) -> u64 {
        let fewest = NODE_KEYS_MIN as u64;
        match self.leaf_depth {
            Some(leaf_depth) => {
                // As many levels below as there are factors.
                (share.depth..leaf_depth)
                    .fold(fewest, |entries, _| entries.saturating_mul(fewest + 1) + fewest)
            }
            None => (share.entries / 2).max(fewest),
        }
    }

    /// Counts entries that the range will give.
    fn pass(&mut self, entries: u64) -> ControlFlow<()> {
        self.left = self.left.saturating_sub(entries);
        if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn lack(&mut self, seq: u64) -> ControlFlow<()> {
        self.missing.add(seq);
        let full = self.missing.len() >= AHEAD_BLOCKS;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The keys and children of a node among which the range may start.
#[derive(Default)]
struct Start {
    /// The keys that are not known and would decide it.
    keys: std::ops::Range<usize>,
    kids: std::ops::Range<usize>,
}
