//! Checks of whole trees.

use std::collections::BTreeSet;

use multibee_btree::{
    Bee, BeeOptions, Block, BlockFault, Check, DecodeError, Error, Finding, Header, Metadata,
};
use multibee_log::Progress;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::hostile::{bee_of, block, field};
use crate::sparse::{Replica, writer};
use crate::{entries, new_bee, new_log, scrambled};

fn check(bee: &Bee) -> Check {
    bee.snapshot().unwrap().check(|_| {}).unwrap()
}

/// The blocks that the tree under a node needs, its nodes and its depth, told from the blocks alone.
pub(crate) fn reach(bee: &Bee, seq: u64, level: u64, reached: &mut BTreeSet<u64>) -> (u64, u32) {
    let block = Block::decode(bee.log().get(seq).unwrap().unwrap()).unwrap();
    let level = block.levels().unwrap().swap_remove(level as usize);
    reached.insert(seq);
    reached.extend(level.keys);
    let (mut nodes, mut depth) = (1, 0);
    for kid in level.children.chunks_exact(2) {
        let below = reach(bee, kid[0], kid[1], reached);
        (nodes, depth) = (nodes + below.0, depth.max(below.1));
    }
    (nodes, depth + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever was put and deleted, each version is sound, and what is counted and what is said to
    /// be reachable is what a plain walk finds.
    #[test]
    fn honest_trees_are_sound(
        batches in vec(vec((prop::bool::weighted(0.6), 0..150_u64), 0..60), 1..14),
    ) {
        let bee = new_bee();
        for ops in batches {
            let mut batch = bee.batch().unwrap();
            for (put, i) in ops {
                let key = scrambled(i);
                let _ = if put { batch.put(&key, Some("1"), "").map(Some) } else { batch.del(&key, "") };
            }
            let version = batch.flush().unwrap();
            let check = check(&bee);
            prop_assert!(check.is_sound() && !check.is_cut_short, "{:?}", check);
            prop_assert_eq!(check.version, version);
            prop_assert_eq!(check.entries, entries(&bee.snapshot().unwrap()).len() as u64);
            let mut reached = BTreeSet::from([0]);
            let shape =
                if version < 2 { (0, 0) } else { reach(&bee, version - 1, 0, &mut reached) };
            prop_assert_eq!((check.nodes, check.depth), shape);
            let len = bee.log().len();
            let unreached: Vec<u64> = (0..len).filter(|seq| !reached.contains(seq)).collect();
            prop_assert_eq!(check.unreachable().flatten().collect::<Vec<_>>(), &unreached[..]);
            prop_assert_eq!(check.unreachable_blocks, unreached.len() as u64);
            prop_assert_eq!(check.reachable_blocks + check.unreachable_blocks, len);
        }
    }
}

/// A log without a block, one with a header, and a tree whose every key was deleted are sound.
#[test]
fn empty_trees_are_sound() {
    let bee = new_bee();
    let seen = |check: Check| {
        assert!(check.is_sound());
        (check.entries, check.nodes, check.depth, check.reachable_blocks, check.unreachable_blocks)
    };
    assert_eq!(seen(check(&bee)), (0, 0, 0, 0, 0));
    bee.create_header().unwrap();
    assert_eq!(seen(check(&bee)), (0, 0, 0, 1, 0));
    bee.put(b"a", Some("1")).unwrap();
    assert_eq!(seen(check(&bee)), (1, 1, 1, 2, 0));
    bee.del(b"a").unwrap();
    assert_eq!(seen(check(&bee)), (0, 1, 1, 2, 1));
}

/// A batch that makes the tree lower may leave a dead level that names later blocks. It cannot be
/// reached, and is no flaw.
#[test]
fn dead_levels_may_point_forward() {
    let bee = new_bee();
    for i in 0..9 {
        bee.put(format!("0{i}").as_bytes(), Some("1")).unwrap();
    }
    let mut batch = bee.batch().unwrap();
    batch.put(b"001", Some("x"), "").unwrap();
    for key in [b"08", b"07", b"06"] {
        batch.del(key, "").unwrap().unwrap();
    }
    batch.put(b"03", Some("y"), "").unwrap();
    batch.put(b"005", Some("z"), "").unwrap();
    batch.flush().unwrap();
    let levels = |seq| Block::decode(bee.log().get(seq).unwrap().unwrap()).unwrap().levels();
    let forward = (1..bee.log().len())
        .filter(|seq| levels(*seq).unwrap().iter().any(|level| level.keys.iter().any(|k| k > seq)));
    assert_ne!(forward.count(), 0, "this is the tree with the dead level");
    let check = check(&bee);
    assert!(check.is_sound(), "{check:?}");
    assert_eq!(check.entries, 8);
}

/// What a check finds in a tree of these blocks.
fn findings(blocks: &[Vec<u8>]) -> Vec<Finding> {
    check(&bee_of(blocks)).findings
}

fn finding(seq: u64, level: u64, what: BlockFault) -> Finding {
    Finding { seq, level: Some(level), what }
}

/// Blocks that only hold the keys `k00`, `k01` and so on.
fn key_blocks(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| block(&format!("k{i:02}"), &[])).collect()
}

