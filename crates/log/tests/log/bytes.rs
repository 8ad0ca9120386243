//! The bytes that docs/formats.md shows, section 2.6.

use bytes::Bytes;
use multibee_log::testing::{Event, RecordingStorage};
use multibee_log::{
    Durability, KeyPair, Log, LogOptions, MemoryStorage, Part, Request, RequestUpgrade,
};

use crate::keys;

/// The only write to a part since the first `from` events.
fn write(disk: &RecordingStorage, from: usize, part: Part) -> (u64, Bytes) {
    let recording = disk.recording();
    let mut writes = recording.events()[from..].iter().filter_map(|event| match event {
        Event::Write { part: written, offset, bytes } if *written == part => {
            Some((*offset, bytes.clone()))
        }
        _ => None,
    });
    let write = writes.next().unwrap();
    assert_eq!(writes.next(), None);
    write
}

/// Whether bytes are those of a text in hex. `..` stands for all of a key or hash but its ends,
/// `...` for all of a signature but its ends, and `*` for all that follows.
fn assert_bytes(bytes: &[u8], text: &str) {
    let mut at = 0;
    for word in text.split_whitespace() {
        let (first, hidden, last) = match (word.split_once("..."), word.split_once("..")) {
            _ if word == "*" => return,
            (Some((first, last)), _) => (first, 56, last),
            (None, Some((first, last))) => (first, 24, last),
            (None, None) => (word, 0, ""),
        };
        for (part, hidden) in [(first, hidden), (last, 0)] {
            let part = hex::decode(part).unwrap();
            assert_eq!(bytes[at..at + part.len()], part, "{word} at {at}");
            at += part.len() + hidden;
        }
    }
    assert_eq!(at, bytes.len());
}

const CREATED: &str = "98fcf844 44020000 01 06 04dc2c70..45d95c18
    010000010100 4144eea5..2cd747cb ea4a6c63..1446d22c 20 ea4a6c63..1446d22c 00
    00 00 00 00 00 00 00";
const HELLO: &str = "ebff0985 bc010000 0e 01 00 05 f2391083..45d8c8f8
    00 00 01 44 0100 8e386bd9...3f89820a 0000 00 00 01";
const WORLD: &str = "56c70b58 cc020000 0e 03 02 05 993ec5ef..60b75c1c
    04 01 b36033c7..533dfaad 01 0a 56826d33..646355f9 00 01 03 *";
const MARK: &str = "bd026249 06000000 00";
const CURSOR: &str = "fb1a2f27 2e000000 01 06 637572736f72 02 0102 *";
const FLUSHED: &str = "d9d36ce5 0d040000 01 06 04dc2c70..45d95c18
    010000010100 4144eea5..2cd747cb ea4a6c63..1446d22c 20 ea4a6c63..1446d22c 00
    02 06 637572736f72 02 0102 01 6b 01 76 00 04 20 fe8d5ca8..9bddde39
    44 0100 aa04b4d1...3163fa06 0000 00 04";
const CLEARED: &str = "69fc50e6 11000000 08 01 01 02";
const CUT: &str = "9dadb544 35010000 0e 00 01 05 05 44 0100 f70efab5...46942f0b 0000 01 05 02";
const CONFLICT: &str = "42af0fca 3d010000 0100000000000000 00 01 04dc2c70..45d95c18 01 02 01 *";

/// What is written is what the document shows, byte for byte.
#[test]
fn bytes_are_as_documented() {
    let disk = RecordingStorage::new();
    let log = Log::create(disk.clone(), keys(), LogOptions::default()).unwrap();
    assert_eq!(write(&disk, 0, Part::Key), (0, Bytes::from(vec![7; 32])));
    let (offset, bytes) = write(&disk, 0, Part::Oplog);
    assert_eq!((offset, bytes.len()), (0, 153));
    assert_bytes(&bytes, CREATED);

    let mut from = disk.event_count();
    let mut next = |part| {
        let write = write(&disk, from, part);
        from = disk.event_count();
        write
    };
    log.append(&["hello"]).unwrap();
    let (offset, bytes) = next(Part::Oplog);
    assert_eq!((offset, bytes.len()), (8192, 119));
    assert_bytes(&bytes, HELLO);
    log.append(&["world", "!"]).unwrap();
    let (offset, bytes) = next(Part::Oplog);
    assert_eq!((offset, bytes.len()), (8311, 187));
    assert_bytes(&bytes, WORLD);
    let mut batch = log.batch();
    batch.append("x").set_user_data("cursor", vec![1, 2]);
    batch.commit().unwrap();
    assert_bytes(&next(Part::Oplog).1, CURSOR);
    log.set_user_data("k", b"v").unwrap();
    next(Part::Oplog);

    log.flush().unwrap();
    let (offset, bytes) = next(Part::Oplog);
    assert_eq!((offset, bytes.len()), (4096, 267));
    assert_bytes(&bytes, FLUSHED);
    assert_eq!(disk.image().len(Part::Tree), 280);
    assert_eq!(disk.image().bytes(Part::Bitfield)[..2], [0x0f, 0]);
    assert_eq!(disk.image().len(Part::Bitfield), 4096);
    log.append(&["a", "b", "c"]).unwrap();
    next(Part::Oplog);
    log.clear(1..3).unwrap();
    assert_bytes(&next(Part::Oplog).1, CLEARED);

    let from = disk.event_count();
    log.truncate(5).unwrap();
    let recording = disk.recording();
    let writes = recording.events()[from..].iter().filter_map(|event| match event {
        Event::Write { part: Part::Oplog, offset, bytes } => Some((*offset, bytes)),
        _ => None,
    });
    let [(_, cut), (0, header)] = writes.collect::<Vec<_>>()[..] else { panic!("two writes") };
    assert_bytes(cut, CUT);
    assert!(header.ends_with(&[1, 0, 1, 5, 1]));
}

/// So is the mark of changes that were not waited for, and the file of a conflict.
#[test]
fn marks_and_conflicts_are_as_documented() {
    let disk = RecordingStorage::new();
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let log = Log::create(disk.clone(), keys(), options).unwrap();
    log.append(&["hello"]).unwrap();
    let from = disk.event_count();
    log.append(&["world", "!"]).unwrap();
    let (_, bytes) = write(&disk, from, Part::Oplog);
    assert_bytes(&bytes[..9], MARK);
    assert_bytes(&bytes[9..], WORLD);

    let copy =
        Log::create(MemoryStorage::new(), KeyPair::from_seed([7; 32]), LogOptions::default());
    let copy = copy.unwrap();
    for log in [&log, &copy] {
        log.truncate(0).unwrap();
        log.append(&["hello"]).unwrap();
    }
    log.append(&["world"]).unwrap();
    copy.append(&["there"]).unwrap();
    log.sync().unwrap();
    let upgrade = Some(RequestUpgrade { start: 0, length: 2 });
    let head = copy.prove(&Request { upgrade, ..Request::default() }).unwrap();
    log.check_conflict(&head).unwrap().unwrap();
    let file = disk.image().bytes(Part::Conflict);
    assert_eq!(file.len(), 16 + 317);
    assert_bytes(&file, CONFLICT);
}
