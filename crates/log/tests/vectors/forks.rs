//! `forks.json`: heads of logs that were cut, replicas of logs that were cut behind their backs, and
//! writers that signed two histories.

use bytes::Bytes;
use multibee_log::{Error, Log, LogOptions, Manifest, Node, Proof, flat_tree};
use serde::Deserialize;

use crate::{
    held::{self, ReceiverJson, Sight},
    json::{Hex, load},
    schema::{HeadJson, NodeJson, ProofJson, manifest_of, nodes},
};

#[derive(Deserialize)]
struct File {
    sequences: Vec<Sequence>,
    reorgs: Vec<Reorg>,
    conflicts: Vec<Conflict>,
}

#[derive(Deserialize)]
struct Sequence {
    id: String,
    mode: String,
    seed: Hex,
    key: Hex,
    ops: Vec<OpStep>,
}

#[derive(Deserialize)]
struct OpStep {
    op: Op,
    head: HeadJson,
    nodes: Vec<NodeJson>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Op {
    Append { append: Vec<Hex> },
    Truncate { truncate: u64, fork: u64 },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reorg {
    id: String,
    key: Hex,
    manifest: Hex,
    setup: Vec<ProofJson>,
    before: ReceiverJson,
    rounds: Vec<Round>,
    source_head: HeadJson,
}

#[derive(Deserialize)]
struct Round {
    proof: ProofJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conflict {
    id: String,
    key: Hex,
    local: LocalJson,
    remote_proof: ProofJson,
    check_conflict: bool,
}

#[derive(Deserialize)]
struct LocalJson {
    head: HeadJson,
    proof: ProofJson,
}

/// A log to which the same is done has the same heads, nodes and signatures as Hypercore's, through
/// all its cuts, and also once it is reopened. A new replica takes each head, with its fork and no
/// other.
#[test]
fn heads_around_cuts_are_the_same() {
    let mut cases = 0;
    for sequence in load::<File>("forks.json").sequences {
        let keys = sequence.seed.keys();
        let manifest = manifest_of(&sequence.mode, &keys);
        let (mut log, storage) = held::create(&sequence.mode, keys.clone(), manifest.clone());
        assert_eq!(log.key(), sequence.key.key(), "{}", sequence.id);
        for (number, OpStep { op, head, nodes: expected }) in sequence.ops.iter().enumerate() {
            let at = format!("{} step {number}", sequence.id);
            match op {
                Op::Append { append } => {
                    let new: Vec<Bytes> = append.iter().map(Hex::bytes).collect();
                    log.append(&new).unwrap();
                }
                Op::Truncate { truncate, fork } => {
                    assert_eq!(log.truncate_to_fork(*truncate, *fork).unwrap(), *fork, "{at}");
                }
            }
            for _ in 0..2 {
                assert_eq!((log.fork(), log.len()), (head.fork, head.length), "{at}");
                assert_eq!(log.head(), head.head().filter(|head| head.length > 0), "{at}");
                let end = 2 * head.length;
                let mut expected = nodes(expected);
                expected.retain(|node| flat_tree::right_span(node.index) < end);
                assert!(held::nodes(&log).into_values().eq(expected), "{at}");
                drop(log);
                log = Log::open(storage.clone(), LogOptions::default()).unwrap();
            }
            head.assert_signed(&keys.public_key(), &at);
            if head.signature.is_some() {
                assert_head_is_taken(&sequence.key, head, &manifest, &at);
            }
            cases += 1;
        }
    }
    println!("forks.json, sequences: {cases} cases passed");
}

fn assert_head_is_taken(key: &Hex, head: &HeadJson, manifest: &Manifest, at: &str) {
    let proof = head.proof(manifest.clone());
    let replica = held::replica(key.key(), [&proof]);
    assert_eq!((replica.head(), replica.fork()), (head.head(), head.fork), "{at}");
    let other = Proof { fork: head.fork + 1, ..proof };
    let outcome = held::replica(key.key(), []).apply(&other);
    assert!(matches!(outcome, Err(Error::BadSignature { .. })), "{at}: {outcome:?}");
}

/// A replica of a log that was cut does not take the new history for more of the old one: it says
/// so and stays as it is. A new replica takes the new history.
#[test]
fn cut_logs_are_told_from_grown_ones() {
    let reorgs = load::<File>("forks.json").reorgs;
    for reorg in &reorgs {
        let setup: Vec<Proof> = reorg.setup.iter().map(ProofJson::proof).collect();
        let replica = held::replica(reorg.key.key(), &setup);
        reorg.before.assert_is(&replica, &reorg.id);
        let before = Sight::of(&replica);
        for round in &reorg.rounds {
            let outcome = replica.apply(&round.proof.proof());
            assert!(
                matches!(outcome, Err(Error::ForkMismatch { .. })),
                "{}: {outcome:?}",
                reorg.id
            );
        }
        assert_eq!(Sight::of(&replica), before, "{}", reorg.id);

        let manifest = reorg.manifest.manifest();
        reorg.source_head.assert_signed(&manifest.signers()[0].public_key, &reorg.id);
        assert_head_is_taken(&reorg.key, &reorg.source_head, &manifest, &reorg.id);
        let first = Proof { manifest: Some(manifest), ..reorg.rounds[0].proof.proof() };
        let replica = held::replica(reorg.key.key(), [&first]);
        assert_eq!(replica.head(), reorg.source_head.head(), "{}", reorg.id);
        assert_eq!(replica.fork(), reorg.source_head.fork, "{}", reorg.id);
    }
    println!("forks.json, reorgs: {} cases passed", reorgs.len());
}

/// A second history is told from an old head by any of its roots of which another is held, and is
/// never taken.
#[test]
fn second_histories_are_found() {
    let conflicts = load::<File>("forks.json").conflicts;
    let mut found = 0;
    for Conflict { id, key, local, remote_proof, check_conflict } in &conflicts {
        let (key, proof) = (key.key(), local.proof.proof());
        let public_key = proof.manifest.as_ref().map(|manifest| manifest.signers()[0].public_key);
        local.head.assert_signed(&public_key.unwrap_or(*key.as_bytes()), id);
        let replica = held::replica(key, [&proof]);
        assert_eq!(replica.head(), local.head.head(), "{id}");
        let before = Sight::of(&replica);

        let remote = remote_proof.proof();
        let roots = &remote.upgrade.as_ref().unwrap().nodes;
        let differ = |root: &Node| before.nodes.get(&root.index).is_some_and(|held| held != root);
        let can_tell = roots.iter().any(differ);
        assert!(*check_conflict || !can_tell, "{id}");
        let outcome = replica.apply(&remote);
        let is_conflict = matches!(outcome, Err(Error::TwoHistories { .. }));
        assert_eq!(is_conflict, can_tell, "{id}: {outcome:?}");
        assert_eq!(Sight::of(&replica), before, "{id}");
        found += usize::from(is_conflict);
    }
    let expected = conflicts.iter().filter(|case| case.check_conflict).count();
    println!("forks.json, conflicts: {} cases passed", conflicts.len());
    println!("forks.json, conflicts: {found} of {expected} second histories told from one head");
}
