//! What joining the states of a key costs.
#![allow(missing_docs, reason = "a macro's functions")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use multibee_merge::{
    Applied, Clock, Content, DeviceId, Dot, LastWriter, MergeStrategy as _, State, Time, Version,
    entry_digest,
};

/// The write in a block of a device's log.
fn write(device: u64, seq: u64) -> Version {
    let dot = Dot { device: DeviceId::from_u64(device), seq };
    let value = Bytes::from_static(&[0x5a; 100]);
    Version::plain(dot, Time::from_millis(1_800_000_000_000 + seq), Content::Value(value))
}

/// What a device has seen of `devices` logs: of its own somewhat more.
fn clock(own: u64, devices: u64) -> Clock {
    let mut clock = Clock::new();
    for device in 1..=devices {
        let length = if device == own { 200 } else { 100 };
        clock.advance(DeviceId::from_u64(device), Applied { length, tag: Some([1; 8]) });
    }
    clock
}

fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group("join");
    for devices in [5, 50] {
        let context = |own| clock(own, devices);
        let old = State::new(vec![write(3, 90)], clock(3, devices));
        let one = State::new(vec![write(1, 150)], context(1));
        let other = State::new(vec![write(2, 160)], context(2));
        group.bench_function(format!("a newer state, {devices} devices"), |b| {
            b.iter(|| black_box(&old).join(black_box(&one)));
        });
        group.bench_function(format!("a concurrent state, {devices} devices"), |b| {
            b.iter(|| black_box(&one).join(black_box(&other)));
        });
        let (one, other) = (context(1), context(2));
        group.bench_function(format!("clocks of {devices} devices"), |b| {
            b.iter(|| {
                let mut clock = black_box(&one).clone();
                clock.merge(black_box(&other));
                clock
            });
        });
    }
    group.finish();
}

/// What a merge does with the versions that it has joined.
fn show(c: &mut Criterion) {
    let versions = [write(1, 150), write(2, 160), write(3, 90)];
    let key = [0x5a; 16];
    let mut group = c.benchmark_group("shown");
    group.bench_function("the last of 3 versions", |b| {
        b.iter(|| LastWriter.resolve(black_box(&key), black_box(&versions)).first());
    });
    group.bench_function("digest of 1 version", |b| {
        b.iter(|| entry_digest(black_box(&key), black_box(&versions[..1])));
    });
    group.bench_function("digest of 3 versions", |b| {
        b.iter(|| entry_digest(black_box(&key), black_box(&versions)));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = join, show
}
criterion_main!(benches);
