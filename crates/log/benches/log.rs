//! What hashing, appending and reading blocks cost, without a disk.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark, and a macro's functions")]

use std::hint::black_box;
use std::time::Duration;

use blake2::digest::Digest as _;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};

/// Bytes of a block.
const BLOCK_LEN: usize = 128;
/// Blocks in the log that is read.
const HELD: u64 = 10_000;

fn new_log() -> Log {
    let keys = KeyPair::from_seed([7; 32]);
    // Memory has nothing to wait for, and the thread that would wait costs more than the rest.
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    Log::create(MemoryStorage::default(), keys, options).unwrap()
}

fn blocks(count: u64) -> Vec<[u8; BLOCK_LEN]> {
    (0..count)
        .map(|number| {
            let mut block = [0x5a; BLOCK_LEN];
            block[..8].copy_from_slice(&number.to_le_bytes());
            block
        })
        .collect()
}

/// The hash of one block: half of the least that an append could cost. It is not the log's own
/// function, which is private, but the same bytes through the same hash.
fn leaf_hash(c: &mut Criterion) {
    let block = [0x5a; BLOCK_LEN];
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    group.bench_function("leaf of 128 B", |b| {
        b.iter(|| {
            let mut state = blake2::Blake2b256::new();
            state.update([0]);
            state.update((BLOCK_LEN as u64).to_le_bytes());
            state.update(black_box(&block));
            state.finalize()
        });
    });
    group.finish();
}

/// A call of one block is mostly its signature; in a call of many, hashing shows.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for count in [1, 100, 1000] {
        let blocks = blocks(count);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} blocks of 128 B"), |b| {
            let append = |log: Log| {
                log.append(&blocks).unwrap();
                log
            };
            b.iter_batched(new_log, append, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Includes the check of what was read against the tree, if there is one.
fn get(c: &mut Criterion) {
    let log = new_log();
    log.append(&blocks(HELD)).unwrap();
    let mut group = c.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    let mut seq = 0;
    group.bench_function("one of 10,000 blocks", |b| {
        b.iter(|| {
            // A step without a common factor, so that all are read before one is again.
            seq = (seq + 7919) % HELD;
            log.get(black_box(seq)).unwrap().unwrap()
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
    targets = leaf_hash, append, get
}
criterion_main!(benches);
