//! The places at which a log waits for the disk, by name.

/// Why a log waits until a part is on disk. `docs/architecture.md` says what each is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "named by tests, which turn on the feature `testing`")
)]
pub enum Barrier {
    /// A new log's files, before the log is there.
    Create,
    /// Blocks and their entry, before they are acknowledged or shared.
    Commit,
    /// All that a header will tell of, before the header.
    Flush,
    /// The header, before the entries go that it replaces.
    Header,
    /// The entry that drops blocks, before their bytes go.
    Clear,
    /// The proof that the writer signed two histories, before anything rests on it.
    Conflict,
    /// What was dropped on opening, before something is written in its place; and what was found
    /// there, before it is shared.
    Recovery,
}
