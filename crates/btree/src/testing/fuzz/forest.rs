//! Trees over hostile blocks.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee_log::{Cache, Durability, KeyPair, Log, LogOptions, MemoryStorage};

use crate::bee::{Bee, BeeOptions};
use crate::block::{encode_block, encode_level};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::header::Header;
use crate::history::HistoryOptions;
use crate::range::RangeOptions;
use crate::tree::Tree;
use crate::union::{Union, first_tree};

/// Versions of a log that are looked at: the newest ones.
const VERSIONS_MAX: usize = 6;

/// Keys that are looked up, put and deleted.
const KEYS_MAX: usize = 24;

/// Whatever is in the blocks of a log: every read and write of each of its versions ends, in no more
/// steps than there are blocks, with what is there or with an error. If a check finds nothing wrong
/// with a version, all ways to read it agree, and so do they after writing to it and reclaiming.
///
/// For the input see [`planted`].
///
/// # Panics
///
/// If that does not hold.
pub fn forest(data: &[u8]) {
    let Some(bee) = planted(data) else { return };
    let len = bee.log().len();
    let history = bee.history(HistoryOptions::default());
    let records: Vec<_> = history.collect();
    assert!(records.len() as u64 <= len);
    let versions = (2..=len).rev().filter_map(|version| bee.checkout(version).ok());
    let trees: Vec<Tree> = versions.take(VERSIONS_MAX).collect();
    let keys = keys(&bee);
    for tree in &trees {
        look(tree, len, &keys);
    }
    for pair in trees.windows(2) {
        let [newer, older] = pair else { continue };
        compare(newer, older, len);
    }
    write(&bee, &keys);
}

/// A tree over the blocks that an input stands for; every input stands for some. `None` only if there
/// are too many.
///
/// The first byte tells how they are written down. If it is even: one after the other, each preceded
/// by its length, two bytes, the lower one first. If it is odd: as sketches, which are always sound
/// protobuf. A sketch has a byte that is its key, a byte with the number of its levels, and for each
/// level a byte with the number of keys, a byte for each key's block, a byte with the number of
/// numbers of children, and a byte for each of those.
///
/// # Panics
///
/// If there is no memory for them.
pub fn planted(data: &[u8]) -> Option<Bee> {
    let (first, mut rest) = data.split_first().unwrap_or((&0, &[]));
    let mut blocks = vec![Header::new(None).encode()];
    while !rest.is_empty() {
        blocks.push(if first % 2 == 0 { take_raw(&mut rest) } else { take_sketch(&mut rest) });
    }
    let options = LogOptions {
        durability: Durability::Buffered,
        cache: Cache::new(64 * 1024),
        ..LogOptions::default()
    };
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::new(), keys, options).expect("memory can be written");
    log.append(&blocks).ok()?;
    let options = BeeOptions { cache_bytes: 64 * 1024, ..BeeOptions::default() };
    Some(Bee::open(log, options).expect("the header is a header"))
}

/// The input that stands for these blocks behind a header, as [`planted`] reads it. `None` if one is
/// too long.
pub fn raw(blocks: &[Bytes]) -> Option<Vec<u8>> {
    let mut data = vec![0];
    for block in blocks {
        data.extend_from_slice(&u16::try_from(block.len()).ok()?.to_le_bytes());
        data.extend_from_slice(block);
    }
    Some(data)
}

fn take_raw(rest: &mut &[u8]) -> Vec<u8> {
    let len = u16::from_le_bytes([take_byte(rest), take_byte(rest)]);
    take(rest, len.into()).to_vec()
}

fn take_sketch(rest: &mut &[u8]) -> Vec<u8> {
    let (key, count) = (take_byte(rest), take_byte(rest));
    let mut index = Vec::new();
    for _ in 0..count {
        if rest.is_empty() {
            break;
        }
        let len = take_byte(rest);
        let keys = take(rest, len.into());
        let len = take_byte(rest);
        let children = take(rest, len.into());
        encode_level(&mut index, numbers(keys), numbers(children));
    }
    let mut block = Vec::new();
    encode_block(&mut block, &index, &[key], Some(b"value"), b"");
    block
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + Clone {
    bytes.iter().copied().map(u64::from)
}

fn take_byte(rest: &mut &[u8]) -> u8 {
    take(rest, 1).first().copied().unwrap_or_default()
}

/// As many bytes as there are, at most `len`.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(len.min(rest.len()));
    *rest = after;
    taken
}

/// Some keys that are there, and some that most likely are not.
fn keys(bee: &Bee) -> Vec<Bytes> {
    let seqs = (1..bee.log().len()).rev().take(KEYS_MAX);
    let entries = seqs.filter_map(|seq| bee.get_by_seq(seq).ok().flatten());
    let near = |key: &Bytes| Bytes::from([&key[..], &[0]].concat());
    entries.flat_map(|entry| [near(&entry.key), entry.key]).take(KEYS_MAX).collect()
}

