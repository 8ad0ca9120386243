//! What a replica asks of a peer (docs/spec/log.md section 4.1).

/// A wish for parts of a log together with their proof. At most one of `block` and `hash` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// One block.
    pub block: Option<RequestBlock>,
    /// One node of the tree.
    pub hash: Option<RequestHash>,
    /// The way to the block that holds a byte. Alone it is answered by an empty proof.
    pub seek: Option<RequestSeek>,
    /// A newer head.
    pub upgrade: Option<RequestUpgrade>,
    /// Whether the answer should bring the log's manifest.
    pub manifest: bool,
}

/// Asks for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBlock {
    /// The block's number.
    pub index: u64,
    /// How many levels above the block's leaf the first node stands that the asker holds.
    pub nodes: u64,
}

/// Asks for a tree node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHash {
    /// The node's tree index.
    pub index: u64,
    /// How many levels above it the first node stands that the asker holds.
    pub nodes: u64,
}

/// Asks where a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSeek {
    /// The byte's offset from the start of the log.
    pub bytes: u64,
    /// Bytes of each block that do not count.
    pub padding: u64,
}

/// Asks for the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestUpgrade {
    /// The asker's length in blocks.
    pub start: u64,
    /// How many blocks beyond `start`. The answer goes on to the answerer's own length.
    pub length: u64,
}
