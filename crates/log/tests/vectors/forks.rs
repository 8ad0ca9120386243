//! `forks.json`: heads of logs that were cut, replicas of logs that were cut behind their backs, and
//! writers that signed two histories.

use bytes::Bytes;
use multibee_log::{
    Conflict, Error, KeyPair, Log, LogOptions, Manifest, MemoryStorage, Proof, Request,
    RequestBlock, flat_tree,
};
use serde::Deserialize;

use crate::{
    held::{self, ReceiverJson, Sight},
    json::{Hex, load},
    keys,
    schema::{BlockJson, HeadJson, NodeJson, ProofJson, RequestJson, manifest_of, nodes},
};

#[derive(Deserialize)]
struct File {
    sequences: Vec<Sequence>,
    reorgs: Vec<Reorg>,
    conflicts: Vec<ConflictJson>,
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
    committed: bool,
    after: ReceiverJson,
    source_head: HeadJson,
}

/// A request, its answer, and how far the reorg has come with that.
#[derive(Deserialize)]
struct Round {
    request: RequestJson,
    proof: ProofJson,
    want: Option<Want>,
    ancestors: u64,
    finished: bool,
}

#[derive(Deserialize)]
struct Want {
    nodes: u64,
    start: u64,
    end: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConflictJson {
    id: String,
    mode: String,
    key: Hex,
    local: LocalJson,
    remote_proof: ProofJson,
    check_conflict: bool,
    conflict_event: Option<ConflictEvent>,
}

#[derive(Deserialize)]
struct ConflictEvent {
    length: u64,
    fork: u64,
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

/// A replica of a log that was cut does not take the new history for more of the old one. It finds
/// out what stays with the same requests, in the same steps, and is as Hypercore is afterwards; a
/// new replica takes the new history at once.
#[test]
fn cut_logs_are_followed() {
    let reorgs = load::<File>("forks.json").reorgs;
    for case in &reorgs {
        let id = &case.id;
        let storage = MemoryStorage::new();
        let key = case.key.key();
        let log = Log::create_replica(storage.clone(), key, LogOptions::default()).unwrap();
        for proof in &case.setup {
            log.apply(&proof.proof()).unwrap();
        }
        case.before.assert_is(&log, id);
        let before = Sight::of(&log);
        for round in &case.rounds {
            let outcome = log.apply(&round.proof.proof());
            assert!(matches!(outcome, Err(Error::ForkMismatch { .. })), "{id}: {outcome:?}");
        }

        let mut reorg = log.start_reorg(&case.rounds[0].proof.proof()).unwrap();
        assert_eq!((reorg.fork(), reorg.len()), (case.source_head.fork, case.source_head.length));
        for (round, next) in case.rounds.iter().zip(&case.rounds[1..]) {
            assert_eq!(reorg.shared_len(), round.ancestors, "{id}");
            let request = reorg.request().unwrap();
            assert_eq!(request, next.request.request(false), "{id}");
            let (want, hash) = (round.want.as_ref().unwrap(), request.hash.unwrap());
            assert_eq!(want.nodes, hash.nodes, "{id}");
            assert!((want.start..want.end).contains(&(hash.index / 2)), "{id}");
            assert!(!round.finished, "{id}");
            reorg.add(&next.proof.proof()).unwrap();
        }
        let last = case.rounds.last().unwrap();
        assert_eq!((reorg.shared_len(), reorg.request()), (last.ancestors, None), "{id}");
        assert!(last.finished && last.want.is_none() && case.committed, "{id}");
        assert_eq!(Sight::of(&log), before, "{id}: nothing changes before it is applied");

        let reorged = log.apply_reorg(reorg).unwrap();
        assert_eq!(reorged.shared_len, last.ancestors, "{id}");
        case.after.assert_is(&log, id);
        assert_eq!(log.head(), case.source_head.head(), "{id}");
        let after = Sight::of(&log);
        drop(log);
        let log = Log::open(storage, LogOptions::default()).unwrap();
        assert_eq!(Sight::of(&log), after, "{id}");

        let manifest = case.manifest.manifest();
        case.source_head.assert_signed(&manifest.signers()[0].public_key, id);
        assert_head_is_taken(&case.key, &case.source_head, &manifest, id);
    }
    println!("forks.json, reorgs: {} cases passed", reorgs.len());
}

/// The blocks that the writers of the conflicts have in common, and those of the local one: id,
/// label, how many are common, how many follow. Block i of a label is `stream(label, i, 9)`.
const BLOCKS: [(&str, &str, u32, u32); 4] = [
    ("same-length", "x1", 3, 2),
    ("longer-local", "x2", 3, 5),
    ("prefix-only", "x3", 4, 3),
    ("from-zero", "x4", 0, 1),
];

/// The log that was local in a conflict, with its blocks and its key.
fn writer_of(case: &ConflictJson) -> Log {
    let (_, label, common, own) = *BLOCKS.iter().find(|(id, ..)| *id == case.id).unwrap();
    let block = |label: String, i: u32| BlockJson::Stream { label, i, n: 9 }.bytes();
    let blocks = (0..common).map(|i| block(label.to_owned(), i));
    let blocks: Vec<_> = blocks.chain((0..own).map(|i| block(format!("{label}/a"), i))).collect();
    let create = |keys: KeyPair| {
        let manifest = manifest_of(&case.mode, &keys);
        held::create(&case.mode, keys, manifest).0
    };
    let log = keys::all().into_iter().map(create).find(|log| log.key() == case.key.key()).unwrap();
    log.append(&blocks).unwrap();
    log
}

/// Two heads are a conflict where Hypercore says so, for the writer's own log and for a replica
/// that holds enough; one that does not says which node it lacks. Anyone can verify it.
#[test]
fn second_histories_are_found() {
    let conflicts = load::<File>("forks.json").conflicts;
    let (mut found, mut lacking) = (0, 0);
    for case in &conflicts {
        let id = &case.id;
        let (key, proof, remote) =
            (case.key.key(), case.local.proof.proof(), case.remote_proof.proof());
        let public_key = proof.manifest.as_ref().map(|manifest| manifest.signers()[0].public_key);
        case.local.head.assert_signed(&public_key.unwrap_or(*key.as_bytes()), id);
        let writer = writer_of(case);
        assert_eq!(writer.head(), case.local.head.head(), "{id}");
        let replica = held::replica(key, [&proof]);
        assert_eq!(replica.head(), case.local.head.head(), "{id}");

        // What a replica needs that holds too little, before its writer stops serving it.
        let last = remote.upgrade.as_ref().unwrap().length - 1;
        let nodes = replica.missing_nodes(2 * last).unwrap();
        let block = Some(RequestBlock { index: last, nodes });
        let last_block = writer.prove(&Request { block, ..Request::default() }).unwrap();
        for log in [&writer, &replica] {
            let before = Sight::of(log);
            let mut outcome = log.check_conflict(&remote);
            assert_eq!(Sight::of(log), before, "{id}");
            if let Err(Error::NotAvailable { index }) = outcome {
                assert!(!before.nodes.contains_key(&index) && !log.is_writable(), "{id}");
                lacking += 1;
                log.apply(&last_block).unwrap();
                outcome = log.check_conflict(&remote);
            }
            let conflict = outcome.unwrap();
            assert_eq!(conflict.is_some(), case.check_conflict, "{id}");
            assert_eq!(log.conflict(), conflict, "{id}");
            let Some(conflict) = conflict else { continue };
            let event = case.conflict_event.as_ref().unwrap();
            assert_eq!((conflict.length(), conflict.fork()), (event.length, event.fork), "{id}");
            assert_eq!(conflict.theirs().upgrade, remote.upgrade, "{id}");
            assert_eq!(conflict.ours().upgrade, proof.upgrade, "{id}");
            let decoded = Conflict::decode(&conflict.encode()).unwrap();
            assert_eq!(decoded, conflict, "{id}");
            decoded.verify(None).unwrap();
            found += 1;
        }
    }
    println!("forks.json, conflicts: {} cases passed", conflicts.len());
    println!("forks.json, conflicts: {found} found, {lacking} with a node that a replica lacked");
}
