//! The roots of a log's hash tree, and questions about the tree below them.
//!
//! Nothing here knows where nodes are kept: they come from a [`NodeSource`].

use crate::{
    compact::MAX_UINT,
    error::{Error, Result},
    flat_tree, hash,
    keys::Hash,
    node::Node,
};

/// Where stored nodes come from. They are trusted: verified before they were stored.
pub(crate) trait NodeSource {
    /// The node at this tree index, or `None` if it is not stored or reaches past the log's end.
    fn node(&self, index: u64) -> Result<Option<Node>>;

    /// The node at this tree index, which an answer cannot do without.
    fn expect_node(&self, index: u64) -> Result<Node> {
        self.node(index)?.ok_or(Error::NotAvailable { index })
    }
}

/// A source that has nothing, for what is checked by itself.
pub(crate) struct NoNodes;

impl NodeSource for NoNodes {
    fn node(&self, _index: u64) -> Result<Option<Node>> {
        Ok(None)
    }
}

/// The roots of all full trees that a log of some length consists of, from left to right.
///
/// Always those of `flat_tree::full_roots(length)`: nodes come in only where the last root ends, and
/// siblings are replaced by their parent at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    nodes: Vec<Node>,
    length: u64,
    byte_length: u64,
}

impl Roots {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Number of blocks.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of all blocks together.
    pub(crate) const fn byte_length(&self) -> u64 {
        self.byte_length
    }

    pub(crate) fn tree_hash(&self) -> Hash {
        hash::tree(&self.nodes)
    }

    /// Adds blocks at the end. Their leaves and the parents they complete go to `created`, level by
    /// level.
    ///
    /// # Errors
    ///
    /// [`Error::LogTooLarge`]. The roots are then as before.
    pub(crate) fn append_all(&mut self, blocks: &[&[u8]], created: &mut Vec<Node>) -> Result<()> {
        let lens = blocks.iter().map(|block| block.len() as u64);
        let grown = self.grown(blocks.len() as u64, lens).ok_or(Error::LogTooLarge)?;
        created.reserve(2 * blocks.len() + 64);
        let mut leaves: Vec<Node> = Vec::with_capacity(blocks.len() + 1);
        hash::leaves(blocks, |number, hash| {
            let index = 2 * (self.length + number as u64);
            let size = blocks.get(number).map_or(0, |block| block.len() as u64);
            leaves.push(Node { index, size, hash });
        });
        self.grow(grown, leaves, created);
        Ok(())
    }

    /// As [`append_all`](Self::append_all), for leaves that are known. They follow on each other and
    /// on the blocks that are there.
    pub(crate) fn append_leaves(
        &mut self,
        leaves: Vec<Node>,
        created: &mut Vec<Node>,
    ) -> Result<()> {
        let grown = self.grown(leaves.len() as u64, leaves.iter().map(|leaf| leaf.size));
        self.grow(grown.ok_or(Error::LogTooLarge)?, leaves, created);
        Ok(())
    }

    /// The length and the byte length with more blocks, or `None` if no log is that long.
    fn grown(&self, count: u64, mut lens: impl Iterator<Item = u64>) -> Option<(u64, u64)> {
        let byte_length = lens.try_fold(self.byte_length, u64::checked_add)?;
        let length = self.length.checked_add(count)?;
        (length <= LENGTH_MAX && byte_length <= MAX_UINT).then_some((length, byte_length))
    }

    fn grow(
        &mut self,
        (length, byte_length): (u64, u64),
        mut level: Vec<Node>,
        created: &mut Vec<Node>,
    ) {
        // Roots of the new tree, right to left.
        let mut ends = Vec::new();
        while !level.is_empty() {
            created.extend_from_slice(&level);
            level = self.level_above(level, &mut ends);
        }
        self.nodes.extend(ends.into_iter().rev());
        self.length = length;
        self.byte_length = byte_length;
    }

    /// Joins the neighbours of one level of the tree, with the old root before them if it is the
    /// left one of a pair. One without a right neighbour is a root, and goes to `ends`.
    fn level_above(&mut self, mut level: Vec<Node>, ends: &mut Vec<Node>) -> Vec<Node> {
        let first_is_right =
            level.first().is_some_and(|node| flat_tree::offset(node.index) % 2 == 1);
        if first_is_right && let Some(left) = self.nodes.pop() {
            level.insert(0, left);
        }
        let (_, last) = level.as_chunks::<2>();
        ends.extend(last);
        parents(&level)
    }

