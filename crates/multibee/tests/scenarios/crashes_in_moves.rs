//! Crashes while storage is given back, or another log takes over: after each change of the disk.
//!
//! Each trial stops the disk after so many changes, from none on until the whole operation passes. Of
//! what the disk was given, all is left, or only what was waited for, or by chance some of the rest.
//! Then the device must open, with all that it had acknowledged; meet another device, and end with the
//! same; and be able to do the operation after all. In every fourth trial the disk stops again while
//! the device is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use multibee::{
    BackupOptions, ByHand, Error, Event, Home, KeyPair, Multibee, Options, ReclaimOptions, Role,
};
use multibee_replica::{ConnectionId, Handshake, Link};

use crate::crashes::{Images, durable};
use crate::devices::{TestClock, check_same, contents, text};
use crate::stopping::{Left, StoppingDisk};

/// What a device has acknowledged: keys and their values.
type Acknowledged = BTreeMap<String, String>;

/// Two devices that meet, message by message.
struct Pair {
    dbs: [Multibee; 2],
    hands: [ByHand; 2],
    ids: [ConnectionId; 2],
}

impl Pair {
    fn meet(dbs: [Multibee; 2]) -> Self {
        let hands = dbs.each_ref().map(|db| ByHand::take(db).unwrap());
        let connect = |hand: &ByHand, role| {
            let handshake = Handshake { hash: [7; 64], remote_static: [0; 32] };
            hand.connect_link(Link::framed(role, handshake), Instant::now())
        };
        let ids = [connect(&hands[0], Role::Initiator), connect(&hands[1], Role::Responder)];
        Self { dbs, hands, ids }
    }

    /// Until nobody has anything to say any more.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut acted = 0;
            for (from, to) in [(0, 1), (1, 0)] {
                acted += self.hands[from].take_in();
                if let Some(frame) = self.hands[from].transmit(self.ids[from]) {
                    self.hands[to].receive(self.ids[to], &frame, Instant::now());
                    acted += 1;
                }
            }
            if acted == 0 {
                return;
            }
        }
        panic!("they do not come to rest");
    }

    fn settle_alike(&mut self, what: &str) {
        self.settle();
        let [a, b] = &self.dbs;
        assert_eq!(a.digest(), b.digest(), "{what}");
        let clocks = self.dbs.each_ref().map(|db| db.status().unwrap().clock);
        assert!(clocks[0].same_lengths(&clocks[1]), "{what}: {clocks:?}");
        check_same(&[a, b]);
    }
}

/// Writes, and notes that it was acknowledged.
fn put(
    db: &Multibee,
    key: &str,
    value: &str,
    acknowledged: &mut Acknowledged,
) -> Result<(), Error> {
    db.put(key, value.to_owned())?;
    acknowledged.insert(key.into(), value.into());
    Ok(())
}

/// An operation to be cut short.
struct Operation<'a> {
    /// What the two devices have before.
    before: [Images; 2],
    /// Whether the first one's disk is a copy.
    is_copy: bool,
    /// What the first one has acknowledged before.
    acknowledged: Acknowledged,
    /// Opens the first device.
    open: &'a dyn Fn(Home, Options) -> Result<Multibee, Error>,
    /// Does it, on a device that is open, and notes what is acknowledged meanwhile.
    act: &'a dyn Fn(&mut Pair, &mut Acknowledged) -> Result<(), Error>,
}

/// How many ways of being cut short were tried.
#[derive(Debug, Default)]
struct Tried {
    changes: u64,
    images: u64,
}

