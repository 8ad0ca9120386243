//! `trees.json`: nodes, tree hashes and signatures of logs of one writer, and of several.

use bytes::Bytes;
use multibee_log::{Error, Log, LogOptions, MemoryStorage, Proof, Request, RequestUpgrade, verify};
use serde::Deserialize;

use crate::{
    held,
    json::{Hex, load},
    schema::{BlockJson, HeadJson, NodeJson, manifest_of, nodes},
};

#[derive(Deserialize)]
struct File {
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
    mode: String,
    key: Hex,
    manifest: Hex,
    #[serde(flatten)]
    head: HeadJson,
    per_length: Option<Vec<LengthHead>>,
}

/// The head after a single append.
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
    version: u8,
    quorum: u64,
    seeds: Vec<Hex>,
    manifest: Hex,
    key: Hex,
    blocks: Vec<BlockJson>,
    tree_hash: Hex,
    /// Of each part.
    signable: Vec<Hex>,
    parts: Vec<Part>,
    signature: Hex,
}

#[derive(Deserialize)]
struct Part {
    signer: usize,
    signature: Hex,
}

/// The proof of the whole head, for one who holds nothing.
fn prove_head(log: &Log) -> Proof {
    let upgrade = Some(RequestUpgrade { start: 0, length: log.len() });
    log.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap()
}

/// Appends block by block and compares the head after each.
fn assert_each_length(log: &Log, blocks: &[Bytes], per_length: &[LengthHead], at: &str) {
    for (block, then) in blocks.iter().zip(per_length) {
        log.append(&[block]).unwrap();
        let head = log.head().unwrap();
        assert_eq!(head.length, then.length, "{at}");
        assert_eq!(head.tree_hash, then.tree_hash.hash(), "{at}, length {}", then.length);
        assert_eq!(head.signature, then.signature.0, "{at}, length {}", then.length);
        let roots = prove_head(log).upgrade.unwrap().nodes;
        assert!(roots.iter().map(|root| root.index).eq(then.roots.iter().copied()), "{at}");
    }
    for then in per_length {
        assert_eq!(log.tree_hash_at(then.length).unwrap(), Some(then.tree_hash.hash()), "{at}");
    }
}

/// A log with the same key pair, manifest and blocks has the same key, nodes, roots and signature,
/// also when it was closed in between; a replica that knows only the key takes its head, and none
/// whose signature, fork or length was changed.
#[test]
fn heads_are_the_same() {
    let mut cases = 0;
    for case in load::<File>("trees.json").cases {
        let blocks: Vec<_> = case.blocks.iter().map(BlockJson::bytes).collect();
        let keys = case.seed.keys();
        for CaseHead { mode, key, manifest, head, per_length } in &case.heads {
            let at = format!("{}, {mode}", case.id);
            let manifest = manifest.manifest();
            assert_eq!(manifest_of(mode, &keys), manifest, "{at}");
            let (log, storage) = held::create(mode, keys.clone(), manifest);
            assert_eq!(log.key(), key.key(), "{at}");
            let per_length = per_length.as_deref().unwrap_or_default();
            assert_each_length(&log, &blocks, per_length, &at);
            log.append(&blocks[log.len() as usize..]).unwrap();
            drop(log);
            let log = Log::open(storage, LogOptions::default()).unwrap();
            assert_eq!(log.head(), head.head(), "{at}");
            assert_eq!(log.fork(), head.fork, "{at}");
            assert_eq!(log.byte_len(), head.byte_length, "{at}");
            assert_eq!(log.tree_hash_at(head.length).unwrap(), Some(head.tree_hash.hash()), "{at}");
            assert!(held::nodes(&log).into_values().eq(nodes(&case.nodes)), "{at}");
            head.assert_signed(&keys.public_key(), &at);
            if head.signature.is_some() {
                let proof = prove_head(&log);
                assert_eq!(proof.upgrade.as_ref().unwrap().nodes, nodes(&head.roots), "{at}");
                assert_only_this_is_taken(&log, &proof, &at);
            }
            cases += 1 + per_length.len();
        }
    }
    println!("trees.json: {cases} cases passed");
}

