//! The nodes of a log's tree: those not yet written to the part `Tree`, and pages of those that are.

use std::collections::HashMap;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::sync::Cache;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::keys::Hash;
use crate::limits::{OFFSET_CACHE_ITEMS, TREE_CACHE_BYTES};
use crate::merkle::{self, NodeSource, Roots};
use crate::node::Node;
use crate::storage::Part;

/// Size, 8 bytes little-endian, and hash. All zeros: no node.
const NODE_LEN: u64 = 40;

/// Nodes in one page of the cache: a subtree of 64 blocks and the node to its right.
const PAGE_NODES: u64 = 128;

const PAGE_LEN: u64 = PAGE_NODES * NODE_LEN;

/// Depth of the node above the blocks of one page.
const GROUP_DEPTH: u32 = 6;

/// `file_limit` of a part `Tree` that has no node which must not be believed.
const UNLIMITED: u64 = u64::MAX;

/// The stored nodes of one log.
pub(crate) struct TreeStore {
    disk: Arc<Disk>,
    /// Nodes that only the oplog has. A node leaves only once it can be read from the part.
    unflushed: RwLock<HashMap<u64, Node>>,
    pages: Cache<u64, Arc<Vec<u8>>>,
    /// Where the data of a group of 64 blocks begins, for groups whose top node is stored.
    offsets: Cache<u64, u64>,
    /// Nodes in the part count only if they are whole below this length. Those beyond are left
    /// from a longer or another history.
    file_limit: AtomicU64,
}

impl TreeStore {
    /// Opens the nodes of a log whose last header tells of `length` blocks.
    pub(crate) fn open(disk: Arc<Disk>, length: u64) -> Self {
        Self {
            disk,
            unflushed: RwLock::default(),
            pages: Cache::new((TREE_CACHE_BYTES / PAGE_LEN) as usize),
            offsets: Cache::new(OFFSET_CACHE_ITEMS),
            file_limit: AtomicU64::new(length),
        }
    }

