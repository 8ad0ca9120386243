//! `trees.json`, and the heads and conflicts of `forks.json`.

use bytes::Bytes;
use serde::Deserialize;

use super::{
    parties::Replica,
    vectors::{BlockJson, Hex, NodeJson, ProofJson, load, nodes},
};
use crate::{
    error::Error,
    flat_tree,
    key_pair::KeyPair,
    merkle::{Roots, roots_at, tests::MemoryTree},
    node::Node,
    signature::Signers,
};

#[derive(Deserialize)]
struct Trees {
    cases: Vec<Case>,
    multisig: Vec<Multisig>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    seed: Hex,
    blocks: Vec<BlockJson>,
    nodes: Vec<NodeJson>,
    heads: Vec<CaseHead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaseHead {
    key: Hex,
    manifest: Hex,
    #[serde(flatten)]
    head: HeadJson,
    per_length: Option<Vec<LengthHead>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadJson {
    fork: u64,
    length: u64,
    byte_length: u64,
    roots: Vec<NodeJson>,
    tree_hash: Hex,
    signature: Option<Hex>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LengthHead {
    length: u64,
    roots: Vec<u64>,
    tree_hash: Hex,
    signature: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Multisig {
    seeds: Vec<Hex>,
    manifest: Hex,
    key: Hex,
    blocks: Vec<BlockJson>,
    tree_hash: Hex,
    signature: Hex,
}

#[derive(Deserialize)]
struct Forks {
    sequences: Vec<Sequence>,
    conflicts: Vec<Conflict>,
}

#[derive(Deserialize)]
struct Sequence {
    id: String,
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
struct Conflict {
    id: String,
    key: Hex,
    local: LocalJson,
    remote_proof: ProofJson,
    check_conflict: bool,
}

#[derive(Deserialize)]
struct LocalJson {
    proof: ProofJson,
}

fn grown(blocks: &[Bytes]) -> (Roots, Vec<Node>) {
    let (mut roots, mut created) = (Roots::default(), Vec::new());
    blocks.iter().for_each(|block| roots.append(block, &mut created).unwrap());
    (roots, created)
}

/// Signs `roots` and compares with what Hypercore signed, both ways.
fn assert_signed(
    signers: &Signers<'_>,
    keys: &KeyPair,
    roots: &Roots,
    fork: u64,
    stored: &Hex,
    at: &str,
) {
    let (hash, length) = (roots.tree_hash(), roots.length());
    assert_eq!(signers.sign(keys, &hash, length, fork).unwrap(), stored.0, "{at}");
    signers.verify(roots, fork, &stored.0).unwrap_or_else(|error| panic!("{at}: {error}"));
    assert!(signers.verify(roots, fork + 1, &stored.0).is_err(), "{at}");
    assert!(signers.verify(roots, fork, &stored.0[1..]).is_err(), "{at}");
    assert!(signers.verify(roots, fork, &[]).is_err(), "{at}");
}

/// Trees, tree hashes and signatures are Hypercore's, at each length.
#[test]
fn heads_are_the_same() {
    let mut cases = 0;
    for case in load::<Trees>("trees.json").cases {
        let blocks: Vec<_> = case.blocks.iter().map(BlockJson::bytes).collect();
        let (roots, created) = grown(&blocks);
        let tree: MemoryTree = created.into_iter().collect();
        assert_eq!(tree.0, nodes(&case.nodes).into_iter().collect::<MemoryTree>().0);
        let keys = KeyPair::from_seed(case.seed.array());
        for CaseHead { key, manifest, head, per_length } in &case.heads {
            cases += 1;
            let (key, manifest) = (key.key(), manifest.manifest());
            let signers = Signers { key: &key, manifest: &manifest };
            assert_eq!(roots.nodes(), nodes(&head.roots), "{}", case.id);
            assert_eq!(roots.length(), head.length, "{}", case.id);
            assert_eq!(roots.byte_length(), head.byte_length, "{}", case.id);
            assert_eq!(roots.tree_hash(), head.tree_hash.hash(), "{}", case.id);
            if let Some(stored) = &head.signature {
                assert_signed(&signers, &keys, &roots, head.fork, stored, &case.id);
            }
            for then in per_length.iter().flatten() {
                let roots = roots_at(&tree, then.length).unwrap().unwrap();
                let indices: Vec<u64> = roots.nodes().iter().map(|node| node.index).collect();
                assert_eq!(indices, then.roots, "{}", case.id);
                assert_eq!(roots.tree_hash(), then.tree_hash.hash(), "{}", case.id);
                assert_signed(&signers, &keys, &roots, head.fork, &then.signature, &case.id);
                cases += 1;
            }
        }
    }
    println!("trees.json: {cases} cases passed");
}

/// Signatures of two of three signers hold, and not if one of the two is missing, doubled or bent.
#[test]
fn quorums_are_counted() {
    for case in load::<Trees>("trees.json").multisig {
        let blocks: Vec<_> = case.blocks.iter().map(BlockJson::bytes).collect();
        let (roots, _) = grown(&blocks);
        assert_eq!(roots.tree_hash(), case.tree_hash.hash());
        let (key, manifest) = (case.key.key(), case.manifest.manifest());
        let signers = Signers { key: &key, manifest: &manifest };
        let stored = case.signature.0;
        signers.verify(&roots, 0, &stored).unwrap();

        let input_len = (stored.len() - 2) / 2;
        let first = &stored[1..=input_len];
        let alone = [&[1], first, &[0]].concat();
        let doubled = [&[2], first, first, &[0]].concat();
        assert!(signers.verify(&roots, 0, &alone).is_err());
        assert!(signers.verify(&roots, 0, &doubled).is_err());
        for at in 0..stored.len() {
            let mut bent = stored.clone();
            bent[at] ^= 0x10;
            assert!(signers.verify(&roots, 0, &bent).is_err(), "byte {at}");
        }
        for seed in &case.seeds {
            let keys = KeyPair::from_seed(seed.array());
            let alone = signers.sign(&keys, &roots.tree_hash(), roots.length(), 0);
            assert!(matches!(alone, Err(Error::NotWritable)));
        }
    }
    println!("trees.json, multisig: 2 cases passed");
}

/// Logs that were cut and went on have Hypercore's heads, signed with their fork.
#[test]
fn heads_after_cuts_are_the_same() {
    let mut cases = 0;
    for sequence in load::<Forks>("forks.json").sequences {
        let keys = KeyPair::from_seed(sequence.seed.array());
        let manifest = crate::Manifest::single(keys.public_key());
        let key = sequence.key.key();
        let signers = Signers { key: &key, manifest: &manifest };
        let (mut blocks, mut fork_now) = (Vec::new(), 0);
        for (number, step) in sequence.ops.iter().enumerate() {
            let at = format!("{} step {number}", sequence.id);
            match &step.op {
                Op::Append { append } => blocks.extend(append.iter().map(Hex::bytes)),
                Op::Truncate { truncate, fork } => {
                    blocks.truncate(*truncate as usize);
                    fork_now = *fork;
                }
            }
            let (roots, created) = grown(&blocks);
            let tree: MemoryTree = created.into_iter().collect();
            assert_eq!(step.head.fork, fork_now, "{at}");
            assert_eq!(roots.nodes(), nodes(&step.head.roots), "{at}");
            assert_eq!(roots.tree_hash(), step.head.tree_hash.hash(), "{at}");
            let end = 2 * roots.length();
            let whole = nodes(&step.nodes);
            let whole = whole.into_iter().filter(|node| flat_tree::right_span(node.index) < end);
            assert_eq!(tree.0, whole.collect::<MemoryTree>().0, "{at}");
            if let Some(stored) = &step.head.signature {
                assert_signed(&signers, &keys, &roots, fork_now, stored, &at);
            }
            cases += 1;
        }
    }
    println!("forks.json, heads: {cases} cases passed");
}

/// A second history is told from an old head, as far as the roots of that length are held.
#[test]
fn second_histories_are_found() {
    let mut cases = 0;
    for case in load::<Forks>("forks.json").conflicts {
        let mut replica = Replica::new(case.key.key());
        replica.apply(&case.local.proof.proof()).unwrap();
        let remote = case.remote_proof.proof();
        let length = remote.upgrade.as_ref().map(|upgrade| upgrade.start + upgrade.length).unwrap();
        let can_tell = roots_at(&replica.tree, length).unwrap().is_some();
        let outcome = replica.check(&remote);
        let is_conflict = matches!(outcome, Err(Error::TwoHistories { .. }));
        assert_eq!(is_conflict, case.check_conflict && can_tell, "{}: {outcome:?}", case.id);
        cases += 1;
    }
    println!("forks.json, conflicts: {cases} cases passed");
}
