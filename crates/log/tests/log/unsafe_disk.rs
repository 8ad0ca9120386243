//! Storage that loses what was not synced, and whose syncs can be made to fail.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use multibee_log::{MemoryStorage, Part, Storage};

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct UnsafeDisk {
    /// What a program reads.
    now: MemoryStorage,
    /// For each part, what is safe, and the changes since.
    parts: Arc<[Mutex<Pending>; Part::ALL.len()]>,
    pub(crate) fails_syncs: Arc<AtomicBool>,
    /// Writes fail once this many more were done; `u64::MAX`: never.
    writes_left: Arc<WritesLeft>,
}

struct WritesLeft(AtomicU64);

impl Default for WritesLeft {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

#[derive(Default)]
struct Pending {
    safe: Vec<u8>,
    changes: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl UnsafeDisk {
    /// What the disk may hold after the power failed: what was synced, and of the rest any pieces of
    /// 512 bytes, each if `keep` says so.
    pub(crate) fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> MemoryStorage {
        let storage = MemoryStorage::new();
        for (part, pending) in Part::ALL.into_iter().zip(&*self.parts) {
            let pending = pending.lock().unwrap();
            storage.write_at(part, 0, &pending.safe).unwrap();
            for change in &pending.changes {
                match change {
                    Change::Truncate(len) if keep() => storage.truncate(part, *len).unwrap(),
                    Change::Truncate(_) => {}
                    Change::Write(offset, bytes) => {
                        for (number, piece) in bytes.chunks(512).enumerate() {
                            if keep() {
                                let offset = offset + 512 * number as u64;
                                storage.write_at(part, offset, piece).unwrap();
                            }
                        }
                    }
                }
            }
        }
        storage
    }

    /// Lets `count` more writes succeed, and then none.
    pub(crate) fn allow_writes(&self, count: u64) {
        self.writes_left.0.store(count, Ordering::SeqCst);
    }

    fn count_write(&self) -> io::Result<()> {
        let left = self.writes_left.0.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.writes_left.0.store(left - u64::from(left < u64::MAX), Ordering::SeqCst);
        Ok(())
    }

    fn pending(&self, part: Part) -> std::sync::MutexGuard<'_, Pending> {
        let number = Part::ALL.into_iter().position(|other| other == part).unwrap();
        self.parts[number].lock().unwrap()
    }
}

impl Storage for UnsafeDisk {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.now.read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.count_write()?;
        self.pending(part).changes.push(Change::Write(offset, bytes.to_vec()));
        self.now.write_at(part, offset, bytes)
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        self.now.len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        self.pending(part).changes.push(Change::Truncate(len));
        self.now.truncate(part, len)
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        if self.fails_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        let mut safe = vec![0; self.now.len(part)? as usize];
        self.now.read_at(part, 0, &mut safe)?;
        *self.pending(part) = Pending { safe, changes: Vec::new() };
        Ok(())
    }
}
