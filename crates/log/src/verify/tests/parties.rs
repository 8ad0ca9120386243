//! The two sides of a proof, in memory.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    error::Result,
    key_pair::KeyPair,
    keys::LogKey,
    manifest::Manifest,
    merkle::{Roots, tests::MemoryTree},
    node::Node,
    proof::Proof,
    prove::{ProvenHead, prove},
    request::Request,
    signature::Signers,
    verify::{Belief, LocalState, Verified, verify},
};

/// One who holds all blocks and may sign.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) key: LogKey,
    pub(crate) manifest: Manifest,
    pub(crate) keys: KeyPair,
    pub(crate) fork: u64,
    pub(crate) blocks: Vec<Bytes>,
    pub(crate) tree: MemoryTree,
    pub(crate) roots: Roots,
    pub(crate) signature: Bytes,
}

impl Source {
    pub(crate) fn new(key: LogKey, manifest: Manifest, keys: KeyPair) -> Self {
        Self {
            key,
            manifest,
            keys,
            fork: 0,
            blocks: Vec::new(),
            tree: MemoryTree::default(),
            roots: Roots::default(),
            signature: Bytes::new(),
        }
    }

    /// A log as `Log::create` makes it, with these blocks.
    pub(crate) fn with_blocks(seed: u8, blocks: &[Bytes]) -> Self {
        let keys = KeyPair::from_seed([seed; 32]);
        let manifest = Manifest::single(keys.public_key());
        let mut source = Self::new(manifest.key(), manifest, keys);
        source.append(blocks);
        source
    }

    pub(crate) fn append(&mut self, blocks: &[Bytes]) {
        let mut created = Vec::new();
        for block in blocks {
            self.roots.append_all(&[block], &mut created).unwrap();
            self.blocks.push(block.clone());
        }
        self.tree.0.extend(created.into_iter().map(|node| (node.index, node)));
        let signers = Signers { key: &self.key, manifest: &self.manifest };
        let (hash, length) = (self.roots.tree_hash(), self.roots.length());
        self.signature = signers.sign(&self.keys, &hash, length, self.fork).unwrap();
    }

    /// Goes back to the first `length` blocks, and on with others, as a new fork.
    pub(crate) fn cut(&mut self, length: usize, blocks: &[Bytes]) {
        let kept: Vec<_> = self.blocks.drain(..).take(length).collect();
        self.tree = MemoryTree::default();
        self.roots = Roots::default();
        self.fork += 1;
        self.append(&[&kept, blocks].concat());
    }

    pub(crate) fn prove(&self, request: &Request) -> Result<Proof> {
        let head = ProvenHead {
            key: &self.key,
            manifest: Some(&self.manifest),
            length: self.roots.length(),
            fork: self.fork,
            signature: &self.signature,
        };
        prove(&self.tree, &head, request, |block| Ok(self.blocks.get(block as usize).cloned()))
    }
}

/// One who knows nothing but the key at first.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) key: LogKey,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) fork: u64,
    pub(crate) roots: Roots,
    pub(crate) signature: Bytes,
    pub(crate) tree: MemoryTree,
    pub(crate) blocks: BTreeMap<u64, Bytes>,
    /// Whether it stores all nodes that a peer states, as Hypercore does, and not only the bound.
    pub(crate) is_lenient: bool,
}

impl Replica {
    pub(crate) fn new(key: LogKey) -> Self {
        Self {
            key,
            manifest: None,
            fork: 0,
            roots: Roots::default(),
            signature: Bytes::new(),
            tree: MemoryTree::default(),
            blocks: BTreeMap::new(),
            is_lenient: false,
        }
    }

    pub(crate) fn lenient(key: LogKey) -> Self {
        Self { is_lenient: true, ..Self::new(key) }
    }

    pub(crate) fn check(&self, proof: &Proof) -> Result<Verified> {
        let local = LocalState {
            key: &self.key,
            manifest: self.manifest.as_ref(),
            fork: self.fork,
            roots: &self.roots,
            belief: Belief::Stored,
        };
        verify(&self.tree, &local, proof)
    }

    pub(crate) fn apply(&mut self, proof: &Proof) -> Result<()> {
        let verified = self.check(proof)?;
        if self.is_lenient {
            self.put(stated_nodes(proof));
        }
        self.put(verified.nodes);
        self.blocks.extend(verified.block);
        self.manifest = self.manifest.take().or(verified.manifest);
        if let Some(upgrade) = verified.upgrade {
            assert_eq!(upgrade.ancestors, self.roots.length());
            self.fork = upgrade.fork;
            self.roots = upgrade.roots;
            self.signature = upgrade.signature;
        }
        Ok(())
    }

    fn put(&mut self, nodes: Vec<Node>) {
        self.tree.0.extend(nodes.into_iter().map(|node| (node.index, node)));
    }
}

/// All nodes that a proof lists.
pub(crate) fn stated_nodes(proof: &Proof) -> Vec<Node> {
    let mut nodes = Vec::new();
    nodes.extend(proof.block.iter().flat_map(|block| &block.nodes));
    nodes.extend(proof.hash.iter().flat_map(|hash| &hash.nodes));
    nodes.extend(proof.seek.iter().flat_map(|seek| &seek.nodes));
    if let Some(upgrade) = &proof.upgrade {
        nodes.extend(upgrade.nodes.iter().chain(&upgrade.additional_nodes));
    }
    nodes
}
