//! What messages and encrypted frames cost, without a network.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark, and a macro's functions")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use multibee_log::{Hash, Node, Proof, ProofBlock, Request, RequestBlock};
use multibee_replica::{Message, Role, SecureStream, SessionKeys};

/// Bytes of a message: a small one, as of a single block; and a large one, as of a run.
const MESSAGE_LENS: [usize; 2] = [256, 128 << 10];

/// An entry of a tree as it lies in a block, with a proof as for one of some hundred thousand.
fn data() -> Message {
    let node = |index: u64| Node { index, hash: Hash::from_bytes([0xa5; 32]), size: 180 << index };
    let value = Bytes::from_static(&[0x5a; 180]);
    let block = Some(ProofBlock { index: 70_000, value, nodes: (0..8).map(node).collect() });
    Message::Data { request: 1000, proof: Proof { block, ..Proof::default() } }
}

fn request() -> Message {
    let block = Some(RequestBlock { index: 70_000, nodes: 8 });
    let request = Request { block, ..Request::default() };
    Message::Request { id: 1000, fork: 0, priority: 1, request }
}

fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Elements(1));
    for (name, message) in [("request", request()), ("data of 180 B with 8 nodes", data())] {
        group.bench_function(format!("encode {name}"), |b| b.iter(|| black_box(&message).encode()));
        let (ty, payload) = (message.ty(), Bytes::from(message.encode()));
        group.bench_function(format!("decode {name}"), |b| {
            b.iter(|| Message::decode(ty, black_box(&payload)).unwrap().unwrap());
        });
    }
    group.finish();
}

/// Two ends that have said hello.
fn ends() -> [SecureStream; 2] {
    let keys = |tx, rx| SessionKeys { tx, rx, hash: [3; 64], remote_static: [4; 32] };
    let mut one = SecureStream::with_keys(Role::Initiator, &keys([1; 32], [2; 32]), [5; 24]);
    let mut other = SecureStream::with_keys(Role::Responder, &keys([2; 32], [1; 32]), [6; 24]);
    while let Some(bytes) = one.poll_transmit() {
        other.receive(&bytes).unwrap();
    }
    while let Some(bytes) = other.poll_transmit() {
        one.receive(&bytes).unwrap();
    }
    assert!(one.is_established() && other.is_established());
    [one, other]
}

fn frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for len in MESSAGE_LENS {
        let plaintext = vec![0x5a; len];
        let [mut sender, mut receiver] = ends();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("seal {len} B"), |b| {
            let [mut sender, _] = ends();
            b.iter(|| {
                sender.send(black_box(&plaintext)).unwrap();
                sender.poll_transmit().unwrap()
            });
        });
        group.bench_function(format!("open {len} B"), |b| {
            let sealed = || {
                sender.send(&plaintext).unwrap();
                sender.poll_transmit().unwrap()
            };
            let open = |frame: Bytes| {
                receiver.receive(&frame).unwrap();
                receiver.poll_plaintext().unwrap().unwrap()
            };
            b.iter_batched(sealed, open, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = message, frame
}
criterion_main!(benches);
