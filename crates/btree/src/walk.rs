use std::sync::Arc;

use crate::entry::Entry;
use crate::error::{BlockFault, Error, Result};
use crate::limits::DEPTH_MAX;
use crate::node::{Kid, Node, Place};
use crate::store::Store;

/// A tree as a reader sees it, one node at a time: a stored version, or the state within a batch.
pub(crate) trait Walk {
    /// A node at hand, cheap to clone.
    type Node: Clone;

    /// The topmost node, or `None` if there is no tree yet.
    fn root(&self) -> Result<Option<Self::Node>>;

    /// Child number `i` of an inner node.
    fn kid(&self, node: &Self::Node, i: usize) -> Result<Self::Node>;

    fn key_count(&self, node: &Self::Node) -> usize;

    fn is_leaf(&self, node: &Self::Node) -> bool;

    /// Where `key` belongs in a node.
    fn search(&self, node: &Self::Node, key: &[u8]) -> Result<Place>;

    /// What is stored under key number `i` of a node.
    fn entry(&self, node: &Self::Node, i: usize) -> Result<Entry>;
}

/// The tree of one version of the log.
pub(crate) struct Stored<'a> {
    pub(crate) store: &'a Store,
    pub(crate) version: u64,
}

impl Stored<'_> {
    /// Where the root is, unless the tree is that of a log with no entries.
    pub(crate) fn root_spot(&self) -> Option<Kid> {
        (self.version >= 2).then(|| Kid { seq: self.version - 1, level: 0 })
    }
}

impl Walk for Stored<'_> {
    type Node = Arc<Node>;

    fn root(&self) -> Result<Option<Arc<Node>>> {
        let Some(spot) = self.root_spot() else {
            return Ok(None);
        };
        self.store.node(spot).map(Some).map_err(|error| match error {
            Error::BadBlock { seq, what: BlockFault::NoLevel { level: 0 } } if seq == spot.seq => {
                Error::NotACommitEnd { version: self.version }
            }
            error => error,
        })
    }

    fn kid(&self, node: &Arc<Node>, i: usize) -> Result<Arc<Node>> {
        self.store.kid(node.kid(i))
    }

    fn key_count(&self, node: &Arc<Node>) -> usize {
        node.key_seqs().len()
    }

    fn is_leaf(&self, node: &Arc<Node>) -> bool {
        node.is_leaf()
    }

    fn search(&self, node: &Arc<Node>, key: &[u8]) -> Result<Place> {
        self.store.search(node, key)
    }

    fn entry(&self, node: &Arc<Node>, i: usize) -> Result<Entry> {
        self.store.entry(node, i)
    }
}

/// Looks one key up, by plain search from the root.
///
/// (The reader in JavaScript answers early from a block that carries the key; that can bring back
/// deleted entries, see section 5 of docs/spec/btree.md.)
pub(crate) fn get<W: Walk>(tree: &W, key: &[u8]) -> Result<Option<Entry>> {
    let Some(mut node) = tree.root()? else {
        return Ok(None);
    };
    for _ in 0..DEPTH_MAX {
        node = match tree.search(&node, key)? {
            Place::Key(i) => return tree.entry(&node, i).map(Some),
            Place::Gap(_) if tree.is_leaf(&node) => return Ok(None),
            Place::Gap(i) => tree.kid(&node, i)?,
        };
    }
    Err(Error::TooDeep)
}
