//! What can go wrong, sorted by who has to do something about it.

use std::{io, path::PathBuf};

use crate::storage::Part;

/// The result of an operation on a log.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Bytes that are not what they should encode. Whoever made them is to blame.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input stops in the middle of a value.
    #[error("input ends too early: {needed} bytes needed, {left} left")]
    TooShort { needed: u64, left: u64 },
    /// A number is larger than anything of this format may be.
    #[error("number {value} is above the limit {limit}")]
    TooLarge { value: u64, limit: u64 },
    /// A text is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A discriminant, version or flag that this program does not know.
    #[error("{value} is no known {what}")]
    Unknown { what: &'static str, value: u64 },
    /// A format version of which nothing is known but its number.
    #[error("version {version} is not supported")]
    UnsupportedVersion { version: u64 },
    /// A value that no writer of this format makes.
    #[error("invalid {what}")]
    Invalid { what: &'static str },
    /// Bytes are left over after the last field.
    #[error("{len} bytes left over after the last field")]
    Trailing { len: u64 },
    /// A text that should be a key is neither 52 characters z-base-32 nor 64 characters hex.
    #[error("not a key: {what}")]
    NotAKey { what: &'static str },
}

/// Why a log refused to do something.
///
/// | variants | to blame | what to do |
/// |---|---|---|
/// | `Decode`, `BadProof`, `BadSignature` | the peer | hang up, keep the log |
/// | `TwoHistories` | the log's writer | stop trusting it past the last common length |
/// | `OwnLog` | who else has this log's key | never append again, go on in a new log |
/// | `ForkMismatch`, `Outdated` | nobody | drop the proof |
/// | `InvalidRequest` | who asked | answer "no data" |
/// | `NotAvailable` | nobody | ask somebody else |
/// | `NotWritable`, `Copied`, `ReadOnly`, `WrongStorage`, `InvalidFork`, `UnfinishedReorg`, `BlockTooLarge`, `BatchTooLarge`, `LogTooLarge` | the caller | mend the call |
/// | `Locked`, `Busy` | another process | try again later |
/// | `NewerFormat` | nobody | use a newer program |
/// | `Corrupt` | this machine | [repair](crate::Log::repair), or [restore](crate::Log::restore) if it does not open |
/// | `Io`, `ReadOnlyAfterFailedSync` | this machine | stop writing, tell a person, open it anew |
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes came from a peer and are not a message of this format.
    #[error("undecodable bytes")]
    Decode(#[from] DecodeError),
    /// A proof does not prove what it says. `index` is the tree node at which it broke.
    #[error("bad proof at tree node {index}: {what}")]
    BadProof { index: u64, what: &'static str },
    /// The signature of a head is not one by the log's signers.
    #[error("the signature over length {length}, fork {fork} is not valid")]
    BadSignature { length: u64, fork: u64 },
    /// Two validly signed heads cannot both be prefixes of one log.
    #[error("the writer signed two different histories, apart by length {length} at the latest")]
    TwoHistories { length: u64 },
    /// The log was cut by someone else with the key that writes it here.
    #[error("fork {theirs} of this log was signed elsewhere; here, it is written at fork {ours}")]
    OwnLog { ours: u64, theirs: u64 },
    /// The proof speaks of another fork than the one held here.
    #[error("the proof is for fork {theirs}, this log is at fork {ours}")]
    ForkMismatch { ours: u64, theirs: u64 },
    /// The proof leads on from a length that this log has left behind. It may have been right when
    /// it was made.
    #[error("the proof leads on from length {start}, this log is at length {ours} by now")]
    Outdated { start: u64, ours: u64 },
    /// The request can be answered by nobody, whatever they hold.
    #[error("invalid request: {what}")]
    InvalidRequest { what: &'static str },
    /// The answer needs a tree node that is not stored here.
    #[error("tree node {index} is not stored here")]
    NotAvailable { index: u64 },
    /// A log can only be cut to a higher fork than it has.
    #[error("fork {asked} is not above this log's fork {ours}")]
    InvalidFork { ours: u64, asked: u64 },
    /// It is not known yet which blocks stay.
    #[error("the reorg is not finished: {shared_len} blocks are known to be shared so far")]
    UnfinishedReorg { shared_len: u64 },
    /// There is no key pair here that may sign this log.
    #[error("this log is not writable here")]
    NotWritable,
    /// The storage is a copy of another one, as a restored backup is. It can be read and followed.
    #[error(
        "this log is a copy of one that may be written elsewhere: adopt it if that will never be again"
    )]
    Copied,
    /// A block is longer than a log may hold.
    #[error("block of {len} bytes, at most {limit} are allowed")]
    BlockTooLarge { len: u64, limit: u64 },
    /// An append or a header is larger than is written at once.
    #[error("{len} {unit} at once, at most {limit} are allowed")]
    BatchTooLarge { len: u64, limit: u64, unit: &'static str },
    /// The log would have more blocks or bytes than the format can number.
    #[error("the log would grow past the largest number of its format")]
    LogTooLarge,
    /// The storage holds a log already, or holds none.
    #[error("{what}")]
    WrongStorage { what: &'static str },
    /// Our own storage returned bytes that we would not have written.
    #[error("storage part {part:?} is corrupt at byte {offset}: {what}")]
    Corrupt { part: Part, offset: u64, what: &'static str },
    /// The storage was written by a newer program.
    #[error("storage part {part:?} has format version {version}, at most {known} is known")]
    NewerFormat { part: Part, version: u64, known: u64 },
    /// Reading or writing storage failed.
    #[error("storage I/O")]
    Io(#[from] io::Error),
    /// Another process, or another handle in this one, has the log open.
    #[error("{} is locked by another user", path.display())]
    Locked { path: PathBuf },
    /// Another process changes the log faster than it can be read.
    #[error("the log's writer changes it faster than it can be read; try again")]
    Busy,
    /// The log was opened for reading only.
    #[error("the log was opened for reading only")]
    ReadOnly,
    /// A sync failed earlier. What is on disk is unknown until the log is opened anew.
    #[error("the log takes no more writes since a sync failed; open it anew")]
    ReadOnlyAfterFailedSync,
}
