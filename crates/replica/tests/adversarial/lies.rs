//! Answers and claims that are well formed and wrong.

use bytes::Bytes;
use multibee_log::{Log, Proof, ProofBlock, Request, RequestBlock, RequestUpgrade};
use multibee_replica::{Message, NoDataReason, Sync};

use crate::case::{Case, Verdict, check};
use crate::network::{append, writer};
use crate::stage::{BLOCKS, Stage, Start};

use Verdict::{HungUpOn, Ignored, Named};

/// A lie, what becomes of the liar, and what it does to a right answer.
type Lie = (&'static str, Verdict, fn(&mut Proof));

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = claims();
    let empty = Start::EmptyOneByOne;
    let heads: Vec<Lie> = vec![
        ("a head with another signature", HungUpOn("verify"), |p| {
            edit(p, |up| up.signature = Bytes::from(vec![1; up.signature.len()]));
        }),
        ("a head without a signature", HungUpOn("verify"), |p| {
            edit(p, |up| up.signature = Bytes::new());
        }),
        ("a head with another node", HungUpOn("verify"), |p| edit(p, |up| up.nodes[0].size += 1)),
        ("a head without nodes", HungUpOn("verify"), |p| edit(p, |up| up.nodes.clear())),
        ("a head that begins elsewhere", HungUpOn(""), |p| edit(p, |up| up.start += 1)),
        ("a longer head than is signed", HungUpOn("verify"), |p| edit(p, |up| up.length += 1)),
        ("a head of length 2^53", HungUpOn(""), |p| edit(p, |up| up.length = 1 << 53)),
        ("a head of another log", HungUpOn("verify"), |p| {
            *p = head(&writer(2, BLOCKS));
        }),
        ("no head", Ignored, |p| p.upgrade = None),
    ];
    for (name, verdict, spoil) in heads {
        cases.push(Case::new(name, empty, verdict, move |stage| {
            stage.open();
            announce(stage);
            answer(stage, 0, spoil);
        }));
    }
    let blocks: Vec<Lie> = vec![
        ("a block with another value", HungUpOn("verify"), |p| {
            edit_block(p, |block| block.value = Bytes::from_static(b"forged!"));
        }),
        ("an empty block", HungUpOn("verify"), |p| edit_block(p, |b| b.value = Bytes::new())),
        ("a block of another number", HungUpOn("another request"), |p| {
            edit_block(p, |b| b.index += 1)
        }),
        ("a block with another node", HungUpOn("verify"), |p| {
            edit_block(p, |block| {
                block.nodes.iter_mut().for_each(|node| node.size += 1);
                block.value = Bytes::from_static(b"x");
            });
        }),
        ("nothing instead of a block", Ignored, |p| p.block = None),
    ];
    for (name, verdict, spoil) in blocks {
        cases.push(Case::new(name, empty, verdict, move |stage| {
            stage.open();
            announce(stage);
            answer(stage, 0, |_| {});
            answer(stage, 0, spoil);
        }));
    }
    cases
}

const UNANSWERED: Verdict = HungUpOn("no answer to 4 rounds");

/// It has not heard our length, so that it is asked for its own by those only who have none.
fn claim_far_too_much(stage: &mut Stage) {
    let length = (1 << 53) - 1;
    stage.say(&sync(0, length));
    stage.say(&Message::Range { drop: false, start: 0, length });
}

fn claims() -> Vec<Case> {
    let case = |name, start, verdict, act: fn(&mut Stage)| {
        Case::new(name, start, verdict, move |stage| {
            stage.open();
            act(stage);
        })
    };
    vec![
        case("a length that nobody has", Start::Half, Ignored, claim_far_too_much),
        case("a length that nobody has, to all it meets", Start::Empty, UNANSWERED, |stage| {
            claim_far_too_much(stage);
            stage.pass(150);
        }),
        case("a length that shrinks", Start::Half, Named("fell from 100 to 2"), |stage| {
            stage.say(&sync(0, 100));
            stage.say(&sync(0, 2));
        }),
        case("a fork that is never shown", Start::Half, UNANSWERED, |stage| {
            stage.say(&sync(7, 100));
        }),
        case("blocks that it does not have", Start::Empty, Ignored, |stage| {
            stage.say(&sync(0, BLOCKS));
            stage.say(&Message::Range { drop: false, start: 0, length: BLOCKS });
            refuse_all(stage);
        }),
        case("bits without a length", Start::Empty, Ignored, |stage| {
            stage.say(&Message::Bitfield { start: 0, words: vec![u32::MAX; 1000] });
        }),
        case("a block that nobody asked for", Start::Half, Ignored, |stage| {
            let proof = stage.logs[0].prove(&block(1)).unwrap();
            stage.say(&Message::Data { request: 999, proof });
        }),
        case("forged blocks unasked", Start::Half, Ignored, |stage| {
            let other = writer(2, BLOCKS + 1);
            stage.say(&sync(0, BLOCKS + 1));
            for index in 0..50 {
                let mut proof = other.prove(&block(index % 4)).unwrap();
                proof.upgrade = head(&other).upgrade;
                stage.say(&Message::Data { request: 0, proof });
            }
        }),
        case("100 forged heads unasked", Start::Half, Ignored, |stage| {
            let other = writer(2, BLOCKS);
            stage.say(&sync(0, BLOCKS));
            for _ in 0..100 {
                append(&other, 1);
                stage.say(&Message::Data { request: 0, proof: head(&other) });
            }
        }),
    ]
}

/// Claims to have all of the log.
pub(crate) fn announce(stage: &mut Stage) {
    stage.say(&Message::Range { drop: false, start: 0, length: BLOCKS });
    stage.say(&sync(0, BLOCKS));
}

/// Answers one of the requests that were heard, after something is done to the answer; and no other.
pub(crate) fn answer(stage: &mut Stage, which: usize, spoil: impl Fn(&mut Proof)) {
    let requests = stage.heard().into_iter().filter_map(|message| match message {
        Message::Request { id, request, .. } => Some((id, request)),
        _ => None,
    });
    let (request, wish) = requests.collect::<Vec<_>>()[which];
    let mut proof = stage.logs[0].prove(&wish).unwrap();
    spoil(&mut proof);
    stage.say(&Message::Data { request, proof });
}

fn refuse_all(stage: &mut Stage) {
    for _ in 0..100 {
        for message in stage.heard() {
            if let Message::Request { id, .. } = message {
                let reason = NoDataReason::NOT_AVAILABLE;
                stage.say(&Message::NoData { request: id, reason });
            }
        }
    }
}

fn sync(fork: u64, length: u64) -> Message {
    let (can_upgrade, uploading, has_manifest) = (true, true, true);
    Message::Sync(Sync { fork, length, can_upgrade, uploading, has_manifest, ..Sync::default() })
}

fn block(index: u64) -> Request {
    Request { block: Some(RequestBlock { index, nodes: 0 }), ..Request::default() }
}

/// A log's head, with its manifest.
pub(crate) fn head(log: &Log) -> Proof {
    let upgrade = Some(RequestUpgrade { start: 0, length: log.len() });
    log.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap()
}

fn edit(proof: &mut Proof, act: impl Fn(&mut multibee_log::ProofUpgrade)) {
    proof.upgrade.as_mut().into_iter().for_each(act);
}

fn edit_block(proof: &mut Proof, act: impl Fn(&mut ProofBlock)) {
    proof.block.as_mut().into_iter().for_each(act);
}

/// Whatever is claimed and answered: what is stored is what was signed, and who lied is named.
#[test]
fn no_lie_is_stored() {
    check(cases);
}
