use multibee_log::{
    Applied, Error, Log, LogOptions, MemoryStorage, Part, Proof, Request, RequestBlock,
    RequestUpgrade, Storage,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::keys;
use crate::unsafe_disk::UnsafeDisk;

fn block(number: u64) -> Vec<u8> {
    vec![number as u8; (number % 11) as usize]
}

fn source(len: u64, compat: bool) -> Log {
    let options = LogOptions { compat, ..LogOptions::default() };
    let log = Log::create(MemoryStorage::new(), keys(), options).unwrap();
    log.append(&(0..len).map(block).collect::<Vec<_>>()).unwrap();
    log
}

fn upgrade(source: &Log, replica: &Log) -> Proof {
    let (start, length) = (replica.len(), source.len() - replica.len());
    let upgrade = Some(RequestUpgrade { start, length });
    let manifest = replica.manifest().is_none();
    source.prove(&Request { upgrade, manifest, ..Request::default() }).unwrap()
}

fn one_block(source: &Log, replica: &Log, index: u64) -> Proof {
    let nodes = replica.missing_nodes(2 * index).unwrap();
    let block = Some(RequestBlock { index, nodes });
    source.prove(&Request { block, ..Request::default() }).unwrap()
}

/// Asserts that the replica holds exactly these blocks, as the source has them.
fn assert_holds(replica: &Log, held: &[u64]) {
    for number in 0..replica.len() + 3 {
        let value = replica.get(number).unwrap();
        let is_held = held.contains(&number);
        assert_eq!(value.map(Vec::from), is_held.then(|| block(number)), "block {number}");
        assert_eq!(replica.has(number), is_held);
    }
    let words = replica.bitfield_words(32, 8);
    for number in 32..32 + 8 * 32 {
        let (word, bit) = ((number as usize - 32) / 32, number % 32);
        assert_eq!(words[word] >> bit & 1 != 0, held.contains(&number));
    }
    let gap = (0..).find(|number| !held.contains(number)).unwrap();
    assert_eq!(replica.contiguous_len(), gap);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A sparse copy gets heads and blocks one by one, in any order, across reopening, and holds
    /// exactly those blocks; it can then prove them to a third.
    #[test]
    fn sparse_copies_hold_what_they_were_given(
        lens in vec(1..120_u64, 1..4), picks in vec((any::<prop::sample::Index>(), 0..10_u8), 0..60),
        compat: bool,
    ) {
        let origin = source(lens[0], compat);
        let storage = MemoryStorage::new();
        let options = LogOptions::default();
        let mut replica =
            Log::create_replica(storage.clone(), origin.key(), options.clone()).unwrap();
        prop_assert!(!replica.is_writable() && replica.head().is_none());
        let (mut held, mut growths) = (Vec::new(), lens[1..].iter());
        replica.apply(&upgrade(&origin, &replica)).unwrap();
        for (pick, event) in picks {
            if event == 0 && let Some(growth) = growths.next() {
                let len = origin.len();
                origin.append(&(len..len + growth).map(block).collect::<Vec<_>>()).unwrap();
                let applied = replica.apply(&upgrade(&origin, &replica)).unwrap();
                prop_assert_eq!(applied.upgraded, Some((len, origin.len())));
            }
            if event == 1 {
                drop(replica);
                replica = Log::open(storage.clone(), options.clone()).unwrap();
            }
            let number = pick.index(replica.len() as usize) as u64;
            let applied = replica.apply(&one_block(&origin, &replica, number)).unwrap();
            prop_assert_eq!(applied, Applied { upgraded: None, block: Some(number) });
            held.push(number);
            prop_assert_eq!(replica.head(), origin.head());
            prop_assert_eq!(replica.durable_len(), replica.len());
        }
        assert_holds(&replica, &held);
        drop(replica);
        let replica = Log::open(storage, options.clone()).unwrap();
        prop_assert_eq!(replica.head(), origin.head());
        assert_holds(&replica, &held);

        let third = Log::create_replica(MemoryStorage::new(), origin.key(), options).unwrap();
        if replica.can_prove_upgrade(0).unwrap() {
            third.apply(&upgrade(&replica, &third)).unwrap();
            for number in &held {
                third.apply(&one_block(&replica, &third, *number)).unwrap();
            }
            assert_holds(&third, &held);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the disk of a sparse copy loses in a power cut: it opens with a head that it had,
    /// all blocks that it says it holds verify, and it can be filled up.
    #[test]
    fn power_cuts_leave_true_blocks(
        batches in vec((1..120_u64, vec(any::<prop::sample::Index>(), 0..900)), 1..5),
        losses in vec(0..4_u8, 64),
    ) {
        let origin = source(2000, false);
        let disk = UnsafeDisk::default();
        let replica =
            Log::create_replica(disk.clone(), origin.key(), LogOptions::default()).unwrap();
        let mut heads = vec![None];
        for (growth, picks) in batches {
            let len = origin.len();
            origin.append(&(len..len + growth).map(block).collect::<Vec<_>>()).unwrap();
            replica.apply(&upgrade(&origin, &replica)).unwrap();
            heads.push(replica.head());
            let proof = |pick: prop::sample::Index| {
                one_block(&origin, &replica, pick.index(replica.len() as usize) as u64)
            };
            let proofs: Vec<_> = picks.into_iter().map(proof).collect();
            for result in replica.apply_all(&proofs).unwrap() {
                result.unwrap();
            }
        }
        drop(replica);
        let mut losses = losses.into_iter().cycle();
        let storage = disk.after_power_cut(|| losses.next() != Some(0));
        let replica = Log::open(storage, LogOptions::default()).unwrap();
        prop_assert!(heads.contains(&replica.head()));
        for number in replica.held(0..u64::MAX).into_iter().flatten() {
            prop_assert_eq!(replica.get(number).unwrap().unwrap(), block(number));
        }
        if replica.len() < origin.len() {
            replica.apply(&upgrade(&origin, &replica)).unwrap();
        }
        for number in (0..replica.len()).step_by(7) {
            replica.apply(&one_block(&origin, &replica, number)).unwrap();
            prop_assert_eq!(replica.get(number).unwrap().unwrap(), block(number));
        }
    }
}

/// Many proofs at once do what they do one by one; a bad one among them changes nothing and stops
/// none.
#[test]
fn many_proofs_are_applied_at_once() {
    let origin = source(1000, false);
    let storage = MemoryStorage::new();
    let replica =
        Log::create_replica(storage.clone(), origin.key(), LogOptions::default()).unwrap();
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    let mut proofs: Vec<Proof> =
        (0..1000).rev().map(|number| one_block(&origin, &replica, number)).collect();
    proofs[500].block.as_mut().unwrap().value = "something else".into();
    let results = replica.apply_all(&proofs).unwrap();
    assert_eq!(results.len(), 1000);
    for (place, result) in results.into_iter().enumerate() {
        if place == 500 {
            assert!(matches!(result, Err(Error::BadProof { .. })));
        } else {
            assert_eq!(result.unwrap().block, Some(999 - place as u64));
        }
    }
    let held: Vec<u64> = (0..1000).filter(|number| *number != 499).collect();
    assert_holds(&replica, &held);
    assert_eq!(replica.held(0..2000), [0..499, 500..1000]);
    drop(replica);
    assert_holds(&Log::open(storage, LogOptions::default()).unwrap(), &held);
}

/// A proof that is refused leaves no trace in storage.
#[test]
fn bad_proofs_change_nothing() {
    let origin = source(40, false);
    let storage = MemoryStorage::new();
    let replica =
        Log::create_replica(storage.clone(), origin.key(), LogOptions::default()).unwrap();
    let mut bad = upgrade(&origin, &replica);
    bad.upgrade.as_mut().unwrap().nodes[0].size += 1;
    assert!(matches!(replica.apply(&bad), Err(Error::BadSignature { .. })));
    assert_eq!((replica.len(), replica.manifest()), (0, None));
    assert_eq!(storage.len(Part::Oplog).unwrap(), 8192);
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    assert_eq!(replica.manifest(), origin.manifest());
    let mut bad = one_block(&origin, &replica, 7);
    bad.block.as_mut().unwrap().nodes[0].size += 1;
    let before = storage.deep_clone();
    assert!(matches!(replica.apply(&bad), Err(Error::BadProof { .. })));
    for part in Part::ALL {
        assert_eq!(storage.len(part).unwrap(), before.len(part).unwrap());
    }
    assert_holds(&replica, &[]);
}

/// A held block that rotted is mended by fetching it again.
#[test]
fn rot_is_mended_by_a_proof() {
    let origin = source(40, false);
    let storage = MemoryStorage::new();
    let replica =
        Log::create_replica(storage.clone(), origin.key(), LogOptions::default()).unwrap();
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    replica.apply(&one_block(&origin, &replica, 9)).unwrap();
    let offset: u64 = (0..9).map(|number| block(number).len() as u64).sum();
    storage.write_at(Part::Data, offset, &[0xff]).unwrap();
    assert!(matches!(replica.get(9), Err(Error::Corrupt { part: Part::Data, .. })));
    replica.apply(&one_block(&origin, &replica, 9)).unwrap();
    assert_holds(&replica, &[9]);
}

/// A replica whose data did not reach the disk forgets those blocks, and can fetch them again.
#[test]
fn lost_blocks_are_forgotten() {
    let origin = source(40, false);
    let storage = MemoryStorage::new();
    let replica =
        Log::create_replica(storage.clone(), origin.key(), LogOptions::default()).unwrap();
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    for number in [9, 30, 20] {
        replica.apply(&one_block(&origin, &replica, number)).unwrap();
    }
    drop(replica);
    let offset: u64 = (0..30).map(|number| block(number).len() as u64).sum();
    storage.write_at(Part::Data, offset, &[0xff]).unwrap();
    let replica = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!(replica.head(), origin.head());
    assert_holds(&replica, &[9]);
    replica.apply(&one_block(&origin, &replica, 30)).unwrap();
    assert_holds(&replica, &[9, 30]);
}

/// Bits beyond the header's length do not come true when the log grows to there.
#[test]
fn bits_beyond_the_header_are_not_believed() {
    let origin = source(40, false);
    let storage = MemoryStorage::new();
    let replica =
        Log::create_replica(storage.clone(), origin.key(), LogOptions::default()).unwrap();
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    origin.append(&(40..80).map(block).collect::<Vec<_>>()).unwrap();
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    drop(replica);
    storage.write_at(Part::Bitfield, 50 / 8, &[1 << (50 % 8)]).unwrap();
    assert_holds(&Log::open(storage, LogOptions::default()).unwrap(), &[]);
}

/// A log that lost its newest header does not believe the nodes that were written for it, and does
/// not mix them up with those that come anew.
#[test]
fn nodes_beyond_the_header_are_not_believed() {
    let origin = source(1000, false);
    let storage = MemoryStorage::new();
    let replica =
        Log::create_replica(storage.clone(), origin.key(), LogOptions::default()).unwrap();
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    replica.flush().unwrap();
    let short = replica.head();
    origin.append(&(1000..6_000).map(block).collect::<Vec<_>>()).unwrap();
    let fill = |replica: &Log, from: u64| {
        replica.apply(&upgrade(&origin, replica)).unwrap();
        let range = from..6_000;
        let proofs: Vec<_> = range.map(|number| one_block(&origin, replica, number)).collect();
        assert!(replica.apply_all(&proofs).unwrap().iter().all(Result::is_ok));
        replica.flush().unwrap();
        assert_eq!(storage.len(Part::Oplog).unwrap(), 8192, "the entries were flushed");
    };
    fill(&replica, 1000);
    drop(replica);
    // Four headers were written: at creation, with the manifest, with the head, and now, to slot 1.
    storage.write_at(Part::Oplog, 4096 + 20, &[0]).unwrap();
    let replica = Log::open(storage.clone(), LogOptions::default()).unwrap();
    assert_eq!(replica.head(), short);
    replica.apply(&upgrade(&origin, &replica)).unwrap();
    assert!(replica.missing_nodes(2 * 5_000).unwrap() > 0);
    assert_eq!(replica.held(0..u64::MAX), []);
    drop(replica);
    let replica = Log::open(storage.clone(), LogOptions::default()).unwrap();
    origin.append(&[block(6_000)]).unwrap();
    fill(&replica, 3000);
    assert!(replica.missing_nodes(2 * 1500).unwrap() > 0, "not asked for since");
    drop(replica);
    let replica = Log::open(storage, LogOptions::default()).unwrap();
    for number in (3000..6_000).step_by(13) {
        assert_eq!(replica.get(number).unwrap().unwrap(), block(number));
    }
}
