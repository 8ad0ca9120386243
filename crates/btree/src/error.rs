use crate::codec::CodecError;
use crate::limits::{BATCH_OPS_MAX, KEY_LEN_MAX};

/// What every call of this crate that can fail returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the tree refused to do something. After any error, everything is as it was.
///
/// [`Missing`](Error::Missing) blames nobody: fetch the blocks and call again.
/// [`BadBlock`](Error::BadBlock), [`TooDeep`](Error::TooDeep) and [`NotABee`](Error::NotABee) blame
/// the writer of the log. [`Log`](Error::Log) is whatever the log says. The rest blames the caller.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Blocks that are not on this machine. The first is needed, the others most likely come next.
    #[error("{} blocks are not on this machine, block {} first", .0.len(), .0.first().copied().unwrap_or_default())]
    Missing(Vec<u64>),

    /// The writer of the log appended a block that cannot be read as a part of a tree.
    #[error("block {seq} is not a sound part of a tree")]
    BadBlock { seq: u64, what: BlockFault },
    /// The writer of the log built a tree with more levels than any honest one has.
    #[error("the tree has more than 64 levels")]
    TooDeep,
    /// Block 0 is not the header of a Hyperbee.
    #[error("the log does not hold a Hyperbee: its header names the protocol {protocol:?}")]
    NotABee { protocol: String },

    /// The length lies within a batch, where the tree has no root.
    #[error("{version} is not the end of a commit")]
    NotACommitEnd { version: u64 },
    /// The length lies beyond the end of the log.
    #[error("version {version} is beyond the log, which has {len} blocks")]
    BeyondLog { version: u64, len: u64 },
    /// The two trees are not of the same log, or not of the same sub-database of it.
    #[error("the trees are not of the same log and sub-database")]
    OtherTree,
    /// The log was cut since this tree or history was taken, or this batch was begun. Begin anew.
    #[error("the log was cut meanwhile, and is now on fork {fork}: begin anew")]
    WentBack { fork: u64 },
    /// The log belongs to somebody else.
    #[error("the log is not writable here")]
    NotWritable,
    /// The key is longer than [`KEY_LEN_MAX`].
    #[error("a key of {len} bytes is longer than {KEY_LEN_MAX}")]
    KeyTooLong { len: usize },
    /// The batch has [`BATCH_OPS_MAX`] operations, or walked over 4 GiB of keys.
    #[error("a batch holds at most {BATCH_OPS_MAX} operations and 4 GiB of keys")]
    BatchTooLarge,
    /// The extra bytes are not protobuf fields beside those of the tree.
    #[error("the extra bytes are not protobuf fields with numbers above 3")]
    BadExtra(#[source] DecodeError),
    /// A key or a value is not of the type that it should be of.
    #[error("a key or a value cannot be encoded or decoded")]
    Codec(#[source] CodecError),
    /// The operation is not one of this batch.
    #[error("block {seq} is not staged in this batch")]
    NotStaged { seq: u64 },
    /// Somebody appended to the log beside the tree while a batch was open.
    #[error("the log has {found} blocks where the batch began at {expected}")]
    LogMoved { expected: u64, found: u64 },

    /// The log failed.
    #[error("the log failed")]
    Log(#[from] multibee_log::Error),
}

/// What is wrong with a block of a tree.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFault {
    /// Its bytes, or those of its index, are not the message they should be.
    #[error("undecodable: {0}")]
    Decode(#[from] DecodeError),
    /// A parent or root pointer names a level that its index does not have.
    #[error("there is no level {level}")]
    NoLevel { level: u64 },
    /// A node names something newer than itself.
    #[error("a node points forward to block {seq}")]
    Forward { seq: u64 },
    /// A node has more keys than any operation leaves behind.
    #[error("a node has {count} keys or more")]
    TooManyKeys { count: usize },
    /// A node below the root has fewer keys than any operation leaves behind.
    #[error("a node has only {count} keys")]
    TooFewKeys { count: usize },
    /// A node below the root has no key.
    #[error("a node has no keys")]
    NoKeys,
    /// An inner node does not have one child more than keys.
    #[error("a node with {keys} keys has {numbers} numbers of children")]
    Children { keys: usize, numbers: usize },
    /// The leaves do not all have the same depth.
    #[error("the leaves are not all equally deep")]
    Uneven,
    /// Keys do not ascend, or not within the bounds that the parent sets.
    #[error("keys are out of order")]
    Unordered,
    /// The node has more above it than any honest one has.
    #[error("the tree has more than 64 levels")]
    TooDeep,
    /// A node names block 0, which holds no part of a tree.
    #[error("a node points to the header")]
    NamesHeader,
    /// Block 0 is the header of something else than a Hyperbee.
    #[error("the header names another protocol")]
    NotAHeader,
}

/// Why bytes are not the protobuf message that they should be.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A field or a number runs past the end.
    #[error("cut short at byte {offset}")]
    Truncated { offset: usize },
    /// A number does not fit into 64 bits.
    #[error("a number of more than 64 bits at byte {offset}")]
    NumberTooLong { offset: usize },
    /// A group or an undefined wire type, which no reader of this format skips.
    #[error("wire type {wire_type} at byte {offset}")]
    WireType { wire_type: u8, offset: usize },
    /// A known field is not length-delimited, or an extra field has a number of the tree's own.
    #[error("field {number} is not allowed here")]
    Field { number: u64 },
    /// A required field is absent.
    #[error("field {number} is missing")]
    Absent { number: u64 },
    /// A text is not UTF-8.
    #[error("field {number} is not UTF-8")]
    NotText { number: u64 },
    /// A list has more numbers than it may have.
    #[error("field {number} has too many numbers")]
    TooMany { number: u64 },
    /// The message is longer than 4 GiB.
    #[error("longer than 4 GiB")]
    TooLong,
}
