//! The hash functions of docs/spec/log.md section 2.1.

use std::array;

use blake2b_simd::many::{HashManyJob, hash_many};
use blake2b_simd::{Params, State};

use crate::{keys::Hash, node::Node};

/// The hash of a block.
pub(crate) fn leaf(block: &[u8]) -> Hash {
    let len = (block.len() as u64).to_le_bytes();
    // A short input is hashed sooner in one piece, although it has to be copied for that.
    let mut input = [0; SHORT_INPUT_LEN];
    let Some(input) = input.get_mut(..LEAF_PREFIX_LEN + block.len()) else {
        return digest(&[&[LEAF], &len, block]);
    };
    let (prefix, rest) = input.split_at_mut(LEAF_PREFIX_LEN);
    let (kind, size) = prefix.split_at_mut(1);
    kind.copy_from_slice(&[LEAF]);
    size.copy_from_slice(&len);
    rest.copy_from_slice(block);
    finish(params().hash(input))
}

/// The hash of the node above `left` and `right`, in this order, with `size` bytes below.
pub(crate) fn parent(left: &Hash, right: &Hash, size: u64) -> Hash {
    finish(params().hash(&parent_input(left, right, size)))
}

/// The hashes of blocks, in order, handed to `each` with the block's number in `blocks`. Several
/// are computed at once, which is quicker than one after the other.
pub(crate) fn leaves(blocks: &[&[u8]], mut each: impl FnMut(usize, Hash)) {
    let len = |blocks: &[&[u8]]| blocks.iter().map(|block| block.len() + LEAF_PREFIX_LEN).sum();
    let mut input = Vec::with_capacity(blocks.chunks(LANES).map(len).max().unwrap_or(0));
    for (first, blocks) in blocks.chunks(LANES).enumerate() {
        input.clear();
        for block in blocks {
            input.push(LEAF);
            input.extend_from_slice(&(block.len() as u64).to_le_bytes());
            input.extend_from_slice(block);
        }
        let each = |number, hash| each(first * LANES + number, hash);
        // Jobs that are not needed take time, too.
        if blocks.len() > LANES / 2 {
            few_leaves::<LANES>(blocks, &input, each);
        } else {
            few_leaves::<{ LANES / 2 }>(blocks, &input, each);
        }
    }
}

/// The hashes of at most `N` blocks, which follow each other in `input` as they are hashed.
fn few_leaves<const N: usize>(blocks: &[&[u8]], input: &[u8], mut each: impl FnMut(usize, Hash)) {
    let params = params();
    let mut rest = input;
    let mut jobs: [HashManyJob<'_>; N] = array::from_fn(|number| match blocks.get(number) {
        Some(block) => {
            let (input, behind) = rest.split_at(block.len() + LEAF_PREFIX_LEN);
            rest = behind;
            HashManyJob::new(&params, input)
        }
        None => HashManyJob::new(&params, &[]),
    });
    let jobs = jobs.get_mut(..blocks.len()).unwrap_or_default();
    hash_many(jobs.iter_mut());
    for (number, job) in jobs.iter().enumerate() {
        each(number, finish(job.to_hash()));
    }
}

/// The hashes of the nodes above these pairs, several at once: left, right, and bytes below both.
pub(crate) fn parents(pairs: &[(Hash, Hash, u64)], mut each: impl FnMut(usize, Hash)) {
    let params = params();
    for (first, pairs) in pairs.chunks(LANES).enumerate() {
        let inputs: [[u8; PARENT_INPUT_LEN]; LANES] =
            array::from_fn(|number| match pairs.get(number) {
                Some((left, right, size)) => parent_input(left, right, *size),
                None => [0; PARENT_INPUT_LEN],
            });
        let mut jobs = inputs.each_ref().map(|input| HashManyJob::new(&params, input));
        let jobs = jobs.get_mut(..pairs.len()).unwrap_or_default();
        hash_many(jobs.iter_mut());
        for (number, job) in jobs.iter().enumerate() {
            each(first * LANES + number, finish(job.to_hash()));
        }
    }
}

fn parent_input(left: &Hash, right: &Hash, size: u64) -> [u8; PARENT_INPUT_LEN] {
    let mut input = [0; PARENT_INPUT_LEN];
    let (kind, rest) = input.split_at_mut(1);
    kind.copy_from_slice(&[PARENT]);
    let (to_size, rest) = rest.split_at_mut(8);
    to_size.copy_from_slice(&size.to_le_bytes());
    let (to_left, to_right) = rest.split_at_mut(32);
    to_left.copy_from_slice(left.as_bytes());
    to_right.copy_from_slice(right.as_bytes());
    input
}

