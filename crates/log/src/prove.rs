//! Answering a request (docs/spec/log.md section 4.2). Pure but for reading nodes.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    flat_tree,
    keys::LogKey,
    manifest::Manifest,
    merkle::{NodeSource, byte_offset, roots_at},
    node::Node,
    proof::{Proof, ProofBlock, ProofHash, ProofSeek, ProofUpgrade},
    request::{Request, RequestSeek, RequestUpgrade},
};

/// The signed head that answers are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProvenHead<'a> {
    pub(crate) key: &'a LogKey,
    pub(crate) manifest: Option<&'a Manifest>,
    pub(crate) length: u64,
    pub(crate) fork: u64,
    /// As stored.
    pub(crate) signature: &'a Bytes,
}

/// Answers `request`. `block_value` gives the value of a block by its number, if it is held.
///
/// An empty log, and a request for a seek alone, get an empty proof.
///
/// # Errors
///
/// [`Error::InvalidRequest`] if the request makes no sense for this length, and
/// [`Error::NotAvailable`] if a node or the block is not held here.
pub(crate) fn prove(
    source: &dyn NodeSource,
    head: &ProvenHead<'_>,
    request: &Request,
    block_value: impl FnOnce(u64) -> Result<Option<Bytes>>,
) -> Result<Proof> {
    let mut proof = Proof { fork: head.fork, ..Proof::default() };
    if head.length == 0 {
        return Ok(proof);
    }
    let span = Span::of(request, head.length)?;
    let target = Target::of(request, &span)?;
    let mut parts = Parts::default();
    let mut sought = None;
    match target {
        Some(target) if target.last_leaf() < span.from || request.upgrade.is_none() => {
            parts = prove_below(source, request, &span, target, head.length)?;
        }
        Some(target) => sought = Some(target.index),
        None if request.upgrade.is_some() => {
            sought = request.seek.map(|seek| seek_in_head(source, &seek, span.to)).transpose()?;
        }
        None => {}
    }
    if let Some(upgrade) = &request.upgrade {
        let nodes = prove_upgrade(source, target, sought, &span, &mut parts)?;
        proof.upgrade = Some(ProofUpgrade {
            start: upgrade.start,
            length: upgrade.length,
            nodes,
            additional_nodes: upgrade_path(span.to, 2 * head.length)
                .into_iter()
                .map(|index| source.expect_node(index))
                .collect::<Result<_>>()?,
            signature: head.signature.clone(),
        });
    }
    if let Some(block) = &request.block {
        let nodes = parts.target.take().ok_or(NO_SUCH_NODE)?;
        let value =
            block_value(block.index)?.ok_or(Error::NotAvailable { index: 2 * block.index })?;
        proof.block = Some(ProofBlock { index: block.index, value, nodes });
    } else if let Some(hash) = &request.hash {
        let nodes = parts.target.take().ok_or(NO_SUCH_NODE)?;
        proof.hash = Some(ProofHash { index: hash.index, nodes });
    }
    if let (Some(seek), Some(nodes)) = (&request.seek, parts.seek) {
        proof.seek = Some(ProofSeek { bytes: seek.bytes, nodes });
    }
    let asked = head.manifest.filter(|_| request.manifest);
    proof.manifest = asked.filter(|manifest| !manifest.is_compat(head.key)).cloned();
    Ok(proof)
}

