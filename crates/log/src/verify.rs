//! Checking a proof against what is held already (docs/spec/log.md section 4.3). Pure: nothing is stored.
//!
//! # Sizes
//!
//! A parent's hash binds the sum of the sizes below it, not each of them. Of two siblings that a
//! peer merely states, bytes can be moved from one to the other and every hash still fits. Such
//! *loose* pairs are checked like all nodes but not kept, so every size that is stored is true and
//! may decide where data goes. A node's size is bound if its hash was computed here, or is a signed
//! root's, or if its sibling's size is bound; only the two lowest nodes of a hash or seek path, and
//! two stated roots that merge with each other, are ever loose.

mod signed_head;

use bytes::Bytes;

pub(crate) use signed_head::{SignedHead, stated_nodes};

use crate::{
    error::{Error, Result},
    flat_tree,
    keys::LogKey,
    manifest::Manifest,
    merkle::{NoNodes, NodeSource, Roots, roots_at},
    node::Node,
    proof::{Proof, ProofUpgrade},
    run::ProofRun,
    signature::Signers,
};

/// What a log holds, as far as a proof's validity depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalState<'a> {
    pub(crate) key: &'a LogKey,
    /// `None` for a replica that has not learnt it yet.
    pub(crate) manifest: Option<&'a Manifest>,
    pub(crate) fork: u64,
    pub(crate) roots: &'a Roots,
    pub(crate) belief: Belief,
}

/// What is believed of nodes that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belief {
    /// That they fit together. A path of which all stated nodes are stored is then stored as a
    /// whole, and no hash on it need be computed.
    Stored,
    /// Nothing, but of the one that a path leads to: the log is being repaired.
    Damaged,
}

/// What a valid proof brings.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Nodes to store, all sizes true. One that is stored already replaces the stored one.
    pub(crate) nodes: Vec<Node>,
    pub(crate) upgrade: Option<Upgrade>,
    /// A block's number and value.
    pub(crate) block: Option<(u64, Bytes)>,
    /// The manifest to store, if none was held and a signature needed one.
    pub(crate) manifest: Option<Manifest>,
}

/// A new head.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// As `LocalState::fork`, unless the log was empty.
    pub(crate) fork: u64,
    pub(crate) roots: Roots,
    /// As stored.
    pub(crate) signature: Bytes,
    /// The length that was held before.
    pub(crate) ancestors: u64,
}

/// Checks all of a proof.
///
/// # Errors
///
/// [`Error::BadProof`] and [`Error::BadSignature`] blame the peer, [`Error::TwoHistories`] the
/// writer; [`Error::ForkMismatch`] and [`Error::Outdated`] nobody. Others come from `source`.
pub(crate) fn verify(
    source: &dyn NodeSource,
    local: &LocalState<'_>,
    proof: &Proof,
) -> Result<Verified> {
    let adopts_fork =
        local.roots.length() == 0 && proof.upgrade.is_some() && proof.fork > local.fork;
    if proof.fork != local.fork && !adopts_fork {
        return Err(Error::ForkMismatch { ours: local.fork, theirs: proof.fork });
    }
    let mut verified = Verified {
        block: proof.block.as_ref().map(|block| (block.index, block.value.clone())),
        ..Verified::default()
    };
    let believed = if local.belief == Belief::Stored { source } else { &NoNodes };
    let mut top = climb(believed, proof, &mut verified.nodes)?;
    if let Some(upgrade) = &proof.upgrade {
        let base = base_roots(source, local, upgrade)?;
        let Grown { roots, .. } = grow(base, upgrade, &mut top, &mut verified.nodes)?;
        verified.manifest = check_signature(local, proof, &roots, &upgrade.signature)?;
        if check_history(source, local, upgrade.start, &roots, &verified.nodes)? {
            verified.upgrade = Some(Upgrade {
                fork: proof.fork,
                roots,
                signature: upgrade.signature.clone(),
                ancestors: local.roots.length(),
            });
        }
    }
    if let Some(top) = top {
        settle(source, &top, &mut verified.nodes)?;
    }
    Ok(verified)
}