/// The hash that stands for a whole tree with these roots, from left to right.
pub(crate) fn tree(roots: &[Node]) -> Hash {
    let mut state = state();
    state.update(&[ROOTS]);
    for root in roots {
        state.update(root.hash.as_bytes());
        state.update(&root.index.to_le_bytes());
        state.update(&root.size.to_le_bytes());
    }
    finish(state.finalize())
}

/// The key of the log that has this encoded manifest.
pub(crate) fn manifest(encoded: &[u8]) -> [u8; 32] {
    *digest(&[&MANIFEST, encoded]).as_bytes()
}

/// The hash of `message`, keyed with `key`.
pub(crate) fn keyed(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    *finish(params().key(key).hash(message)).as_bytes()
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut state = state();
    for part in parts {
        state.update(part);
    }
    finish(state.finalize())
}

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

fn state() -> State {
    params().to_state()
}

fn finish(hash: blake2b_simd::Hash) -> Hash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_bytes());
    Hash::from_bytes(bytes)
}

/// How many hashes are computed at once: as many as the widest registers have room for, twice.
const LANES: usize = 8;

/// Bytes of an input that is copied to be hashed in one piece: four of the blocks that the function
/// works on.
const SHORT_INPUT_LEN: usize = 512;

/// Bytes before a block where it is hashed.
const LEAF_PREFIX_LEN: usize = 9;

/// Kind, size, and two hashes.
const PARENT_INPUT_LEN: usize = 73;

const LEAF: u8 = 0;
const PARENT: u8 = 1;
const ROOTS: u8 = 2;

/// What a signed tree hash is prefixed with (docs/spec/log.md section 1.2, constant 0).
pub(crate) const TREE: [u8; 32] = [
    0x9f, 0xac, 0x70, 0xb5, 0x0c, 0xa1, 0x4e, 0xfc, 0x4e, 0x91, 0xc8, 0x33, 0xb2, 0x04, 0xe7, 0x5b,
    0x8b, 0x5a, 0xad, 0x8b, 0x58, 0x81, 0xbf, 0xc0, 0xad, 0xb5, 0xef, 0x38, 0xa3, 0x27, 0x5b, 0x9c,
];

/// What a hashed manifest is prefixed with (docs/spec/log.md section 1.2, constant 3).
pub(crate) const MANIFEST: [u8; 32] = [
    0xe6, 0x4b, 0x71, 0x08, 0xea, 0xcc, 0xe4, 0x7c, 0xfc, 0x61, 0xac, 0x85, 0x05, 0x68, 0xf5, 0x5f,
    0x8b, 0x15, 0xb8, 0x2e, 0xc5, 0xed, 0x78, 0xc4, 0xec, 0x59, 0x7b, 0x03, 0x6e, 0x2a, 0x14, 0x98,
];

/// The namespace of a signer that names none (docs/spec/log.md section 1.2, constant 4).
pub(crate) const DEFAULT_NAMESPACE: [u8; 32] = [
    0x41, 0x44, 0xee, 0xa5, 0x31, 0xe4, 0x83, 0xd5, 0x4e, 0x0c, 0x14, 0xf4, 0xca, 0x68, 0xe0, 0x64,
    0x4f, 0x35, 0x53, 0x43, 0xff, 0x6f, 0xcb, 0x0f, 0x00, 0x52, 0x00, 0xe1, 0x2c, 0xd7, 0x47, 0xcb,
];

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// Hashes computed together are those computed one by one.
        #[test]
        fn many_are_as_one(blocks in vec(vec(any::<u8>(), 0..700), 0..20)) {
            let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let mut hashes = Vec::new();
            leaves(&blocks, |number, hash| hashes.push((number, hash)));
            let alone: Vec<_> = blocks.iter().map(|block| leaf(block)).enumerate().collect();
            prop_assert_eq!(&hashes, &alone);
            let pairs: Vec<_> =
                hashes.windows(2).map(|pair| (pair[0].1, pair[1].1, pair[0].0 as u64)).collect();
            let mut above = Vec::new();
            parents(&pairs, |number, hash| above.push((number, hash)));
            let alone: Vec<_> =
                pairs.iter().map(|(a, b, size)| parent(a, b, *size)).enumerate().collect();
            prop_assert_eq!(above, alone);
        }
    }

    /// The three constants are what the section's formula gives, not merely well copied.
    #[test]
    fn constants_follow_from_the_formula() {
        let base = digest(&[b"hypercore"]);
        for (number, constant) in [(0, TREE), (3, MANIFEST), (4, DEFAULT_NAMESPACE)] {
            assert_eq!(digest(&[base.as_bytes(), &[number]]).as_bytes(), &constant);
        }
    }
}
