use bytes::Bytes;

use crate::entry::Entry;
use crate::error::Result;
use crate::limits::NODE_KEYS_MIN;
use crate::node::Place;
use crate::store::Store;
use crate::transaction::{
    KeyRef, NodeId, Op, PATH_CAPACITY, Path, Transaction, push_level, uneven,
};

/// The end of an inner node at which a walk stays on its way down.
#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}

impl Transaction {
    /// Stages a deletion, with `extra` in its block. Returns its block number, or `None` if there is
    /// no such key or `agree`, which sees the entry through a function that loads it, says no.
    ///
    /// (Section 4.3 of docs/spec/btree.md.)
    pub(crate) fn del(
        &mut self,
        store: &Store,
        key: &[u8],
        extra: Bytes,
        agree: impl FnOnce(&dyn Fn() -> Result<Entry>) -> Result<bool>,
    ) -> Result<Option<u64>> {
        self.check_room()?;
        let Some(root) = self.root else {
            return Ok(None);
        };
        let mut path = Path::with_capacity(PATH_CAPACITY);
        let (node, place) = self.descend(store, &mut path, root, key)?;
        let Place::Key(i) = place else {
            return Ok(None);
        };
        let old = self.node(node).key(i);
        if !agree(&|| self.entry(store, old))? {
            return Ok(None);
        }
        // From here to the first change everything that the change needs is opened.
        let taken_from = self.way_to_replacement(store, &mut path, node, i)?;
        self.open_siblings(store, &path, taken_from.map_or(node, |(leaf, _)| leaf))?;
        match taken_from {
            None => {
                self.node_mut(node).keys.remove(i);
                push_level(&mut path, node, 0)?;
            }
            Some((leaf, side)) => {
                let key = self.take_key(leaf, side);
                self.node_mut(node).set_key(i, key);
                push_level(&mut path, leaf, 0)?;
            }
        }
        for (id, _) in path.iter() {
            self.node_mut(*id).dirty = true;
        }
        let seq = self.next_seq();
        let root = self.rebalance(root, path);
        self.stage(root, Op::new(old.in_block(seq), None, extra));
        Ok(Some(seq))
    }

    /// A key deleted from an inner node is replaced by its neighbour in a leaf: by the one before it,
    /// or, if the leaf of that one has fewer keys, by the one after it. Extends `path` down to above
    /// that leaf, and returns the leaf and the end to take the key from.
    fn way_to_replacement(
        &mut self,
        store: &Store,
        path: &mut Path,
        node: NodeId,
        i: usize,
    ) -> Result<Option<(NodeId, Side)>> {
        if self.node(node).is_leaf() {
            return Ok(None);
        }
        let (mut before, mut after) = (path.clone(), path.clone());
        let last = self.walk_down(store, &mut before, node, i, Side::Last)?;
        let first = self.walk_down(store, &mut after, node, i + 1, Side::First)?;
        let (leaf, side);
        (*path, leaf, side) = if self.node(last).keys.len() < self.node(first).keys.len() {
            (after, first, Side::First)
        } else {
            (before, last, Side::Last)
        };
        Ok(Some((leaf, side)))
    }

    /// From `node` into child number `taken`, and then along one side to a leaf.
    fn walk_down(
        &mut self,
        store: &Store,
        path: &mut Path,
        mut node: NodeId,
        mut taken: usize,
        side: Side,
    ) -> Result<NodeId> {
        while !self.node(node).is_leaf() {
            push_level(path, node, taken)?;
            node = self.open_kid(store, node, taken)?;
            taken = match side {
                Side::First => 0,
                Side::Last => self.node(node).keys.len(),
            };
        }
        Ok(node)
    }

    fn take_key(&mut self, leaf: NodeId, side: Side) -> KeyRef {
        let keys = &mut self.node_mut(leaf).keys;
        let key = match side {
            Side::First => keys.remove(0),
            Side::Last => keys.pop(),
        };
        key.expect("a leaf below another node has keys")
    }

