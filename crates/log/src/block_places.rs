//! Where blocks lie in the part `Data`, and what lies there.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::{Item, Kind};
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::hash;
use crate::keys::Hash;
use crate::limits::GROUP_DATA_BYTES_MAX;
use crate::merkle::{self, NodeSource, Roots};
use crate::node::Node;
use crate::storage::Part;
use crate::tree_store::{TreeStore, is_whole, node_in};
use crate::unflushed::{PAGE_LEN, PAGE_NODES};

/// Blocks in one group, and the depth of the node above them.
pub(crate) const GROUP_BLOCKS: u64 = 64;
const GROUP_DEPTH: u32 = 6;

/// Blocks of a group that are checked at once: a divisor of their number.
const CHECKED_TOGETHER: u64 = 4;

/// Groups in one region, for which it is remembered where each begins.
const REGION_GROUPS: u64 = 64;

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
        let bit = 1 << (block % GROUP_BLOCKS);
        let mut verified = self.verified.load(Ordering::Relaxed);
        if verified & bit == 0 {
            verified = self.verify_neighbours(block);
        }
        if verified & bit == 0 { None } else { self.data_of(block) }
    }

    /// Checks a block and those beside it, which takes hardly longer than one. Returns all that are
    /// right.
    fn verify_neighbours(&self, block: u64) -> u64 {
        let first = block % GROUP_BLOCKS / CHECKED_TOGETHER * CHECKED_TOGETHER;
        let blocks: [Option<&[u8]>; CHECKED_TOGETHER as usize] =
            array::from_fn(|number| self.data_of(first + number as u64));
        let mut right = 0;
        hash::leaves(&blocks.map(Option::unwrap_or_default), |number, hash| {
            let block = first + number as u64;
            if self.place(block).is_some_and(|place| place.hash == hash) {
                right |= 1 << block;
            }
        });
        self.verified.fetch_or(right, Ordering::Relaxed) | right
    }

    /// What the part had at the place of a block.
    fn data_of(&self, block: u64) -> Option<&[u8]> {
        let place = self.place(block)?;
        let from = usize::try_from(place.offset.checked_sub(self.places.first()?.offset)?).ok()?;
        let len = usize::try_from(place.size).ok()?;
        self.data.get(from..from.checked_add(len)?)
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
            return Ok(is_whole(top(number), roots.length()).then_some(group));
        }
        // Who has come to the end of a group reads on.
        let reads_on = block.is_multiple_of(GROUP_BLOCKS)
            && number > 0
            && self.pages().get(Kind::Group, number - 1).is_some();
        if reads_on || self.touches().touch(number) { self.group(roots, block) } else { Ok(None) }
    }

    /// Returns the place of one block of a group that is stored whole, by a single read. `None` if
    /// that is not known so quickly.
    pub(crate) fn place_alone(&self, roots: &Roots, block: u64) -> Result<Option<BlockPlace>> {
        let number = block / GROUP_BLOCKS;
        if !is_whole(top(number), roots.length()) {
            return Ok(None);
        }
        let view = self.at(roots.length());
        let Some(start) = self.group_offset(&view, roots, number)? else {
            return Ok(None);
        };
        let mut page = [0; PAGE_LEN];
        if !self.read_whole_page(number, roots.length(), &mut page)? {
            return Ok(None);
        }
        let Some(before) = bytes_before(block, |index| Ok(node_in(&page, index)))? else {
            return Ok(None);
        };
        let offset = start.saturating_add(before);
        let place = |leaf: Node| BlockPlace { offset, size: leaf.size, hash: leaf.hash };
        Ok(node_in(&page, 2 * block).map(place))
    }

    /// Reads the places and the data of a group of blocks.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if not all its leaves are stored.
    fn make_group(&self, roots: &Roots, number: u64) -> Result<Group> {
        let view = self.at(roots.length());
        // Most groups are read once: their nodes need not be cached beside them.
        let mut page = [0; PAGE_LEN];
        let is_read = self.read_whole_page(number, roots.length(), &mut page)?;
        let none = BlockPlace { offset: 0, size: 0, hash: Hash::from_bytes([0; 32]) };
        let mut places = [none; GROUP_BLOCKS as usize];
        let index = top(number);
        let mut offset =
            self.group_offset(&view, roots, number)?.ok_or(Error::NotAvailable { index })?;
        let start = offset;
        for (place, block) in places.iter_mut().zip(number * GROUP_BLOCKS..) {
            let leaf = match is_read.then(|| node_in(&page, 2 * block)).flatten() {
                Some(leaf) => leaf,
                None => view.expect_node(2 * block)?,
            };
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
        let Some(start) = self.group_offset(source, roots, number)? else {
            return Ok(None);
        };
        let before = bytes_before(block, |index| source.node(index))?;
        Ok(before.map(|before| start.saturating_add(before)))
    }

    /// Returns where a group begins. `None` if nodes are missing that tell.
    fn group_offset(
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

/// Bytes of the blocks of a group that lie before one of them. `None` if nodes are missing that tell.
fn bytes_before(block: u64, node: impl Fn(u64) -> Result<Option<Node>>) -> Result<Option<u64>> {
    let (mut at, leaf, mut bytes) = (top(block / GROUP_BLOCKS), 2 * block, 0_u64);
    while let Some((left, right)) = flat_tree::children(at) {
        if leaf <= flat_tree::right_span(left) {
            at = left;
            continue;
        }
        let Some(left) = node(left)? else {
            return Ok(None);
        };
        bytes = bytes.saturating_add(left.size);
        at = right;
    }
    Ok(Some(bytes))
}

/// The node above a group of blocks. The group's nodes are one page of the part `Tree`.
const fn top(number: u64) -> u64 {
    number.saturating_mul(PAGE_NODES).saturating_add((1 << GROUP_DEPTH) - 1)
}
