//! Places and hashes of neighbouring blocks.

use std::array;
use std::ops::Range;
use std::sync::Arc;

use crate::cache::{Item, Kind};
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::keys::Hash;
use crate::merkle::{NodeSource, Roots};
use crate::node::Node;
use crate::tree_store::{TreeStore, is_whole, node_in};
use crate::unflushed::{PAGE_LEN, PAGE_NODES};

/// Blocks in one group, and the depth of the node above them.
pub(crate) const GROUP_BLOCKS: u64 = 64;
const GROUP_DEPTH: u32 = 6;

/// Groups whose leaves are read together where many of them are read.
pub(crate) const NEIGHBOUR_GROUPS: u64 = 16;

/// Where a block lies, and what it must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) hash: Hash,
}

/// The leaves of a group: 64 neighbouring blocks, all of whose leaves are stored.
///
/// They do not change while the log is on one fork.
#[derive(Clone)]
pub(crate) struct Leaves {
    /// Where the first one's data begins.
    start: u64,
    /// Where each one's data ends, counted from there.
    ends: [u32; GROUP_BLOCKS as usize],
    hashes: [Hash; GROUP_BLOCKS as usize],
}

impl Leaves {
    /// Takes group `number` together, from where its data begins. `None` if a leaf is missing, or if
    /// there are 4 GiB of data.
    fn new(
        number: u64,
        start: u64,
        mut leaf: impl FnMut(u64) -> Result<Option<Node>>,
    ) -> Result<Option<Self>> {
        let mut ends = [0; GROUP_BLOCKS as usize];
        let mut hashes = [Hash::from_bytes([0; 32]); GROUP_BLOCKS as usize];
        let mut at = 0_u32;
        let blocks = number.saturating_mul(GROUP_BLOCKS)..;
        for ((end, hash), block) in ends.iter_mut().zip(&mut hashes).zip(blocks) {
            let Some(leaf) = leaf(block.saturating_mul(2))? else {
                return Ok(None);
            };
            let Some(next) = u32::try_from(leaf.size).ok().and_then(|size| at.checked_add(size))
            else {
                return Ok(None);
            };
            at = next;
            (*end, *hash) = (at, leaf.hash);
        }
        Ok(Some(Self { start, ends, hashes }))
    }

    /// The place of one of the blocks.
    pub(crate) fn place(&self, block: u64) -> Option<BlockPlace> {
        let Range { start, end } = self.range(block)?;
        let hash = *self.hash(block)?;
        Some(BlockPlace { offset: self.start.saturating_add(start), size: end - start, hash })
    }

    /// What one of the blocks must hash to.
    pub(crate) fn hash(&self, block: u64) -> Option<&Hash> {
        self.hashes.get((block % GROUP_BLOCKS) as usize)
    }

    /// Where one of the blocks lies in the data of all.
    pub(crate) fn range(&self, block: u64) -> Option<Range<u64>> {
        let at = (block % GROUP_BLOCKS) as usize;
        let start = match at {
            0 => 0,
            _ => *self.ends.get(at - 1)?,
        };
        Some(u64::from(start)..u64::from(*self.ends.get(at)?))
    }

    /// Where the data of all blocks lies: from which byte on, and how many.
    pub(crate) fn data(&self) -> (u64, u64) {
        (self.start, self.ends.last().copied().map_or(0, u64::from))
    }
}

