//! Clearing what no version needs that is to be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, Error, RangeOptions, ReclaimProgress, Reclaimed};
use multibee_log::testing::{Effort, RecordingStorage};
use multibee_log::{Durability, KeyPair, Log, LogOptions, Storage};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::check::reach;
use crate::hostile::{bee_of, block};
use crate::sparse::{Replica, writer};
use crate::{log_options, new_bee, scrambled};

type Model = BTreeMap<Bytes, Bytes>;

/// The entries of a version. Blocks that are not here fail.
fn read(bee: &Bee, version: u64) -> Model {
    let range = bee.checkout(version).unwrap().range(RangeOptions::default());
    range.map(Result::unwrap).map(|entry| (entry.key, entry.value.unwrap())).collect()
}

fn create(storage: &RecordingStorage, options: LogOptions) -> Bee {
    let log = Log::create(storage.clone(), KeyPair::from_seed([1; 32]), options).unwrap();
    Bee::open(log, BeeOptions::default()).unwrap()
}

fn reopen(storage: impl Storage) -> Bee {
    Bee::open(Log::open(storage, log_options()).unwrap(), BeeOptions::default()).unwrap()
}

/// Carries out one batch on the tree and on the model.
fn run(bee: &Bee, model: &mut Model, ops: &[(bool, u64)]) {
    let mut batch = bee.batch().unwrap();
    for (put, i) in ops {
        let key = scrambled(*i);
        if *put {
            let value = batch.next_seq().to_string();
            batch.put(&key, Some(value.clone()), "").unwrap();
            model.insert(Bytes::copy_from_slice(&key), value.into());
        } else {
            let hit = batch.del(&key, "").unwrap().is_some();
            assert_eq!(hit, model.remove(&key[..]).is_some());
        }
    }
    batch.flush().unwrap();
}

/// The blocks that these versions need, told from the blocks alone.
fn needed(bee: &Bee, versions: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    let mut needed: BTreeSet<u64> = (0..bee.log().len().min(1)).collect();
    for version in versions.into_iter().filter(|version| *version >= 2) {
        reach(bee, version - 1, 0, &mut needed);
    }
    needed
}

fn held(bee: &Bee) -> BTreeSet<u64> {
    bee.log().held(0..bee.log().len()).into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever was written and is kept: exactly the blocks that the kept versions and the newest one
    /// need stay, each of these versions reads as the map did, doing it again does nothing, writing
    /// goes on, the log opens again, and whoever copies it can read each of them.
    #[test]
    fn kept_versions_stay(
        batches in vec(vec((prop::bool::weighted(0.6), 0..150_u64), 0..40), 1..16),
        kept in vec(any::<prop::sample::Index>(), 0..5),
        later in vec((prop::bool::weighted(0.6), 0..150_u64), 1..30),
    ) {
        let storage = RecordingStorage::new();
        let bee = create(&storage, log_options());
        let (mut model, mut versions) = (Model::new(), vec![(1, Model::new())]);
        for ops in &batches {
            run(&bee, &mut model, ops);
            versions.push((bee.version(), model.clone()));
        }
        let keep: Vec<u64> = kept.iter().map(|i| i.get(&versions).0).collect();
        versions.retain(|(version, _)| keep.contains(version) || *version == bee.version());
        let needed = needed(&bee, versions.iter().map(|(version, _)| *version));
        let len = bee.log().len();

        let reclaimed = bee.reclaim(keep.iter().copied(), |_| {}).unwrap();
        prop_assert_eq!(&held(&bee), &needed);
        prop_assert_eq!(reclaimed.kept_blocks, needed.len() as u64);
        prop_assert_eq!(reclaimed.cleared_blocks, len - needed.len() as u64);
        let events = storage.event_count();
        let again = bee.reclaim(keep.iter().copied(), |_| {}).unwrap();
        prop_assert_eq!((again.cleared_blocks, again.cleared_bytes), (0, 0));
        prop_assert_eq!(storage.event_count(), events, "nothing was written");

        run(&bee, &mut model, &later);
        versions.push((bee.version(), model));
        bee.log().sync().unwrap();
        let reopened = reopen(storage.image().to_storage());
        let mut replica = Replica::of(&bee);
        for (version, model) in &versions {
            prop_assert_eq!(&read(&bee, *version), model);
            prop_assert_eq!(&read(&reopened, *version), model);
            let check = reopened.checkout(*version).unwrap().check(|_| {}).unwrap();
            prop_assert!(check.is_sound() && check.entries == model.len() as u64);
            let (check, ..) = replica.ask(|bee| bee.checkout(*version)?.check(|_| {}));
            prop_assert!(check.is_sound());
            prop_assert_eq!(&read(&replica.bee, *version), model);
        }
        let audit = reopened.log().audit(|_| {}).unwrap();
        prop_assert!(audit.is_clean());
    }
}

