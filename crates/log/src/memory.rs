//! Storage in memory, for tests and for logs that need not last.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use crate::storage::{Part, Storage};

/// Storage in memory. Clones share the bytes, so a test can drop a log and open the same bytes.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    parts: Arc<[RwLock<Vec<u8>>; Part::ALL.len()]>,
}

impl MemoryStorage {
    /// Makes storage without any bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a copy that shares nothing with this storage.
    pub fn deep_clone(&self) -> Self {
        let copy = Self::default();
        for part in Part::ALL {
            self.with(part, |bytes| copy.with_mut(part, |to| to.clone_from(bytes)));
        }
        copy
    }

    fn lock(&self, part: Part) -> &RwLock<Vec<u8>> {
        let [oplog, tree, data, bitfield, header, key, conflict] = &*self.parts;
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

    // A panic elsewhere cannot leave the bytes half changed, so a poisoned lock is as good as any.
    fn with<R>(&self, part: Part, read: impl FnOnce(&Vec<u8>) -> R) -> R {
        read(&self.lock(part).read().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_mut<R>(&self, part: Part, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        write(&mut self.lock(part).write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for MemoryStorage {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.with(part, |bytes| {
            let from = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
            let count = from.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
            count
        }))
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.with_mut(part, |to| {
            if to.len() < end {
                // Far away, as a damaged log may lead to: an error, as from a disk.
                to.try_reserve(end - to.len())?;
                to.resize(end, 0);
            }
            if let Some(to) = to.get_mut(start..end) {
                to.copy_from_slice(bytes);
            }
            Ok(())
        })
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        Ok(self.with(part, |bytes| bytes.len() as u64))
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.with_mut(part, |bytes| bytes.resize(len, 0));
        Ok(())
    }

    fn sync(&self, _part: Part) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        self.with_mut(part, |bytes| {
            let range = at(offset)..at(offset.saturating_add(len)).min(bytes.len());
            if let Some(bytes) = bytes.get_mut(range) {
                bytes.fill(0);
            }
        });
        Ok(())
    }
}
