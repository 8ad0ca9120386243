//! Letting go of blocks while keeping their proofs.

use std::ops::Range;

use crate::barrier::Barrier;
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
        let mut writer = self.shared.writer()?;
        self.shared.clear(&mut writer, range)?;
        self.shared.flush_if_due(&mut writer);
        Ok(())
    }
}

impl Shared {
    fn clear(&self, writer: &mut Writer, range: Range<u64>) -> Result<()> {
        let (commit, runs) = {
            let state = self.state();
            let end = range.end.min(state.accepted.length());
            (state.accepted.clone(), state.bits.held(range.start..end))
        };
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            return Ok(());
        };
        let (start, end) = (first.start, last.end);
        let bitfield = EntryBitfield { drop: true, start, length: end - start };
        let entry = Entry { bitfield: Some(bitfield), ..Entry::default() };
        self.write_entries(writer, &[entry], true)?;
        let hint = &mut writer.header.contiguous_length;
        *hint = start.min(*hint);
        let (change, hole) = {
            let mut state = self.state_mut();
            state.bits.set(start..end, false);
            let hole = state.bits.gap_around(start..end, commit.length());
            (state.accept(commit.clone()), hole)
        };
        // Bytes must not go before it is certain that their blocks are dropped.
        self.disk.sync(Barrier::Clear, &[Part::Data, Part::Oplog])?;
        self.state_mut().note_durable(change, commit.clone());
        // The hole may reach further than the blocks, if what lies around them is not held either
        // and it is known where that begins.
        let offset = |block: u64| self.tree.byte_offset(&commit.roots, block);
        let end_of = |block: u64| self.tree.place(&commit.roots, block).map(|p| p.offset + p.size);
        let from = offset(hole.start).or_else(|_| offset(start));
        let to = offset(hole.end).or_else(|_| end_of(end - 1));
        if let (Ok(from), Ok(to)) = (from, to) {
            self.tree.pages().forget_data(from..to);
            self.tree.forget_blocks(start..end);
            if let Err(error) = self.disk.discard(Part::Data, from, to.saturating_sub(from)) {
                tracing::warn!(key = %self.key, %error, "no room was given back for cleared blocks");
            }
        }
        Ok(())
    }
}
