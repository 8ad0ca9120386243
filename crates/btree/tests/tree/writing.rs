//! What a writer can rely on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use multibee_btree::{BATCH_OPS_MAX, Batch, Bee, BeeOptions, Entry, Error, KEY_LEN_MAX, Metadata};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage, Part, Storage};

use crate::{entries, new_bee, new_log, scrambled};

/// Field 100 with two bytes, and field 17 with a number.
const EXTRA: &[u8] = &[0xa2, 0x06, 2, 1, 2, 0x88, 0x01, 5];

fn value(entry: Option<Entry>) -> Option<Bytes> {
    entry.and_then(|entry| entry.value)
}

/// Extra fields are in the block behind the tree's own, and come back with the entry, by key and by
/// number; they change nothing else.
#[test]
fn extra_fields_are_carried() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    batch.put(b"a", Some("1"), EXTRA).unwrap();
    batch.put(b"b", None::<Bytes>, "").unwrap();
    let deleted = batch.del(b"a", EXTRA).unwrap().unwrap();
    let last = batch.put(b"c", Some("3"), "").unwrap();
    batch.set_extra(last, EXTRA).unwrap();
    assert!(
        matches!(batch.set_extra(last + 1, ""), Err(Error::NotStaged { seq }) if seq == last + 1)
    );
    assert!(matches!(batch.set_extra(0, ""), Err(Error::NotStaged { seq: 0 })));
    batch.flush().unwrap();

    let tree = bee.snapshot().unwrap();
    assert_eq!(tree.get(b"c").unwrap().unwrap().extra, EXTRA);
    assert_eq!(tree.get(b"b").unwrap().unwrap().extra, "");
    assert_eq!(bee.get_by_seq(deleted).unwrap().unwrap().extra, EXTRA);
    let block = bee.log().get(last).unwrap().unwrap();
    assert!(block.ends_with(&[b"\x1a\x013", EXTRA].concat()));
}

/// Extra bytes that would make the block unreadable, or pass for the tree's own fields, are refused,
/// and the batch goes on.
#[test]
fn bad_extra_is_refused() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for extra in [&[0x0a, 0][..], &[0x1a, 1, 1], &[0xa2, 0x06, 9, 1], &[0x83, 0x01], &[0x80]] {
        let extra = Bytes::copy_from_slice(extra);
        assert!(matches!(batch.put(b"k", Some(""), extra.clone()), Err(Error::BadExtra(_))));
        assert!(matches!(batch.del(b"k", extra), Err(Error::BadExtra(_))));
    }
    let seq = batch.put(b"k", Some(""), "").unwrap();
    assert!(matches!(batch.set_extra(seq, &[0x0a][..]), Err(Error::BadExtra(_))));
    assert_eq!(batch.flush().unwrap(), 2);
}

/// Who looks before writing sees what a plain look sees, staged or stored, and writes the same blocks:
/// the nodes that the look has opened are no change.
#[test]
fn looking_for_an_update_changes_nothing() {
    let (plain, looking) = (new_bee(), new_bee());
    let keys: Vec<_> = (0..600).map(scrambled).collect();
    let put = |batch: &mut Batch, key: &[u8], round: usize| {
        batch.put(key, Some(Bytes::from(vec![7; round])), "").unwrap();
    };
    for round in 0..4 {
        for keys in keys.chunks(150) {
            let (mut one, mut other) = (plain.batch().unwrap(), looking.batch().unwrap());
            for (at, key) in keys.iter().enumerate() {
                for key in [&key[..], &keys[at / 2], b"never put"] {
                    assert_eq!(other.get_for_update(key).unwrap(), one.get(key).unwrap());
                }
                if (at + round) % 3 == 2 {
                    assert_eq!(one.del(key, "").unwrap(), other.del(key, "").unwrap());
                } else {
                    put(&mut one, key, round);
                    put(&mut other, key, round);
                }
                assert_eq!(other.get_for_update(key).unwrap(), one.get(key).unwrap());
            }
            assert_eq!(one.flush().unwrap(), other.flush().unwrap());
        }
    }
    for seq in 0..plain.log().len() {
        assert_eq!(plain.log().get(seq).unwrap(), looking.log().get(seq).unwrap(), "{seq}");
    }
}

/// Keys up to the limit can be put, longer ones are refused, and asking for one is no error.
#[test]
fn long_keys_are_refused() {
    let bee = new_bee();
    let longest = [b'k'; KEY_LEN_MAX];
    let longer = [b'k'; KEY_LEN_MAX + 1];
    bee.put(&longest, Some("")).unwrap();
    assert!(
        matches!(bee.put(&longer, Some("")), Err(Error::KeyTooLong { len }) if len == longer.len())
    );
    assert!(!bee.del(&longer).unwrap());
    assert!(bee.snapshot().unwrap().get(&longest).unwrap().is_some());
}