/// Whenever the power fails, and whatever of what was not synced it takes along: the versions that
/// were to be kept can be read, and so can the newest that the log still has. Also when that had not
/// reached the disk before.
#[test]
fn power_cuts_take_nothing_that_is_kept() {
    for (durability, keeps_discarded) in [
        (Durability::Immediate, false),
        (Durability::Buffered, false),
        (Durability::Buffered, true),
        (Durability::None, false),
    ] {
        let storage = RecordingStorage::new();
        storage.keep_discarded(keeps_discarded);
        let bee = create(&storage, LogOptions { durability, ..LogOptions::default() });
        let (mut model, mut versions) = (Model::new(), BTreeMap::new());
        // Long values, so that there are holes of whole pages too.
        for round in 0..5 {
            let mut batch = bee.batch().unwrap();
            for i in 0..12 {
                let (key, value) = (scrambled(i * (round + 1) % 20), vec![round as u8; 700]);
                batch.put(&key, Some(value.clone()), "").unwrap();
                model.insert(Bytes::copy_from_slice(&key), value.into());
            }
            versions.insert(batch.flush().unwrap(), model.clone());
            if round == 2 {
                bee.log().sync().unwrap();
            }
        }
        let keep = 25;
        assert!(versions.contains_key(&keep));
        let before = storage.event_count();
        let reclaimed = bee.reclaim([keep], |_| {}).unwrap();
        assert!(reclaimed.cleared_blocks > 10, "{reclaimed:?}");
        assert!(reclaimed.cleared_bytes > 7000, "{reclaimed:?}");

        let (recording, mut images, mut lens) = (storage.recording(), 0, BTreeSet::new());
        for at in before..=storage.event_count() {
            for crash in recording.crash(at, Effort { exhaustive: 6, samples: 6, seed: 1 }) {
                let bee = reopen(crash.image().to_storage());
                let newest = bee.version();
                assert!(newest >= 37, "event {at}: {crash}");
                for version in [keep, newest] {
                    assert_eq!(read(&bee, version), versions[&version], "event {at}: {crash}");
                }
                // It can be done again, and to the end.
                bee.reclaim([keep], |_| {}).unwrap();
                assert_eq!(held(&bee), needed(&bee, [keep, newest]), "event {at}: {crash}");
                lens.insert(newest);
                images += 1;
            }
        }
        let is_all_durable = durability == Durability::Immediate;
        assert_eq!(lens.len() == 1, is_all_durable, "{lens:?}");
        println!("{images} states after power cuts passed");
        assert!(images > 100, "{images}");
    }
}

/// What is no version, or is not here, is refused before anything is cleared.
#[test]
fn bad_requests_clear_nothing() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for i in 0..40 {
        batch.put(&scrambled(i), Some("1"), "").unwrap();
    }
    batch.flush().unwrap();
    bee.put(&scrambled(3), Some("2")).unwrap();
    let refused = bee.reclaim([41, 7], |_| {});
    assert!(matches!(refused, Err(Error::NotACommitEnd { version: 7 })), "{refused:?}");
    let refused = bee.reclaim([99], |_| {});
    assert!(matches!(refused, Err(Error::BeyondLog { version: 99, len: 42 })), "{refused:?}");
    assert_eq!(held(&bee).len(), 42);

    let unsound = bee_of(&[block("a", &[]), block("b", &[(&[1], &[1, 0, 1, 7])])]);
    let refused = unsound.reclaim([], |_| {});
    assert!(matches!(refused, Err(Error::BadBlock { seq: 1, .. })), "{refused:?}");
    let rootless = bee_of(&[block("a", &[(&[1], &[])]), block("b", &[])]);
    let refused = rootless.reclaim([], |_| {});
    assert!(matches!(refused, Err(Error::NotACommitEnd { version: 3 })), "{refused:?}");
    for bee in [unsound, rootless] {
        assert_eq!(held(&bee).len(), 3);
    }
}

