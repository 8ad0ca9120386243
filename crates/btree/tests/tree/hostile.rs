//! Logs whose writer means harm, or whose bytes have rotted.

use bytes::Bytes;
use multibee_btree::{
    Bee, BeeOptions, Block, BlockFault, Check, DecodeError, Error, Finding, Header, Level,
    RangeOptions, Union, UnionError, first_tree,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{new_bee, new_log, scrambled};

/// A log with these blocks behind the header, as a tree.
pub(crate) fn bee_of(blocks: &[Vec<u8>]) -> Bee {
    let log = new_log();
    log.append(&[Header::new(None).encode()]).unwrap();
    log.append(blocks).unwrap();
    Bee::open(log, BeeOptions::default()).unwrap()
}

/// A block with these levels: the numbers of keys, and of children as pairs.
pub(crate) fn block(key: &str, levels: &[(&[u64], &[u64])]) -> Vec<u8> {
    let packed = |tag, numbers: &[u64]| {
        if numbers.is_empty() {
            vec![]
        } else {
            field(tag, &numbers.iter().flat_map(|n| varint(*n)).collect::<Vec<_>>())
        }
    };
    let index: Vec<u8> = levels
        .iter()
        .flat_map(|(keys, children)| {
            field(0x0a, &[packed(0x0a, keys), packed(0x12, children)].concat())
        })
        .collect();
    [field(0x0a, &index), field(0x12, key.as_bytes())].concat()
}

pub(crate) fn field(tag: u8, body: &[u8]) -> Vec<u8> {
    [vec![tag], varint(body.len() as u64), body.to_vec()].concat()
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// What a get, a range, a put, a deletion, and a get and a range of a union with a sound tree make of
/// the tree.
fn faults(bee: &Bee, key: &str) -> [Option<Error>; 6] {
    let tree = bee.snapshot().unwrap();
    let mut range = tree.range(RangeOptions::default());
    let ranged = loop {
        match range.next() {
            Ok(Some(_)) => {}
            result => break result.err(),
        }
    };
    let len = bee.log().len();
    let mut batch = bee.batch().unwrap();
    let put = batch.put(key.as_bytes(), Some("value"), "").err();
    let del = batch.del(key.as_bytes(), "").err();
    drop(batch);
    assert_eq!(bee.log().len(), len);
    let sound = new_bee();
    sound.put(b"zz", Some("value")).unwrap();
    let union = Union::new(vec![sound.snapshot().unwrap(), tree.clone()]);
    let united = union.get(key.as_bytes(), first_tree).err().map(of_second);
    let range = union.range(RangeOptions::default(), first_tree);
    let united_range = range.filter_map(Result::err).next().map(of_second);
    [tree.get(key.as_bytes()).err(), ranged, put, del, united, united_range]
}

/// What the second tree of a union said.
fn of_second(error: UnionError) -> Error {
    match error {
        UnionError::Tree { tree: 1, source } => source,
        other => panic!("{other:?}"),
    }
}

/// Checks the tree, which has to take no more steps than it has blocks.
fn check(bee: &Bee) -> Check {
    let check = bee.snapshot().unwrap().check(|_| {}).unwrap();
    let len = bee.log().len();
    assert!(check.nodes < len && check.entries < len && check.depth <= 64, "{check:?}");
    assert!(check.findings.len() <= 256);
    check
}

/// Every read and write, and a check, names this block and what is wrong with it.
fn assert_fault(blocks: &[Vec<u8>], key: &str, seq: u64, fault: BlockFault) {
    for found in faults(&bee_of(blocks), key) {
        let matches =
            matches!(&found, Some(Error::BadBlock { seq: s, what }) if *s == seq && *what == fault);
        assert!(matches, "{found:?} in place of {fault:?} in block {seq}");
    }
    let findings = check(&bee_of(blocks)).findings;
    let is_found = findings.iter().any(|found| found.seq == seq && found.what == fault);
    assert!(is_found, "{findings:?} without {fault:?} in block {seq}");
}

/// A node that is its own child is too deep a tree.
#[test]
fn a_cycle_ends() {
    // Keys "m", and two children that are the root.
    let bee = bee_of(&[block("m", &[(&[1], &[1, 0, 1, 0])])]);
    for found in faults(&bee, "a") {
        assert!(matches!(found, Some(Error::TooDeep)), "{found:?}");
    }
    // For a check, its key is out of its own bounds.
    let child = Finding { seq: 1, level: Some(0), what: BlockFault::Unordered };
    assert_eq!(check(&bee).findings, [child, child]);

    // Two nodes that are each other's children, and three keys for each: no way out either.
    let levels: &[(&[u64], &[u64])] =
        &[(&[1, 2, 3], &[4, 1, 4, 1, 4, 1, 4, 1]), (&[1, 2, 3], &[4, 0, 4, 0, 4, 0, 4, 0])];
    let bee = bee_of(&[block("a", &[]), block("b", &[]), block("c", &[]), block("x", levels)]);
    for key in ["", "aa", "bb", "cc"] {
        let found = bee.snapshot().unwrap().get(key.as_bytes());
        assert!(matches!(found, Err(Error::TooDeep)), "{found:?}");
    }
    assert_eq!(check(&bee).nodes, 1);
}

/// So is a chain of more than 64 nodes, each sound in itself.
#[test]
fn a_deep_chain_ends() {
    let mut blocks = vec![block("k000", &[(&[1], &[])])];
    for seq in 2..=80_u64 {
        blocks.push(block(&format!("k{seq:03}"), &[(&[seq], &[seq - 1, 0, seq - 1, 0])]));
    }
    let bee = bee_of(&blocks);
    for found in faults(&bee, "a") {
        assert!(matches!(found, Some(Error::TooDeep)), "{found:?}");
    }
    assert!(bee.checkout(60).unwrap().get(b"a").unwrap().is_none());
    let check = check(&bee);
    assert_eq!((check.nodes, check.depth), (64, 64));
    assert!(check.findings.iter().any(|found| found.what == BlockFault::TooDeep), "{check:?}");
}

/// A range over nodes that share their children would never end; it ends at the first key that comes
/// again.
#[test]
fn shared_children_are_noticed() {
    let mut blocks = vec![block("k000", &[(&[1], &[])])];
    for seq in 2..=60_u64 {
        let children: Vec<u64> = (0..4).flat_map(|_| [seq - 1, 0]).collect();
        let keys = [seq; 3];
        blocks.push(block(&format!("k{seq:03}"), &[(&keys, &children)]));
    }
    let bee = bee_of(&blocks);
    assert!(check(&bee).findings.iter().any(|found| found.what == BlockFault::Unordered));
    let [get, range, .., united, united_range] = faults(&bee, "a");
    for found in [get, range, united, united_range] {
        assert!(
            matches!(found, Some(Error::BadBlock { what: BlockFault::Unordered, .. })),
            "{found:?}"
        );
    }
    // One key a node passes for a search, but not for a range.
    let mut blocks = vec![block("k000", &[(&[1], &[])])];
    for seq in 2..=60_u64 {
        blocks.push(block(&format!("k{seq:03}"), &[(&[seq], &[seq - 1, 0, seq - 1, 0])]));
    }
    let bee = bee_of(&blocks);
    for reverse in [false, true] {
        let tree = bee.snapshot().unwrap();
        let options = RangeOptions { reverse, ..RangeOptions::default() };
        let steps: Vec<_> = tree.range(options).take(100).collect();
        assert!(
            matches!(steps.last(), Some(Err(Error::BadBlock { what: BlockFault::Unordered, .. }))),
            "{steps:?}"
        );
        let union = Union::new(vec![bee.snapshot().unwrap(); 3]);
        let options = RangeOptions { reverse, ..RangeOptions::default() };
        let last = union.range(options, |_| None).last();
        assert!(matches!(last, Some(Err(_))), "also when all is hidden");
    }
    assert!(check(&bee).findings.iter().any(|found| found.what == BlockFault::Unordered));
    // Nobody's reclaiming follows what is shared more than once.
    let kept = bee.reclaim([], |_| {}).unwrap();
    assert_eq!(kept.kept_blocks, 61);
}

/// A diff of two trees that look into the same children again and again, and have no key that would
/// tell, ends.
#[test]
fn shared_children_do_not_keep_a_diff_busy() {
    const LEVELS: u64 = 40;
    let tree = |seq: u64| {
        let children: Vec<[u64; 4]> = (1..LEVELS).map(|level| [seq, level, seq, level]).collect();
        let mut levels: Vec<(&[u64], &[u64])> =
            children.iter().map(|children| (&[1][..], &children[..])).collect();
        levels.push((&[1], &[]));
        block("k", &levels)
    };
    let bee = bee_of(&[block("k", &[(&[1], &[])]), tree(2), tree(3)]);
    let right = bee.checkout(3).unwrap();
    let steps: Vec<_> =
        bee.snapshot().unwrap().diff(&right, RangeOptions::default()).unwrap().take(9).collect();
    assert!(
        matches!(steps[..], [Err(Error::BadBlock { what: BlockFault::Unordered, .. })]),
        "{steps:?}"
    );
}

/// Blocks as long as a log takes them, with a node or an index that nobody writes, are read once and
/// named.
#[test]
fn huge_nodes_are_refused() {
    let many = vec![1; 4_000_000];
    assert_fault(&[block("m", &[(&many, &[])])], "a", 1, BlockFault::TooManyKeys { count: 9 });
    assert_fault(&[block("m", &[(&[1], &many)])], "a", 1, BlockFault::TooManyKeys { count: 9 });
    let (kids, count) = ([1, 2_000_000, 1, 2_000_000], 1_000_000);
    let mut levels: Vec<(&[u64], &[u64])> = vec![(&[], &[]); count];
    levels[0] = (&[1], &kids);
    assert_fault(&[block("m", &levels)], "a", 1, BlockFault::NoLevel { level: 2_000_000 });
    levels[0] = (&[1], &[1, 999_999, 1, 999_999]);
    assert_fault(&[block("m", &levels)], "a", 1, BlockFault::NoKeys);
}

/// Pointers forward, to levels that are not there, a wrong number of children, too many keys, nodes
/// without keys: each is named with its block.
#[test]
fn unsound_nodes_are_named() {
    assert_fault(&[block("m", &[(&[2], &[])])], "a", 1, BlockFault::Forward { seq: 2 });
    assert_fault(&[block("m", &[(&[1], &[1, 7, 1, 7])])], "a", 1, BlockFault::NoLevel { level: 7 });
    assert_fault(
        &[block("m", &[(&[1], &[1, 0, 1])])],
        "a",
        1,
        BlockFault::Children { keys: 1, numbers: 3 },
    );
    assert_fault(&[block("m", &[(&[1; 9], &[])])], "a", 1, BlockFault::TooManyKeys { count: 9 });
    let no_keys = [block("m", &[(&[1], &[1, 1, 1, 1]), (&[], &[])])];
    assert_fault(&no_keys, "a", 1, BlockFault::NoKeys);
    assert_fault(
        &[block("m", &[(&[1], &[])]), block("k", &[(&[1, 2], &[])])],
        "a",
        2,
        BlockFault::Unordered,
    );
    // The header is not a node.
    let absent = BlockFault::Decode(DecodeError::Absent { number: 2 });
    assert_fault(&[block("m", &[(&[0], &[])])], "a", 0, absent);
    let absent = BlockFault::Decode(DecodeError::Absent { number: 1 });
    assert_fault(&[field(0x12, b"key")], "a", 1, absent);
}

/// A deletion that would have to move keys between a leaf and an inner node is refused.
#[test]
fn uneven_leaves_are_refused() {
    let bee = bee_of(&[
        block("b", &[(&[1], &[])]),
        block("d", &[(&[2], &[])]),
        block("c", &[(&[3], &[1, 0, 2, 0])]),
        block("x", &[(&[4], &[])]),
        block("m", &[(&[5], &[3, 0, 4, 0])]),
    ]);
    let mut batch = bee.batch().unwrap();
    let refused = batch.del(b"x", "");
    assert!(
        matches!(refused, Err(Error::BadBlock { seq: 3, what: BlockFault::Uneven })),
        "{refused:?}"
    );
    // The batch goes on as if nothing had been tried.
    assert_eq!(batch.del(b"y", "").unwrap(), None);
    assert_eq!(batch.put(b"z", Some(""), "").unwrap(), 6);
}

/// Another protocol, or garbage, in block 0 is refused when the tree is opened.
#[test]
fn other_logs_are_refused() {
    let log = new_log();
    log.append(&[[0x0a, 5, b'h', b'e', b'l', b'l', b'o']]).unwrap();
    let refused = Bee::open(log, BeeOptions::default()).map(|_| ());
    assert!(matches!(refused, Err(Error::NotABee { protocol }) if protocol == "hello"));
    let log = new_log();
    log.append(&["garbage"]).unwrap();
    let refused = Bee::open(log, BeeOptions::default()).map(|_| ());
    assert!(matches!(refused, Err(Error::BadBlock { seq: 0, .. })));
}

/// Numbers at the edge of their type do no harm.
#[test]
fn huge_numbers_are_refused() {
    for n in [u64::MAX, u64::MAX - 1, 1 << 53, 1 << 32] {
        assert_fault(&[block("m", &[(&[n], &[])])], "a", 1, BlockFault::Forward { seq: n });
        let levels: &[(&[u64], &[u64])] = &[(&[1], &[1, n, 1, n])];
        assert_fault(&[block("m", levels)], "a", 1, BlockFault::NoLevel { level: n });
    }
}

proptest! {
    /// No bytes make the decoders panic, and what a block says can be told without panic too.
    #[test]
    fn any_bytes_decode_or_fail(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = Header::decode(&bytes);
        if let Ok(block) = Block::decode(bytes) {
            let levels: Result<Vec<Level>, DecodeError> = block.levels();
            prop_assert!(levels.is_err() || levels.unwrap().len() <= 100);
            prop_assert!(block.extra().len() + block.key().len() <= 200);
        }
    }

    /// Whatever rots in a tree's blocks, reading and writing it ends, without panic.
    #[test]
    fn rotten_trees_do_no_harm(
        rot in vec((1..120_usize, any::<prop::sample::Index>(), any::<u8>()), 1..12),
        ops in vec((any::<bool>(), 0..140_u64), 0..30),
    ) {
        let sound = new_bee();
        for i in 0..119_u64 {
            sound.put(&scrambled(i), Some("value")).unwrap();
        }
        let mut blocks: Vec<Vec<u8>> = (1..120)
            .map(|seq| sound.log().get(seq).unwrap().unwrap().to_vec())
            .collect();
        for (seq, at, byte) in rot {
            let block = &mut blocks[seq - 1];
            let at = at.index(block.len());
            block[at] = byte;
        }
        let bee = bee_of(&blocks);
        let tree = bee.snapshot().unwrap();
        for reverse in [false, true] {
            let options = RangeOptions { reverse, ..RangeOptions::default() };
            prop_assert!(tree.range(options.clone()).count() <= 121);
            let union = Union::new(vec![sound.snapshot().unwrap(), tree.clone()]);
            prop_assert!(union.range(options, |found| found.last()).count() <= 121 + 119);
        }
        if let Ok(check) = tree.check(|_| {}) {
            prop_assert!(check.findings.len() <= 256 && check.entries <= 120);
            let range: Result<Vec<_>, _> = tree.range(RangeOptions::default()).collect();
            let is_read = range.is_ok_and(|entries| entries.len() as u64 == check.entries);
            prop_assert!(is_read || !check.is_sound(), "what is sound can be read");
        }
        let mut batch = bee.batch().unwrap();
        for (put, i) in ops {
            let _ = tree.get(&scrambled(i));
            let key = scrambled(i);
            let _ = if put { batch.put(&key, Some(""), "").map(Some) } else { batch.del(&key, "") };
        }
        batch.flush().unwrap();
    }
}
