//! Which of the unsynced changes reached the disk, and what stands where the others should.

use super::crash_images::Effort;
use super::random::{Random, mix2};

/// Most changes of which every set is tried, whatever is asked for: 65,536 sets.
const EXHAUSTIVE_MAX: usize = 16;

/// Up to so many changes each set is tried with each [`Fill`]; above, with two of them.
const EVERY_FILL_MAX: usize = 6;

/// One of the ways in which a power cut may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    kept: Kept,
    pub(super) fill: Fill,
    /// Makes choices that are random otherwise.
    pub(super) salt: u64,
}

/// A set of changes, by their numbers in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// By bits, the lowest for the first change.
    Mask(u64),
    /// The first so many.
    Prefix(usize),
    /// The first so many but one.
    PrefixWithout(usize, usize),
    /// One or two.
    Pair(usize, usize),
    /// All but one or two.
    AllBut(usize, usize),
    /// Any, so many of 256.
    Random(u64),
    /// None, and the log is not in its place yet either.
    Nowhere,
}

/// What stands where bytes were to come but did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fill {
    /// What was there before.
    Old,
    Zeros,
    /// Anything.
    Random,
    /// The first bytes of what was to come, then zeros or anything.
    Torn,
}

impl Fill {
    const ALL: [Self; 4] = [Self::Old, Self::Zeros, Self::Random, Self::Torn];

    /// The fills apart from `Old`, in turn.
    fn harmful(number: usize) -> Self {
        match number % 3 {
            0 => Self::Zeros,
            1 => Self::Random,
            _ => Self::Torn,
        }
    }
}

impl Choice {
    /// Whether the change with this number reached the disk.
    pub(super) fn keeps(&self, number: usize) -> bool {
        match self.kept {
            Kept::Mask(mask) => mask >> number & 1 != 0,
            Kept::Prefix(count) => number < count,
            Kept::PrefixWithout(count, one) => number < count && number != one,
            Kept::Pair(a, b) => number == a || number == b,
            Kept::AllBut(a, b) => number != a && number != b,
            Kept::Random(density) => mix2(self.salt, number as u64) & 0xff < density,
            Kept::Nowhere => false,
        }
    }

    /// Whether not even the place of the log reached the disk.
    pub(super) const fn is_nowhere(&self) -> bool {
        matches!(self.kept, Kept::Nowhere)
    }
}

/// Lists the sets of `count` changes that `effort` allows for. The first is that of all.
pub(super) fn choices(count: usize, is_published: bool, effort: Effort) -> Vec<Choice> {
    let kept = if count <= effort.exhaustive.min(EXHAUSTIVE_MAX) {
        (0..1_u64 << count).rev().map(Kept::Mask).collect()
    } else {
        sampled(count, effort)
    };
    let mut choices = Vec::with_capacity(2 * kept.len() + 1);
    for (number, kept) in kept.into_iter().enumerate() {
        let salt = mix2(effort.seed, number as u64);
        if count <= EVERY_FILL_MAX {
            choices.extend(Fill::ALL.map(|fill| Choice { kept, fill, salt }));
        } else {
            let fills = [Fill::Old, Fill::harmful(number)];
            choices.extend(fills.map(|fill| Choice { kept, fill, salt }));
        }
    }
    if !is_published {
        choices.push(Choice { kept: Kept::Nowhere, fill: Fill::Old, salt: 0 });
    }
    choices
}