impl Operation<'_> {
    /// Cuts the operation short after each change.
    fn at_every_change(&self) -> Tried {
        let mut tried = Tried::default();
        let mut seen = BTreeSet::new();
        loop {
            let disks = self.before.each_ref().map(|images| self.disk(images));
            disks[0].stop_after(tried.changes);
            let mut acknowledged = self.acknowledged.clone();
            let result = self.once(&disks, &mut acknowledged);
            if !disks[0].has_stopped() {
                result.unwrap();
                return tried;
            }
            let seed = tried.changes;
            let by_chance = (0..4).map(|number| Left::Some { seed: seed * 4 + number });
            for left in [Left::Everything, Left::Synced].into_iter().chain(by_chance) {
                let images = [disks[0].left(left), disks[1].left(Left::Everything)];
                if !seen.insert((images.each_ref().map(hashes), acknowledged.clone())) {
                    continue;
                }
                let what = format!("stopped after {} changes, {left:?} is left", tried.changes);
                let again = (tried.images % 4 == 3).then_some(tried.images * 7 % 31);
                self.goes_on(images, acknowledged.clone(), again, &what);
                tried.images += 1;
            }
            tried.changes += 1;
        }
    }

    fn disk(&self, images: &Images) -> StoppingDisk {
        let disk = StoppingDisk::over(images);
        if self.is_copy {
            disk.mark_as_copies(self.before[0].keys());
        }
        disk
    }

    fn pair(&self, disks: &[StoppingDisk; 2]) -> Result<Pair, Error> {
        let clock = Arc::new(TestClock::new());
        let [a, b] = disks.each_ref().map(|disk| Home::own(Arc::new(disk.clone())));
        let b = Multibee::adopt(b, options(&clock, 2)).unwrap();
        Ok(Pair::meet([(self.open)(a, options(&clock, 1))?, b]))
    }

    fn once(&self, disks: &[StoppingDisk; 2], acked: &mut Acknowledged) -> Result<(), Error> {
        (self.act)(&mut self.pair(disks)?, acked)
    }

    /// What is left opens, lacks nothing, meets the other device, and lets the operation be done.
    fn goes_on(
        &self,
        images: [Images; 2],
        mut acknowledged: Acknowledged,
        second_stop: Option<u64>,
        what: &str,
    ) {
        let mut disks = images.each_ref().map(|images| self.disk(images));
        if let Some(changes) = second_stop {
            let clock = Arc::new(TestClock::new());
            disks[0].stop_after(changes);
            // Whatever comes of it.
            let _ = (self.open)(Home::own(Arc::new(disks[0].clone())), options(&clock, 1));
            disks[0] = self.disk(&disks[0].left(Left::Synced));
        }
        let mut pair = self.pair(&disks).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let mut told = pair.dbs.each_ref().map(Multibee::events);
        let has_all = |db: &Multibee, acknowledged: &Acknowledged| {
            db.verify().unwrap_or_else(|error| panic!("{what}: {error:?}"));
            for (key, value) in acknowledged {
                assert_eq!(text(db, key).as_ref(), Some(value), "{what}: {key}");
            }
        };
        has_all(&pair.dbs[0], &acknowledged);
        pair.settle_alike(what);
        has_all(&pair.dbs[0], &acknowledged);
        let done = (self.act)(&mut pair, &mut acknowledged);
        done.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        for (db, key) in pair.dbs.iter().zip(["on/0", "on/1"]) {
            put(db, key, "on", &mut acknowledged).unwrap();
        }
        pair.settle_alike(what);
        has_all(&pair.dbs[1], &acknowledged);
        for told in &mut told {
            while let Ok(event) = told.try_recv() {
                use Event::{Diverged, PeerFault, Stuck};
                let is_bad = matches!(event, Diverged { .. } | Stuck { .. } | PeerFault { .. });
                assert!(!is_bad, "{what}: {event:?}");
            }
        }
    }
}

fn hashes(images: &Images) -> Vec<(String, u64)> {
    images.iter().map(|(name, image)| (name.clone(), image.hash())).collect()
}

fn options(clock: &Arc<TestClock>, number: u8) -> Options {
    // What is absorbed takes several commits.
    Options { connection_seed: Some([number; 32]), absorb_keys: Some(8), ..durable(clock) }
}

