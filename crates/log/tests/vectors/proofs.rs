//! `proofs.json`: whole conversations, made and checked as Hypercore makes and checks them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multibee_log::{Error, Log, Proof, Request, Seek, flat_tree};
use serde::Deserialize;

use crate::{
    held::{self, ReceiverJson},
    json::{Hex, load},
    schema::{BlockJson, ProofJson, RequestJson, manifest_of},
};

#[derive(Deserialize)]
struct File {
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    mode: String,
    seed: Hex,
    key: Hex,
    manifest: Hex,
    blocks: Vec<BlockJson>,
    source: SourceJson,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceJson {
    length: u64,
    byte_length: u64,
    tree_hash: Hex,
    signature: Hex,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Ask(Box<Ask>),
    Seek { seek: SeekJson },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ask {
    request: RequestJson,
    source_length: usize,
    refused: Option<serde_json::Value>,
    proof: Option<ProofJson>,
    wire: Option<Hex>,
    /// Another answer that is right as well.
    wire11: Option<Hex>,
    receiver: Option<ReceiverJson>,
}

#[derive(Deserialize)]
struct SeekJson {
    bytes: u64,
    /// Block and offset.
    resolved: Option<(u64, u64)>,
    /// First block, and the one after the last.
    within: Option<(u64, u64)>,
}

impl SeekJson {
    fn answer(&self) -> Seek {
        match (self.resolved, self.within) {
            (Some((index, offset)), _) => Seek::Block { index, offset },
            (None, Some((start, end))) => Seek::Within(start..end),
            (None, None) => Seek::PastEnd,
        }
    }
}

/// The writer at each length that the session knows.
struct Writers<'a> {
    session: &'a Session,
    blocks: Vec<Bytes>,
    logs: BTreeMap<usize, Log>,
}

impl<'a> Writers<'a> {
    fn new(session: &'a Session) -> Self {
        let blocks = session.blocks.iter().map(BlockJson::bytes).collect();
        Self { session, blocks, logs: BTreeMap::new() }
    }