    /// The nodes that a log of `length` blocks may have.
    pub(crate) fn at(&self, length: u64) -> TreeView<'_> {
        TreeView { store: self, length }
    }

    /// Adds verified nodes.
    pub(crate) fn insert(&self, nodes: impl IntoIterator<Item = Node>) {
        let mut unflushed = self.unflushed.write().unwrap_or_else(PoisonError::into_inner);
        unflushed.extend(nodes.into_iter().map(|node| (node.index, node)));
    }

    /// Forgets where groups begin, because a stored size turned out to be wrong.
    pub(crate) fn forget_offsets(&self) {
        self.offsets.clear();
    }

    /// Forgets unflushed nodes that a log of `length` blocks cannot have.
    pub(crate) fn drop_beyond(&self, length: u64) {
        let mut unflushed = self.unflushed.write().unwrap_or_else(PoisonError::into_inner);
        unflushed.retain(|index, _| is_whole(*index, length));
    }

    /// Forgets the nodes that are not whole below `length`, which the log was cut to.
    ///
    /// Only while nobody else reads, as when opening.
    pub(crate) fn truncate(&self, length: u64) {
        self.file_limit.fetch_min(length, Ordering::AcqRel);
        self.drop_beyond(length);
        self.pages.clear();
        self.offsets.clear();
    }

    /// Finds out whether the part holds nodes that must not be believed; if not, all are from here
    /// on.
    pub(crate) fn look_for_stale_nodes(&self) -> Result<()> {
        let limit = self.file_limit.load(Ordering::Acquire);
        let is_longer = self.disk.len(Part::Tree)? > file_len(limit);
        if !is_longer && self.stale_ancestors(limit)?.is_empty() {
            self.file_limit.store(UNLIMITED, Ordering::Release);
        }
        Ok(())
    }

    /// Writes the unflushed nodes to the part, without a sync.
    ///
    /// They stay in memory until [`retire`](Self::retire).
    pub(crate) fn write(&self) -> Result<()> {
        self.remove_stale_nodes()?;
        let mut nodes: Vec<Node> = {
            let unflushed = self.unflushed.read().unwrap_or_else(PoisonError::into_inner);
            unflushed.values().copied().collect()
        };
        nodes.sort_unstable_by_key(|node| node.index);
        for run in nodes.chunk_by(|a, b| a.index + 1 == b.index) {
            let Some(first) = run.first() else { continue };
            let mut bytes = Vec::with_capacity(run.len() * NODE_LEN as usize);
            for node in run {
                bytes.extend_from_slice(&node.size.to_le_bytes());
                bytes.extend_from_slice(node.hash.as_bytes());
            }
            self.disk.write_at(Part::Tree, first.index.saturating_mul(NODE_LEN), &bytes)?;
        }
        Ok(())
    }

    /// Forgets that the nodes are unflushed, after [`write`](Self::write) and all that must follow.
    pub(crate) fn retire(&self) {
        // Order matters: a reader who does not find a node among the unflushed ones must not find
        // a page from before the node was written. Removing a page that is being read just now
        // keeps what was read out of the cache.
        let nodes = {
            let unflushed = self.unflushed.read().unwrap_or_else(PoisonError::into_inner);
            let mut pages: Vec<u64> = unflushed.keys().map(|index| index / PAGE_NODES).collect();
            pages.sort_unstable();
            pages.dedup();
            pages.iter().for_each(|page| drop(self.pages.remove(page)));
            unflushed.len()
        };
        let mut unflushed = self.unflushed.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(unflushed.len(), nodes, "only the writer adds nodes, and it is here");
        *unflushed = HashMap::new();
    }

    /// Returns offset and size in bytes of a block that is held.
    ///
    /// `source` may have more nodes than are stored here, but none that differ.
    pub(crate) fn locate(
        &self,
        source: &dyn NodeSource,
        roots: &Roots,
        block: u64,
    ) -> Result<(u64, u64)> {
        let leaf = source.expect_node(block.saturating_mul(2))?;
        if let Some(offset) = self.offset_by_group(source, roots, leaf.index)? {
            return Ok((offset, leaf.size));
        }
        Ok((merkle::byte_offset(source, roots, leaf.index)?, leaf.size))
    }

    /// The short way for long logs: from where the block's group begins, which is remembered, down
    /// a few nodes of one page. `None` if nodes are missing on it.
    fn offset_by_group(
        &self,
        source: &dyn NodeSource,
        roots: &Roots,
        leaf: u64,
    ) -> Result<Option<u64>> {
        let group = leaf / PAGE_NODES;
        let top = group * PAGE_NODES + (1 << GROUP_DEPTH) - 1;
        if !is_whole(top, roots.length()) {
            return Ok(None);
        }
        let mut offset = match self.offsets.get(&group) {
            Some(offset) => offset,
            None => {
                let offset = match merkle::byte_offset(source, roots, top) {
                    Err(Error::NotAvailable { .. }) => return Ok(None),
                    offset => offset?,
                };
                self.offsets.insert(group, offset);
                offset
            }
        };
        let mut at = top;
        while let Some((left, right)) = flat_tree::children(at) {
            if leaf <= flat_tree::right_span(left) {
                at = left;
                continue;
            }
            let Some(left) = source.node(left)? else {
                return Ok(None);
            };
            offset = offset.saturating_add(left.size);
            at = right;
        }
        Ok(Some(offset))
    }

    /// Reads a node from the part, by way of the cache.
    fn read(&self, index: u64) -> Result<Option<Node>> {
        let number = index / PAGE_NODES;
        let page = self.pages.get_or_insert_with(&number, || self.read_page(number))?;
        let at = (index % PAGE_NODES * NODE_LEN) as usize;
        Ok(page.get(at..).and_then(|bytes| decode(index, bytes)))
    }

    fn read_page(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let mut bytes = vec![0; PAGE_LEN as usize];
        let count = self.disk.read_at(Part::Tree, number.saturating_mul(PAGE_LEN), &mut bytes)?;
        bytes.truncate(count);
        bytes.shrink_to_fit();
        Ok(Arc::new(bytes))
    }

    /// Makes the part hold only nodes that count, so that those written next are not mixed up with
    /// others.
    fn remove_stale_nodes(&self) -> Result<()> {
        let limit = self.file_limit.load(Ordering::Acquire);
        if limit == UNLIMITED {
            return Ok(());
        }
        if self.disk.len(Part::Tree)? > file_len(limit) {
            self.disk.truncate(Part::Tree, file_len(limit))?;
        }
        for index in self.stale_ancestors(limit)? {
            self.disk.write_at(Part::Tree, index * NODE_LEN, &[0; NODE_LEN as usize])?;
        }
        self.pages.clear();
        self.file_limit.store(UNLIMITED, Ordering::Release);
        Ok(())
    }

    /// Nodes in the part, before the one where a log of `length` blocks goes on, that reach past
    /// its end.
    fn stale_ancestors(&self, length: u64) -> Result<Vec<u64>> {
        let end = length.saturating_mul(2);
        let ancestors = iter::successors(flat_tree::parent(end), |index| flat_tree::parent(*index));
        let mut stale = Vec::new();
        for index in ancestors.filter(|index| *index < end) {
            if self.read(index)?.is_some() {
                stale.push(index);
            }
        }
        Ok(stale)
    }
}

/// Length of the part `Tree` for a log of `length` blocks.
fn file_len(length: u64) -> u64 {
    length.saturating_mul(2).saturating_sub(1).saturating_mul(NODE_LEN)
}

/// Whether all blocks below node `index` are among the first `length` ones.
fn is_whole(index: u64, length: u64) -> bool {
    flat_tree::right_span(index) / 2 < length
}

fn decode(index: u64, bytes: &[u8]) -> Option<Node> {
    let (size, rest) = bytes.split_first_chunk::<8>()?;
    let hash = rest.first_chunk::<32>()?;
    let size = u64::from_le_bytes(*size);
    let is_there = size != 0 || hash.iter().any(|&byte| byte != 0);
    is_there.then_some(Node { index, size, hash: Hash::from_bytes(*hash) })
}

/// The nodes that a log of some length may have: none that reach past its end.
pub(crate) struct TreeView<'a> {
    store: &'a TreeStore,
    length: u64,
}

impl NodeSource for TreeView<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>> {
        if !is_whole(index, self.length) {
            return Ok(None);
        }
        let unflushed = self.store.unflushed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = unflushed.get(&index) {
            return Ok(Some(*node));
        }
        drop(unflushed);
        if !is_whole(index, self.store.file_limit.load(Ordering::Acquire)) {
            return Ok(None);
        }
        self.store.read(index)
    }
}

/// Nodes that are not stored yet, before those of another source.
pub(crate) struct Overlaid<'a> {
    pub(crate) new: &'a HashMap<u64, Node>,
    pub(crate) below: &'a dyn NodeSource,
}

impl NodeSource for Overlaid<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>> {
        match self.new.get(&index) {
            Some(node) => Ok(Some(*node)),
            None => self.below.node(index),
        }
    }
}
