//! Reading a log that another process, or another handle, writes.

use multibee_log::{
    Durability, Error, FileStorage, KeyPair, Log, LogOptions, MemoryStorage, Request,
    RequestUpgrade,
};
use proptest::prelude::*;

use crate::keys;

/// A reader sees the log as it was opened until it looks again; it writes nothing, needs no key, and
/// proves to others only what is certain to be on disk.
#[test]
fn a_reader_follows_a_live_writer() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let log =
        Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap();
    log.append(&["a", "b"]).unwrap();
    assert!(matches!(FileStorage::open(&dir), Err(Error::Locked { .. })));
    let storage = FileStorage::open_read_only(&dir).unwrap();
    let reader = Log::open_read_only(storage, LogOptions::default()).unwrap();
    assert_eq!((reader.len(), reader.get(1).unwrap().unwrap().as_ref()), (2, b"b".as_slice()));
    assert!(!reader.is_writable() && !reader.refresh().unwrap());
    assert_eq!(reader.durable_len(), 0, "the header tells of nothing yet");
    log.append(&["c"]).unwrap();
    assert_eq!(reader.len(), 2);
    assert!(reader.refresh().unwrap());
    assert_eq!((reader.len(), reader.head()), (3, log.head()));
    log.flush().unwrap();
    reader.refresh().unwrap();
    let upgrade = Some(RequestUpgrade { start: 0, length: 3 });
    let request = Request { upgrade, ..Request::default() };
    assert_eq!(reader.prove(&request).unwrap(), log.prove(&request).unwrap());

    assert!(matches!(reader.append(&["x"]), Err(Error::ReadOnly)));
    assert!(matches!(reader.truncate(0), Err(Error::ReadOnly)));
    assert!(matches!(reader.clear(0..1), Err(Error::ReadOnly)));
    assert!(matches!(reader.set_user_data("k", b"v"), Err(Error::ReadOnly)));
    assert!(matches!(reader.sync(), Err(Error::ReadOnly)));
    assert!(matches!(reader.flush(), Err(Error::ReadOnly)));
    assert!(matches!(reader.reclaim(), Err(Error::ReadOnly)));
    let proof = log.prove(&request).unwrap();
    assert!(matches!(reader.apply(&proof), Err(Error::ReadOnly)));

    // A block that is overwritten under the reader is not mistaken for damage.
    log.truncate(1).unwrap();
    log.append(&["other", "blocks"]).unwrap();
    assert_eq!(reader.get(2).unwrap().unwrap(), "blocks");
    assert_eq!(reader.fork(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// At any moment a reader that looks again sees exactly what the writer has, whatever the
    /// writer does, and whether or not it has moved its entries to their places.
    #[test]
    fn readers_see_what_writers_have(
        steps in prop::collection::vec((0..6_u8, 1..40_u64), 1..20),
    ) {
        let storage = MemoryStorage::new();
        let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
        let log = Log::create(storage.clone(), KeyPair::from_seed([3; 32]), options).unwrap();
        let reader = Log::open_read_only(storage, LogOptions::default()).unwrap();
        for (kind, number) in steps {
            match kind {
                0 | 1 => drop(log.append(&vec![number.to_le_bytes(); number as usize])?),
                2 => log.flush()?,
                3 => drop(log.truncate(log.len() * number / 40)?),
                4 => log.clear(number..number + 5)?,
                _ => log.set_user_data("number", &number.to_le_bytes())?,
            }
            reader.refresh()?;
            prop_assert_eq!((reader.head(), reader.fork()), (log.head(), log.fork()));
            prop_assert_eq!(reader.held(0..u64::MAX), log.held(0..u64::MAX));
            prop_assert_eq!(reader.user_data("number"), log.user_data("number"));
            for number in 0..log.len() {
                prop_assert_eq!(reader.get(number)?, log.get(number)?);
            }
        }
    }
}

/// A reader in another thread, while the writer appends, flushes and cuts: each look gives a state
/// in which the log was, with all its blocks.
#[test]
fn each_look_is_one_state() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let log = Log::create(FileStorage::create(&dir).unwrap(), keys(), options.clone()).unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let storage = FileStorage::open_read_only(&dir).unwrap();
            let reader = Log::open_read_only(storage, options.clone()).unwrap();
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                match reader.refresh() {
                    Ok(_) | Err(Error::Busy) => {}
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(reader.len() % 5, 0);
                for number in 0..reader.len() {
                    let block = reader.get(number).unwrap();
                    assert!(block.is_none_or(|block| block == number.to_le_bytes().as_slice()));
                }
            }
        });
        for round in 0..200_u64 {
            let len = log.len();
            log.append(&(len..len + 5).map(u64::to_le_bytes).collect::<Vec<_>>()).unwrap();
            if round % 7 == 0 {
                log.flush().unwrap();
            }
            if round % 50 == 49 {
                log.truncate(log.len() / 10 * 5).unwrap();
            }
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
