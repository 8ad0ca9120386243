use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::node::{Node, Place};
use crate::walk::{Stored, Walk};

/// A stored tree that notes which blocks a read needs, as one with a cold log would fetch them.
///
/// What is not here is not noted: a peer should be sent only to what it can have from us.
pub(super) struct Traced<'a> {
    tree: Stored<'a>,
    touched: RefCell<Touched>,
}

/// Block numbers in the order in which they were first needed.
#[derive(Default)]
struct Touched {
    seqs: Vec<u64>,
    seen: HashSet<u64>,
}

impl<'a> Traced<'a> {
    pub(super) fn new(tree: Stored<'a>) -> Self {
        Self { tree, touched: RefCell::default() }
    }

    /// How many blocks were needed so far.
    pub(super) fn count(&self) -> usize {
        self.touched.borrow().seqs.len()
    }

    pub(super) fn into_seqs(self) -> Vec<u64> {
        self.touched.into_inner().seqs
    }

    fn touch(&self, seq: u64) {
        let Touched { seqs, seen } = &mut *self.touched.borrow_mut();
        if seen.insert(seq) {
            seqs.push(seq);
        }
    }
}

impl Walk for Traced<'_> {
    type Node = Arc<Node>;

    fn root(&self) -> Result<Option<Arc<Node>>> {
        let root = self.tree.root()?;
        if let Some(spot) = self.tree.root_spot() {
            self.touch(spot.seq);
        }
        Ok(root)
    }

    fn kid(&self, node: &Arc<Node>, i: usize) -> Result<Arc<Node>> {
        let kid = self.tree.kid(node, i)?;
        self.touch(node.kid(i).seq);
        Ok(kid)
    }

    fn key_count(&self, node: &Arc<Node>) -> usize {
        self.tree.key_count(node)
    }

    fn is_leaf(&self, node: &Arc<Node>) -> bool {
        self.tree.is_leaf(node)
    }

    /// The same probes as [`Node::search`], each of which somebody with a cold log has to fetch.
    fn search(&self, node: &Arc<Node>, key: &[u8]) -> Result<Place> {
        let (mut low, mut high) = (0, node.key_seqs().len());
        while low < high {
            let middle = (low + high) / 2;
            let Some(seq) = node.key_seqs().get(middle).copied() else {
                break;
            };
            let Some(found) = node.key(middle) else {
                return Err(Error::Missing(vec![seq]));
            };
            self.touch(seq);
            match key.cmp(found) {
                Ordering::Less => high = middle,
                Ordering::Equal => return Ok(Place::Key(middle)),
                Ordering::Greater => low = middle + 1,
            }
        }
        Ok(Place::Gap(low))
    }

    fn entry(&self, node: &Arc<Node>, i: usize) -> Result<Entry> {
        let entry = self.tree.entry(node, i)?;
        self.touch(entry.seq);
        Ok(entry)
    }
}
