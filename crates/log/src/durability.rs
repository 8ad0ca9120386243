//! When a change counts as done, and making it durable.

use std::sync::PoisonError;
use std::time::Duration;

use crate::barrier::Barrier;
use crate::error::Result;
use crate::log::{Log, Shared};
use crate::storage::Part;

/// When a change of a log returns, and what may undo it afterwards.
///
/// | mode | returns once the change is | after a crash of the program | after a power cut |
/// |---|---|---|---|
/// | `Immediate` | on disk | all there | all there |
/// | `Eventual` | with the system; on disk within the delay | all there | a prefix of the commits |
/// | `Buffered` | with the system | all there | a prefix of the commits |
/// | `None` | in memory | a prefix of the commits | a prefix of the commits |
///
/// None of them corrupts a log, and in none is a commit proven to others before it is on disk. A
/// power cut takes whole commits, the newest ones. [`truncate`](Log::truncate) and
/// [`clear`](Log::clear) are on disk in every mode when they return, with all that was accepted
/// before; so is what is known of a [conflict](Log::conflict).
///
/// Replicas wait in no mode: in the first two they are written as with `Buffered`. What a replica
/// loses can be fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on disk. Changes made at the same time by several threads share the wait.
    #[default]
    Immediate,
    /// Once it is handed to the operating system. A thread of the log's own brings it to disk
    /// within `max_delay`, as long as the log is open, and when it is closed.
    Eventual {
        /// The longest that an accepted change waits for its sync to begin, not counting a sync
        /// that is under way.
        max_delay: Duration,
    },
    /// Once it is handed to the operating system. It is on disk after [`Log::sync`].
    Buffered,
    /// Once it is in memory. It goes to the operating system in pieces of a mebibyte, and when the
    /// log is closed; it is on disk after [`Log::sync`]. (The tree nodes of large appends go to the
    /// system at once. They mean nothing before the rest is there.)
    None,
}

/// A change that was accepted. Made by [`Log::submit`].
#[derive(Debug, Clone)]
#[must_use = "nothing is known to be on disk until it is asked"]
pub struct Submitted {
    log: Log,
    change: u64,
    len: u64,
}

impl Submitted {
    pub(crate) fn new(log: Log, change: u64, len: u64) -> Self {
        Self { log, change, len }
    }

    /// Returns the log's length with this change.
    #[expect(clippy::len_without_is_empty, reason = "it is a log's length, not the token's")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether a power cut can no longer take the change back.
    pub fn is_durable(&self) -> bool {
        self.log.shared.state().durable_change >= self.change
    }

    /// Waits until the change is on disk. Those who wait at the same time share one sync.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`].
    pub fn wait_durable(&self) -> Result<()> {
        self.log.shared.wait_durable(self.change)
    }
}

impl Log {
    /// Appends blocks as [`append`](Self::append) does, but returns as soon as they are accepted,
    /// whatever the log's [`Durability`]. With `Immediate`, readers see them once they are durable,
    /// which somebody has to wait for.
    ///
    /// ```
    /// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    ///
    /// let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let rain = log.submit(&["rain"])?;
    /// let sun = log.submit(&["sun"])?;
    /// assert_eq!((sun.len(), log.len()), (2, 0));
    ///
    /// // One wait for the disk brings both.
    /// sun.wait_durable()?;
    /// assert!(rain.is_durable());
    /// assert_eq!(log.len(), 2);
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn submit<B: AsRef<[u8]>>(&self, blocks: &[B]) -> Result<Submitted> {
        let blocks: Vec<&[u8]> = blocks.iter().map(AsRef::as_ref).collect();
        let (change, len) = self.shared.append(&blocks, &[])?;
        Ok(Submitted::new(self.clone(), change, len))
    }

    /// Makes durable all that was accepted so far; [`durable_len`](Self::durable_len) is then at
    /// least the [`len`](Self::len) from before the call.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io), after which the log takes no more writes, and then
    /// [`Error::ReadOnlyAfterFailedSync`](crate::Error::ReadOnlyAfterFailedSync);
    /// [`Error::ReadOnly`](crate::Error::ReadOnly).
    pub fn sync(&self) -> Result<()> {
        self.shared.disk.check_writable()?;
        let change = self.shared.state().change;
        self.shared.wait_durable(change)
    }
}

impl Shared {
    /// Waits until a change is on disk.
    ///
    /// Who waits first syncs for all whose changes are accepted by then; the others find it done
    /// when it is their turn.
    pub(crate) fn wait_durable(&self, change: u64) -> Result<()> {
        let _turn = self.sync_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (commit, newest) = {
            let state = self.state();
            if state.durable_change >= change {
                return Ok(());
            }
            (state.accepted.clone(), state.change)
        };
        self.disk.sync(Barrier::Commit, &[Part::Data, Part::Tree, Part::Oplog])?;
        self.state_mut().note_durable(newest, commit);
        Ok(())
    }

    /// Ends a change as the log's durability asks for.
    pub(crate) fn settle(&self, change: u64) -> Result<()> {
        match self.options.durability {
            Durability::Immediate if self.keys().is_some() => self.wait_durable(change),
            Durability::Eventual { .. } if self.keys().is_some() => {
                self.sync_later();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
