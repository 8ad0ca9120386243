//! A head that is proven from nothing, as to one who knows only the log's key.

use super::{Belief, Grown, LocalState, check_signature, climb, grow};
use crate::{
    error::{Error, Result},
    keys::LogKey,
    limits::PROOF_NODES_MAX,
    manifest::Manifest,
    merkle::{NoNodes, Roots},
    node::Node,
    proof::Proof,
};

/// A signed head, whatever is held here.
#[derive(Debug)]
pub(crate) struct SignedHead {
    pub(crate) fork: u64,
    /// The roots that are signed.
    pub(crate) roots: Roots,
    /// The roots at the length that the proof was asked for. If that is less than what is signed,
    /// their hashes are proven, but perhaps not their sizes.
    pub(crate) asked: Roots,
    /// Nodes at and below the roots, all sizes true.
    pub(crate) nodes: Vec<Node>,
    /// The manifest, if it was not known before.
    pub(crate) manifest: Option<Manifest>,
}

impl SignedHead {
    /// Checks a proof that leads from the start of the log to a signed head. All of it must be
    /// needed.
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] and [`Error::BadSignature`] blame the peer.
    pub(crate) fn of(key: &LogKey, manifest: Option<&Manifest>, proof: &Proof) -> Result<Self> {
        let Some(upgrade) = proof.upgrade.as_ref().filter(|upgrade| upgrade.start == 0) else {
            return Err(bad("no head that is proven from the start"));
        };
        if stated_nodes(proof).iter().any(|nodes| nodes.len() > PROOF_NODES_MAX) {
            return Err(bad("more nodes than any proof needs"));
        }
        let mut nodes = Vec::new();
        let mut top = climb(&NoNodes, proof, &mut nodes)?;
        let Grown { roots, asked } = grow(Roots::default(), upgrade, &mut top, &mut nodes)?;
        if let Some(top) = top {
            let index = top.node.index;
            return Err(Error::BadProof { index, what: "leads to no node of the head" });
        }
        let local = LocalState {
            key,
            manifest,
            fork: proof.fork,
            roots: &Roots::default(),
            belief: Belief::Stored,
        };
        let manifest = check_signature(&local, proof, &roots, &upgrade.signature)?;
        Ok(Self { fork: proof.fork, roots, asked, nodes, manifest })
    }
}

/// The nodes that a proof states, by the parts they are in.
pub(crate) fn stated_nodes(proof: &Proof) -> [&[Node]; 5] {
    [
        proof.block.as_ref().map_or(&[], |block| &block.nodes),
        proof.hash.as_ref().map_or(&[], |hash| &hash.nodes),
        proof.seek.as_ref().map_or(&[], |seek| &seek.nodes),
        proof.upgrade.as_ref().map_or(&[], |upgrade| &upgrade.nodes),
        proof.upgrade.as_ref().map_or(&[], |upgrade| &upgrade.additional_nodes),
    ]
}

fn bad(what: &'static str) -> Error {
    Error::BadProof { index: u64::MAX, what }
}
