//! Finding damage, and mending it.

use multibee_log::{
    Error, Finding, Log, LogOptions, MemoryStorage, Part, Progress, Proof, Request, Result, Storage,
};
use proptest::prelude::*;

use crate::keys;

fn block(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 7 % 50) as usize]
}

/// A writer's log of `len` blocks, all in their places.
fn flushed(len: u64) -> (Log, MemoryStorage) {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    log.append(&(0..len).map(block).collect::<Vec<_>>()).unwrap();
    log.flush().unwrap();
    (log, storage)
}

fn open(storage: &MemoryStorage) -> Result<Log> {
    Log::open(storage.clone(), LogOptions::default())
}

fn assert_whole(log: &Log, len: u64) {
    assert_eq!(log.contiguous_len(), len);
    for number in 0..len {
        assert_eq!(log.get(number).unwrap().unwrap(), block(number), "block {number}");
    }
}

fn nobody(_: &Request) -> Result<Proof> {
    Err(Error::NotAvailable { index: 0 })
}

/// A sound log has a clean audit that has seen all of it and told how far it is; so has a sparse
/// copy.
#[test]
fn sound_logs_are_clean() {
    let (log, _) = flushed(10_000);
    log.append(&["not flushed"]).unwrap();
    let mut told: Vec<Progress> = Vec::new();
    let audit = log.audit(|progress| told.push(progress)).unwrap();
    assert!(audit.is_clean());
    assert_eq!((audit.blocks, audit.nodes), (10_001, 2 * 10_001 - 6), "six roots of 10,001 blocks");
    assert!(told.is_sorted_by_key(|progress| progress.done) && told.len() > 2);
    assert_eq!(told.last().unwrap(), &Progress { done: 10_001, total: 10_001 });

    let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default()).unwrap();
    let upgrade = Some(multibee_log::RequestUpgrade { start: 0, length: 10_001 });
    let request = Request { upgrade, manifest: true, ..Request::default() };
    copy.apply(&log.prove(&request).unwrap()).unwrap();
    for index in [0, 77, 5000, 9999] {
        let nodes = copy.missing_nodes(2 * index).unwrap();
        let block = Some(multibee_log::RequestBlock { index, nodes });
        copy.apply(&log.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
    }
    let audit = copy.audit(|_| ()).unwrap();
    assert_eq!((audit.is_clean(), audit.blocks), (true, 4));
}

/// Nodes that rot while the data is there are computed anew, without any other copy.
#[test]
fn nodes_are_mended_from_what_is_stored() {
    let is_whole = |index: &u64| multibee_log::flat_tree::right_span(*index) < 40;
    for index in (0..39).filter(is_whole) {
        let (log, storage) = flushed(20);
        let mut byte = [0];
        storage.read_at(Part::Tree, 40 * index + 20, &mut byte).unwrap();
        storage.write_at(Part::Tree, 40 * index + 20, &[byte[0] ^ 1]).unwrap();
        let audit = log.audit(|_| ()).unwrap();
        assert!(audit.findings.contains(&Finding::BadNode { index }), "{index}: {audit:?}");
        let repair = log.repair(nobody, |_| ()).unwrap();
        assert!(repair.remaining.is_clean() && repair.mended > 0, "{index}: {repair:?}");
        assert_whole(&log, 20);
        drop(log);
        assert_whole(&open(&storage).unwrap(), 20);
    }
}

/// A block that rots is found, and stays bad until another copy helps; a lying one does not.
#[test]
fn blocks_come_from_another_copy() {
    let (source, _) = flushed(20);
    let (log, storage) = flushed(20);
    storage.write_at(Part::Data, 100, b"rot").unwrap();
    let audit = log.audit(|_| ()).unwrap();
    let [Finding::BadBlock { seq }] = audit.findings[..] else { panic!("{audit:?}") };
    assert!(matches!(log.get(seq), Err(Error::Corrupt { part: Part::Data, .. })));
    let repair = log.repair(nobody, |_| ()).unwrap();
    assert_eq!((repair.fetched_blocks, repair.remaining), (0, audit));
    let liar = |request: &Request| {
        let mut proof = source.prove(request)?;
        if let Some(block) = &mut proof.block {
            block.value = b"lies"[..].into();
        }
        Ok(proof)
    };
    assert!(!log.repair(liar, |_| ()).unwrap().remaining.is_clean());
    let repair = log.repair(|request| source.prove(request), |_| ()).unwrap();
    assert!(repair.remaining.is_clean() && repair.fetched_blocks == 1, "{repair:?}");
    assert_whole(&log, 20);
}

