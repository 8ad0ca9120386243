//! The hash functions of docs/spec/log.md section 2.1. None of them allocates.

use blake2::{
    Blake2b256, Blake2bMac,
    digest::{Digest, KeyInit, Mac, consts::U32},
};

use crate::{keys::Hash, node::Node};

/// The hash of a block.
pub(crate) fn leaf(block: &[u8]) -> Hash {
    digest(&[&[LEAF], &(block.len() as u64).to_le_bytes(), block])
}

/// The hash of the node above `left` and `right`, in this order, with `size` bytes below.
pub(crate) fn parent(left: &Hash, right: &Hash, size: u64) -> Hash {
    digest(&[&[PARENT], &size.to_le_bytes(), left.as_bytes(), right.as_bytes()])
}

/// The hash that stands for a whole tree with these roots, from left to right.
pub(crate) fn tree(roots: &[Node]) -> Hash {
    let mut state = Blake2b256::new();
    state.update([ROOTS]);
    for root in roots {
        state.update(root.hash.as_bytes());
        state.update(root.index.to_le_bytes());
        state.update(root.size.to_le_bytes());
    }
    Hash::from_bytes(state.finalize().into())
}

/// The key of the log that has this encoded manifest.
pub(crate) fn manifest(encoded: &[u8]) -> [u8; 32] {
    *digest(&[&MANIFEST, encoded]).as_bytes()
}

/// The hash of `message`, keyed with `key`.
pub(crate) fn keyed(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut state =
        Blake2bMac::<U32>::new_from_slice(key).expect("BLAKE2b takes keys up to 64 bytes");
    state.update(message);
    state.finalize().into_bytes().into()
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut state = Blake2b256::new();
    for part in parts {
        state.update(part);
    }
    Hash::from_bytes(state.finalize().into())
}

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
    use super::*;

    /// The three constants are what the section's formula gives, not merely well copied.
    #[test]
    fn constants_follow_from_the_formula() {
        let base = digest(&[b"hypercore"]);
        for (number, constant) in [(0, TREE), (3, MANIFEST), (4, DEFAULT_NAMESPACE)] {
            assert_eq!(digest(&[base.as_bytes(), &[number]]).as_bytes(), &constant);
        }
    }
}
