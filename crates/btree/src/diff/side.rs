//! One of the two trees that a diff walks through.

use std::sync::Arc;

use bytes::Bytes;

use crate::cursor::Bound;
use crate::error::{BlockFault, Error, Result};
use crate::limits::DEPTH_MAX;
use crate::node::{Kid, Node};
use crate::range::within;
use crate::store::bad;

/// A place in a tree, from which keys and children come in order.
#[derive(Clone, Default)]
pub(crate) struct Side {
    /// The nodes from the root down. Each but the last is past the child that the next one is.
    frames: Vec<Frame>,
    /// The part of the whole that the child is that was passed last.
    passed: Share,
}

/// A part of a tree, if a child counts as much as any other of its node: from where on, and how much.
#[derive(Clone, Copy)]
struct Share {
    start: f64,
    width: f64,
}

impl Default for Share {
    fn default() -> Self {
        Self { start: 0.0, width: 1.0 }
    }
}

#[derive(Clone)]
struct Frame {
    node: Arc<Node>,
    /// What comes next: child `at / 2` if even, otherwise key `at / 2`.
    at: usize,
    share: Share,
}

/// What comes next on a side.
pub(crate) enum Head<'a> {
    Key {
        node: &'a Node,
        number: usize,
        seq: u64,
        key: &'a [u8],
    },
    /// A child, and the keys that all of its keys lie between.
    Kid {
        kid: Kid,
        lower: Option<&'a [u8]>,
        upper: Option<&'a [u8]>,
    },
}

impl Head<'_> {
    /// Where it ends, if not with the tree.
    pub(crate) fn upper(&self) -> Option<&[u8]> {
        match self {
            Self::Key { key, .. } => Some(key),
            Self::Kid { upper, .. } => *upper,
        }
    }
}

impl Frame {
    fn is_at_end(&self) -> bool {
        self.at > 2 * self.node.key_seqs().len()
    }

    /// The part of the whole that comes next.
    fn next_share(&self) -> Share {
        let (keys, number) = (self.node.key_seqs().len(), self.at / 2);
        // Between children, a key weighs nothing.
        let is_between = !self.node.is_leaf() && !self.at.is_multiple_of(2);
        let parts = if self.node.is_leaf() { keys } else { keys + 1 };
        let width = self.share.width / parts.max(1) as f64;
        let start = self.share.start + width * (number + usize::from(is_between)) as f64;
        Share { start, width: if is_between { 0.0 } else { width } }
    }

    fn key(&self, number: Option<usize>) -> Option<&[u8]> {
        number.and_then(|number| self.node.key(number))
    }
}

impl Side {
    /// Enters a node, or a part of one, of which all keys are known. `above` is how many nodes are
    /// above this part of the tree.
    pub(crate) fn push(&mut self, node: Arc<Node>, above: usize) -> Result<()> {
        if above + self.frames.len() >= DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        let at = usize::from(node.is_leaf());
        self.frames.push(Frame { node, at, share: self.passed });
        self.leave_finished();
        Ok(())
    }

    /// How many nodes it is in.
    pub(crate) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The part of the tree that was passed, from 0 to 1, about.
    pub(crate) fn fraction(&self) -> f64 {
        self.frames.last().map_or(1.0, |frame| frame.next_share().start)
    }

    pub(crate) fn head(&self) -> Option<Head<'_>> {
        let (frame, above) = self.frames.split_last()?;
        let number = frame.at / 2;
        if !frame.at.is_multiple_of(2) {
            let seq = *frame.node.key_seqs().get(number)?;
            let key = frame.node.key(number)?;
            return Some(Head::Key { node: &frame.node, number, seq, key });
        }
        let kid = *frame.node.kids().get(number)?;
        // In the frames above, the key that comes next lies behind all that is in the child before.
        let lower = frame.key(number.checked_sub(1)).or_else(|| {
            above.iter().rev().find_map(|frame| frame.key((frame.at / 2).checked_sub(1)))
        });
        let upper = frame
            .key(Some(number))
            .or_else(|| above.iter().rev().find_map(|frame| frame.key(Some(frame.at / 2))));
        Some(Head::Kid { kid, lower, upper })
    }

    /// Passes over what comes next, which must lie behind the last key that was passed.
    pub(crate) fn pass(&mut self, behind: &mut Option<Bytes>) -> Result<()> {
        if let Some(Head::Key { seq, key, .. }) = self.head() {
            if behind.as_deref().is_some_and(|behind| behind >= key) {
                return Err(bad(seq, BlockFault::Unordered));
            }
            *behind = Some(Bytes::copy_from_slice(key));
        }
        self.step();
        Ok(())
    }

    /// Passes over what lies outside a range.
    pub(crate) fn pass_outside(&mut self, from: Option<&Bound>, end: Option<&Bound>) {
        loop {
            let is_outside = match self.head() {
                None => return,
                Some(Head::Key { key, .. }) => {
                    if end.is_some_and(|end| !within(end, key, false)) {
                        return self.frames.clear();
                    }
                    from.is_some_and(|from| !within(from, key, true))
                }
                Some(Head::Kid { lower, upper, .. }) => {
                    if lower.zip(end).is_some_and(|(lower, end)| lower >= end.key) {
                        return self.frames.clear();
                    }
                    upper.zip(from).is_some_and(|(upper, from)| upper <= from.key)
                }
            };
            if !is_outside {
                return;
            }
            self.step();
        }
    }

    /// Passes over all keys and whole children below a key, or over all.
    pub(crate) fn pass_below(
        &mut self,
        end: Option<&[u8]>,
        behind: &mut Option<Bytes>,
    ) -> Result<()> {
        let Some(end) = end else {
            self.frames.clear();
            return Ok(());
        };
        loop {
            let is_below = match self.head() {
                Some(Head::Key { key, .. }) => key < end,
                Some(Head::Kid { upper, .. }) => upper.is_some_and(|upper| upper <= end),
                None => false,
            };
            if !is_below {
                return Ok(());
            }
            self.pass(behind)?;
        }
    }

    fn step(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            self.passed = frame.next_share();
            frame.at += if frame.node.is_leaf() { 2 } else { 1 };
        }
        self.leave_finished();
    }

    fn leave_finished(&mut self) {
        while self.frames.pop_if(|frame| frame.is_at_end()).is_some() {}
    }
}
