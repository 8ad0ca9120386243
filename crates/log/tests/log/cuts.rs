//! Truncating, clearing, and giving back room.

use std::sync::atomic::{AtomicBool, Ordering};

use multibee_log::testing::{Effort, Event, RecordingStorage};
use multibee_log::{Error, FileStorage, Log, LogOptions, MemoryStorage, Part, Request, Storage};
use proptest::prelude::*;

use crate::keys;

/// A log is cut only to what it has and to higher forks, and only by its writer.
#[test]
fn cuts_are_checked() {
    let log = Log::create(MemoryStorage::new(), keys(), LogOptions::default()).unwrap();
    log.append(&["a", "b"]).unwrap();
    assert!(matches!(log.truncate(3), Err(Error::InvalidRequest { .. })));
    assert_eq!(log.truncate_to_fork(1, 9).unwrap(), 9);
    let error = log.truncate_to_fork(0, 9).unwrap_err();
    assert!(matches!(error, Error::InvalidFork { ours: 9, asked: 9 }));
    assert_eq!(log.truncate(0).unwrap(), 10);
    assert_eq!((log.len(), log.fork(), log.head()), (0, 10, None));
    let replica =
        Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default()).unwrap();
    assert!(matches!(replica.truncate(0), Err(Error::NotWritable)));
}

