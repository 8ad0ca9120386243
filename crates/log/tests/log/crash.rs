use std::sync::atomic::Ordering;

use multibee_log::{Durability, Error, Log, LogOptions, MemoryStorage, Part, Storage};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::keys;
use crate::unsafe_disk::UnsafeDisk;

fn options(durability: Durability) -> LogOptions {
    LogOptions { durability, ..LogOptions::default() }
}

/// Asserts that all blocks are there and as they were written.
fn assert_sound(log: &Log, block: impl Fn(u64) -> Vec<u8>) {
    assert_eq!(log.contiguous_len(), log.len());
    for number in 0..log.len() {
        assert_eq!(log.get(number).unwrap().unwrap(), block(number), "block {number}");
    }
}

/// Wherever the last entry is cut, with or without its blocks, the log opens with the old length or
/// the new one, all blocks verify, and appending goes on.
#[test]
fn torn_tails_are_dropped() {
    let block = |number: u64| vec![number as u8; 20];
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    log.append(&[block(0), block(1)]).unwrap();
    let before = storage.len(Part::Oplog).unwrap();
    log.append(&[block(2), block(3), block(4)]).unwrap();
    let end = storage.len(Part::Oplog).unwrap();
    drop(log);
    for len in before..=end {
        for data_len in [40, 41, 60, 99, 100] {
            let cut = storage.deep_clone();
            cut.truncate(Part::Oplog, len).unwrap();
            cut.truncate(Part::Data, data_len).unwrap();
            let log = Log::open(cut.clone(), LogOptions::default()).unwrap();
            let is_whole = len == end && data_len == 100;
            assert_eq!(log.len(), if is_whole { 5 } else { 2 }, "oplog {len}, data {data_len}");
            assert_sound(&log, block);
            log.append(&[block(log.len())]).unwrap();
            let head = log.head();
            drop(log);
            let log = Log::open(cut, LogOptions::default()).unwrap();
            assert_eq!(log.head(), head);
            assert_sound(&log, block);
        }
    }
}

/// Blocks that did not arrive take the commits after them along when those were only buffered.
#[test]
fn buffered_commits_end_before_the_first_lost_block() {
    let block = |number: u64| vec![number as u8 + 1; 20];
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), options(Durability::Buffered)).unwrap();
    for number in 0..6 {
        log.append(&[block(number)]).unwrap();
    }
    drop(log);
    storage.write_at(Part::Data, 65, &[0]).unwrap();
    let log = Log::open(storage, options(Durability::Buffered)).unwrap();
    assert_eq!(log.len(), 3);
    assert_sound(&log, block);
}

/// A block that rots after it was synced is reported when read, and takes no commit with it.
#[test]
fn rot_is_reported_and_takes_no_commit_along() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    for number in 0..6 {
        log.append(&[[number; 20]]).unwrap();
    }
    drop(log);
    storage.write_at(Part::Data, 65, &[0]).unwrap();
    let log = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!(log.len(), 6);
    assert!(matches!(log.get(3), Err(Error::Corrupt { part: Part::Data, offset: 60, .. })));
    assert_eq!(log.get(4).unwrap().unwrap(), [4; 20].as_slice());
}

/// After a failed sync nothing was acknowledged, nothing more is accepted, and reading goes on.
#[test]
fn a_failed_sync_ends_writing() {
    let disk = UnsafeDisk::default();
    let log = Log::create(disk.clone(), keys(), LogOptions::default()).unwrap();
    log.append(&["one"]).unwrap();
    disk.fails_syncs.store(true, Ordering::SeqCst);
    assert!(matches!(log.append(&["two"]), Err(Error::Io(_))));
    disk.fails_syncs.store(false, Ordering::SeqCst);
    assert!(matches!(log.append(&["three"]), Err(Error::ReadOnlyAfterFailedSync)));
    assert!(matches!(log.sync(), Err(Error::ReadOnlyAfterFailedSync)));
    assert_eq!((log.len(), log.durable_len()), (1, 1));
    assert_eq!(log.get(0).unwrap().unwrap(), "one");
    drop(log);
    // Opened anew, the log is one of the two that it may be.
    let log = Log::open(disk, LogOptions::default()).unwrap();
    assert_eq!(log.append(&["four"]).unwrap(), 3);
}

