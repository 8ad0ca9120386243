//! The search for the point at which a log and another history of it part (docs/spec/log.md section
//! 7.3, steps 2 to 4). Pure but for reading nodes.
//!
//! All roots of the other history are known from its signed head. The first one that is not held
//! here is walked down, each time into the left child if that differs from ours, else into the right
//! one, until nodes are missing. Then a path to any leaf below is asked for, which brings the
//! children of at least one level; so there are never more answers than levels in the tree.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    error::{Error, Result},
    flat_tree,
    keys::Hash,
    limits::PROOF_NODES_MAX,
    merkle::{NodeSource, Roots},
    node::Node,
    proof::Proof,
    request::{Request, RequestHash},
    verify::{SignedHead, climb_hash, stated_nodes},
};

/// How far the search has come. Whatever is wrong with an answer, it stays as it was.
#[derive(Clone, Debug)]
pub(crate) struct ForkPoint {
    /// The other history's fork.
    fork: u64,
    /// The length of our own.
    local_len: u64,
    /// Nodes of the other history, all sizes true.
    nodes: BTreeMap<u64, Node>,
    /// Nodes of the other history of which only the hash is proven.
    loose: BTreeMap<u64, Node>,
    /// Blocks known to be the same in both.
    shared_len: u64,
    /// The node below which the histories part, if that can still be told more exactly.
    open: Option<u64>,
}

impl ForkPoint {
    /// Begins with what a head tells. `proof` is what showed it, `roots` those to look below: of the
    /// head, or of its beginning. `source` holds the nodes of our own history of `local_len` blocks.
    pub(crate) fn new(
        source: &dyn NodeSource,
        local_len: u64,
        head: &SignedHead,
        proof: &Proof,
        roots: &Roots,
    ) -> Result<Self> {
        let mut search = Self {
            fork: head.fork,
            local_len,
            nodes: BTreeMap::new(),
            loose: BTreeMap::new(),
            shared_len: roots.length(),
            open: None,
        };
        search.learn(source, &head.nodes, proof)?;
        for root in roots.nodes() {
            if !is_held(source, root)? {
                search.narrow(source, root.index)?;
                break;
            }
        }
        Ok(search)
    }

    /// Returns how many blocks are known to be the same.
    pub(crate) const fn shared_len(&self) -> u64 {
        self.shared_len
    }

    /// Returns what to ask next of a peer with the other history; `None` when all is known.
    pub(crate) fn request(&self) -> Option<Request> {
        let hash = self.open.map(|open| self.wanted(open));
        hash.map(|hash| Request { hash: Some(hash), ..Request::default() })
    }

    /// Returns the blocks below the node that is looked into; `None` when all is known.
    pub(crate) fn blocks(&self) -> Option<Range<u64>> {
        let open = self.open?;
        Some(flat_tree::left_span(open) / 2..flat_tree::right_span(open) / 2 + 1)
    }

    /// Returns the same question as [`request`](Self::request), by the path to another of the
    /// [`blocks`](Self::blocks). The path to any of them brings the next level.
    pub(crate) fn request_by(&self, block: u64) -> Option<Request> {
        let open = self.open.filter(|_| self.blocks().is_some_and(|all| all.contains(&block)))?;
        let nodes = u64::from(flat_tree::depth(open));
        let hash = Some(RequestHash { index: 2 * block, nodes });
        Some(Request { hash, ..Request::default() })
    }

