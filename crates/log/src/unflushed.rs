//! Tree nodes that only the oplog has, in the form in which they will be written to the part `Tree`.

use rustc_hash::FxHashMap;

use crate::keys::Hash;
use crate::node::Node;

/// Bytes of a stored node: size, 8 bytes little-endian, and hash. All zeros: no node.
pub(crate) const NODE_LEN: usize = 40;

/// Nodes in one page: a subtree of 64 blocks and the node to its right.
pub(crate) const PAGE_NODES: u64 = 128;

/// Bytes of a page of the part `Tree`.
pub(crate) const PAGE_LEN: usize = PAGE_NODES as usize * NODE_LEN;

/// Most bytes of neighbouring nodes that are joined into one write.
const RUN_LEN_MAX: usize = 256 * 1024;

/// Nodes by index.
#[derive(Default)]
pub(crate) struct Unflushed {
    pages: FxHashMap<u64, Box<Page>>,
}

struct Page {
    /// Which nodes are there: a bit each.
    present: u128,
    bytes: [u8; PAGE_LEN],
}

impl Page {
    fn empty() -> Box<Self> {
        Box::new(Self { present: 0, bytes: [0; PAGE_LEN] })
    }

    fn put(&mut self, node: &Node) {
        let number = node.index % PAGE_NODES;
        let at = number as usize * NODE_LEN;
        if let Some(bytes) = self.bytes.get_mut(at..at + NODE_LEN) {
            bytes.copy_from_slice(&encode(node));
            self.present |= 1 << number;
        }
    }

    fn get(&self, index: u64) -> Option<Node> {
        let number = index % PAGE_NODES;
        if self.present >> number & 1 == 0 {
            return None;
        }
        decode(index, self.bytes.get(number as usize * NODE_LEN..)?)
    }
}

impl Unflushed {
    pub(crate) fn get(&self, index: u64) -> Option<Node> {
        self.pages.get(&(index / PAGE_NODES))?.get(index)
    }

    /// Whether it has any node of this page.
    pub(crate) fn has_page(&self, number: u64) -> bool {
        self.pages.contains_key(&number)
    }

    /// Adds nodes, most quickly if they are in the order of their indices.
    pub(crate) fn insert(&mut self, nodes: &[Node]) {
        let same_page = |a: &Node, b: &Node| a.index / PAGE_NODES == b.index / PAGE_NODES;
        for nodes in nodes.chunk_by(same_page) {
            let Some(first) = nodes.first() else { continue };
            let page = self.pages.entry(first.index / PAGE_NODES).or_insert_with(Page::empty);
            nodes.iter().for_each(|node| page.put(node));
        }
    }

    /// Keeps the nodes whose index `is_kept`.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.pages.retain(|number, page| {
            for bit in 0..PAGE_NODES {
                if !is_kept(number * PAGE_NODES + bit) {
                    page.present &= !(1 << bit);
                }
            }
            page.present != 0
        });
    }

    /// The numbers of the pages that have nodes.
    pub(crate) fn page_numbers(&self) -> Vec<u64> {
        self.pages.keys().copied().collect()
    }

    /// Hands runs of neighbouring nodes to `write`: the first one's index, and the bytes of all.
    pub(crate) fn write_runs<E>(
        &self,
        mut write: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut first, mut run) = (0, Vec::new());
        let mut pages: Vec<(&u64, &Box<Page>)> = self.pages.iter().collect();
        pages.sort_unstable_by_key(|(number, _)| **number);
        for (number, page) in pages {
            let mut bit = 0;
            while bit < PAGE_NODES as u32 {
                let rest = page.present >> bit;
                if rest == 0 {
                    break;
                }
                let from = bit + rest.trailing_zeros();
                let to = from + (page.present >> from).trailing_ones();
                let index = number * PAGE_NODES + u64::from(from);
                let is_next = first + (run.len() / NODE_LEN) as u64 == index;
                if !run.is_empty() && (!is_next || run.len() >= RUN_LEN_MAX) {
                    write(first, &run)?;
                    run.clear();
                }
                if run.is_empty() {
                    first = index;
                }
                let bytes = page.bytes.get(from as usize * NODE_LEN..to as usize * NODE_LEN);
                run.extend_from_slice(bytes.unwrap_or(&[]));
                bit = to;
            }
        }
        if run.is_empty() { Ok(()) } else { write(first, &run) }
    }
}

/// The node as it is stored.
pub(crate) fn encode(node: &Node) -> [u8; NODE_LEN] {
    let mut bytes = [0; NODE_LEN];
    let (size, hash) = bytes.split_at_mut(8);
    size.copy_from_slice(&node.size.to_le_bytes());
    hash.copy_from_slice(node.hash.as_bytes());
    bytes
}

/// Reads the node at the front of `bytes`, if there is one.
pub(crate) fn decode(index: u64, bytes: &[u8]) -> Option<Node> {
    let bytes = bytes.first_chunk::<NODE_LEN>()?;
    if *bytes == [0; NODE_LEN] {
        return None;
    }
    let (size, hash) = bytes.split_first_chunk::<8>()?;
    let hash = Hash::from_bytes(*hash.first_chunk()?);
    Some(Node { index, size: u64::from_le_bytes(*size), hash })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn node(index: u64) -> Node {
        Node { index, size: index + 1, hash: Hash::from_bytes([index as u8 | 1; 32]) }
    }

    proptest! {
        /// It is a map: what was put in last is found, what was not kept is not, and the runs
        /// written are all of it, each in its place.
        #[test]
        fn is_a_map(
            batches in prop::collection::vec(prop::collection::vec(0..900_u64, 0..60), 0..6),
            limit in 0..900_u64,
        ) {
            let (mut unflushed, mut model) = (Unflushed::default(), BTreeMap::new());
            for batch in batches {
                let nodes: Vec<Node> = batch.into_iter().map(node).collect();
                unflushed.insert(&nodes);
                model.extend(nodes.into_iter().map(|node| (node.index, node)));
            }
            unflushed.retain(|index| index < limit);
            model.retain(|index, _| *index < limit);
            for index in 0..1000 {
                prop_assert_eq!(unflushed.get(index), model.get(&index).copied());
            }
            let mut written = BTreeMap::new();
            let mut ends = Vec::new();
            unflushed.write_runs(|first, bytes| {
                ends.push((first, first + (bytes.len() / NODE_LEN) as u64));
                for (number, bytes) in bytes.chunks(NODE_LEN).enumerate() {
                    let index = first + number as u64;
                    written.insert(index, decode(index, bytes).unwrap());
                }
                Ok::<_, Infallible>(())
            }).unwrap();
            prop_assert_eq!(&written, &model);
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "runs are joined");
            prop_assert_eq!(unflushed.page_numbers().is_empty(), model.is_empty());
        }
    }
}
