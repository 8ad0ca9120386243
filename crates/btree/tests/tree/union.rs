//! Several trees read as one.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee_btree::{
    Bee, BlockFault, Error, MissingBlocks, RangeOptions, Tree, Union, UnionEntry, UnionError,
    first_tree,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::hostile::{bee_of, block};
use crate::model::{Model, bounds, key, select};
use crate::sparse::{Replica, writer};
use crate::{new_bee, scrambled};

/// A tree with the entries of a map.
fn bee_with(model: &Model) -> Bee {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for (key, value) in model {
        batch.put(key, value.clone(), "").unwrap();
    }
    batch.flush().unwrap();
    bee
}

type Chooser = fn(&[UnionEntry]) -> Option<&UnionEntry>;

/// Ways to choose: the first tree, the last, the one whose value is greatest, only what two have and
/// of it the second, and nothing at all.
const CHOOSERS: [Chooser; 6] = [
    first_tree,
    |found| found.last(),
    |found| found.iter().max_by_key(|one| one.entry.value.clone()),
    |found| found.get(1),
    |found| found.first().filter(|one| one.entry.value.is_some()),
    |_| None,
];

/// The same, as a list of trees with their values.
fn chosen(chooser: usize, found: &[(usize, Option<Bytes>)]) -> Option<(usize, Option<Bytes>)> {
    match chooser {
        0 => found.first().cloned(),
        1 => found.last().cloned(),
        2 => found.iter().max_by_key(|(_, value)| value.clone()).cloned(),
        3 => found.get(1).cloned(),
        4 => found.first().filter(|(_, value)| value.is_some()).cloned(),
        _ => None,
    }
}

type Shown = Vec<(Bytes, usize, Option<Bytes>)>;

/// What a union of maps shows of a range.
fn expected(models: &[Model], chooser: usize, options: &RangeOptions) -> Shown {
    let all: Model =
        models.iter().flat_map(|model| model.keys().map(|k| (k.clone(), None))).collect();
    let keys = select(&all, &RangeOptions { limit: None, ..options.clone() });
    let shown = keys.into_iter().filter_map(|(key, _)| {
        let found: Vec<_> = (0..)
            .zip(models)
            .filter_map(|(tree, model)| Some((tree, model.get(&key)?.clone())))
            .collect();
        chosen(chooser, &found).map(|(tree, value)| (key, tree, value))
    });
    shown.take(options.limit.map_or(usize::MAX, |limit| limit as usize)).collect()
}

