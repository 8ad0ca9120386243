//! The golden vectors' JSON, as far as proofs and heads need it. Its schema: vectors/log/README.md.

use blake2::{Blake2b256, digest::Digest};
use bytes::Bytes;
use serde::Deserialize;

use crate::{
    keys::{Hash, LogKey},
    manifest::Manifest,
    node::Node,
    proof::{Proof, ProofBlock, ProofHash, ProofSeek, ProofUpgrade},
    request::{Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade},
};

#[path = "../../../tests/vectors/json.rs"]
mod json;

pub(crate) use json::{Hex, load};

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
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BlockJson {
    Hex(Hex),
    Stream { label: String, i: u32, n: usize },
}

impl BlockJson {
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Hex(hex) => hex.bytes(),
            Self::Stream { label, i, n } => {
                let chunk = |k: u32| {
                    let mut state = Blake2b256::new();
                    state.update(label.as_bytes());
                    state.update(i.to_le_bytes());
                    state.update(k.to_le_bytes());
                    state.finalize().to_vec()
                };
                (0..).flat_map(chunk).take(*n).collect()
            }
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeJson(u64, u64, Hex);

pub(crate) fn nodes(list: &[NodeJson]) -> Vec<Node> {
    let node = |NodeJson(index, size, hash): &NodeJson| Node {
        index: *index,
        size: *size,
        hash: hash.hash(),
    };
    list.iter().map(node).collect()
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RequestJson {
    block: Option<PlaceJson>,
    hash: Option<PlaceJson>,
    seek: Option<SeekJson>,
    upgrade: Option<LengthsJson>,
}

#[derive(Clone, Debug, Deserialize)]
struct PlaceJson {
    index: u64,
    nodes: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct SeekJson {
    bytes: u64,
    padding: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct LengthsJson {
    start: u64,
    length: u64,
}

impl RequestJson {
    pub(crate) fn request(&self, manifest: bool) -> Request {
        Request {
            block: self.block.as_ref().map(|at| RequestBlock { index: at.index, nodes: at.nodes }),
            hash: self.hash.as_ref().map(|at| RequestHash { index: at.index, nodes: at.nodes }),
            seek: self
                .seek
                .as_ref()
                .map(|seek| RequestSeek { bytes: seek.bytes, padding: seek.padding }),
            upgrade: self
                .upgrade
                .as_ref()
                .map(|upgrade| RequestUpgrade { start: upgrade.start, length: upgrade.length }),
            manifest,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ProofJson {
    fork: u64,
    block: Option<ProofPartJson>,
    hash: Option<ProofPartJson>,
    seek: Option<ProofPartJson>,
    upgrade: Option<UpgradeJson>,
    manifest: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct ProofPartJson {
    #[serde(alias = "bytes")]
    index: u64,
    value: Option<serde_json::Value>,
    nodes: Vec<NodeJson>,
}

#[derive(Clone, Debug, Deserialize)]
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
                value: value(block.value.as_ref()),
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
            manifest: self.manifest.as_ref().map(|encoded| {
                Manifest::decode(&hex::decode(encoded.as_str().unwrap()).unwrap()).unwrap()
            }),
        }
    }
}

/// A block's value: hex, an object as in `blocks`, or absent for an empty one.
fn value(value: Option<&serde_json::Value>) -> Bytes {
    match value {
        None | Some(serde_json::Value::Null) => Bytes::new(),
        Some(serde_json::Value::String(text)) => hex::decode(text).unwrap().into(),
        Some(object) => serde_json::from_value::<BlockJson>(object.clone()).unwrap().bytes(),
    }
}
