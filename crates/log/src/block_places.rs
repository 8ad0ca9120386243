//! Where blocks lie in the part `Data`, and what lies there.

use std::array;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::{Item, Kind};
use crate::error::{Error, Result};
use crate::hash;
use crate::leaves::{BlockPlace, GROUP_BLOCKS, Leaves, bytes_before, is_group_whole, top};
use crate::limits::GROUP_DATA_BYTES_MAX;
use crate::merkle::{self, NodeSource, Roots};
use crate::storage::Part;
use crate::tree_store::TreeStore;

/// Blocks of a group that are checked at once: a divisor of their number.
const CHECKED_TOGETHER: u64 = 16;

/// Groups in one region, for which it is remembered where each begins.
const REGION_GROUPS: u64 = 64;

/// The data of a group of blocks, all of them short.
pub(crate) struct Group {
    leaves: Leaves,
    /// What the part `Data` had at their places.
    data: Vec<u8>,
    /// Which blocks' data was found to be right: a bit each.
    verified: AtomicU64,
}

impl Group {
    /// Returns where one of the blocks is in [`data`](Self::data) if it is there and right. What is
    /// there may be older than the block.
    pub(crate) fn block(&self, block: u64) -> Option<Range<usize>> {
        let bit = 1 << (block % GROUP_BLOCKS);
        let mut verified = self.verified.load(Ordering::Relaxed);
        if verified & bit == 0 {
            verified = self.verify_neighbours(block);
        }
        if verified & bit == 0 { None } else { self.range(block) }
    }

    /// What the part had at the places of all blocks.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Checks a block and those beside it, which takes hardly longer than one. Returns all that are
    /// right.
    fn verify_neighbours(&self, block: u64) -> u64 {
        let first = block % GROUP_BLOCKS / CHECKED_TOGETHER * CHECKED_TOGETHER;
        let blocks: [Option<&[u8]>; CHECKED_TOGETHER as usize] =
            array::from_fn(|number| self.data.get(self.range(first + number as u64)?));
        let mut right = 0;
        hash::leaves(&blocks.map(Option::unwrap_or_default), |number, hash| {
            let block = first + number as u64;
            if self.leaves.hash(block).is_some_and(|right| *right == hash) {
                right |= 1 << block;
            }
        });
        self.verified.fetch_or(right, Ordering::Relaxed) | right
    }

    fn range(&self, block: u64) -> Option<Range<usize>> {
        let Range { start, end } = self.leaves.range(block)?;
        // It is data that was read into memory.
        Some(start as usize..end as usize)
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
        let leaves = self.leaves(roots, block)?;
        if let Some(place) = leaves.and_then(|leaves| leaves.place(block)) {
            return Ok(place);
        }
        let view = self.at(roots.length());
        let leaf = view.expect_node(block.saturating_mul(2))?;
        let offset = self.offset(&view, roots, block)?;
        Ok(BlockPlace { offset, size: leaf.size, hash: leaf.hash })
    }