/// A batch takes as many operations as the log takes blocks, and says so before more are lost.
#[test]
fn a_batch_is_bounded() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for i in 0..BATCH_OPS_MAX as u64 {
        batch.put(&(i % 1000).to_be_bytes(), Some("1"), "").unwrap();
    }
    assert!(matches!(batch.put(b"k", Some("1"), ""), Err(Error::BatchTooLarge)));
    assert!(matches!(batch.del(&[0; 8], ""), Err(Error::BatchTooLarge)));
    assert_eq!(batch.flush().unwrap(), BATCH_OPS_MAX as u64 + 1);
    assert_eq!(entries(&bee.snapshot().unwrap()).len(), 1000);
}

/// Without duplicates a put of what is there writes nothing and gives the block that has it.
#[test]
fn duplicates_can_be_avoided() {
    let options = BeeOptions { always_duplicate: false, ..BeeOptions::default() };
    let bee = Bee::open(new_log(), options).unwrap();
    assert_eq!(bee.put(b"k", Some("1")).unwrap(), 1);
    assert_eq!(bee.put(b"k", Some("1")).unwrap(), 1);
    assert_eq!(bee.put(b"k", None::<Bytes>).unwrap(), 2);
    assert_eq!(bee.put(b"k", Some("")).unwrap(), 3);
    assert_eq!(bee.version(), 4);
}

/// A refused put or deletion is told from one that took place.
#[test]
fn conditions_are_asked() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    let never = |_: &Entry, _: &Entry| false;
    assert_eq!(batch.put_if(b"k", Some("1"), "", never).unwrap(), Some(1), "no entry, no question");
    assert_eq!(batch.put_if(b"k", Some("2"), "", never).unwrap(), None);
    let asked = batch.put_if(b"k", Some("3"), "", |old, new| {
        (old.seq, new.seq) == (1, 2) && old.key == new.key && old.value != new.value
    });
    assert_eq!(asked.unwrap(), Some(2));
    assert_eq!(batch.del_if(b"k", "", |old| old.seq == 1).unwrap(), None);
    assert_eq!(batch.del_if(b"other", "", |_| true).unwrap(), None);
    assert_eq!(batch.del_if(b"k", "", |old| old.seq == 2).unwrap(), Some(3));
    assert_eq!(batch.len(), 3);
}

/// The header carries the metadata given, is written once, and alone by request.
#[test]
fn the_header_has_the_metadata() {
    let metadata = Metadata { user_data: Some("multibee/1".into()), content_feed: None };
    let options = BeeOptions { metadata: Some(metadata.clone()), ..BeeOptions::default() };
    let bee = Bee::open(new_log(), options).unwrap();
    assert_eq!(bee.header().unwrap(), None);
    for _ in 0..2 {
        bee.create_header().unwrap();
        assert_eq!(bee.log().len(), 1);
    }
    assert_eq!(bee.header().unwrap().unwrap().metadata, Some(metadata));
    assert_eq!(bee.get_by_seq(0).unwrap(), None);
    assert_eq!(bee.get_by_seq(1).unwrap(), None);
}

/// Only ends of commits are versions: an empty index tells, and so does the caller's own mark.
#[test]
fn only_commit_ends_are_versions() {
    let marked: fn(&Entry) -> bool = |entry| !entry.extra.is_empty();
    let log = new_log();
    let options = BeeOptions { is_commit_end: Some(marked), ..BeeOptions::default() };
    let bee = Bee::open(log.clone(), options).unwrap();
    let mut batch = bee.batch().unwrap();
    for i in 0..40 {
        batch.put(&scrambled(i), Some("1"), "").unwrap();
    }
    batch.set_extra(40, EXTRA).unwrap();
    assert_eq!(batch.flush().unwrap(), 41);

    let plain = Bee::open(log, BeeOptions::default()).unwrap();
    let mut refused = 0;
    for version in 2..41 {
        let at = |bee: &Bee| match bee.checkout(version) {
            Ok(_) => false,
            Err(Error::NotACommitEnd { version: v }) => v == version,
            Err(error) => panic!("{error}"),
        };
        assert!(at(&bee), "{version}");
        refused += u32::from(at(&plain));
    }
    assert!(refused > 20, "most blocks within a batch have an empty index");
    for bee in [&bee, &plain] {
        assert_eq!(entries(&bee.checkout(41).unwrap()).len(), 40);
        for version in [0, 1] {
            assert_eq!(entries(&bee.checkout(version).unwrap()), []);
        }
        assert!(matches!(bee.checkout(42), Err(Error::BeyondLog { version: 42, len: 41 })));
    }
}

