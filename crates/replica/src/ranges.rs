//! A set of block numbers kept as disjoint ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Block numbers as disjoint, non-empty, non-adjacent ranges, in order.
///
/// Every operation costs the logarithm of the number of ranges, plus the ranges it touches,
/// whatever their lengths: `0..u64::MAX` is one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Adds a range, joining it with those that it meets.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
            self.ranges.remove(&before);
        }
        while let Some((&next, &next_end)) = self.ranges.range(start..=end).next() {
            end = end.max(next_end);
            self.ranges.remove(&next);
        }
        self.ranges.insert(start, end);
    }

    /// Takes a range out.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.ranges.range(..start).next_back()
            && before_end > start
        {
            self.ranges.insert(before, start);
            if before_end > end {
                self.ranges.insert(end, before_end);
                return;
            }
        }
        while let Some((&next, &next_end)) = self.ranges.range(start..end).next() {
            self.ranges.remove(&next);
            if next_end > end {
                self.ranges.insert(end, next_end);
            }
        }
    }

    /// The first stretch of the set within `range`.
    pub(crate) fn first_within(&self, range: Range<u64>) -> Option<Range<u64>> {
        if range.start >= range.end {
            return None;
        }
        if let Some((_, &end)) = self.ranges.range(..=range.start).next_back()
            && end > range.start
        {
            return Some(range.start..end.min(range.end));
        }
        let (&start, &end) = self.ranges.range(range.start..range.end).next()?;
        Some(start..end.min(range.end))
    }

    /// The stretches of the set within `range`, in order.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut left = range;
        std::iter::from_fn(move || {
            let found = self.first_within(left.clone())?;
            left.start = found.end;
            Some(found)
        })
    }

    /// How many blocks of the set lie in `range`.
    pub(crate) fn count_within(&self, range: Range<u64>) -> u64 {
        self.within(range).map(|found| found.end - found.start).sum()
    }

    /// All ranges, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// Number of disjoint ranges.
    pub(crate) fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Whether no block is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Empties the set.
    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::RangeSet;

    proptest! {
        /// A range set holds exactly what a plain set of numbers would after the same steps, in
        /// the fewest ranges.
        #[test]
        fn agrees_with_a_plain_set(steps in vec((any::<bool>(), 0..40_u64, 0..12_u64), 0..40)) {
            let (mut ranges, mut model) = (RangeSet::default(), BTreeSet::new());
            for (add, start, len) in steps {
                if add {
                    ranges.insert(start..start + len);
                    model.extend(start..start + len);
                } else {
                    ranges.remove(start..start + len);
                    model.retain(|block| !(start..start + len).contains(block));
                }
                let listed: Vec<u64> = ranges.iter().flatten().collect();
                prop_assert_eq!(listed, model.iter().copied().collect::<Vec<_>>());
                let all: Vec<_> = ranges.iter().collect();
                prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert_eq!(ranges.range_count(), all.len());
                let inside: Vec<u64> = ranges.within(7..31).flatten().collect();
                prop_assert_eq!(ranges.count_within(7..31), inside.len() as u64);
                prop_assert_eq!(inside, model.range(7..31).copied().collect::<Vec<_>>());
            }
        }
    }

    /// The greatest numbers neither overflow nor cost memory.
    #[test]
    fn whole_number_line_is_one_range() {
        let mut ranges = RangeSet::default();
        ranges.insert(0..u64::MAX);
        ranges.remove(5..6);
        ranges.insert(u64::MAX - 1..u64::MAX);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [0..5, 6..u64::MAX]);
        ranges.clear();
        assert!(ranges.is_empty());
    }
}
