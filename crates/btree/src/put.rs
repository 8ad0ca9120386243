use bytes::Bytes;

use crate::entry::Entry;
use crate::error::Result;
use crate::limits::NODE_KEYS_MIN;
use crate::node::Place;
use crate::store::Store;
use crate::transaction::{NodeId, Op, PATH_CAPACITY, Path, Slot, Transaction, TreeNode};

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is staged, as this block.
    Staged(u64),
    /// The block with this number, which has the key, was to stay.
    Kept(u64),
}

impl Transaction {
    /// Stages a put. If the key exists, `replace` sees its entry through a function that loads it,
    /// and says whether to go on.
    ///
    /// (Section 4.2 of docs/spec/btree.md.)
    pub(crate) fn put(
        &mut self,
        store: &Store,
        key: &[u8],
        value: Option<Bytes>,
        extra: Bytes,
        replace: impl FnOnce(&dyn Fn() -> Result<Entry>) -> Result<bool>,
    ) -> Result<Put> {
        self.check_room()?;
        let seq = self.next_seq();
        let root = match self.root {
            Some(root) => root,
            None => self.add_node(TreeNode::default()),
        };
        let mut path = Path::with_capacity(PATH_CAPACITY);
        let (node, place) = self.descend(store, &mut path, root, key)?;
        let (root, key) = match place {
            Place::Key(i) => {
                let old = self.node(node).key(i);
                let replace = replace(&|| self.entry(store, old))?;
                self.mark_walked(&path, node);
                if !replace {
                    return Ok(Put::Kept(old.seq));
                }
                // The bytes are the same, wherever they came from.
                let key = old.in_block(seq);
                self.node_mut(node).set_key(i, key);
                (root, key)
            }
            Place::Gap(i) => {
                let key = self.intern(seq, key)?;
                self.mark_walked(&path, node);
                let leaf = self.node_mut(node);
                leaf.keys.insert(i, key);
                leaf.dirty = true;
                (self.split_upwards(root, path, node), key)
            }
        };
        self.stage(root, Op::new(key, value, extra));
        Ok(Put::Staged(seq))
    }

    /// Marks the inner nodes that a put has walked through, even if it then does nothing: the next
    /// operation that takes effect writes them too. (Section 4.7.)
    fn mark_walked(&mut self, path: &[(NodeId, usize)], node: NodeId) {
        for (id, _) in path.iter() {
            self.node_mut(*id).dirty = true;
        }
        let node = self.node_mut(node);
        node.dirty |= !node.is_leaf();
    }

    /// Splits `node` and then its parents as long as they are full. Returns the root.
    fn split_upwards(&mut self, mut root: NodeId, mut path: Path, mut node: NodeId) -> NodeId {
        while self.node(node).keys.is_full() {
            let left = self.node_mut(node);
            let right = TreeNode {
                keys: left.keys.split_off(HALF + 1),
                kids: left.kids.split_off(HALF + 1),
                dirty: true,
                stored: None,
            };
            let median = left.keys.pop().expect("a full node has nine keys");
            let right = self.add_node(right);
            let right = self.add_slot(Slot { seq: 0, level: 0, node: Some(right) });
            let Some((parent, taken)) = path.pop() else {
                let left = self.add_slot(Slot { seq: 0, level: 0, node: Some(node) });
                let mut above = TreeNode { dirty: true, ..TreeNode::default() };
                above.keys.push(median);
                above.kids.extend(&[left, right]);
                root = self.add_node(above);
                break;
            };
            let above = self.node_mut(parent);
            above.keys.insert(taken, median);
            above.kids.insert(taken + 1, right);
            above.dirty = true;
            node = parent;
        }
        root
    }
}

/// Keys on either side of the median of a full node.
const HALF: usize = NODE_KEYS_MIN;
