//! Limits on the values and states of mergeable types, checked before anything grows.

/// Longest value that may be written to a mergeable type, in bytes: 1 MiB.
pub const MAX_VALUE_LEN: usize = 1 << 20;

/// Longest state that a write may produce, in bytes: 2 MiB.
pub const MAX_WRITTEN_STATE_LEN: usize = 2 << 20;

/// Longest state that is read, in bytes: 8 MiB. A join of several written states may be longer
/// than each of them.
pub const MAX_STATE_LEN: usize = 8 << 20;

/// Longest value that is shown, in bytes: 8 MiB. A value that was joined of several may be longer than
/// each of them.
pub const MAX_SHOWN_LEN: usize = 8 << 20;

/// Deepest nesting of objects and lists in a value, and longest path in a state.
pub const MAX_DEPTH: usize = 32;

/// Most facts (fields, list items, elements) that a write may leave in a state.
pub const MAX_WRITTEN_FACTS: usize = 32_768;

/// Most facts in a state that is read.
pub const MAX_FACTS: usize = 131_072;

/// Most steps in the name of a list item. Only inserts that always go between the two latest ones
/// make names longer.
pub const MAX_ITEM_STEPS: usize = 128;

/// Greatest magnitude of a counter's written value, and of one write's step: 2^90.
pub const MAX_COUNT: i128 = 1 << 90;

/// Greatest magnitude of one device's share of a counter: 2^100. Sums of as many shares as a state
/// has room for stay within 128 bits.
pub const MAX_SHARE: i128 = 1 << 100;

/// Most operations in the changes of an Automerge document that a write may leave: each letter of a
/// text that ever was there is one.
pub const MAX_WRITTEN_OPS: u64 = 1 << 17;

/// Most operations in an Automerge document that is read. It takes some 600 bytes of memory for each
/// of them while it is open.
pub const MAX_OPS: u64 = 1 << 19;

/// Most bytes of field names in an Automerge document, each counted as often as an operation has it.
pub const MAX_NAME_BYTES: u64 = 16 << 20;
