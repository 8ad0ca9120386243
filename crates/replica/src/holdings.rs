//! Which blocks of one log a remote has said that it has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::limits::{
    ANNOUNCED_RANGE_BLOCKS_MIN, ANNOUNCED_RANGES_MAX, BITFIELD_PAGES_MAX, BLOCKS_MAX, REFUSAL_REST,
    REFUSAL_REST_MAX,
};
use crate::ranges::RangeSet;

/// How many bitfield pages one connection may still take.
///
/// All logs of a connection share one budget, so that a remote cannot multiply it by opening
/// channels.
#[derive(Debug)]
pub(crate) struct PageBudget {
    pages_left: usize,
}

impl Default for PageBudget {
    fn default() -> Self {
        Self { pages_left: BITFIELD_PAGES_MAX }
    }
}

/// What a remote holds of one log, as far as it has told.
///
/// A hint only: nothing is sized by it, and a lie costs the liar's answer. Long ranges are kept as
/// ranges, scattered blocks as pages of bits that exist where a bit is set. What does not
/// fit the bounds is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// The remote has all blocks below.
    contiguous: u64,
    /// Long ranges at or beyond it.
    ranges: RangeSet,
    pages: BTreeMap<u64, Box<Page>>,
    /// Grows when blocks are added, so that a search that found nothing need not be repeated.
    version: u64,
    refused: Refused,
}

/// Blocks that the remote has said it has, and refused when it was asked. It may only have been busy,
/// so it is believed again after a while.
#[derive(Debug, Default)]
struct Refused {
    blocks: RangeSet,
    /// When it is believed again; none when nothing was refused.
    until: Option<Instant>,
    /// How long that takes; it doubles.
    rest: Duration,
}

/// Bits of 2^15 blocks, lowest first.
#[derive(Debug)]
struct Page([u64; PAGE_WORDS]);

const PAGE_WORDS: usize = 512;
const PAGE_BLOCKS: u64 = PAGE_WORDS as u64 * 64;

impl Holdings {
    /// Changes whenever blocks were added.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The length up to which the remote lacks nothing.
    pub(crate) fn contiguous_len(&self) -> u64 {
        self.contiguous
    }

    /// Adds a range that the remote announced.
    pub(crate) fn add(&mut self, range: Range<u64>, budget: &mut PageBudget) {
        let range = range.start..range.end.min(BLOCKS_MAX);
        if range.start >= range.end || range.end <= self.contiguous {
            return;
        }
        self.version += 1;
        if range.start <= self.contiguous {
            self.contiguous = range.end;
            self.absorb(budget);
        } else if range.end - range.start >= ANNOUNCED_RANGE_BLOCKS_MIN {
            if self.ranges.range_count() < ANNOUNCED_RANGES_MAX {
                self.ranges.insert(range);
            }
        } else {
            self.set_bits(range, budget);
        }
    }

    /// Takes out a block that the remote has failed to deliver, for a while.
    pub(crate) fn refuse(&mut self, block: u64, now: Instant, budget: &mut PageBudget) {
        if !self.contains(block) {
            return;
        }
        self.remove(block..block.saturating_add(1), budget);
        let Refused { blocks, until, rest } = &mut self.refused;
        if blocks.range_count() < ANNOUNCED_RANGES_MAX {
            blocks.insert(block..block.saturating_add(1));
        }
        if until.is_none() {
            *rest = (*rest * 2).clamp(REFUSAL_REST, REFUSAL_REST_MAX);
            *until = Some(now + *rest);
        }
    }

    /// When refused blocks are believed in again.
    pub(crate) fn readmission_at(&self) -> Option<Instant> {
        self.refused.until
    }

    /// Believes again in blocks that were refused long enough ago.
    pub(crate) fn readmit(&mut self, now: Instant, budget: &mut PageBudget) {
        if self.refused.until.is_some_and(|until| until <= now) {
            self.refused.until = None;
            let blocks = std::mem::take(&mut self.refused.blocks);
            blocks.iter().for_each(|range| self.add(range, budget));
        }
    }