/// A batch that somebody has written past is refused, rather than appended with wrong numbers.
#[test]
fn a_moved_log_is_noticed() {
    let bee = new_bee();
    bee.put(b"a", Some("1")).unwrap();
    let block = bee.log().get(1).unwrap().unwrap();
    let mut batch = bee.batch().unwrap();
    batch.put(b"b", Some("2"), "").unwrap();
    bee.log().append(&[block]).unwrap();
    let refused = batch.flush();
    assert!(matches!(refused, Err(Error::LogMoved { expected: 2, found: 3 })), "{refused:?}");
    assert_eq!(bee.log().len(), 3);
}

/// Storage whose writes can be made to fail.
#[derive(Clone, Default)]
struct Failing {
    inner: MemoryStorage,
    broken: Arc<AtomicBool>,
}

impl Storage for Failing {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken on purpose"));
        }
        self.inner.write_at(part, offset, bytes)
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        self.inner.len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        self.inner.truncate(part, len)
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        self.inner.sync(part)
    }
}

/// When an append fails the tree is as before, for readers and for the next writer: what the lost
/// batch had computed is nowhere.
#[test]
fn a_failed_append_changes_nothing() {
    let storage = Failing::default();
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(storage.clone(), keys, LogOptions::default()).unwrap();
    let (bee, twin) = (Bee::open(log, BeeOptions::default()).unwrap(), new_bee());
    let fill = |bee: &Bee, range: std::ops::Range<u64>| {
        let mut batch = bee.batch().unwrap();
        for i in range {
            batch.put(&scrambled(i), Some(i.to_string()), "").unwrap();
        }
        batch.flush()
    };
    for bee in [&bee, &twin] {
        fill(bee, 0..100).unwrap();
    }
    let before = entries(&bee.snapshot().unwrap());

    storage.broken.store(true, Ordering::SeqCst);
    assert!(matches!(fill(&bee, 100..300), Err(Error::Log(_))));
    assert!(bee.del(&scrambled(7)).is_err());
    assert_eq!(bee.version(), 101);
    assert_eq!(entries(&bee.snapshot().unwrap()), before);

    storage.broken.store(false, Ordering::SeqCst);
    for bee in [&bee, &twin] {
        fill(bee, 300..400).unwrap();
    }
    for seq in 0..twin.log().len() {
        assert_eq!(bee.log().get(seq).unwrap(), twin.log().get(seq).unwrap(), "block {seq}");
    }
}

/// Writers in several threads take turns, and readers see whole batches only: each batch keeps the
/// sum of two counters at zero.
#[test]
fn writers_take_turns_and_readers_see_whole_batches() {
    let bee = new_bee();
    let number = |bytes: Option<Bytes>| -> i64 {
        bytes.map_or(0, |bytes| str::from_utf8(&bytes).unwrap().parse().unwrap())
    };
    let (start, done) = (Barrier::new(3), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..60 {
                        let mut batch = bee.batch().unwrap();
                        // The batch has seen the tree; now the others get their chance to change it.
                        assert!(batch.get(b"none such").unwrap().is_none());
                        (0..20).for_each(|_| std::thread::yield_now());
                        for (key, step) in [(b"up", 1), (b"dn", -1)] {
                            let old = number(value(batch.get(key).unwrap()));
                            batch.put(key, Some((old + step).to_string()), "").unwrap();
                        }
                        batch.flush().unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let tree = bee.snapshot().unwrap();
                let [up, down] = [b"up", b"dn"].map(|key| number(value(tree.get(key).unwrap())));
                assert_eq!(up, -down);
            }
        });
        // The reader has to stop even if a writer has failed.
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::SeqCst);
        written.into_iter().for_each(|result| result.unwrap());
    });
    assert_eq!(number(value(bee.snapshot().unwrap().get(b"up").unwrap())), 180);
    assert_eq!(bee.version(), 1 + 2 * 180);
}

/// Reading and flushing nothing writes nothing, not even the header; dropping a batch leaves the
/// header that its first operation wrote.
#[test]
fn the_header_comes_with_the_first_operation() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    assert_eq!(batch.get(b"k").unwrap(), None);
    assert_eq!(batch.range(multibee_btree::RangeOptions::default()).unwrap().count(), 0);
    assert_eq!(batch.next_seq(), 1);
    assert_eq!(batch.flush().unwrap(), 1);
    assert_eq!(bee.log().len(), 0);
    let mut batch = bee.batch().unwrap();
    assert_eq!(batch.get(b"k").unwrap(), None);
    assert_eq!(batch.put(b"k", Some("1"), "").unwrap(), 1);
    assert_eq!(bee.log().len(), 1);
    drop(batch);
    assert_eq!(bee.log().len(), 1);
    assert_eq!(entries(&bee.snapshot().unwrap()), []);
}