/// What two devices have that know each other and have met: overwritten keys, deleted ones, and one in
/// conflict.
fn prepared() -> ([StoppingDisk; 2], Pair, Acknowledged) {
    let clock = Arc::new(TestClock::new());
    let disks = [StoppingDisk::default(), StoppingDisk::default()];
    let create = |number: u8| {
        let keys = Some(KeyPair::from_seed([number; 32]));
        let home = Home::own(Arc::new(disks[usize::from(number) - 1].clone()));
        Multibee::create(home, Options { keys, ..options(&clock, number) }).unwrap()
    };
    let dbs = [create(1), create(2)];
    dbs[0].add_replica(dbs[1].key()).unwrap();
    dbs[1].add_replica(dbs[0].key()).unwrap();
    let mut acknowledged = Acknowledged::new();
    let [a, b] = &dbs;
    for round in 0..2 {
        for key in 0..12 {
            put(a, &format!("a/{key}"), &round.to_string(), &mut acknowledged).unwrap();
            b.put(format!("b/{key}"), round.to_string()).unwrap();
        }
    }
    for db in [a, b] {
        db.put("both", db.device().to_string()).unwrap();
        db.increment("count", 3).unwrap();
    }
    let mut pair = Pair::meet(dbs);
    pair.settle_alike("prepared");
    let [a, b] = &pair.dbs;
    for key in ["a/1", "a/2", "b/1"] {
        assert!(a.del(key).unwrap());
        acknowledged.remove(key);
    }
    assert!(b.del("b/2").unwrap());
    pair.settle_alike("prepared");
    (disks, pair, acknowledged)
}

fn left(disks: &[StoppingDisk; 2], pair: Pair) -> [Images; 2] {
    drop(pair);
    disks.each_ref().map(|disk| disk.left(Left::Everything))
}

fn open(home: Home, options: Options) -> Result<Multibee, Error> {
    Multibee::open(home, options)
}

/// A compaction, with writes while it goes on; then the other device hears of it.
#[test]
fn a_compaction() {
    let (disks, pair, acknowledged) = prepared();
    let act = |pair: &mut Pair, acknowledged: &mut Acknowledged| {
        let a = pair.dbs[0].clone();
        let mut written = Ok(());
        let mut count = 0;
        let done = a.compact(|_| {
            if count < 2 && written.is_ok() {
                written = put(&a, &format!("during/{count}"), "1", acknowledged);
                count += 1;
            }
        });
        done.and(written)?;
        put(&a, "after", "1", acknowledged)?;
        pair.settle();
        Ok(())
    };
    let before = left(&disks, pair);
    let tried = Operation { before, is_copy: false, acknowledged, open: &open, act: &act };
    let tried = tried.at_every_change();
    assert!(tried.changes > 60 && tried.images > 90, "{tried:?}");
}

/// Tombstones are forgotten.
#[test]
fn tombstones_are_reclaimed() {
    let (disks, pair, acknowledged) = prepared();
    let act = |pair: &mut Pair, acknowledged: &mut Acknowledged| {
        pair.settle();
        pair.dbs[0].reclaim(&ReclaimOptions::default())?;
        put(&pair.dbs[0], "after", "1", acknowledged)
    };
    let before = left(&disks, pair);
    let operation = Operation { before, is_copy: false, acknowledged, open: &open, act: &act };
    let tried = operation.at_every_change();
    assert!(tried.changes > 15 && tried.images > 20, "{tried:?}");
}

