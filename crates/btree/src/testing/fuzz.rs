//! What must hold of trees, whatever the bytes: the bodies of the fuzz targets, as in
//! `multibee_log::testing::fuzz`. Their names begin with `tree-`.

mod forest;

use bytes::Bytes;
use multibee_log::testing::fuzz::Target;

use super::encoded;
use crate::block::Block;
use crate::error::BlockFault;
use crate::header::Header;
use crate::node::Outline;

pub use forest::{forest, planted, raw};

const KIB: usize = 1024;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("tree-block", block, |data| drop(decode(data)), (64 * KIB, 256)),
    Target::new("tree-header", header, |data| drop(Header::decode(data)), (64 * KIB, 6)),
    Target::new("tree-walk", forest, |data| drop(planted(data)), (4096 * KIB, 256)),
];

fn decode(data: &[u8]) -> Option<Block> {
    Block::decode(Bytes::copy_from_slice(data)).ok()
}

/// A header that decodes is encoded to bytes that decode to it.
pub fn header(data: &[u8]) {
    let Ok(header) = Header::decode(data) else { return };
    let canonical = header.encode();
    assert!(canonical.len() <= data.len(), "no form is shorter than the canonical one");
    assert_eq!(Header::decode(&canonical), Ok(header));
}

/// A block that decodes says the same once it is encoded from what it says. Each of its levels alone
/// is what it is among the others, and a node is made of one only as it stands there.
pub fn block(data: &[u8]) {
    let Some(block) = decode(data) else { return };
    let Ok(levels) = block.levels() else { return };
    let canonical = encoded(&block, &levels);
    assert!(canonical.len() <= data.len(), "no form is shorter than the canonical one");
    let again = decode(&canonical).expect("what was encoded can be decoded");
    assert_eq!((again.key(), again.value()), (block.key(), block.value()));
    assert_eq!(again.extra(), block.extra());
    assert_eq!(again.levels().as_ref(), Ok(&levels));

    let entry = block.entry(7);
    assert_eq!((&entry.key[..], entry.value.as_deref()), (block.key(), block.value()));
    for (number, level) in (0..).zip(&levels).take(LEVELS_MAX) {
        let bytes = block.level(number).expect("it is among the others");
        if let Ok(outline) = Outline::decode(u64::MAX, bytes) {
            assert_eq!(outline.key_seqs[..], level.keys);
            let kids = outline.kids.iter().flat_map(|kid| [kid.seq, kid.level]);
            assert!(kids.eq(level.children.iter().copied()));
        }
    }
    let level = levels.len() as u64;
    assert_eq!(block.level(level), Err(BlockFault::NoLevel { level }));
}

/// To look at each level alone takes time by the square of how many there are.
const LEVELS_MAX: usize = 64;

#[cfg(test)]
mod tests;
