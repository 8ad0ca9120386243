use std::io::ErrorKind;

use multibee_log::testing::{FaultyStorage, Image};
use multibee_log::{Durability, Error, Log, LogOptions, MemoryStorage, Part, Storage};
use proptest::prelude::*;

use crate::keys;

/// Blocks of one append whose nodes go straight to their places.
const COUNT: u64 = 300;

fn buffered() -> LogOptions {
    LogOptions { durability: Durability::Buffered, ..LogOptions::default() }
}

fn blocks(salt: u8, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| [&[salt; 9], &number.to_le_bytes()[..]].concat()).collect()
}

/// A log of one small append and so many large ones, as a program leaves it that dies.
fn left_by_dying(salts: &[u8]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), buffered()).unwrap();
    log.append(&["first", "second", "third"]).unwrap();
    for salt in salts {
        log.append(&blocks(*salt, COUNT)).unwrap();
    }
    storage.deep_clone()
}

fn open(storage: &MemoryStorage) -> Log {
    Log::open(storage.clone(), buffered()).unwrap()
}

/// The log holds the small append and these large ones, in order; it goes on, and is then sound.
fn assert_holds(storage: &MemoryStorage, salts: &[u8]) {
    let log = open(storage);
    assert_eq!(log.len(), 3 + COUNT * salts.len() as u64);
    for (salt, first) in salts.iter().zip((3..).step_by(COUNT as usize)) {
        for (number, block) in (first..).zip(blocks(*salt, COUNT)) {
            assert_eq!(log.get(number).unwrap().unwrap(), block);
        }
    }
    log.append(&["one more"]).unwrap();
    log.append(&blocks(77, COUNT)).unwrap();
    log.flush().unwrap();
    let audit = log.audit(|_| ()).unwrap();
    assert!(audit.is_clean(), "{:?}", audit.findings);
    let len = log.len();
    drop(log);
    let log = open(storage);
    assert_eq!(log.len(), len);
    assert_eq!(log.get(len - 1).unwrap().unwrap(), *blocks(77, COUNT).last().unwrap());
}

/// Nodes of a large append are in the part `Tree` at once and not in the oplog, where nobody waits
/// for each append; with `Immediate` it is the other way round.
#[test]
fn nodes_of_large_appends_are_written_once() {
    for durability in [Durability::Immediate, Durability::Buffered, Durability::None] {
        let storage = MemoryStorage::new();
        let options = LogOptions { durability, ..LogOptions::default() };
        let log = Log::create(storage.clone(), keys(), options).unwrap();
        log.append(&blocks(1, COUNT)).unwrap();
        let waits = durability == Durability::Immediate;
        let expected = if waits { 0 } else { 40 * (2 * COUNT - 1) };
        assert_eq!(storage.len(Part::Tree).unwrap(), expected, "{durability:?}");
        log.sync().unwrap();
        let entry_bytes = log.info().unwrap().entry_bytes;
        assert_eq!(entry_bytes < 200, !waits, "{durability:?}: {entry_bytes}");
    }
}

/// What a program wrote that died is all there, also to those who read along.
#[test]
fn large_appends_survive_the_program() {
    let storage = left_by_dying(&[1, 2, 3]);
    let reader = Log::open_read_only(storage.deep_clone(), LogOptions::default()).unwrap();
    assert_eq!((reader.len(), reader.durable_len()), (3 + 3 * COUNT, 0));
    assert_eq!(reader.get(3).unwrap().unwrap(), blocks(1, 1)[0]);
    assert_holds(&storage, &[1, 2, 3]);
}

/// Blocks and nodes that fit each other, and come from another history, do not pass for those that
/// were signed: such an append is dropped, and the one before it stays.
#[test]
fn another_history_is_not_believed() {
    let (ours, other) = (left_by_dying(&[1, 2]), left_by_dying(&[1, 9]));
    for part in [Part::Data, Part::Tree] {
        let mut bytes = vec![0; other.len(part).unwrap() as usize];
        other.read_at(part, 0, &mut bytes).unwrap();
        ours.write_at(part, 0, &bytes).unwrap();
    }
    assert_holds(&ours, &[1]);
}

/// The same where a small append lies between, whose entry has a node above all of the large one: what
/// follows fits that node, and what is below it does not.
#[test]
fn another_history_below_a_known_node_is_not_believed() {
    let left = |salt| {
        let storage = MemoryStorage::new();
        let log = Log::create(storage.clone(), keys(), buffered()).unwrap();
        log.append(&["first", "second", "third"]).unwrap();
        log.append(&blocks(salt, 252)).unwrap();
        // The last of 256.
        log.append(&["single"]).unwrap();
        log.append(&blocks(5, COUNT)).unwrap();
        storage.deep_clone()
    };
    let (ours, other) = (left(1), left(9));
    for (part, len) in [(Part::Data, 16 + 252 * 17), (Part::Tree, 40 * 509)] {
        let mut bytes = vec![0; len];
        other.read_at(part, 0, &mut bytes).unwrap();
        ours.write_at(part, 0, &bytes).unwrap();
    }
    assert_holds(&ours, &[]);
}

