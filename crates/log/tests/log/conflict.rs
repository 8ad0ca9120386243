use multibee_log::{
    Barrier, Conflict, DecodeError, Error, FileStorage, Log, LogOptions, Manifest, MemoryStorage,
    Part, Proof, Request, RequestBlock, RequestHash, RequestRun, RequestUpgrade, Storage,
    flat_tree,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::keys;
use crate::unsafe_disk::UnsafeDisk;

fn writer(blocks: &[Vec<u8>], compat: bool) -> Log {
    let options = LogOptions { compat, ..LogOptions::default() };
    let log = Log::create(MemoryStorage::new(), keys(), options).unwrap();
    log.append(blocks).unwrap();
    log
}

fn replica_of(writer: &Log, storage: impl Storage) -> Log {
    let replica = Log::create_replica(storage, writer.key(), LogOptions::default()).unwrap();
    replica.apply(&head(writer, 0, writer.len())).unwrap();
    replica
}

/// A proof of the writer's head to one who has `start` blocks and asks for `end`.
fn head(writer: &Log, start: u64, end: u64) -> Proof {
    let upgrade = Some(RequestUpgrade { start, length: end - start });
    writer.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap()
}

fn block(writer: &Log, replica: &Log, index: u64) -> Result<Proof, Error> {
    let nodes = replica.missing_nodes(2 * index).unwrap();
    let block = Some(RequestBlock { index, nodes });
    writer.prove(&Request { block, ..Request::default() })
}

fn numbered(range: std::ops::Range<u8>) -> Vec<Vec<u8>> {
    range.map(|number| vec![number; usize::from(number % 7)]).collect()
}

/// Two logs of one key: the first `shared` blocks are the same, the next one is not.
fn parted(shared: u8, ours: u8, theirs: u8) -> (Log, Log) {
    let branch =
        |first: u8, more: u8| [numbered(0..shared), numbered(first..first + more)].concat();
    (writer(&branch(101, ours), false), writer(&branch(151, theirs), false))
}

/// Searches for the last common block with the help of one who has the other history.
fn narrow(log: &Log, other: &Log) -> u64 {
    let mut search = log.start_divergence().unwrap().unwrap();
    for _ in 0..=u64::BITS {
        let Some(request) = search.request() else {
            return log.apply_divergence(search).unwrap();
        };
        search.add(&other.prove(&request).unwrap()).unwrap();
    }
    panic!("the search does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Of any two histories by one key: they are a conflict exactly if neither is the beginning of
    /// the other. Whoever finds it, the proof convinces others who know no more than the key, and
    /// also those who hold one of the two histories; a search then finds the last common block.
    #[test]
    fn two_histories_are_found(
        first in vec(vec(any::<u8>(), 0..5), 0..40), ours in vec(vec(any::<u8>(), 0..5), 0..30),
        theirs in vec(vec(any::<u8>(), 0..5), 0..30), held in vec(any::<Index>(), 0..9),
        is_replica: bool, compat: bool,
    ) {
        prop_assume!(first.len() + ours.len().min(theirs.len()) > 0);
        let blocks = [[first.clone(), ours].concat(), [first, theirs].concat()];
        let [ours, theirs] = [writer(&blocks[0], compat), writer(&blocks[1], compat)];
        let common = blocks[0].iter().zip(&blocks[1]).take_while(|(a, b)| a == b).count() as u64;
        let length = ours.len().min(theirs.len());
        let replica = replica_of(&ours, MemoryStorage::new());
        for pick in &held {
            let proof = block(&ours, &replica, pick.index(ours.len() as usize) as u64).unwrap();
            replica.apply(&proof).unwrap();
        }
        let log = if is_replica { &replica } else { &ours };
        let proof = head(&theirs, 0, length);
        let mut outcome = log.check_conflict(&proof);
        if let Err(Error::NotAvailable { .. } | Error::TwoHistories { .. }) = outcome {
            prop_assert!(is_replica);
            replica.apply(&block(&ours, &replica, length - 1).unwrap()).unwrap();
            outcome = log.check_conflict(&proof);
        }
        let conflict = outcome.unwrap();
        prop_assert_eq!(conflict.is_some(), common < length);
        prop_assert_eq!(&log.conflict(), &conflict);
        let Some(conflict) = conflict else {
            prop_assert_eq!(log.trusted_len(), log.len());
            return Ok(());
        };
        prop_assert_eq!((conflict.key(), conflict.length()), (&log.key(), length));
        let told = Conflict::decode(&conflict.encode()).unwrap();
        prop_assert_eq!(&told, &conflict);
        told.verify(None).unwrap();
        told.verify(ours.manifest().as_ref()).unwrap();
        prop_assert!(log.trusted_len() <= common);
        let found = narrow(log, &theirs);
        prop_assert!(found <= common);
        if !is_replica {
            prop_assert_eq!(found, common);
        }
        // The other side learns it as well, and what is common is the same.
        theirs.accept_conflict(&told).unwrap();
        prop_assert_eq!(narrow(&theirs, &ours), common);
        // So does one who holds another beginning or another end of it.
        let third = replica_of(&theirs, MemoryStorage::new());
        third.accept_conflict(&told).unwrap();
        prop_assert!(third.trusted_len() <= common);
    }
}

/// A writer's log is told of a conflict, and stops; what a copy of it holds below the point where
/// the histories part goes on being served and taken, and nothing else. All of this is still known
/// when the log is opened anew.
#[test]
fn what_is_disputed_stops() {
    let (ours, theirs) = parted(11, 9, 7);
    let storage = MemoryStorage::new();
    let mut replica = replica_of(&ours, storage.clone());
    let proofs: Vec<Proof> = (0..20).map(|at| block(&ours, &replica, at).unwrap()).collect();
    for number in [17, 11, 10, 3] {
        replica.apply(&proofs[number]).unwrap();
    }
    ours.append(&["more"]).unwrap();
    let upgrade = head(&ours, 20, 21);
    let conflict = replica.check_conflict(&head(&theirs, 0, 18)).unwrap().unwrap();
    for is_reopened in [false, true] {
        if is_reopened {
            drop(replica);
            replica = Log::open(storage.clone(), LogOptions::default()).unwrap();
        }
        assert_eq!(replica.conflict().as_ref(), Some(&conflict));
        // Known before, it is no news.
        assert_eq!(replica.check_conflict(&head(&theirs, 0, 18)).unwrap(), Some(conflict.clone()));
        let outcome = replica.apply(&upgrade);
        assert!(matches!(outcome, Err(Error::TwoHistories { length: 18 })), "{outcome:?}");
        // The tree's first root is of 16 blocks, and differs.
        assert_eq!(replica.trusted_len(), if is_reopened { 11 } else { 0 });
        assert_eq!(narrow(&replica, &theirs), 11);
        for (number, proof) in proofs.iter().enumerate() {
            let outcome = replica.apply(proof);
            let is_taken = number < 11;
            let is_right = matches!(outcome, Err(Error::TwoHistories { length: 18 }));
            assert!(is_taken && outcome.is_ok() || !is_taken && is_right, "{number}: {outcome:?}");
        }
        let third = Log::create_replica(MemoryStorage::new(), ours.key(), LogOptions::default());
        let third = third.unwrap();
        third.apply(&head(&replica, 0, 20)).unwrap();
        for number in 0..20 {
            let outcome = block(&replica, &third, number);
            assert_eq!(outcome.is_ok(), number < 11, "{number}");
            assert!(number < 11 || matches!(outcome, Err(Error::NotAvailable { .. })));
            // As one of two neighbours it is no other: who asks cannot know what is disputed.
            let start = number & !1;
            let top = flat_tree::index(1, start >> 1).unwrap();
            let nodes = third.missing_nodes(top).unwrap();
            let outcome = replica.prove_run(&RequestRun { start, depth: 1, nodes });
            assert_eq!(outcome.is_ok(), start + 1 < 11, "{number}");
            assert!(start + 1 < 11 || matches!(outcome, Err(Error::NotAvailable { .. })));
        }
        // What is here can be read here.
        assert_eq!(replica.get(17).unwrap(), ours.get(17).unwrap());
    }

    ours.accept_conflict(&conflict).unwrap();
    let head_before = ours.head();
    assert!(matches!(ours.append(&["x"]), Err(Error::TwoHistories { length: 18 })));
    assert!(matches!(ours.truncate(5), Err(Error::TwoHistories { length: 18 })));
    ours.set_user_data("key", b"value").unwrap();
    assert_eq!(ours.head(), head_before);
    assert!(ours.sign(b"farewell").is_some());

    // A later fork does not make it good.
    theirs.truncate(3).unwrap();
    let outcome = replica.start_reorg(&head(&theirs, 0, 3));
    assert!(matches!(outcome, Err(Error::TwoHistories { length: 18 })), "{outcome:?}");
}

/// Of several conflicts the one is kept that was found first, until one is found that leaves less to
/// be trusted.
#[test]
fn earlier_partings_count() {
    let (ours, late) = parted(16, 4, 4);
    let early = writer(&[numbered(0..6), numbered(200..209)].concat(), false);
    let storage = MemoryStorage::new();
    let log = replica_of(&ours, storage.clone());
    for number in 0..20 {
        log.apply(&block(&ours, &log, number).unwrap()).unwrap();
    }
    let first = log.check_conflict(&head(&late, 0, 20)).unwrap().unwrap();
    assert_eq!(log.trusted_len(), 16);
    // It shows no more than that they part somewhere before block 20.
    let early_at_20 = writer(&[numbered(0..6), numbered(200..214)].concat(), false);
    let other = log.check_conflict(&head(&early_at_20, 0, 20)).unwrap().unwrap();
    assert_ne!(other, first);
    assert_eq!(log.conflict(), Some(first));
    let second = log.check_conflict(&head(&early, 0, 15)).unwrap().unwrap();
    assert_eq!(log.conflict().as_ref(), Some(&second));
    assert_eq!((log.trusted_len(), narrow(&log, &early)), (0, 6));
    // What was searched for is no longer what is known.
    let search = log.start_divergence().unwrap().unwrap();
    let third = writer(&[numbered(0..2), numbered(200..209)].concat(), false);
    log.check_conflict(&head(&third, 0, 4)).unwrap().unwrap();
    assert!(matches!(log.apply_divergence(search), Err(Error::Outdated { .. })));
    assert_eq!(narrow(&log, &third), 2);
    let third = log.conflict();
    drop(log);
    let log = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!((log.conflict(), log.trusted_len()), (third, 2));
}

/// What is no head of this log and fork, and for no longer history, is refused without a conflict.
#[test]
fn no_one_is_accused_wrongly() {
    let (ours, theirs) = parted(5, 6, 9);
    let good = head(&theirs, 0, 11);
    let refuse = |proof: &Proof| {
        let outcome = ours.check_conflict(proof);
        assert_eq!(ours.conflict(), None);
        outcome.unwrap_err()
    };
    let with = |change: &dyn Fn(&mut Proof)| {
        let mut proof = good.clone();
        change(&mut proof);
        proof
    };
    assert!(matches!(refuse(&head(&theirs, 0, 12)), Error::Outdated { start: 0, ours: 11 }));
    assert!(matches!(refuse(&head(&theirs, 3, 11)), Error::BadProof { .. }));
    assert!(matches!(refuse(&Proof::default()), Error::BadProof { .. }));
    let error = refuse(&with(&|proof| proof.fork = 1));
    assert!(matches!(error, Error::ForkMismatch { ours: 0, theirs: 1 }));
    let error = refuse(&with(&|proof| {
        let upgrade = proof.upgrade.as_mut().unwrap();
        upgrade.nodes[0].size += 1;
    }));
    assert!(matches!(error, Error::BadSignature { .. }));
    let hash = Some(RequestHash { index: 0, nodes: 0 });
    let hash = theirs.prove(&Request { hash, ..Request::default() }).unwrap().hash;
    assert!(matches!(refuse(&with(&|proof| proof.hash.clone_from(&hash))), Error::BadProof { .. }));
    let long = vec![0; 1 << 20];
    let error = refuse(&with(&|proof| {
        proof.upgrade.as_mut().unwrap().signature = long.clone().into();
    }));
    assert!(matches!(error, Error::BadProof { .. }));

    let conflict = replica_of(&ours, MemoryStorage::new()).check_conflict(&good);
    let conflict = conflict.unwrap().unwrap();
    let elsewhere = Log::create(
        MemoryStorage::new(),
        multibee_log::KeyPair::from_seed([8; 32]),
        LogOptions::default(),
    );
    let elsewhere = elsewhere.unwrap();
    elsewhere.append(&numbered(0..11)).unwrap();
    let outcome = elsewhere.accept_conflict(&conflict);
    assert!(matches!(outcome, Err(Error::BadProof { .. })), "{outcome:?}");
    assert!(conflict.verify(elsewhere.manifest().as_ref()).is_err());
    let short = writer(&numbered(0..5), false);
    let outcome = short.accept_conflict(&conflict);
    assert!(matches!(outcome, Err(Error::Outdated { start: 0, ours: 5 })), "{outcome:?}");
}

/// Bytes that a peer moved from one node to its neighbour, which no signature shows, do not make two
/// histories out of one.
#[test]
fn moved_sizes_are_no_conflict() {
    let log = writer(&numbered(0..8), false);
    let mut proof = head(&log, 0, 5);
    let upgrade = proof.upgrade.as_mut().unwrap();
    upgrade.nodes[1].size += 1;
    upgrade.additional_nodes[0].size -= 1;
    assert_eq!(log.check_conflict(&proof).unwrap(), None);
}

/// Whichever bit of a conflict is flipped, it does not decode or is no proof.
#[test]
fn tampered_conflicts_are_refused() {
    for (ours, theirs) in [(1, 1), (3, 6), (6, 3)] {
        let (ours, theirs) = parted(5, ours, theirs);
        let length = ours.len().min(theirs.len());
        let conflict = ours.check_conflict(&head(&theirs, 0, length)).unwrap().unwrap();
        let bytes = conflict.encode();
        for at in 0..8 * bytes.len() {
            let mut bent = bytes.clone();
            bent[at / 8] ^= 1 << (at % 8);
            let outcome = Conflict::decode(&bent).map(|conflict| conflict.verify(None));
            let is_refused = matches!(
                outcome,
                Err(_) | Ok(Err(Error::BadProof { .. } | Error::BadSignature { .. }))
            );
            assert!(is_refused, "bit {at}: {outcome:?}");
        }
        for len in 0..bytes.len() {
            assert!(Conflict::decode(&bytes[..len]).is_err());
        }
        assert!(Conflict::decode(&[&bytes[..], &[0]].concat()).is_err());
        // Version and key come before the fork, here in a longer form than needed.
        let longer = [&bytes[..33], &[0xfd, 0, 0], &bytes[34..]].concat();
        assert!(matches!(Conflict::decode(&longer), Err(DecodeError::Invalid { .. })));
        let newer = [&[2], &bytes[1..]].concat();
        let error = Conflict::decode(&newer).unwrap_err();
        assert_eq!(error, DecodeError::UnsupportedVersion { version: 2 });
        let long = vec![1; 2 << 20];
        assert!(matches!(Conflict::decode(&long), Err(DecodeError::TooLarge { .. })));
    }
}

/// The proof of one history twice, and that of a manifest that is not the key's, are refused.
#[test]
fn empty_accusations_are_refused() {
    let (ours, theirs) = parted(5, 3, 3);
    let conflict = ours.check_conflict(&head(&theirs, 0, 8)).unwrap().unwrap();
    // The last part of the encoding is their proof, as long as ours before it.
    let bytes = conflict.encode();
    let upgrade = |proof: &Proof| proof.upgrade.as_ref().unwrap().signature.to_vec();
    let (our_end, their_end) = (upgrade(conflict.ours()), upgrade(conflict.theirs()));
    let find = |end: &[u8]| bytes.windows(end.len()).position(|at| at == end).unwrap() + end.len();
    let (our_end, their_end) = (find(&our_end), find(&their_end));
    assert_eq!(their_end, bytes.len());
    let part_len = their_end - our_end;
    let twice = [&bytes[..our_end], &bytes[our_end - part_len..our_end]].concat();
    let twice = Conflict::decode(&twice).unwrap();
    assert_eq!(twice.ours(), twice.theirs());
    assert!(matches!(twice.verify(None), Err(Error::BadProof { .. })));
    let other = Manifest::single([9; 32]);
    assert!(matches!(conflict.verify(Some(&other)), Err(Error::BadProof { .. })));
}

/// A replica that knows of a conflict, and another copy of the log by which it can find one that
/// leaves less to be trusted, if asked for 4 blocks.
fn with_conflict(storage: impl Storage) -> (Log, Log) {
    let (ours, late) = parted(16, 4, 4);
    let early = writer(&[numbered(0..6), numbered(200..209)].concat(), false);
    let log = replica_of(&ours, storage);
    for number in 0..20 {
        log.apply(&block(&ours, &log, number).unwrap()).unwrap();
    }
    // Three records: the next one goes over the second.
    log.check_conflict(&head(&late, 0, 20)).unwrap().unwrap();
    log.check_conflict(&head(&early, 0, 15)).unwrap().unwrap();
    assert_eq!(narrow(&log, &early), 6);
    (log, writer(&[numbered(0..2), numbered(220..230)].concat(), false))
}

/// A stored conflict whose bytes have changed is reported, never overlooked, and never another one.
#[test]
fn rot_in_a_conflict_is_reported() {
    let storage = MemoryStorage::new();
    let (log, other) = with_conflict(storage.clone());
    let first = log.conflict();
    log.check_conflict(&head(&other, 0, 4)).unwrap().unwrap();
    let second = log.conflict();
    drop(log);
    assert_ne!(first, second);
    for conflict in [first, second.clone()] {
        // Behind its head and the common length.
        let bytes = conflict.unwrap().encode();
        let mut all = vec![0; storage.len(Part::Conflict).unwrap() as usize];
        storage.read_at(Part::Conflict, 0, &mut all).unwrap();
        let start = all.windows(bytes.len()).position(|at| at == bytes).unwrap();
        for at in (start - 17..start + bytes.len()).step_by(3) {
            let rotten = storage.deep_clone();
            rotten.write_at(Part::Conflict, at as u64, &[all[at] ^ 0x10]).unwrap();
            let outcome = Log::open(rotten, LogOptions::default());
            let is_reported = matches!(outcome, Err(Error::Corrupt { part: Part::Conflict, .. }));
            assert!(is_reported, "{at}: {outcome:?}");
        }
    }
    let log = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!(log.conflict(), second);
}

/// A log that is restored from another copy still knows its conflict; only one that was damaged is
/// dropped, so that the log can be opened again.
#[test]
fn restored_logs_know_their_conflict() {
    for is_conflict_damaged in [false, true] {
        let (ours, theirs) = parted(9, 9, 9);
        let storage = MemoryStorage::new();
        let log = replica_of(&ours, storage.clone());
        for number in [2, 17] {
            log.apply(&block(&ours, &log, number).unwrap()).unwrap();
        }
        let conflict = log.check_conflict(&head(&theirs, 0, 18)).unwrap();
        drop(log);
        if is_conflict_damaged {
            storage.write_at(Part::Conflict, 60, &[0xff; 7]).unwrap();
        } else {
            storage.truncate(Part::Oplog, 8000).unwrap();
            storage.write_at(Part::Oplog, 0, &[0xff; 8000]).unwrap();
        }
        assert!(Log::open(storage.clone(), LogOptions::default()).is_err());
        let source = |request: &Request| ours.prove(request);
        let key = Some(ours.key());
        let options = LogOptions::default();
        let restored = Log::restore(storage.clone(), key, options, source, |_| {}).unwrap();
        drop(restored);
        let log = Log::open(storage, LogOptions::default()).unwrap();
        assert_eq!(log.conflict(), conflict.filter(|_| !is_conflict_damaged));
        assert_eq!(log.get(2).unwrap(), ours.get(2).unwrap());
    }
}

/// Whatever the disk loses while a conflict is stored in place of another: the log opens with one
/// of the two, and with the new one if that was returned. Without the waits for the disk this fails.
#[test]
fn power_cuts_leave_one_of_two_conflicts() {
    let survive = |without| {
        let (mut olds, mut news, mut is_sound) = (0, 0, true);
        for (allowed, seed) in (0..5).flat_map(|allowed| (0..24_u32).map(move |it| (allowed, it))) {
            let disk = UnsafeDisk::default();
            let (log, other) = with_conflict(disk.clone());
            let old = log.conflict();
            drop(log);
            let options = LogOptions { without_barrier: without, ..LogOptions::default() };
            let log = Log::open(disk.clone(), options).unwrap();
            disk.allow_writes(allowed);
            let outcome = log.check_conflict(&head(&other, 0, 4));
            disk.allow_writes(u64::MAX);
            let returned = outcome.unwrap_or_default();
            assert_eq!(log.conflict(), returned.clone().or(old.clone()));
            drop(log);
            let mut bits = seed.wrapping_mul(2_654_435_761);
            let storage = disk.after_power_cut(|| {
                bits = bits.rotate_left(7).wrapping_mul(0x9e37_79b1);
                bits >> 31 == 0
            });
            let Ok(log) = Log::open(storage, LogOptions::default()) else {
                is_sound = false;
                continue;
            };
            let is_new = log.conflict().is_some_and(|known| known.length() == 4);
            is_sound &= is_new || returned.is_none() && log.conflict() == old;
            *(if is_new { &mut news } else { &mut olds }) += 1;
        }
        (is_sound, olds > 0 && news > 0)
    };
    assert_eq!(survive(None), (true, true));
    assert!(!survive(Some((Barrier::Conflict, Part::Conflict))).0);
}

/// A conflict between two other histories than ours leaves no more to be trusted than is common to
/// all three, whichever of them is searched.
#[test]
fn conflicts_of_others_leave_what_all_share() {
    let branch = |shared: u8, first: u8| {
        writer(&[numbered(0..shared), numbered(first..first + 14)].concat(), false)
    };
    let (ours, early, late) = (writer(&numbered(0..16), false), branch(3, 100), branch(6, 200));
    for (one, other) in [(&early, &late), (&late, &early)] {
        let finder = replica_of(one, MemoryStorage::new());
        let conflict = finder.check_conflict(&head(other, 0, 16)).unwrap().unwrap();
        let log = writer(&numbered(0..16), false);
        log.accept_conflict(&conflict).unwrap();
        assert!(narrow(&log, other) <= 3);
    }
    // Found by the one that shares less, it is known at once.
    assert!(ours.check_conflict(&head(&early, 0, 15)).unwrap().is_some());
    assert_eq!(narrow(&ours, &early), 3);
}

/// A log that is open for reading only sees a conflict that another process finds, and keeps none
/// itself.
#[test]
fn readers_see_conflicts() {
    let (ours, theirs) = parted(11, 3, 3);
    let storage = MemoryStorage::new();
    let log = replica_of(&ours, storage.clone());
    log.apply(&block(&ours, &log, 13).unwrap()).unwrap();
    let reader = Log::open_read_only(storage, LogOptions::default()).unwrap();
    let proof = head(&theirs, 0, 14);
    assert!(matches!(reader.check_conflict(&proof), Err(Error::ReadOnly)));
    let conflict = log.check_conflict(&proof).unwrap();
    assert!(conflict.is_some() && reader.conflict().is_none());
    assert!(reader.refresh().unwrap());
    assert_eq!((reader.conflict(), reader.trusted_len()), (conflict, log.trusted_len()));
    assert!(!reader.refresh().unwrap());
}

/// In a directory, a conflict is a file of its own that nobody else can read.
#[cfg(unix)]
#[test]
fn conflicts_are_kept_in_a_file() {
    use std::os::unix::fs::PermissionsExt;

    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let (ours, theirs) = parted(3, 2, 2);
    let log = replica_of(&ours, FileStorage::create(&dir).unwrap());
    assert!(!dir.join("conflict").exists());
    let conflict = log.check_conflict(&head(&theirs, 0, 5)).unwrap();
    let mode = dir.join("conflict").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(log);
    let log = Log::open(FileStorage::open(&dir).unwrap(), LogOptions::default()).unwrap();
    assert!(conflict.is_some());
    assert_eq!(log.conflict(), conflict);
}
