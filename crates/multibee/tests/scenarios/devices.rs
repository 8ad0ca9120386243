//! Devices, links between them, and when they are at rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use multibee::{
    Connection, Content, Durability, Home, KeyPair, Multibee, Options, RangeSpec, Role, WallClock,
};
use tempfile::TempDir;

/// Far more than any step takes; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A wall clock that a test sets.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1_700_000_000_000))
    }

    pub(crate) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    pub(crate) fn move_by(&self, by_ms: i64) {
        self.set(self.now_ms().saturating_add_signed(by_ms));
    }
}

impl WallClock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Where the devices of a test keep their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Disk,
}

/// A group of devices, all of them members.
pub(crate) struct Group {
    pub(crate) devices: Vec<Device>,
    _dir: TempDir,
}

pub(crate) struct Device {
    pub(crate) db: Multibee,
    pub(crate) home: Home,
    pub(crate) clock: Arc<TestClock>,
}

/// A link between two devices. It lasts until it is cut.
pub(crate) struct Link {
    ends: [(Multibee, Connection); 2],
}

impl Group {
    /// So many devices, each of which has admitted all others.
    pub(crate) fn new(kind: Kind, count: u8) -> Self {
        let group = Self::strangers(kind, count);
        for device in &group.devices {
            for other in &group.devices {
                if other.db.key() != device.db.key() {
                    device.db.add_replica(other.db.key()).unwrap();
                }
            }
        }
        group
    }

    /// So many devices that don't know each other.
    pub(crate) fn strangers(kind: Kind, count: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let device = |number: u8| {
            let home = match kind {
                Kind::Memory => Home::memory(),
                Kind::Disk => Home::dir(dir.path().join(number.to_string())),
            };
            let clock = Arc::new(TestClock::new());
            let keys = Some(KeyPair::from_seed([number + 1; 32]));
            let db = Multibee::create(home.clone(), Options { keys, ..options(&clock) }).unwrap();
            Device { db, home, clock }
        };
        Self { devices: (0..count).map(device).collect(), _dir: dir }
    }

    pub(crate) fn db(&self, number: usize) -> &Multibee {
        &self.devices[number].db
    }

    /// Connects two devices by a pipe in memory.
    pub(crate) async fn link(&self, one: usize, other: usize) -> Link {
        link(self.db(one), self.db(other)).await
    }

    /// Waits until nothing is left to send or to merge, and checks that all hold the same.
    pub(crate) async fn converge(&self) {
        let all: Vec<_> = self.devices.iter().map(|device| &device.db).collect();
        converge(&all).await;
    }

    /// As [`converge`](Self::converge), for two of the devices.
    pub(crate) async fn converge_pair(&self, one: usize, other: usize) {
        converge(&[self.db(one), self.db(other)]).await;
    }

    /// Ends a device as if its process had been killed, and starts it anew on what it left.
    pub(crate) async fn restart(&mut self, number: usize) {
        self.restart_as(number, |options| options).await;
    }

    /// As [`restart`](Self::restart), with another program, say one that knows more types.
    pub(crate) async fn restart_as(
        &mut self,
        number: usize,
        change: impl FnOnce(Options) -> Options,
    ) {
        let device = self.devices.remove(number);
        let Device { db, home, clock } = device;
        db.close().await.unwrap();
        let db = Multibee::open(home.clone(), change(options(&clock))).unwrap();
        self.devices.insert(number, Device { db, home, clock });
    }
}

/// Buffered: what these tests are about is merging, and a sync for each write would slow them.
pub(crate) fn options(clock: &Arc<TestClock>) -> Options {
    Options { durability: Durability::Buffered, clock: clock.clone(), ..Options::default() }
}

pub(crate) async fn link(one: &Multibee, other: &Multibee) -> Link {
    let (left, right) = tokio::io::duplex(1 << 20);
    let ends = [
        (one.clone(), one.attach(left, Role::Initiator)),
        (other.clone(), other.attach(right, Role::Responder)),
    ];
    for (db, connection) in &ends {
        let introduced = tokio::time::timeout(PATIENCE, db.wait_introduced(*connection)).await;
        introduced.expect("both are introduced in time").unwrap();
    }
    Link { ends }
}

impl Link {
    /// Cuts the link and waits until both sides know.
    pub(crate) async fn cut(self) {
        for (db, connection) in &self.ends {
            db.disconnect(*connection);
        }
        for (db, connection) in &self.ends {
            let gone = async {
                let mut changes = db.changes();
                while db.is_connected(*connection) {
                    changes.changed().await.unwrap();
                }
            };
            tokio::time::timeout(PATIENCE, gone).await.expect("the link ends in time");
        }
    }
}

