//! Every bound of this crate, in one place.

/// Most keys in a node between two operations (order 5).
pub(crate) const NODE_KEYS_MAX: usize = 8;

/// Fewest keys in a node that is not the root.
pub(crate) const NODE_KEYS_MIN: usize = 4;

/// Keys that a node holds for a moment, just before it is split.
pub(crate) const NODE_KEYS_FULL: usize = NODE_KEYS_MAX + 1;

/// Most levels from the root to a leaf. A sound tree of 2^64 keys has 28 of them.
pub(crate) const DEPTH_MAX: usize = 64;

/// Most bytes in a key that is written here. Longer keys of other writers can be read. (Room for
/// a prefix before a user's key of 64 KiB.)
pub const KEY_LEN_MAX: usize = (64 << 10) + 256;

/// Most operations in one batch: what the log takes in one append.
pub const BATCH_OPS_MAX: usize = 65_536;

/// Bytes of memory that a writer keeps between batches, at most. A batch of 1000 puts takes about 2
/// MiB.
pub(crate) const SPARE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of decoded blocks and nodes that are kept, unless the options say otherwise: 32 MiB.
pub(crate) const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of keys, values and extra of one node's entries up to which they are kept with the node. Who
/// keeps an entry may keep so much.
pub(crate) const RECORDS_LEN_MAX: usize = 4096;

/// Bytes that a cached item takes on average, to size the cache's table.
pub(crate) const CACHED_BYTES_MEAN: u64 = 1024;

/// Bytes that the cache's table, the allocator and reference counts take for an item, roughly.
pub(crate) const CACHED_OVERHEAD_BYTES: u64 = 128;

/// Mean block length up to which a read that lacks blocks names neighbours too. Beyond it, what a
/// guess costs to download outweighs the round trip that it saves.
pub(crate) const WIDE_BLOCK_LEN: u64 = 4096;

/// Blocks that a range names at a time when it runs into missing ones: with [`WIDE_BLOCK_LEN`], 8 MiB
/// on average at most.
pub(crate) const AHEAD_BLOCKS: usize = 2048;

/// Nodes at hand that a range looks at while it searches for further missing blocks.
pub(crate) const AHEAD_NODES: usize = 4096;

/// Blocks that a diff names at a time when it runs into missing ones.
pub(crate) const DIFF_AHEAD_BLOCKS: usize = 4096;

/// Changes and holes that a diff walks over while it looks for further missing blocks.
pub(crate) const DIFF_AHEAD_STEPS: usize = 8192;

/// Blocks that a history names at a time when it runs into missing ones.
pub(crate) const HISTORY_AHEAD_BLOCKS: u64 = 1000;

/// Findings after which a check ends: whoever writes so many makes more.
pub(crate) const FINDINGS_MAX: usize = 256;

/// Missing blocks that are named at a time by what reads whole trees.
pub(crate) const MISSING_MAX: usize = 65_536;

/// Nodes between two reports of how far a walk over a whole tree is.
pub(crate) const PROGRESS_NODES: u64 = 1024;

/// Blocks that are named in one answer to a range's hint, and that one such message may name.
pub(crate) const HINT_BLOCKS_MAX: usize = 2048 + HINT_PART_BLOCKS;

/// Blocks in one message of an answer.
pub(crate) const HINT_PART_BLOCKS: usize = 128;

/// Entries that a range gives at least between two hints. An answer covers about twice as many, and
/// until it is used up there is nothing new to ask.
pub(crate) const HINT_ENTRIES: u64 = 1024;

/// Runs of blocks that are cleared at a time, with one wait for the disk.
pub(crate) const CLEAR_RUNS: usize = 1024;

const _: () = assert!(NODE_KEYS_FULL == 2 * NODE_KEYS_MIN + 1);