/// What no read of one key would notice is found: too few keys, keys beyond the bounds that the node
/// above sets, leaves of different depth.
#[test]
fn what_reads_do_not_notice_is_found() {
    let mut few = key_blocks(8);
    few.push(block("x", &[(&[4], &[9, 1, 9, 2]), (&[1, 2, 3], &[]), (&[5, 6, 7, 8], &[])]));
    assert_eq!(findings(&few), [finding(9, 1, BlockFault::TooFewKeys { count: 3 })]);

    let mut none = key_blocks(5);
    none.push(block("x", &[(&[1], &[6, 1, 6, 2]), (&[], &[]), (&[2, 3, 4, 5], &[])]));
    assert_eq!(findings(&none), [finding(6, 1, BlockFault::NoKeys)]);

    // Each node is in order in itself.
    for (left, right, bad) in [
        (&[1, 2, 3, 6], &[7, 8, 9, 10], 1),
        (&[1, 2, 3, 5], &[7, 8, 9, 10], 1),
        (&[1, 2, 3, 4], &[5, 8, 9, 10], 2),
        (&[1, 2, 3, 4], &[3, 8, 9, 10], 2),
    ] {
        let mut blocks = key_blocks(10);
        blocks.push(block("x", &[(&[5], &[11, 1, 11, 2]), (left, &[]), (right, &[])]));
        assert_eq!(findings(&blocks), [finding(11, bad, BlockFault::Unordered)], "{left:?}");
    }
    // The bounds of a leaf may be set two levels above it.
    let leaf = |first: u64| [first, first + 1, first + 2, first + 3];
    for (key, is_bad) in [(25, false), (24, true), (3, true)] {
        let mut blocks = key_blocks(60);
        let inner: Vec<u64> = (0..5).flat_map(|i| [61, 3 + i]).collect();
        let other: Vec<u64> = (0..5).flat_map(|i| [61, 8 + i]).collect();
        let mut first = leaf(25);
        first[0] = key;
        blocks.push(block(
            "x",
            &[
                (&[24], &[61, 1, 61, 2]),
                (&[5, 10, 15, 20], &inner),
                (&[29, 34, 39, 44], &other),
                (&leaf(1), &[]),
                (&leaf(6), &[]),
                (&leaf(11), &[]),
                (&leaf(16), &[]),
                (&[21, 22, 23], &[]),
                (&first, &[]),
                (&leaf(30), &[]),
                (&leaf(35), &[]),
                (&leaf(40), &[]),
                (&leaf(45), &[]),
            ],
        ));
        let mut expected = vec![finding(61, 7, BlockFault::TooFewKeys { count: 3 })];
        expected.extend(is_bad.then(|| finding(61, 8, BlockFault::Unordered)));
        assert_eq!(findings(&blocks), expected, "{key}");
    }

    let mut uneven = key_blocks(14);
    uneven.push(block(
        "x",
        &[
            (&[5], &[15, 1, 15, 2]),
            (&[1, 2, 3, 4], &[]),
            (&[10], &[15, 3, 15, 4]),
            (&[6, 7, 8, 9], &[]),
            (&[11, 12, 13, 14], &[]),
        ],
    ));
    let fault = [
        finding(15, 2, BlockFault::TooFewKeys { count: 1 }),
        finding(15, 3, BlockFault::Uneven),
        finding(15, 4, BlockFault::Uneven),
    ];
    assert_eq!(findings(&uneven), fault);
}

/// What reads refuse is found too, each with its block, and the rest is looked at all the same.
#[test]
fn what_reads_refuse_is_found() {
    let mut blocks = key_blocks(9);
    blocks[8] = field(0x12, b"k08");
    let kids = [10, 1, 10, 7, 10, 2, 10, 3, 10, 4];
    blocks.push(block(
        "x",
        &[(&[2, 4, 6, 8], &kids), (&[1], &[]), (&[5, 11], &[]), (&[7], &[10, 1]), (&[9], &[])],
    ));
    let absent = DecodeError::Absent { number: 1 };
    let expected = [
        finding(10, 1, BlockFault::TooFewKeys { count: 1 }),
        finding(10, 7, BlockFault::NoLevel { level: 7 }),
        finding(10, 2, BlockFault::Forward { seq: 11 }),
        finding(10, 3, BlockFault::Children { keys: 1, numbers: 2 }),
        Finding { seq: 9, level: None, what: absent.into() },
    ];
    assert_eq!(findings(&blocks), expected);
}