    /// Returns the group that a block is in, or `None` if it is not whole, if not all its leaves are
    /// stored, or if it has much data.
    fn group(&self, roots: &Roots, block: u64) -> Result<Option<Arc<Group>>> {
        let number = block / GROUP_BLOCKS;
        if !is_group_whole(number, roots) {
            return Ok(None);
        }
        let make = || self.make_group(roots, number).map(|group| Item::Group(Arc::new(group)));
        match self.pages().spot(Kind::Group, number).get_or_make(make) {
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

    /// Returns the group that a block is in if it is cached, or if it is read so often that it is
    /// worth reading whole. `None`, too, where [`group`](Self::group) has none.
    pub(crate) fn busy_group(&self, roots: &Roots, block: u64) -> Result<Option<Arc<Group>>> {
        let number = block / GROUP_BLOCKS;
        if let Some(Item::Group(group)) = self.pages().get(Kind::Group, number) {
            return Ok(is_group_whole(number, roots).then_some(group));
        }
        // Who has come to the end of a group reads on.
        let reads_on = block.is_multiple_of(GROUP_BLOCKS)
            && number > 0
            && self.pages().get(Kind::Group, number - 1).is_some();
        if reads_on || self.touched_groups().touch(number) {
            self.group(roots, block)
        } else {
            Ok(None)
        }
    }

    /// Reads the data of a group of blocks.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if not all its leaves are stored, and if there is much data.
    fn make_group(&self, roots: &Roots, number: u64) -> Result<Group> {
        let none = || Error::NotAvailable { index: top(number) };
        let is_long = |leaves: &Leaves| leaves.data().1 > GROUP_DATA_BYTES_MAX;
        // Most groups are read once: their leaves need not be cached beside them.
        let spot = self.pages().spot(Kind::Leaves, number);
        let leaves = match spot.get() {
            Some(Item::Leaves(leaves)) if is_long(&leaves) => return Err(none()),
            Some(Item::Leaves(leaves)) => Leaves::clone(&leaves),
            _ => self.read_leaves(roots, number)?.ok_or_else(none)?,
        };
        if is_long(&leaves) {
            spot.insert(Item::Leaves(Arc::new(leaves)));
            return Err(none());
        }
        let (start, len) = leaves.data();
        let data = self.pages().read_past_cache(Part::Data, start, len as usize)?;
        Ok(Group { leaves, data, verified: AtomicU64::new(0) })
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
        if !is_group_whole(number, roots) {
            return Ok(None);
        }
        let Some(start) = self.group_offset(source, roots, number)? else {
            return Ok(None);
        };
        let before = bytes_before(block, |index| source.node(index))?;
        Ok(before.map(|before| start.saturating_add(before)))
    }

    /// Returns where a group begins. `None` if nodes are missing that tell.
    pub(crate) fn group_offset(
        &self,
        source: &dyn NodeSource,
        roots: &Roots,
        number: u64,
    ) -> Result<Option<u64>> {
        let (region, at) = (number / REGION_GROUPS, (number % REGION_GROUPS) as usize);
        let in_region = self.pages().spot(Kind::Region, region);
        let known = match in_region.get() {
            Some(Item::Offsets(known)) => known,
            _ => Arc::default(),
        };
        if let Some(offset) = known.get(at) {
            return Ok(Some(*offset));
        }
        let alone = self.pages().spot(Kind::GroupOffset, number);
        if let Some(Item::Offset(offset)) = alone.get() {
            return Ok(Some(offset));
        }
        let offsets = self.region_offsets(roots, region, &known)?;
        let found = offsets.get(at).copied();
        if offsets.len() > known.len() {
            in_region.insert(Item::Offsets(Arc::new(offsets)));
        }
        if found.is_some() {
            return Ok(found);
        }
        match merkle::byte_offset(source, roots, top(number)) {
            Ok(offset) => {
                alone.insert(Item::Offset(offset));
                Ok(Some(offset))
            }
            Err(Error::NotAvailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds where the groups of a region begin, as far as the log and the stored nodes reach, with
    /// those that are known.
    fn region_offsets(&self, roots: &Roots, region: u64, known: &[u64]) -> Result<Vec<u64>> {
        let view = self.at(roots.length());
        let first = region.saturating_mul(REGION_GROUPS);
        let mut offsets = known.to_vec();
        let mut offset = match offsets.pop() {
            Some(last) => last,
            None => match merkle::byte_offset(&view, roots, 2 * GROUP_BLOCKS * first) {
                Err(Error::NotAvailable { .. }) => return Ok(offsets),
                found => found?,
            },
        };
        for group in first + offsets.len() as u64..first + REGION_GROUPS {
            offsets.push(offset);
            // One node of each page is needed, and it takes less than the page.
            let Some(node) = view.node_alone(top(group))? else {
                break;
            };
            offset = offset.saturating_add(node.size);
        }
        Ok(offsets)
    }
}
