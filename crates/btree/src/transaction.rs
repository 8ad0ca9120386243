use std::sync::Arc;

use bytes::Bytes;

use crate::entry::Entry;
use crate::error::{BlockFault, Error, Result};
use crate::few::Few;
use crate::limits::{BATCH_OPS_MAX, DEPTH_MAX, NODE_KEYS_FULL, SPARE_BYTES};
use crate::node::{Kid, Node, Place};
use crate::staging::Encoded;
use crate::store::{Store, bad};
use crate::walk::{Stored, Walk};

/// A writer's private state between the first operation and the append: the nodes that it has
/// opened, as it changes them, and the operations that it has staged.
///
/// Nothing outlives it, because which nodes an operation writes depends on what the transaction has
/// opened and changed before. All nodes, slots and key bytes are in arenas and go at once.
///
/// Every operation either does all it should or fails and changes nothing: what it has to read it
/// reads first. (Opening a node is no change.)
#[derive(Default)]
pub(crate) struct Transaction {
    /// Length of the log when the transaction began.
    pub(crate) base: u64,
    /// `None` while there is no tree.
    pub(crate) root: Option<NodeId>,
    nodes: Vec<TreeNode>,
    slots: Vec<Slot>,
    /// The bytes of all keys that occur in `nodes` and `ops`.
    key_bytes: Vec<u8>,
    pub(crate) ops: Vec<Op>,
    /// The staged indexes of all operations, one after the other.
    pub(crate) index: Vec<SlotId>,
    /// Where the nodes are stored that the operations have replaced.
    pub(crate) replaced: Vec<Kid>,
    /// The blocks of all operations, once they are encoded.
    pub(crate) encoded: Encoded,
}

/// Number of a node in its transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

/// Number of a slot in its transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

/// A node as it is being changed.
#[derive(Clone, Copy)]
pub(crate) struct TreeNode {
    pub(crate) keys: Few<KeyRef, NODE_KEYS_FULL>,
    pub(crate) kids: Few<SlotId, { NODE_KEYS_FULL + 1 }>,
    /// The next operation that takes effect writes this node.
    pub(crate) dirty: bool,
    /// Where it was read from, until an operation has written it.
    pub(crate) stored: Option<Kid>,
}

/// A key in a node: the block that holds it, and its bytes in the transaction's arena.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyRef {
    pub(crate) seq: u64,
    start: u32,
    len: u32,
}

/// A child pointer. It has an identity: the parent's list and the staged index of the operation that
/// wrote the child share it, so each sees what becomes of it through the other.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// The block that the child is in; 0 once the child was merged away.
    pub(crate) seq: u64,
    pub(crate) level: u64,
    /// The child, if it was opened.
    pub(crate) node: Option<NodeId>,
}

/// A staged operation.
pub(crate) struct Op {
    pub(crate) key: KeyRef,
    pub(crate) value: Option<Bytes>,
    pub(crate) extra: Bytes,
    /// Where its index begins in the transaction's `index`, and the number of slots in it.
    pub(crate) index_start: usize,
    pub(crate) index_count: usize,
}

impl KeyRef {
    /// The same bytes, held by block `seq`.
    pub(crate) fn in_block(self, seq: u64) -> Self {
        Self { seq, ..self }
    }
}

impl Op {
    /// An operation whose index is still to be staged.
    pub(crate) fn new(key: KeyRef, value: Option<Bytes>, extra: Bytes) -> Self {
        Self { key, value, extra, index_start: 0, index_count: 0 }
    }
}

/// The nodes from the root down, each with the number of the child taken.
pub(crate) type Path = Vec<(NodeId, usize)>;

/// Levels above a leaf that few trees exceed.
pub(crate) const PATH_CAPACITY: usize = 12;

impl Transaction {
    /// Begins at the present end of the log. If that is empty, the header has to be appended before
    /// what is staged here. `spare` is a finished transaction whose memory is used again.
    pub(crate) fn begin(store: &Store, spare: Option<Self>) -> Result<Self> {
        let base = store.log().len().max(1);
        let root = Stored { store, version: base }.root()?;
        let mut transaction = spare.unwrap_or_default();
        transaction.base = base;
        if let Some(root) = root {
            let spot = Kid { seq: base - 1, level: 0 };
            transaction.root = Some(transaction.adopt(spot, &root)?);
        }
        Ok(transaction)
    }

    /// Forgets everything but the memory. `None` if that is too much to keep for the next one.
    pub(crate) fn into_spare(mut self) -> Option<Self> {
        self.root = None;
        self.nodes.clear();
        self.slots.clear();
        self.key_bytes.clear();
        self.ops.clear();
        self.index.clear();
        self.replaced.clear();
        self.encoded.clear();
        let bytes = self.nodes.capacity() * size_of::<TreeNode>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.ops.capacity() * size_of::<Op>()
            + self.key_bytes.capacity()
            + self.encoded.capacity();
        (bytes <= SPARE_BYTES).then_some(self)
    }

