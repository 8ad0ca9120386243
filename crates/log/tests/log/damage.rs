use std::io::ErrorKind;

use multibee_log::{Error, Log, LogOptions, MemoryStorage, Part, Storage};

use crate::keys;

/// A log is cut only to what the signature before it covers: a damaged node is not signed.
#[test]
fn a_cut_signs_no_damaged_node() {
    for at in [40, 47, 60] {
        let storage = MemoryStorage::new();
        let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
        log.append(&["a", "b", "c", "d", "e"]).unwrap();
        log.flush().unwrap();
        let head = log.head();
        drop(log);
        // A byte of node 1, which is over the first two blocks: of its size, or of its hash.
        storage.write_at(Part::Tree, at, &[0x55]).unwrap();
        let log = Log::open(storage, LogOptions::default()).unwrap();
        let error = log.truncate(2).unwrap_err();
        assert!(matches!(error, Error::Corrupt { part: Part::Tree, .. }), "{error}");
        assert_eq!(log.head(), head);
        // The root over the first four came with the head, and is what it was.
        assert_eq!(log.truncate(4).unwrap(), 1);
        assert_eq!(log.len(), 4);
    }
}

/// A write that would take more memory than there is fails, as one to a full disk does.
#[test]
fn memory_ends_with_an_error() {
    let storage = MemoryStorage::new();
    let error = storage.write_at(Part::Tree, 1 << 60, b"far away").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_eq!(storage.len(Part::Tree).unwrap(), 0);
}

/// A bit far beyond the end, as a batch that was never signed may leave it, costs no room once it is
/// known to mean nothing.
#[test]
fn bits_beyond_the_end_are_not_written() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    log.append(&["a"]).unwrap();
    drop(log);
    // An entry that holds one block, number 2^40, and nothing else.
    let mut payload = vec![8, 0, 0xff];
    payload.extend_from_slice(&(1_u64 << 40).to_le_bytes());
    payload.push(1);
    let mut frame = (payload.len() as u32 * 4).to_le_bytes().to_vec();
    frame.extend_from_slice(&payload);
    let crc = crc32fast::hash(&frame).to_le_bytes();
    let end = storage.len(Part::Oplog).unwrap();
    storage.write_at(Part::Oplog, end, &[&crc[..], &frame].concat()).unwrap();

    let log = Log::open(storage.clone(), LogOptions::default()).unwrap();
    assert_eq!(log.held(0..u64::MAX), vec![0..1]);
    log.append(&["b"]).unwrap();
    log.flush().unwrap();
    assert!(storage.len(Part::Bitfield).unwrap() <= 4096);
}
