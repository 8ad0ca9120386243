use multibee_log::{Durability, FileStorage, KeyPair, Log, LogOptions, MemoryStorage, Storage};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::keys;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Vec<u8>>),
    /// So many blocks that the entries are moved to their places.
    AppendMany(usize),
    Sync,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec(vec(any::<u8>(), 0..20), 0..5).prop_map(Step::Append),
        1 => (300..900_usize).prop_map(Step::AppendMany),
        1 => Just(Step::Sync),
        2 => Just(Step::Reopen),
    ]
}

/// Asserts that a log holds exactly these blocks.
fn assert_is(log: &Log, model: &[Vec<u8>]) {
    assert_eq!(log.len(), model.len() as u64);
    assert_eq!(log.is_empty(), model.is_empty());
    assert_eq!(log.byte_len(), model.iter().map(|block| block.len() as u64).sum::<u64>());
    assert_eq!(log.contiguous_len(), log.len());
    for (number, block) in model.iter().enumerate() {
        assert_eq!(log.get(number as u64).unwrap().as_deref(), Some(block.as_slice()));
    }
    assert_eq!(log.get(log.len()).unwrap(), None);
    assert_eq!(log.get(u64::MAX).unwrap(), None);
    assert_eq!(log.head().map(|head| head.length), (!model.is_empty()).then(|| log.len()));
}

fn assert_follows_model<S: Storage>(steps: &[Step], options: &LogOptions, reopen: impl Fn() -> S) {
    let mut log = Log::create(reopen(), keys(), options.clone()).unwrap();
    let mut model: Vec<Vec<u8>> = Vec::new();
    let mut heads = Vec::new();
    for step in steps {
        match step {
            Step::Append(blocks) => {
                model.extend_from_slice(blocks);
                assert_eq!(log.append(blocks).unwrap(), model.len() as u64);
            }
            Step::AppendMany(count) => {
                let blocks: Vec<_> = (0..*count).map(|n| n.to_le_bytes()[..3].to_vec()).collect();
                log.append(&blocks).unwrap();
                model.extend(blocks);
            }
            Step::Sync => {
                log.sync().unwrap();
                assert_eq!(log.durable_len(), log.len());
            }
            Step::Reopen => {
                drop(log);
                log = Log::open(reopen(), options.clone()).unwrap();
                assert_eq!(log.durable_len(), log.len());
            }
        }
        assert_is(&log, &model);
        if options.durability == Durability::Immediate {
            assert_eq!(log.durable_len(), log.len());
        }
        heads.extend(log.head());
    }
    for head in heads {
        let hash = log.tree_hash_at(head.length).unwrap();
        assert_eq!(hash, Some(head.tree_hash), "the past does not change");
    }
    assert_eq!(log.tree_hash_at(model.len() as u64 + 1).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is appended, and however often the log is reopened, it reads as a `Vec` of blocks.
    #[test]
    fn a_log_in_memory_is_a_vec(steps in vec(step(), 0..14), compat: bool, is_buffered: bool) {
        let durability = if is_buffered { Durability::Buffered } else { Durability::Immediate };
        let storage = MemoryStorage::new();
        let options = LogOptions { durability, compat, ..LogOptions::default() };
        assert_follows_model(&steps, &options, || storage.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The same in files.
    #[test]
    fn a_log_in_files_is_a_vec(steps in vec(step(), 0..14)) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("log");
        let storage = || {
            let exists = FileStorage::exists(&dir).unwrap();
            if exists { FileStorage::open(&dir) } else { FileStorage::create(&dir) }.unwrap()
        };
        assert_follows_model(&steps, &LogOptions::default(), storage);
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
    assert!(matches!(error, multibee_log::Error::BlockTooLarge { len: 11, limit: 10 }));
    let error = log.append(&vec![[1]; 70_000]).unwrap_err();
    assert!(matches!(error, multibee_log::Error::BatchTooLarge { .. }));
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
