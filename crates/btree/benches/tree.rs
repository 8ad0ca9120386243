//! What blocks, lookups and insertions cost, without a disk.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark, and a macro's functions")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use multibee_btree::testing::encoded;
use multibee_btree::{Bee, BeeOptions, Block, RangeOptions};
use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};

/// Entries in the tree: three levels.
const ENTRIES: u64 = 10_000;
/// Operations of one staged batch.
const STAGED: u64 = 100;
const VALUE: &[u8] = &[0x5a; 100];

/// Keys in an order that is not that of their numbers.
fn key(number: u64) -> [u8; 16] {
    let scattered = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    scattered.to_be_bytes()
}

fn tree() -> Bee {
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let keys = KeyPair::from_seed([7; 32]);
    let log = Log::create(MemoryStorage::default(), keys, options).unwrap();
    let bee = Bee::open(log, BeeOptions::default()).unwrap();
    let mut batch = bee.batch().unwrap();
    for number in 0..ENTRIES {
        batch.put(&key(number), Some(VALUE), Bytes::new()).unwrap();
    }
    batch.flush().unwrap();
    bee
}

/// What a reader does with the bytes of each block, and what a node costs on top.
fn block(c: &mut Criterion) {
    let bee = tree();
    let raw = bee.log().get(bee.version() - 1).unwrap().unwrap();
    let mut group = c.benchmark_group("block");
    group.bench_function("decode", |b| b.iter(|| Block::decode(black_box(raw.clone())).unwrap()));
    group.bench_function("decode with its levels", |b| {
        b.iter(|| Block::decode(black_box(raw.clone())).unwrap().levels().unwrap());
    });
    let block = Block::decode(raw).unwrap();
    let levels = block.levels().unwrap();
    group.bench_function("encode", |b| {
        b.iter(|| encoded(black_box(&block), black_box(&levels)));
    });
    group.finish();
}

/// The way from the root to a key, with all nodes in the cache.
fn get(c: &mut Criterion) {
    let tree = tree().snapshot().unwrap();
    let mut group = c.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    let mut number = 0;
    group.bench_function("one of 10,000 entries", |b| {
        b.iter(|| {
            // A step without a common factor, so that all are read before one is again.
            number = (number + 7919) % ENTRIES;
            tree.get(black_box(&key(number))).unwrap().unwrap()
        });
    });
    group.finish();
}

fn scan(c: &mut Criterion) {
    let tree = tree().snapshot().unwrap();
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("10,000 entries", |b| {
        b.iter(|| tree.range(RangeOptions::default()).map(|entry| entry.unwrap().seq).sum::<u64>());
    });
    group.finish();
}

/// Staged insertions are not written: descent and split alone. The other one is a whole commit.
fn put(c: &mut Criterion) {
    let bee = tree();
    let mut group = c.benchmark_group("put");
    group.throughput(Throughput::Elements(STAGED));
    group.bench_function("stage 100 new keys and drop them", |b| {
        b.iter(|| {
            let mut batch = bee.batch().unwrap();
            for number in ENTRIES..ENTRIES + STAGED {
                batch.put(&key(number), Some(VALUE), Bytes::new()).unwrap();
            }
            batch.len()
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut number = 0;
    group.bench_function("commit one known key", |b| {
        b.iter(|| {
            number = (number + 7919) % ENTRIES;
            bee.put(&key(number), Some(VALUE)).unwrap()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = block, get, scan, put
}
criterion_main!(benches);
