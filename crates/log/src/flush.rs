//! Moving what the oplog's entries tell to its places, so that the entries can go.

use crate::barrier::Barrier;
use crate::bitfield::PAGE_LEN;
use crate::durability::Durability;
use crate::error::Result;
use crate::limits::{
    FLUSH_BYTES, FLUSH_BYTES_BUFFERED, FLUSH_PLACED_BYTES, FOUND_PLACED_BYTES_MAX,
};
use crate::log::{Log, Shared, Writer};
use crate::oplog_codec::Header;
use crate::storage::Part;

impl Log {
    /// Moves nodes and bits from the oplog to their places, durably, and empties the oplog.
    ///
    /// The log does this by itself from time to time. It is worth a call before a directory is
    /// handed to another program or copied, makes the next opening quicker, and lets those who
    /// [read along](Self::open_read_only) prove all of it. Makes durable what was accepted, too.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync), and [`Error::BatchTooLarge`](crate::Error::BatchTooLarge) if the
    /// header would be longer than any: it holds the user data.
    pub fn flush(&self) -> Result<()> {
        let mut writer = self.shared.writer()?;
        self.shared.flush(&mut writer)
    }
}

impl Shared {
    /// Flushes if the entries have grown long.
    ///
    /// What was accepted stays accepted if that fails. The next flush tries again, unless a sync
    /// failed: then the next write says so.
    pub(crate) fn flush_if_due(&self, writer: &mut Writer) {
        let limit = match self.options.durability {
            Durability::Immediate if self.keys().is_some() => FLUSH_BYTES,
            _ => FLUSH_BYTES_BUFFERED,
        };
        if writer.oplog.entry_bytes() >= limit || writer.placed_bytes >= FLUSH_PLACED_BYTES {
            self.flush_or_warn(writer);
        }
    }

    /// Flushes if much waits for it: on opening, so that it need not stay in memory, and on closing,
    /// so that the next opening is quick.
    ///
    /// Does nothing to a log that takes no more writes.
    pub(crate) fn flush_if_much(&self, entry_bytes_max: u64) {
        let Ok(mut writer) = self.writer() else {
            return;
        };
        if writer.oplog.entry_bytes() > entry_bytes_max
            || writer.placed_bytes > FOUND_PLACED_BYTES_MAX
        {
            self.flush_or_warn(&mut writer);
        }
    }

    pub(crate) fn flush_or_warn(&self, writer: &mut Writer) {
        if let Err(error) = self.flush(writer) {
            tracing::warn!(key = %self.key, %error, "flushing the log failed");
        }
    }

    /// Writes nodes and bits to their parts, then a header that counts them, then drops the
    /// entries.
    ///
    /// The header must not overtake what it tells of, hence the sync before it; and the entries
    /// must not go before the header is there, hence the sync after it.
    pub(crate) fn flush(&self, writer: &mut Writer) -> Result<()> {
        self.disk.check_writable()?;
        let (commit, change, pages, contiguous, user_data) = {
            let state = self.state();
            (
                state.accepted.clone(),
                state.change,
                state.bits.dirty_pages(),
                state.bits.contiguous(),
                state.user_data.clone(),
            )
        };
        // A replica's old header may cover blocks that came since. Their bits must not be there
        // without their data, or without the entries that have their nodes.
        self.disk.sync(Barrier::Flush, &[Part::Data, Part::Oplog])?;
        self.tree.write()?;
        let stored = self.disk.len(Part::Bitfield)?;
        for (offset, page) in &pages {
            // Bits beyond the end, which nobody ever wrote, may be very far away.
            let is_written = *offset < stored || page.iter().any(|&byte| byte != 0);
            if is_written {
                self.disk.write_at(Part::Bitfield, *offset, page)?;
            }
        }
        // Bits that nobody wrote yet are zeros, and stay so if a power cut tears the first that
        // are: the part reaches as far as the header will.
        let covered = commit.length().div_ceil(8 * PAGE_LEN as u64).saturating_mul(PAGE_LEN as u64);
        if self.disk.len(Part::Bitfield)? < covered {
            self.disk.truncate(Part::Bitfield, covered)?;
        }
        self.disk.sync(Barrier::Flush, &[Part::Tree, Part::Bitfield])?;
        // What was only buffered, or is waited for by others, is on disk as well.
        self.state_mut().note_durable(change, commit.clone());
        let is_empty = commit.length() == 0;
        let header = Header {
            fork: commit.fork,
            length: commit.length(),
            tree_hash: (!is_empty).then(|| commit.roots.tree_hash()),
            signature: commit.signature.clone(),
            contiguous_length: contiguous.min(commit.length()),
            user_data: user_data.to_vec(),
            ..writer.header.clone()
        };
        writer.oplog.write_header(&self.disk, &header)?;
        writer.header = header;
        (writer.data, writer.run) = (Vec::new(), Vec::new());
        writer.placed_bytes = 0;
        self.tree.retire();
        self.state_mut().bits.mark_clean();
        Ok(())
    }
}