    /// Number of the block that the next operation gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.base + self.ops.len() as u64
    }

    pub(crate) fn node(&self, id: NodeId) -> &TreeNode {
        self.nodes.get(id.0 as usize).expect("a node is never taken out")
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut TreeNode {
        self.nodes.get_mut(id.0 as usize).expect("a node is never taken out")
    }

    pub(crate) fn slot(&self, id: SlotId) -> &Slot {
        self.slots.get(id.0 as usize).expect("a slot is never taken out")
    }

    pub(crate) fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        self.slots.get_mut(id.0 as usize).expect("a slot is never taken out")
    }

    pub(crate) fn key(&self, key: KeyRef) -> &[u8] {
        let start = key.start as usize;
        self.key_bytes.get(start..start + key.len as usize).expect("keys are never taken out")
    }

    pub(crate) fn add_node(&mut self, node: TreeNode) -> NodeId {
        let id = NodeId(arena_id(self.nodes.len()));
        self.nodes.push(node);
        id
    }

    pub(crate) fn add_slot(&mut self, slot: Slot) -> SlotId {
        let id = SlotId(arena_id(self.slots.len()));
        self.slots.push(slot);
        id
    }

    /// Takes the bytes of a key into the arena.
    pub(crate) fn intern(&mut self, seq: u64, key: &[u8]) -> Result<KeyRef> {
        let (start, end) = self.take_bytes(key)?;
        Ok(KeyRef { seq, start, len: end - start })
    }

    /// Appends to the arena of keys. Returns where the bytes begin and end.
    fn take_bytes(&mut self, bytes: &[u8]) -> Result<(u32, u32)> {
        let start = self.key_bytes.len();
        let end = u32::try_from(start + bytes.len()).map_err(|_| Error::BatchTooLarge)?;
        self.key_bytes.extend_from_slice(bytes);
        // Not larger than the end, so it fits too.
        Ok((start as u32, end))
    }

    /// Refuses one more operation when the batch is full.
    pub(crate) fn check_room(&self) -> Result<()> {
        if self.ops.len() < BATCH_OPS_MAX { Ok(()) } else { Err(Error::BatchTooLarge) }
    }

    /// Makes a stored node one of the transaction's own.
    fn adopt(&mut self, spot: Kid, stored: &Node) -> Result<NodeId> {
        if !stored.is_whole() {
            return Err(Error::Missing(stored.unknown_seqs().collect()));
        }
        let mut node = TreeNode { stored: Some(spot), ..TreeNode::default() };
        let (start, _) = self.take_bytes(stored.key_bytes())?;
        for (seq, range) in stored.keys() {
            let len = range.end - range.start;
            node.keys.push(KeyRef { seq, start: start + range.start, len });
        }
        for Kid { seq, level } in stored.kids() {
            node.kids.push(self.add_slot(Slot { seq: *seq, level: *level, node: None }));
        }
        Ok(self.add_node(node))
    }

    /// Child number `i` of an inner node, opened if need be.
    pub(crate) fn open_kid(&mut self, store: &Store, node: NodeId, i: usize) -> Result<NodeId> {
        let slot_id = self.node(node).slot(i);
        let slot = *self.slot(slot_id);
        if let Some(kid) = slot.node {
            return Ok(kid);
        }
        let spot = Kid { seq: slot.seq, level: slot.level };
        let kid = self.adopt(spot, &*store.kid(spot)?)?;
        self.slot_mut(slot_id).node = Some(kid);
        Ok(kid)
    }

    /// Finds where `key` belongs in a node.
    pub(crate) fn search(&self, node: NodeId, key: &[u8]) -> Place {
        match self.node(node).keys.binary_search_by(|probe| self.key(*probe).cmp(key)) {
            Ok(i) => Place::Key(i),
            Err(i) => Place::Gap(i),
        }
    }

    /// Walks down to where `key` is or would be. Adds the nodes above to `path`, and returns the
    /// node and the place.
    pub(crate) fn descend(
        &mut self,
        store: &Store,
        path: &mut Path,
        root: NodeId,
        key: &[u8],
    ) -> Result<(NodeId, Place)> {
        let mut node = root;
        loop {
            let place = self.search(node, key);
            match place {
                Place::Gap(i) if !self.node(node).is_leaf() => {
                    push_level(path, node, i)?;
                    node = self.open_kid(store, node, i)?;
                }
                _ => return Ok((node, place)),
            }
        }
    }

    /// What is stored under a key, staged or not. Opens the nodes on the way to it.
    pub(crate) fn get(&mut self, store: &Store, key: &[u8]) -> Result<Option<Entry>> {
        let Some(root) = self.root else { return Ok(None) };
        let mut path = Path::with_capacity(PATH_CAPACITY);
        match self.descend(store, &mut path, root, key)? {
            (node, Place::Key(i)) => self.entry_of(store, node, i).map(Some),
            (_, Place::Gap(_)) => Ok(None),
        }
    }

    /// What is stored under key number `i` of a node, by way of the stored node if that is at hand:
    /// it may have the entry.
    fn entry_of(&self, store: &Store, node: NodeId, i: usize) -> Result<Entry> {
        let node = self.node(node);
        let key = node.key(i);
        let stored = node.stored.and_then(|spot| store.cached(spot));
        match stored.filter(|stored| stored.key_seqs().get(i) == Some(&key.seq)) {
            Some(stored) => store.entry(&stored, i),
            None => self.entry(store, key),
        }
    }

    /// What is stored under a key of a node, staged or not.
    pub(crate) fn entry(&self, store: &Store, key: KeyRef) -> Result<Entry> {
        match self.staged(key.seq) {
            Some(op) => Ok(self.op_entry(key.seq, op)),
            None => Ok(store.block(key.seq)?.entry(key.seq)),
        }
    }

    fn op_entry(&self, seq: u64, op: &Op) -> Entry {
        Entry {
            seq,
            key: Bytes::copy_from_slice(self.key(op.key)),
            value: op.value.clone(),
            extra: op.extra.clone(),
        }
    }

    fn staged(&self, seq: u64) -> Option<&Op> {
        self.ops.get(usize::try_from(seq.checked_sub(self.base)?).ok()?)
    }

    pub(crate) fn staged_mut(&mut self, seq: u64) -> Option<&mut Op> {
        self.ops.get_mut(usize::try_from(seq.checked_sub(self.base)?).ok()?)
    }
}