    /// The next node that is needed on the way to a longer tree: what completes the last root or,
    /// if that stays a root, the next root. `None` if none leads there.
    pub(crate) fn next_toward(&self, target: u64) -> Option<u64> {
        let root_over =
            |leaf| flat_tree::full_roots(target).find(|&root| flat_tree::contains(root, leaf));
        match self.nodes.last() {
            Some(last) if root_over(last.index)? != last.index => flat_tree::sibling(last.index),
            _ => root_over(2 * self.length),
        }
    }

    /// Adds a node that begins where the last root ends. Tells `on_merge` of each left child, right
    /// child and parent that it makes on the way.
    ///
    /// `None`, and the roots as before, if it does not begin there or the log would be too large.
    pub(crate) fn push(
        &mut self,
        node: Node,
        mut on_merge: impl FnMut(Node, Node, Node),
    ) -> Option<()> {
        let length = self.length.checked_add(flat_tree::leaf_count(node.index))?;
        let byte_length = self.byte_length.checked_add(node.size)?;
        let starts_at_end = flat_tree::left_span(node.index) == 2 * self.length;
        if !starts_at_end || length > LENGTH_MAX || byte_length > MAX_UINT {
            return None;
        }
        // Sums below cannot fail: they are of indices and sizes within the limits just checked.
        let mut last = node;
        while let Some(parent) = self.nodes.last().and_then(|left| Node::parent(left, &last)) {
            let left = self.nodes.pop()?;
            on_merge(left, last, parent);
            last = parent;
        }
        self.nodes.push(last);
        self.length = length;
        self.byte_length = byte_length;
        Some(())
    }
}

/// The nodes above neighbouring siblings: the first is above the first two, and so on. One at the end
/// that has no sibling is left out.
pub(crate) fn parents(level: &[Node]) -> Vec<Node> {
    let (pairs, _) = level.as_chunks::<2>();
    let inputs: Vec<_> = pairs
        .iter()
        .map(|[left, right]| (left.hash, right.hash, left.size.saturating_add(right.size)))
        .collect();
    let mut above = Vec::with_capacity(inputs.len() + 1);
    hash::parents(&inputs, |number, hash| {
        let (Some([left, _]), Some((_, _, size))) = (pairs.get(number), inputs.get(number)) else {
            return;
        };
        // A left sibling, so there is a node above it.
        let index = flat_tree::parent(left.index).unwrap_or(u64::MAX);
        above.push(Node { index, size: *size, hash });
    });
    above
}

/// The roots of the log when it had `length` blocks, or `None` if not all of them are stored.
pub(crate) fn roots_at(source: &dyn NodeSource, length: u64) -> Result<Option<Roots>> {
    let mut roots = Roots::default();
    for index in flat_tree::full_roots(length) {
        let Some(node) = source.node(index)? else {
            return Ok(None);
        };
        if roots.push(node, |_, _, _| {}).is_none() {
            return Ok(None);
        }
    }
    Ok((roots.length == length).then_some(roots))
}

/// Whether the nodes stored lead from `roots` to `later`, the roots of the same log when it was longer.
pub(crate) fn leads_to(source: &dyn NodeSource, roots: &Roots, later: &Roots) -> Result<bool> {
    let mut roots = roots.clone();
    while roots.length < later.length {
        let Some(index) = roots.next_toward(later.length) else {
            return Ok(false);
        };
        let pushed = source.node(index)?.and_then(|node| roots.push(node, |_, _, _| {}));
        if pushed.is_none() {
            return Ok(false);
        }
    }
    Ok(roots == *later)
}

/// The number of bytes before the blocks below node `tree_index`.
///
/// Node `2 * length`, just past the end, begins at the byte length.
///
/// # Errors
///
/// [`Error::NotAvailable`] if a node that is needed is not stored, or if `tree_index` is further
/// past the end.
pub(crate) fn byte_offset(source: &dyn NodeSource, roots: &Roots, tree_index: u64) -> Result<u64> {
    let first_leaf = flat_tree::left_span(tree_index);
    let mut offset = 0;
    for root in roots.nodes() {
        if flat_tree::right_span(root.index) < first_leaf {
            offset += root.size;
            continue;
        }
        let mut at = root.index;
        while flat_tree::left_span(at) != first_leaf {
            let Some((left, right)) = flat_tree::children(at) else {
                return Err(Error::NotAvailable { index: tree_index });
            };
            if first_leaf <= flat_tree::right_span(left) {
                at = left;
            } else {
                offset = source.expect_node(left)?.size.saturating_add(offset);
                at = right;
            }
        }
        return Ok(offset);
    }
    if first_leaf == 2 * roots.length() {
        return Ok(offset);
    }
    Err(Error::NotAvailable { index: tree_index })
}

