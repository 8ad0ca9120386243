//! The hashes of a log's tree and nothing else: several at once, nothing kept, stored or looked up.

use std::array;

use blake2b_simd::Params;
use blake2b_simd::many::{HashManyJob, hash_many};

/// Bytes of a parent node's hash input: kind, size, two hashes.
pub(super) const PARENT_INPUT_LEN: usize = 73;
/// Bytes before a block in its leaf's hash input: kind, size.
pub(super) const LEAF_PREFIX_LEN: usize = 9;

/// How many hashes are computed at once, as in a log.
const LANES: usize = 8;

const LEAF: u8 = 0;
const PARENT: u8 = 1;
const ROOTS: u8 = 2;

/// Of nodes and of whole trees.
pub(super) fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

/// A hash, and the bytes of the blocks below it.
#[derive(Clone, Copy)]
struct Node {
    hash: [u8; 32],
    size: u64,
}

impl Node {
    fn new(job: &HashManyJob<'_>, size: u64) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(job.to_hash().as_bytes());
        Self { hash, size }
    }
}

/// A tree that blocks are added to.
#[derive(Default)]
pub(super) struct Tree {
    leaves: Vec<Node>,
    /// What leaves are hashed from.
    input: Vec<u8>,
}

impl Tree {
    /// Hashes blocks that follow each other in `bytes` and have these lengths.
    pub(super) fn add(&mut self, bytes: &[u8], lens: &[usize]) {
        let params = params();
        let mut blocks = bytes;
        for lens in lens.chunks(LANES) {
            self.input.clear();
            for &len in lens {
                let (block, behind) = blocks.split_at(len);
                blocks = behind;
                self.input.push(LEAF);
                self.input.extend_from_slice(&(len as u64).to_le_bytes());
                self.input.extend_from_slice(block);
            }
            let mut rest = self.input.as_slice();
            let mut jobs: [_; LANES] = array::from_fn(|lane| {
                let len = lens.get(lane).map_or(0, |len| len + LEAF_PREFIX_LEN);
                let (input, behind) = rest.split_at(len);
                rest = behind;
                HashManyJob::new(&params, input)
            });
            let jobs = jobs.get_mut(..lens.len()).unwrap_or_default();
            hash_many(jobs.iter_mut());
            self.leaves.extend(lens.iter().zip(jobs).map(|(&len, job)| Node::new(job, len as u64)));
        }
    }

    /// Hashes everything above the blocks. Returns the hash that a log's writer signs.
    pub(super) fn finish(self) -> [u8; 32] {
        let (mut level, mut depth) = (self.leaves, 0);
        // From right to left: index and node.
        let mut roots = Vec::new();
        while !level.is_empty() {
            if level.len() % 2 == 1
                && let Some(root) = level.pop()
            {
                let place = level.len() as u64;
                roots.push((((2 * place + 1) << depth) - 1, root));
            }
            level = above(&level);
            depth += 1;
        }
        let mut state = params().to_state();
        state.update(&[ROOTS]);
        for (index, root) in roots.iter().rev() {
            state.update(&root.hash).update(&u64::to_le_bytes(*index));
            state.update(&root.size.to_le_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(state.finalize().as_bytes());
        hash
    }
}

/// The parents of an even number of neighbours.
fn above(level: &[Node]) -> Vec<Node> {
    let params = params();
    let mut parents = Vec::with_capacity(level.len() / 2);
    for children in level.chunks(2 * LANES) {
        let (pairs, _) = children.as_chunks::<2>();
        let inputs: [_; LANES] = array::from_fn(|lane| match pairs.get(lane) {
            Some([left, right]) => parent_input(left, right),
            None => [0; PARENT_INPUT_LEN],
        });
        let mut jobs = inputs.each_ref().map(|input| HashManyJob::new(&params, input));
        let jobs = jobs.get_mut(..pairs.len()).unwrap_or_default();
        hash_many(jobs.iter_mut());
        let sizes = pairs.iter().map(|[left, right]| left.size + right.size);
        parents.extend(sizes.zip(jobs).map(|(size, job)| Node::new(job, size)));
    }
    parents
}

fn parent_input(left: &Node, right: &Node) -> [u8; PARENT_INPUT_LEN] {
    let mut input = [PARENT; PARENT_INPUT_LEN];
    let (to_size, rest) = input.split_at_mut(LEAF_PREFIX_LEN);
    let (to_left, to_right) = rest.split_at_mut(32);
    to_size.split_at_mut(1).1.copy_from_slice(&(left.size + right.size).to_le_bytes());
    to_left.copy_from_slice(&left.hash);
    to_right.copy_from_slice(&right.hash);
    input
}

#[cfg(test)]
mod tests {
    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};

    use super::*;

    /// The floor does the log's work: its trees have the hashes that logs sign, whatever the length
    /// of the log and of its blocks, and however the blocks are gathered.
    #[test]
    fn trees_have_the_hashes_of_logs() {
        let log =
            Log::create(MemoryStorage::new(), KeyPair::from_seed([1; 32]), LogOptions::default());
        let (log, mut tree_blocks) = (log.unwrap(), Vec::new());
        for count in 1..200_usize {
            let block = vec![count as u8; count * 7 % 300];
            log.append(&[&block]).unwrap();
            tree_blocks.push(block);
            let mut tree = Tree::default();
            for some in tree_blocks.chunks(1 + count % 20) {
                let lens: Vec<_> = some.iter().map(Vec::len).collect();
                tree.add(&some.concat(), &lens);
            }
            assert_eq!(tree.finish(), *log.head().unwrap().tree_hash.as_bytes(), "{count} blocks");
        }
    }
}
