//! Every bound of this crate, in one place.

/// Most bytes in one block, as Hypercore limits them: 15 MiB.
pub const BLOCK_LEN_MAX: u64 = 15 * 1024 * 1024;

/// Most bytes in one appended block unless the application asks for more: 4 MiB.
pub(crate) const BLOCK_LEN_DEFAULT_MAX: u64 = 4 * 1024 * 1024;

/// Most blocks in one append.
pub(crate) const BATCH_BLOCKS_MAX: usize = 65_536;

/// Most bytes of block data in one append: 1 GiB.
pub(crate) const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Bytes of oplog entries at which a log moves them to their places.
///
/// Each time costs three waits for the disk at least, and reading the entries on opening costs some
/// 5 ms for each MiB.
pub(crate) const FLUSH_BYTES: u64 = 1024 * 1024;

/// The same for a log that waits for the disk at no other time.
pub(crate) const FLUSH_BYTES_BUFFERED: u64 = 4 * 1024 * 1024;

/// Bytes of blocks at which a log is flushed whose nodes went straight to their places.
///
/// Opening it after a crash reads them all, and hashes them and the nodes above them anew, which
/// takes some 10 ms for each MiB of blocks of 100 bytes.
pub(crate) const FLUSH_PLACED_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of entries that a log which was just opened keeps in memory until there are more, and that
/// may wait in a log that is closed.
pub(crate) const FOUND_BYTES_MAX: u64 = 64 * 1024;

/// The same for the blocks whose nodes went straight to their places.
pub(crate) const FOUND_PLACED_BYTES_MAX: u64 = 1024 * 1024;

/// New nodes of one append from which on it pays to write them straight to their places.
pub(crate) const PLACED_NODES_MIN: usize = 64;

/// Most bytes of blocks that are read at once to be checked on opening, unless one is longer.
pub(crate) const CHECKED_BYTES: u64 = 1024 * 1024;

/// Most blocks that are checked at once on opening.
pub(crate) const CHECKED_BLOCKS: u64 = 4096;

/// Most bytes of memory that are kept for the next append.
pub(crate) const SCRATCH_BYTES_MAX: usize = 512 * 1024;

/// Most bytes of one part that are kept in memory by [`Durability::None`](crate::Durability::None).
pub(crate) const WRITE_BEHIND_BYTES: usize = 1024 * 1024;

/// Most bytes in the payload of one oplog entry; the format's own bound is 1 GiB.
pub(crate) const ENTRY_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Most bytes in a header kept in the part `Header`.
pub(crate) const EXTERNAL_HEADER_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that the logs of a process cache unless told otherwise: 64 MiB.
pub(crate) const CACHE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Bytes of an item in the cache, about.
pub(crate) const CACHE_ITEM_BYTES: u64 = 4096;

/// Most bytes of 64 neighbouring blocks that are read and cached together.
pub(crate) const GROUP_DATA_BYTES_MAX: u64 = 32 * 1024;

/// Most bytes of a block that is cached alone: for a larger one a read of its own costs little more
/// than its checking.
pub(crate) const CACHED_BLOCK_BYTES_MAX: u64 = 4096;

/// Most bytes of neighbouring blocks that are joined into one write when proofs are applied.
pub(crate) const JOINED_WRITE_BYTES: usize = 64 * 1024;

/// Blocks up to this many bytes are read without asking first how long the part is.
pub(crate) const UNCHECKED_READ_BYTES: u64 = 64 * 1024;

const _: () = assert!(FLUSH_BYTES_BUFFERED < ENTRY_LEN_MAX);
/// Most nodes in one list of a proof that is checked without anything held: an honest one needs at
/// most two for each level of the highest tree.
pub(crate) const PROOF_NODES_MAX: usize = 128;

/// Most bytes in the encoding of a conflict, the proof that a writer signed two histories: a
/// mebibyte with all that is stored with it.
pub(crate) const CONFLICT_LEN_MAX: usize = 1024 * 1024 - 64;

/// Most bytes in a head's signature that is kept in a conflict; enough for a thousand signers.
pub(crate) const CONFLICT_SIGNATURE_LEN_MAX: usize = 128 * 1024;

// A batch of the largest size, two nodes of at most 50 bytes for each block, is one entry.
const _: () = assert!((BATCH_BLOCKS_MAX as u64) * 100 + 4096 <= ENTRY_LEN_MAX);

/// Most bytes of user data in one log, keys and all: 1 MiB.
pub(crate) const USER_DATA_BYTES_MAX: u64 = 1024 * 1024;

/// Most values of user data in one log.
pub(crate) const USER_DATA_ITEMS_MAX: usize = 1000;

/// Most notes on cuts in a header that is read. Nobody writes more than four.
pub(crate) const REORGS_READ_MAX: usize = 64;

/// How often a log that another process writes is read before that is given up.
pub(crate) const READ_ATTEMPTS: u32 = 100;

/// Open files of all logs of a process together, besides one of each log for its lock. More are
/// open only while they wait for a sync.
pub(crate) const OPEN_FILES_MAX: usize = 256;

/// Most findings of an audit that are told.
pub(crate) const FINDINGS_MAX: usize = 10_000;

/// Blocks that an audit reads before it tells of its progress.
pub(crate) const AUDIT_STEP_BLOCKS: u64 = 4096;

/// Blocks that are fetched for a restoration before its progress is told.
pub(crate) const REPAIR_BATCH: usize = 256;

/// Most audits of one repair: each round mends at least one level of the tree.
pub(crate) const REPAIR_ROUNDS_MAX: usize = 64;

/// Levels above the blocks of one run: 1024 blocks.
pub(crate) const RUN_DEPTH_MAX: u32 = 10;

/// Most bytes of the blocks in one run.
pub(crate) const RUN_LEN_MAX: u64 = 1024 * 1024;
