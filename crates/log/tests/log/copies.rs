//! Directories that were copied, restored or moved.

use std::fs;
use std::path::Path;

use multibee_log::{
    Error, FileStorage, Log, LogOptions, Request, RequestBlock, RequestUpgrade, Result,
};
use tempfile::TempDir;

use crate::keys;

fn create(dir: &Path) -> Log {
    Log::create(FileStorage::create(dir).unwrap(), keys(), LogOptions::default()).unwrap()
}

fn open(dir: &Path) -> Result<Log> {
    Log::open(FileStorage::open(dir)?, LogOptions::default())
}

/// Copies files as a backup does: new files of the same names, bytes and rights.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A copy can be read, but not written, however often it is opened. It follows the original as a
/// replica does; the original is as before.
#[test]
fn a_copy_is_not_written() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (dir.path().join("log"), dir.path().join("copy"));
    let original = create(&first);
    original.append(&["rain", "sun"]).unwrap();
    drop(original);
    copy(&first, &second);
    for _ in 0..2 {
        let log = open(&second).unwrap();
        assert!(log.is_copy() && !log.is_writable());
        assert_eq!(log.get(1).unwrap().as_deref(), Some(&b"sun"[..]));
        assert!(matches!(log.append(&["wind"]), Err(Error::Copied)));
        assert!(matches!(log.truncate(1), Err(Error::Copied)));
        assert_eq!(log.len(), 2);
    }
    let original = open(&first).unwrap();
    assert!(original.is_writable() && !original.is_copy());
    original.append(&["snow"]).unwrap();

    let log = open(&second).unwrap();
    let block = Some(RequestBlock { index: 2, nodes: 0 });
    let upgrade = Some(RequestUpgrade { start: 2, length: 1 });
    let proof = original.prove(&Request { block, upgrade, ..Request::default() }).unwrap();
    log.apply(&proof).unwrap();
    assert_eq!(log.get(2).unwrap().as_deref(), Some(&b"snow"[..]));
    assert!(log.audit(|_| ()).unwrap().is_clean());
}

/// A copy of a log that is damaged is as long as the log: what was damaged cannot be read, and all
/// else is there, also once what was downloaded comes after it.
#[test]
fn a_damaged_copy_is_not_cut() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (dir.path().join("log"), dir.path().join("copy"));
    let original = create(&first);
    for block in ["rain", "sun", "wind"] {
        original.append(&[block]).unwrap();
    }
    drop(original);
    copy(&first, &second);
    let mut data = fs::read(second.join("data")).unwrap();
    data[0] ^= 1;
    fs::write(second.join("data"), data).unwrap();
    let original = open(&first).unwrap();
    original.append(&["snow"]).unwrap();
    for round in 0..3 {
        let log = open(&second).unwrap();
        assert!(log.is_copy());
        assert_eq!(log.len(), if round == 0 { 3 } else { 4 });
        assert!(matches!(log.get(0), Err(Error::Corrupt { .. })));
        assert_eq!(log.get(2).unwrap().as_deref(), Some(&b"wind"[..]));
        if round == 0 {
            let block = Some(RequestBlock { index: 3, nodes: 0 });
            let upgrade = Some(RequestUpgrade { start: 3, length: 1 });
            let request = Request { block, upgrade, ..Request::default() };
            log.apply(&original.prove(&request).unwrap()).unwrap();
        }
    }
}

/// Once adopted, a copy is written, and it is the original that is a copy of it when it is put in
/// its place. What it has downloaded before it goes on from.
#[test]
fn an_adopted_copy_is_written() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (dir.path().join("log"), dir.path().join("copy"));
    drop(create(&first));
    copy(&first, &second);
    assert!(open(&second).unwrap().is_copy());
    let log = Log::adopt(FileStorage::open(&second).unwrap(), LogOptions::default()).unwrap();
    assert!(log.is_writable() && !log.is_copy());
    log.append(&["rain"]).unwrap();
    drop(log);
    assert_eq!(open(&second).unwrap().append(&["sun"]).unwrap(), 2);
    // Adopting what is no copy changes nothing.
    drop(Log::adopt(FileStorage::open(&second).unwrap(), LogOptions::default()).unwrap());
    assert!(open(&second).unwrap().is_writable());
}

/// A directory that is renamed is no copy; one whose mark is damaged or another log's is taken for
/// one; one without a mark, as other programs make it, is marked when it is first opened.
#[test]
fn only_copies_are_copies() {
    let dir = TempDir::new().unwrap();
    let [first, second, third] = ["a", "b", "c"].map(|name| dir.path().join(name));
    create(&first).append(&["rain"]).unwrap();
    fs::rename(&first, &second).unwrap();
    assert!(open(&second).unwrap().is_writable());

    let mark = fs::read(second.join("instance")).unwrap();
    for damaged in [&b""[..], b"something else", &mark[..mark.len() - 3]] {
        fs::write(second.join("instance"), damaged).unwrap();
        assert!(open(&second).unwrap().is_copy());
    }
    fs::remove_file(second.join("instance")).unwrap();
    assert!(open(&second).unwrap().is_writable());
    assert_eq!(fs::read(second.join("instance")).unwrap(), mark);
    copy(&second, &third);
    assert!(open(&third).unwrap().is_copy());
    // A reader of another process asks nobody and writes nothing.
    fs::remove_file(third.join("instance")).unwrap();
    let files = FileStorage::open_read_only(&third).unwrap();
    assert!(!Log::open_read_only(files, LogOptions::default()).unwrap().is_writable());
    assert!(!third.join("instance").exists());
}

/// A replica has no key, so it may be copied at will.
#[test]
fn replicas_may_be_copied() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (dir.path().join("log"), dir.path().join("copy"));
    let original = create(&dir.path().join("original"));
    original.append(&["rain"]).unwrap();
    let files = FileStorage::create(&first).unwrap();
    drop(Log::create_replica(files, original.key(), LogOptions::default()).unwrap());
    copy(&first, &second);
    let log = open(&second).unwrap();
    assert!(!log.is_copy());
    let upgrade = Some(RequestUpgrade { start: 0, length: 1 });
    let request = Request { upgrade, manifest: true, ..Request::default() };
    log.apply(&original.prove(&request).unwrap()).unwrap();
    assert!(matches!(log.append(&["wind"]), Err(Error::NotWritable)));
}
