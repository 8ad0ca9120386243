//! Every number of every message at its extremes.

use multibee_log::compact::put_uint;

use crate::case::{Case, Verdict, check};
use crate::stage::{Start, numbers};

/// Limits of lengths and of integers, and what is beside them.
const EXTREMES: [u64; 14] = [
    0,
    1,
    252,
    253,
    65_535,
    65_536,
    (1 << 24) - 1,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    1 << 32,
    (1 << 53) - 1,
    1 << 53,
    u64::MAX - 1,
    u64::MAX,
];

/// What a message is made of.
enum Part {
    Number(&'static str, u64),
    Bytes(&'static [u8]),
}

use Part::{Bytes, Number};

/// Messages by name and type, with proper values where no other is put.
fn forms() -> Vec<(&'static str, u64, Vec<Part>)> {
    let node = || [Number("node index", 2), Number("node size", 7), Bytes(&[5; 32])];
    let ids = |flags| vec![Number("flags", flags), Number("request", 1), Number("fork", 0)];
    let with = |flags, parts: Vec<Part>| ids(flags).into_iter().chain(parts).collect::<Vec<_>>();
    let pair = |a, b| vec![Number(a, 1), Number(b, 1)];
    let block = [Number("index", 0), Number("value length", 2), Bytes(b"hi"), Number("nodes", 1)];
    let upgrade = || {
        let parts = [Number("start", 0), Number("length", 4), Number("nodes", 1)];
        let rest = [Number("additional nodes", 0), Number("signature length", 64), Bytes(&[1; 64])];
        parts.into_iter().chain(node()).chain(rest).collect::<Vec<_>>()
    };
    let list = |a| [Number(a, 1), Number("nodes", 1)].into_iter().chain(node()).collect::<Vec<_>>();
    let kin = |kind: &'static [u8], parts: Vec<Part>| {
        let name = [Number("name length", 16), Bytes(b"multibee/replica"), Bytes(kind)];
        name.into_iter().chain(parts).collect::<Vec<_>>()
    };
    let ask = [("id", 9), ("fork", 0), ("start", 0), ("depth", 2), ("nodes", 0)];
    let run = [("id", 2), ("fork", 0), ("start", 0), ("blocks", 1), ("first", 2), ("second", 1)];
    let all = |fields: &[(&'static str, u64)]| fields.iter().map(|&(n, v)| Number(n, v)).collect();
    let sync = [("flags", 3), ("fork", 0), ("length", 4), ("remote length", 0)];
    vec![
        ("sync", 0, all(&sync)),
        ("request for nothing", 1, with(0, vec![])),
        ("request for a block", 1, with(1, pair("index", "nodes"))),
        ("request for a hash", 1, with(2, pair("index", "nodes"))),
        ("request for a byte", 1, with(4, pair("bytes", "padding"))),
        ("request for a head", 1, with(8, pair("start", "length"))),
        (
            "urgent request",
            1,
            with(33, vec![Number("a", 1), Number("b", 1), Number("priority", 1)]),
        ),
        ("cancel", 2, all(&[("request", 1)])),
        ("data with a block", 3, with(1, block.into_iter().chain(node()).collect())),
        ("data with a hash", 3, with(2, list("index"))),
        ("data with a byte", 3, with(4, list("bytes"))),
        ("data with a head", 3, with(8, upgrade())),
        ("data with a manifest", 3, with(16, all(&[("version", 1), ("a", 0), ("b", 0), ("c", 1)]))),
        ("noData", 4, all(&[("request", 1), ("flags", 1), ("reason", 1)])),
        ("want", 5, all(&[("start", 0), ("length", 4), ("flags", 1)])),
        ("unwant", 6, all(&[("start", 0), ("length", 4), ("flags", 1)])),
        ("bitfield", 7, vec![Number("start", 32), Number("words", 1), Bytes(&[255; 4])]),
        ("range", 8, all(&[("flags", 0), ("start", 0), ("length", 4)])),
        ("drop of a range", 8, all(&[("flags", 1), ("start", 0), ("length", 4)])),
        ("extension", 9, vec![Number("name length", 1), Bytes(b"x"), Number("length", 1)]),
        ("ask for a run", 9, kin(&[0x10], all(&ask))),
        ("run", 9, kin(&[0x11], all(&run))),
    ]
}

/// Frames of the mux, which have no channel of the log about them.
fn frames() -> Vec<(&'static str, Vec<Part>)> {
    let all = |fields: &[(&'static str, u64)]| fields.iter().map(|&(n, v)| Number(n, v)).collect();
    let open = vec![
        Number("channel", 0),
        Number("type", 1),
        Number("id", 2),
        Number("protocol length", 3),
        Bytes(b"own"),
        Number("channel id length", 1),
        Bytes(b"i"),
    ];
    let batch =
        [("channel", 0), ("type", 0), ("first channel", 1), ("entry length", 2), ("kind", 99)];
    let batch: Vec<Part> = all(&batch);
    vec![
        ("open", open),
        ("reject", all(&[("channel", 0), ("type", 2), ("id", 9)])),
        ("close", all(&[("channel", 0), ("type", 3), ("id", 9)])),
        ("batch", batch.into_iter().chain([Bytes(&[1, 0, 1, 1, 99])]).collect()),
    ]
}

/// The message with one of its numbers changed.
fn encode(parts: &[Part], changed: usize, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Number(..) if at == changed => put_uint(&mut out, value),
            Number(_, value) => put_uint(&mut out, *value),
            Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
    out
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let messages = forms().into_iter().map(|(name, ty, parts)| (name, Some(ty), parts));
    let frames = frames().into_iter().map(|(name, parts)| (name, None, parts));
    for (name, ty, parts) in messages.chain(frames) {
        for (at, part) in parts.iter().enumerate() {
            let Number(field, _) = part else { continue };
            let inputs = EXTREMES.map(|value| encode(&parts, at, value));
            // Part 3 and part 8 of one message may both be a node's.
            let name = format!("extremes of {name}, part {at}: {field}");
            for start in [Start::Empty, Start::Half] {
                let inputs = inputs.clone();
                let name = format!("{name}, {start:?}");
                cases.push(Case::of_many(
                    name,
                    start,
                    Verdict::Any,
                    EXTREMES.len(),
                    move |stage, input| {
                        stage.open();
                        stage.say_raw(8, numbers(&[0, 0, 4]));
                        match ty {
                            Some(ty) => stage.say_raw(ty, inputs[input].clone()),
                            None => stage.frame(&inputs[input]),
                        }
                    },
                ));
            }
        }
    }
    cases
}

/// Whatever a message says about its own size, or any other number: memory is bounded, and the others
/// go on.
#[test]
fn no_number_does_harm() {
    check(&cases());
}