/// Checks the blocks of a run, as [`verify`] does a single one. Returns the nodes to store.
///
/// # Errors
///
/// As [`verify`].
pub(crate) fn verify_run(
    source: &dyn NodeSource,
    local: &LocalState<'_>,
    run: &ProofRun,
) -> Result<Vec<Node>> {
    if run.fork != local.fork {
        return Err(Error::ForkMismatch { ours: local.fork, theirs: run.fork });
    }
    let mut nodes = run.subtree()?;
    let index = u64::MAX;
    let top = nodes.pop().ok_or(Error::BadProof { index, what: "a run of no blocks" })?;
    let believed = if local.belief == Belief::Stored { source } else { &NoNodes };
    let mut path = run.nodes.iter();
    let mut at = Claim::computed(top);
    // The topmost node of the path is checked, and stored, by what it is compared with.
    while path.len() > 0 {
        if is_held(believed, &at, path.as_slice())? {
            return Ok(nodes);
        }
        let Some(next) = path.next() else { break };
        at = at.join(Claim::stated(*next), &mut nodes)?;
    }
    settle(source, &at, &mut nodes)?;
    Ok(nodes)
}

/// Climbs the path in a proof of a node, to be checked against one that is known by other means.
/// Bound nodes on the way go to `nodes`, the topmost one too.
pub(crate) fn climb_hash(proof: &Proof, nodes: &mut Vec<Node>) -> Result<Option<Node>> {
    let top = climb(&NoNodes, proof, nodes)?;
    nodes.extend(top.filter(|top| top.is_bound).map(|top| top.node));
    Ok(top.map(|top| top.node))
}

/// A node on the way up: whether its size is bound, see the module's text.
#[derive(Clone, Copy, Debug)]
struct Claim {
    node: Node,
    is_bound: bool,
}

impl Claim {
    const fn stated(node: Node) -> Self {
        Self { node, is_bound: false }
    }

    const fn computed(node: Node) -> Self {
        Self { node, is_bound: true }
    }

    /// The node above two claims, which go to `nodes` unless they are loose.
    fn join(self, other: Self, nodes: &mut Vec<Node>) -> Result<Self> {
        let index = other.node.index;
        let parent = Node::parent(&self.node, &other.node)
            .ok_or(Error::BadProof { index, what: "not the sibling of the node below" })?;
        if self.is_bound || other.is_bound {
            nodes.extend([self.node, other.node]);
        }
        Ok(Self::computed(parent))
    }
}

/// Combines block, hash and seek to the topmost node that they lead to. Bound nodes below it go to
/// `nodes`. `None` if there is nothing left to check: no such part, or all of the rest is `held`.
fn climb(held: &dyn NodeSource, proof: &Proof, nodes: &mut Vec<Node>) -> Result<Option<Claim>> {
    let mut seek_top = match proof.seek.as_ref().map(|seek| seek.nodes.as_slice()) {
        Some([first, path @ ..]) => {
            let first = Claim::stated(*first);
            Some(path.iter().try_fold(first, |at, &next| at.join(Claim::stated(next), nodes))?)
        }
        _ => None,
    };
    let (mut at, path) = match (&proof.block, &proof.hash) {
        (Some(block), None) => {
            let leaf = Node::leaf(block.index, &block.value)
                .ok_or(Error::BadProof { index: u64::MAX, what: "no such block" })?;
            (Claim::computed(leaf), block.nodes.as_slice())
        }
        (None, Some(hash)) => start_of_hash(hash.index, &hash.nodes, &mut seek_top)?,
        (None, None) => return Ok(seek_top),
        (Some(block), Some(_)) => {
            return Err(Error::BadProof { index: block.index, what: "both block and hash" });
        }
    };
    let mut path = path.iter();
    while path.len() > 0 || seek_top.is_some() {
        if proof.upgrade.is_none() && seek_top.is_none() && is_held(held, &at, path.as_slice())? {
            return Ok(None);
        }
        let sibling = flat_tree::sibling(at.node.index);
        let next = match seek_top.take_if(|seek| Some(seek.node.index) == sibling) {
            Some(seek) => seek,
            None => path.next().copied().map(Claim::stated).ok_or(Error::BadProof {
                index: at.node.index,
                what: "the path ends before it meets the seek's",
            })?,
        };
        at = at.join(next, nodes)?;
    }
    Ok(Some(at))
}

