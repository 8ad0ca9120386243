//! Which blocks are held: one bit each, in pages made on use.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes of one page, in memory and in the part `Bitfield`.
pub(crate) const PAGE_LEN: usize = 4096;

/// Blocks that one page speaks for.
const PAGE_BITS: u64 = PAGE_LEN as u64 * 8;

const PAGE_WORDS: usize = PAGE_LEN / 4;

type Page = Box<[u32; PAGE_WORDS]>;

/// A set of block numbers. Pages without a bit take no memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bitfield {
    pages: BTreeMap<u64, Page>,
    /// Pages that differ from what the part `Bitfield` holds.
    dirty: BTreeSet<u64>,
    /// The first block that is not in the set.
    contiguous: u64,
}

impl Bitfield {
    /// Returns the number of the first block that is not held.
    pub(crate) fn contiguous(&self) -> u64 {
        self.contiguous
    }

    pub(crate) fn get(&self, block: u64) -> bool {
        let word = self.word(block / 32);
        word >> (block % 32) & 1 != 0
    }

    /// Returns the 32 bits of the blocks from `32 * index` on, the lowest bit first.
    pub(crate) fn word(&self, index: u64) -> u32 {
        let page = self.pages.get(&(index / PAGE_WORDS as u64));
        let at = index % PAGE_WORDS as u64;
        page.and_then(|page| page.get(at as usize)).copied().unwrap_or(0)
    }

    /// Adds the blocks of `range`, or removes them.
    pub(crate) fn set(&mut self, range: Range<u64>, held: bool) {
        if range.is_empty() {
            return;
        }
        self.change(range.clone(), held);
        if held && range.contains(&self.contiguous) {
            self.contiguous = self.next(range.end, false, u64::MAX);
        } else if !held && range.start < self.contiguous {
            self.contiguous = range.start;
        }
    }

    fn change(&mut self, range: Range<u64>, held: bool) {
        let numbers = range.start / PAGE_BITS..=(range.end - 1) / PAGE_BITS;
        if held {
            for number in numbers.clone() {
                self.pages.entry(number).or_insert_with(|| Box::new([0; PAGE_WORDS]));
            }
        }
        // A page that does not exist has nothing to lose: only those that do are visited.
        for (&number, page) in self.pages.range_mut(numbers) {
            let base = number * PAGE_BITS;
            let first = range.start.saturating_sub(base);
            let end = (range.end - base).min(PAGE_BITS);
            if set_in_page(page, first..end, held) {
                self.dirty.insert(number);
            }
        }
    }

    /// Returns the first block of `from..end` whose bit is `held`, or `end`.
    pub(crate) fn next(&self, from: u64, held: bool, end: u64) -> u64 {
        let mut block = from;
        while block < end {
            let number = block / PAGE_BITS;
            let Some(page) = self.pages.get(&number) else {
                if !held {
                    return block;
                }
                // On to the next page that exists.
                let next = self.pages.range(number..).next();
                block = next.map_or(end, |(number, _)| number * PAGE_BITS);
                continue;
            };
            let first = block - number * PAGE_BITS;
            if let Some(bit) = next_in_page(page, first, held) {
                return (number * PAGE_BITS + bit).min(end);
            }
            block = (number + 1).saturating_mul(PAGE_BITS);
        }
        end
    }

    /// Returns the runs of held blocks within `range`, in order.
    pub(crate) fn held(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        let mut from = range.start;
        while from < range.end {
            let start = self.next(from, true, range.end);
            let end = self.next(start, false, range.end);
            if start < end {
                runs.push(start..end);
            }
            from = end.max(start);
        }
        runs
    }

    /// Returns the widest range around `range`, of which nothing is held, that holds nothing either,
    /// up to `end`.
    pub(crate) fn gap_around(&self, range: Range<u64>, end: u64) -> Range<u64> {
        self.previous(range.start).map_or(0, |last| last + 1)..self.next(range.end, true, end)
    }

    /// Returns the last held block before `end`.
    fn previous(&self, end: u64) -> Option<u64> {
        let last = end.checked_sub(1)?;
        for (&number, page) in self.pages.range(..=last / PAGE_BITS).rev() {
            let base = number * PAGE_BITS;
            let bits = (end - base).min(PAGE_BITS);
            for (index, word) in page.iter().enumerate().rev() {
                let first = index as u64 * 32;
                let Some(below) = bits.checked_sub(first).filter(|&below| below > 0) else {
                    continue;
                };
                let word = word & (u32::MAX >> (32 - below.min(32)));
                if let Some(bit) = word.checked_ilog2() {
                    return Some(base + first + u64::from(bit));
                }
            }
        }
        None
    }

    /// Takes in one page as it was read. Call in any order, then [`finish_loading`].
    ///
    /// [`finish_loading`]: Self::finish_loading
    pub(crate) fn load_page(&mut self, number: u64, bytes: &[u8]) {
        if bytes.iter().all(|&byte| byte == 0) {
            return;
        }
        let mut page: Page = Box::new([0; PAGE_WORDS]);
        for (word, bytes) in page.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        self.pages.insert(number, page);
    }