/// All entries, or those before the first error.
fn read(tree: &Tree, reverse: bool) -> (Vec<Entry>, Option<Error>) {
    let mut range = tree.range(RangeOptions { reverse, ..RangeOptions::default() });
    let mut entries = Vec::new();
    loop {
        match range.next() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error)),
        }
    }
}

/// Reads a version in every way.
fn look(tree: &Tree, len: u64, keys: &[Bytes]) {
    let (entries, fault) = read(tree, false);
    let (mut back, back_fault) = read(tree, true);
    assert!(entries.is_sorted_by(|a, b| a.key < b.key), "a range ascends");
    assert!(back.is_sorted_by(|a, b| a.key > b.key), "a reverse range descends");
    assert!(entries.len().max(back.len()) as u64 <= len, "no key comes twice");

    let union = Union::new(vec![tree.clone(), tree.clone()]);
    let united: Vec<_> = union
        .range(RangeOptions::default(), first_tree)
        .map_while(|one| one.ok().map(|one| one.entry))
        .collect();
    assert_eq!(united, entries, "two of the same are the same");
    let check = tree.check(|_| {}).expect("all blocks are here, and there is a root");
    assert!(check.nodes <= len && check.entries <= len && check.depth <= 64, "{check:?}");
    assert!(check.findings.len() <= 256);
    let found: Vec<Result<Option<Entry>>> = keys.iter().map(|key| tree.get(key)).collect();
    if !check.is_sound() {
        return;
    }
    back.reverse();
    assert!(fault.is_none() && back_fault.is_none() && back == entries);
    assert_eq!(check.entries, entries.len() as u64);
    for (key, found) in keys.iter().zip(found) {
        let expected = entries.iter().find(|entry| entry.key == key);
        assert_eq!(found.expect("a sound tree can be read").as_ref(), expected);
    }
}

/// What two versions differ in, in either order.
fn compare(newer: &Tree, older: &Tree, len: u64) {
    let diff = |left: &Tree, right: &Tree| {
        let diff = left.diff(right, RangeOptions::default()).expect("they are of one log");
        let changes: Vec<_> = diff.collect();
        assert!(changes.len() as u64 <= 2 * len + 1, "no key comes twice");
        changes
    };
    let (there, back) = (diff(newer, older), diff(older, newer));
    let is_sound = |tree: &Tree| tree.check(|_| {}).is_ok_and(|check| check.is_sound());
    if !is_sound(newer) || !is_sound(older) {
        return;
    }
    assert_eq!(there.len(), back.len());
    let by_key = |tree| -> BTreeMap<Bytes, Entry> {
        read(tree, false).0.into_iter().map(|entry| (entry.key.clone(), entry)).collect()
    };
    let (left, right) = (by_key(newer), by_key(older));
    let mut expected: Vec<&Bytes> = left.keys().chain(right.keys()).collect();
    expected.sort();
    expected.dedup();
    let union = Union::new(vec![newer.clone(), older.clone()]);
    let united = union.range(RangeOptions::default(), first_tree);
    let united = united.map(|one| one.expect("sound trees can be united").entry);
    assert!(
        united.eq(expected.iter().filter_map(|key| left.get(*key).or(right.get(*key))).cloned())
    );
    let seq = |entry: Option<&Entry>| entry.map(|entry| entry.seq);
    expected.retain(|key| seq(left.get(*key)) != seq(right.get(*key)));
    let changed = there.into_iter().map(|change| change.expect("sound trees can be compared"));
    let changed: Vec<Bytes> = changed.map(|change| change.key().clone()).collect();
    assert!(changed.iter().eq(expected));
}

/// Puts and deletes on top of the newest version, and clears what nothing needs then.
fn write(bee: &Bee, keys: &[Bytes]) {
    let Ok(before) = bee.snapshot() else { return };
    let was_sound = before.check(|_| {}).is_ok_and(|check| check.is_sound());
    let mut model: BTreeMap<Bytes, Bytes> = read(&before, false)
        .0
        .into_iter()
        .map(|entry| (entry.key, entry.value.unwrap_or_default()))
        .collect();
    let mut batch = bee.batch().expect("the log is writable");
    for (i, key) in keys.iter().enumerate() {
        if i % 3 == 1 {
            if batch.put(key, Some("new"), "").is_ok() {
                model.insert(key.clone(), "new".into());
            }
        } else if batch.del(key, "").is_ok_and(|seq| seq.is_some()) {
            model.remove(key);
        }
    }
    batch.flush().expect("memory can be written");
    let Ok(tree) = bee.snapshot() else { return };
    if was_sound {
        let check = tree.check(|_| {});
        assert!(check.is_ok_and(|check| check.is_sound()), "writing keeps a tree sound");
        let (entries, _) = read(&tree, false);
        let pairs = entries.into_iter().map(|e| (e.key, e.value.unwrap_or_default()));
        assert!(pairs.eq(model), "what is written is read");
    }
    let before = read(&tree, false).0;
    if bee.reclaim([], |_| {}).is_ok() {
        assert_eq!(read(&tree, false).0, before, "the newest version stays");
    }
}
