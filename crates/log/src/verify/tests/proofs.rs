//! `proofs.json`: whole conversations, made and checked as Hypercore makes and checks them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    parties::{Replica, Source},
    vectors::{BlockJson, Hex, ProofJson, RequestJson, load},
};
use crate::{
    key_pair::KeyPair,
    merkle::missing_nodes,
    proof::Proof,
    request::{RequestBlock, RequestHash},
};

#[derive(Deserialize)]
struct File {
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    seed: Hex,
    key: Hex,
    manifest: Hex,
    blocks: Vec<BlockJson>,
    steps: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    request: RequestJson,
    source_length: usize,
    refused: Option<serde_json::Value>,
    proof: Option<ProofJson>,
    wire: Option<Hex>,
    receiver: Option<Receiver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receiver {
    fork: u64,
    length: u64,
    byte_length: u64,
    tree_hash: Hex,
    signature: Option<Hex>,
    blocks: Vec<u64>,
    nodes: Vec<u64>,
}

impl Session {
    /// The steps that ask, and the source as it was then.
    fn steps(&self) -> impl Iterator<Item = (Step, Source)> {
        let key_pair = KeyPair::from_seed(self.seed.array());
        let empty = Source::new(self.key.key(), self.manifest.manifest(), key_pair);
        let blocks: Vec<_> = self.blocks.iter().map(BlockJson::bytes).collect();
        let mut sources = BTreeMap::new();
        self.steps.iter().filter(|step| step.get("request").is_some()).map(move |step| {
            let step: Step = serde_json::from_value(step.clone()).unwrap();
            let source = sources.entry(step.source_length).or_insert_with(|| {
                let mut source = empty.clone();
                source.append(&blocks[..step.source_length]);
                source
            });
            (step, source.clone())
        })
    }
}

/// The same proofs come out, byte for byte, the same requests are refused, and a replica that keeps
/// what Hypercore keeps is in the same state after each.
#[test]
fn conversations_are_the_same() {
    let mut cases = 0;
    for session in load::<File>("proofs.json").sessions {
        let mut replica = Replica::lenient(session.key.key());
        for (number, (step, source)) in session.steps().enumerate() {
            let at = format!("{} step {number}", session.id);
            cases += 1;
            let expected = step.proof.as_ref().map(ProofJson::proof);
            let with_manifest = expected.as_ref().is_some_and(|proof| proof.manifest.is_some());
            let proof = source.prove(&step.request.request(with_manifest));
            let Some(expected) = expected else {
                let refused = step.refused.unwrap();
                assert!(proof.is_err(), "{at}: {refused} expected");
                continue;
            };
            let proof = proof.unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(proof, expected, "{at}");
            let mut wire = Vec::new();
            proof.encode(1, &mut wire);
            assert_eq!(Hex(wire.clone()), step.wire.unwrap(), "{at}");
            assert_eq!(Proof::decode(&wire).unwrap(), (1, expected), "{at}");
            replica.apply(&proof).unwrap_or_else(|error| panic!("{at}: {error}"));
            let receiver = step.receiver.unwrap();
            assert_head(&replica, &receiver, &at);
            let nodes: Vec<u64> = replica.tree.0.keys().copied().collect();
            assert_eq!(nodes, receiver.nodes, "{at}");
        }
    }
    println!("proofs.json: {cases} cases passed");
}

/// A replica that keeps bound sizes only, and asks accordingly, gets to the same heads and blocks,
/// and never stores a node that differs from the source's.
#[test]
fn strict_replicas_get_as_far() {
    let mut cases = 0;
    for session in load::<File>("proofs.json").sessions {
        let mut replica = Replica::new(session.key.key());
        for (number, (step, source)) in session.steps().enumerate() {
            let at = format!("{} step {number}", session.id);
            let (Some(expected), Some(receiver)) = (&step.proof, &step.receiver) else {
                continue;
            };
            let mut request = step.request.request(expected.proof().manifest.is_some());
            let missing =
                |index| missing_nodes(&replica.tree, replica.roots.length(), index).unwrap();
            request.block = request.block.map(|RequestBlock { index, .. }| RequestBlock {
                index,
                nodes: missing(2 * index),
            });
            request.hash = request
                .hash
                .map(|RequestHash { index, .. }| RequestHash { index, nodes: missing(index) });
            let proof = source.prove(&request).unwrap_or_else(|error| panic!("{at}: {error}"));
            replica.apply(&proof).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_head(&replica, receiver, &at);
            for (index, node) in &replica.tree.0 {
                assert_eq!(Some(node), source.tree.0.get(index), "{at}");
            }
            cases += 1;
        }
    }
    println!("proofs.json, bound sizes only: {cases} cases passed");
}

fn assert_head(replica: &Replica, receiver: &Receiver, at: &str) {
    assert_eq!(replica.fork, receiver.fork, "{at}");
    assert_eq!(replica.roots.length(), receiver.length, "{at}");
    assert_eq!(replica.roots.byte_length(), receiver.byte_length, "{at}");
    assert_eq!(replica.roots.tree_hash(), receiver.tree_hash.hash(), "{at}");
    let signature = receiver.signature.as_ref().map(Hex::bytes).unwrap_or_default();
    assert_eq!(replica.signature, signature, "{at}");
    assert!(replica.blocks.keys().eq(&receiver.blocks), "{at}");
}