    /// Takes out a range that the remote has dropped.
    pub(crate) fn remove(&mut self, range: Range<u64>, budget: &mut PageBudget) {
        if range.start >= range.end {
            return;
        }
        self.refused.blocks.remove(range.clone());
        if range.start < self.contiguous {
            let rest = range.end..self.contiguous;
            self.contiguous = range.start;
            if rest.start < rest.end {
                // What is left behind the gap is no longer contiguous; short or long, it is
                // kept as a range, of which drops make few.
                if self.ranges.range_count() < ANNOUNCED_RANGES_MAX {
                    self.ranges.insert(rest);
                }
            }
        }
        self.ranges.remove(range.clone());
        self.clear_bits(range, budget);
    }

    /// Replaces what was known of the stretch that a bitfield message describes.
    pub(crate) fn replace(&mut self, start: u64, words: &[u32], budget: &mut PageBudget) {
        let Some(end) = start.checked_add(words.len() as u64 * 32) else { return };
        // Blocks below the contiguous length stay: the remote says so by a range of its own, and
        // takes blocks back by a drop.
        self.ranges.remove(start..end);
        self.refused.blocks.remove(start..end);
        self.clear_bits(start..end, budget);
        let mut run: Option<Range<u64>> = None;
        for (word, first) in words.iter().zip((start..).step_by(32)) {
            for (bit, block) in (0..32).zip(first..) {
                if word >> bit & 1 == 0 {
                    continue;
                }
                match &mut run {
                    Some(run) if run.end == block => run.end += 1,
                    _ => {
                        if let Some(done) = run.replace(block..block + 1) {
                            self.add(done, budget);
                        }
                    }
                }
            }
        }
        if let Some(done) = run {
            self.add(done, budget);
        }
    }

    /// Whether the remote has a block.
    pub(crate) fn contains(&self, block: u64) -> bool {
        self.next_within(block..block.saturating_add(1)).is_some()
    }

    /// The first block in `range` that the remote has.
    pub(crate) fn next_within(&self, range: Range<u64>) -> Option<u64> {
        if range.start >= range.end {
            return None;
        }
        if range.start < self.contiguous {
            return Some(range.start);
        }
        let ranged = self.ranges.first_within(range.clone()).map(|found| found.start);
        let paged = self.next_bit(range);
        match (ranged, paged) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Gives all pages back to the budget.
    pub(crate) fn clear(&mut self, budget: &mut PageBudget) {
        budget.pages_left += self.pages.len();
        self.pages.clear();
        self.ranges.clear();
        self.refused = Refused::default();
        self.contiguous = 0;
    }

    /// Moves the contiguous length on over what is known beyond it, and frees what lies below.
    fn absorb(&mut self, budget: &mut PageBudget) {
        loop {
            let before = self.contiguous;
            if let Some(found) = self.ranges.first_within(before..u64::MAX)
                && found.start == before
            {
                self.contiguous = found.end;
            }
            self.contiguous = self.next_gap(self.contiguous);
            if self.contiguous == before {
                break;
            }
        }
        self.ranges.remove(0..self.contiguous);
        while let Some(entry) = self.pages.first_entry()
            && (*entry.key() + 1).saturating_mul(PAGE_BLOCKS) <= self.contiguous
        {
            entry.remove();
            budget.pages_left += 1;
        }
    }

    fn set_bits(&mut self, range: Range<u64>, budget: &mut PageBudget) {
        for (page_index, inside) in pages_of(range) {
            let page = match self.pages.entry(page_index) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let Some(left) = budget.pages_left.checked_sub(1) else { return };
                    budget.pages_left = left;
                    entry.insert(Box::new(Page([0; PAGE_WORDS])))
                }
            };
            for (word, mask) in page.masks(inside) {
                *word |= mask;
            }
        }
    }

    fn clear_bits(&mut self, range: Range<u64>, budget: &mut PageBudget) {
        if range.start >= range.end {
            return;
        }
        let (first, last) = (range.start / PAGE_BLOCKS, (range.end - 1) / PAGE_BLOCKS);
        let touched: Vec<u64> = self.pages.range(first..=last).map(|(&index, _)| index).collect();
        for index in touched {
            let Some(page) = self.pages.get_mut(&index) else { continue };
            let base = index.saturating_mul(PAGE_BLOCKS);
            let from = range.start.saturating_sub(base).min(PAGE_BLOCKS);
            let to = range.end.saturating_sub(base).min(PAGE_BLOCKS);
            for (word, mask) in page.masks(from..to) {
                *word &= !mask;
            }
            if page.0.iter().all(|&word| word == 0) {
                self.pages.remove(&index);
                budget.pages_left += 1;
            }
        }
    }

    /// The first block at or after `from` whose bit is not set.
    fn next_gap(&self, from: u64) -> u64 {
        let mut block = from;
        while let Some(page) = self.pages.get(&(block / PAGE_BLOCKS)) {
            let base = block - block % PAGE_BLOCKS;
            block = base + page.next_clear(block - base);
            if block < base + PAGE_BLOCKS {
                break;
            }
        }
        block
    }

    fn next_bit(&self, range: Range<u64>) -> Option<u64> {
        let first = range.start / PAGE_BLOCKS;
        for (&index, page) in self.pages.range(first..) {
            let base = index.checked_mul(PAGE_BLOCKS)?;
            if base >= range.end {
                return None;
            }
            let from = range.start.saturating_sub(base);
            if let Some(bit) = page.next_set(from) {
                let block = base + bit;
                return (block < range.end).then_some(block);
            }
        }
        None
    }
}

