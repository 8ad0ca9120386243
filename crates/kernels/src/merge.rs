//! Joining what two devices know of a key.

use std::hint::black_box;

use bytes::Bytes;
use multibee_merge::{
    Applied, Clock, Content, DeviceId, Dot, LastWriter, MergeStrategy as _, State, Time, Version,
    entry_digest,
};

use crate::kernel::{Kernel, Work};
use crate::sample;

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "merge-join",
        what: "join a key's states: two versions each, one of them known to both, of five devices",
        operations: 20_000,
        prepare: |_| Ok(join()),
    },
    Kernel {
        name: "merge-show",
        what: "choose what three versions show, and compute their digest",
        operations: 10_000,
        prepare: |_| Ok(show()),
    },
];

/// The write in a block of a device's log.
fn write(device: u64, seq: u64) -> Version {
    let dot = Dot { device: DeviceId::from_u64(device), seq };
    let value = Bytes::from_static(sample::VALUE);
    Version::plain(dot, Time::from_millis(1_800_000_000_000 + seq), Content::Value(value))
}

/// A state that has seen five logs, the own one somewhat further.
fn state(own: u64, versions: Vec<Version>) -> State {
    let mut context = Clock::new();
    for device in 1..=5 {
        let length = if device == own { 200 } else { 100 };
        context.advance(DeviceId::from_u64(device), Applied { length, tag: Some([1; 8]) });
    }
    State::new(versions, context)
}

fn join() -> Box<dyn Work> {
    let one = state(1, vec![write(1, 150), write(3, 90)]);
    let other = state(2, vec![write(2, 160), write(3, 90)]);
    Box::new(move |count| {
        for _ in 0..count {
            black_box(black_box(&one).join(black_box(&other)));
        }
        Ok(())
    })
}

fn show() -> Box<dyn Work> {
    let versions = [write(1, 150), write(2, 160), write(3, 90)];
    let key = sample::key(1);
    Box::new(move |count| {
        for _ in 0..count {
            black_box(LastWriter.resolve(black_box(&key), black_box(&versions)));
            black_box(entry_digest(black_box(&key), black_box(&versions)));
        }
        Ok(())
    })
}
