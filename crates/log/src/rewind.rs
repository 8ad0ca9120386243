//! Going back to a shorter length, on another fork.

use std::sync::{Arc, PoisonError};

use crate::barrier::Barrier;
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::log::{Log, Shared, Writer};
use crate::merkle::leads_to;
use crate::node::Node;
use crate::oplog_codec::{Entry, EntryBitfield, EntryUpgrade, Reorg};
use crate::signature::Signers;
use crate::storage::Part;

impl Log {
    /// Cuts the log off behind its first `len` blocks, and signs that with the next fork number.
    /// Returns the fork, when it is on disk.
    ///
    /// Others who hold the blocks that are cut off will drop them when they meet the new fork. What
    /// is appended from here on takes the numbers of the blocks that are gone.
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`]; [`Error::TwoHistories`] as [`append`](Self::append);
    /// [`Error::InvalidRequest`] if the log is shorter than `len`; [`Error::Corrupt`] if the tree
    /// on disk is not the one that was signed; [`Error::Io`], after which the log is as before,
    /// unless a sync failed.
    pub fn truncate(&self, len: u64) -> Result<u64> {
        self.shared.truncate(len, None)
    }

    /// As [`truncate`](Self::truncate), to a fork number of one's own choice. Returns it.
    ///
    /// # Errors
    ///
    /// As [`truncate`](Self::truncate), and [`Error::InvalidFork`] if `fork` is not above the
    /// current one.
    pub fn truncate_to_fork(&self, len: u64, fork: u64) -> Result<u64> {
        self.shared.truncate(len, Some(fork))
    }

    /// Returns how many blocks are still those of an earlier fork, as far as it is known: 0 if that
    /// was cut too long ago.
    ///
    /// ```
    /// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    ///
    /// let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// log.append(&["rain", "sun", "snow"])?;
    /// log.truncate(2)?;
    /// log.append(&["hail"])?;
    /// assert_eq!((log.shared_len_since(0), log.shared_len_since(1)), (2, 3));
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    pub fn shared_len_since(&self, fork: u64) -> u64 {
        let writer = self.shared.writer_lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.shared.state();
        let now = &state.accepted;
        if fork >= now.fork {
            return now.length();
        }
        let reorgs = &writer.header.reorgs;
        if reorgs.first().is_none_or(|first| first.from > fork) {
            return 0;
        }
        let since = reorgs.iter().filter(|reorg| reorg.to > fork);
        since.map(|reorg| reorg.ancestors).min().unwrap_or(0)
    }
}

impl Shared {
    fn truncate(&self, len: u64, fork: Option<u64>) -> Result<u64> {
        let Some(keys) = self.keys() else {
            self.disk.check_writable()?;
            return Err(self.not_writable());
        };
        let mut writer = self.writer()?;
        self.check_one_history()?;
        let (before, manifest) = {
            let state = self.state();
            (state.accepted.clone(), state.manifest.clone())
        };
        if len > before.length() {
            return Err(Error::InvalidRequest { what: "the log is shorter than that" });
        }
        let fork = fork.unwrap_or(before.fork.saturating_add(1));
        if fork <= before.fork || fork > crate::compact::MAX_UINT {
            return Err(Error::InvalidFork { ours: before.fork, asked: fork });
        }
        let roots = self.tree.roots(len, before.length())?;
        // What is signed now was covered by the signature before, whatever became of the disk.
        if !leads_to(&self.tree.at(before.length()), &roots, &before.roots)? {
            let what = "the tree is not the one that was signed";
            return Err(Error::Corrupt { part: Part::Tree, offset: 0, what });
        }
        let manifest = manifest.ok_or(Error::NotWritable)?;
        let signers = Signers { key: &self.key, manifest: &manifest };
        let signature = signers.sign(keys, &roots.tree_hash(), len, fork)?;
        self.rewind(&mut writer, len, Commit { fork, roots, signature }, Vec::new())?;
        Ok(fork)
    }

    /// Forgets all blocks and nodes that are not whole below `shared_len`, and goes on from there
    /// with `after`, to which `nodes` lead. Durable when it returns.
    pub(crate) fn rewind(
        &self,
        writer: &mut Writer,
        shared_len: u64,
        after: Commit,
        nodes: Vec<Node>,
    ) -> Result<()> {
        let before = self.state().accepted.clone();
        let dropped = before.length().saturating_sub(shared_len);
        let entry = Entry {
            user_data: None,
            nodes: Some(nodes),
            upgrade: Some(EntryUpgrade {
                fork: after.fork,
                ancestors: shared_len,
                length: after.length(),
                signature: after.signature.clone(),
            }),
            bitfield: (dropped > 0).then_some(EntryBitfield {
                drop: true,
                start: shared_len,
                length: dropped,
            }),
        };
        let entries = [entry];
        self.write_entries(writer, &entries, true)?;
        let [entry] = entries;
        let hint = &mut writer.header.contiguous_length;
        *hint = shared_len.min(*hint);
        if before.length() > 0 {
            let reorg = Reorg { from: before.fork, to: after.fork, ancestors: shared_len };
            reorg.note_in(&mut writer.header.reorgs);
        }
        // Readers go on with what was before until this cannot be lost any more.
        self.disk.sync(Barrier::Commit, &[Part::Data, Part::Tree, Part::Oplog])?;
        let after = Arc::new(after);
        {
            // One step for readers: who finds a node missing looks again, and sees the new fork.
            let mut state = self.state_mut();
            self.tree.truncate(shared_len);
            self.tree.insert(entry.nodes.as_deref().unwrap_or(&[]));
            state.bits.set(shared_len..u64::MAX, false);
            let change = state.accept(after.clone());
            state.note_durable(change, after);
        }
        // Hypercore cannot go on from a cut that was not flushed.
        self.flush_or_warn(writer);
        Ok(())
    }
}