impl Page {
    /// The words that a range of bits touches, with the bits of each.
    fn masks(&mut self, bits: Range<u64>) -> impl Iterator<Item = (&mut u64, u64)> {
        // Not the others: a bitfield of alternating bits comes here for each of them.
        let skip = usize::try_from(bits.start / 64).unwrap_or(usize::MAX);
        let words = self.0.iter_mut().zip((0..).step_by(64)).skip(skip);
        let touched = words.take_while(move |&(_, first)| first < bits.end);
        touched.map(move |(word, first): (_, u64)| {
            let from = bits.start.max(first);
            let to = bits.end.min(first + 64);
            let ones = u64::MAX.checked_shr((64 - to.saturating_sub(from)) as u32).unwrap_or(0);
            (word, ones << (from - first))
        })
    }

    /// The first clear bit at or after `from`, or the page's length.
    fn next_clear(&self, from: u64) -> u64 {
        let mut mask = u64::MAX << (from % 64);
        for (word, first) in self.0.iter().zip((0..).step_by(64)) {
            if first + 64 <= from {
                continue;
            }
            let found = !word & mask;
            if found != 0 {
                return first + u64::from(found.trailing_zeros());
            }
            mask = u64::MAX;
        }
        PAGE_BLOCKS
    }

    /// The first set bit at or after `from`.
    fn next_set(&self, from: u64) -> Option<u64> {
        let skip = usize::try_from(from / 64).ok()?;
        let mut mask = u64::MAX << (from % 64);
        for (word, first) in self.0.iter().zip((0..).step_by(64)).skip(skip) {
            let found = word & mask;
            if found != 0 {
                return Some(first + u64::from(found.trailing_zeros()));
            }
            mask = u64::MAX;
        }
        None
    }
}