impl Default for TreeNode {
    fn default() -> Self {
        Self { keys: Few::new(), kids: Few::new(), dirty: false, stored: None }
    }
}

impl TreeNode {
    pub(crate) fn is_leaf(&self) -> bool {
        self.kids.is_empty()
    }

    /// Key number `i`, which the caller has found.
    pub(crate) fn key(&self, i: usize) -> KeyRef {
        *self.keys.get(i).expect("a search gives numbers of keys that are there")
    }

    /// Replaces key number `i`.
    pub(crate) fn set_key(&mut self, i: usize, key: KeyRef) {
        *self.keys.get_mut(i).expect("a search gives numbers of keys that are there") = key;
        self.dirty = true;
    }

    /// The pointer to child number `i` of an inner node.
    pub(crate) fn slot(&self, i: usize) -> SlotId {
        *self.kids.get(i).expect("an inner node has one child more than keys")
    }
}

/// Adds a level to a path, unless the tree is deeper than any sound one.
pub(crate) fn push_level(path: &mut Path, node: NodeId, taken: usize) -> Result<()> {
    if path.len() >= DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    path.push((node, taken));
    Ok(())
}

fn arena_id(count: usize) -> u32 {
    // An operation opens and makes a few nodes per level, and a batch has 65,536 operations.
    u32::try_from(count).expect("a batch is too small to fill an arena")
}

/// The tree as it is within a transaction: the nodes that were opened, and the stored ones below.
pub(crate) struct Staged<'a> {
    pub(crate) store: &'a Store,
    pub(crate) transaction: &'a Transaction,
}

/// A node of either kind.
#[derive(Clone)]
pub(crate) enum StagedNode {
    Open(NodeId),
    Stored(Arc<Node>),
}

impl Walk for Staged<'_> {
    type Node = StagedNode;

    fn root(&self) -> Result<Option<StagedNode>> {
        Ok(self.transaction.root.map(StagedNode::Open))
    }

    fn kid(&self, node: &StagedNode, i: usize) -> Result<StagedNode> {
        let spot = match node {
            StagedNode::Stored(node) => node.kid(i),
            StagedNode::Open(id) => {
                let slot = self.transaction.slot(self.transaction.node(*id).slot(i));
                if let Some(kid) = slot.node {
                    return Ok(StagedNode::Open(kid));
                }
                Kid { seq: slot.seq, level: slot.level }
            }
        };
        self.store.kid(spot).map(StagedNode::Stored)
    }

    fn key_count(&self, node: &StagedNode) -> usize {
        match node {
            StagedNode::Open(id) => self.transaction.node(*id).keys.len(),
            StagedNode::Stored(node) => node.key_seqs().len(),
        }
    }

    fn is_leaf(&self, node: &StagedNode) -> bool {
        match node {
            StagedNode::Open(id) => self.transaction.node(*id).is_leaf(),
            StagedNode::Stored(node) => node.is_leaf(),
        }
    }

    fn search(&self, node: &StagedNode, key: &[u8]) -> Result<Place> {
        match node {
            StagedNode::Open(id) => Ok(self.transaction.search(*id, key)),
            StagedNode::Stored(node) => self.store.search(node, key),
        }
    }

    fn entry(&self, node: &StagedNode, i: usize) -> Result<Entry> {
        match node {
            StagedNode::Open(id) => {
                self.transaction.entry(self.store, self.transaction.node(*id).key(i))
            }
            StagedNode::Stored(node) => self.store.entry(node, i),
        }
    }
}

/// Blames the writer of the block that a slot points to for a tree whose leaves differ in depth.
pub(crate) fn uneven(slot: &Slot) -> Error {
    bad(slot.seq, BlockFault::Uneven)
}