/// What is merged of another device's log is cleared.
#[test]
fn a_replica_is_cleared() {
    let (disks, pair, acknowledged) = prepared();
    let act = |pair: &mut Pair, acknowledged: &mut Acknowledged| {
        for round in 0..2 {
            pair.dbs[1].put(format!("new/{round}"), "1")?;
            pair.settle();
            let mut options = ReclaimOptions::default();
            options.even_for_others = true;
            pair.dbs[0].reclaim(&options)?;
        }
        put(&pair.dbs[0], "after", "1", acknowledged)
    };
    let before = left(&disks, pair);
    let operation = Operation { before, is_copy: false, acknowledged, open: &open, act: &act };
    let tried = operation.at_every_change();
    assert!(tried.changes > 30 && tried.images > 80, "{tried:?}");
}

/// An earlier state is put back, nothing tells so, and the device writes before it meets the one that
/// knows: it moves.
#[test]
fn a_move_after_a_stale_restore() {
    let (disks, mut pair, mut acknowledged) = prepared();
    let earlier = disks[0].left(Left::Everything);
    for key in 0..3 {
        pair.dbs[0].put(format!("late/{key}"), "1").unwrap();
        pair.dbs[0].increment("count", 1).unwrap();
    }
    pair.settle_alike("later");
    let [_, b] = left(&disks, pair);
    // It writes again where it had written before.
    let disk = StoppingDisk::over(&earlier);
    let clock = Arc::new(TestClock::new());
    let a = Multibee::open(Home::own(Arc::new(disk.clone())), options(&clock, 1)).unwrap();
    put(&a, "offline", "1", &mut acknowledged).unwrap();
    drop(a);
    let before = [disk.left(Left::Everything), b];
    let act = |pair: &mut Pair, acknowledged: &mut Acknowledged| {
        pair.settle();
        put(&pair.dbs[0], "after", "1", acknowledged)?;
        assert!(contents(&pair.dbs[0]).iter().any(|(key, _)| key == "late/2"));
        pair.settle();
        Ok(())
    };
    let operation = Operation { before, is_copy: false, acknowledged, open: &open, act: &act };
    let tried = operation.at_every_change();
    assert!(tried.changes > 80 && tried.images > 150, "{tried:?}");
}

/// A directory was copied: the copy moves when it is opened.
#[test]
fn a_move_of_a_copy() {
    let (disks, pair, acknowledged) = prepared();
    let act = |pair: &mut Pair, acknowledged: &mut Acknowledged| {
        put(&pair.dbs[0], "by the copy", "1", acknowledged)?;
        pair.settle();
        Ok(())
    };
    let before = left(&disks, pair);
    let operation = Operation { before, is_copy: true, acknowledged, open: &open, act: &act };
    let tried = operation.at_every_change();
    assert!(tried.changes > 40 && tried.images > 40, "{tried:?}");
}

/// A backup is put back in an empty place, and opened.
#[test]
fn a_backup_is_restored() {
    let (disks, mut pair, acknowledged) = prepared();
    let backup = tempfile::tempdir().unwrap();
    pair.dbs[0].backup(backup.path(), &BackupOptions::with_replicas(), |_| {}).unwrap();
    pair.dbs[0].put("late", "1").unwrap();
    pair.settle_alike("later");
    let [_, b] = left(&disks, pair);
    let act = |pair: &mut Pair, acknowledged: &mut Acknowledged| {
        pair.settle();
        put(&pair.dbs[0], "after", "1", acknowledged)?;
        assert_eq!(text(&pair.dbs[0], "late"), Some("1".into()));
        Ok(())
    };
    let open = |home, options| restored(backup.path(), home, options);
    let before = [Images::new(), b];
    let operation = Operation { before, is_copy: false, acknowledged, open: &open, act: &act };
    let tried = operation.at_every_change();
    assert!(tried.changes > 100 && tried.images > 120, "{tried:?}");
}

/// Puts a backup back, unless that is done already, and opens the database.
fn restored(backup: &Path, home: Home, options: Options) -> Result<Multibee, Error> {
    match Multibee::restore(backup, &home, |_| {}) {
        Ok(()) | Err(Error::AlreadyExists { .. }) => Multibee::open(home, options),
        Err(error) => Err(error),
    }
}