/// Whether a node and all of the path above it are held as they are stated, so that no hash need be
/// computed to know that they fit.
fn is_held(source: &dyn NodeSource, at: &Claim, path: &[Node]) -> Result<bool> {
    let mut index = at.node.index;
    if !at.is_bound || source.node(index)? != Some(at.node) {
        return Ok(false);
    }
    for node in path {
        let is_next = flat_tree::sibling(index) == Some(node.index);
        if !is_next || source.node(node.index)? != Some(*node) {
            return Ok(false);
        }
        let Some(parent) = flat_tree::parent(index) else {
            return Ok(false);
        };
        index = parent;
    }
    Ok(source.node(index)?.is_some())
}

/// The node that a hash proof starts from, and the path above it.
fn start_of_hash<'a>(
    index: u64,
    nodes: &'a [Node],
    seek_top: &mut Option<Claim>,
) -> Result<(Claim, &'a [Node])> {
    if let Some(seek) = seek_top.take_if(|seek| seek.node.index == index) {
        return Ok((seek, nodes));
    }
    match nodes {
        [first, path @ ..] if first.index == index => Ok((Claim::stated(*first), path)),
        _ => Err(Error::BadProof { index, what: "the hash asked for does not come first" }),
    }
}

/// Roots that grow by a proof's nodes.
#[derive(Debug, Default)]
struct Growth {
    roots: Roots,
    /// What was added and is not below another node yet.
    open: Vec<Claim>,
    /// What is below another node and not loose.
    kept: Vec<Node>,
}

impl Growth {
    fn push(&mut self, claim: Claim) -> Option<()> {
        let Self { roots, open, kept } = self;
        open.push(claim);
        roots.push(claim.node, |left, right, parent| {
            // A child that is not among these was held before, or computed: its size is bound.
            let children = [left, right].map(|child| {
                let place = open.iter().position(|claim| claim.node.index == child.index);
                place.map(|place| open.swap_remove(place))
            });
            let is_loose = |child: &Option<Claim>| child.is_some_and(|claim| !claim.is_bound);
            if !children.iter().all(is_loose) {
                kept.extend(children.iter().flatten().map(|claim| claim.node));
            }
            kept.push(parent);
        })
    }
}

/// Where an upgrade leads.
struct Grown {
    /// The roots that are signed.
    roots: Roots,
    /// Those at the length that was asked for. If that is less, their hashes are bound but perhaps
    /// not their sizes.
    asked: Roots,
}

/// Adds an upgrade's nodes to the roots that it starts from. `top` is taken if it is one of those
/// missing. All new nodes that are not loose go to `nodes`: roots' sizes are bound by the signature.
fn grow(
    base: Roots,
    upgrade: &ProofUpgrade,
    top: &mut Option<Claim>,
    nodes: &mut Vec<Node>,
) -> Result<Grown> {
    let mut growth = Growth { roots: base, ..Growth::default() };
    let mut path = upgrade.nodes.iter();
    let target = upgrade.start.saturating_add(upgrade.length);
    while growth.roots.length() < target {
        let index = growth.roots.next_toward(target);
        let next = match top.take_if(|top| Some(top.node.index) == index) {
            Some(top) => Some(top),
            None => {
                path.next().filter(|node| Some(node.index) == index).copied().map(Claim::stated)
            }
        };
        next.and_then(|next| growth.push(next)).ok_or(Error::BadProof {
            index: index.unwrap_or(u64::MAX),
            what: "the upgrade does not bring this node",
        })?;
    }
    if let Some(extra) = path.next() {
        return Err(Error::BadProof { index: extra.index, what: "the upgrade needs no such node" });
    }
    let asked = growth.roots.clone();
    for &node in &upgrade.additional_nodes {
        growth.push(Claim::stated(node)).ok_or(Error::BadProof {
            index: node.index,
            what: "not the node after the last root",
        })?;
    }
    nodes.append(&mut growth.kept);
    nodes.extend(growth.open.iter().map(|claim| claim.node));
    Ok(Grown { roots: growth.roots, asked })
}

