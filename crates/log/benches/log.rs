//! What hashing, appending and reading blocks cost, without a disk.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark, and a macro's functions")]

use std::hint::black_box;
use std::time::Duration;

use blake2::digest::Digest as _;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use multibee_log::testing::{leaf_hash as leaf, leaf_hashes, parent_hash};
use multibee_log::{
    Durability, KeyPair, Log, LogOptions, MemoryStorage, Request, RequestRun, RequestUpgrade,
};

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

/// The hash of one block: half of the least that an append could cost. Also by the crate that the
/// log does not use.
fn leaf_hash(c: &mut Criterion) {
    let block = [0x5a; BLOCK_LEN];
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    group.bench_function("leaf of 128 B", |b| b.iter(|| leaf(black_box(&block))));
    group.bench_function("leaf of 128 B, RustCrypto", |b| {
        b.iter(|| {
            let mut state = blake2::Blake2b256::new();
            state.update([0]);
            state.update((BLOCK_LEN as u64).to_le_bytes());
            state.update(black_box(&block));
            state.finalize()
        });
    });
    let hash = leaf(&block);
    group.bench_function("parent", |b| {
        b.iter(|| parent_hash(black_box(&hash), black_box(&hash), 2 * BLOCK_LEN as u64));
    });
    let blocks = blocks(1000);
    let blocks: Vec<&[u8]> = blocks.iter().map(AsRef::as_ref).collect();
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1000 leaves of 128 B", |b| b.iter(|| leaf_hashes(black_box(&blocks))));
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

/// A run of blocks is proven by who has it; checked and stored by who has the head alone.
fn run(c: &mut Criterion) {
    const LEN: u64 = 256;
    let source = new_log();
    source.append(&blocks(HELD)).unwrap();
    source.sync().unwrap();
    let upgrade = Some(RequestUpgrade { start: 0, length: HELD });
    let head = source.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap();
    let replica = || {
        let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
        let replica = Log::create_replica(MemoryStorage::default(), source.key(), options);
        let replica = replica.unwrap();
        replica.apply(&head).unwrap();
        replica
    };
    let request = RequestRun { start: LEN, depth: LEN.trailing_zeros(), nodes: 0 };
    let nodes = replica().missing_nodes(request.top().unwrap()).unwrap();
    let request = RequestRun { nodes, ..request };
    let mut group = c.benchmark_group("run");
    group.throughput(Throughput::Elements(LEN));
    group.bench_function("prove 256 blocks", |b| b.iter(|| source.prove_run(&request).unwrap()));
    let proof = [source.prove_run(&request).unwrap()];
    group.bench_function("check and store 256 blocks", |b| {
        let apply = |replica: Log| {
            assert!(replica.apply_runs(&proof).unwrap().iter().all(Result::is_ok));
            replica
        };
        b.iter_batched(replica, apply, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = leaf_hash, append, get, run
}
criterion_main!(benches);