    fn at(&mut self, length: usize) -> Log {
        let Self { session, blocks, logs } = self;
        let log = logs.entry(length).or_insert_with(|| {
            let (keys, manifest) = (session.seed.keys(), session.manifest.manifest());
            assert_eq!(manifest_of(&session.mode, &keys), manifest, "{}", session.id);
            let (log, _) = held::create(&session.mode, keys, manifest);
            assert_eq!(log.key(), session.key.key(), "{}", session.id);
            log.append(&blocks[..length]).unwrap();
            log
        });
        log.clone()
    }
}

/// The writer's answers are the same, byte for byte, and it refuses the same requests. A replica
/// that takes them is in the same state after each, and knows as well where a byte is.
#[test]
fn conversations_are_the_same() {
    let mut cases = 0;
    for session in load::<File>("proofs.json").sessions {
        let mut writers = Writers::new(&session);
        assert_source(&writers.at(session.source.length as usize), &session);
        let replica = held::replica(session.key.key(), []);
        // What a receiver by Hypercore knows: more, see `ReceiverJson::assert_is`.
        let mut known = BTreeSet::new();
        for (number, step) in session.steps.iter().enumerate() {
            let at = format!("{} step {number}", session.id);
            match step {
                Step::Ask(ask) => {
                    let writer = writers.at(ask.source_length);
                    assert_answer(&writer, &replica, ask, &at);
                    if let Some(receiver) = &ask.receiver {
                        receiver.assert_is(&replica, &at);
                        known = receiver.nodes.iter().copied().collect();
                    }
                }
                Step::Seek { seek } => {
                    let model = |known| find(&writers.blocks, replica.len(), known, seek.bytes);
                    assert_eq!(model(&known), seek.answer(), "{at}");
                    let ours = held::nodes(&replica).into_keys().collect();
                    assert_eq!(replica.seek(seek.bytes).unwrap(), model(&ours), "{at}");
                }
            }
            cases += 1;
        }
        assert_seeks_end(&mut writers, &replica, &session.id);
    }
    println!("proofs.json: {cases} cases passed");
}

fn assert_source(log: &Log, session: &Session) {
    let (source, id) = (&session.source, &session.id);
    assert_eq!(log.len(), source.length, "{id}");
    assert_eq!(log.byte_len(), source.byte_length, "{id}");
    let head = log.head().unwrap();
    assert_eq!(head.tree_hash, source.tree_hash.hash(), "{id}");
    assert_eq!(head.signature, source.signature.0, "{id}");
}

/// Asserts that `writer` answers as it should, and has `replica` take the answer.
fn assert_answer(writer: &Log, replica: &Log, ask: &Ask, at: &str) {
    let expected = ask.proof.as_ref().map(ProofJson::proof);
    // The vectors' requests do not tell of this wish.
    let with_manifest = expected.as_ref().is_some_and(|proof| proof.manifest.is_some());
    let request = ask.request.request(with_manifest);
    let answer = writer.prove(&request);
    let Some(expected) = expected else {
        let refused = ask.refused.as_ref().unwrap();
        let is_refused = matches!(answer, Err(Error::InvalidRequest { .. }));
        return assert!(is_refused, "{at}: {answer:?}, expected {refused}");
    };
    let proof = answer.unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(proof, expected, "{at}");
    let mut wire = Vec::new();
    proof.encode(1, &mut wire);
    assert_eq!(wire, ask.wire.as_ref().unwrap().0, "{at}");
    assert_eq!(Proof::decode(&wire).unwrap(), (1, expected), "{at}");

    // Where Hypercore relies on a node whose size is not proven, a replica here asks for more.
    let own = own_request(replica, request);
    let apply = |proof: &Proof| {
        replica.apply(proof).unwrap_or_else(|error| panic!("{at}: {error}"));
    };
    if own != request {
        return apply(&writer.prove(&own).unwrap_or_else(|error| panic!("{at}: {error}")));
    }
    if let Some(other) = &ask.wire11 {
        apply(&Proof::decode(&other.0).unwrap().1);
    }
    apply(&proof);
}

/// The same request with the count of nodes that `replica` lacks.
fn own_request(replica: &Log, mut request: Request) -> Request {
    if let Some(block) = &mut request.block {
        block.nodes = block.nodes.max(replica.missing_nodes(2 * block.index).unwrap());
    }
    if let Some(hash) = &mut request.hash {
        hash.nodes = hash.nodes.max(replica.missing_nodes(hash.index).unwrap());
    }
    request
}

/// Section 4.5 of the spec, on true sizes: where a byte is, to one who knows these nodes.
fn find(blocks: &[Bytes], length: u64, known: &BTreeSet<u64>, byte: u64) -> Seek {
    let size = |node: u64| -> u64 {
        let first = (flat_tree::left_span(node) / 2) as usize;
        let last = (flat_tree::right_span(node) / 2) as usize;
        blocks[first..=last].iter().map(|block| block.len() as u64).sum()
    };
    let after = |node| Seek::Block { index: flat_tree::right_span(node) / 2 + 1, offset: 0 };
    if byte == 0 {
        return Seek::Block { index: 0, offset: 0 };
    }
    let mut left = byte;
    for root in flat_tree::full_roots(length) {
        match size(root) {
            size if size < left => left -= size,
            size if size == left => return after(root),
            _ => {
                let mut at = root;
                while let Some((first, second)) = flat_tree::children(at) {
                    match size(first) {
                        _ if !known.contains(&first) => {
                            let start = flat_tree::left_span(at) / 2;
                            return Seek::Within(start..start + flat_tree::leaf_count(at));
                        }
                        size if size == left => return after(first),
                        size if size > left => at = first,
                        size => {
                            left -= size;
                            at = second;
                        }
                    }
                }
                return Seek::Block { index: at / 2, offset: left };
            }
        }
    }
    Seek::PastEnd
}

/// Asserts that any byte is found by fetching blocks of the range it is said to be in.
fn assert_seeks_end(writers: &mut Writers<'_>, replica: &Log, id: &str) {
    let writer = writers.at(replica.len() as usize);
    for byte in 0..=replica.byte_len().min(1000) {
        while let Seek::Within(range) = replica.seek(byte).unwrap() {
            let block = range.clone().find(|&block| !replica.has(block)).unwrap();
            let nodes = replica.missing_nodes(2 * block).unwrap();
            let block = Some(multibee_log::RequestBlock { index: block, nodes });
            let request = Request { block, ..Request::default() };
            replica.apply(&writer.prove(&request).unwrap()).unwrap();
            assert_ne!(replica.seek(byte).unwrap(), Seek::Within(range), "{id}: byte {byte}");
        }
        assert_eq!(replica.seek(byte).unwrap(), writer.seek(byte).unwrap(), "{id}: byte {byte}");
    }
}