/// How many levels above node `tree_index` the first stored node stands, 0 if it is stored itself
/// or not whole in the log: the `nodes` of a request (docs/spec/log.md section 4.1).
pub(crate) fn missing_nodes(source: &dyn NodeSource, length: u64, tree_index: u64) -> Result<u64> {
    let head = length.saturating_mul(2);
    if flat_tree::right_span(tree_index) >= head {
        return Ok(0);
    }
    let (mut count, mut at) = (0, tree_index);
    while !flat_tree::contains(at, head) && source.node(at)?.is_none() {
        let Some(parent) = flat_tree::parent(at) else {
            break;
        };
        count += 1;
        at = parent;
    }
    Ok(count)
}

/// The longest log: its last tree index is still a number of the format.
const LENGTH_MAX: u64 = 1 << 52;

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Nodes in memory.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct MemoryTree(pub(crate) BTreeMap<u64, Node>);

    impl NodeSource for MemoryTree {
        fn node(&self, index: u64) -> Result<Option<Node>> {
            Ok(self.0.get(&index).copied())
        }
    }

    impl FromIterator<Node> for MemoryTree {
        fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
            Self(nodes.into_iter().map(|node| (node.index, node)).collect())
        }
    }

    fn tree(sizes: &[usize]) -> (MemoryTree, Roots) {
        let (mut roots, mut created) = (Roots::default(), Vec::new());
        for (block, &size) in sizes.iter().enumerate() {
            roots.append_all(&[&vec![block as u8; size]], &mut created).unwrap();
        }
        (created.into_iter().collect(), roots)
    }

    proptest! {
        /// Each block begins where those before it end, and the tree's roots at each length are
        /// those it had when it was that long.
        #[test]
        fn offsets_are_sums(sizes in proptest::collection::vec(0..5_usize, 0..70)) {
            let (source, roots) = tree(&sizes);
            let mut sum = 0;
            for (block, &size) in sizes.iter().enumerate() {
                prop_assert_eq!(byte_offset(&source, &roots, 2 * block as u64)?, sum);
                let before = tree(&sizes[..block]).1;
                prop_assert_eq!(roots_at(&source, block as u64)?, Some(before));
                sum += size as u64;
            }
            prop_assert_eq!(byte_offset(&source, &roots, 2 * sizes.len() as u64)?, sum);
            prop_assert!(byte_offset(&source, &roots, 2 * sizes.len() as u64 + 2).is_err());
            prop_assert_eq!(roots.byte_length(), sum);
        }

        /// However blocks come, one by one or in batches, the nodes and roots are the same, and the
        /// roots are what they are if each node is pushed.
        #[test]
        fn batches_do_not_matter(cuts in proptest::collection::vec(1..40_usize, 1..6)) {
            let count: usize = cuts.iter().sum();
            let (single, roots) = tree(&vec![3; count]);
            let (mut batched, mut created) = (Roots::default(), Vec::new());
            let blocks: Vec<[u8; 3]> = (0..count).map(|block| [block as u8; 3]).collect();
            let mut rest = blocks.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut);
                let now: Vec<&[u8]> = now.iter().map(|block| block.as_slice()).collect();
                batched.append_all(&now, &mut created).unwrap();
                rest = later;
            }
            prop_assert_eq!(&batched, &roots);
            let created: MemoryTree = created.into_iter().collect();
            prop_assert_eq!(created.0, single.0);
            let mut pushed = Roots::default();
            for (block, data) in blocks.iter().enumerate() {
                pushed.push(Node::leaf(block as u64, data).unwrap(), |_, _, _| {}).unwrap();
            }
            prop_assert_eq!(pushed, roots);
        }

        /// With the roots alone, a climb from a leaf ends at the root above it.
        #[test]
        fn climbs_end_at_roots(length in 1..200_u64) {
            let (_, roots) = tree(&vec![1; length as usize]);
            let source: MemoryTree = roots.nodes().iter().copied().collect();
            for root in roots.nodes() {
                let leaf = flat_tree::left_span(root.index);
                let depth = u64::from(flat_tree::depth(root.index));
                prop_assert_eq!(missing_nodes(&source, length, leaf)?, depth);
            }
            prop_assert_eq!(missing_nodes(&source, length, 2 * length)?, 0);
        }
    }

    /// A node that does not begin at the end is not taken, and changes nothing.
    #[test]
    fn gaps_are_refused() {
        let (_, mut roots) = tree(&[1, 2, 3]);
        let before = roots.clone();
        for index in [0, 4, 5, 8, u64::MAX] {
            let node = Node { index, size: 1, hash: Hash::from_bytes([1; 32]) };
            assert_eq!(roots.push(node, |_, _, _| {}), None);
            assert_eq!(roots, before);
        }
    }
}