    /// Opens all nodes that [`rebalance`](Self::rebalance) will touch once `leaf`, at the end of
    /// `path`, has lost a key; so this follows the same conditions. Refuses leaves that differ in
    /// depth, since keys and children could not be moved between their parents.
    fn open_siblings(
        &mut self,
        store: &Store,
        path: &[(NodeId, usize)],
        leaf: NodeId,
    ) -> Result<()> {
        let mut node = leaf;
        for (parent, taken) in path.iter().rev() {
            if self.node(node).keys.len() > NODE_KEYS_MIN {
                break;
            }
            let mut lends = false;
            for sibling in siblings(*taken, self.node(*parent).kids.len()).into_iter().flatten() {
                let id = self.open_kid(store, *parent, sibling)?;
                if self.node(id).is_leaf() != self.node(node).is_leaf() {
                    return Err(uneven(self.slot(self.node(*parent).slot(sibling))));
                }
                lends |= self.node(id).keys.len() > NODE_KEYS_MIN;
            }
            if lends {
                break;
            }
            node = *parent;
        }
        Ok(())
    }

    /// Fills up the nodes of `path` that have too few keys, from the last one upwards: from a
    /// sibling that has keys to spare, or else by merging with one. The left sibling comes first.
    /// Returns the root.
    ///
    /// (Section 4.4 of docs/spec/btree.md. All siblings are open.)
    fn rebalance(&mut self, root: NodeId, mut path: Path) -> NodeId {
        while let Some((node, _)) = path.pop() {
            let Some((parent, taken)) = path.last().copied() else {
                break;
            };
            if self.node(node).keys.len() >= NODE_KEYS_MIN {
                return root;
            }
            let [left, right] = siblings(taken, self.node(parent).kids.len())
                .map(|sibling| sibling.map(|sibling| self.opened(parent, sibling)));
            let lends = |id: &NodeId| self.node(*id).keys.len() > NODE_KEYS_MIN;
            if let Some(left) = left.filter(lends) {
                self.borrow_left(parent, taken, left, node);
                return root;
            }
            if let Some(right) = right.filter(lends) {
                self.borrow_right(parent, taken, node, right);
                return root;
            }
            match (left, right) {
                (Some(left), _) => self.merge(parent, taken - 1, left, node),
                (None, Some(right)) => self.merge(parent, taken, node, right),
                (None, None) => return root,
            }
        }
        let top = self.node(root);
        // The slot of the new root in the old one is not marked as freed. It should be, but every
        // writer of this format leaves it; see section 4.6.
        if top.keys.is_empty() && !top.is_leaf() { self.opened(root, 0) } else { root }
    }

    fn opened(&self, parent: NodeId, i: usize) -> NodeId {
        let slot = self.slot(self.node(parent).slot(i));
        slot.node.expect("whatever a deletion touches was opened before its first change")
    }

    fn borrow_left(&mut self, parent: NodeId, taken: usize, left: NodeId, node: NodeId) {
        let lender = self.node_mut(left);
        lender.dirty = true;
        let key = lender.keys.pop().expect("it has keys to spare");
        let kid = lender.kids.pop();
        let above = self.node(parent).key(taken - 1);
        self.node_mut(parent).set_key(taken - 1, key);
        let node = self.node_mut(node);
        node.keys.insert(0, above);
        if let Some(kid) = kid {
            node.kids.insert(0, kid);
        }
    }

    fn borrow_right(&mut self, parent: NodeId, taken: usize, node: NodeId, right: NodeId) {
        let lender = self.node_mut(right);
        lender.dirty = true;
        let key = lender.keys.remove(0).expect("it has keys to spare");
        let kid = lender.kids.remove(0);
        let above = self.node(parent).key(taken);
        self.node_mut(parent).set_key(taken, key);
        let node = self.node_mut(node);
        node.keys.push(above);
        if let Some(kid) = kid {
            node.kids.push(kid);
        }
    }

    /// Appends key number `at` of the parent and then all of `right` to `left`.
    fn merge(&mut self, parent: NodeId, at: usize, left: NodeId, right: NodeId) {
        let right = *self.node(right);
        self.replaced.extend(right.stored);
        let above = self.node_mut(parent);
        let key = above.keys.remove(at).expect("there is a key between two children");
        let freed = above.kids.remove(at + 1).expect("the right one of them is a child");
        let left = self.node_mut(left);
        left.dirty = true;
        left.keys.push(key);
        left.keys.extend(&right.keys);
        left.kids.extend(&right.kids);
        // So that no earlier operation of the batch writes the node that is no more.
        self.slot_mut(freed).seq = 0;
    }
}

/// The numbers of the children to the left and right of one of `count`.
fn siblings(taken: usize, count: usize) -> [Option<usize>; 2] {
    [taken.checked_sub(1), Some(taken + 1).filter(|right| *right < count)]
}