/// Waits until all of these have applied the same writes, then checks that they hold the same:
/// entries in order, conflicts with authors, and digests, by a full scan of each.
pub(crate) async fn converge(devices: &[&Multibee]) {
    let same = async {
        let mut changes: Vec<_> = devices.iter().map(|db| db.changes()).collect();
        loop {
            changes.iter_mut().for_each(|change| {
                change.borrow_and_update();
            });
            let clocks: Vec<_> = devices.iter().map(|db| db.status().unwrap().clock).collect();
            if clocks.windows(2).all(|pair| pair[0].same_lengths(&pair[1])) {
                return;
            }
            let waits = changes.iter_mut().map(|change| Box::pin(change.changed()));
            any(waits.collect()).await;
        }
    };
    if tokio::time::timeout(PATIENCE, same).await.is_err() {
        let all: Vec<_> = devices.iter().map(|db| db.status().unwrap()).collect();
        panic!("not converged: {all:#?}");
    }
    check_same(devices);
}

/// Checks that all of these hold the same, and what their commits say.
pub(crate) fn check_same(devices: &[&Multibee]) {
    let states: Vec<_> = devices.iter().map(|db| contents(db)).collect();
    for (db, state) in devices.iter().zip(&states) {
        assert_eq!(state, &states[0], "user states differ");
        assert_eq!(db.verify().unwrap(), devices[0].verify().unwrap(), "scans differ");
        assert_eq!(db.conflicts().unwrap(), devices[0].conflicts().unwrap(), "conflicts differ");
    }
}

/// Copies files and folders over what is there. Files that are there stay the same files, so that nothing
/// about them tells that what is in them is older.
pub(crate) fn put_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            put_files(&entry.path(), &target);
        } else if target.exists() {
            std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap();
        } else {
            // With its mode: a key that others may read is refused.
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits until a device sees something.
pub(crate) async fn until(db: &Multibee, what: &str, seen: impl Fn() -> bool) {
    let waiting = async {
        let mut changes = db.changes();
        while !seen() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits for whichever future is done first.
async fn any<F: Future + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(move |cx| {
        let ready = futures.iter_mut().any(|future| std::pin::Pin::new(future).poll(cx).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// The user state of a device.
pub(crate) fn contents(db: &Multibee) -> Vec<(Bytes, Bytes)> {
    let entries = db.range(RangeSpec::default()).unwrap();
    entries.map(|entry| entry.unwrap()).map(|entry| (entry.key, entry.value)).collect()
}

/// All orders of some things, each with the ends of all links as they are, and exchanged.
pub(crate) fn connection_orders(links: &[(usize, usize)]) -> Vec<Vec<(usize, usize)>> {
    let mut orders = Vec::new();
    for order in permutations(links) {
        orders.push(order.iter().map(|&(one, other)| (other, one)).collect());
        orders.push(order);
    }
    orders
}

/// All orders of some things.
pub(crate) fn permutations<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
    if things.is_empty() {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for at in 0..things.len() {
        let mut rest = things.to_vec();
        let first = rest.remove(at);
        orders.extend(permutations(&rest).into_iter().map(|mut order| {
            order.insert(0, first.clone());
            order
        }));
    }
    orders
}

/// The value of a key, as text.
pub(crate) fn text(db: &Multibee, key: &str) -> Option<String> {
    let entry = db.get(key).unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

/// The versions of a key in conflict: the value (`None` for a delete) by its author.
pub(crate) fn versions(db: &Multibee, key: &str) -> BTreeMap<String, Option<Bytes>> {
    let conflict = db.conflict(key).unwrap();
    let versions = conflict.map(|conflict| conflict.versions).unwrap_or_default();
    let version = |version: multibee::Version| {
        let value = match version.content {
            Content::Value(value) => Some(value),
            Content::Deleted => None,
        };
        (version.dot.device.to_string(), value)
    };
    versions.into_iter().map(version).collect()
}

/// Runs a scenario in memory and on disk.
#[macro_export]
macro_rules! scenario {
    ($(#[$doc:meta])* $name:ident, $run:path) => {
        $(#[$doc])*
        mod $name {
            use super::*;
            use $crate::devices::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                $run(Kind::Memory).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_disk() {
                $run(Kind::Disk).await;
            }
        }
    };
}
