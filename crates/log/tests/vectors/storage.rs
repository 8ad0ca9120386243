//! Directories written by Hypercore 10, in good and bad states: they read as it reads them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use multibee_log::{Error, FileStorage, Log, LogOptions, MemoryStorage, Part, Storage};
use serde_json::Value;

use crate::json::load;

fn dir() -> PathBuf {
    let vectors = std::env::var_os("MULTIBEE_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")),
        PathBuf::from,
    );
    vectors.join("log")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Copies a directory of the vectors, filling in files that are given as extents.
fn copy(id: &str, to: &Path) {
    for entry in fs::read_dir(dir().join("storage").join(id)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_suffix(".extents.json") else {
            if name != "about.txt" {
                fs::write(to.join(name), fs::read(&path).unwrap()).unwrap();
            }
            continue;
        };
        let extents: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let file = fs::File::create(to.join(name)).unwrap();
        file.set_len(extents["size"].as_u64().unwrap()).unwrap();
        for extent in extents["extents"].as_array().unwrap() {
            file.write_all_at(&bytes(&extent[1]), extent[0].as_u64().unwrap()).unwrap();
        }
    }
}

/// Asserts that `log` reads as `expected` says.
fn assert_reads(id: &str, log: &Log, expected: &Value) {
    assert_eq!(log.key().as_bytes().as_slice(), bytes(&expected["key"]), "{id}: key");
    let discovery_key = bytes(&expected["discoveryKey"]);
    assert_eq!(log.discovery_key().as_bytes().as_slice(), discovery_key, "{id}: discovery key");
    assert_eq!(log.is_writable(), expected["writable"].as_bool().unwrap(), "{id}: writable");
    assert_eq!(log.manifest().unwrap().encode(), bytes(&expected["manifest"]), "{id}: manifest");
    assert_eq!(log.fork(), expected["fork"].as_u64().unwrap(), "{id}: fork");
    let length = expected["length"].as_u64().unwrap();
    assert_eq!(log.len(), length, "{id}: length");
    assert_eq!(log.durable_len(), length, "{id}: durable length");
    assert_eq!(log.byte_len(), expected["byteLength"].as_u64().unwrap(), "{id}: byte length");
    let tree_hash = log.tree_hash_at(length).unwrap().unwrap();
    assert_eq!(tree_hash.as_bytes().as_slice(), bytes(&expected["treeHash"]), "{id}: tree hash");
    match log.head() {
        Some(head) => {
            assert_eq!(head.signature, bytes(&expected["signature"]), "{id}: signature");
            assert_eq!(head.tree_hash, tree_hash);
        }
        None => assert!(expected["signature"].is_null(), "{id}: no signature"),
    }
    // Bits at or beyond the length are no blocks.
    let first_unset = expected["firstUnset"].as_u64().unwrap().min(length);
    assert_eq!(log.contiguous_len(), first_unset, "{id}: first block not held");
    let bits = expected["bits"].as_array().unwrap().iter();
    let bits = bits.map(|range| range[0].as_u64().unwrap()..range[1].as_u64().unwrap().min(length));
    let bits: Vec<_> = bits.filter(|range| range.start < range.end).collect();
    assert_eq!(log.held(0..u64::MAX), bits, "{id}: blocks held");
    let blocks = expected["blocks"].as_array().unwrap();
    assert_eq!(blocks.len() as u64, bits.iter().map(|bits| bits.end - bits.start).sum::<u64>());
    for block in blocks {
        let number = block[0].as_u64().unwrap();
        let data = log.get(number).unwrap().unwrap();
        match block[1].as_str().unwrap().strip_prefix("blake2b:") {
            Some(hash) => assert_eq!(hex::encode(blake2b(&data)), hash, "{id}: block {number}"),
            None => assert_eq!(data, bytes(&block[1]), "{id}: block {number}"),
        }
    }
}

fn blake2b(data: &[u8]) -> Vec<u8> {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::typenum::U32>::digest(data).to_vec()
}

/// Each directory reads as Hypercore 10 reads it, also after having been opened before; those it
/// refuses are refused. A writer's directory can be appended to and then reads as before and more.
#[test]
fn directories() {
    let vectors: Value = load("storage.json");
    let mut count = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let expected = &case["expected"];
        let temp = tempfile::tempdir().unwrap();
        copy(id, temp.path());
        let open = || Log::open(FileStorage::open(temp.path()).unwrap(), LogOptions::default());
        count += 1;
        if expected["error"] == "OPLOG_CORRUPT" {
            let error = open().unwrap_err();
            assert!(matches!(error, Error::Corrupt { part: Part::Oplog, .. }), "{id}: {error}");
            continue;
        }
        for _ in 0..2 {
            assert_reads(id, &open().unwrap(), expected);
        }
        let size = fs::metadata(temp.path().join("oplog")).unwrap().len();
        assert_eq!(size, expected["sizeAfterOpen"]["oplog"].as_u64().unwrap(), "{id}: oplog size");
        if expected["writable"] == true {
            assert_grows(id, &open, expected);
        }
    }
    println!("storage.json: {count} cases passed");
}

/// Asserts that blocks can be appended, by single commits and in one that causes a flush, and that
/// what was there before is there still.
fn assert_grows(id: &str, open: &dyn Fn() -> Result<Log, Error>, expected: &Value) {
    let old_len = expected["length"].as_u64().unwrap();
    let log = open().unwrap();
    let many = vec![b"block".repeat(3); 900];
    log.append(&["one"]).unwrap();
    log.append(&many).unwrap();
    log.append(&["two", ""]).unwrap();
    let head = log.head();
    let held = log.held(0..u64::MAX);
    drop(log);
    let log = open().unwrap();
    assert_eq!(log.len(), old_len + 903, "{id}");
    assert_eq!(log.head(), head, "{id}");
    assert_eq!(log.held(0..u64::MAX), held, "{id}");
    assert_eq!(log.get(old_len).unwrap().unwrap(), "one", "{id}");
    assert_eq!(log.get(old_len + 901).unwrap().unwrap(), "two", "{id}");
    for range in held {
        for number in range {
            log.get(number).unwrap().unwrap();
        }
    }
}

/// The same directories in memory, each file cut at some lengths, or with a bit flipped: opening and
/// reading gives blocks or errors, never a panic.
#[test]
fn damaged_directories_do_not_panic() {
    let vectors: Value = load("storage.json");
    let mut count = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        if id == "sparse-pages" || id == "big-block" {
            continue;
        }
        for part in Part::ALL {
            let path = dir().join("storage").join(id).join(part.name());
            let Ok(sound) = fs::read(&path) else { continue };
            let step = sound.len() / 40 + 1;
            for at in (0..sound.len()).step_by(step) {
                for is_cut in [true, false] {
                    let storage = in_memory(id);
                    if is_cut {
                        storage.truncate(part, at as u64).unwrap();
                    } else {
                        storage.write_at(part, at as u64, &[sound[at] ^ 4]).unwrap();
                    }
                    count += 1;
                    let Ok(log) = Log::open(storage, LogOptions::default()) else { continue };
                    for number in 0..log.len().min(100) {
                        let _ = log.get(number);
                    }
                    if log.is_writable() {
                        let _ = log.append(&["more"]);
                    }
                }
            }
        }
    }
    println!("storage.json: {count} damaged directories passed");
}

fn in_memory(id: &str) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for part in Part::ALL {
        if let Ok(bytes) = fs::read(dir().join("storage").join(id).join(part.name())) {
            storage.write_at(part, 0, &bytes).unwrap();
        }
    }
    storage
}