/// Splits a range at page borders: the page's number and the bits inside it.
fn pages_of(range: Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let index = start / PAGE_BLOCKS;
        let base = index * PAGE_BLOCKS;
        let end = range.end.min(base + PAGE_BLOCKS);
        let inside = start - base..end - base;
        start = end;
        Some((index, inside))
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{Holdings, PAGE_BLOCKS, PageBudget};
    use crate::limits::BITFIELD_PAGES_MAX;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64, u64),
        Remove(u64, u64),
        Replace(u64, Vec<u32>),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Around a page border, and with a range long enough to be kept as a range.
        let start = prop_oneof![0..100_u64, PAGE_BLOCKS - 50..PAGE_BLOCKS + 50];
        let len = prop_oneof![0..80_u64, Just(70_000_u64)];
        prop_oneof![
            (start.clone(), len.clone()).prop_map(|(start, len)| Step::Add(start, len)),
            (start.clone(), len).prop_map(|(start, len)| Step::Remove(start, len)),
            (start, vec(any::<u32>(), 0..3)).prop_map(|(start, words)| Step::Replace(start, words)),
        ]
    }

    /// What one step says of a block, if anything.
    fn says(step: &Step, contiguous_before: u64, block: u64) -> Option<bool> {
        match step {
            Step::Add(start, len) => (*start..start + len).contains(&block).then_some(true),
            Step::Remove(start, len) => (*start..start + len).contains(&block).then_some(false),
            Step::Replace(start, words) => {
                let bit = block.checked_sub(*start)?;
                let word = words.get(usize::try_from(bit / 32).ok()?)?;
                let is_set = word >> (bit % 32) & 1 == 1;
                (is_set || block >= contiguous_before).then_some(is_set)
            }
        }
    }

    proptest! {
        /// What a remote announced, dropped and described in bits is answered by the last that
        /// was said of each block, and all pages go back to the budget. (A bitfield never takes
        /// back what lies below the contiguous length.)
        #[test]
        fn last_word_counts(steps in vec(step(), 0..24)) {
            let (mut held, mut budget) = (Holdings::default(), PageBudget::default());
            let mut said: Vec<(Step, u64)> = Vec::new();
            let probes = || (0..250).chain(PAGE_BLOCKS - 60..PAGE_BLOCKS + 200).chain(69_900..70_200);
            for step in steps {
                said.push((step.clone(), held.contiguous_len()));
                match &step {
                    Step::Add(start, len) => held.add(*start..start + len, &mut budget),
                    Step::Remove(start, len) => held.remove(*start..start + len, &mut budget),
                    Step::Replace(start, words) => held.replace(*start, words, &mut budget),
                }
                let mut last_gap = 0;
                for probe in probes() {
                    let heard = said.iter().rev().find_map(|(step, len)| says(step, *len, probe));
                    prop_assert_eq!(held.contains(probe), heard == Some(true), "{}", probe);
                    let next = held.next_within(last_gap..probe + 1);
                    prop_assert!(next.is_none_or(|next| held.contains(next)));
                    if !held.contains(probe) {
                        last_gap = probe;
                    }
                }
            }
            held.clear(&mut budget);
            prop_assert_eq!(budget.pages_left, BITFIELD_PAGES_MAX);
            prop_assert_eq!(held.next_within(0..u64::MAX), None);
        }
    }

    /// A bitfield without a word, which a peer may well send, says nothing.
    #[test]
    fn empty_bitfields_say_nothing() {
        let (mut held, mut budget) = (Holdings::default(), PageBudget::default());
        held.replace(0, &[], &mut budget);
        held.add(5..6, &mut budget);
        held.replace(0, &[], &mut budget);
        held.replace(PAGE_BLOCKS, &[], &mut budget);
        assert_eq!(held.next_within(0..u64::MAX), Some(5));
    }

    /// Absurd announcements cost neither memory nor time.
    #[test]
    fn absurd_announcements_stay_small() {
        let (mut held, mut budget) = (Holdings::default(), PageBudget::default());
        held.add(1..u64::MAX, &mut budget);
        held.add(u64::MAX - 2..u64::MAX, &mut budget);
        for block in (3..100_000_000_000).step_by(10_000_019) {
            held.add(block..block + 1, &mut budget);
        }
        assert!(held.pages.len() <= BITFIELD_PAGES_MAX);
        held.add(0..1, &mut budget);
        assert!(held.contiguous_len() > 1 << 52);
        assert_eq!(held.pages.len(), 0);
        held.remove(0..u64::MAX, &mut budget);
        assert_eq!(held.next_within(0..u64::MAX), None);
    }
}