/// Whether all nodes are held that lead from length `from` to the head of `length` blocks.
pub(crate) fn can_prove_upgrade(source: &dyn NodeSource, from: u64, length: u64) -> Result<bool> {
    if from >= length {
        return Ok(false);
    }
    for index in upgrade_path(2 * from, 2 * length) {
        if source.node(index)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether all nodes are held that lead from each of these blocks, whose leaves are, to a root of the
/// head of `length` blocks.
pub(crate) fn can_prove_blocks(
    source: &dyn NodeSource,
    blocks: Range<u64>,
    length: u64,
) -> Result<bool> {
    let is_whole = |index| flat_tree::right_span(index) < 2 * length;
    for block in blocks.clone() {
        let mut at = 2 * block;
        // What leads on from where the way from the block before was met has been looked at.
        while block == blocks.start || flat_tree::left_span(at) == 2 * block {
            let Some(parent) = flat_tree::parent(at).filter(|&parent| is_whole(parent)) else {
                break;
            };
            let Some(sibling) = flat_tree::sibling(at) else { break };
            if source.node(sibling)?.is_none() {
                return Ok(false);
            }
            at = parent;
        }
    }
    Ok(true)
}

/// The leaves that a request concerns, as tree indices: `from` the asker's end, `to` the end that
/// it wants to reach.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    to: u64,
}

impl Span {
    fn of(request: &Request, length: u64) -> Result<Self> {
        let invalid = Error::InvalidRequest { what: "no such upgrade" };
        let Some(RequestUpgrade { start, length: count }) = request.upgrade else {
            return Ok(Self { from: 0, to: 2 * length });
        };
        let end = start.checked_add(count).filter(|&end| start < end && end <= length);
        let end = end.ok_or(invalid)?;
        Ok(Self { from: 2 * start, to: 2 * end })
    }
}

/// The block or hash that is asked for.
#[derive(Clone, Copy, Debug)]
struct Target {
    index: u64,
    /// How many levels up the asker holds a node.
    nodes: u64,
    is_block: bool,
}

impl Target {
    fn of(request: &Request, span: &Span) -> Result<Option<Self>> {
        let target = match (request.block, request.hash) {
            (None, None) => return Ok(None),
            (Some(block), None) => {
                let index = block.index.checked_mul(2).ok_or(NO_SUCH_NODE)?;
                Self { index, nodes: block.nodes, is_block: true }
            }
            (None, Some(hash)) => Self { index: hash.index, nodes: hash.nodes, is_block: false },
            (Some(_), Some(_)) => {
                return Err(Error::InvalidRequest { what: "both block and hash" });
            }
        };
        if target.last_leaf() >= span.to {
            return Err(NO_SUCH_NODE);
        }
        if request.seek.is_some() && request.upgrade.is_some() && target.index >= span.from {
            return Err(Error::InvalidRequest { what: "seek and block or hash in new blocks" });
        }
        Ok(Some(target))
    }

    const fn last_leaf(&self) -> u64 {
        flat_tree::right_span(self.index)
    }
}

/// Paths found so far.
#[derive(Debug, Default)]
struct Parts {
    target: Option<Vec<Node>>,
    seek: Option<Vec<Node>>,
}

/// Proves a block or hash below a node that the asker holds, and a seek below it.
fn prove_below(
    source: &dyn NodeSource,
    request: &Request,
    span: &Span,
    target: Target,
    length: u64,
) -> Result<Parts> {
    let mut root = target.index;
    for _ in 0..target.nodes {
        root = flat_tree::parent(root)
            .filter(|&parent| !flat_tree::contains(parent, span.to))
            .ok_or(Error::InvalidRequest { what: "nodes is out of bounds" })?;
    }
    let sought = request.seek.map(|seek| seek_below(source, &seek, root, length)).transpose()?;
    let (mut path, mut seek, mut at) = (Vec::new(), None, target.index);
    if !target.is_block {
        path.push(source.expect_node(at)?);
    }
    while at != root {
        let sibling = flat_tree::sibling(at).ok_or(NO_SUCH_NODE)?;
        match sought.filter(|&sought| sought != sibling && flat_tree::contains(sibling, sought)) {
            Some(sought) => seek = Some(path_between(source, sought, sibling, true)?),
            None => path.push(source.expect_node(sibling)?),
        }
        at = flat_tree::parent(at).ok_or(NO_SUCH_NODE)?;
    }
    Ok(Parts { target: Some(path), seek })
}

/// The nodes from `span.from` to `span.to`. The one over `sought`, where there is such, is left out
/// and the path up to it goes to `parts` instead.
fn prove_upgrade(
    source: &dyn NodeSource,
    target: Option<Target>,
    mut sought: Option<u64>,
    span: &Span,
    parts: &mut Parts,
) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for index in upgrade_path(span.from, span.to) {
        let Some(below) = sought.take_if(|sought| flat_tree::contains(index, *sought)) else {
            nodes.push(source.expect_node(index)?);
            continue;
        };
        match target {
            Some(target) => {
                parts.target = Some(path_between(source, below, index, !target.is_block)?);
            }
            None => parts.seek = Some(path_between(source, below, index, true)?),
        }
    }
    Ok(nodes)
}

/// The nodes that lead from a tree of `from / 2` blocks to one of `to / 2`: what completes its last
/// root, then the further roots.
fn upgrade_path(from: u64, to: u64) -> Vec<u64> {
    let mut path = Vec::new();
    for root in flat_tree::full_roots(to / 2).filter(|_| from < to) {
        if flat_tree::right_span(root) < from {
            continue;
        }
        if flat_tree::left_span(root) >= from {
            path.push(root);
            continue;
        }
        // The asker's last leaf is below this root: climb from there.
        let last_leaf = from - 2;
        let mut at = last_leaf;
        while at != root {
            let (Some(sibling), Some(parent)) = (flat_tree::sibling(at), flat_tree::parent(at))
            else {
                break;
            };
            if sibling > last_leaf {
                path.push(sibling);
            }
            at = parent;
        }
    }
    path
}