    /// Must follow the last [`load_page`](Self::load_page).
    pub(crate) fn finish_loading(&mut self) {
        self.contiguous = self.next(0, false, u64::MAX);
    }

    /// Returns the pages to be written: offset in the part `Bitfield`, and bytes.
    pub(crate) fn dirty_pages(&self) -> Vec<(u64, Vec<u8>)> {
        let bytes = |number: &u64| match self.pages.get(number) {
            Some(page) => page.iter().flat_map(|word| word.to_le_bytes()).collect(),
            None => vec![0; PAGE_LEN],
        };
        self.dirty.iter().map(|number| (number * PAGE_LEN as u64, bytes(number))).collect()
    }

    /// Tells that the dirty pages are written.
    pub(crate) fn mark_clean(&mut self) {
        self.dirty.clear();
    }

    #[cfg(test)]
    fn pages_in_memory(&self) -> usize {
        self.pages.len()
    }
}

/// Sets the bits of `range` in a page. Returns whether any changed.
fn set_in_page(page: &mut [u32; PAGE_WORDS], range: Range<u64>, held: bool) -> bool {
    let mut changed = false;
    for (index, word) in page.iter_mut().enumerate().skip((range.start / 32) as usize) {
        let first = index as u64 * 32;
        if first >= range.end {
            break;
        }
        let from = range.start.saturating_sub(first);
        let to = (range.end - first).min(32);
        let mask = (u32::MAX >> (32 - (to - from))) << from;
        let new = if held { *word | mask } else { *word & !mask };
        changed |= new != *word;
        *word = new;
    }
    changed
}

/// Returns the first bit from `first` on that is `held`.
fn next_in_page(page: &[u32; PAGE_WORDS], first: u64, held: bool) -> Option<u64> {
    for (index, word) in page.iter().enumerate().skip((first / 32) as usize) {
        let base = index as u64 * 32;
        let skipped = first.saturating_sub(base);
        let wanted = (if held { *word } else { !*word }) >> skipped << skipped;
        if wanted != 0 {
            return Some(base + u64::from(wanted.trailing_zeros()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The bitfield is a set: whatever ranges are added and removed, membership, runs and the
        /// first gap are those of a `BTreeSet`.
        #[test]
        fn is_a_set(changes in prop::collection::vec((0..70_000_u64, 0..40_000_u64, any::<bool>()), 0..12)) {
            let mut bits = Bitfield::default();
            let mut model = BTreeSet::new();
            for (start, count, held) in changes {
                bits.set(start..start + count, held);
                for block in start..start + count {
                    if held { model.insert(block); } else { model.remove(&block); }
                }
            }
            let from_runs: BTreeSet<u64> = bits.held(0..u64::MAX).into_iter().flatten().collect();
            prop_assert_eq!(&from_runs, &model);
            let gap = (0..).find(|block| !model.contains(block)).unwrap();
            prop_assert_eq!(bits.contiguous(), gap);
            for block in (0..120_000).step_by(97) {
                prop_assert_eq!(bits.get(block), model.contains(&block));
            }
        }

        /// What is written is what is read back.
        #[test]
        fn pages_survive_writing(runs in prop::collection::vec((0..200_000_u64, 1..50_u64), 1..12)) {
            let mut bits = Bitfield::default();
            runs.iter().for_each(|(start, count)| bits.set(*start..start + count, true));
            let mut read = Bitfield::default();
            for (offset, bytes) in bits.dirty_pages() {
                prop_assert_eq!(bytes.len(), PAGE_LEN);
                read.load_page(offset / PAGE_LEN as u64, &bytes);
            }
            read.finish_loading();
            prop_assert_eq!(read.held(0..u64::MAX), bits.held(0..u64::MAX));
            prop_assert_eq!(read.contiguous(), bits.contiguous());
        }
    }

    /// Block 32768 is the lowest bit of the second page's first byte, and a far block costs one
    /// page.
    #[test]
    fn far_blocks_cost_one_page() {
        let mut bits = Bitfield::default();
        bits.set(1 << 50..(1 << 50) + 1, true);
        bits.set(32_768..32_769, true);
        assert_eq!(bits.pages_in_memory(), 2);
        let pages = bits.dirty_pages();
        assert_eq!((pages[0].0, pages[0].1[0]), (4096, 1));
        assert_eq!(bits.held(0..u64::MAX).len(), 2);
        bits.set(0..u64::MAX, false);
        assert_eq!(bits.held(0..u64::MAX), []);
    }

    /// Only pages that changed are written.
    #[test]
    fn setting_what_is_set_makes_nothing_dirty() {
        let mut bits = Bitfield::default();
        bits.set(3..9, true);
        bits.mark_clean();
        bits.set(4..6, true);
        bits.set(100..200, false);
        assert!(bits.dirty_pages().is_empty());
    }
}
