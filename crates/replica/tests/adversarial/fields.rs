//! Every number of every message at its extremes.

use multibee_log::compact::put_uint;
use multibee_log::{Node, Request, RequestBlock, RequestRun, RequestUpgrade};

use crate::case::{CLOSED, Case, Verdict, check};
use crate::lies;
use crate::network::writer;
use crate::stage::{BLOCKS, Stage, Start, numbers};

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
    Bytes(Vec<u8>),
}

use Part::{Bytes, Number};

/// What has been asked of the faulty peer when it says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Head,
    Block,
    Run,
}

/// A message by name and type, with proper values where no other is put.
struct Form {
    name: &'static str,
    ty: u64,
    parts: Vec<Part>,
    asked: Asked,
}

fn all(fields: &[(&'static str, u64)]) -> Vec<Part> {
    fields.iter().map(|&(name, value)| Number(name, value)).collect()
}

fn request(flags: u64, fields: &[(&'static str, u64)]) -> Vec<Part> {
    let ids = [("flags", flags), ("request", 1), ("fork", 0)];
    ids.iter().chain(fields).map(|&(name, value)| Number(name, value)).collect()
}

fn kin(kind: u8, fields: Vec<Part>) -> Vec<Part> {
    let name = b"multibee/replica".to_vec();
    let head = [Number("name length", 16), Bytes(name), Bytes(vec![kind])];
    head.into_iter().chain(fields).collect()
}

fn nodes(nodes: &[Node]) -> Vec<Part> {
    let node = |node: &Node| {
        let hash = Bytes(node.hash.as_bytes().to_vec());
        [Number("node index", node.index), Number("node size", node.size), hash]
    };
    [Number("nodes", nodes.len() as u64)].into_iter().chain(nodes.iter().flat_map(node)).collect()
}

/// What asks for something, and what tells something.
fn forms() -> Vec<Form> {
    let sync = [("flags", 3), ("fork", 0), ("length", 4), ("remote length", 0)];
    let ask = [("id", 9), ("fork", 0), ("start", 0), ("depth", 2), ("nodes", 0)];
    let urgent = [("index", 1), ("nodes", 1), ("priority", 1)];
    let bitfield = vec![Number("start", 32), Number("words", 1), Bytes(vec![255; 4])];
    let extension = vec![Number("name length", 1), Bytes(b"x".to_vec()), Number("length", 1)];
    let forms = [
        ("sync", 0, all(&sync)),
        ("request for nothing", 1, request(0, &[])),
        ("request for a block", 1, request(1, &[("index", 1), ("nodes", 1)])),
        ("request for a hash", 1, request(2, &[("index", 1), ("nodes", 1)])),
        ("request for a byte", 1, request(4, &[("bytes", 1), ("padding", 1)])),
        ("request for a head", 1, request(8, &[("start", 1), ("length", 1)])),
        ("urgent request", 1, request(33, &urgent)),
        ("cancel", 2, all(&[("request", 1)])),
        ("noData", 4, all(&[("request", 1), ("flags", 1), ("reason", 1)])),
        ("want", 5, all(&[("start", 0), ("length", 4), ("flags", 1)])),
        ("unwant", 6, all(&[("start", 0), ("length", 4), ("flags", 1)])),
        ("bitfield", 7, bitfield),
        ("range", 8, all(&[("flags", 0), ("start", 0), ("length", 4)])),
        ("drop of a range", 8, all(&[("flags", 1), ("start", 0), ("length", 4)])),
        ("extension", 9, extension),
        ("ask for a run", 9, kin(0x10, all(&ask))),
    ];
    let form = |(name, ty, parts)| Form { name, ty, parts, asked: Asked::Nothing };
    forms.into_iter().map(form).chain(answers()).collect()
}

/// What answers: right as it is, to what was asked.
fn answers() -> Vec<Form> {
    let log = writer(1, BLOCKS);
    let upgrade = Some(RequestUpgrade { start: 0, length: BLOCKS });
    let head = Request { upgrade, manifest: true, ..Request::default() };
    let head = log.prove(&head).unwrap();
    let (up, manifest) = (head.upgrade.unwrap(), head.manifest.unwrap().encode());
    let fields = [("start", up.start), ("length", up.length)];
    let head = request(8 | 16, &fields).into_iter().chain(nodes(&up.nodes));
    let head = head.chain([
        Number("additional nodes", 0),
        Number("signature length", up.signature.len() as u64),
        Bytes(up.signature.to_vec()),
        Bytes(manifest),
    ]);
    let block = RequestBlock { index: 0, nodes: 2 };
    let block = log.prove(&Request { block: Some(block), ..Request::default() }).unwrap();
    let block = block.block.unwrap();
    let ids = [("flags", 1), ("request", 2), ("fork", 0), ("index", 0)];
    let value = [Number("value length", block.value.len() as u64), Bytes(block.value.to_vec())];
    let block = all(&ids).into_iter().chain(value).chain(nodes(&block.nodes));
    let run = log.prove_run(&RequestRun { start: 0, depth: 2, nodes: 0 }).unwrap();
    let ids = [("id", 2), ("fork", 0), ("start", 0), ("blocks", BLOCKS)];
    let lens = run.lens.iter().map(|&len| Number("length", len));
    let run = all(&ids)
        .into_iter()
        .chain(lens)
        .chain(nodes(&run.nodes))
        .chain([Bytes(run.data.to_vec())]);
    let hash = [("flags", 2), ("request", 1), ("fork", 0), ("index", 1), ("nodes", 0)];
    let seek = [("flags", 4), ("request", 1), ("fork", 0), ("bytes", 1), ("nodes", 0)];
    let form = |name, ty, parts, asked| Form { name, ty, parts, asked };
    vec![
        form("data with a head", 3, head.collect(), Asked::Head),
        form("data with a block", 3, block.collect(), Asked::Block),
        form("run", 9, kin(0x11, run.collect()), Asked::Run),
        form("data with a hash", 3, all(&hash), Asked::Head),
        form("data with a byte", 3, all(&seek), Asked::Head),
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

/// Brings it about that something is asked of the faulty peer.
fn have_asked(asked: Asked, stage: &mut Stage) {
    stage.open();
    match asked {
        Asked::Nothing => return stage.say_raw(8, numbers(&[0, 0, 4])),
        Asked::Run => stage.say(&crate::stage::kin(2, &[])),
        Asked::Head | Asked::Block => {}
    }
    lies::announce(stage);
    if asked != Asked::Head {
        lies::answer(stage, 0, |_| {});
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = frames();
    for Form { name, ty, parts, asked: needed } in forms() {
        for (at, part) in parts.iter().enumerate() {
            let Number(field, _) = part else { continue };
            let inputs = EXTREMES.map(|value| encode(&parts, at, value));
            let starts = match needed {
                Asked::Run => Start::Empty,
                _ => Start::EmptyOneByOne,
            };
            for (start, asked) in
                [(Start::Empty, Asked::Nothing), (Start::Half, Asked::Nothing), (starts, needed)]
            {
                if asked == Asked::Nothing && start == Start::EmptyOneByOne {
                    continue;
                }
                let inputs = inputs.clone();
                // Part 3 and part 8 of one message may both be a node's.
                let name = format!("extremes of {name}, part {at}: {field}, {start:?}, {asked:?}");
                let act = move |stage: &mut Stage, input: usize| {
                    have_asked(asked, stage);
                    stage.say_raw(ty, inputs[input].clone());
                };
                cases.push(Case::of_many(name, start, Verdict::Judged, EXTREMES.len(), act));
            }
        }
    }
    cases
}

/// The numbers of a frame of the mux, with proper values, and what must be told when one is changed:
/// nothing, if that is empty.
type Frame = (&'static str, Vec<(&'static str, u64, Told)>, Vec<u8>);
type Told = fn(u64) -> &'static str;

const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Frames of the mux, which have no channel of the log about them.
fn frames() -> Vec<Case> {
    let any: Told = any_number;
    let open: Vec<(&str, u64, Told)> = vec![
        ("channel", 0, any),
        ("type", 1, any),
        ("id", 2, |id| if id > NUMBER_MAX { "undecodable open: number" } else { "not free" }),
        ("protocol length", 3, |len| match len {
            NUMBER_MAX.. if len > NUMBER_MAX => "undecodable open: number",
            _ => "undecodable open: input ends",
        }),
    ];
    let reject: Vec<(&str, u64, Told)> =
        vec![
            ("channel", 0, |channel| match channel {
                0 => "reject of channel 9",
                NUMBER_MAX.. if channel > NUMBER_MAX => "undecodable mux frame: number",
                _ => "",
            }),
            ("type", 2, |ty| match ty {
                1 => "undecodable open: input ends",
                NUMBER_MAX.. if ty > NUMBER_MAX => "undecodable mux frame: number",
                _ => "",
            }),
            ("id", 9, |id| {
                if id > NUMBER_MAX { "undecodable reject: number" } else { "not being opened" }
            }),
        ];
    let close: Vec<(&str, u64, Told)> = vec![
        ("channel", 0, |channel| match channel {
            1 => "undecodable data: input ends",
            NUMBER_MAX.. if channel > NUMBER_MAX => "undecodable mux frame: number",
            _ => "",
        }),
        ("type", 3, |ty| match ty {
            1 => "undecodable open: input ends",
            NUMBER_MAX.. if ty > NUMBER_MAX => "undecodable mux frame: number",
            _ => "",
        }),
        ("id", 9, |id| match id {
            1 => CLOSED,
            NUMBER_MAX.. if id > NUMBER_MAX => "undecodable close: number",
            _ => "",
        }),
    ];
    let frames: Vec<Frame> = vec![
        ("open", open, b"own\x01i".to_vec()),
        ("open's channel id", channel_id(), b"i".to_vec()),
        ("reject", reject, Vec::new()),
        ("close", close, Vec::new()),
        ("batch", batch(), vec![1, 0, 1, 1, 99]),
    ];
    frames.into_iter().flat_map(frame_cases).collect()
}

/// A number that may be too large, and with which nothing else can be wrong: it is of no channel, or of
/// no known type.
fn any_number(value: u64) -> &'static str {
    if value > NUMBER_MAX { "undecodable mux frame: number" } else { "" }
}

/// A batch of one message.
fn batch() -> Vec<(&'static str, u64, Told)> {
    vec![
        ("channel", 0, |channel| match channel {
            // It is a sync with a fork that is never shown.
            1 => "no answer",
            NUMBER_MAX.. if channel > NUMBER_MAX => "undecodable mux frame: number",
            _ => "",
        }),
        ("type", 0, |ty| match ty {
            1 => "not free",
            NUMBER_MAX.. if ty > NUMBER_MAX => "undecodable mux frame: number",
            _ => "",
        }),
        ("first channel", 1, any_number),
        ("entry length", 2, |len| match len {
            0 => "batch entry of 99 bytes",
            1 => "undecodable sync: input ends",
            NUMBER_MAX.. if len > NUMBER_MAX => "undecodable mux frame: number",
            _ => "batch entry of",
        }),
        ("kind", 99, |kind| match kind {
            0 => "undecodable sync: input ends",
            1 => "undecodable request: input ends",
            252 => "",
            _ => "undecodable mux frame: input ends",
        }),
    ]
}

/// An open up to the length of its channel's id. All that is before it is pinned by another frame.
fn channel_id() -> Vec<(&'static str, u64, Told)> {
    let same: Told = |_| "";
    let open = [("channel", 0), ("type", 1), ("id", 2), ("protocol length", 1), ("protocol", 120)];
    let len: Told = |len| match len {
        0 | 1 => "",
        NUMBER_MAX.. if len > NUMBER_MAX => "undecodable open: number",
        _ => "undecodable open: input ends",
    };
    let before = open.into_iter().map(|(name, value)| (name, value, same));
    before.chain([("channel id length", 1, len)]).collect()
}

fn frame_cases((name, fields, rest): Frame) -> Vec<Case> {
    let parts = fields.iter().map(|&(name, value, _)| Number(name, value)).chain([Bytes(rest)]);
    let parts: Vec<Part> = parts.collect();
    let mut cases = Vec::new();
    for (at, &(field, _, told)) in fields.iter().enumerate() {
        if name == "open's channel id" && field != "channel id length" {
            continue;
        }
        for start in [Start::Empty, Start::Half] {
            let inputs = EXTREMES.map(|value| encode(&parts, at, value));
            let name = format!("extremes of {name}, part {at}: {field}, {start:?}");
            let verdict = Verdict::Each(EXTREMES.map(told));
            let act = move |stage: &mut Stage, input: usize| {
                have_asked(Asked::Nothing, stage);
                stage.frame(&inputs[input]);
            };
            cases.push(Case::of_many(name, start, verdict, EXTREMES.len(), act));
        }
    }
    cases
}

/// Whatever a message says about its own size, or any other number: memory is bounded, the others go on,
/// and who says what cannot be is named for it.
#[test]
fn no_number_does_harm() {
    check(cases);
}
