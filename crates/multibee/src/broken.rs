//! Rules that can be broken on purpose, one at a time: a search for faults that finds none proves
//! little until it has found these.
//!
//! Without the feature `broken` no rule ever is, and nothing of this is left in the program.

/// A rule of the database, to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "broken"), expect(unreachable_pub, reason = "public with the feature"))]
pub enum BrokenRule {
    /// Some entries are skipped in a merge, while the clock moves past them.
    SkipEntry,
    /// A merge goes by what was held before the last write of this device, as it might without the
    /// lock.
    MergeOutsideLock,
    /// Of several concurrent versions only the one that is shown is kept.
    DropDot,
    /// A delete leaves no tombstone.
    ForgetTombstone,
    /// A commit of merged entries passes for news of this device.
    SpeakMerge,
    /// A write that arrives is taken for one that had seen nothing.
    IgnoreContext,
    /// What a key has seen beyond the clock is not written down.
    ForgetSeen,
    /// A write may be stamped earlier than what it supersedes.
    IgnoreFloor,
    /// The hybrid clock begins anew whenever the database is opened.
    ForgetTime,
    /// A batch is written in pieces.
    SplitBatch,
    /// The version with the greatest block number is shown, not the latest.
    ShowGreatestBlock,
    /// The digest keeps what is gone.
    KeepDigest,
    /// A far clock pulls others along.
    FollowAnyClock,
    /// A key that an absorbed state lacks is taken for one that it had never seen.
    AbsentWithoutContext,
    /// The clock moves with the first part of an absorbed state.
    MoveClockEarly,
    /// The last trace of a key goes though it has versions that are no deletes, and only hidden.
    CollectConflict,
    /// Tombstones are collected as if what removed devices wrote, and others may still hold, could
    /// not come any more.
    ForgetRemovedWriters,
    /// The clock of an absorbed state is taken over without saying which histories of logs it means.
    AbsorbWithoutTags,
    /// What was written in a log that was put back keeps the names of what was written there before.
    MoveWithoutRenaming,
    /// Nothing that a removed device says is heard, not even whom it had removed.
    HideStatements,
    /// Of a removed device's log more is taken than the members have agreed on.
    TakeBeyondCut,
    /// Of two devices that remove each other both are gone.
    IgnoreSeniority,
    /// That a log goes on for another one is taken from anybody.
    UnsignedSuccession,
    /// A move that was interrupted is taken for finished.
    FinishHalfMove,
    /// Whoever may only read writes, and is heard.
    IgnoreRole,
    /// The hybrid clock begins anew in a fresh log.
    ForgetTimeOnMove,
    /// Others are told of what the disk may still lose.
    #[cfg(feature = "broken")]
    ShareBeforeDurable,
}

#[cfg(not(feature = "broken"))]
impl BrokenRule {
    /// No rule is broken.
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn is_broken(self) -> bool {
        false
    }
}

#[cfg(feature = "broken")]
pub(crate) use with_feature::breakable;

#[cfg(feature = "broken")]
mod with_feature {
    use std::cell::Cell;
    use std::io;
    use std::sync::Arc;

    use multibee_log::{Part, Storage};

    use super::BrokenRule;

    thread_local! {
        static BROKEN: Cell<Option<BrokenRule>> = const { Cell::new(None) };
    }

    impl BrokenRule {
        /// All of them.
        pub const ALL: [Self; 27] = [
            Self::SkipEntry,
            Self::MergeOutsideLock,
            Self::DropDot,
            Self::ForgetTombstone,
            Self::SpeakMerge,
            Self::IgnoreContext,
            Self::ForgetSeen,
            Self::IgnoreFloor,
            Self::ForgetTime,
            Self::SplitBatch,
            Self::ShowGreatestBlock,
            Self::KeepDigest,
            Self::FollowAnyClock,
            Self::AbsentWithoutContext,
            Self::MoveClockEarly,
            Self::CollectConflict,
            Self::ForgetRemovedWriters,
            Self::AbsorbWithoutTags,
            Self::MoveWithoutRenaming,
            Self::HideStatements,
            Self::TakeBeyondCut,
            Self::IgnoreSeniority,
            Self::UnsignedSuccession,
            Self::FinishHalfMove,
            Self::IgnoreRole,
            Self::ForgetTimeOnMove,
            Self::ShareBeforeDurable,
        ];

        /// Breaks the rule while `act` runs, for what this thread does.
        pub fn while_broken<R>(self, act: impl FnOnce() -> R) -> R {
            struct Mend;
            impl Drop for Mend {
                fn drop(&mut self) {
                    BROKEN.set(None);
                }
            }
            let _mend = Mend;
            BROKEN.set(Some(self));
            act()
        }

        /// Whether the rule is broken now.
        pub(crate) fn is_broken(self) -> bool {
            BROKEN.get() == Some(self)
        }
    }

    /// Storage that says that blocks are on the disk before they are, while that rule is broken.
    struct Unsynced<S>(S);

    impl<S: Storage> Storage for Unsynced<S> {
        fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(part, offset, buf)
        }

        fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write_at(part, offset, bytes)
        }

        fn len(&self, part: Part) -> io::Result<u64> {
            self.0.len(part)
        }

        fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
            self.0.truncate(part, len)
        }

        fn sync(&self, part: Part) -> io::Result<()> {
            let is_block = matches!(part, Part::Data | Part::Oplog);
            if is_block && BrokenRule::ShareBeforeDurable.is_broken() {
                return Ok(());
            }
            self.0.sync(part)
        }

        fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
            self.0.discard(part, offset, len)
        }

        fn allocated(&self, part: Part) -> io::Result<u64> {
            self.0.allocated(part)
        }

        fn is_copy(&self) -> io::Result<bool> {
            self.0.is_copy()
        }

        fn claim(&self) -> io::Result<()> {
            self.0.claim()
        }

        fn publish(&self) -> io::Result<()> {
            self.0.publish()
        }
    }

    /// The storage of a log, where it may be broken.
    pub(crate) fn breakable(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        Arc::new(Unsynced(storage))
    }
}
