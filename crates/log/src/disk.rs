//! A log's storage, with what is known about it: which parts await a sync, and whether one failed.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::{Error, Result};
use crate::storage::{Part, Storage};

/// Storage that remembers what was written since the last sync.
pub(crate) struct Disk {
    storage: Box<dyn Storage>,
    /// By [`Part::ALL`]: written since the last sync of that part.
    unsynced: [AtomicBool; Part::ALL.len()],
    /// Set for good once a sync has failed: what reached the disk is unknown from then on.
    sync_failed: AtomicBool,
}

impl Disk {
    /// Wraps storage of which nothing is known, so that all of it may await a sync.
    pub(crate) fn new(storage: impl Storage) -> Self {
        Self {
            storage: Box::new(storage),
            unsynced: std::array::from_fn(|_| AtomicBool::new(true)),
            sync_failed: AtomicBool::new(false),
        }
    }

    /// Fails once a sync has failed.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(Error::ReadOnlyAfterFailedSync);
        }
        Ok(())
    }

    /// As [`Storage::read_at`].
    pub(crate) fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.storage.read_at(part, offset, buf)?)
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
        self.mark_unsynced(part);
        Ok(self.storage.write_at(part, offset, bytes)?)
    }

    pub(crate) fn len(&self, part: Part) -> Result<u64> {
        Ok(self.storage.len(part)?)
    }

    pub(crate) fn truncate(&self, part: Part, len: u64) -> Result<()> {
        self.mark_unsynced(part);
        Ok(self.storage.truncate(part, len)?)
    }

    pub(crate) fn publish(&self) -> Result<()> {
        Ok(self.storage.publish()?)
    }

    /// Syncs those of `parts` that were written since their last sync, side by side.
    ///
    /// # Errors
    ///
    /// After the first failure the log can no longer be written: a later sync that succeeds would
    /// prove nothing.
    pub(crate) fn sync(&self, parts: &[Part]) -> Result<()> {
        let is_unsynced = |part: &&Part| self.flag(**part).swap(false, Ordering::AcqRel);
        let parts: Vec<Part> = parts.iter().filter(is_unsynced).copied().collect();
        self.sync_side_by_side(&parts).map_err(|error| {
            self.sync_failed.store(true, Ordering::Release);
            Error::Io(error)
        })
    }

    fn sync_side_by_side(&self, parts: &[Part]) -> io::Result<()> {
        let Some((&here, others)) = parts.split_last() else {
            return Ok(());
        };
        thread::scope(|scope| {
            let spawn = |&part: &Part| {
                let sync = move || self.storage.sync(part);
                // Without a thread to spare, one after the other will do.
                thread::Builder::new().spawn_scoped(scope, sync).map_err(|_| part)
            };
            let threads: Vec<_> = others.iter().map(spawn).collect();
            let mut result = self.storage.sync(here);
            for thread in threads {
                let synced = match thread {
                    Ok(thread) => {
                        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    }
                    Err(part) => self.storage.sync(part),
                };
                result = result.and(synced);
            }
            result
        })
    }

    fn mark_unsynced(&self, part: Part) {
        self.flag(part).store(true, Ordering::Release);
    }

    fn flag(&self, part: Part) -> &AtomicBool {
        let [oplog, tree, data, bitfield, header, key] = &self.unsynced;
        match part {
            Part::Oplog => oplog,
            Part::Tree => tree,
            Part::Data => data,
            Part::Bitfield => bitfield,
            Part::Header => header,
            Part::Key => key,
        }
    }
}