/// Where the part `Tree` ends too early the log ends before the append whose nodes are missing.
#[test]
fn a_tree_that_is_cut_off_ends_the_log() {
    let storage = left_by_dying(&[1, 2]);
    storage.truncate(Part::Tree, 40 * 2 * (3 + COUNT)).unwrap();
    assert_holds(&storage, &[1]);
    let storage = left_by_dying(&[1, 2]);
    storage.truncate(Part::Tree, 0).unwrap();
    assert_holds(&storage, &[]);
}

/// If the entry cannot be written the log is as before, and the nodes that are there already are
/// not mixed up with what comes instead.
#[test]
fn a_failed_append_leaves_nothing() {
    for failing in 0..4 {
        let inner = MemoryStorage::new();
        let disk = FaultyStorage::new(inner.clone());
        let log = Log::create(disk.clone(), keys(), buffered()).unwrap();
        log.append(&["first", "second", "third"]).unwrap();
        disk.fail_after(failing, ErrorKind::StorageFull);
        let appended = log.append(&blocks(1, COUNT));
        disk.heal();
        assert!(matches!(appended, Err(Error::Io(_))), "{failing}: {appended:?}");
        assert_eq!(log.len(), 3);
        log.append(&["fourth"]).unwrap();
        log.append(&blocks(2, 40)).unwrap();
        assert_eq!(log.get(43).unwrap().unwrap(), blocks(2, 40)[39]);
        let left = inner.deep_clone();
        for storage in [left, inner] {
            let log = Log::open(storage.deep_clone(), buffered()).unwrap();
            assert_eq!(log.get(4).unwrap().unwrap(), blocks(2, 1)[0]);
            log.flush().unwrap();
            let audit = log.audit(|_| ()).unwrap();
            assert!(audit.is_clean() && log.len() == 44, "{:?}", audit.findings);
        }
    }
}

/// A log is flushed when it is closed if much waits, and left alone if little does or if a sync has
/// failed.
#[test]
fn closing_flushes_if_much_waits() {
    for (count, is_flushed) in [(100, false), (20_000, true)] {
        for durability in [Durability::Immediate, Durability::Buffered, Durability::None] {
            let storage = MemoryStorage::new();
            let options = LogOptions { durability, ..LogOptions::default() };
            let log = Log::create(storage.clone(), keys(), options).unwrap();
            let block = if is_flushed { vec![7; 60] } else { vec![7] };
            drop(log.submit(&vec![block; count]).unwrap());
            drop(log);
            let is_empty = storage.len(Part::Oplog).unwrap() == 8192;
            assert_eq!(is_empty, is_flushed, "{count} {durability:?}");
        }
    }
    let disk = FaultyStorage::new(MemoryStorage::new());
    let log = Log::create(disk.clone(), keys(), buffered()).unwrap();
    log.append(&vec![vec![7; 60]; 20_000]).unwrap();
    disk.fail_after(0, ErrorKind::Other);
    assert!(log.sync().is_err());
    disk.heal();
    let before = Image::of(&disk).unwrap().hash();
    drop(log);
    assert_eq!(Image::of(&disk).unwrap().hash(), before, "nothing is written after that");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever bytes of blocks or nodes are others than those written, the log ends before the
    /// append they belong to, or is as it was where they do not matter.
    #[test]
    fn lost_bytes_end_the_log(
        in_tree: bool, at in 0.0..1.0, len in 1..600_usize, fill in any::<u8>(),
    ) {
        let storage = left_by_dying(&[1, 2, 3]);
        let part = if in_tree { Part::Tree } else { Part::Data };
        // Behind the small append, whose nodes are in its entry.
        let from = if in_tree { 40 * 6 } else { "firstsecondthird".len() as u64 };
        let end = storage.len(part).unwrap();
        let offset = from + ((end - from) as f64 * at) as u64;
        let len = len.min((end - offset) as usize);
        let mut before = vec![0; len];
        storage.read_at(part, offset, &mut before).unwrap();
        storage.write_at(part, offset, &vec![fill; len]).unwrap();
        let kept = open(&storage.deep_clone()).len();
        prop_assert!((kept - 3).is_multiple_of(COUNT), "{kept}");
        let changed = before.iter().position(|byte| *byte != fill);
        let first_kept = match changed {
            Some(changed) if !in_tree => (offset - from + changed as u64) / 17 / COUNT,
            Some(_) => (kept - 3) / COUNT,
            None => 3,
        };
        prop_assert_eq!((kept - 3) / COUNT, first_kept);
        assert_holds(&storage, &[1, 2, 3][..first_kept as usize]);
    }
}
