//! Reading blocks, and proving them to others.

use std::iter;
use std::ops::Range;

use bytes::Bytes;

use crate::block_bytes::BlockBytes;
use crate::cache::{Item, Kind};
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::hash;
use crate::keys::Hash;
use crate::leaves::BlockPlace;
use crate::limits::{CACHED_BLOCK_BYTES_MAX, UNCHECKED_READ_BYTES};
use crate::log::{Log, Shared};
use crate::merkle::{self, roots_at};
use crate::proof::Proof;
use crate::prove::{ProvenHead, can_prove_blocks, can_prove_upgrade, prove};
use crate::request::Request;
use crate::storage::Part;

impl Log {
    /// Returns the tree hash that the log had at a length, or `None` if it was never that long or
    /// the nodes for it are not held.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn tree_hash_at(&self, len: u64) -> Result<Option<Hash>> {
        let commit = self.shared.commit();
        if len > commit.length() {
            return Ok(None);
        }
        let roots = roots_at(&self.shared.tree.at(commit.length()), len)?;
        Ok(roots.map(|roots| roots.tree_hash()))
    }

    /// Returns the hash of a block: that of its leaf in the tree. `None` if it is not held.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn block_hash(&self, seq: u64) -> Result<Option<Hash>> {
        Ok(self.get(seq)?.map(|block| hash::leaf(&block)))
    }

    /// Returns how many levels above a tree node the first one stands that is held: the `nodes` of
    /// a request for it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn missing_nodes(&self, tree_index: u64) -> Result<u64> {
        let commit = self.shared.commit();
        merkle::missing_nodes(&self.shared.tree.at(commit.length()), commit.length(), tree_index)
    }

    /// Returns whether all is held that proves the durable head to one who has the first `from`
    /// blocks' roots.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn can_prove_upgrade(&self, from: u64) -> Result<bool> {
        let length = self.durable_len();
        can_prove_upgrade(&self.shared.tree.at(length), from, length)
    }

    /// Returns whether these blocks can be proven to everybody who knows the durable head. A replica
    /// may hold some that it can't: it took them from a head that a later one was not proven from.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn can_prove(&self, blocks: Range<u64>) -> Result<bool> {
        let length = self.durable_len();
        if blocks.end > length || blocks.clone().any(|block| !self.has(block)) {
            return Ok(false);
        }
        can_prove_blocks(&self.shared.tree.at(length), blocks, length)
    }

    /// Answers a request, from the durable head.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] if nobody could answer it, and [`Error::NotAvailable`] if others
    /// could: what it takes is not held here. [`Error::Corrupt`] and [`Error::Io`].
    pub fn prove(&self, request: &Request) -> Result<Proof> {
        loop {
            let (commit, manifest, trusted_len) = {
                let state = self.shared.state();
                (state.durable.clone(), state.manifest.clone(), state.trusted_len())
            };
            let source = self.shared.tree.at(commit.length());
            let head = ProvenHead {
                key: &self.shared.key,
                manifest: manifest.as_deref(),
                length: commit.length(),
                fork: commit.fork,
                signature: &commit.signature,
            };
            let block_value = |block: u64| match block < trusted_len {
                true => self.shared.get(block),
                false => Ok(None),
            };
            let proof = prove(&source, &head, request, block_value);
            // Should the log have been cut meanwhile, nodes of two histories may be in it.
            if self.shared.durable().fork == commit.fork {
                return proof;
            }
        }
    }
}

impl Shared {
    pub(crate) fn get(&self, block: u64) -> Result<Option<Bytes>> {
        Ok(self.read(block)?.map(Bytes::from))
    }

    pub(crate) fn read(&self, block: u64) -> Result<Option<BlockBytes>> {
        loop {
            let commit = {
                let state = self.state();
                if !state.has(block) {
                    return Ok(None);
                }
                state.commit().clone()
            };
            let read = self.read_block(&commit, block);
            // Cut or cleared while it was read: that is no damage.
            let is_settled = read.is_ok() || {
                if self.disk.is_read_only() {
                    self.refresh()?;
                }
                let state = self.state();
                state.has(block) && state.commit().fork == commit.fork
            };
            if is_settled {
                return read.map(Some);
            }
        }
    }

    /// Reads a block that is held, and checks it.
    pub(crate) fn read_block(&self, commit: &Commit, block: u64) -> Result<BlockBytes> {
        if let Some(group) = self.tree.busy_group(&commit.roots, block)? {
            if let Some(range) = group.block(block) {
                return Ok(BlockBytes::among(group, range));
            }
            // It may be older than the block.
            self.tree.forget_blocks(iter::once(block));
        } else if let Some(place) = self.tree.place_alone(&commit.roots, block)?
            && let Ok(data) = self.read_past_cache(&place)
        {
            return Ok(data.into());
        }
        // What was found to be right once is right as long as the log is on one fork.
        let spot = self.tree.pages().spot(Kind::Block, block);
        if let Some(Item::Block(data)) = spot.get() {
            return Ok(data.into());
        }
        let place = match self.tree.place(&commit.roots, block) {
            Err(Error::NotAvailable { index }) => {
                let (part, what) = (Part::Tree, "a node above a held block is missing");
                return Err(Error::Corrupt { part, offset: index.saturating_mul(40), what });
            }
            found => found?,
        };
        let data = self.read_past_cache(&place)?;
        if place.size <= CACHED_BLOCK_BYTES_MAX {
            spot.insert(Item::Block(data.clone()));
        }
        Ok(data.into())
    }

    /// Reads a block from storage, and checks it.
    pub(crate) fn read_past_cache(&self, place: &BlockPlace) -> Result<Bytes> {
        let BlockPlace { offset, size, .. } = *place;
        let corrupt = |what| Error::Corrupt { part: Part::Data, offset, what };
        // A wrong size must not decide how much memory is asked for.
        if size > UNCHECKED_READ_BYTES && size > self.disk.len(Part::Data)?.saturating_sub(offset) {
            return Err(corrupt("a block reaches past the end of the part"));
        }
        let len = usize::try_from(size).map_err(|_| corrupt("a block is larger than memory"))?;
        let data = self.disk.read_exact(Part::Data, offset, len)?;
        if hash::leaf(&data) != place.hash {
            return Err(corrupt("a block does not match its leaf"));
        }
        Ok(data.into())
    }
}
