//! Writes that stay in memory for a while, for logs that are not to be bothered by the disk at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::WRITE_BEHIND_BYTES;
use crate::storage::Part;

/// The ends of the parts `Data` and `Oplog` that storage does not have yet.
///
/// Only neighbouring writes are kept. Whatever else is to be done with a part must be preceded by
/// [`take`](Self::take).
#[derive(Debug, Default)]
pub(crate) struct WriteBehind {
    data: Mutex<Tail>,
    oplog: Mutex<Tail>,
}

/// Bytes, and where in the part they go.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Tail {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}

impl WriteBehind {
    /// Keeps a write. `false`: it is none that can be kept.
    pub(crate) fn keep(&self, part: Part, offset: u64, bytes: &[u8]) -> bool {
        let Some(mut tail) = self.tail(part) else {
            return false;
        };
        if tail.bytes.is_empty() {
            tail.offset = offset;
        }
        let fits = tail.bytes.len().saturating_add(bytes.len()) <= WRITE_BEHIND_BYTES;
        if !fits || tail.end() != offset {
            return false;
        }
        tail.bytes.extend_from_slice(bytes);
        true
    }

    /// Gives up what was kept for a part, to be written now.
    ///
    /// A reader must find the bytes at any time, so they are handed to `write` before they go.
    pub(crate) fn take<E>(
        &self,
        part: Part,
        write: impl FnOnce(&Tail) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(mut tail) = self.tail(part) else {
            return Ok(());
        };
        if !tail.bytes.is_empty() {
            write(&tail)?;
            tail.bytes.clear();
        }
        Ok(())
    }

    /// Puts what was kept over what storage gave: `buf` was read from `offset` on and `count` bytes
    /// of it were there. Returns how many are there now.
    pub(crate) fn overlay(&self, part: Part, offset: u64, buf: &mut [u8], count: usize) -> usize {
        let Some(tail) = self.tail(part).filter(|tail| !tail.bytes.is_empty()) else {
            return count;
        };
        let end = offset.saturating_add(buf.len() as u64);
        let (from, to) = (tail.offset.max(offset), tail.end().min(end));
        if from >= to {
            return count;
        }
        let inner = |at: u64, base: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
        let kept = tail.bytes.get(inner(from, tail.offset)..inner(to, tail.offset));
        let place = buf.get_mut(inner(from, offset)..inner(to, offset));
        if let (Some(kept), Some(place)) = (kept, place) {
            place.copy_from_slice(kept);
        }
        count.max(inner(to, offset))
    }

    /// Returns the end of what was kept for a part, or 0.
    pub(crate) fn end(&self, part: Part) -> u64 {
        self.tail(part).filter(|tail| !tail.bytes.is_empty()).map_or(0, |tail| tail.end())
    }

    // A panic cannot leave the bytes half changed.
    fn tail(&self, part: Part) -> Option<MutexGuard<'_, Tail>> {
        let tail = match part {
            Part::Data => &self.data,
            Part::Oplog => &self.oplog,
            _ => return None,
        };
        Some(tail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
