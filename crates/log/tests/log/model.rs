use std::collections::BTreeMap;
use std::time::Duration;

use multibee_log::{
    Cache, Durability, Error, FileStorage, Head, KeyPair, Log, LogOptions, MemoryStorage, Storage,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::keys;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Vec<u8>>),
    AppendMany(usize),
    /// Blocks and values together.
    Batch(Vec<Vec<u8>>, Vec<(u8, Vec<u8>)>),
    /// To this share of the length.
    Truncate(f64),
    /// From this share of the length on, so many blocks.
    Clear(f64, u64),
    SetUserData(u8, Vec<u8>),
    Sync,
    Flush,
    Reclaim,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || vec(any::<u8>(), 0..20);
    let blocks = || vec(bytes(), 0..5);
    let value = || (0..4_u8, vec(any::<u8>(), 0..6));
    prop_oneof![
        6 => blocks().prop_map(Step::Append),
        2 => (300..900_usize).prop_map(Step::AppendMany),
        2 => (blocks(), vec(value(), 0..4)).prop_map(|(blocks, data)| Step::Batch(blocks, data)),
        2 => (0.0..1.2).prop_map(Step::Truncate),
        2 => (0.0..1.0, 0..400_u64).prop_map(|(at, count)| Step::Clear(at, count)),
        1 => value().prop_map(|(key, value)| Step::SetUserData(key, value)),
        1 => Just(Step::Sync),
        2 => Just(Step::Flush),
        1 => Just(Step::Reclaim),
        3 => Just(Step::Reopen),
    ]
}

/// What a log should be.
#[derive(Default)]
struct Model {
    /// Bytes of each block, and whether it is held.
    blocks: Vec<(Vec<u8>, bool)>,
    user_data: BTreeMap<u8, Vec<u8>>,
    fork: u64,
}

impl Model {
    fn append(&mut self, blocks: &[Vec<u8>]) {
        self.blocks.extend(blocks.iter().map(|block| (block.clone(), true)));
    }

    fn set(&mut self, key: u8, value: &[u8]) {
        if value.is_empty() {
            self.user_data.remove(&key);
        } else {
            self.user_data.insert(key, value.to_vec());
        }
    }

    /// The block at a share of the length.
    fn at(&self, share: f64) -> u64 {
        (self.blocks.len() as f64 * share) as u64
    }

    /// Asserts that a log is as this model.
    fn assert_is(&self, log: &Log) {
        let len = self.blocks.len() as u64;
        assert_eq!((log.len(), log.fork()), (len, self.fork));
        assert_eq!(log.is_empty(), len == 0);
        assert_eq!(log.byte_len(), self.blocks.iter().map(|(b, _)| b.len() as u64).sum::<u64>());
        let first_gap = self.blocks.iter().position(|(_, held)| !held);
        assert_eq!(log.contiguous_len(), first_gap.map_or(len, |gap| gap as u64));
        for (number, (block, held)) in self.blocks.iter().enumerate() {
            let read = log.get(number as u64).unwrap();
            assert_eq!(read.as_deref(), held.then_some(block.as_slice()), "block {number}");
        }
        assert_eq!(log.get(len).unwrap(), None);
        assert_eq!(log.get(u64::MAX).unwrap(), None);
        let held: Vec<u64> = log.held(0..u64::MAX).into_iter().flatten().collect();
        let expected = (0..len).filter(|number| self.blocks[*number as usize].1);
        assert!(held.iter().copied().eq(expected));
        assert_eq!(log.head().map(|head| head.length), (len > 0).then_some(len));
        for key in 0..4_u8 {
            let expected = self.user_data.get(&key).map(Vec::as_slice);
            assert_eq!(log.user_data(&key.to_string()).as_deref(), expected, "user data {key}");
        }
        assert_eq!(log.info().unwrap().held_blocks, held.len() as u64);
    }

    /// Does to a log what it does to itself.
    fn take(&mut self, log: &Log, step: &Step) {
        match step {
            Step::Append(blocks) => {
                self.append(blocks);
                assert_eq!(log.append(blocks).unwrap(), self.blocks.len() as u64);
            }
            Step::AppendMany(count) => {
                let blocks: Vec<_> = (0..*count).map(|n| n.to_le_bytes()[..3].to_vec()).collect();
                log.append(&blocks).unwrap();
                self.append(&blocks);
            }
            Step::Batch(blocks, user_data) => {
                let mut batch = log.batch();
                for block in blocks {
                    batch.append(block.clone());
                }
                for (key, value) in user_data {
                    batch.set_user_data(key.to_string(), value.clone());
                    self.set(*key, value);
                }
                self.append(blocks);
                assert_eq!(batch.commit().unwrap(), self.blocks.len() as u64);
            }
            Step::Truncate(share) => {
                let len = self.at(*share);
                match log.truncate(len) {
                    Ok(fork) => {
                        self.fork += 1;
                        assert_eq!(fork, self.fork);
                        self.blocks.truncate(len as usize);
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
                        assert!(len > self.blocks.len() as u64);
                    }
                }
            }
            Step::Clear(share, count) => {
                let start = self.at(*share);
                log.clear(start..start + count).unwrap();
                let cleared = self.blocks.iter_mut().skip(start as usize).take(*count as usize);
                cleared.for_each(|(_, held)| *held = false);
            }
            Step::SetUserData(key, value) => {
                log.set_user_data(&key.to_string(), value).unwrap();
                self.set(*key, value);
            }
            Step::Sync => {
                log.sync().unwrap();
                assert_eq!(log.durable_len(), log.len());
            }
            Step::Flush => {
                log.flush().unwrap();
                assert_eq!((log.durable_len(), log.info().unwrap().entry_bytes), (log.len(), 0));
            }
            Step::Reclaim => drop(log.reclaim().unwrap()),
            Step::Reopen => unreachable!("the caller reopens"),
        }
    }
}

