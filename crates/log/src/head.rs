//! What a writer has signed: how long its log is, and the hash of all of it.

use bytes::Bytes;

use crate::keys::Hash;

/// A signed state of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of blocks.
    pub length: u64,
    /// The fork: 0, and a higher number after each cut. Signed with the rest.
    pub fork: u64,
    /// Bytes of all blocks together.
    pub byte_length: u64,
    /// Hash of the roots of the Merkle tree.
    pub tree_hash: Hash,
    /// Signature in the stored form: 64 bytes, or an array of numbered signatures, as the manifest
    /// asks for.
    pub signature: Bytes,
}
