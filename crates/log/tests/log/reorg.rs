use multibee_log::{
    Error, Log, LogOptions, MemoryStorage, Part, Proof, Reorg, Reorged, Request, RequestBlock,
    RequestUpgrade, Storage,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::keys;
use crate::unsafe_disk::UnsafeDisk;

fn writer(compat: bool) -> Log {
    let options = LogOptions { compat, ..LogOptions::default() };
    Log::create(MemoryStorage::new(), keys(), options).unwrap()
}

fn replica_of(writer: &Log, storage: impl Storage) -> Log {
    let replica = Log::create_replica(storage, writer.key(), LogOptions::default()).unwrap();
    replica.apply(&head(writer, 0)).unwrap();
    replica
}

/// A proof of the writer's head to one who has `start` blocks.
fn head(writer: &Log, start: u64) -> Proof {
    let upgrade = Some(RequestUpgrade { start, length: writer.len() - start });
    writer.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap()
}

fn fetch(writer: &Log, replica: &Log, index: u64) {
    let nodes = replica.missing_nodes(2 * index).unwrap();
    let block = Some(RequestBlock { index, nodes });
    replica.apply(&writer.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
}

/// Asks until nothing is left to ask. Tells `on_answer` of each answer and the request before it.
fn finish(writer: &Log, mut reorg: Reorg, mut on_answer: impl FnMut(&mut Reorg, &Proof)) -> Reorg {
    for _ in 0..=u64::BITS {
        let Some(request) = reorg.request() else {
            return reorg;
        };
        let answer = writer.prove(&request).unwrap();
        on_answer(&mut reorg, &answer);
        reorg.add(&answer).unwrap();
    }
    panic!("the reorg does not end");
}

fn follow(writer: &Log, replica: &Log) -> Reorged {
    let reorg = replica.start_reorg(&head(writer, 0)).unwrap();
    replica.apply_reorg(finish(writer, reorg, |_, _| {})).unwrap()
}

fn blocks_of(log: &Log) -> Vec<Option<Vec<u8>>> {
    (0..log.len()).map(|number| log.get(number).unwrap().map(Vec::from)).collect()
}

/// All bytes of a log.
fn image(storage: &MemoryStorage) -> Vec<Vec<u8>> {
    let read = |part| {
        let mut bytes = vec![0; storage.len(part).unwrap() as usize];
        storage.read_at(part, 0, &mut bytes).unwrap();
        bytes
    };
    Part::ALL.into_iter().map(read).collect()
}

/// What a writer does between two meetings: keep a part of the log, and append.
#[derive(Debug, Clone)]
struct Rewrite {
    cut: Option<Index>,
    appended: Vec<Vec<u8>>,
}

fn rewrite() -> impl Strategy<Value = Rewrite> {
    let block = vec(any::<u8>(), 0..9);
    (proptest::option::weighted(0.8, any::<Index>()), vec(block, 0..40))
        .prop_map(|(cut, appended)| Rewrite { cut, appended })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a writer cuts off and appends, and whatever a replica holds: after a reorg the
    /// replica is at the writer's head, holds each block that it held of those that are known to be
    /// shared, and none beyond, all verify, and it goes on: also when it is opened anew.
    #[test]
    fn replicas_follow_cuts(
        first in 1..60_u64, rewrites in vec((vec(rewrite(), 1..4), vec(any::<Index>(), 0..12)), 1..4),
        picks in vec(any::<Index>(), 0..30), holds_all: bool, compat: bool, reopens: bool,
    ) {
        let writer = writer(compat);
        writer.append(&(0..first).map(|n| vec![n as u8; n as usize % 7]).collect::<Vec<_>>()).unwrap();
        let storage = MemoryStorage::new();
        let mut replica = replica_of(&writer, storage.clone());
        for pick in picks {
            fetch(&writer, &replica, pick.index(replica.len() as usize) as u64);
        }
        for (rewrites, picks) in rewrites {
            if holds_all {
                (0..replica.len()).for_each(|number| fetch(&writer, &replica, number));
            }
            let (before, held, fork) = (blocks_of(&writer), blocks_of(&replica), replica.fork());
            for rewrite in &rewrites {
                if let Some(cut) = rewrite.cut {
                    let len = cut.index(writer.len() as usize + 1) as u64;
                    writer.truncate(len).unwrap();
                }
                writer.append(&rewrite.appended).unwrap();
            }
            if writer.is_empty() {
                writer.append(&["one"]).unwrap();
            }
            if writer.fork() == fork {
                if writer.len() > replica.len() {
                    replica.apply(&head(&writer, replica.len())).unwrap();
                }
                continue;
            }
            let reorged = follow(&writer, &replica);
            prop_assert_eq!(reorged.fork, (fork, writer.fork()));
            prop_assert_eq!(reorged.len, (before.len() as u64, writer.len()));
            if reopens {
                drop(replica);
                replica = Log::open(storage.clone(), LogOptions::default()).unwrap();
            }
            prop_assert_eq!(replica.head(), writer.head());
            let after = blocks_of(&writer);
            let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
            let shared = reorged.shared_len as usize;
            prop_assert!(shared <= same);
            if holds_all {
                prop_assert_eq!(shared, same);
            }
            for (number, block) in blocks_of(&replica).into_iter().enumerate() {
                let expected = held.get(number).filter(|_| number < shared).cloned().flatten();
                prop_assert_eq!(&block, &expected, "block {}", number);
                prop_assert!(block.is_none() || block == after[number]);
            }
            for pick in picks {
                let number = pick.index(replica.len() as usize) as u64;
                fetch(&writer, &replica, number);
                prop_assert_eq!(replica.get(number).unwrap(), writer.get(number).unwrap());
            }
        }
    }
}

/// A replica and a writer that went on as another fork: half of the log is the same.
fn parted(storage: impl Storage) -> (Log, Log) {
    let writer = writer(false);
    writer.append(&(0..13_u8).map(|n| vec![n; 3]).collect::<Vec<_>>()).unwrap();
    let replica = replica_of(&writer, storage);
    for number in [0, 4, 6, 12] {
        fetch(&writer, &replica, number);
    }
    writer.truncate(6).unwrap();
    writer.append(&(0..9_u8).map(|n| vec![n + 100; 4]).collect::<Vec<_>>()).unwrap();
    (writer, replica)
}

/// Whichever bit of an answer is flipped, it is refused with the peer to blame, or for another fork;
/// the log is as before, to the byte, and the honest answer is still taken.
#[test]
fn bent_answers_change_nothing() {
    let storage = MemoryStorage::new();
    let (writer, replica) = parted(storage.clone());
    let before = image(&storage);
    let bent = |proof: &Proof| {
        let mut wire = Vec::new();
        proof.encode(0, &mut wire);
        let flip = move |at: usize| {
            let mut wire = wire.clone();
            wire[at / 8] ^= 1 << (at % 8);
            Proof::decode(&wire).ok().map(|(_, proof)| proof)
        };
        let mut len = Vec::new();
        proof.encode(0, &mut len);
        let original = proof.clone();
        (0..8 * len.len()).filter_map(flip).filter(move |bent| *bent != original)
    };
    // A manifest that is known is not looked at in a proof.
    let first = Proof { manifest: None, ..head(&writer, 0) };
    let mut refused = 0;
    for bent in bent(&first) {
        let outcome = replica.start_reorg(&bent);
        let is_right = matches!(
            outcome,
            Err(Error::BadProof { .. } | Error::BadSignature { .. } | Error::ForkMismatch { .. })
        );
        assert!(is_right, "{bent:?}: {outcome:?}");
        refused += 1;
    }
    let reorg = replica.start_reorg(&first).unwrap();
    let reorg = finish(&writer, reorg, |reorg, answer| {
        let (shared_len, request) = (reorg.shared_len(), reorg.request());
        for bent in bent(answer) {
            let outcome = reorg.add(&bent);
            let is_right =
                matches!(outcome, Err(Error::BadProof { .. } | Error::ForkMismatch { .. }));
            assert!(is_right, "{bent:?}: {outcome:?}");
            assert_eq!((reorg.shared_len(), reorg.request()), (shared_len, request));
            refused += 1;
        }
    });
    assert!(refused > 2000, "{refused}");
    assert!(image(&storage) == before);
    assert_eq!(replica.apply_reorg(reorg).unwrap().shared_len, 6);
    assert_eq!(replica.head(), writer.head());
}

/// A reorg is refused, and the log stays as it is, if it is not finished, if the log has changed
/// since it was started, if it is another log's, and if the fork is not higher than ours.
#[test]
fn untimely_reorgs_are_refused() {
    let storage = MemoryStorage::new();
    let (writer, replica) = parted(storage.clone());
    let before = image(&storage);
    let start = || replica.start_reorg(&head(&writer, 0)).unwrap();
    assert_eq!((start().fork(), start().len()), (1, 15));
    let outcome = replica.apply_reorg(start());
    assert!(matches!(outcome, Err(Error::UnfinishedReorg { shared_len: 0 })), "{outcome:?}");
    let (_, other) = parted(MemoryStorage::new());
    let outcome = other.apply_reorg(finish(&writer, start(), |_, _| {}));
    assert!(matches!(outcome, Err(Error::Outdated { start: 13, ours: 13 })), "{outcome:?}");
    assert!(image(&storage) == before);

    let late = finish(&writer, start(), |_, _| {});
    follow(&writer, &replica);
    let outcome = replica.apply_reorg(late);
    assert!(matches!(outcome, Err(Error::ForkMismatch { ours: 1, theirs: 1 })), "{outcome:?}");
    let outcome = replica.start_reorg(&head(&writer, 0));
    assert!(matches!(outcome, Err(Error::ForkMismatch { ours: 1, theirs: 1 })), "{outcome:?}");
}

/// A log that has grown, or gone over to a lower fork, since a reorg was started, is not what it was
/// started from. Blocks that came meanwhile do no harm, and stay if they are shared.
#[test]
fn reorgs_of_changed_logs_are_refused() {
    let writer = writer(false);
    writer.append(&["a", "b", "c", "d", "e"]).unwrap();
    let replica = replica_of(&writer, MemoryStorage::new());
    let nodes = replica.missing_nodes(2).unwrap();
    let block = Some(RequestBlock { index: 1, nodes });
    let block = writer.prove(&Request { block, ..Request::default() }).unwrap();
    fetch(&writer, &replica, 3);
    writer.append(&["f"]).unwrap();
    let longer = head(&writer, 5);
    writer.truncate(4).unwrap();
    let to_fork_1 = || finish(&writer, replica.start_reorg(&head(&writer, 0)).unwrap(), |_, _| {});
    let (before_growth, after_growth) = (to_fork_1(), {
        replica.apply(&longer).unwrap();
        to_fork_1()
    });
    let outcome = replica.apply_reorg(before_growth);
    assert!(matches!(outcome, Err(Error::Outdated { start: 5, ours: 6 })), "{outcome:?}");
    writer.append(&["g"]).unwrap();
    writer.truncate(3).unwrap();
    let to_fork_2 = replica.start_reorg(&head(&writer, 0)).unwrap();
    assert_eq!(to_fork_2.fork(), 2);

    replica.apply(&block).unwrap();
    assert_eq!(replica.apply_reorg(after_growth).unwrap().shared_len, 4);
    assert_eq!(replica.held(0..9), [1..2, 3..4]);
    let to_fork_2 = finish(&writer, to_fork_2, |_, _| {});
    let outcome = replica.apply_reorg(to_fork_2);
    assert!(matches!(outcome, Err(Error::Outdated { start: 6, ours: 4 })), "{outcome:?}");
    follow(&writer, &replica);
    assert_eq!((replica.fork(), replica.len()), (2, 3));
    assert!(replica.held(0..9).into_iter().flatten().eq([1]));
}

/// The copy that a log is written to follows no other history; that there is one, it says only if
/// that is really signed.
#[test]
fn writers_are_told_of_other_forks() {
    let ours = writer(false);
    ours.append(&["a", "b"]).unwrap();
    let copy = writer(false);
    copy.append(&["a"]).unwrap();
    copy.truncate(0).unwrap();
    copy.append(&["c", "d"]).unwrap();
    let outcome = ours.start_reorg(&head(&copy, 0));
    assert!(matches!(outcome, Err(Error::OwnLog { ours: 0, theirs: 1 })), "{outcome:?}");
    let mut lie = head(&copy, 0);
    lie.fork = 2;
    let outcome = ours.start_reorg(&lie);
    assert!(matches!(outcome, Err(Error::BadSignature { .. })), "{outcome:?}");
}

/// Wherever the disk is full, and whatever a power cut takes along then: the log is as it was before
/// the reorg, or as after it, and all blocks it holds are true.
#[test]
fn interrupted_reorgs_leave_one_of_two_logs() {
    let (mut before, mut after) = (0, 0);
    for allowed in 0..10 {
        for seed in 0..8_u32 {
            let disk = UnsafeDisk::default();
            let (writer, replica) = parted(disk.clone());
            let old = replica.head();
            let reorg = replica.start_reorg(&head(&writer, 0)).unwrap();
            let reorg = finish(&writer, reorg, |_, _| {});
            replica.sync().unwrap();
            disk.allow_writes(allowed);
            let outcome = replica.apply_reorg(reorg);
            disk.allow_writes(u64::MAX);
            drop(replica);
            let mut bits = seed.wrapping_mul(2_654_435_761);
            let storage = disk.after_power_cut(|| {
                bits = bits.rotate_left(7).wrapping_mul(0x9e37_79b1);
                bits >> 31 == 0
            });
            let replica = Log::open(storage, LogOptions::default()).unwrap();
            let is_after = replica.head() == writer.head();
            assert!(is_after || replica.head() == old);
            assert!(is_after || outcome.is_err(), "what was applied is durable");
            *(if is_after { &mut after } else { &mut before }) += 1;
            let held: Vec<u64> = replica.held(0..99).into_iter().flatten().collect();
            assert_eq!(held, if is_after { &[0, 4][..] } else { &[0, 4, 6, 12] });
            for number in held {
                assert_eq!(replica.get(number).unwrap().unwrap(), [number as u8; 3].as_slice());
            }
            if !is_after {
                follow(&writer, &replica);
            }
            (0..15).for_each(|number| fetch(&writer, &replica, number));
            assert_eq!(blocks_of(&replica), blocks_of(&writer));
        }
    }
    assert!(before > 0 && after > 0, "{before} {after}");
}
