use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use multibee_log::{Durability, Log, LogOptions, MemoryStorage, Part, Storage};

use crate::keys;

/// Storage that tells of each sync, and may be told to wait in it.
#[derive(Clone, Default)]
struct Watched {
    inner: MemoryStorage,
    synced: Arc<Mutex<Option<Sender<Part>>>>,
    /// Held by a test that does not let a sync end.
    gate: Arc<Mutex<()>>,
}

impl Storage for Watched {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(part, offset, bytes)
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        self.inner.len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        self.inner.truncate(part, len)
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        if let Some(synced) = &*self.synced.lock().unwrap() {
            let _ = synced.send(part);
        }
        drop(self.gate.lock().unwrap());
        Ok(())
    }
}

fn options(durability: Durability) -> LogOptions {
    LogOptions { durability, ..LogOptions::default() }
}

/// An eventually durable commit is durable without anybody asking for it.
#[test]
fn eventual_commits_become_durable_by_themselves() {
    let storage = Watched::default();
    let durability = Durability::Eventual { max_delay: Duration::from_millis(1) };
    let log = Log::create(storage.clone(), keys(), options(durability)).unwrap();
    let (sender, synced) = channel();
    *storage.synced.lock().unwrap() = Some(sender);
    log.append(&["block"]).unwrap();
    while synced.recv().unwrap() != Part::Oplog {}
    // It is noted once the sync has returned, for which this waits its turn.
    log.sync().unwrap();
    assert_eq!(log.durable_len(), 1);
    assert!(synced.try_recv().is_err(), "there was nothing left to sync");
    // However long the delay: what is accepted is synced when the log is closed.
    let durability = Durability::Eventual { max_delay: Duration::from_secs(3600) };
    drop(log);
    let log = Log::open(storage.clone(), options(durability)).unwrap();
    while synced.try_recv().is_ok() {}
    log.append(&["block"]).unwrap();
    drop(log);
    assert!(synced.try_iter().any(|part| part == Part::Oplog));
}

/// Without durability nothing is written until it is asked for, or until it is much; reading sees
/// it all the same.
#[test]
fn volatile_commits_stay_in_memory() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), options(Durability::None)).unwrap();
    let before = storage.len(Part::Oplog).unwrap();
    log.append(&["one", "two"]).unwrap();
    log.append(&["three"]).unwrap();
    assert_eq!((storage.len(Part::Data).unwrap(), storage.len(Part::Oplog).unwrap()), (0, before));
    assert_eq!(log.get(2).unwrap().unwrap(), "three");
    assert_eq!((log.len(), log.durable_len()), (3, 0));
    // Another program that dies here has lost them, and no more.
    assert_eq!(Log::open(storage.deep_clone(), LogOptions::default()).unwrap().len(), 0);
    log.sync().unwrap();
    assert_eq!((storage.len(Part::Data).unwrap(), log.durable_len()), (11, 3));
    log.append(&vec![vec![7; 1000]; 3000]).unwrap();
    assert!(storage.len(Part::Data).unwrap() > 2_000_000, "memory is bounded");
    log.append(&["last"]).unwrap();
    drop(log);
    let log = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!(log.get(3003).unwrap().unwrap(), "last");
}

/// Commits that are made while a sync is under way share the next one.
#[test]
fn commits_share_syncs() {
    const WRITERS: u64 = 8;
    let storage = Watched::default();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    let (sender, synced) = channel();
    *storage.synced.lock().unwrap() = Some(sender);
    let gate = storage.gate.lock().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| log.append(&["first"]).unwrap());
        // The first is in its sync, and stays there.
        assert_eq!(synced.recv().unwrap(), Part::Data);
        let tokens: Vec<_> =
            (0..WRITERS).map(|number| log.submit(&[number.to_le_bytes()]).unwrap()).collect();
        assert_eq!((log.len(), log.durable_len()), (0, 0), "nobody sees what may be lost");
        assert_eq!(tokens[7].len(), WRITERS + 1);
        assert!(!tokens[0].is_durable());
        let waiting: Vec<_> =
            tokens.iter().cloned().map(|token| scope.spawn(move || token.wait_durable())).collect();
        drop(gate);
        assert_eq!(first.join().unwrap(), 1);
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap().unwrap());
        assert!(tokens.iter().all(|token| token.is_durable()));
    });
    assert_eq!((log.len(), log.durable_len()), (WRITERS + 1, WRITERS + 1));
    // The rest of the first sync, which has their entries as well, and one for all their blocks.
    assert_eq!(synced.try_iter().collect::<Vec<_>>(), [Part::Oplog, Part::Data]);
}

/// Appends from many threads are all there, each whole, in some order.
#[test]
fn appends_from_many_threads_are_all_there() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    thread::scope(|scope| {
        for writer in 0..6_u8 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..40_u8 {
                    let len = log.append(&[[writer, number, 0], [writer, number, 1]]).unwrap();
                    assert!(log.durable_len() >= len);
                    assert_eq!(log.get(len - 2).unwrap().unwrap(), [writer, number, 0].as_slice());
                }
            });
        }
    });
    drop(log);
    let log = Log::open(storage, LogOptions::default()).unwrap();
    let mut next = [0; 6];
    for pair in 0..240 {
        let (first, second) = (log.get(2 * pair).unwrap(), log.get(2 * pair + 1).unwrap());
        let first = first.unwrap();
        let writer = usize::from(first[0]);
        assert_eq!(first, [first[0], next[writer], 0].as_slice(), "each thread's own order");
        assert_eq!(second.unwrap(), [first[0], next[writer], 1].as_slice());
        next[writer] += 1;
    }
    assert_eq!(next, [40; 6]);
}