/// Only what is durable is told and proven to others.
#[test]
fn buffered_commits_become_durable_by_sync() {
    let disk = UnsafeDisk::default();
    let log = Log::create(disk.clone(), keys(), options(Durability::Buffered)).unwrap();
    log.append(&["one"]).unwrap();
    log.sync().unwrap();
    let head = log.head();
    log.append(&["two"]).unwrap();
    assert_eq!((log.len(), log.durable_len()), (2, 1));
    assert_eq!(log.durable_head(), head);
    let upgrade = Some(multibee_log::RequestUpgrade { start: 0, length: 1 });
    let request = multibee_log::Request { upgrade, ..Default::default() };
    let proof = log.prove(&request).unwrap();
    assert_eq!(proof.upgrade.unwrap().signature, head.unwrap().signature);
    disk.fails_syncs.store(true, Ordering::SeqCst);
    assert!(log.sync().is_err());
    assert_eq!((log.len(), log.durable_len()), (2, 1));
}

/// However many writes succeed before the disk is full, the log is as before the failed append, and
/// goes on when there is room again.
#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    for allowed in 0..12 {
        let disk = UnsafeDisk::default();
        let log = Log::create(disk.clone(), keys(), LogOptions::default()).unwrap();
        disk.allow_writes(allowed);
        let block = |number: u64| vec![number as u8; 3];
        let mut next = 0;
        for _ in 0..4 {
            let blocks: Vec<_> = (next..next + 400).map(block).collect();
            match log.append(&blocks) {
                Ok(len) => next = len,
                Err(error) => assert!(matches!(error, Error::Io(_)), "{error}"),
            }
            assert_eq!(log.len(), next);
        }
        disk.allow_writes(u64::MAX);
        for _ in 0..3 {
            let blocks: Vec<_> = (next..next + 400).map(block).collect();
            next = log.append(&blocks).unwrap();
        }
        drop(log);
        let log = Log::open(disk, LogOptions::default()).unwrap();
        assert_eq!(log.len(), next, "{allowed} writes");
        assert_sound(&log, block);
    }
}

/// Entries that are left from two headers ago look current again; they do not set the log back.
#[test]
fn stale_entries_do_not_set_the_log_back() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    log.append(&["first"]).unwrap();
    let mut stale = vec![0; storage.len(Part::Oplog).unwrap() as usize - 8192];
    storage.read_at(Part::Oplog, 8192, &mut stale).unwrap();
    for _ in 0..2 {
        log.append(&vec!["block"; 1000]).unwrap();
        log.flush().unwrap();
        assert_eq!(storage.len(Part::Oplog).unwrap(), 8192, "the entries were flushed");
    }
    let head = log.head();
    drop(log);
    storage.write_at(Part::Oplog, 8192, &stale).unwrap();
    let log = Log::open(storage.clone(), LogOptions::default()).unwrap();
    assert_eq!(log.head(), head);
    assert_eq!(storage.len(Part::Oplog).unwrap(), 8192, "what is stale is removed");
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Sync,
    Reopen,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the disk loses in a power cut: the log opens with a committed length, no less than
    /// what was durable, its head is the one signed then, all blocks verify, and it goes on. A
    /// second cut while it was opened changes nothing.
    #[test]
    fn power_cuts_lose_no_durable_commit(
        steps in vec(prop_oneof![
            5 => (1..6_u64).prop_map(Step::Append),
            2 => (300..500_u64).prop_map(Step::Append),
            1 => Just(Step::Sync),
            1 => Just(Step::Reopen),
        ], 1..12),
        is_buffered: bool,
        losses in vec(0..4_u8, 64),
    ) {
        let durability = if is_buffered { Durability::Buffered } else { Durability::Immediate };
        let block = |number: u64| number.to_le_bytes()[..(number % 7) as usize].to_vec();
        let disk = UnsafeDisk::default();
        let mut log = Log::create(disk.clone(), keys(), options(durability)).unwrap();
        let mut heads = vec![None];
        for step in steps {
            match step {
                Step::Append(count) => {
                    let blocks: Vec<_> = (log.len()..log.len() + count).map(block).collect();
                    log.append(&blocks).unwrap();
                    heads.push(log.head());
                }
                Step::Sync => log.sync().unwrap(),
                Step::Reopen => {
                    drop(log);
                    log = Log::open(disk.clone(), options(durability)).unwrap();
                }
            }
        }
        let durable_len = log.durable_len();
        drop(log);
        let mut losses = losses.into_iter().cycle();
        let storage = disk.after_power_cut(|| losses.next() != Some(0));
        for _ in 0..2 {
            let log = Log::open(storage.clone(), options(durability)).unwrap();
            prop_assert!(log.len() >= durable_len);
            prop_assert!(heads.contains(&log.head()), "the head was signed before");
            assert_sound(&log, block);
        }
        let log = Log::open(storage, options(durability)).unwrap();
        log.append(&[block(log.len())]).unwrap();
        assert_sound(&log, block);
    }
}
