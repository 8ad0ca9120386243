//! Answers to requests for runs, well formed and not, that are not what was asked for.

use bytes::Bytes;
use multibee_log::compact::put_uint;
use multibee_log::{ProofRun, Request, RequestBlock, RequestRun};
use multibee_replica::{Message, NoDataReason};

use crate::case::{Case, Verdict, check};
use crate::lies;
use crate::network::{append, writer};
use crate::stage::{BLOCKS, Stage, Start, kin, numbers};

use Verdict::{HungUpOn, Ignored};

/// What becomes of the liar, and what it does to a right run.
type Lie = (&'static str, Verdict, fn(&mut ProofRun));

/// What becomes of the liar, and what it says instead of a right run to the request number 2.
type Act = (&'static str, Verdict, fn(&mut Stage));

const UNDECODABLE: Verdict = HungUpOn("undecodable message of Multibee's extension");
const ANOTHER: Verdict = HungUpOn("another request than ours: run of blocks");
const UNVERIFIABLE: Verdict = HungUpOn("data that does not verify");

pub(crate) fn cases() -> Vec<Case> {
    let lies: Vec<Lie> = vec![
        ("a run of no blocks", ANOTHER, |run| {
            (run.lens, run.data) = (Vec::new(), Bytes::new());
        }),
        ("a run of half the blocks", ANOTHER, |run| {
            *run = right(RequestRun { start: 0, depth: 1, nodes: 1 });
        }),
        ("a run of one block less", ANOTHER, |run| {
            let last = run.lens.pop().unwrap() as usize;
            run.data.truncate(run.data.len() - last);
        }),
        ("a run of one block more", ANOTHER, |run| run.lens.push(0)),
        ("a run of twice the blocks", ANOTHER, |run| {
            run.lens.extend_from_within(..);
            run.data = [&run.data[..], &run.data[..]].concat().into();
        }),
        ("a run that begins elsewhere", ANOTHER, |run| run.start += BLOCKS),
        ("a run that begins at 2^53", ANOTHER, |run| run.start = 1 << 52),
        ("a run in the wrong order", UNVERIFIABLE, |run| {
            let (first, rest) = run.data.split_at(run.lens[0] as usize);
            run.data = [rest, first].concat().into();
        }),
        ("a run with one byte of another block", UNVERIFIABLE, |run| {
            (run.lens[0], run.lens[1]) = (run.lens[0] + 1, run.lens[1] - 1);
        }),
        ("a run with an empty block", UNVERIFIABLE, |run| {
            (run.lens[0], run.lens[1]) = (run.lens[0] + run.lens[1], 0);
        }),
        ("a run with other bytes", UNVERIFIABLE, |run| {
            run.data = vec![b'x'; run.data.len()].into();
        }),
        ("a run of empty blocks", UNVERIFIABLE, |run| {
            (run.lens, run.data) = (vec![0; run.lens.len()], Bytes::new());
        }),
        ("a run of another log", UNVERIFIABLE, |run| {
            let other = writer(2, 0);
            other.append(&[b"others!"; BLOCKS as usize]).unwrap();
            *run = other.prove_run(&RequestRun { start: 0, depth: 2, nodes: 0 }).unwrap();
        }),
        ("a run of blocks as long as a message may be", UNVERIFIABLE, |run| {
            let len = (1 << 20) - 40;
            (run.lens, run.data) = (vec![len, 0, 0, 0], vec![7; len as usize].into());
        }),
        ("a run with a node too many", UNVERIFIABLE, |run| {
            let longer = writer(1, 2 * BLOCKS);
            let request = RequestRun { start: 0, depth: 2, nodes: 1 };
            run.nodes = longer.prove_run(&request).unwrap().nodes;
            assert_eq!(run.nodes.len(), 1);
        }),
        ("a run with 200 nodes too many", UNVERIFIABLE, |run| {
            let longer = writer(1, 2 * BLOCKS);
            let request = RequestRun { start: 0, depth: 2, nodes: 1 };
            run.nodes = vec![longer.prove_run(&request).unwrap().nodes[0]; 200];
        }),
        ("a run of a fork that nobody has", Ignored, |run| run.fork = 7),
    ];
    let mut cases = Vec::new();
    for (name, verdict, spoil) in lies {
        cases.push(asked(name, verdict, move |stage| {
            let mut run = right(RequestRun { start: 0, depth: 2, nodes: 0 });
            spoil(&mut run);
            give(stage, 2, &run);
        }));
    }
    let acts = malformed().into_iter().chain(untimely());
    cases.extend(acts.map(|(name, verdict, act)| asked(name, verdict, act)));
    cases.push(cut_short());
    cases
}

/// Bytes that are no run.
fn malformed() -> Vec<Act> {
    vec![
        ("a run that says it is of 2^40 blocks", UNDECODABLE, |stage| {
            say(stage, &numbers(&[2, 0, 0, 1 << 40, 7]));
        }),
        ("a run with a block of 2^53 bytes", UNDECODABLE, |stage| {
            say(stage, &numbers(&[2, 0, 0, 4, (1 << 53) - 1, 7, 7, 7, 0]));
        }),
        ("a run whose lengths overflow", UNDECODABLE, |stage| {
            let most = (1 << 53) - 1;
            say(stage, &numbers(&[&[2, 0, 0, 4096][..], &[most; 4096], &[0]].concat()));
        }),
        ("a run that says it has 2^20 nodes", UNDECODABLE, |stage| {
            say(stage, &numbers(&[2, 0, 0, 4, 7, 7, 7, 7, 1 << 20]));
        }),
        ("a run longer than a message may be", HungUpOn("extension of"), |stage| {
            let mut run = right(RequestRun { start: 0, depth: 2, nodes: 0 });
            let len = 1 << 20;
            (run.lens, run.data) = (vec![len, 0, 0, 0], vec![7; len as usize].into());
            give(stage, 2, &run);
        }),
        ("a run with bytes behind it", UNDECODABLE, |stage| {
            let mut body = numbers(&[2]);
            right(RequestRun { start: 0, depth: 2, nodes: 0 }).encode(&mut body);
            body.push(0);
            say(stage, &body);
        }),
    ]
}

/// Runs, and what stands in their place, when they are not expected.
fn untimely() -> Vec<Act> {
    vec![
        ("a run that nobody asked for", Ignored, |stage| {
            give(stage, 999, &right(RequestRun { start: 0, depth: 2, nodes: 0 }));
            assert_eq!(stage.logs[1].held(0..BLOCKS), []);
        }),
        ("a run to the request for the head", Ignored, |stage| {
            give(stage, 1, &right(RequestRun { start: 0, depth: 2, nodes: 0 }));
            assert_eq!(stage.logs[1].held(0..BLOCKS), []);
        }),
        ("100 wrong runs that nobody asked for", Ignored, |stage| {
            let other = writer(2, BLOCKS);
            let run = other.prove_run(&RequestRun { start: 0, depth: 2, nodes: 0 }).unwrap();
            (100..200).for_each(|id| give(stage, id, &run));
            assert_eq!(stage.logs[1].held(0..BLOCKS), []);
        }),
        ("a run twice", Ignored, |stage| {
            let run = right(RequestRun { start: 0, depth: 2, nodes: 0 });
            give(stage, 2, &run);
            give(stage, 2, &run);
            assert_eq!(stage.logs[1].contiguous_len(), BLOCKS);
        }),
        ("a run, and then a wrong one in its place", Ignored, |stage| {
            let mut run = right(RequestRun { start: 0, depth: 2, nodes: 0 });
            give(stage, 2, &run);
            run.data = vec![b'x'; run.data.len()].into();
            give(stage, 2, &run);
            assert_eq!(stage.logs[1].contiguous_len(), BLOCKS);
        }),
        ("a run after it was refused", Ignored, |stage| {
            refuse(stage, 2);
            give(stage, 2, &right(RequestRun { start: 0, depth: 2, nodes: 0 }));
            assert_eq!(stage.logs[1].held(0..BLOCKS), []);
        }),
        ("one block instead of a run", Ignored, |stage| {
            let block = RequestBlock { index: 0, nodes: 2 };
            let request = Request { block: Some(block), ..Request::default() };
            let proof = stage.logs[0].prove(&request).unwrap();
            stage.say(&Message::Data { request: 2, proof });
            assert_eq!(stage.logs[1].held(0..BLOCKS), []);
        }),
        ("a refused run whose first block is forged", UNVERIFIABLE, |stage| {
            refuse(stage, 2);
            lies::answer(stage, 0, |proof| {
                proof.block.as_mut().unwrap().value = Bytes::from_static(b"forged!");
            });
        }),
        ("runs of another fork for as long as they are asked for", Ignored, |stage| {
            for id in 2..300 {
                let mut run = right(RequestRun { start: 0, depth: 2, nodes: 0 });
                run.fork = 1;
                give(stage, id, &run);
            }
        }),
        ("requests for runs of what it has itself", Ignored, |stage| {
            (0..100).for_each(|id| stage.say(&kin(0x10, &numbers(&[id, 0, 0, 2, 0]))));
        }),
        ("a longer head in the middle of a run", Ignored, |stage| {
            append(&stage.logs[0].clone(), BLOCKS);
            lies::announce(stage);
            give(stage, 2, &right(RequestRun { start: 0, depth: 2, nodes: 0 }));
        }),
    ]
}

/// A run that ends at each of its bytes.
fn cut_short() -> Case {
    let mut body = numbers(&[2]);
    right(RequestRun { start: 0, depth: 2, nodes: 0 }).encode(&mut body);
    let inputs = body.len();
    let name = "a run that ends too early";
    Case::of_many(name, Start::Empty, UNDECODABLE, inputs, move |stage, len| {
        be_asked(stage);
        say(stage, &body[..len]);
    })
}

/// A case in which a run of all blocks is asked for by the request number 2, before the faulty peer
/// does what it does.
fn asked(name: &str, verdict: Verdict, act: impl Fn(&mut Stage) + 'static) -> Case {
    Case::new(name, Start::Empty, verdict, move |stage| {
        be_asked(stage);
        act(stage);
    })
}

fn be_asked(stage: &mut Stage) {
    stage.open();
    stage.say(&kin(2, &[]));
    lies::announce(stage);
    lies::answer(stage, 0, |_| {});
    let ask = kin(0x10, &numbers(&[2, 0, 0, 2, 0]));
    assert!(stage.heard().contains(&ask), "a run is asked for");
}

/// The writer's own answer.
fn right(request: RequestRun) -> ProofRun {
    writer(1, BLOCKS).prove_run(&request).unwrap()
}

fn give(stage: &mut Stage, id: u64, run: &ProofRun) {
    let mut body = Vec::new();
    put_uint(&mut body, id);
    run.encode(&mut body);
    say(stage, &body);
}

fn say(stage: &mut Stage, body: &[u8]) {
    stage.say(&kin(0x11, body));
}

fn refuse(stage: &mut Stage, request: u64) {
    stage.say(&Message::NoData { request, reason: NoDataReason::NOT_AVAILABLE });
}

/// Whatever comes instead of a run of blocks: what is stored is what was signed, and who lied is named.
#[test]
fn no_wrong_run_is_stored() {
    check(cases);
}
