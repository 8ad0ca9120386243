//! Differences between versions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, Entry, Error, RangeOptions, Tree};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::sparse::Replica;
use crate::{entries, new_bee, scrambled};

type Pair = (Option<u64>, Option<u64>);

fn pairs(left: &Tree, right: &Tree, options: RangeOptions) -> Vec<(Bytes, Pair)> {
    let seq = |entry: Option<Entry>| entry.map(|entry| entry.seq);
    left.diff(right, options)
        .unwrap()
        .map(Result::unwrap)
        .map(|change| (change.key().clone(), (seq(change.left), seq(change.right))))
        .collect()
}

/// What a diff is by definition: all keys under which the blocks differ.
fn naive(left: &Tree, right: &Tree, options: &RangeOptions) -> Vec<(Bytes, Pair)> {
    let map = |tree: &Tree| -> BTreeMap<Bytes, u64> {
        let options = RangeOptions { limit: None, reverse: false, ..options.clone() };
        tree.range(options).map(Result::unwrap).map(|entry| (entry.key, entry.seq)).collect()
    };
    let (left, right) = (map(left), map(right));
    let keys: BTreeSet<Bytes> = left.keys().chain(right.keys()).cloned().collect();
    keys.into_iter()
        .map(|key| (key.clone(), (left.get(&key).copied(), right.get(&key).copied())))
        .filter(|(_, (left, right))| left != right)
        .take(options.limit.map_or(usize::MAX, |limit| limit as usize))
        .collect()
}

fn key(number: u16) -> Vec<u8> {
    scrambled(u64::from(number))[..2].to_vec()
}

fn bounds() -> impl Strategy<Value = RangeOptions> {
    let end = || option::of((0..300_u16).prop_map(|number| Bytes::from(key(number))));
    (end(), end(), end(), end(), option::of(0..20_u64)).prop_map(|(gt, gte, lt, lte, limit)| {
        RangeOptions { gt, gte, lt, lte, limit, reverse: false }
    })
}

/// Puts and deletes keys, in commits of different sizes. Returns the versions.
fn write(bee: &Bee, commits: &[Vec<(u16, bool)>]) -> Vec<u64> {
    let mut versions = vec![0, 1];
    for ops in commits {
        let mut batch = bee.batch().unwrap();
        for (number, is_put) in ops {
            if *is_put {
                batch.put(&key(*number), Some("x"), "").unwrap();
            } else {
                batch.del(&key(*number), "").unwrap();
            }
        }
        versions.push(batch.flush().unwrap());
    }
    versions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Between any two versions, in either direction, in any range: a diff gives what comparing the
    /// two maps gives.
    #[test]
    fn a_diff_compares_two_maps(
        first in vec((0..300_u16, Just(true)), 0..300),
        commits in vec(vec((0..300_u16, prop::bool::weighted(0.4)), 0..60), 1..6),
        ranges in vec(bounds(), 4),
    ) {
        let bee = new_bee();
        let versions = write(&bee, &[&[first], commits.as_slice()].concat());
        // Read from the log, in parts, and from what the writer has at hand.
        let options = BeeOptions { cache_bytes: 0, ..BeeOptions::default() };
        let reader = Bee::open(bee.log().clone(), options).unwrap();
        for bee in [&bee, &reader] {
            let trees: Vec<Tree> = versions.iter().map(|v| bee.checkout(*v).unwrap()).collect();
            for left in &trees {
                for right in &trees {
                    for range in &ranges {
                        let expected = naive(left, right, range);
                        prop_assert_eq!(pairs(left, right, range.clone()), expected);
                    }
                    let all = RangeOptions::default();
                    prop_assert_eq!(pairs(left, right, all.clone()), naive(left, right, &all));
                }
            }
        }
    }
}

/// A tree of 10,000 keys of which 50 were changed.
fn changed() -> (Bee, u64) {
    let bee = new_bee();
    for chunk in (0..10_000_u64).collect::<Vec<_>>().chunks(1000) {
        let mut batch = bee.batch().unwrap();
        for number in chunk {
            batch.put(&scrambled(*number), Some(vec![7; 100]), "").unwrap();
        }
        batch.flush().unwrap();
    }
    let before = bee.version();
    for number in 0..50 {
        bee.put(&scrambled(number * 190), Some("changed")).unwrap();
    }
    (bee, before)
}

