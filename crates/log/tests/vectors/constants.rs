//! `constants.json`: what sets one use of a hash or a signature apart from another.

use blake2::{Blake2b256, Digest};
use multibee_log::{KeyPair, Log, LogOptions, Manifest, MemoryStorage};
use serde::Deserialize;

use crate::{
    held,
    json::{Hex, load},
};

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct File {
    #[serde(rename = "namespaceBase")]
    namespace_base: Hex,
    tree: Hex,
    replicate_initiator: Hex,
    replicate_responder: Hex,
    manifest: Hex,
    default_namespace: Hex,
    block_encryption: Hex,
    #[serde(rename = "emptyTreeHash")]
    empty_tree_hash: Hex,
    #[serde(rename = "emptyBlockHash")]
    empty_block_hash: Hex,
}

fn hash(parts: &[&[u8]]) -> Vec<u8> {
    Blake2b256::digest(parts.concat()).to_vec()
}

/// Constants follow from their formula, and logs are signed, named and hashed with them.
#[test]
fn constants_are_the_same() {
    let file: File = load("constants.json");
    let base = file.namespace_base.0.as_slice();
    assert_eq!(hash(&[b"hypercore"]), base);
    let numbered = [
        &file.tree,
        &file.replicate_initiator,
        &file.replicate_responder,
        &file.manifest,
        &file.default_namespace,
        &file.block_encryption,
    ];
    for (constant, number) in numbered.iter().zip(0..) {
        assert_eq!(hash(&[base, &[number]]), constant.0);
    }

    let keys = KeyPair::from_seed([3; 32]);
    let manifest = Manifest::single(keys.public_key());
    assert_eq!(manifest.signers()[0].namespace, file.default_namespace.array());
    let key = hash(&[&file.manifest.0, &manifest.encode()]);
    assert_eq!(manifest.key().as_bytes().as_slice(), key);

    let options = LogOptions { compat: true, ..LogOptions::default() };
    let log = Log::create(MemoryStorage::new(), keys.clone(), options).unwrap();
    assert_eq!(log.tree_hash_at(0).unwrap(), Some(file.empty_tree_hash.hash()));
    log.append(&[""]).unwrap();
    assert_eq!(held::node(&log, 0).unwrap().hash, file.empty_block_hash.hash());
    let head = log.head().unwrap();
    let (length, fork) = (1_u64.to_le_bytes(), 0_u64.to_le_bytes());
    let signable = [&file.tree.0, &head.tree_hash.as_bytes()[..], &length, &fork].concat();
    assert_eq!(head.signature, keys.sign(&signable).as_slice());
    println!("constants.json: {} cases passed", numbered.len() + 3);
}
