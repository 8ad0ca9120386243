//! A log's storage, with what is known about it: which parts await a sync, and whether one failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::storage::{Part, Storage};
use crate::write_behind::WriteBehind;

/// Storage that remembers what was written since the last sync.
pub(crate) struct Disk {
    storage: Box<dyn Storage>,
    /// By [`Part::ALL`]: written since the last sync of that part.
    unsynced: [AtomicBool; Part::ALL.len()],
    /// Held while syncing: who finds a part clean knows that the sync which made it so is over.
    syncing: Mutex<()>,
    /// Set for good once a sync has failed: what reached the disk is unknown from then on.
    sync_failed: AtomicBool,
    /// Whether nothing may be written, since another process writes.
    is_read_only: bool,
    /// `None`: all writes go to storage at once.
    behind: Option<WriteBehind>,
    /// For tests: the one barrier that is left out.
    #[cfg(feature = "testing")]
    without: Option<(Barrier, Part)>,
}

impl Disk {
    /// Wraps storage of which nothing is known, so that all of it may await a sync.
    pub(crate) fn new(storage: impl Storage) -> Self {
        Self {
            storage: Box::new(storage),
            unsynced: std::array::from_fn(|_| AtomicBool::new(true)),
            syncing: Mutex::new(()),
            sync_failed: AtomicBool::new(false),
            is_read_only: false,
            behind: None,
            #[cfg(feature = "testing")]
            without: None,
        }
    }

    /// As [`new`](Self::new), but refuses to write.
    pub(crate) fn read_only(storage: impl Storage) -> Self {
        let mut disk = Self::new(storage);
        disk.is_read_only = true;
        disk
    }

    /// From here on keeps writes in memory until the next sync, as far as they are few.
    pub(crate) fn write_behind(&mut self) {
        self.behind = Some(WriteBehind::default());
    }

    /// For tests: leaves one barrier out.
    #[cfg(feature = "testing")]
    pub(crate) fn leave_out(&mut self, barrier: Option<(Barrier, Part)>) {
        self.without = barrier;
    }

    /// Fails if nothing may be written: ever, or once a sync has failed.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(Error::ReadOnlyAfterFailedSync);
        }
        Ok(())
    }

    /// Takes no more writes, as after a failed sync: what is on disk is unknown.
    pub(crate) fn give_up(&self) {
        self.sync_failed.store(true, Ordering::Release);
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// As [`Storage::read_at`].
    pub(crate) fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let count = self.storage.read_at(part, offset, buf)?;
        Ok(self.behind.as_ref().map_or(count, |behind| behind.overlay(part, offset, buf, count)))
    }

    /// Reads `len` bytes, or says that the part is too short.
    ///
    /// The caller has checked `len` against a limit.
    pub(crate) fn read_exact(&self, part: Part, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        if self.read_at(part, offset, &mut bytes)? < len {
            return Err(Error::Corrupt { part, offset, what: "the part ends too early" });
        }
        Ok(bytes)
    }

    pub(crate) fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let kept = |behind: &WriteBehind| behind.keep(part, offset, bytes);
        if self.behind.as_ref().is_some_and(kept) {
            self.mark_unsynced(part);
            return Ok(());
        }
        self.write_now(part, offset, bytes)
    }

    /// As [`write_at`](Self::write_at), past the memory for later: if it fails, that shows here.
    pub(crate) fn write_now(&self, part: Part, offset: u64, bytes: &[u8]) -> Result<()> {
        self.change(part, |storage| Ok(storage.write_at(part, offset, bytes)?))
    }

    pub(crate) fn len(&self, part: Part) -> Result<u64> {
        let len = self.storage.len(part)?;
        Ok(self.behind.as_ref().map_or(len, |behind| behind.end(part).max(len)))
    }

    pub(crate) fn allocated(&self, part: Part) -> Result<u64> {
        Ok(self.storage.allocated(part)?)
    }

    pub(crate) fn truncate(&self, part: Part, len: u64) -> Result<()> {
        self.change(part, |storage| Ok(storage.truncate(part, len)?))
    }

    pub(crate) fn discard(&self, part: Part, offset: u64, len: u64) -> Result<()> {
        self.change(part, |storage| Ok(storage.discard(part, offset, len)?))
    }

    pub(crate) fn is_copy(&self) -> Result<bool> {
        Ok(self.storage.is_copy()?)
    }

    pub(crate) fn claim(&self) -> Result<()> {
        Ok(self.storage.claim()?)
    }

    pub(crate) fn publish(&self) -> Result<()> {
        Ok(self.storage.publish()?)
    }

    /// Syncs those of `parts` that were written since their last sync.
    ///
    /// One after the other: a file system that keeps a journal makes the second quick after the
    /// first, and a thread for it costs more than it saves.
    ///
    /// # Errors
    ///
    /// After the first failure the log can no longer be written: a later sync that succeeds would
    /// prove nothing.
    pub(crate) fn sync(&self, barrier: Barrier, parts: &[Part]) -> Result<()> {
        self.check_writable()?;
        let _turn = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        for &part in parts {
            self.write_kept(part)?;
            if self.is_left_out(barrier, part) || !self.flag(part).swap(false, Ordering::AcqRel) {
                continue;
            }
            if let Err(error) = self.storage.sync(part) {
                self.give_up();
                return Err(Error::Io(error));
            }
        }
        // One that failed meanwhile may have been of these parts.
        self.check_writable()
    }

    /// Hands all that is kept in memory to storage.
    pub(crate) fn write_all_kept(&self) -> Result<()> {
        self.write_kept(Part::Data)?;
        self.write_kept(Part::Oplog)
    }

    fn write_kept(&self, part: Part) -> Result<()> {
        let Some(behind) = &self.behind else {
            return Ok(());
        };
        behind.take(part, |tail| {
            let written = self.storage.write_at(part, tail.offset, &tail.bytes);
            self.mark_unsynced(part);
            Ok(written?)
        })
    }

    fn change(&self, part: Part, change: impl FnOnce(&dyn Storage) -> Result<()>) -> Result<()> {
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        self.write_kept(part)?;
        let result = change(&*self.storage);
        // After the change, done or half done: a sync that began before may not have seen it.
        self.mark_unsynced(part);
        result
    }

    #[cfg(feature = "testing")]
    fn is_left_out(&self, barrier: Barrier, part: Part) -> bool {
        self.without == Some((barrier, part))
    }

    #[cfg(not(feature = "testing"))]
    fn is_left_out(&self, _barrier: Barrier, _part: Part) -> bool {
        false
    }

    /// Notes that a part which was never written does not await a sync.
    pub(crate) fn note_unchanged(&self, part: Part) {
        self.flag(part).store(false, Ordering::Release);
    }

    fn mark_unsynced(&self, part: Part) {
        self.flag(part).store(true, Ordering::Release);
    }

    fn flag(&self, part: Part) -> &AtomicBool {
        let [oplog, tree, data, bitfield, header, key, conflict] = &self.unsynced;
        match part {
            Part::Oplog => oplog,
            Part::Tree => tree,
            Part::Data => data,
            Part::Bitfield => bitfield,
            Part::Header => header,
            Part::Key => key,
            Part::Conflict => conflict,
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.write_all_kept() {
            tracing::warn!(%error, "the newest commits could not be written when the log was closed");
        }
    }
}
