use multibee_log::{Log, LogOptions, MemoryStorage, Part, Storage};

use crate::keys;

/// Where the entries begin, behind two headers.
const ENTRIES_AT: u64 = 8192;

fn frame(storage: &MemoryStorage, at: u64) -> Vec<u8> {
    let mut head = [0; 8];
    storage.read_at(Part::Oplog, at, &mut head).unwrap();
    let len = u32::from_le_bytes(head[4..].try_into().unwrap()) >> 2;
    let mut frame = vec![0; 8 + len as usize];
    storage.read_at(Part::Oplog, at, &mut frame).unwrap();
    frame
}

/// A log of one block in its place, and of two more by a batch of two entries.
fn with_batch() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    for block in ["one", "two", "three"] {
        log.append(&[block]).unwrap();
    }
    drop(log);
    let second = ENTRIES_AT + frame(&storage, ENTRIES_AT).len() as u64;
    // Mark it as one that goes on with the next entry, as JavaScript's atomic batches do.
    let mut bytes = frame(&storage, second);
    bytes[4] |= 2;
    let crc = crc32fast::hash(&bytes[4..]).to_le_bytes();
    bytes[..4].copy_from_slice(&crc);
    storage.write_at(Part::Oplog, second, &bytes).unwrap();
    storage
}

/// A batch of entries is there as a whole or not at all, whichever of its blocks did not arrive, and
/// opening once more finds the same.
#[test]
fn a_batch_is_dropped_whole() {
    for (lost, len) in [(None, 3), (Some(3), 1), (Some(6), 1), (Some(10), 1)] {
        let storage = with_batch();
        if let Some(at) = lost {
            storage.write_at(Part::Data, at, b"?").unwrap();
        }
        for _ in 0..2 {
            let log = Log::open(storage.clone(), LogOptions::default()).unwrap();
            assert_eq!(log.len(), len, "byte {lost:?} of the data is lost");
            assert_eq!(log.contiguous_len(), len);
        }
        let log = Log::open(storage, LogOptions::default()).unwrap();
        log.append(&["more"]).unwrap();
        assert_eq!(log.get(len).unwrap().unwrap(), "more");
    }
}
