use bytes::Bytes;

/// What one block of the log says about its key.
///
/// The bytes share the memory of the block, or of up to 4 KiB with entries beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the block.
    pub seq: u64,
    /// The key.
    pub key: Bytes,
    /// The value. `None` for a deletion, and for a put of no value.
    pub value: Option<Bytes>,
    /// All fields of the block that are not the tree's own, raw, one after the other.
    pub extra: Bytes,
}
