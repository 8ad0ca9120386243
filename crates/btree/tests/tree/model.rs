//! The tree against a `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use multibee_btree::{Batch, Bee, BeeOptions, Entry, RangeOptions};
use multibee_log::{KeyPair, Log, MemoryStorage};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::sound::assert_sound;
use crate::{entries, log_options};

pub(crate) type Model = BTreeMap<Bytes, Option<Bytes>>;

#[derive(Clone, Debug)]
enum Op {
    Put(Bytes, Option<Bytes>),
    Del(Bytes),
}

#[derive(Clone, Debug)]
enum Step {
    Single(Op),
    Batch { ops: Vec<Op>, flush: bool },
    Reopen { cache_bytes: u64 },
}

/// Few enough keys that puts replace and deletions hit, enough for a tree of three levels.
pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    let letters = prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)];
    prop_oneof![
        1 => vec(letters, 0..4).prop_map(Bytes::from),
        2 => (0..150_u8).prop_map(|n| Bytes::from(vec![b'k', n])),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let value = option::of(vec(any::<u8>(), 0..4).prop_map(Bytes::from));
    prop_oneof![
        3 => (key(), value).prop_map(|(key, value)| Op::Put(key, value)),
        2 => key().prop_map(Op::Del),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let cache_bytes = prop_oneof![Just(0), Just(5_000), Just(1 << 20)];
    prop_oneof![
        4 => op().prop_map(Step::Single),
        6 => (vec(op(), 0..40), prop::bool::weighted(0.8))
            .prop_map(|(ops, flush)| Step::Batch { ops, flush }),
        1 => cache_bytes.prop_map(|cache_bytes| Step::Reopen { cache_bytes }),
    ]
}

pub(crate) fn bounds() -> impl Strategy<Value = RangeOptions> {
    let end = || option::of(key());
    (end(), end(), end(), end(), any::<bool>(), option::of(0..20_u64)).prop_map(
        |(gt, gte, lt, lte, reverse, limit)| RangeOptions { gt, gte, lt, lte, reverse, limit },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is put, deleted, batched, dropped and reopened: each version that there was reads as
    /// the map did then, in any range and order, and is a sound tree.
    #[test]
    fn behaves_as_a_map(steps in vec(step(), 1..40), ranges in vec(bounds(), 8)) {
        let storage = MemoryStorage::default();
        let keys = KeyPair::from_seed([1; 32]);
        drop(Log::create(storage.clone(), keys, log_options()).unwrap());
        let mut bee = open(&storage, 1 << 20);
        let mut model = Model::new();
        let mut versions = vec![(bee.version(), model.clone())];
        for step in &steps {
            let before = bee.snapshot().unwrap();
            match step {
                Step::Reopen { cache_bytes } => bee = open(&storage, *cache_bytes),
                Step::Single(op) => single(&bee, &mut model, op),
                Step::Batch { ops, flush } => batch(&bee, &mut model, ops, *flush, &ranges[0]),
            }
            prop_assert_eq!(pairs(&entries(&before)), of(&versions.last().unwrap().1));
            versions.push((bee.version(), model.clone()));
        }
        for (version, model) in &versions {
            let tree = bee.checkout(*version).unwrap();
            prop_assert_eq!(tree.version(), *version);
            prop_assert_eq!(assert_sound(&bee, *version), model.len());
            prop_assert_eq!(pairs(&entries(&tree)), of(model));
            for options in &ranges {
                let found: Vec<_> = tree.range(options.clone()).map(Result::unwrap).collect();
                prop_assert_eq!(pairs(&found), select(model, options), "{:?}", options);
                let first = tree.peek(options.clone()).unwrap();
                prop_assert_eq!(first.as_ref(), found.first());
                for key in [&options.gt, &options.lte].into_iter().flatten() {
                    let value = tree.get(key).unwrap().map(|entry| entry.value);
                    prop_assert_eq!(value.as_ref(), model.get(key));
                }
            }
        }
    }
}

fn open(storage: &MemoryStorage, cache_bytes: u64) -> Bee {
    let log = Log::open(storage.clone(), log_options()).unwrap();
    Bee::open(log, BeeOptions { cache_bytes, ..BeeOptions::default() }).unwrap()
}

fn single(bee: &Bee, model: &mut Model, op: &Op) {
    match op {
        Op::Put(key, value) => {
            let seq = bee.put(key, value.clone()).unwrap();
            let entry = bee.get_by_seq(seq).unwrap().unwrap();
            assert_eq!((&entry.key, &entry.value), (key, value));
            model.insert(key.clone(), value.clone());
        }
        Op::Del(key) => assert_eq!(bee.del(key).unwrap(), model.remove(key).is_some()),
    }
}

fn batch(bee: &Bee, model: &mut Model, ops: &[Op], flush: bool, range: &RangeOptions) {
    let mut staged = model.clone();
    let mut batch = bee.batch().unwrap();
    let mut count = 0;
    for op in ops {
        let next = batch.next_seq();
        match op {
            Op::Put(key, value) => {
                assert_eq!(batch.put(key, value.clone(), "").unwrap(), next);
                staged.insert(key.clone(), value.clone());
                count += 1;
            }
            Op::Del(key) => {
                let hit = staged.remove(key).map(|_| next);
                assert_eq!(batch.del(key, "").unwrap(), hit);
                count += u64::from(hit.is_some());
            }
        }
    }
    check_staged(&mut batch, &staged, range);
    let before = bee.version();
    if flush {
        let version = batch.flush().unwrap();
        assert_eq!(version, bee.version());
        assert_eq!(version, before.max(u64::from(!bee.log().is_empty())) + count);
        *model = staged;
    } else {
        drop(batch);
        assert_eq!(bee.version(), before);
    }
}

/// A batch sees what it has staged.
fn check_staged(batch: &mut Batch, staged: &Model, options: &RangeOptions) {
    let found: Vec<_> = batch.range(options.clone()).unwrap().map(Result::unwrap).collect();
    assert_eq!(pairs(&found), select(staged, options), "{options:?}");
    for (key, value) in staged {
        assert_eq!(batch.get(key).unwrap().map(|entry| entry.value).as_ref(), Some(value));
    }
}

fn pairs(entries: &[Entry]) -> Vec<(Bytes, Option<Bytes>)> {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

fn of(model: &Model) -> Vec<(Bytes, Option<Bytes>)> {
    model.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The rules of a range, as plainly as can be.
pub(crate) fn select(model: &Model, options: &RangeOptions) -> Vec<(Bytes, Option<Bytes>)> {
    let bound = |exclusive: &Option<Bytes>, inclusive: &Option<Bytes>| match (exclusive, inclusive)
    {
        (Some(key), _) => Bound::Excluded(key.clone()),
        (None, Some(key)) => Bound::Included(key.clone()),
        (None, None) => Bound::Unbounded,
    };
    let lower = bound(&options.gt, &options.gte);
    let upper = bound(&options.lt, &options.lte);
    let mut found = of(model);
    found.retain(|(key, _)| std::ops::RangeBounds::contains(&(lower.clone(), upper.clone()), key));
    if options.reverse {
        found.reverse();
    }
    found.truncate(options.limit.map_or(usize::MAX, |limit| limit as usize));
    found
}
