//! How large a log is, and how much of that is of use.

use std::ops::Range;

use crate::commit::Commit;
use crate::error::Result;
use crate::log::{Log, Shared};
use crate::storage::Part;

/// Sizes of a log. Made by [`Log::info`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogInfo {
    /// Blocks, held or not.
    pub len: u64,
    /// Bytes of all blocks, held or not.
    pub byte_len: u64,
    /// The fork, as [`Log::fork`].
    pub fork: u64,
    /// Blocks that are held.
    pub held_blocks: u64,
    /// Bytes of the blocks that are held. Where a gap begins in a sparse copy is not always known;
    /// blocks beside such a gap may not be counted.
    pub held_bytes: u64,
    /// Runs of blocks that are not held.
    pub gaps: u64,
    /// Bytes of disk that belong to no held block and that [`Log::reclaim`] may give back, about.
    pub reclaimable_bytes: u64,
    /// Bytes of changes that wait in the oplog to be moved to their places.
    pub entry_bytes: u64,
    /// For each part: its length in bytes, and the bytes of disk that it takes up.
    pub parts: Vec<PartInfo>,
}

/// Size of one part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartInfo {
    /// Which part.
    pub part: Part,
    /// Length in bytes.
    pub len: u64,
    /// Bytes of disk, fewer than `len` where there are holes.
    pub allocated: u64,
}

impl Log {
    /// Tells how large the log is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io).
    pub fn info(&self) -> Result<LogInfo> {
        self.shared.info()
    }

    /// Bytes of the blocks in `range` that are held; where a gap begins in a sparse copy is not always
    /// known, and blocks beside such a gap may not be counted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io).
    pub fn held_bytes(&self, range: Range<u64>) -> Result<u64> {
        let (commit, runs) = {
            let state = self.shared.state();
            (state.commit().clone(), state.held(range))
        };
        Ok(self.shared.bytes_of(&commit, &runs))
    }

    /// Gives back the room of all blocks that are not held, as far as the system knows how to, and
    /// of what lies behind the last block. Returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::ReadOnly`](crate::Error::ReadOnly).
    pub fn reclaim(&self) -> Result<u64> {
        let mut writer = self.shared.writer()?;
        // What was dropped must be certain before its bytes go.
        self.shared.flush(&mut writer)?;
        self.shared.reclaim()
    }
}

impl Shared {
    fn info(&self) -> Result<LogInfo> {
        let (commit, runs) = {
            let state = self.state();
            (state.commit().clone(), state.held(0..u64::MAX))
        };
        let parts: Vec<PartInfo> = Part::ALL
            .iter()
            .map(|&part| {
                let (len, allocated) = (self.disk.len(part)?, self.disk.allocated(part)?);
                Ok(PartInfo { part, len, allocated })
            })
            .collect::<Result<_>>()?;
        let held_bytes = self.bytes_of(&commit, &runs);
        let mut next = 0;
        let mut gaps = 0;
        for run in &runs {
            gaps += u64::from(run.start > next);
            next = run.end;
        }
        let data = parts.iter().find(|info| info.part == Part::Data);
        // The ends of runs share a page of the file system with gaps.
        let rounding = 4096_u64.saturating_mul(runs.len() as u64 + 1);
        let needed = held_bytes.saturating_add(rounding);
        Ok(LogInfo {
            len: commit.length(),
            byte_len: commit.roots.byte_length(),
            fork: commit.fork,
            held_blocks: runs.iter().map(|run| run.end - run.start).sum(),
            held_bytes,
            gaps: gaps + u64::from(next < commit.length()),
            reclaimable_bytes: data.map_or(0, |data| data.allocated.saturating_sub(needed)),
            entry_bytes: self.writer_lock().map_or(0, |writer| writer.oplog.entry_bytes()),
            parts,
        })
    }

    /// Bytes of runs of blocks, as far as it is known where they lie.
    fn bytes_of(&self, commit: &Commit, runs: &[Range<u64>]) -> u64 {
        let bytes = runs.iter().map(|run| {
            let start = self.tree.byte_offset(&commit.roots, run.start);
            let last = self.tree.place(&commit.roots, run.end - 1);
            match (start, last) {
                (Ok(start), Ok(last)) => {
                    last.offset.saturating_add(last.size).saturating_sub(start)
                }
                _ => 0,
            }
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// The caller is the writer, and has flushed.
    fn reclaim(&self) -> Result<u64> {
        let (commit, runs) = {
            let state = self.state();
            (state.accepted.clone(), state.bits.held(0..u64::MAX))
        };
        let before = self.disk.allocated(Part::Data)?;
        let byte_len = commit.roots.byte_length();
        if self.disk.len(Part::Data)? > byte_len {
            self.disk.truncate(Part::Data, byte_len)?;
        }
        let mut from = Some(0);
        for run in &runs {
            let start = self.tree.byte_offset(&commit.roots, run.start).ok();
            self.discard(from, start)?;
            let last = self.tree.place(&commit.roots, run.end - 1).ok();
            from = last.map(|last| last.offset.saturating_add(last.size));
        }
        self.discard(from, Some(byte_len))?;
        Ok(before.saturating_sub(self.disk.allocated(Part::Data)?))
    }

    fn discard(&self, from: Option<u64>, to: Option<u64>) -> Result<()> {
        match (from, to) {
            (Some(from), Some(to)) if from < to => self.disk.discard(Part::Data, from, to - from),
            _ => Ok(()),
        }
    }
}
