//! What tests and fuzzers of this crate share. Only with the feature `testing`.

#[doc(hidden)]
pub mod fuzz;

use crate::block::{Block, Level, encode_block, encode_level};

/// The bytes that a commit writes for this block, if these levels are in its index.
#[doc(hidden)]
#[must_use]
pub fn encoded(block: &Block, levels: &[Level]) -> Vec<u8> {
    let (mut index, mut bytes) = (Vec::new(), Vec::new());
    for Level { keys, children } in levels {
        encode_level(&mut index, keys.iter().copied(), children.iter().copied());
    }
    encode_block(&mut bytes, &index, block.key(), block.value(), block.extra());
    bytes
}
