//! S60: a device clears what it holds of another one's log, once that is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use multibee::{Durability, Home, LogOptions, Multibee, Options, Places, ReclaimOptions, Storage};
use multibee_log::Part;
use multibee_log::testing::{Effort, RecordingStorage};

use crate::crashes::{Disks, Images, durable, home, pair};
use crate::devices::{Group, Kind, TestClock, contents, converge};
use crate::s04_downloaded_not_merged::download;
use crate::scenario;

const ENTRIES: usize = 1000;
const PRIMARY: &str = "primary";

/// How many events each disk had seen, whenever one of them had seen another one.
type Moments = Vec<BTreeMap<String, usize>>;

/// Disks that remember in which order things happened to all of them.
#[derive(Debug)]
struct Watched {
    disks: BTreeMap<String, RecordingStorage>,
    moments: Mutex<Moments>,
}

impl Watched {
    fn over(images: &Images) -> Arc<Self> {
        let disk = |(name, image): (&String, &multibee_log::testing::Image)| {
            (name.clone(), image.to_storage())
        };
        let disks = images.iter().map(disk).collect();
        Arc::new(Self { disks, moments: Mutex::default() })
    }

    fn note(&self) {
        let counts = self.disks.iter().map(|(name, disk)| (name.clone(), disk.event_count()));
        self.moments.lock().unwrap().push(counts.collect());
    }
}

#[derive(Debug)]
struct WatchedPlaces(Arc<Watched>);

