//! Every bound of this crate, in one place.

/// Most bytes in one block, as Hypercore limits them: 15 MiB.
pub const BLOCK_LEN_MAX: u64 = 15 * 1024 * 1024;

/// Most bytes in one appended block unless the application asks for more: 4 MiB.
pub(crate) const BLOCK_LEN_DEFAULT_MAX: u64 = 4 * 1024 * 1024;

/// Most blocks in one append.
pub(crate) const BATCH_BLOCKS_MAX: usize = 65_536;

/// Most bytes of block data in one append: 1 GiB.
pub(crate) const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Bytes of oplog entries at which a writer's log moves them to their places.
pub(crate) const FLUSH_BYTES: u64 = 64 * 1024;

/// The same for a replica. Its entries are larger and can be fetched again, so it waits for more.
pub(crate) const FLUSH_BYTES_REPLICA: u64 = 1024 * 1024;

/// Most bytes in the payload of one oplog entry; the format's own bound is 1 GiB.
pub(crate) const ENTRY_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Most bytes in a header kept in the part `Header`.
pub(crate) const EXTERNAL_HEADER_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of tree pages that one log keeps in memory: all of them up to 100,000 blocks.
pub(crate) const TREE_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Number of byte offsets that one log remembers, each of a group of blocks.
pub(crate) const OFFSET_CACHE_ITEMS: usize = 16 * 1024;

/// Most bytes of neighbouring blocks that are joined into one write when proofs are applied.
pub(crate) const JOINED_WRITE_BYTES: usize = 1024 * 1024;

/// Blocks up to this many bytes are read without asking first how long the part is.
pub(crate) const UNCHECKED_READ_BYTES: u64 = 64 * 1024;

const _: () = assert!(FLUSH_BYTES < ENTRY_LEN_MAX);
// A batch of the largest size, two nodes of at most 50 bytes for each block, is one entry.
const _: () = assert!((BATCH_BLOCKS_MAX as u64) * 100 + 4096 <= ENTRY_LEN_MAX);
