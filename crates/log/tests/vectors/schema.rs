//! Blocks, nodes, requests, proofs and heads as the vectors write them. The schema:
//! vectors/log/README.md.

use blake2::{Blake2b256, Digest};
use bytes::Bytes;
use multibee_log::{
    Hash, Head, KeyPair, LogKey, Manifest, Node, Proof, ProofBlock, ProofHash, ProofSeek,
    ProofUpgrade, Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade, Signer, verify,
};
use serde::Deserialize;

use crate::json::Hex;

impl Hex {
    pub(crate) fn key(&self) -> LogKey {
        LogKey::from_bytes(self.array())
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::from_bytes(self.array())
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    pub(crate) fn manifest(&self) -> Manifest {
        Manifest::decode(&self.0).unwrap()
    }

    pub(crate) fn keys(&self) -> KeyPair {
        KeyPair::from_seed(self.array())
    }
}

/// The manifest that a log of one signer has in a `mode`.
pub(crate) fn manifest_of(mode: &str, keys: &KeyPair) -> Manifest {
    let public_key = keys.public_key();
    let single = Manifest::single(public_key);
    match mode {
        "compat" | "v1" => single,
        "v1ns" => {
            let namespace = stream("namespace", 0, 32).as_ref().try_into().unwrap();
            Manifest::new(vec![Signer { namespace, public_key }], 1)
        }
        "v0" => {
            let namespace = &single.signers()[0].namespace;
            Manifest::decode(&[&[0, 0, 1, 0], &namespace[..], &public_key[..]].concat()).unwrap()
        }
        other => panic!("no such mode: {other}"),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BlockJson {
    Hex(Hex),
    Stream { label: String, i: u32, n: usize },
}

impl BlockJson {
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Hex(hex) => hex.bytes(),
            Self::Stream { label, i, n } => stream(label, *i, *n),
        }
    }
}

fn stream(label: &str, i: u32, n: usize) -> Bytes {
    let chunk = |k: u32| {
        let mut state = Blake2b256::new();
        state.update(label.as_bytes());
        state.update(i.to_le_bytes());
        state.update(k.to_le_bytes());
        state.finalize().to_vec()
    };
    (0..).flat_map(chunk).take(n).collect()
}

#[derive(Deserialize)]
pub(crate) struct NodeJson(u64, u64, Hex);

pub(crate) fn nodes(list: &[NodeJson]) -> Vec<Node> {
    let node = |NodeJson(index, size, hash): &NodeJson| Node {
        index: *index,
        size: *size,
        hash: hash.hash(),
    };
    list.iter().map(node).collect()
}

/// A head, its roots, and the bytes that were signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadJson {
    pub(crate) fork: u64,
    pub(crate) length: u64,
    pub(crate) byte_length: u64,
    pub(crate) roots: Vec<NodeJson>,
    pub(crate) tree_hash: Hex,
    signable: Hex,
    /// Hypercore 10 stores none at length 0.
    pub(crate) signature: Option<Hex>,
    /// What Hypercore 11 stores, where that is another.
    signature11: Option<Hex>,
}

impl HeadJson {
    /// As `Log::head` gives it.
    pub(crate) fn head(&self) -> Option<Head> {
        (self.length > 0).then(|| Head {
            length: self.length,
            fork: self.fork,
            byte_length: self.byte_length,
            tree_hash: self.tree_hash.hash(),
            signature: self.signature.as_ref().map(Hex::bytes).unwrap(),
        })
    }

    /// Asserts that what is stored as signature contains one over the signable bytes.
    pub(crate) fn assert_signed(&self, public_key: &[u8; 32], at: &str) {
        for stored in self.signature.iter().chain(&self.signature11) {
            let mut candidates = stored.0.windows(64).map(|bytes| bytes.try_into().unwrap());
            let is_signed = candidates.any(|bytes| verify(public_key, &self.signable.0, bytes));
            assert!(is_signed, "{at}");
        }
    }

    /// Proves this head to one who holds nothing.
    pub(crate) fn proof(&self, manifest: Manifest) -> Proof {
        let upgrade = ProofUpgrade {
            start: 0,
            length: self.length,
            nodes: nodes(&self.roots),
            additional_nodes: Vec::new(),
            signature: self.signature.as_ref().map(Hex::bytes).unwrap_or_default(),
        };
        Proof {
            fork: self.fork,
            upgrade: Some(upgrade),
            manifest: Some(manifest),
            ..Proof::default()
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct RequestJson {
    block: Option<PlaceJson>,
    hash: Option<PlaceJson>,
    seek: Option<SeekJson>,
    upgrade: Option<LengthsJson>,
}

#[derive(Deserialize)]
struct PlaceJson {
    index: u64,
    nodes: u64,
}

#[derive(Deserialize)]
struct SeekJson {
    bytes: u64,
    padding: u64,
}

#[derive(Deserialize)]
struct LengthsJson {
    start: u64,
    length: u64,
}

impl RequestJson {
    pub(crate) fn request(&self, manifest: bool) -> Request {
        let block = self.block.as_ref();
        let hash = self.hash.as_ref();
        let seek = self.seek.as_ref();
        let upgrade = self.upgrade.as_ref();
        Request {
            block: block.map(|at| RequestBlock { index: at.index, nodes: at.nodes }),
            hash: hash.map(|at| RequestHash { index: at.index, nodes: at.nodes }),
            seek: seek.map(|at| RequestSeek { bytes: at.bytes, padding: at.padding }),
            upgrade: upgrade.map(|at| RequestUpgrade { start: at.start, length: at.length }),
            manifest,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct ProofJson {
    fork: u64,
    block: Option<ProofPartJson>,
    hash: Option<ProofPartJson>,
    seek: Option<ProofPartJson>,
    upgrade: Option<UpgradeJson>,
    manifest: Option<Hex>,
}

#[derive(Deserialize)]
struct ProofPartJson {
    #[serde(alias = "bytes")]
    index: u64,
    value: Option<ValueJson>,
    nodes: Vec<NodeJson>,
}

/// The value of a proof's block. Absent if it is empty.
#[derive(Deserialize)]
#[serde(untagged)]
enum ValueJson {
    Hex(Hex),
    Block(BlockJson),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpgradeJson {
    start: u64,
    length: u64,
    nodes: Vec<NodeJson>,
    additional_nodes: Vec<NodeJson>,
    signature: Hex,
}

impl ProofJson {
    pub(crate) fn proof(&self) -> Proof {
        Proof {
            fork: self.fork,
            block: self.block.as_ref().map(|block| ProofBlock {
                index: block.index,
                value: match &block.value {
                    Some(ValueJson::Hex(hex)) => hex.bytes(),
                    Some(ValueJson::Block(block)) => block.bytes(),
                    None => Bytes::new(),
                },
                nodes: nodes(&block.nodes),
            }),
            hash: self
                .hash
                .as_ref()
                .map(|hash| ProofHash { index: hash.index, nodes: nodes(&hash.nodes) }),
            seek: self
                .seek
                .as_ref()
                .map(|seek| ProofSeek { bytes: seek.index, nodes: nodes(&seek.nodes) }),
            upgrade: self.upgrade.as_ref().map(|upgrade| ProofUpgrade {
                start: upgrade.start,
                length: upgrade.length,
                nodes: nodes(&upgrade.nodes),
                additional_nodes: nodes(&upgrade.additional_nodes),
                signature: upgrade.signature.bytes(),
            }),
            manifest: self.manifest.as_ref().map(Hex::manifest),
        }
    }
}