/// The roots that an upgrade leads on from: those held or, if it starts earlier, those held then.
///
/// The latter comes from a peer that holds too few nodes to lead on from here.
fn base_roots(
    source: &dyn NodeSource,
    local: &LocalState<'_>,
    upgrade: &ProofUpgrade,
) -> Result<Roots> {
    let (start, ours) = (upgrade.start, local.roots.length());
    if start >= ours {
        return Ok(local.roots.clone());
    }
    roots_at(source, start)?.ok_or(Error::Outdated { start, ours })
}

/// Checks the signature by the manifest held, or by the proof's; returns it if it is new.
fn check_signature(
    local: &LocalState<'_>,
    proof: &Proof,
    roots: &Roots,
    signature: &[u8],
) -> Result<Option<Manifest>> {
    let key = local.key;
    if let Some(manifest) = local.manifest {
        Signers { key, manifest }.verify(roots, proof.fork, signature)?;
        return Ok(None);
    }
    let manifest = match &proof.manifest {
        Some(manifest) if manifest.is_compat(key) || manifest.key() == *key => manifest.clone(),
        Some(_) => {
            return Err(Error::BadProof { index: u64::MAX, what: "the manifest of another log" });
        }
        // It must be a log whose key is its public key; for all others this does not verify.
        None => Manifest::single(*key.as_bytes()),
    };
    Signers { key, manifest: &manifest }.verify(roots, proof.fork, signature)?;
    Ok(Some(manifest))
}

/// Whether signed roots are newer than those held. `nodes` lead to them from length `start`.
///
/// # Errors
///
/// [`Error::TwoHistories`] if they contradict what is held, [`Error::Outdated`] if whether they do
/// cannot be said.
fn check_history(
    source: &dyn NodeSource,
    local: &LocalState<'_>,
    start: u64,
    roots: &Roots,
    nodes: &[Node],
) -> Result<bool> {
    let ours = local.roots.length();
    let length = roots.length();
    if start < ours {
        for node in nodes.iter().filter(|node| flat_tree::right_span(node.index) < 2 * ours) {
            if source.node(node.index)?.is_some_and(|held| held.hash != node.hash) {
                return Err(Error::TwoHistories { length: length.min(ours) });
            }
        }
    }
    if length > ours {
        // From length 0 it need not share a root with what is held, and might be another history.
        let is_linked = start > 0 || ours == 0;
        return if is_linked { Ok(true) } else { Err(Error::Outdated { start, ours }) };
    }
    let held = roots_at(source, length)?.ok_or(Error::Outdated { start, ours })?;
    if held.tree_hash() == roots.tree_hash() {
        Ok(false)
    } else {
        Err(Error::TwoHistories { length })
    }
}

/// Checks the topmost node of a path against the one that is stored.
///
/// Should the stored size be wrong, as in directories by programs that keep loose pairs, it and its
/// sibling's are mended: `top`'s is bound, and so is the sum of the two.
fn settle(source: &dyn NodeSource, top: &Claim, nodes: &mut Vec<Node>) -> Result<()> {
    let index = top.node.index;
    let bad = |what| Error::BadProof { index, what };
    let held = source.node(index)?.ok_or(bad("leads to no node that is held here"))?;
    if held.hash != top.node.hash {
        return Err(bad("has another hash than the node held here"));
    }
    if held.size == top.node.size || !top.is_bound {
        return Ok(());
    }
    nodes.push(top.node);
    let (Some(sibling), Some(parent)) = (flat_tree::sibling(index), flat_tree::parent(index))
    else {
        return Ok(());
    };
    if let (Some(sibling), Some(parent)) = (source.node(sibling)?, source.node(parent)?) {
        let size = parent.size.checked_sub(top.node.size);
        nodes.extend(size.map(|size| Node { size, ..sibling }));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