impl Places for WatchedPlaces {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Storage>>> {
        let disk = self.0.disks.get(name).cloned();
        Ok(disk.map(|disk| Arc::new(WatchedDisk(disk, self.0.clone())) as Arc<dyn Storage>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        Err(io::Error::other(format!("{name} is not to be made")))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.disks.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Err(io::Error::other(format!("{from} is not to become {to}")))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Err(io::Error::other(format!("{name} is to stay")))
    }
}

struct WatchedDisk(RecordingStorage, Arc<Watched>);

impl Storage for WatchedDisk {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(part, offset, bytes)?;
        self.1.note();
        Ok(())
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        self.0.len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        self.0.truncate(part, len)?;
        self.1.note();
        Ok(())
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        self.0.sync(part)?;
        self.1.note();
        Ok(())
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        self.0.discard(part, offset, len)?;
        self.1.note();
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        self.0.publish()?;
        self.1.note();
        Ok(())
    }
}

/// The images of A with many entries, and of B, who has downloaded them and merged nothing.
fn downloaded(clock: &Arc<TestClock>) -> [Images; 2] {
    let [a, b] = pair(clock, |db| {
        let mut batch = db.batch();
        for i in 0..ENTRIES {
            batch.put(format!("key/{i:04}"), "value");
        }
        batch.commit().unwrap();
    });
    let disks = [Disks::over(&a), Disks::over(&b)];
    let [home_a, home_b] = disks.clone().map(|disks| Home::own(disks));
    let log = home_a.open_primary(LogOptions::default()).unwrap();
    let replica = home_b.replica(log.key(), LogOptions::default()).unwrap();
    download(&log, &replica);
    replica.flush().unwrap();
    drop((log, replica));
    disks.map(|disks| disks.images())
}

/// B merges what it has downloaded, with no haste to get it on the disk, and clears it at once.
/// Whatever a crash leaves, at whichever step of that: B has all of it, with no link, and then goes on
/// with A.
async fn run(kind: Kind) {
    let clock = Arc::new(TestClock::new());
    let [a, b] = downloaded(&clock);
    let replica = b.keys().find(|name| *name != PRIMARY).unwrap().clone();
    let disks = Watched::over(&b);
    let home_b = Home::own(Arc::new(WatchedPlaces(disks.clone())));
    let tidy = Options { tidy_blocks: Some(100), ..durable(&clock) };
    let buffered = Options { durability: Durability::Buffered, ..tidy };
    let db = Multibee::open(home_b, buffered).unwrap();
    let expected = contents(&db);
    assert_eq!(expected.len(), ENTRIES);
    drop(db);

    let recordings: BTreeMap<_, _> =
        disks.disks.iter().map(|(name, disk)| (name.clone(), disk.recording())).collect();
    let effort = Effort { exhaustive: 2, samples: 1, seed: 1 };
    let moments = disks.moments.lock().unwrap().clone();
    let (mut seen, mut cleared, mut merged) = (BTreeSet::new(), 0, 0);
    for moment in moments.iter().step_by(if kind == Kind::Memory { 1 } else { 7 }) {
        for primary in recordings[PRIMARY].crash(moment[PRIMARY], effort) {
            for of_a in recordings[&replica].crash(moment[&replica], effort) {
                if !seen.insert((primary.image().hash(), of_a.image().hash())) {
                    continue;
                }
                let dir = tempfile::tempdir().unwrap();
                let left = [(PRIMARY, primary.image()), (&*replica, of_a.image())];
                let left = left.map(|(name, image)| (name.to_owned(), image.clone())).into();
                let b_home = home(kind, &left, &dir.path().join("b"));
                let b_again = Multibee::open(b_home, durable(&clock)).unwrap();
                assert_eq!(contents(&b_again), expected, "lost by {primary} and {of_a}");
                b_again.verify().unwrap();
                let report = b_again.reclaim(&ReclaimOptions::default()).unwrap();
                let left = report.replica_blocks.count;
                if left == 0 {
                    cleared += 1
                } else {
                    merged += 1
                }
                if seen.len() % 50 == 1 {
                    let a_home = home(kind, &a, &dir.path().join("a"));
                    let a_again = Multibee::open(a_home, durable(&clock)).unwrap();
                    let _link = crate::devices::link(&a_again, &b_again).await;
                    a_again.put("more", "1").unwrap();
                    converge(&[&a_again, &b_again]).await;
                }
            }
        }
    }
    assert!(cleared > 0 && merged > 0, "crashes before and after: {cleared}, {merged}");
}

scenario!(s60_clear_replica_storage_after_merging, run);

/// What is cleared leaves the disk; a dry run says how much that will be, and clears nothing. As long
/// as another member may lack it, it stays, and the report says because of whom; unless it is so
/// wished. A mirror's copies stay.
async fn reported(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    let mut batch = a.batch();
    for i in 0..ENTRIES {
        batch.put(format!("key/{i:04}"), "a value of some length".repeat(20));
    }
    batch.commit().unwrap();
    let _ab = group.link(0, 1).await;
    converge(&[&a, &b]).await;

    let mut options = ReclaimOptions::default();
    let report = b.reclaim(&options).unwrap().replica_blocks;
    assert_eq!((report.count, report.held_back.len()), (0, 1), "C may lack it: {report:?}");
    let held = &report.held_back[0];
    assert_eq!((held.device, held.reason), (Some(c.key()), multibee::HoldReason::NotSeen));
    assert!(held.count >= ENTRIES as u64 && held.bytes > 400 * ENTRIES as u64, "{held:?}");

    let _bc = group.link(1, 2).await;
    group.converge().await;
    options.dry_run = true;
    let foretold = loop {
        // C says how far it is a moment after it got there.
        let foretold = b.reclaim(&options).unwrap().replica_blocks;
        if foretold.held_back.is_empty() {
            break foretold;
        }
        tokio::task::yield_now().await;
    };
    assert!(foretold.count >= ENTRIES as u64, "{foretold:?}");
    options.dry_run = false;
    let report = b.reclaim(&options).unwrap().replica_blocks;
    assert_eq!(report, foretold);
    let again = b.reclaim(&options).unwrap().replica_blocks;
    assert_eq!((again.count, again.bytes), (0, 0));
    assert_eq!(contents(&b).len(), ENTRIES);
    a.put("key/0001", "another").unwrap();
    group.converge().await;
}

scenario!(s60_what_is_cleared_is_reported, reported);
