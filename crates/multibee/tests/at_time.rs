//! What a device showed at an earlier time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use multibee::{Durability, Home, Multibee, Options, RangeSpec, Role, View, WallClock};
use proptest::collection::vec;
use proptest::prelude::*;

/// A wall clock that a test sets.
#[derive(Debug)]
struct TestClock(AtomicU64);

impl WallClock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Device {
    db: Multibee,
    home: Home,
    clock: Arc<TestClock>,
}

impl Device {
    fn new() -> Self {
        let (home, clock) = (Home::memory(), Arc::new(TestClock(AtomicU64::new(1_000_000))));
        let db = Multibee::create(home.clone(), options(&clock)).unwrap();
        Self { db, home, clock }
    }

    fn restart(&mut self) {
        // The last handle has to go before the database can be opened again.
        self.db = Multibee::create(Home::memory(), Options::default()).unwrap();
        self.db = Multibee::open(self.home.clone(), options(&self.clock)).unwrap();
    }
}

fn options(clock: &Arc<TestClock>) -> Options {
    Options { durability: Durability::Buffered, clock: clock.clone(), ..Options::default() }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn contents(view: &View) -> Vec<(Bytes, Bytes)> {
    let entries = view.range(RangeSpec::default());
    entries.map(|entry| entry.unwrap()).map(|entry| (entry.key, entry.value)).collect()
}

/// Something that a user or a clock does.
#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Batch(u8),
    Clock(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Step::Put),
        2 => (0..6_u8).prop_map(Step::Delete),
        1 => (2..40_u8).prop_map(Step::Batch),
        3 => (-50..200_i64).prop_map(Step::Clock),
        1 => Just(Step::Restart),
    ]
}

fn carry_out(device: &mut Device, number: usize, step: &Step) {
    match step {
        Step::Put(key) => device.db.put([*key], format!("{number}")).unwrap(),
        Step::Delete(key) => {
            device.db.del([*key]).unwrap();
        }
        Step::Batch(count) => {
            let mut batch = device.db.batch();
            for key in 0..*count {
                batch.put([key], format!("{number} {key}"));
            }
            batch.commit().unwrap();
        }
        Step::Clock(by) => {
            let now = device.clock.now_ms().saturating_add_signed(*by);
            device.clock.0.store(now, Ordering::SeqCst);
        }
        Step::Restart => device.restart(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// At any time, a device showed what its last commit by then had left, whatever its clock did
    /// and however often it was restarted; and the times of its commits never fall.
    #[test]
    fn the_last_commit_by_then_is_shown(
        steps in vec(step(), 1..60),
        asked in vec(999_000..1_006_000_u64, 20),
    ) {
        let mut device = Device::new();
        // The versions that there were: when each was made, and what it showed.
        let mut shown = vec![(UNIX_EPOCH, 1, Vec::new())];
        for (number, step) in steps.iter().enumerate() {
            carry_out(&mut device, number, step);
            let view = device.db.view().unwrap();
            if view.version() > shown.last().unwrap().1 {
                let time = view.time().unwrap().unwrap();
                prop_assert!(time >= shown.last().unwrap().0, "time went back");
                shown.push((time, view.version(), contents(&view)));
            }
        }
        let edges = shown.iter().map(|(time, ..)| *time);
        let edges: Vec<_> =
            edges.clone().chain(edges.map(|time| time + Duration::from_millis(1))).collect();
        for time in asked.into_iter().map(at).chain(edges) {
            let (_, version, expected) = shown.iter().rfind(|(made, ..)| *made <= time).unwrap();
            let view = device.db.at(time).unwrap();
            prop_assert_eq!((view.version(), &contents(&view)), (*version, expected));
        }
    }
}

/// What was merged shows from the time on at which this device merged it, not from that at which it
/// was written elsewhere.
#[tokio::test]
async fn what_is_merged_shows_from_then_on() {
    let (a, b) = (Device::new(), Device::new());
    a.db.add_replica(b.db.key()).unwrap();
    b.db.add_replica(a.db.key()).unwrap();
    b.clock.0.store(1_005_000, Ordering::SeqCst);
    b.db.put("own", "1").unwrap();
    a.clock.0.store(1_010_000, Ordering::SeqCst);
    a.db.put("k", "from A").unwrap();
    b.clock.0.store(1_020_000, Ordering::SeqCst);

    let (left, right) = tokio::io::duplex(1 << 16);
    a.db.attach(left, Role::Initiator);
    b.db.attach(right, Role::Responder);
    b.db.wait_synced(Duration::from_secs(60)).await.unwrap();

    let before = b.db.at(at(1_019_999)).unwrap();
    assert!(before.get(b"k").unwrap().is_none() && before.get(b"own").unwrap().is_some());
    let after = b.db.at(at(1_020_000)).unwrap();
    assert_eq!(after.get(b"k").unwrap().unwrap().value, "from A");
    assert!(a.db.at(at(1_010_000)).unwrap().get(b"k").unwrap().is_some());
}

/// Before the first commit, and before 1970, there was nothing; in the future there is what is now.
#[test]
fn the_ends_of_time_are_no_errors() {
    let device = Device::new();
    assert_eq!(device.db.at(SystemTime::now()).unwrap().version(), 1);
    assert_eq!(device.db.view().unwrap().time().unwrap(), None);
    device.db.put("k", "v").unwrap();
    assert_eq!(device.db.at(UNIX_EPOCH - Duration::from_secs(1)).unwrap().version(), 1);
    let far = at(u64::MAX / 1_000_000);
    assert!(device.db.at(far).unwrap().get(b"k").unwrap().is_some());
}
