//! What a log holds, asked through the same methods as an application or a peer would use.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use multibee_log::{
    BLOCK_LEN_MAX, Error, Head, KeyPair, Log, LogKey, LogOptions, Manifest, MemoryStorage, Node,
    Proof, Request, RequestHash, flat_tree,
};
use serde::Deserialize;

use crate::json::Hex;

/// A writer's log in memory, and its storage. `mode` is one of the vectors'.
pub(crate) fn create(mode: &str, keys: KeyPair, manifest: Manifest) -> (Log, MemoryStorage) {
    let options = LogOptions {
        compat: mode == "compat",
        manifest: Some(manifest),
        block_len_max: BLOCK_LEN_MAX,
        ..LogOptions::default()
    };
    let storage = MemoryStorage::new();
    (Log::create(storage.clone(), keys, options).unwrap(), storage)
}

/// Somebody else's log in memory, with these proofs applied.
pub(crate) fn replica<'a>(key: LogKey, proofs: impl IntoIterator<Item = &'a Proof>) -> Log {
    let log = Log::create_replica(MemoryStorage::new(), key, LogOptions::default()).unwrap();
    for proof in proofs {
        log.apply(proof).unwrap();
    }
    log
}

/// A node that the log holds.
pub(crate) fn node(log: &Log, index: u64) -> Result<Node, Error> {
    let hash = Some(RequestHash { index, nodes: 0 });
    let proof = log.prove(&Request { hash, ..Request::default() })?;
    Ok(proof.hash.unwrap().nodes[0])
}

/// All nodes that the log holds.
pub(crate) fn nodes(log: &Log) -> BTreeMap<u64, Node> {
    let end = 2 * log.len();
    (0..end)
        .filter(|&index| {
            flat_tree::right_span(index) < end && log.missing_nodes(index).unwrap() == 0
        })
        .map(|index| (index, node(log, index).unwrap()))
        .collect()
}

/// All that can be seen of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) fork: u64,
    pub(crate) head: Option<Head>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) contiguous_len: u64,
    pub(crate) held: Vec<Range<u64>>,
    pub(crate) blocks: Vec<Bytes>,
    pub(crate) nodes: BTreeMap<u64, Node>,
}

impl Sight {
    pub(crate) fn of(log: &Log) -> Self {
        let held = log.held(0..u64::MAX);
        let blocks = held.iter().cloned().flatten();
        Self {
            fork: log.fork(),
            head: log.head(),
            manifest: log.manifest(),
            contiguous_len: log.contiguous_len(),
            blocks: blocks.map(|number| log.get(number).unwrap().unwrap()).collect(),
            held,
            nodes: nodes(log),
        }
    }
}

/// A receiver's state in the vectors.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiverJson {
    fork: u64,
    length: u64,
    byte_length: u64,
    tree_hash: Hex,
    signature: Option<Hex>,
    contiguous_length: u64,
    blocks: Vec<u64>,
    pub(crate) nodes: Vec<u64>,
}

impl ReceiverJson {
    /// Asserts that `log` is in this state. Hypercore keeps pairs of siblings too of which only
    /// the sum of the sizes is proven; of those, and only of those, `log` may lack both.
    pub(crate) fn assert_is(&self, log: &Log, at: &str) {
        assert_eq!(log.fork(), self.fork, "{at}: fork");
        assert_eq!(log.len(), self.length, "{at}: length");
        assert_eq!(log.byte_len(), self.byte_length, "{at}: byte length");
        let tree_hash = log.tree_hash_at(self.length).unwrap();
        assert_eq!(tree_hash, Some(self.tree_hash.hash()), "{at}: tree hash");
        let signature = log.head().map(|head| head.signature);
        assert_eq!(signature, self.signature.as_ref().map(Hex::bytes), "{at}: signature");
        assert_eq!(log.contiguous_len(), self.contiguous_length, "{at}: contiguous length");
        let held: Vec<u64> = log.held(0..u64::MAX).into_iter().flatten().collect();
        assert_eq!(held, self.blocks, "{at}: blocks");
        for number in 0..self.length + 2 {
            assert_eq!(log.has(number), self.blocks.contains(&number), "{at}: block {number}");
        }
        let ours = nodes(log);
        for index in ours.keys() {
            assert!(self.nodes.contains(index), "{at}: node {index} came from nowhere");
        }
        for index in self.nodes.iter().filter(|index| !ours.contains_key(index)) {
            let sibling = flat_tree::sibling(*index).unwrap();
            let is_pair = self.nodes.contains(&sibling) && !ours.contains_key(&sibling);
            let is_summed = ours.contains_key(&flat_tree::parent(*index).unwrap());
            assert!(is_pair && is_summed, "{at}: node {index} is missing");
        }
    }
}