/// Wherever nodes are damaged, and whatever the other copy lacks: a repair leaves the data of all
/// blocks as it was.
#[test]
fn repairs_write_over_no_good_block() {
    let len = 100;
    let (source, _) = flushed(len);
    let good = (0..len).flat_map(block).collect::<Vec<_>>();
    for fill in [0, 7, 0xff] {
        // Up to just behind a node's size, so that its hash is right.
        for end in (10..2 * len - 10).map(|index| 40 * index + 8) {
            let (log, storage) = flushed(len);
            drop(log);
            storage.write_at(Part::Tree, end - 208, &[fill; 208]).unwrap();
            let Ok(log) = open(&storage) else { continue };
            let odd_ones = |request: &Request| match request.block {
                Some(block) if block.index % 2 == 1 => source.prove(request),
                _ => nobody(request),
            };
            log.repair(odd_ones, |_| ()).unwrap();
            let mut data = vec![0; good.len()];
            storage.read_at(Part::Data, 0, &mut data).unwrap();
            assert!(data == good, "{end} {fill}");
            let repair = log.repair(|request| source.prove(request), |_| ()).unwrap();
            assert!(repair.remaining.is_clean(), "{end} {fill}: {repair:?}");
            assert_whole(&log, len);
        }
    }
}

/// Nodes above one another that rot together are mended too, with the help of a copy that has none of
/// the blocks below them.
#[test]
fn nodes_come_from_a_copy_without_their_blocks() {
    let (writer, _) = flushed(64);
    let helper = Log::create_replica(MemoryStorage::new(), writer.key(), LogOptions::default());
    let helper = helper.unwrap();
    let fetch = |index, upgrade| {
        let nodes = helper.missing_nodes(2 * index).unwrap();
        let block = Some(multibee_log::RequestBlock { index, nodes });
        let request = Request { block, upgrade, manifest: true, ..Request::default() };
        helper.apply(&writer.prove(&request).unwrap()).unwrap();
    };
    fetch(0, Some(multibee_log::RequestUpgrade { start: 0, length: 64 }));
    (1..64).for_each(|index| fetch(index, None));
    helper.clear(0..32).unwrap();

    let (log, storage) = flushed(64);
    drop(log);
    // Above blocks 4 to 8 and 4 to 16: what is stored below the upper one does not bear it out.
    for index in [11_u64, 7] {
        storage.write_at(Part::Tree, 40 * index + 20, b"rot").unwrap();
    }
    let log = open(&storage).unwrap();
    assert!(!log.repair(nobody, |_| ()).unwrap().remaining.is_clean());
    let repair = log.repair(|request| helper.prove(request), |_| ()).unwrap();
    assert!(repair.remaining.is_clean() && repair.fetched_blocks == 0, "{repair:?}");
    assert_whole(&log, 64);
}

/// Whatever file is lost: the log opens or gives a typed error, and is whole again after a repair or
/// restoration. It stays writable where it is sure how long it was.
#[test]
fn lost_files_come_back() {
    let (source, _) = flushed(300);
    for part in [Part::Oplog, Part::Tree, Part::Data, Part::Bitfield, Part::Key] {
        let (log, storage) = flushed(300);
        drop(log);
        storage.truncate(part, 0).unwrap();
        let answer = |request: &Request| source.prove(request);
        let log = match open(&storage) {
            Ok(log) => {
                let repair = log.repair(answer, |_| ()).unwrap();
                assert!(repair.remaining.is_clean(), "{part}: {repair:?}");
                log
            }
            Err(Error::Corrupt { .. } | Error::WrongStorage { .. }) => {
                let options = LogOptions::default();
                let key = Some(source.key());
                let (log, restored) =
                    Log::restore(storage.clone(), key, options, answer, |_| ()).unwrap();
                assert_eq!((restored.fetched_blocks, restored.missing_blocks), (300, 0), "{part}");
                log
            }
            Err(error) => panic!("{part}: {error}"),
        };
        if part == Part::Bitfield {
            // There is no telling a lost empty block from a dropped one.
            for index in (0..300).filter(|index| !log.has(*index)) {
                assert_eq!(block(index), []);
                let block = Some(multibee_log::RequestBlock { index, nodes: 0 });
                log.apply(&answer(&Request { block, ..Request::default() }).unwrap()).unwrap();
            }
        }
        assert_whole(&log, 300);
        assert!(log.audit(|_| ()).unwrap().is_clean());
        assert_eq!(log.is_writable(), part != Part::Oplog && part != Part::Key, "{part}");
        assert_eq!(log.head(), source.head());
        if log.is_writable() {
            log.append(&[block(300)]).unwrap();
        }
        let len = log.len();
        drop(log);
        assert_whole(&open(&storage).unwrap(), len);
    }
}

