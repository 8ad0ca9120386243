//! Values that merge by themselves.

use bytes::Bytes;

use crate::{Dot, Renaming, StateError, Time, WriteError};

/// A type of values whose concurrent versions join into one visible value.
///
/// Each version carries a *state*: bytes from which the visible value follows, and which know
/// enough of the past to be joined. States form a join semilattice: [`join`](Self::join) is
/// commutative, associative and idempotent, byte for byte, so equal states must have equal bytes.
/// All methods are pure. [`crate::laws::check_type`] tests a type of one's own.
pub trait MergeType: Send + Sync {
    /// The type's number in records; [`crate::FIRST_USER_KIND`] and above for users' own types.
    fn kind(&self) -> u32;

    /// What a user sees of a state.
    ///
    /// # Errors
    ///
    /// The bytes are no state of this type that this program can read.
    fn value(&self, state: &[u8]) -> Result<Bytes, StateError>;

    /// Everything that either state knows.
    ///
    /// # Errors
    ///
    /// One of them is unreadable.
    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError>;

    /// The state after a user, who saw `base`, put `value` as a whole.
    ///
    /// What differs from the visible value of `base` is what the user did; what does not differ
    /// is left as it is, open to concurrent changes. `base` joins the states of all versions that
    /// the write supersedes, deletes included. `dot` names the write and is greater than every
    /// dot of its device before.
    ///
    /// # Errors
    ///
    /// The value is none of this type or too large, or `base` is unreadable.
    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        dot: Dot,
        time: Time,
    ) -> Result<Bytes, WriteError>;

    /// The state that a delete carries: it holds nothing, and remembers whose writes there were.
    ///
    /// Joining it to a live state takes nothing away: an edit beats a concurrent delete.
    ///
    /// # Errors
    ///
    /// `base` is unreadable.
    fn delete(&self, base: Option<&[u8]>, dot: Dot) -> Result<Bytes, StateError>;

    /// Whether [`rename`](Self::rename) needs to know the state where a log's histories part.
    fn renames_from_before(&self) -> bool {
        false
    }

    /// The state with other names for the writes that a [`Renaming`] concerns. `base` is the state as
    /// the log had it where its histories part, if it had one.
    ///
    /// Renaming goes through joins: a joined state is renamed to the join of the renamed ones. Types
    /// whose states name no writes keep them as they are, as is done here.
    ///
    /// # Errors
    ///
    /// One of them is unreadable.
    fn rename(
        &self,
        state: &[u8],
        _renaming: &Renaming,
        _base: Option<&[u8]>,
    ) -> Result<Bytes, StateError> {
        Ok(Bytes::copy_from_slice(state))
    }
}