/// The header is looked at, and nothing may point to it: with metadata it would pass for a put.
#[test]
fn headers_are_checked() {
    let log = new_log();
    let metadata = Metadata { user_data: Some("data".into()), ..Metadata::default() };
    log.append(&[Header::new(Some(metadata)).encode()]).unwrap();
    log.append(&[block("m", &[(&[0], &[])])]).unwrap();
    let bee = Bee::open(log, BeeOptions::default()).unwrap();
    assert!(Block::decode(bee.log().get(0).unwrap().unwrap()).is_ok());
    assert_eq!(check(&bee).findings, [finding(1, 0, BlockFault::NamesHeader)]);

    // A replica may be opened before its header is here, and turn out to be something else.
    for (header, what) in [
        (field(0x0a, b"hello"), BlockFault::NotAHeader),
        (field(0x12, b"hello"), DecodeError::Absent { number: 1 }.into()),
    ] {
        let source = new_bee();
        source.log().append(&[header]).unwrap();
        source.log().append(&[block("m", &[(&[1], &[])])]).unwrap();
        let mut replica = Replica::of(&source);
        let (check, ..) = replica.ask(|bee| bee.snapshot()?.check(|_| {}));
        assert_eq!(check.findings, [Finding { seq: 0, level: None, what }]);
    }
}

/// A length within a batch is no tree, rather than a flawed one.
#[test]
fn lengths_within_a_batch_are_refused() {
    let bee = bee_of(&[block("a", &[]), block("b", &[(&[1, 2], &[])])]);
    assert!(check(&bee).is_sound());
    let bee = bee_of(&[block("a", &[(&[1], &[])]), block("b", &[])]);
    let refused = bee.snapshot().unwrap().check(|_| {});
    assert!(matches!(refused, Err(Error::NotACommitEnd { version: 3 })), "{refused:?}");
}

/// A check ends with a bounded number of findings, and says so.
#[test]
fn findings_are_bounded() {
    // Four full levels, whose 729 leaves are all the same one that is not there.
    let mut blocks = Vec::new();
    let mut levels: Vec<(Vec<u64>, Vec<u64>)> = Vec::new();
    full_tree(3, &mut 0, &mut levels);
    let seq = levels.iter().map(|(keys, _)| keys.len() as u64).sum::<u64>() + 1;
    blocks.extend((1..seq).map(|i| block(&format!("k{i:04}"), &[])));
    let kids: Vec<Vec<u64>> =
        levels.iter().map(|(_, kids)| kids.iter().flat_map(|kid| [seq, *kid]).collect()).collect();
    let levels: Vec<_> =
        levels.iter().zip(&kids).map(|((keys, _), kids)| (&keys[..], &kids[..])).collect();
    blocks.push(block("x", &levels));
    let check = check(&bee_of(&blocks));
    assert_eq!((check.findings.len(), check.is_cut_short), (256, true));
    let what = BlockFault::NoLevel { level: 999 };
    assert!(check.findings.iter().all(|found| *found == finding(seq, 999, what)));
}

/// Numbers full nodes of so many levels in order; below them there is nothing.
fn full_tree(depth: u32, key: &mut u64, levels: &mut Vec<(Vec<u64>, Vec<u64>)>) -> u64 {
    if depth == 0 {
        return 999;
    }
    let level = levels.len();
    levels.push(Default::default());
    for i in 0..9 {
        let kid = full_tree(depth - 1, key, levels);
        levels[level].1.push(kid);
        if i < 8 {
            *key += 1;
            levels[level].0.push(*key);
        }
    }
    level as u64
}

/// Over a sparse log whole sets are asked for, about one a level, each block once; unreachable blocks
/// never. In the end it is the check of the log that is whole.
#[test]
fn a_sparse_log_is_fetched_level_by_level() {
    let writer = writer(4000);
    for i in 0..40 {
        writer.put(&scrambled(i * 100), Some("again")).unwrap();
    }
    let mut replica = Replica::of(&writer);
    let (found, rounds, blocks) = replica.ask(|bee| bee.snapshot()?.check(|_| {}));
    let expected = check(&writer);
    assert_eq!(found, expected);
    assert!(rounds <= 2 + u64::from(expected.depth), "{rounds} rounds");
    assert_eq!(blocks, expected.reachable_blocks);
    assert!(
        expected.unreachable_blocks > 0,
        "some of what was replaced has no node that is in use"
    );
    for run in expected.unreachable() {
        assert_eq!(replica.bee.log().held(run), []);
    }
}

/// Progress never falls, and ends with all.
#[test]
fn progress_is_told() {
    let writer = writer(12_000);
    let mut seen: Vec<Progress> = Vec::new();
    writer.snapshot().unwrap().check(|progress| seen.push(progress)).unwrap();
    assert!(seen.len() > 2, "{seen:?}");
    let total = writer.log().len();
    assert_eq!(seen.last(), Some(&Progress { done: total, total }));
    assert!(seen.windows(2).all(|two| two[0].done <= two[1].done && two[0].total == total));
}

/// Old versions are checked as they were.
#[test]
fn old_versions_are_checked() {
    let bee = new_bee();
    for i in 0..300 {
        bee.put(&scrambled(i % 200), Some(i.to_string())).unwrap();
    }
    let old = bee.checkout(101).unwrap().check(|_| {}).unwrap();
    assert_eq!((old.version, old.entries, old.is_sound()), (101, 100, true));
    assert_eq!(old.reachable_blocks + old.unreachable_blocks, 101);
    assert_eq!(check(&bee).entries, 200);
}
