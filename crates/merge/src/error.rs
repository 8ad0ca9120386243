//! What can be wrong with a mergeable type's state or with what is written to it.

/// Why bytes are not the state of a mergeable type that this program can read.
///
/// A version with such a state is opaque: kept, joined and passed on, but not shown.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Written by a newer program, perhaps.
    #[error("state format {format} is not known")]
    UnknownFormat { format: u8 },
    /// The bytes end within a field.
    #[error("the state ends too early")]
    Truncated,
    /// A field holds what no program writes.
    #[error("malformed state: {what}")]
    Malformed { what: &'static str },
    /// Readable, but not the one encoding that this state has.
    #[error("the state is not in its canonical form")]
    NotCanonical,
    /// Longer than any state that is read.
    #[error("a state of {len} bytes; at most {limit} are read")]
    TooLong { len: usize, limit: usize },
    /// More of something than is read.
    #[error("more than {limit} {what} in one state")]
    TooMany { what: &'static str, limit: usize },
}

/// Why a value could not be written to a mergeable type. Nothing has changed.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The value is not JSON, or a number in it is out of range.
    #[error("the value is not JSON")]
    NotJson,
    /// JSON, but not what this type holds.
    #[error("the value is not {expected}")]
    WrongShape { expected: &'static str },
    /// Objects and lists nested too deeply.
    #[error("nested deeper than {limit}")]
    TooDeep { limit: usize },
    /// The value, or the state that it would give, is too large.
    #[error("{what} beyond the limit of {limit}")]
    TooLarge { what: &'static str, limit: usize },
    /// A counter beyond what it can hold.
    #[error("the count is out of range")]
    OutOfRange,
    /// No such type is registered.
    #[error("type {kind} is not known")]
    UnknownKind { kind: u32 },
    /// What was seen cannot be read.
    #[error("the state written upon is unreadable")]
    State(#[from] StateError),
}
