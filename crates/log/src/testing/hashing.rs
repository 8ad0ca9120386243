//! The log's hash functions, to be measured.

use crate::hash;
use crate::keys::Hash;

/// The hash of a block in the log's tree.
#[must_use]
pub fn leaf_hash(block: &[u8]) -> Hash {
    hash::leaf(block)
}

/// The hashes of blocks, in order, several computed at once.
#[must_use]
pub fn leaf_hashes(blocks: &[&[u8]]) -> Vec<Hash> {
    let mut hashes = Vec::with_capacity(blocks.len());
    hash::leaves(blocks, |_, hash| hashes.push(hash));
    hashes
}

/// The hash of the node above two others, with `size` bytes below it.
#[must_use]
pub fn parent_hash(left: &Hash, right: &Hash, size: u64) -> Hash {
    hash::parent(left, right, size)
}