fn shown(one: UnionEntry) -> (Bytes, usize, Option<Bytes>) {
    (one.entry.key, one.tree, one.entry.value)
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let value = || option::of(vec(any::<u8>(), 0..3).prop_map(Bytes::from));
    vec(btree_map(key(), value(), 0..60), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever the trees have, a union shows what the merged maps do: in any range and order, with
    /// any chooser and limit, and of one key.
    #[test]
    fn behaves_as_merged_maps(models in models(), ranges in vec(bounds(), 6), keys in vec(key(), 8)) {
        let bees: Vec<Bee> = models.iter().map(bee_with).collect();
        let union = Union::new(bees.iter().map(|bee| bee.snapshot().unwrap()).collect());
        prop_assert_eq!(union.trees().len(), models.len());
        for (chooser, choose) in CHOOSERS.into_iter().enumerate() {
            for options in &ranges {
                let found: Shown =
                    union.range(options.clone(), choose).map(|one| shown(one.unwrap())).collect();
                let expected = expected(&models, chooser, options);
                prop_assert_eq!(&found, &expected, "{:?}", options);
                let peeked = union.peek(options.clone(), choose).unwrap().map(shown);
                prop_assert_eq!(peeked.as_ref(), expected.first());
            }
            for key in &keys {
                let only = RangeOptions {
                    gte: Some(key.clone()),
                    lte: Some(key.clone()),
                    ..RangeOptions::default()
                };
                let found = union.get(key, choose).unwrap().map(shown);
                prop_assert_eq!(found, expected(&models, chooser, &only).pop());
            }
        }
    }
}

/// The chooser sees each key once, in order, with all the trees that have it and no other.
#[test]
fn the_chooser_sees_all_of_a_key() {
    let [a, b] = [["k1", "k2", "k4"], ["k2", "k3", "k4"]].map(|keys| {
        let bee = new_bee();
        for key in keys {
            bee.put(key.as_bytes(), Some("value")).unwrap();
        }
        bee.snapshot().unwrap()
    });
    let union = Union::new(vec![a.clone(), b, a]);
    assert_eq!(union.get(b"k5", |_| panic!("no tree has it")).unwrap(), None);
    let mut seen = Vec::new();
    let range = union.range(RangeOptions::default(), |found| {
        assert!(found.iter().all(|one| one.entry.key == found[0].entry.key));
        let key = String::from_utf8(found[0].entry.key.to_vec()).unwrap();
        seen.push((key, found.iter().map(|one| one.tree).collect::<Vec<_>>()));
        None
    });
    assert_eq!(range.count(), 0);
    let expected =
        [("k1", vec![0, 2]), ("k2", vec![0, 1, 2]), ("k3", vec![1]), ("k4", vec![0, 1, 2])];
    assert_eq!(seen, expected.map(|(key, trees)| (key.to_owned(), trees)));
}

/// Sparse copies, one for each tree.
struct Sparse(Vec<Replica>);

impl Sparse {
    fn of(writers: &[Bee]) -> Self {
        Self(writers.iter().map(Replica::of).collect())
    }

    fn union(&self) -> Union {
        Union::new(self.trees().collect())
    }

    fn trees(&self) -> impl Iterator<Item = Tree> {
        self.0.iter().map(|replica| replica.bee.snapshot().unwrap())
    }

    /// Asks, fetches what the trees lack, and asks again. Returns the answer and the rounds.
    fn ask<T>(&mut self, mut ask: impl FnMut() -> Result<T, UnionError>) -> (T, u64) {
        let mut rounds = 0;
        loop {
            match ask() {
                Err(UnionError::Missing(missing)) => {
                    let numbers: Vec<usize> = missing.iter().map(|of| of.tree).collect();
                    assert!(!numbers.is_empty() && numbers.is_sorted_by(|a, b| a < b));
                    for MissingBlocks { tree, seqs } in missing {
                        self.0[tree].fetch(&seqs);
                    }
                    rounds += 1;
                }
                result => return (result.unwrap(), rounds),
            }
        }
    }

    fn fetched(&self) -> Vec<u64> {
        self.0.iter().map(|replica| replica.fetched).collect()
    }
}

/// Reading one entry fetches from each tree what that tree's own first entry takes, and in as many
/// rounds as the slowest of them takes alone: they are asked for at once.
#[test]
fn one_entry_costs_one_entry_of_each_tree() {
    let writers = [writer(4000), writer(500), writer(0), writer(1500)];
    let from = |reverse| RangeOptions {
        gte: Some(Bytes::from_static(&[0x40])),
        lt: Some(Bytes::from_static(&[0xc0])),
        reverse,
        ..RangeOptions::default()
    };
    for options in [RangeOptions::default(), from(false), from(true)] {
        let mut alone = Sparse::of(&writers);
        let slowest = alone.0.iter_mut().map(|replica| {
            let (_, rounds, blocks) = replica.ask(|bee| bee.snapshot()?.peek(options.clone()));
            assert!(blocks <= 90, "{blocks} blocks");
            rounds
        });
        let slowest = slowest.max().unwrap();

        let mut sparse = Sparse::of(&writers);
        let union = sparse.union();
        let (first, rounds) = sparse.ask(|| union.peek(options.clone(), first_tree));
        assert!(first.is_some());
        assert_eq!((sparse.fetched(), rounds), (alone.fetched(), slowest));

        // As one entry of a range with that limit.
        let mut sparse = Sparse::of(&writers);
        let mut range =
            sparse.union().range(RangeOptions { limit: Some(1), ..options.clone() }, first_tree);
        assert_eq!(sparse.ask(|| range.next()), (first, slowest));
        assert_eq!(sparse.ask(|| range.next()), (None, 0));
        assert_eq!(sparse.fetched(), alone.fetched());
    }
}

/// The same for one key: each tree's own way to it, all at once.
#[test]
fn one_key_costs_one_key_of_each_tree() {
    let writers = [writer(2000), writer(300)];
    let key = scrambled(77);
    let mut alone = Sparse::of(&writers);
    let slowest =
        alone.0.iter_mut().map(|replica| replica.ask(|bee| bee.snapshot()?.get(&key)).1).max();
    let mut sparse = Sparse::of(&writers);
    let union = sparse.union();
    let (found, rounds) = sparse.ask(|| union.get(&key, |found| found.last()));
    assert_eq!((found.unwrap().tree, Some(rounds)), (1, slowest));
    assert_eq!(sparse.fetched(), alone.fetched());
}

/// Over sparse copies a range goes on where it stopped: each entry comes once, also where a limit is
/// reached late because much is hidden.
#[test]
fn a_sparse_range_goes_on_where_it_stopped() {
    let writers = [writer(1200), writer(700)];
    let whole = Union::new(writers.iter().map(|writer| writer.snapshot().unwrap()).collect());
    // Only what the first tree alone has, and of that every third.
    let pick: Chooser =
        |found| found.first().filter(|one| found.len() == 1 && one.entry.seq % 3 == 0);
    for (reverse, limit) in [(false, None), (true, None), (false, Some(40)), (true, Some(3))] {
        let options = RangeOptions { reverse, limit, ..RangeOptions::default() };
        let expected: Vec<_> = whole.range(options.clone(), pick).map(Result::unwrap).collect();
        assert!(expected.len() > 100 || Some(expected.len() as u64) == limit);
        let mut sparse = Sparse::of(&writers);
        let mut range = sparse.union().range(options, pick);
        let (mut found, mut rounds) = (Vec::new(), 0);
        while let (Some(one), more) = sparse.ask(|| range.next()) {
            found.push(one);
            rounds += more;
        }
        assert_eq!(found, expected);
        assert!(rounds < 60, "{rounds} rounds");
        let fetched: u64 = sparse.fetched().iter().sum();
        assert!(limit.is_none() || fetched < 900, "{fetched} blocks for {limit:?}");
    }
}

/// A limit that is not reached because all is hidden costs few rounds more than none.
#[test]
fn hidden_entries_are_passed_over_quickly() {
    let writers = [writer(1500)];
    let mut sparse = Sparse::of(&writers);
    let union = sparse.union();
    let mut range =
        union.range(RangeOptions { limit: Some(1), ..RangeOptions::default() }, |_| None);
    let (found, rounds) = sparse.ask(|| range.next());
    assert_eq!(found, None);
    assert!(rounds < 60, "{rounds} rounds");
}

/// A tree that cannot be read is named, and then the range is over; what the others lack is not
/// asked for.
#[test]
fn a_bad_tree_is_named() {
    let good = writer(300);
    let bad = bee_of(&[block("a", &[]), block("b", &[(&[1, 9], &[])])]);
    let trees = [Replica::of(&good).bee, good, bad].map(|bee| bee.snapshot().unwrap());
    let union = Union::new(trees.to_vec());
    let is_named = |error: UnionError| {
        let UnionError::Tree { tree: 2, source: Error::BadBlock { seq: 2, what } } = error else {
            panic!("{error:?}");
        };
        assert_eq!(what, BlockFault::Forward { seq: 9 });
    };
    is_named(union.get(b"a", first_tree).unwrap_err());
    is_named(union.peek(RangeOptions::default(), first_tree).unwrap_err());
    let mut range = union.range(RangeOptions::default(), first_tree);
    is_named(range.next().unwrap_err());
    assert_eq!(range.next().unwrap(), None);
}

/// A union is of versions, so it stays what it was; sub-databases can be its trees too.
#[test]
fn a_union_of_versions_and_subs() {
    let bee = new_bee();
    let before = bee.snapshot().unwrap();
    let (notes, drafts) = (bee.sub("notes"), bee.sub("drafts"));
    notes.put(b"one", Some("1")).unwrap();
    drafts.put(b"two", Some("2")).unwrap();
    let old = notes.snapshot().unwrap();
    notes.put(b"one", Some("new")).unwrap();
    let trees = vec![before, old, drafts.snapshot().unwrap(), notes.snapshot().unwrap()];
    let union = Union::new(trees);
    bee.put(b"three", Some("3")).unwrap();
    let found: BTreeMap<_, _> = union
        .range(RangeOptions::default(), |found| found.last())
        .map(|one| shown(one.unwrap()))
        .map(|(key, tree, value)| (key, (tree, value.unwrap())))
        .collect();
    let expected = [("one", (3, "new")), ("two", (2, "2"))];
    assert_eq!(found, expected.map(|(key, (tree, v))| (key.into(), (tree, v.into()))).into());
}
