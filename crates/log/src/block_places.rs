//! Where blocks lie in the part `Data`, and what lies there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::{Item, Kind};
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::hash;
use crate::keys::Hash;
use crate::limits::GROUP_DATA_BYTES_MAX;
use crate::merkle::{self, NodeSource, Roots};
use crate::storage::Part;
use crate::tree_store::{TreeStore, is_whole};
use crate::unflushed::PAGE_NODES;

/// Blocks in one group, and the depth of the node above them.
const GROUP_BLOCKS: u64 = 64;
const GROUP_DEPTH: u32 = 6;

/// Where a block lies, and what it must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) hash: Hash,
}

/// 64 neighbouring blocks, all of whose leaves are stored: their places and, if they are short, their
/// data.
pub(crate) struct Group {
    places: [BlockPlace; GROUP_BLOCKS as usize],
    /// What the part `Data` had at their places. Empty if that is much.
    data: Vec<u8>,
    /// Which blocks' data was found to be right: a bit each.
    verified: AtomicU64,
}

impl Group {
    /// Returns the place of one of the blocks.
    pub(crate) fn place(&self, block: u64) -> Option<&BlockPlace> {
        self.places.get((block % GROUP_BLOCKS) as usize)
    }

    /// Returns the data of one of the blocks if it is here and right. It may be older than the
    /// block.
    pub(crate) fn block(&self, block: u64) -> Option<&[u8]> {
        let place = self.place(block)?;
        let from = usize::try_from(place.offset.checked_sub(self.places.first()?.offset)?).ok()?;
        let len = usize::try_from(place.size).ok()?;
        let data = self.data.get(from..from.checked_add(len)?)?;
        let bit = 1 << (block % GROUP_BLOCKS);
        if self.verified.load(Ordering::Relaxed) & bit == 0 {
            if hash::leaf(data) != place.hash {
                return None;
            }
            self.verified.fetch_or(bit, Ordering::Relaxed);
        }
        Some(data)
    }

    /// Bytes of memory that it takes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}

impl TreeStore {
    /// Returns the place of a block that is held.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if a node on the way to it is missing.
    pub(crate) fn place(&self, roots: &Roots, block: u64) -> Result<BlockPlace> {
        if let Some(group) = self.group(roots, block)?
            && let Some(place) = group.place(block)
        {
            return Ok(*place);
        }
        let view = self.at(roots.length());
        let leaf = view.expect_node(block.saturating_mul(2))?;
        let offset = self.offset(&view, roots, block)?;
        Ok(BlockPlace { offset, size: leaf.size, hash: leaf.hash })
    }

    /// Returns the group that a block is in, or `None` if it is not whole or not all its leaves are
    /// stored.
    pub(crate) fn group(&self, roots: &Roots, block: u64) -> Result<Option<Arc<Group>>> {
        let number = block / GROUP_BLOCKS;
        if !is_whole(top(number), roots.length()) {
            return Ok(None);
        }
        let make = || self.make_group(roots, number).map(|group| Item::Group(Arc::new(group)));
        match self.pages().get_or_make(Kind::Group, number, make) {
            Ok(Item::Group(group)) => Ok(Some(group)),
            Ok(_) | Err(Error::NotAvailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets what is cached of blocks that were just written.
    pub(crate) fn forget_blocks(&self, blocks: impl Iterator<Item = u64>) {
        let mut last = None;
        for number in blocks.map(|block| block / GROUP_BLOCKS) {
            if last.replace(number) != Some(number) {
                self.pages().forget(Kind::Group, number);
            }
        }
    }

    /// Reads the places and the data of a group of blocks.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if not all its leaves are stored.
    fn make_group(&self, roots: &Roots, number: u64) -> Result<Group> {
        let view = self.at(roots.length());
        // Most groups are read once: their nodes need not be cached beside them.
        view.read_ahead(number)?;
        let none = BlockPlace { offset: 0, size: 0, hash: Hash::from_bytes([0; 32]) };
        let mut places = [none; GROUP_BLOCKS as usize];
        let mut offset = merkle::byte_offset(&self.at(roots.length()), roots, top(number))?;
        let start = offset;
        for (place, block) in places.iter_mut().zip(number * GROUP_BLOCKS..) {
            let leaf = view.expect_node(2 * block)?;
            *place = BlockPlace { offset, size: leaf.size, hash: leaf.hash };
            offset = offset.saturating_add(leaf.size);
        }
        let len = offset - start;
        let data = match usize::try_from(len) {
            Ok(len) if len as u64 <= GROUP_DATA_BYTES_MAX => {
                self.pages().read_past_cache(Part::Data, start, len)?
            }
            _ => Vec::new(),
        };
        Ok(Group { places, data, verified: AtomicU64::new(0) })
    }

    /// Returns where a block begins, or the byte length for the block behind the last.
    pub(crate) fn byte_offset(&self, roots: &Roots, block: u64) -> Result<u64> {
        self.offset(&self.at(roots.length()), roots, block)
    }

    /// Returns where a block begins, also of one that `source` knows of before it is stored here.
    /// `source` may have more nodes than are stored, but none that differ.
    pub(crate) fn offset(&self, source: &dyn NodeSource, roots: &Roots, block: u64) -> Result<u64> {
        let leaf = block.saturating_mul(2);
        match self.offset_by_group(source, roots, block)? {
            Some(offset) => Ok(offset),
            None => merkle::byte_offset(source, roots, leaf),
        }
    }

    /// The short way in long logs: from where the block's group begins, which is remembered, down a
    /// few nodes. `None` if nodes are missing on it.
    fn offset_by_group(
        &self,
        source: &dyn NodeSource,
        roots: &Roots,
        block: u64,
    ) -> Result<Option<u64>> {
        let number = block / GROUP_BLOCKS;
        if !is_whole(top(number), roots.length()) {
            return Ok(None);
        }
        let Some(mut offset) = self.group_offset(source, roots, number)? else {
            return Ok(None);
        };
        let (mut at, leaf) = (top(number), 2 * block);
        while let Some((left, right)) = flat_tree::children(at) {
            if leaf <= flat_tree::right_span(left) {
                at = left;
                continue;
            }
            let Some(left) = source.node(left)? else {
                return Ok(None);
            };
            offset = offset.saturating_add(left.size);
            at = right;
        }
        Ok(Some(offset))
    }

    fn group_offset(
        &self,
        source: &dyn NodeSource,
        roots: &Roots,
        number: u64,
    ) -> Result<Option<u64>> {
        if let Some(Item::Offset(offset)) = self.pages().get(Kind::GroupOffset, number) {
            return Ok(Some(offset));
        }
        match merkle::byte_offset(source, roots, top(number)) {
            Ok(offset) => {
                self.pages().insert(Kind::GroupOffset, number, Item::Offset(offset));
                Ok(Some(offset))
            }
            Err(Error::NotAvailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The node above a group of blocks. The group's nodes are one page of the part `Tree`.
const fn top(number: u64) -> u64 {
    number.saturating_mul(PAGE_NODES).saturating_add((1 << GROUP_DEPTH) - 1)
}
