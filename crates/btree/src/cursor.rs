use bytes::Bytes;

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::DEPTH_MAX;
use crate::node::Place;
use crate::walk::Walk;

/// A place in a tree, from which entries are read in order or in reverse.
///
/// When a step fails nothing has moved, so the same step can be tried again.
#[derive(Clone)]
pub(crate) struct Cursor<N> {
    /// Where to start; `None` is the edge of the tree.
    from: Option<Bound>,
    reverse: bool,
    /// Whether the root has been opened.
    opened: bool,
    /// The nodes from the root to where the cursor is.
    frames: Vec<Frame<N>>,
}

/// An end of a range.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) key: Bytes,
    /// Whether the key itself is in the range.
    pub(crate) inclusive: bool,
}

#[derive(Clone)]
struct Frame<N> {
    node: N,
    /// What comes next in this node, if anything does.
    next: Option<Step>,
    /// The start of the range lies within the child that comes next.
    seeking: bool,
}

/// A part of a node. In order they are: child 0, key 0, child 1, and so on to the last child.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Kid(usize),
    Key(usize),
}

impl<N: Clone> Cursor<N> {
    pub(crate) fn new(from: Option<Bound>, reverse: bool) -> Self {
        Self { from, reverse, opened: false, frames: Vec::new() }
    }

    /// The next entry, or `None` at the end.
    pub(crate) fn next(&mut self, tree: &impl Walk<Node = N>) -> Result<Option<Entry>> {
        if !self.opened {
            let Some(root) = tree.root()? else {
                return Ok(None);
            };
            let frame = self.frame(tree, root, self.from.is_some())?;
            self.frames.push(frame);
            self.opened = true;
        }
        while let Some(frame) = self.frames.last() {
            match frame.next {
                None => {
                    self.frames.pop();
                }
                Some(Step::Key(i)) => {
                    let entry = tree.entry(&frame.node, i)?;
                    self.skip(tree);
                    return Ok(Some(entry));
                }
                Some(Step::Kid(i)) => {
                    if self.frames.len() >= DEPTH_MAX {
                        return Err(Error::TooDeep);
                    }
                    let kid = tree.kid(&frame.node, i)?;
                    let kid = self.frame(tree, kid, frame.seeking)?;
                    self.skip(tree);
                    self.frames.push(kid);
                }
            }
        }
        Ok(None)
    }

    /// Steps over the key or the whole child that comes next.
    fn skip(&mut self, tree: &impl Walk<Node = N>) {
        let reverse = self.reverse;
        if let Some((frame, step)) =
            self.frames.last_mut().and_then(|frame| frame.next.map(|step| (frame, step)))
        {
            frame.next = after(tree, &frame.node, step, reverse);
            frame.seeking = false;
        }
    }

    /// Goes on from other nodes: those from the root to where reading stopped, each with what comes
    /// next in it.
    pub(crate) fn resume(&mut self, places: Vec<(N, Option<Step>)>) {
        let frame = |(node, next)| Frame { node, next, seeking: false };
        self.frames = places.into_iter().map(frame).collect();
        self.opened = true;
    }

    /// Where the range starts; `None` is the edge of the tree.
    pub(crate) fn from(&self) -> Option<&Bound> {
        self.from.as_ref()
    }

    pub(crate) fn is_reverse(&self) -> bool {
        self.reverse
    }

    /// The nodes from the root to where the cursor is, each with what comes next in it and whether
    /// the start of the range lies within that. `None` until the root has been opened.
    pub(crate) fn frames(
        &self,
    ) -> Option<impl DoubleEndedIterator<Item = (&N, Option<Step>, bool)> + ExactSizeIterator + Clone>
    {
        let frames = self.frames.iter().map(|frame| (&frame.node, frame.next, frame.seeking));
        self.opened.then_some(frames)
    }

    /// A node entered at the edge, or, when `seeking`, where the range starts.
    fn frame(&self, tree: &impl Walk<Node = N>, node: N, seeking: bool) -> Result<Frame<N>> {
        let from = if seeking { self.from.as_ref() } else { None };
        let Some(from) = from else {
            let next = first(tree, &node, self.reverse);
            return Ok(Frame { node, next, seeking: false });
        };
        let next = match tree.search(&node, &from.key)? {
            Place::Key(i) if from.inclusive => Some(Step::Key(i)),
            Place::Key(i) => after(tree, &node, Step::Key(i), self.reverse),
            Place::Gap(i) => {
                if !tree.is_leaf(&node) {
                    return Ok(Frame { node, next: Some(Step::Kid(i)), seeking: true });
                }
                // In a leaf a gap is what a child is elsewhere.
                beside(tree, &node, i, self.reverse)
            }
        };
        Ok(Frame { node, next, seeking: false })
    }
}

fn first<W: Walk>(tree: &W, node: &W::Node, reverse: bool) -> Option<Step> {
    let last = if reverse { tree.key_count(node) } else { 0 };
    if tree.is_leaf(node) { beside(tree, node, last, reverse) } else { Some(Step::Kid(last)) }
}

/// What follows `step` in a node.
pub(crate) fn after<W: Walk>(tree: &W, node: &W::Node, step: Step, reverse: bool) -> Option<Step> {
    match step {
        Step::Kid(i) => beside(tree, node, i, reverse),
        Step::Key(i) => {
            let gap = if reverse { i } else { i + 1 };
            if tree.is_leaf(node) { beside(tree, node, gap, reverse) } else { Some(Step::Kid(gap)) }
        }
    }
}

/// The key that follows gap or child number `i`.
fn beside<W: Walk>(tree: &W, node: &W::Node, i: usize, reverse: bool) -> Option<Step> {
    if reverse { i.checked_sub(1) } else { Some(i) }
        .filter(|key| *key < tree.key_count(node))
        .map(Step::Key)
}
