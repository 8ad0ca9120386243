//! One node of the hash tree over a log's blocks.

use crate::{compact, error::DecodeError, flat_tree, hash, keys::Hash};

/// A node of the tree: a block's hash, or the hash over the two nodes below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place, see [`flat_tree`].
    pub index: u64,
    /// Bytes in all blocks below.
    pub size: u64,
    /// Its hash. It binds the sum of the sizes below, not each of them.
    pub hash: Hash,
}

impl Node {
    /// The leaf of the block with number `block_index`.
    pub(crate) fn leaf(block_index: u64, block: &[u8]) -> Option<Self> {
        let index = block_index.checked_mul(2)?;
        Some(Self { index, size: block.len() as u64, hash: hash::leaf(block) })
    }

    /// The node above two siblings, given in any order; `None` if they are none or too large.
    pub(crate) fn parent(a: &Self, b: &Self) -> Option<Self> {
        if flat_tree::sibling(a.index)? != b.index {
            return None;
        }
        let (left, right) = if a.index < b.index { (a, b) } else { (b, a) };
        let index = flat_tree::parent(a.index)?;
        let size = left.size.checked_add(right.size).filter(|&size| size <= compact::MAX_UINT)?;
        Some(Self { index, size, hash: hash::parent(&left.hash, &right.hash, size) })
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        compact::put_uint(out, self.index);
        compact::put_uint(out, self.size);
        out.extend_from_slice(self.hash.as_bytes());
    }

    pub(crate) fn read(reader: &mut compact::Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            index: reader.uint()?,
            size: reader.uint()?,
            hash: Hash::from_bytes(reader.fixed()?),
        })
    }
}

/// Appends an array of nodes.
pub(crate) fn put_nodes(out: &mut Vec<u8>, nodes: &[Node]) {
    compact::put_uint(out, nodes.len() as u64);
    nodes.iter().for_each(|node| node.put(out));
}

/// Takes an array of nodes.
pub(crate) fn read_nodes(reader: &mut compact::Reader<'_>) -> Result<Vec<Node>, DecodeError> {
    reader.array(NODE_LEN_MIN, Node::read)
}

/// Two numbers of at least a byte, and the hash.
const NODE_LEN_MIN: usize = 34;

/// Two numbers of at most nine bytes, and the hash.
pub(crate) const NODE_LEN_MAX: usize = 50;