/// Over a log of which nothing is here, a diff of 50 changes asks in ten rounds at most, for a small
/// part of the log, and gives each change once.
#[test]
fn a_cold_diff_takes_few_rounds() {
    let (bee, before) = changed();
    let expected =
        pairs(&bee.snapshot().unwrap(), &bee.checkout(before).unwrap(), RangeOptions::default());
    assert_eq!(expected.len(), 50);
    let mut replica = Replica::of(&bee);
    let (trees, ..) = replica.ask(|bee| Ok((bee.snapshot()?, bee.checkout(before)?)));
    let mut diff = trees.0.diff(&trees.1, RangeOptions::default()).unwrap();
    let (mut found, mut rounds, mut blocks) = (Vec::new(), 1, 1);
    loop {
        let (change, more_rounds, more_blocks) = replica.ask(|_| diff.next());
        (rounds, blocks) = (rounds + more_rounds, blocks + more_blocks);
        let Some(change) = change else { break };
        let seq = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.seq);
        found.push((change.key().clone(), (seq(&change.left), seq(&change.right))));
    }
    println!("a diff of 50 changes in 10,000: {rounds} rounds, {blocks} blocks");
    assert_eq!(found, expected);
    assert!(rounds <= 10 && blocks <= 400, "{rounds} rounds, {blocks} blocks");
}

/// Few changes in a large tree are found by reading few blocks: what both versions have is passed
/// over.
#[test]
fn what_is_shared_is_not_read() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for number in 0..20_000 {
        batch.put(&scrambled(number), Some("x"), "").unwrap();
    }
    let before = batch.flush().unwrap();
    bee.put(&scrambled(77), Some("y")).unwrap();
    let mut replica = Replica::of(&bee);
    let (count, _, blocks) = replica.ask(|bee| {
        let right = bee.checkout(before)?;
        let mut diff = bee.snapshot()?.diff(&right, RangeOptions::default())?;
        let mut count = 0;
        while diff.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    });
    assert_eq!(count, 1);
    assert!(blocks <= 120, "{blocks} blocks");
}

/// Trees of different logs, or of different parts of one, are not compared.
#[test]
fn strangers_are_not_compared() {
    let (ours, theirs) = (new_bee(), new_bee());
    let tree = ours.snapshot().unwrap();
    let is_refused =
        |right: Tree| matches!(tree.diff(&right, RangeOptions::default()), Err(Error::OtherTree));
    assert!(is_refused(theirs.snapshot().unwrap()));
    assert!(is_refused(ours.sub("a").snapshot().unwrap()));
    assert!(!is_refused(ours.snapshot().unwrap()));
}

/// A diff within a sub-database has its keys only, as it shows them.
#[test]
fn a_sub_is_compared_with_itself() {
    let bee = new_bee();
    let (a, b) = (bee.sub("a"), bee.sub("b"));
    a.put(b"", Some("1")).unwrap();
    b.put(b"k", Some("1")).unwrap();
    let before = a.snapshot().unwrap();
    a.put(b"", Some("2")).unwrap();
    a.put(b"z", Some("3")).unwrap();
    b.del(b"k").unwrap();
    let now = a.snapshot().unwrap();
    let keys: Vec<_> = now
        .diff(&before, RangeOptions::default())
        .unwrap()
        .map(|change| change.unwrap().key().clone())
        .collect();
    assert_eq!(keys, ["", "z"]);
    assert_eq!(entries(&now).len(), 2);
}

/// What is told of how far a walk over a whole tree has come never falls, and is about right.
#[test]
fn the_fraction_that_was_passed_only_grows() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for number in 0..3000_u64 {
        batch.put(&scrambled(number), Some("x"), "").unwrap();
    }
    batch.flush().unwrap();
    let empty = bee.checkout(1).unwrap();
    let mut diff = bee.snapshot().unwrap().diff(&empty, RangeOptions::default()).unwrap();
    let (mut last, mut count) = (diff.fraction().unwrap(), 0);
    assert_eq!(last, 0.0);
    while diff.next().unwrap().is_some() {
        count += 1;
        let fraction = diff.fraction().unwrap();
        assert!(fraction >= last && fraction <= 1.0, "{fraction} after {last}");
        assert!((fraction - f64::from(count) / 3000.0).abs() < 0.25, "{fraction} at {count}");
        last = fraction;
    }
    assert_eq!((diff.fraction(), count), (Some(1.0), 3000));
}
