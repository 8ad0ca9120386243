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