    /// Takes the answer to [`request`](Self::request) or [`request_by`](Self::request_by).
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] blames the peer, [`Error::ForkMismatch`] nobody. Others come from
    /// `source`.
    pub(crate) fn add(&mut self, source: &dyn NodeSource, proof: &Proof) -> Result<()> {
        if proof.fork != self.fork {
            return Err(Error::ForkMismatch { ours: self.fork, theirs: proof.fork });
        }
        let index = proof.hash.as_ref().map_or(u64::MAX, |hash| hash.index);
        let bad = |what| Error::BadProof { index, what };
        let leaves = self.blocks().map_or(0..0, |blocks| 2 * blocks.start..2 * blocks.end);
        let is_leaf_below = leaves.contains(&index) && index.is_multiple_of(2);
        let Some(open) = self.open.filter(|_| is_leaf_below) else {
            return Err(bad("was not asked for"));
        };
        if proof.block.is_some() || proof.seek.is_some() || proof.upgrade.is_some() {
            return Err(bad("brings more than the hash asked for"));
        }
        if stated_nodes(proof).iter().any(|nodes| nodes.len() > PROOF_NODES_MAX) {
            return Err(bad("more nodes than any proof needs"));
        }
        let mut nodes = Vec::new();
        let top = climb_hash(proof, &mut nodes)?;
        let is_it = |top: &Node| top.index == open && self.hash(open) == Some(top.hash);
        if !top.as_ref().is_some_and(is_it) {
            return Err(bad("does not lead to the node known above it"));
        }
        let mut next = self.clone();
        next.learn(source, &nodes, proof)?;
        next.narrow(source, open)?;
        *self = next;
        Ok(())
    }

    /// Returns all nodes found, for a log that goes over to the other history.
    pub(crate) fn into_nodes(self) -> Vec<Node> {
        self.nodes.into_values().collect()
    }

    /// The path to ask for: as Hypercore does, to the last leaf that may be ours as well. Most logs
    /// are cut near their end.
    fn wanted(&self, open: u64) -> RequestHash {
        let last_leaf = flat_tree::right_span(open).min(2 * self.local_len.saturating_sub(1));
        RequestHash { index: last_leaf, nodes: u64::from(flat_tree::depth(open)) }
    }

    fn hash(&self, index: u64) -> Option<Hash> {
        self.nodes.get(&index).or_else(|| self.loose.get(&index)).map(|node| node.hash)
    }

    /// Walks down from a node that differs from ours, or is not held here, as far as nodes are
    /// known.
    fn narrow(&mut self, source: &dyn NodeSource, mut at: u64) -> Result<()> {
        while let Some((left, right)) = flat_tree::children(at) {
            // Children are always learnt together.
            let known = self.nodes.get(&left).or_else(|| self.loose.get(&left));
            let Some(known) = known else { break };
            at = if is_held(source, known)? { right } else { left };
        }
        self.shared_len = flat_tree::left_span(at) / 2;
        let can_go_on = flat_tree::depth(at) > 0 && self.shared_len < self.local_len;
        self.open = can_go_on.then_some(at);
        Ok(())
    }

    /// Takes in the nodes of a checked proof: `bound` are those whose sizes are true.
    ///
    /// What the proof states beyond them comes in pairs of which only the sum of the sizes is
    /// proven. One that is held here too has our size, and so its sibling has the rest.
    fn learn(&mut self, source: &dyn NodeSource, bound: &[Node], proof: &Proof) -> Result<()> {
        self.nodes.extend(bound.iter().map(|node| (node.index, *node)));
        for node in stated_nodes(proof).into_iter().flatten() {
            let held = source.node(node.index)?.filter(|held| held.hash == node.hash);
            match held {
                _ if self.nodes.contains_key(&node.index) => continue,
                Some(held) => self.nodes.insert(node.index, held),
                None => self.loose.insert(node.index, *node),
            };
        }
        let Self { nodes, loose, .. } = self;
        loose.retain(|index, node| {
            let size = nodes.get(index).map(|node| node.size);
            let Some(size) = size.or_else(|| rest_of_parent(nodes, *index)) else {
                return true;
            };
            nodes.insert(*index, Node { size, ..*node });
            false
        });
        Ok(())
    }
}

/// The size that is left for a node by its parent and its sibling.
fn rest_of_parent(nodes: &BTreeMap<u64, Node>, index: u64) -> Option<u64> {
    let sibling = nodes.get(&flat_tree::sibling(index)?)?;
    let parent = nodes.get(&flat_tree::parent(index)?)?;
    parent.size.checked_sub(sibling.size)
}

fn is_held(source: &dyn NodeSource, node: &Node) -> Result<bool> {
    Ok(source.node(node.index)?.is_some_and(|held| held.hash == node.hash))
}

#[cfg(test)]
mod tests;
