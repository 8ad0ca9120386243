//! Moving what the oplog's entries tell to its places, so that the entries can go.

use crate::error::Result;
use crate::limits::{FLUSH_BYTES, FLUSH_BYTES_REPLICA};
use crate::log::{Shared, Writer};
use crate::oplog_codec::Header;
use crate::storage::Part;

impl Shared {
    /// Flushes if the entries have grown long.
    ///
    /// What was accepted stays accepted if that fails. The next flush tries again, unless a sync
    /// failed: then the next write says so.
    pub(crate) fn flush_if_due(&self, writer: &mut Writer) {
        let limit = if self.keys.is_some() { FLUSH_BYTES } else { FLUSH_BYTES_REPLICA };
        if writer.oplog.entry_bytes() >= limit {
            self.flush_or_warn(writer);
        }
    }

    pub(crate) fn flush_or_warn(&self, writer: &mut Writer) {
        if let Err(error) = self.flush(writer) {
            tracing::warn!(key = %self.key, %error, "flushing the log failed");
        }
    }

    /// Writes nodes and bits to their parts, then a header that counts them, then drops the entries.
    ///
    /// The header must not overtake what it tells of, hence the sync before it; and the entries must
    /// not go before the header is there, hence the sync after it.
    pub(crate) fn flush(&self, writer: &mut Writer) -> Result<()> {
        self.disk.check_writable()?;
        let (commit, pages, contiguous_length) = {
            let state = self.state();
            (state.commit.clone(), state.bits.dirty_pages(), state.bits.contiguous())
        };
        self.tree.write()?;
        for (offset, page) in &pages {
            self.disk.write_at(Part::Bitfield, *offset, page)?;
        }
        self.disk.sync(&[Part::Tree, Part::Bitfield, Part::Data, Part::Oplog])?;
        let is_empty = commit.length() == 0;
        let header = Header {
            fork: commit.fork,
            length: commit.length(),
            tree_hash: (!is_empty).then(|| commit.roots.tree_hash()),
            signature: commit.signature.clone(),
            contiguous_length: contiguous_length.min(commit.length()),
            ..writer.header.clone()
        };
        writer.oplog.write_header(&self.disk, &header)?;
        writer.header = header;
        self.tree.retire();
        let mut state = self.state_mut();
        state.bits.mark_clean();
        // The sync took along whatever was only buffered.
        state.durable = commit;
        Ok(())
    }
}