fn sampled(count: usize, effort: Effort) -> Vec<Kept> {
    let samples = effort.samples;
    let mut random = Random::new(mix2(effort.seed, count as u64));
    let mut kept = vec![Kept::Prefix(count)];
    kept.extend(some(&mut random, count, samples).map(Kept::Prefix));
    kept.extend(some(&mut random, count, samples).map(|one| Kept::Pair(one, one)));
    kept.extend(some(&mut random, count, samples).map(|one| Kept::AllBut(one, one)));
    let pairs = count * (count - 1) / 2;
    kept.extend(some(&mut random, pairs, samples).map(pair).map(|(a, b)| Kept::Pair(a, b)));
    kept.extend(some(&mut random, pairs, samples).map(pair).map(|(a, b)| Kept::AllBut(a, b)));
    // A prefix without its last is a shorter prefix, so the pair (a, b) stands for a prefix of b + 1
    // without a.
    let prefixes = some(&mut random, pairs, samples).map(pair);
    kept.extend(prefixes.map(|(a, b)| Kept::PrefixWithout(b + 1, a)));
    // Half lost, little lost, nearly all lost.
    let densities = [128, 240, 200, 16].into_iter().cycle().take(samples);
    kept.extend(densities.map(Kept::Random));
    kept
}

/// All numbers below `end`, or `max` random ones if they are more.
fn some(random: &mut Random, end: usize, max: usize) -> impl Iterator<Item = usize> {
    let is_all = end <= max;
    let numbers: Vec<usize> = if is_all {
        (0..end).collect()
    } else {
        (0..max).map(|_| random.below(end as u64) as usize).collect()
    };
    numbers.into_iter()
}

/// The pair with this number in the order (0, 1), (0, 2), (1, 2), (0, 3) and so on.
fn pair(number: usize) -> (usize, usize) {
    let mut b = ((2 * number) as u64).isqrt() as usize;
    if b * (b + 1) / 2 <= number {
        b += 1;
    }
    let below = b * (b - 1) / 2;
    (number - below, b)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    fn sets(count: usize, effort: Effort) -> HashSet<BTreeSet<usize>> {
        let set = |choice: Choice| (0..count).filter(|number| choice.keeps(*number)).collect();
        choices(count, true, effort).into_iter().map(set).collect()
    }

    /// Few changes: every set of them. The first is that of all, with nothing lost.
    #[test]
    fn every_set_of_few_changes_is_tried() {
        for count in 0..=8 {
            let effort = Effort { exhaustive: 8, ..Effort::default() };
            assert_eq!(sets(count, effort).len(), 1 << count);
            let first = choices(count, true, effort)[0];
            assert!((0..count).all(|number| first.keeps(number)));
        }
    }

    /// More changes: with room for all, every prefix, every prefix but one, every one, every pair,
    /// and their complements.
    #[test]
    fn each_kind_is_complete_if_there_is_room() {
        let count = 9;
        let found = sets(count, Effort { exhaustive: 8, samples: 64, seed: 1 });
        let all: BTreeSet<usize> = (0..count).collect();
        for b in 0..count {
            for a in 0..=b {
                let prefix: BTreeSet<usize> = (0..=b).filter(|number| *number != a).collect();
                assert!(found.contains(&prefix), "{prefix:?}");
                let pair = BTreeSet::from([a, b]);
                assert!(found.contains(&(&all - &pair)), "all but {pair:?}");
                assert!(found.contains(&pair), "{pair:?}");
            }
        }
        assert!(found.contains(&all) && found.contains(&BTreeSet::new()));
    }

    /// Many changes: no more sets than allowed, the same for the same seed.
    #[test]
    fn many_changes_are_sampled() {
        let effort = Effort { exhaustive: 12, samples: 10, seed: 5 };
        let chosen = choices(3000, true, effort);
        assert_eq!(chosen.len(), 2 * (1 + 7 * 10));
        assert_eq!(chosen, choices(3000, true, effort));
        assert!((0..3000).all(|number| chosen[0].keeps(number)));
    }

    /// Pairs are numbered without gaps or repetitions.
    #[test]
    fn pairs_are_numbered() {
        let pairs: Vec<_> = (0..4950).map(pair).collect();
        let mut expected = Vec::new();
        for b in 1..100 {
            expected.extend((0..b).map(|a| (a, b)));
        }
        assert_eq!(pairs, expected);
    }
}