fn assert_only_this_is_taken(log: &Log, proof: &Proof, at: &str) {
    let replica = held::replica(log.key(), [proof]);
    assert_eq!(replica.head(), log.head(), "{at}");
    assert_eq!(replica.manifest(), log.manifest(), "{at}");
    let assert_refused = |change: &dyn Fn(&mut Proof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        let replica = held::replica(log.key(), []);
        assert!(matches!(replica.apply(&changed), Err(Error::BadSignature { .. })), "{at}");
        assert!(replica.is_empty() && replica.manifest().is_none(), "{at}");
    };
    assert_refused(&|proof| proof.fork += 1);
    assert_refused(&|proof| proof.upgrade.as_mut().unwrap().nodes[0].size += 1);
    assert_refused(&|proof| {
        let signature = &mut proof.upgrade.as_mut().unwrap().signature;
        *signature = signature.slice(1..);
    });
    assert_refused(&|proof| proof.upgrade.as_mut().unwrap().signature = Bytes::new());
}

/// A head signed by as many as must sign is taken, and not if one of the signatures is missing,
/// doubled or bent. None of the signers can write such a log alone.
#[test]
fn quorums_are_counted() {
    let multisig = load::<File>("trees.json").multisig;
    for case in &multisig {
        let manifest = case.manifest.manifest();
        assert_eq!(manifest.key(), case.key.key());
        assert_eq!((manifest.version(), manifest.quorum()), (case.version, case.quorum));
        for (part, signable) in case.parts.iter().zip(&case.signable) {
            let keys = case.seeds[part.signer].keys();
            assert_eq!(manifest.signers()[part.signer].public_key, keys.public_key());
            assert_eq!(keys.sign(&signable.0), part.signature.array());
            assert!(verify(&keys.public_key(), &signable.0, &part.signature.array()));
        }
        for seed in &case.seeds {
            let options = LogOptions { manifest: Some(manifest.clone()), ..LogOptions::default() };
            let alone = Log::create(MemoryStorage::new(), seed.keys(), options);
            assert!(matches!(alone, Err(Error::NotWritable)));
        }

        // The nodes are those of any log with these blocks.
        let options = LogOptions::default();
        let same = Log::create(MemoryStorage::new(), case.seeds[0].keys(), options).unwrap();
        same.append(&case.blocks.iter().map(BlockJson::bytes).collect::<Vec<_>>()).unwrap();
        let with = |signature: &[u8]| {
            let mut proof = Proof { manifest: Some(manifest.clone()), ..prove_head(&same) };
            proof.upgrade.as_mut().unwrap().signature = Bytes::copy_from_slice(signature);
            proof
        };
        let stored = case.signature.0.as_slice();
        let replica = held::replica(case.key.key(), [&with(stored)]);
        let head = replica.head().unwrap();
        assert_eq!(head.tree_hash, case.tree_hash.hash());
        assert_eq!(head.signature, stored);

        let assert_refused = |signature: &[u8], what: &str| {
            let outcome = held::replica(case.key.key(), []).apply(&with(signature));
            assert!(matches!(outcome, Err(Error::BadSignature { .. })), "{what}: {outcome:?}");
        };
        let count = case.parts.len();
        let input_len = (stored.len() - 2) / count;
        let first = &stored[1..=input_len];
        assert_refused(&[&[1], first, &[0]].concat(), "one alone");
        let doubled = [&[count as u8], first.repeat(count).as_slice(), &[0]].concat();
        assert_refused(&doubled, "doubled");
        for at in 0..stored.len() {
            let mut bent = stored.to_vec();
            bent[at] ^= 0x10;
            assert_refused(&bent, &format!("byte {at}"));
        }
    }
    println!("trees.json, multisig: {} cases passed", multisig.len());
}
