use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// A set of block numbers.
///
/// A dense one takes a bit a number. Pages are made when something is put into them, so a number
/// near 2^64 costs no more than any other.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SeqSet {
    pages: BTreeMap<u64, Box<Page>>,
    count: u64,
}

type Page = [u64; PAGE_WORDS];

const PAGE_WORDS: usize = 64;

/// Numbers that a page speaks for.
const PAGE_BITS: u64 = PAGE_WORDS as u64 * 64;

impl SeqSet {
    /// Adds a number. Returns whether it is new.
    pub(crate) fn insert(&mut self, seq: u64) -> bool {
        let page = self.pages.entry(seq / PAGE_BITS).or_insert_with(|| Box::new([0; PAGE_WORDS]));
        let (word, bit) = place(seq);
        let word = page.get_mut(word).expect("a number's place is within its page");
        let is_new = *word & bit == 0;
        *word |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        let page = self.pages.get(&(seq / PAGE_BITS));
        page.and_then(|page| page.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// How many numbers are in the set.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// The longest runs of numbers within `range` that are not in the set, in order.
    pub(crate) fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut from = range.start;
        std::iter::from_fn(move || {
            let start = self.next(from, false, range.end);
            let end = self.next(start, true, range.end);
            from = end;
            (start < end).then_some(start..end)
        })
    }

    /// The first number from `from` on that is in the set or, as asked for, is not; or `end`.
    fn next(&self, mut from: u64, is_in: bool, end: u64) -> u64 {
        while from < end {
            let number = from / PAGE_BITS;
            let Some(page) = self.pages.get(&number) else {
                if !is_in {
                    return from;
                }
                let next = self.pages.range(number..).next();
                from = next.map_or(end, |(number, _)| number * PAGE_BITS);
                continue;
            };
            let (word, bit) = place(from);
            // The bits below the first do not count.
            let below = bit - 1;
            let words = page.iter().enumerate().skip(word);
            let found = words
                .map(|(i, bits)| (i, if is_in { *bits } else { !*bits }))
                .map(|(i, bits)| (i, if i == word { bits & !below } else { bits }))
                .find(|(_, bits)| *bits != 0);
            if let Some((i, bits)) = found {
                let seq = number * PAGE_BITS + i as u64 * 64 + u64::from(bits.trailing_zeros());
                return seq.min(end);
            }
            from = (number + 1).saturating_mul(PAGE_BITS);
        }
        end
    }
}

impl fmt::Debug for SeqSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeqSet").field("count", &self.count).finish_non_exhaustive()
    }
}

/// The word of its page that a number is in, and its bit there.
fn place(seq: u64) -> (usize, u64) {
    // Below 64, so it fits.
    ((seq % PAGE_BITS / 64) as usize, 1 << (seq % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// It holds what was put in and nothing else, and its gaps are the rest, also where pages and
    /// words begin and end.
    #[test]
    fn agrees_with_a_set_of_numbers() {
        let edges = [0, 1, 63, 64, 65, 127, 4094, 4095, 4096, 4097, 8191, 12_288, 20_000, 20_001];
        for skipped in 0..edges.len() {
            let (mut set, mut model) = (SeqSet::default(), BTreeSet::new());
            for seq in edges.iter().chain(&edges).enumerate().filter(|(i, _)| *i != skipped) {
                assert_eq!(set.insert(*seq.1), model.insert(*seq.1));
            }
            assert_eq!(set.len(), model.len() as u64);
            for range in [0..25_000, 1..4096, 64..65, 4095..4098, 5000..5000, 20_001..20_003] {
                let gaps: Vec<u64> = set.gaps(range.clone()).flatten().collect();
                let rest: Vec<u64> = range.filter(|seq| !model.contains(seq)).collect();
                assert_eq!(gaps, rest);
            }
            assert!((0..25_000).all(|seq| set.contains(seq) == model.contains(&seq)));
        }
    }

    /// Gaps are as long as they can be, and numbers at the end of their type have room.
    #[test]
    fn gaps_are_whole() {
        let mut set = SeqSet::default();
        assert_eq!(set.gaps(3..1 << 40).next(), Some(3..1 << 40));
        for seq in [u64::MAX, u64::MAX - 1, 9000] {
            assert!(set.insert(seq) && set.contains(seq));
        }
        let gaps: Vec<_> = set.gaps(0..u64::MAX).collect();
        assert_eq!(gaps, [0..9000, 9001..u64::MAX - 1]);
    }
}