/// A log of somebody else's can be reclaimed too, once what is to be kept is here: until then that
/// is asked for, in whole sets.
#[test]
fn a_sparse_log_is_asked_for_what_is_kept() {
    let writer = writer(600);
    writer.put(&scrambled(5), Some("new")).unwrap();
    let mut replica = Replica::of(&writer);
    replica.fetch(&(0..300).collect::<Vec<_>>());
    let (reclaimed, rounds, _) = replica.ask(|bee| bee.reclaim([501], |_| {}));
    assert!(rounds < 10, "{rounds} rounds");
    assert_eq!(held(&replica.bee), needed(&writer, [501, writer.version()]));
    assert_eq!(reclaimed.kept_blocks, held(&replica.bee).len() as u64);
    for version in [501, writer.version()] {
        assert_eq!(read(&replica.bee, version), read(&writer, version));
    }
}

/// Versions that were not kept are missing, also for who has them open, and can be fetched again
/// from somebody who has them.
#[test]
fn other_versions_are_missing() {
    let bee = new_bee();
    let backup = new_bee();
    for i in 0..60 {
        for bee in [&bee, &backup] {
            bee.put(&scrambled(i % 30), Some(i.to_string())).unwrap();
        }
    }
    let open = bee.checkout(31).unwrap();
    assert!(open.get(&scrambled(4)).unwrap().is_some());
    bee.reclaim([], |_| {}).unwrap();
    assert!(matches!(bee.checkout(31), Err(Error::Missing(seqs)) if seqs == [30]));
    assert!(matches!(open.get(&scrambled(4)), Err(Error::Missing(seqs)) if seqs == [30]));
    assert!(matches!(bee.get_by_seq(4), Err(Error::Missing(seqs)) if seqs == [4]));
    assert_eq!(bee.log().head(), backup.log().head());

    let mut copy = Replica::of(&backup);
    copy.bee = bee;
    let (check, ..) = copy.ask(|_| open.check(|_| {}));
    assert!(check.is_sound());
    assert_eq!(read(&copy.bee, 31), read(&backup, 31));
}

/// An empty log, one with only a header, and one where all is needed have nothing to clear.
#[test]
fn there_may_be_nothing_to_clear() {
    let bee = new_bee();
    let nothing = |kept| {
        let reclaimed = bee.reclaim([0, 1], |_| {}).unwrap();
        let Reclaimed { kept_blocks, cleared_blocks, cleared_bytes, .. } = reclaimed;
        assert_eq!((kept_blocks, cleared_blocks, cleared_bytes), (kept, 0, 0));
    };
    nothing(0);
    bee.create_header().unwrap();
    nothing(1);
    bee.put(b"a", Some("1")).unwrap();
    nothing(2);
}

/// It waits for the batch that is open, and keeps what that writes.
#[test]
fn it_takes_its_turn() {
    let bee = new_bee();
    for i in 0..50 {
        bee.put(&scrambled(i % 10), Some(i.to_string())).unwrap();
    }
    let mut batch = bee.batch().unwrap();
    batch.put(b"late", Some("1"), "").unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reclaiming = scope.spawn(|| {
            let reclaimed = bee.reclaim([], |_| {});
            is_done.store(true, Ordering::SeqCst);
            reclaimed.unwrap()
        });
        (0..10_000).for_each(|_| std::thread::yield_now());
        assert!(!is_done.load(Ordering::SeqCst), "a batch is open");
        let version = batch.flush().unwrap();
        reclaiming.join().unwrap();
        assert_eq!(held(&bee), needed(&bee, [version]));
    });
    assert_eq!(bee.snapshot().unwrap().get(b"late").unwrap().unwrap().value.unwrap(), "1");
}

/// Progress never falls, and ends with all that was to be cleared.
#[test]
fn progress_is_told() {
    let bee = writer(12_000);
    for i in 0..100 {
        bee.put(&scrambled(i * 97), Some("again")).unwrap();
    }
    let (mut found_before, mut done_before, mut totals) = (0, 0, BTreeSet::new());
    let reclaimed = bee.reclaim([], |progress| match progress {
        ReclaimProgress::Looking { found } => {
            assert!(found > found_before && done_before == 0);
            found_before = found;
        }
        ReclaimProgress::Clearing { done, total } => {
            assert!(done > done_before && done <= total);
            done_before = done;
            totals.insert(total);
        }
        other => panic!("{other:?}"),
    });
    let cleared = reclaimed.unwrap().cleared_blocks;
    assert!(found_before > 0 && cleared > 0);
    assert_eq!((done_before, totals), (cleared, BTreeSet::from([cleared])));
}
