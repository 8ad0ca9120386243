//! Adding blocks, and making them durable.

use std::sync::Arc;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::limits::{BATCH_BLOCKS_MAX, BATCH_BYTES_MAX};
use crate::log::{Log, Shared, Writer};
use crate::oplog_codec::{Entry, EntryBitfield, EntryUpgrade};
use crate::signature::Signers;
use crate::storage::Part;

impl Log {
    /// Appends blocks as one commit: after a crash there are all or none of them. Returns the new
    /// length.
    ///
    /// Appending nothing does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`], [`Error::BlockTooLarge`], [`Error::BatchTooLarge`] and
    /// [`Error::LogTooLarge`] before anything is written. [`Error::Io`] if a write fails; the log is
    /// then as before. If a sync fails, the log takes no more writes: whether the blocks are there
    /// shows when it is opened anew.
    pub fn append<B: AsRef<[u8]>>(&self, blocks: &[B]) -> Result<u64> {
        let blocks: Vec<&[u8]> = blocks.iter().map(AsRef::as_ref).collect();
        self.shared.append(&blocks)
    }
}

impl Shared {
    fn append(&self, blocks: &[&[u8]]) -> Result<u64> {
        let Some(keys) = &self.keys else {
            return Err(Error::NotWritable);
        };
        self.check_batch(blocks)?;
        let mut writer = self.writer()?;
        let (before, manifest) = {
            let state = self.state();
            (state.commit.clone(), state.manifest.clone())
        };
        if blocks.is_empty() {
            return Ok(before.length());
        }
        let mut roots = before.roots.clone();
        let mut nodes = Vec::with_capacity(2 * blocks.len() + 64);
        for block in blocks {
            roots.append(block, &mut nodes)?;
        }
        let manifest = manifest.ok_or(Error::NotWritable)?;
        let signers = Signers { key: &self.key, manifest: &manifest };
        let signature = signers.sign(keys, &roots.tree_hash(), roots.length(), before.fork)?;
        let after = Commit { fork: before.fork, roots, signature };
        self.write_commit(&mut writer, blocks, &before, &after, &nodes)?;

        let new = before.length()..after.length();
        let after = Arc::new(after);
        self.tree.insert(nodes);
        {
            let mut state = self.state_mut();
            state.bits.set(new.clone(), true);
            if self.is_immediate() {
                state.durable = after.clone();
            }
            state.commit = after;
        }
        self.flush_if_due(&mut writer);
        Ok(new.end)
    }

    fn check_batch(&self, blocks: &[&[u8]]) -> Result<()> {
        let limit = self.block_len_max();
        if let Some(block) = blocks.iter().find(|block| block.len() as u64 > limit) {
            return Err(Error::BlockTooLarge { len: block.len() as u64, limit });
        }
        if blocks.len() > BATCH_BLOCKS_MAX {
            let (len, limit) = (blocks.len() as u64, BATCH_BLOCKS_MAX as u64);
            return Err(Error::BatchTooLarge { len, limit, unit: "blocks" });
        }
        let len = blocks.iter().map(|block| block.len() as u64).sum();
        if len > BATCH_BYTES_MAX {
            return Err(Error::BatchTooLarge { len, limit: BATCH_BYTES_MAX, unit: "bytes" });
        }
        Ok(())
    }

    /// Writes blocks and their entry, and waits for the disk if that is asked for.
    ///
    /// No order is needed between the two: recovery drops an entry whose blocks are not there. But
    /// both must be there before the commit is acknowledged.
    fn write_commit(
        &self,
        writer: &mut Writer,
        blocks: &[&[u8]],
        before: &Commit,
        after: &Commit,
        nodes: &[crate::node::Node],
    ) -> Result<()> {
        let offset = before.roots.byte_length();
        match blocks {
            [only] => self.disk.write_at(Part::Data, offset, only)?,
            many => self.disk.write_at(Part::Data, offset, &many.concat())?,
        }
        let entry = Entry {
            user_data: None,
            nodes: Some(nodes.to_vec()),
            upgrade: Some(EntryUpgrade {
                fork: after.fork,
                ancestors: before.length(),
                length: after.length(),
                signature: after.signature.clone(),
            }),
            bitfield: Some(EntryBitfield {
                drop: false,
                start: before.length(),
                length: blocks.len() as u64,
            }),
        };
        writer.oplog.append(&self.disk, &[entry])?;
        if self.is_immediate() {
            self.disk.sync(&[Part::Data, Part::Oplog])?;
        }
        Ok(())
    }

    /// Makes durable what was accepted. The caller is the writer.
    pub(crate) fn sync(&self) -> Result<()> {
        let commit = self.commit();
        self.disk.sync(&[Part::Data, Part::Oplog])?;
        self.state_mut().durable = commit;
        Ok(())
    }
}