/// A log is not restored from an older copy of itself, nor from a copy of another fork.
#[test]
fn older_copies_do_not_replace() {
    let (source, _) = flushed(20);
    let (log, storage) = flushed(20);
    log.append(&["one more"]).unwrap();
    drop(log);
    storage.truncate(Part::Tree, 0).unwrap();
    assert!(open(&storage).is_err());
    let restore = |source: &Log| {
        let answer = |request: &Request| source.prove(request);
        Log::restore(storage.clone(), None, LogOptions::default(), answer, |_| ())
    };
    assert!(matches!(restore(&source), Err(Error::Outdated { start: 20, ours: 21 })));
    source.append(&["one more"]).unwrap();
    source.truncate(21).unwrap();
    assert!(matches!(restore(&source), Err(Error::ForkMismatch { ours: 0, theirs: 1 })));
    let (source, _) = flushed(20);
    source.append(&["one more", "another"]).unwrap();
    let (log, _) = restore(&source).unwrap();
    assert_eq!((log.len(), log.is_writable()), (22, true));
    // As before: also the block that was not in its place yet.
    assert_eq!((log.contiguous_len(), log.has(21)), (21, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes of tree, data and bits are changed, and whatever is cut off: reading gives
    /// right blocks or errors, and a repair, or else a restoration, makes the log sound. A
    /// block of which both bit and bytes are gone is one that is not held, and can be fetched like
    /// any such.
    #[test]
    fn damage_is_mended(
        len in 1..200_u64,
        flips in prop::collection::vec((0..3_usize, 0.0..1.0, 1..255_u8), 0..8),
        cut in prop::option::of((0..3_usize, 0.0..1.0)),
    ) {
        let parts = [Part::Tree, Part::Data, Part::Bitfield];
        let (source, _) = flushed(len);
        let (log, storage) = flushed(len);
        drop(log);
        let at = |part, share: f64| (storage.len(part).unwrap() as f64 * share) as u64;
        for (part, share, mask) in flips {
            let (part, mut byte) = (parts[part], [0]);
            if storage.read_at(part, at(part, share), &mut byte).unwrap() == 1 {
                storage.write_at(part, at(part, share), &[byte[0] ^ mask]).unwrap();
            }
        }
        if let Some((part, share)) = cut {
            storage.truncate(parts[part], at(parts[part], share)).unwrap();
        }
        let answer = |request: &Request| source.prove(request);
        let log = match open(&storage) {
            Ok(log) => {
                for number in 0..len {
                    if let Ok(Some(read)) = log.get(number) {
                        prop_assert_eq!(read, block(number));
                    }
                }
                let repair = log.repair(answer, |_| ()).unwrap();
                prop_assert!(repair.remaining.is_clean(), "{:?}", repair);
                log
            }
            Err(Error::Corrupt { .. }) => {
                let options = LogOptions::default();
                Log::restore(storage.clone(), None, options, answer, |_| ()).unwrap().0
            }
            Err(error) => panic!("{error}"),
        };
        for index in (0..len).filter(|index| !log.has(*index)) {
            let nodes = log.missing_nodes(2 * index).unwrap();
            let block = Some(multibee_log::RequestBlock { index, nodes });
            log.apply(&answer(&Request { block, ..Request::default() }).unwrap()).unwrap();
        }
        assert_whole(&log, len);
        prop_assert!(log.audit(|_| ()).unwrap().is_clean());
        drop(log);
        assert_whole(&open(&storage).unwrap(), len);
    }
}
