//! Adding blocks.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::limits::{BATCH_BLOCKS_MAX, BATCH_BYTES_MAX, SCRATCH_BYTES_MAX};
use crate::log::{Log, Shared, Writer};
use crate::node::Node;
use crate::oplog_codec::{Entry, EntryBitfield, EntryUpgrade};
use crate::signature::Signers;
use crate::storage::Part;

impl Log {
    /// Appends blocks as one commit: after a crash there are all or none of them. Returns the new
    /// length, once the log's [`Durability`](crate::Durability) is satisfied.
    ///
    /// Appending nothing does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`], [`Error::ReadOnly`], [`Error::BlockTooLarge`],
    /// [`Error::BatchTooLarge`] and [`Error::LogTooLarge`] before anything is written, and
    /// [`Error::TwoHistories`] once the log's key is [known](Log::conflict) to have signed two
    /// histories. [`Error::Io`] if a write fails; the log is then as before. If a sync fails, the
    /// log takes no more writes ([`Error::ReadOnlyAfterFailedSync`]): whether the blocks are there
    /// shows when it is opened anew.
    pub fn append<B: AsRef<[u8]>>(&self, blocks: &[B]) -> Result<u64> {
        let blocks: Vec<&[u8]> = blocks.iter().map(AsRef::as_ref).collect();
        let (change, len) = self.shared.append(&blocks, &[])?;
        self.shared.settle(change)?;
        Ok(len)
    }
}

impl Shared {
    /// Writes blocks and user data as one change. Returns its number, and the length with it.
    pub(crate) fn append(
        &self,
        blocks: &[&[u8]],
        user_data: &[(String, Bytes)],
    ) -> Result<(u64, u64)> {
        let Some(keys) = self.keys() else {
            self.disk.check_writable()?;
            return Err(self.not_writable());
        };
        self.check_batch(blocks)?;
        let mut writer = self.writer()?;
        let (before, manifest, change) = {
            let state = self.state();
            (state.accepted.clone(), state.manifest.clone(), state.change)
        };
        if blocks.is_empty() && user_data.is_empty() {
            return Ok((change, before.length()));
        }
        let new_user_data = match user_data {
            [] => None,
            pairs => Some(self.with_user_data(pairs)?),
        };
        let (mut after, mut nodes) = (before.clone(), Vec::new());
        if !blocks.is_empty() {
            self.check_one_history()?;
            let mut roots = before.roots.clone();
            roots.append_all(blocks, &mut nodes)?;
            let manifest = manifest.ok_or(Error::NotWritable)?;
            let signers = Signers { key: &self.key, manifest: &manifest };
            let signature = signers.sign(keys, &roots.tree_hash(), roots.length(), before.fork)?;
            after = Arc::new(Commit { fork: before.fork, roots, signature });
        }
        // Entries of one block are a replica's, too; see `placed`.
        let is_large = blocks.len() > 1 && nodes.len() >= self.options.placed_nodes_min();
        let is_placed = is_large && self.tree.can_place();
        let commits = (&*before, &*after);
        if is_placed {
            self.write_placed(&mut writer, blocks, user_data, commits, &nodes)?;
        } else {
            self.write_blocks_in_order(&mut writer, blocks, before.roots.byte_length())?;
            let nodes = self.write_commit(&mut writer, user_data, commits, Some(nodes))?;
            self.tree.insert(&nodes);
        }

        let len = after.length();
        let change = {
            let mut state = self.state_mut();
            state.bits.set(before.length()..len, true);
            if let Some(user_data) = new_user_data {
                state.user_data = user_data;
            }
            state.accept(after)
        };
        self.flush_if_due(&mut writer);
        Ok((change, len))
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

    /// Writes many blocks, their nodes to where they stay, and an entry without them.
    ///
    /// In this order, for those who read along. After a power cut recovery drops an entry whose
    /// blocks or nodes are not there.
    fn write_placed(
        &self,
        writer: &mut Writer,
        blocks: &[&[u8]],
        user_data: &[(String, Bytes)],
        (before, after): (&Commit, &Commit),
        nodes: &[Node],
    ) -> Result<()> {
        self.write_blocks_in_order(writer, blocks, before.roots.byte_length())?;
        let mut run = mem::take(&mut writer.run);
        let lengths = (before.length(), after.length());
        let written = self
            .tree
            .place_nodes(lengths, nodes, &mut run)
            .and_then(|()| self.write_commit(writer, user_data, (before, after), None));
        if let Err(error) = written {
            self.tree.unplace(before.length());
            return Err(error);
        }
        if run.capacity() <= SCRATCH_BYTES_MAX {
            writer.run = run;
        }
        writer.placed_bytes += after.roots.byte_length() - before.roots.byte_length();
        Ok(())
    }

    fn write_blocks_in_order(
        &self,
        writer: &mut Writer,
        blocks: &[&[u8]],
        offset: u64,
    ) -> Result<()> {
        match blocks {
            [only] => self.disk.write_at(Part::Data, offset, only)?,
            many => {
                let mut data = mem::take(&mut writer.data);
                data.clear();
                data.reserve(many.iter().map(|block| block.len()).sum());
                many.iter().for_each(|block| data.extend_from_slice(block));
                self.disk.write_at(Part::Data, offset, &data)?;
                if data.capacity() <= SCRATCH_BYTES_MAX {
                    writer.data = data;
                }
            }
        }
        Ok(())
    }

    /// Writes the entry of blocks that were written. Gives the nodes back.
    ///
    /// No order is needed between the two: recovery drops an entry whose blocks are not there. But
    /// both must be there before the commit is acknowledged.
    fn write_commit(
        &self,
        writer: &mut Writer,
        user_data: &[(String, Bytes)],
        (before, after): (&Commit, &Commit),
        nodes: Option<Vec<Node>>,
    ) -> Result<Vec<Node>> {
        let mut entries: Vec<Entry> = user_data
            .iter()
            .map(|pair| Entry { user_data: Some(pair.clone()), ..Entry::default() })
            .collect();
        if after.length() > before.length() {
            entries.push(Entry {
                user_data: None,
                nodes,
                upgrade: Some(EntryUpgrade {
                    fork: after.fork,
                    ancestors: before.length(),
                    length: after.length(),
                    signature: after.signature.clone(),
                }),
                bitfield: Some(EntryBitfield {
                    drop: false,
                    start: before.length(),
                    length: after.length() - before.length(),
                }),
            });
        }
        self.write_entries(writer, &entries, true)?;
        Ok(entries.pop().and_then(|entry| entry.nodes).unwrap_or_default())
    }
    /// Writes entries behind those in the oplog. Nothing is synced.
    pub(crate) fn write_entries(
        &self,
        writer: &mut Writer,
        entries: &[Entry],
        atomic: bool,
    ) -> Result<()> {
        let hastily = self.held_keys.is_some() && {
            let state = self.state();
            state.durable_change < state.change
        };
        writer.oplog.append(&self.disk, entries, atomic, hastily)
    }
}