impl TreeStore {
    /// Returns the leaves of the group that a block is in, by way of the cache. `None` if the group
    /// is not whole or not all its leaves are stored.
    pub(crate) fn leaves(&self, roots: &Roots, block: u64) -> Result<Option<Arc<Leaves>>> {
        let number = block / GROUP_BLOCKS;
        if !is_group_whole(number, roots) {
            return Ok(None);
        }
        let index = top(number);
        let make = || {
            let leaves = self.read_leaves(roots, number)?;
            Ok(Item::Leaves(Arc::new(leaves.ok_or(Error::NotAvailable { index })?)))
        };
        match self.pages().spot(Kind::Leaves, number).get_or_make(make) {
            Ok(Item::Leaves(leaves)) => Ok(Some(leaves)),
            Ok(_) | Err(Error::NotAvailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the leaves of a whole group, and caches nothing. `None` if they are not all stored.
    pub(crate) fn read_leaves(&self, roots: &Roots, number: u64) -> Result<Option<Leaves>> {
        let view = self.at(roots.length());
        let Some(start) = self.group_offset(&view, roots, number)? else {
            return Ok(None);
        };
        let mut page = [0; PAGE_LEN];
        let is_read = self.read_whole_page(number, roots.length(), &mut page)?;
        Leaves::new(number, start, |index| match is_read.then(|| node_in(&page, index)) {
            Some(Some(leaf)) => Ok(Some(leaf)),
            _ => view.node(index),
        })
    }

    /// Reads and caches the leaves of a group and of those around it, as far as that takes only one
    /// read. Returns those of the group.
    pub(crate) fn read_neighbours(
        &self,
        roots: &Roots,
        number: u64,
    ) -> Result<Option<Arc<Leaves>>> {
        let first = number / NEIGHBOUR_GROUPS * NEIGHBOUR_GROUPS;
        let numbers: [u64; NEIGHBOUR_GROUPS as usize] = array::from_fn(|i| first + i as u64);
        // Before they are read: what is forgotten meanwhile must not be cached.
        let spots = numbers.map(|number| self.pages().spot(Kind::Leaves, number));
        let whole = numbers.iter().take_while(|number| {
            is_group_whole(**number, roots) && self.is_page_stored(**number, roots.length())
        });
        let mut pages = vec![0; whole.count() * PAGE_LEN];
        self.read_pages(first, &mut pages)?;
        let view = self.at(roots.length());
        let Some(mut start) = self.group_offset(&view, roots, first)? else {
            return Ok(None);
        };
        let mut found = None;
        for ((page, spot), each) in pages.chunks_exact(PAGE_LEN).zip(spots).zip(numbers) {
            let Some(leaves) = Leaves::new(each, start, |index| Ok(node_in(page, index)))? else {
                break;
            };
            start = start.saturating_add(leaves.data().1);
            let leaves = Arc::new(leaves);
            if each == number {
                found = Some(leaves.clone());
            }
            spot.insert(Item::Leaves(leaves));
        }
        Ok(found)
    }

    /// Returns the place of one block of a group that is stored whole, with a single read at most.
    /// `None` if that is not known so quickly.
    pub(crate) fn place_alone(&self, roots: &Roots, block: u64) -> Result<Option<BlockPlace>> {
        let number = block / GROUP_BLOCKS;
        if !is_group_whole(number, roots) {
            return Ok(None);
        }
        if let Some(Item::Leaves(leaves)) = self.pages().get(Kind::Leaves, number) {
            return Ok(leaves.place(block));
        }
        if self.touched_neighbours().touch(number / NEIGHBOUR_GROUPS)
            && let Some(leaves) = self.read_neighbours(roots, number)?
        {
            return Ok(leaves.place(block));
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
}

/// Whether all blocks of a group are below the end of the log.
pub(crate) fn is_group_whole(number: u64, roots: &Roots) -> bool {
    is_whole(top(number), roots.length())
}

/// Bytes of the blocks of a group that lie before one of them. `None` if nodes are missing that tell.
pub(crate) fn bytes_before(
    block: u64,
    node: impl Fn(u64) -> Result<Option<Node>>,
) -> Result<Option<u64>> {
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
pub(crate) const fn top(number: u64) -> u64 {
    number.saturating_mul(PAGE_NODES).saturating_add((1 << GROUP_DEPTH) - 1)
}

#[cfg(test)]
mod tests {
    use crate::{KeyPair, Log, LogOptions, MemoryStorage};

    use super::*;

    /// By whichever way a place is found, it is the same: alone, with its group, or with the groups
    /// around it; where leaves are not all in the part yet, too.
    #[test]
    fn all_ways_lead_to_the_same_place() {
        let keys = KeyPair::from_seed([7; 32]);
        let storage = MemoryStorage::new();
        let log = Log::create(storage.clone(), keys.clone(), LogOptions::default()).unwrap();
        let blocks: Vec<Vec<u8>> = (0..2500_usize).map(|n| vec![n as u8; n * 31 % 97]).collect();
        log.append(&blocks[..2100]).unwrap();
        log.flush().unwrap();
        drop(log);
        let log = Log::open(storage, LogOptions::default()).unwrap();
        let mut offset = 0;
        let places: Vec<BlockPlace> = blocks
            .iter()
            .map(|block| {
                let size = block.len() as u64;
                offset += size;
                BlockPlace { offset: offset - size, size, hash: crate::hash::leaf(block) }
            })
            .collect();
        for len in [2100, 2500] {
            if len == 2500 {
                log.append(&blocks[2100..]).unwrap();
            }
            let (tree, roots) = (&log.shared.tree, &log.shared.commit().roots);
            tree.forget_places();
            for block in (0..len).rev().chain(0..len) {
                let (number, place) = (block / GROUP_BLOCKS, places[block as usize]);
                let alone = tree.place_alone(roots, block).unwrap();
                assert!(alone.is_none_or(|alone| alone == place), "{block} of {len}");
                let around = tree.read_neighbours(roots, number).unwrap();
                let around = around.map(|leaves| leaves.place(block).unwrap());
                assert!(around.is_none_or(|around| around == place), "{block} of {len}");
                let is_first = number < 2100 / GROUP_BLOCKS;
                assert_eq!(around.is_some(), is_first, "{block} of {len}");
                assert!(alone.is_some() || !is_first, "{block} of {len}");
                let group = tree.leaves(roots, block).unwrap();
                let group = group.map(|leaves| leaves.place(block).unwrap());
                assert_eq!(group.unwrap_or(place), place, "{block} of {len}");
                assert_eq!(group.is_some(), number < len / GROUP_BLOCKS);
            }
        }
    }
}