fn assert_follows_model<S: Storage>(steps: &[Step], options: &LogOptions, reopen: impl Fn() -> S) {
    let mut log = Log::create(reopen(), keys(), options.clone()).unwrap();
    let mut model = Model::default();
    let mut heads: Vec<Head> = Vec::new();
    for step in steps {
        if let Step::Reopen = step {
            drop(log);
            log = Log::open(reopen(), options.clone()).unwrap();
            assert_eq!(log.durable_len(), log.len());
        } else {
            model.take(&log, step);
        }
        model.assert_is(&log);
        if options.durability == Durability::Immediate {
            assert_eq!(log.durable_len(), log.len());
        }
        heads.retain(|head| head.length <= log.len());
        heads.extend(log.head());
    }
    for head in heads {
        let hash = log.tree_hash_at(head.length).unwrap();
        assert!(hash == Some(head.tree_hash) || head.fork < log.fork(), "the past does not change");
    }
    assert_eq!(log.tree_hash_at(log.len() + 1).unwrap(), None);
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![
        Just(Durability::Immediate),
        Just(Durability::Eventual { max_delay: Duration::from_micros(10) }),
        Just(Durability::Buffered),
        Just(Durability::None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is done to a log, and however often it is reopened, it reads as a `Vec` of blocks
    /// of which some are not held, with a map of values beside it. In every durability, with a
    /// cache that has room and one that has none, with nodes that go straight to their places in
    /// all batches or in large ones.
    #[test]
    fn a_log_in_memory_is_a_vec(
        steps in vec(step(), 0..16),
        compat: bool,
        durability in durability(),
        is_cached: bool,
        little_is_much: bool,
    ) {
        let storage = MemoryStorage::new();
        let cache = Cache::new(if is_cached { 1 << 20 } else { 1 });
        let options =
            LogOptions { durability, compat, cache, little_is_much, ..LogOptions::default() };
        assert_follows_model(&steps, &options, || storage.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The same in files.
    #[test]
    fn a_log_in_files_is_a_vec(steps in vec(step(), 0..14), durability in durability()) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("log");
        let storage = || {
            let exists = FileStorage::exists(&dir).unwrap();
            if exists { FileStorage::open(&dir) } else { FileStorage::create(&dir) }.unwrap()
        };
        let options = LogOptions { durability, ..LogOptions::default() };
        assert_follows_model(&steps, &options, storage);
    }
}

/// Readers in other threads see only whole commits, each block as it was written, while a writer
/// appends and flushes.
#[test]
fn readers_see_whole_commits() {
    let log = Log::create(MemoryStorage::new(), keys(), LogOptions::default()).unwrap();
    let block = |number: u64| vec![number as u8; (number % 40) as usize];
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..3_u64 {
            let (log, is_done) = (log.clone(), &is_done);
            scope.spawn(move || {
                let mut number = seed;
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    let len = log.len();
                    assert_eq!(len % 7, 0, "commits are of seven blocks");
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if len > 0 {
                        let number = (number >> 33) % len;
                        assert_eq!(log.get(number).unwrap().unwrap(), block(number));
                    }
                }
            });
        }
        for commit in 0..600 {
            let blocks: Vec<_> = (commit * 7..commit * 7 + 7).map(block).collect();
            log.append(&blocks).unwrap();
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Limits are checked before anything is written.
#[test]
fn too_large_appends_change_nothing() {
    let options = LogOptions { block_len_max: 10, ..LogOptions::default() };
    let log = Log::create(MemoryStorage::new(), keys(), options).unwrap();
    let error = log.append(&[vec![1; 10], vec![1; 11]]).unwrap_err();
    assert!(matches!(error, Error::BlockTooLarge { len: 11, limit: 10 }));
    let error = log.append(&vec![[1]; 70_000]).unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge { .. }));
    assert_eq!(log.len(), 0);
    assert_eq!(log.append::<&[u8]>(&[]).unwrap(), 0);
}

/// A head holds for its writer's key, and what a log's key pair signs can be verified.
#[test]
fn messages_are_signed() {
    let keys = KeyPair::generate();
    let public_key = keys.public_key();
    let log = Log::create(MemoryStorage::new(), keys, LogOptions::default()).unwrap();
    assert_eq!(log.public_key(), Some(public_key));
    let signature = log.sign(b"statement").unwrap();
    assert!(multibee_log::verify(&public_key, b"statement", &signature));
}
