//! Open files: few at a time in a process, however many logs it has.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, TryLockError, Weak};

use crate::limits::OPEN_FILES_MAX;

/// A file that is opened when it is needed, and may be closed when it was not for a while.
#[derive(Debug, Default)]
pub(super) struct Handle {
    file: RwLock<Option<File>>,
    /// Since the last time that somebody looked for files to close.
    was_used: AtomicBool,
    /// Not closed while there is something to sync: a file opened anew may not tell of what went
    /// wrong with writes of before.
    has_unsynced: AtomicBool,
}

impl Handle {
    /// Hands the file to `run`, opened by `open` if it is not. `None` if `open` finds no file.
    pub(super) fn with<R>(
        self: &Arc<Self>,
        open: impl FnOnce() -> io::Result<Option<File>>,
        run: impl FnOnce(&File) -> io::Result<R>,
    ) -> io::Result<Option<R>> {
        self.was_used.store(true, Ordering::Relaxed);
        {
            let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = &*file {
                return run(file).map(Some);
            }
        }
        let mut slot = self.file.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = slot.is_none();
        if is_new {
            *slot = open()?;
        }
        let Some(file) = &*slot else {
            return Ok(None);
        };
        let result = run(file);
        drop(slot);
        if is_new {
            OPEN.note(self);
        }
        result.map(Some)
    }

    /// Must precede a write, and again follow it: a sync that goes on meanwhile may miss it.
    pub(super) fn mark_unsynced(&self) {
        self.has_unsynced.store(true, Ordering::Release);
    }

    /// Must precede a sync.
    pub(super) fn mark_synced(&self) {
        self.has_unsynced.store(false, Ordering::Release);
    }

    /// Closes the file if nobody needs it just now. Returns whether it is closed.
    fn close(&self) -> bool {
        if self.was_used.swap(false, Ordering::Relaxed) || self.has_unsynced.load(Ordering::Acquire)
        {
            return false;
        }
        match self.file.try_write() {
            Ok(mut file) => {
                *file = None;
                true
            }
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => false,
        }
    }
}

/// The files of this process that may be closed.
static OPEN: LazyLock<Pool> = LazyLock::new(Pool::default);

#[derive(Debug, Default)]
struct Pool {
    /// Those opened longest ago first.
    handles: Mutex<VecDeque<Weak<Handle>>>,
}

impl Pool {
    /// Notes that a file was opened, and closes others if there are too many.
    fn note(&self, handle: &Arc<Handle>) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.push_back(Arc::downgrade(handle));
        // Each is looked at twice at most: the first time those in use are let off.
        for _ in 0..2 * handles.len() {
            if handles.len() <= OPEN_FILES_MAX {
                break;
            }
            let Some(oldest) = handles.pop_front() else {
                break;
            };
            if oldest.upgrade().is_some_and(|handle| !handle.close()) {
                handles.push_back(oldest);
            }
        }
    }
}
