//! Which blocks are held: one bit each, in pages made on use.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes of one page, in memory and in the part `Bitfield`.
pub(crate) const PAGE_LEN: usize = 4096;

/// Blocks that one page speaks for.
const PAGE_BITS: u64 = PAGE_LEN as u64 * 8;

const PAGE_WORDS: usize = PAGE_LEN / 4;

/// The bits of some blocks, of which at least one is held.
#[derive(Debug, Clone)]
enum Page {
    /// All are held: in most logs all pages but the last, so these take no memory.
    Full,
    Some {
        words: Box<[u32; PAGE_WORDS]>,
        /// How many are held.
        ones: u64,
    },
}

/// A set of block numbers. Pages of which all bits are the same take no memory.
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
        match self.pages.get(&(index / PAGE_WORDS as u64)) {
            None => 0,
            Some(Page::Full) => u32::MAX,
            Some(Page::Some { words, .. }) => {
                words.get((index % PAGE_WORDS as u64) as usize).copied().unwrap_or(0)
            }
        }
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
            for number in numbers {
                self.change_page(number, &range, true);
            }
            return;
        }
        // A page that does not exist has nothing to lose: only those that do are visited.
        let existing: Vec<u64> = self.pages.range(numbers).map(|(number, _)| *number).collect();
        existing.into_iter().for_each(|number| self.change_page(number, &range, false));
    }

    fn change_page(&mut self, number: u64, range: &Range<u64>, held: bool) {
        let base = number.saturating_mul(PAGE_BITS);
        let first = range.start.saturating_sub(base);
        let end = (range.end - base).min(PAGE_BITS);
        let page = self.pages.remove(&number);
        let (mut words, ones) = match page {
            Some(Page::Full) if held => {
                self.pages.insert(number, Page::Full);
                return;
            }
            Some(Page::Full) => (Box::new([u32::MAX; PAGE_WORDS]), PAGE_BITS),
            Some(Page::Some { words, ones }) => (words, ones),
            None => (Box::new([0; PAGE_WORDS]), 0),
        };
        let changed = set_in_page(&mut words, first..end, held);
        let ones = if held { ones + changed } else { ones - changed };
        if changed > 0 {
            self.dirty.insert(number);
        }
        match ones {
            0 => {}
            PAGE_BITS => drop(self.pages.insert(number, Page::Full)),
            _ => drop(self.pages.insert(number, Page::Some { words, ones })),
        }
    }

    /// Returns the first block of `from..end` whose bit is `held`, or `end`.
    pub(crate) fn next(&self, from: u64, held: bool, end: u64) -> u64 {
        let mut block = from;
        while block < end {
            let number = block / PAGE_BITS;
            let first = block - number * PAGE_BITS;
            let bit = match self.pages.get(&number) {
                None if held => {
                    // On to the next page that exists.
                    let next = self.pages.range(number..).next();
                    block = next.map_or(end, |(number, _)| number * PAGE_BITS);
                    continue;
                }
                None => Some(first),
                Some(Page::Full) => held.then_some(first),
                Some(Page::Some { words, .. }) => {
                    let last = (end - number * PAGE_BITS).min(PAGE_BITS);
                    next_in_page(words, first..last, held)
                }
            };
            if let Some(bit) = bit {
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
            let Page::Some { words: page, .. } = page else {
                return Some(base + bits - 1);
            };
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
        let mut words = Box::new([0; PAGE_WORDS]);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        match words.iter().map(|word: &u32| u64::from(word.count_ones())).sum() {
            0 => {}
            PAGE_BITS => drop(self.pages.insert(number, Page::Full)),
            ones => drop(self.pages.insert(number, Page::Some { words, ones })),
        }
    }

    /// Must follow the last [`load_page`](Self::load_page).
    pub(crate) fn finish_loading(&mut self) {
        self.contiguous = self.next(0, false, u64::MAX);
    }

    /// Returns the pages to be written: offset in the part `Bitfield`, and bytes.
    pub(crate) fn dirty_pages(&self) -> Vec<(u64, Vec<u8>)> {
        let pages = self.dirty.iter();
        pages.map(|&number| (number * PAGE_LEN as u64, self.bytes(number))).collect()
    }

    /// Returns the pages that should be in the part `Bitfield` as they are here: first block, offset
    /// in the part, and bytes.
    pub(crate) fn clean_pages(&self) -> Vec<(u64, u64, Vec<u8>)> {
        let clean = self.pages.iter().filter(|(number, _)| !self.dirty.contains(number));
        clean
            .map(|(&number, _)| (number * PAGE_BITS, number * PAGE_LEN as u64, self.bytes(number)))
            .collect()
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        match self.pages.get(&number) {
            Some(Page::Some { words, .. }) => words.iter().flat_map(|w| w.to_le_bytes()).collect(),
            Some(Page::Full) => vec![0xff; PAGE_LEN],
            None => vec![0; PAGE_LEN],
        }
    }

    /// Has all pages written anew.
    pub(crate) fn mark_dirty(&mut self) {
        self.dirty.extend(self.pages.keys());
    }

    /// Tells that the dirty pages are written.
    pub(crate) fn mark_clean(&mut self) {
        self.dirty.clear();
    }

    #[cfg(test)]
    fn pages_in_memory(&self) -> usize {
        self.pages.values().filter(|page| matches!(page, Page::Some { .. })).count()
    }
}

/// Sets the bits of `range` in a page. Returns how many changed.
fn set_in_page(page: &mut [u32; PAGE_WORDS], range: Range<u64>, held: bool) -> u64 {
    let mut changed = 0;
    for (index, word) in page.iter_mut().enumerate().skip((range.start / 32) as usize) {
        let first = index as u64 * 32;
        if first >= range.end {
            break;
        }
        let from = range.start.saturating_sub(first);
        let to = (range.end - first).min(32);
        let mask = (u32::MAX >> (32 - (to - from))) << from;
        let new = if held { *word | mask } else { *word & !mask };
        changed += u64::from((new ^ *word).count_ones());
        *word = new;
    }
    changed
}

/// Returns the first bit of `bits` that is `held`, or one soon behind them.
fn next_in_page(page: &[u32; PAGE_WORDS], bits: Range<u64>, held: bool) -> Option<u64> {
    let first = bits.start;
    let words = page.iter().enumerate().take(bits.end.div_ceil(32) as usize);
    for (index, word) in words.skip((first / 32) as usize) {
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
            let wide = bits.gap_around(35_000..35_000, 100_000);
            let before = model.range(..35_000).next_back().map_or(0, |last| last + 1);
            let behind = model.range(35_000..).next().map_or(100_000, |first| *first);
            prop_assert_eq!(wide, before..behind.min(100_000));
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

    /// Full pages take no memory, and clearing a bit of one leaves the others.
    #[test]
    fn full_pages_take_no_memory() {
        let mut bits = Bitfield::default();
        for block in 0..2 * PAGE_BITS {
            bits.set(block..block + 1, true);
        }
        bits.set(2 * PAGE_BITS..10 * PAGE_BITS, true);
        assert_eq!((bits.pages_in_memory(), bits.contiguous()), (0, 10 * PAGE_BITS));
        bits.set(40_000..40_001, false);
        assert_eq!((bits.pages_in_memory(), bits.contiguous()), (1, 40_000));
        assert_eq!(bits.held(0..u64::MAX), [0..40_000, 40_001..10 * PAGE_BITS]);
        assert_eq!(bits.gap_around(40_000..40_001, u64::MAX), 40_000..40_001);
        bits.set(40_000..40_001, true);
        assert_eq!((bits.pages_in_memory(), bits.contiguous()), (0, 10 * PAGE_BITS));
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