/// Blocks and proofs read while the log is cut and grown again are of one of its histories, never
/// of a mixture, and never an error.
#[test]
fn readers_are_not_disturbed_by_cuts() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage, keys(), LogOptions::default()).unwrap();
    let block = |fork: u64, number: u64| format!("{fork} {number}").into_bytes();
    let is_done = AtomicBool::new(false);
    log.append(&(0..100).map(|number| block(0, number)).collect::<Vec<_>>()).unwrap();
    std::thread::scope(|scope| {
        for seed in 1..3_u64 {
            let (log, is_done) = (&log, &is_done);
            scope.spawn(move || {
                let mut number = seed;
                while !is_done.load(Ordering::Relaxed) {
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let wanted = (number >> 33) % 100;
                    if let Some(read) = log.get(wanted).unwrap() {
                        assert!(read.ends_with(format!(" {wanted}").as_bytes()));
                    }
                    let upgrade = multibee_log::RequestUpgrade { start: 0, length: 50 };
                    let request = Request { upgrade: Some(upgrade), ..Request::default() };
                    let proof = log.prove(&request).unwrap();
                    let options = LogOptions::default();
                    let replica =
                        Log::create_replica(MemoryStorage::new(), log.key(), options).unwrap();
                    let manifest = log.manifest();
                    replica.apply(&multibee_log::Proof { manifest, ..proof }).unwrap();
                }
            });
        }
        for fork in 1..60 {
            let len = 50 + fork % 40;
            log.truncate(len).unwrap();
            let blocks: Vec<_> = (len..100).map(|number| block(fork, number)).collect();
            log.append(&blocks).unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

/// A writer that clears and cuts, and a reader that has read everything before: no block of the
/// past comes back from a cache.
#[test]
fn caches_forget_what_was_cut() {
    let log = Log::create(MemoryStorage::new(), keys(), LogOptions::default()).unwrap();
    for round in 0..5_u8 {
        log.append(&vec![[round; 50]; 300]).unwrap();
        log.flush().unwrap();
        for number in 0..300 {
            assert_eq!(log.get(number).unwrap().unwrap(), [round; 50].as_slice());
        }
        log.truncate(0).unwrap();
    }
}

/// Cleared blocks are gone, can be proven no more, and come back from any other copy.
#[test]
fn cleared_blocks_can_be_fetched_again() {
    let source = Log::create(MemoryStorage::new(), keys(), LogOptions::default()).unwrap();
    source.append(&(0..10_u8).map(|n| vec![n; 30]).collect::<Vec<_>>()).unwrap();
    let storage = MemoryStorage::new();
    let copy = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    copy.append(&(0..10_u8).map(|n| vec![n; 30]).collect::<Vec<_>>()).unwrap();
    copy.clear(2..5).unwrap();
    let mut data = vec![1; 300];
    storage.read_at(Part::Data, 0, &mut data).unwrap();
    assert!(data[60..150].iter().all(|&byte| byte == 0), "the bytes are gone");
    let block = Some(multibee_log::RequestBlock { index: 3, nodes: 0 });
    let request = Request { block, ..Request::default() };
    assert!(matches!(copy.prove(&request), Err(Error::NotAvailable { .. })));
    copy.apply(&source.prove(&request).unwrap()).unwrap();
    assert_eq!(copy.held(0..10), [0..2, 3..4, 5..10]);
    assert_eq!(copy.get(3).unwrap().unwrap(), [3; 30].as_slice());
    drop(copy);
    let copy = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!(copy.held(0..10), [0..2, 3..4, 5..10]);
    assert_eq!(copy.get(3).unwrap().unwrap(), [3; 30].as_slice());
}

/// Several ranges are dropped with one wait for the disk, together or not at all whenever the power
/// fails; ranges may touch, overlap, be empty, or reach beyond the end.
#[test]
fn several_ranges_are_cleared_at_once() {
    let disk = RecordingStorage::new();
    let log = Log::create(disk.clone(), keys(), LogOptions::default()).unwrap();
    log.append(&(0..40_u8).map(|n| vec![n; 300]).collect::<Vec<_>>()).unwrap();
    let before = disk.event_count();
    let ranges = [30..99, 2..5, 5..7, 4..6, 12..12, 20..21, 50..60];
    log.clear_all(&ranges).unwrap();
    let held = vec![0..2, 7..20, 21..30];
    assert_eq!(log.held(0..40), held);
    let recording = disk.recording();
    let is_sync = |event: &&Event| matches!(event, Event::Sync { part: Part::Oplog });
    assert_eq!(recording.events()[before..].iter().filter(is_sync).count(), 1);
    let image = disk.image().bytes(Part::Data);
    let is_zero = |block: usize| image[block * 300..][..300].iter().all(|byte| *byte == 0);
    assert!([2, 3, 4, 5, 6, 20, 30, 39].into_iter().all(is_zero), "the bytes are gone");
    for at in before..=disk.event_count() {
        for crash in recording.crash(at, Effort { exhaustive: 8, samples: 8, seed: 1 }) {
            let log = Log::open(crash.image().to_storage(), LogOptions::default()).unwrap();
            let found = log.held(0..40);
            let is_done = at == disk.event_count();
            assert!(found == held || log.contiguous_len() == 40 && !is_done, "event {at}: {crash}");
            assert!(log.audit(|_| {}).unwrap().is_clean(), "event {at}: {crash}");
        }
    }
    let events = disk.event_count();
    log.clear_all(&ranges).unwrap();
    log.clear_all(&[]).unwrap();
    assert_eq!(disk.event_count(), events, "nothing is left to do");
}

/// In files, cleared blocks give back their room at once, and what lies behind the last block when
/// asked. The figures say so.
#[cfg(target_os = "linux")]
#[test]
fn room_is_given_back() {
    let temp = tempfile::tempdir().unwrap();
    let storage = FileStorage::create(temp.path().join("log")).unwrap();
    let log = Log::create(storage, keys(), LogOptions::default()).unwrap();
    log.append(&vec![vec![7; 10_000]; 100]).unwrap();
    log.sync().unwrap();
    let allocated = || {
        let info = log.info().unwrap();
        let data = info.parts.iter().find(|part| part.part == Part::Data).unwrap();
        (data.allocated, info.reclaimable_bytes)
    };
    let (before, reclaimable) = allocated();
    assert!(before >= 1_000_000 && reclaimable < 10_000, "{before}, {reclaimable}");
    log.clear(10..60).unwrap();
    let (cleared, _) = allocated();
    assert!(cleared + 480_000 < before, "{cleared} of {before}");
    log.truncate(80).unwrap();
    let (cut, reclaimable) = allocated();
    assert!(reclaimable > 180_000, "{reclaimable} of {cut}");
    assert!(log.reclaim().unwrap() > 180_000);
    let info = log.info().unwrap();
    assert_eq!((info.held_blocks, info.held_bytes, info.gaps), (30, 300_000, 1));
    assert!(info.reclaimable_bytes < 10_000);
    assert_eq!(log.get(79).unwrap().unwrap(), vec![7; 10_000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cleared and in whatever order, what is held reads right: holes never reach into
    /// blocks that are held.
    #[test]
    fn holes_touch_nothing_held(
        sizes in prop::collection::vec(0..6000_usize, 1..40),
        ranges in prop::collection::vec((0..40_u64, 1..10_u64), 0..8),
    ) {
        let storage = MemoryStorage::new();
        let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
        let blocks: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(number, size)| vec![number as u8 + 1; *size]).collect();
        log.append(&blocks).unwrap();
        for (start, count) in ranges {
            log.clear(start..start + count).unwrap();
            for run in log.held(0..u64::MAX) {
                for number in run {
                    prop_assert_eq!(&log.get(number)?.unwrap(), &blocks[number as usize]);
                }
            }
        }
    }
}