/// The siblings from node `at` up to `root`, after `at` itself if asked for.
fn path_between(
    source: &dyn NodeSource,
    mut at: u64,
    root: u64,
    with_first: bool,
) -> Result<Vec<Node>> {
    let mut path = Vec::new();
    if with_first {
        path.push(source.expect_node(at)?);
    }
    while at != root {
        path.push(source.expect_node(flat_tree::sibling(at).ok_or(NO_SUCH_NODE)?)?);
        at = flat_tree::parent(at).ok_or(NO_SUCH_NODE)?;
    }
    Ok(path)
}

/// The node below `root`, which the asker holds, that leads to the byte (docs/spec/log.md section 4.4).
fn seek_below(source: &dyn NodeSource, seek: &RequestSeek, root: u64, length: u64) -> Result<u64> {
    let invalid = Error::InvalidRequest { what: "the byte sought is not below that node" };
    let roots = roots_at(source, length)?.ok_or(Error::NotAvailable { index: root })?;
    let offset = byte_offset(source, &roots, root)?;
    let padding = seek.padding.saturating_mul(flat_tree::left_span(root) / 2);
    let Some(bytes) = seek.bytes.checked_sub(offset.saturating_sub(padding)) else {
        return Err(invalid);
    };
    if bytes == 0 {
        return Ok(root);
    }
    if unpadded_size(&source.expect_node(root)?, seek) <= bytes {
        return Err(invalid);
    }
    seek_down(source, seek, root, bytes)
}

/// The node that leads to the byte in a tree that ends before leaf `to`; `to` itself if the byte is
/// past the end.
fn seek_in_head(source: &dyn NodeSource, seek: &RequestSeek, to: u64) -> Result<u64> {
    let mut bytes = seek.bytes;
    for root in flat_tree::full_roots(to / 2) {
        let size = unpadded_size(&source.expect_node(root)?, seek);
        if bytes == size {
            return Ok(root);
        }
        if bytes < size {
            return seek_down(source, seek, root, bytes);
        }
        bytes -= size;
    }
    Ok(to)
}

/// Walks down from a node that holds the byte, as far as nodes are held.
fn seek_down(
    source: &dyn NodeSource,
    seek: &RequestSeek,
    mut at: u64,
    mut bytes: u64,
) -> Result<u64> {
    while let (1.., Some((left, right))) = (bytes, flat_tree::children(at)) {
        let Some(node) = source.node(left)? else {
            return Ok(at);
        };
        let size = unpadded_size(&node, seek);
        if size == bytes {
            return Ok(left);
        }
        if size > bytes {
            at = left;
        } else {
            bytes -= size;
            at = right;
        }
    }
    Ok(at)
}

const fn unpadded_size(node: &Node, seek: &RequestSeek) -> u64 {
    node.size.saturating_sub(seek.padding.saturating_mul(flat_tree::leaf_count(node.index)))
}

const NO_SUCH_NODE: Error = Error::InvalidRequest { what: "no such block or node" };

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::Roots;
    use crate::merkle::tests::MemoryTree;

    proptest! {
        /// Blocks can be proven exactly if each of them can be proven alone, up to the root.
        #[test]
        fn blocks_can_be_proven_if_each_can(
            length in 1..70_u64,
            lost in btree_set(0..140_u64, 0..6),
            (start, count) in (0..70_u64, 0..20_u64),
        ) {
            let (mut roots, mut created) = (Roots::default(), Vec::new());
            for block in 0..length {
                roots.append_all(&[&[u8::try_from(block).unwrap()]], &mut created).unwrap();
            }
            let heads: BTreeSet<u64> = flat_tree::full_roots(length).collect();
            let is_held = |node: &Node| !lost.contains(&node.index) || heads.contains(&node.index);
            let tree: MemoryTree = created.into_iter().filter(is_held).collect();
            let blocks = start.min(length)..(start + count).min(length);
            let alone = |block: u64| {
                let mut at = 2 * block;
                while !heads.contains(&at) {
                    let sibling = flat_tree::sibling(at).unwrap();
                    if tree.node(sibling).unwrap().is_none() {
                        return false;
                    }
                    at = flat_tree::parent(at).unwrap();
                }
                true
            };
            let each = blocks.clone().all(alone);
            prop_assert_eq!(can_prove_blocks(&tree, blocks, length).unwrap(), each);
        }
    }
}
