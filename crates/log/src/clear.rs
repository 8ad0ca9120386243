//! Letting go of blocks while keeping their proofs.

use std::ops::Range;

use crate::barrier::Barrier;
use crate::commit::Commit;
use crate::error::Result;
use crate::log::{Log, Shared, Writer};
use crate::oplog_codec::{Entry, EntryBitfield};
use crate::storage::Part;

impl Log {
    /// Drops the data of the blocks in `range`, and gives their room back to the system where it
    /// knows how to. The tree stays, so that they can be fetched again and checked. That they are
    /// dropped is on disk when this returns.
    ///
    /// A block that others do not hold either is lost for good.
    ///
    /// ```
    /// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    ///
    /// let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// log.append(&["rain", "sun", "snow"])?;
    /// log.clear(0..2)?;
    /// assert_eq!((log.len(), log.get(1)?, log.held(0..3)), (3, None, vec![2..3]));
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`](crate::Error::ReadOnly) and [`Error::Io`](crate::Error::Io). If the room
    /// cannot be given back, the blocks are dropped all the same.
    pub fn clear(&self, range: Range<u64>) -> Result<()> {
        self.clear_all(&[range])
    }

    /// As [`clear`](Self::clear), for several ranges at once: the log waits for the disk once for all
    /// of them. After a crash all are dropped, or none.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn clear_all(&self, ranges: &[Range<u64>]) -> Result<()> {
        let mut writer = self.shared.writer()?;
        self.shared.clear(&mut writer, ranges)?;
        self.shared.flush_if_due(&mut writer);
        Ok(())
    }
}

impl Shared {
    fn clear(&self, writer: &mut Writer, ranges: &[Range<u64>]) -> Result<()> {
        let (commit, spans) = {
            let state = self.state();
            let span = |range: &Range<u64>| {
                let end = range.end.min(state.accepted.length());
                let runs = state.bits.held(range.start..end);
                Some(runs.first()?.start..runs.last()?.end)
            };
            (state.accepted.clone(), ranges.iter().filter_map(span).collect::<Vec<_>>())
        };
        let Some(first) = spans.iter().map(|span| span.start).min() else {
            return Ok(());
        };
        let entries: Vec<_> = spans.iter().map(dropping).collect();
        self.write_entries(writer, &entries, true)?;
        let hint = &mut writer.header.contiguous_length;
        *hint = first.min(*hint);
        let (change, holes) = {
            let mut state = self.state_mut();
            spans.iter().for_each(|span| state.bits.set(span.clone(), false));
            let hole = |span: &Range<u64>| state.bits.gap_around(span.clone(), commit.length());
            let holes: Vec<_> = spans.iter().map(hole).collect();
            (state.accept(commit.clone()), holes)
        };
        // Bytes must not go before it is certain that their blocks are dropped.
        self.disk.sync(Barrier::Clear, &[Part::Data, Part::Tree, Part::Oplog])?;
        self.state_mut().note_durable(change, commit.clone());
        for (span, hole) in spans.into_iter().zip(holes) {
            self.discard_blocks(&commit, span, &hole);
        }
        Ok(())
    }

    /// Lets go of the bytes of blocks that are dropped, as far as it is known where they are. The hole
    /// may reach further than the blocks, if what lies around them is not held either and it is known
    /// where that begins.
    fn discard_blocks(&self, commit: &Commit, blocks: Range<u64>, hole: &Range<u64>) {
        let offset = |block: u64| self.tree.byte_offset(&commit.roots, block);
        let end_of = |block: u64| self.tree.place(&commit.roots, block).map(|p| p.offset + p.size);
        let from = offset(hole.start).or_else(|_| offset(blocks.start));
        let to = offset(hole.end).or_else(|_| end_of(blocks.end - 1));
        if let (Ok(from), Ok(to)) = (from, to) {
            self.tree.forget_blocks(blocks);
            if let Err(error) = self.disk.discard(Part::Data, from, to.saturating_sub(from)) {
                tracing::warn!(key = %self.key, %error, "no room was given back for cleared blocks");
            }
        }
    }
}

/// The entry that says that these blocks are not held.
fn dropping(blocks: &Range<u64>) -> Entry {
    let length = blocks.end - blocks.start;
    let bitfield = EntryBitfield { drop: true, start: blocks.start, length };
    Entry { bitfield: Some(bitfield), ..Entry::default() }
}
