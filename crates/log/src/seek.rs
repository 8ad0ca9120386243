//! Finding the block that holds a byte (docs/spec/log.md section 4.5).

use std::ops::Range;

use crate::{
    error::Result,
    flat_tree,
    log::Log,
    merkle::{NodeSource, Roots},
};

/// Where a byte of a log is, as far as that can be told here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seek {
    /// In this block. The block need not be held.
    Block {
        /// The block's number; the log's length for the place just past the last byte.
        index: u64,
        /// The byte's offset in the block.
        offset: u64,
    },
    /// In one of these blocks, whose sizes are not known here. Any of them, once applied, brings
    /// the answer closer, and so does a [request](crate::RequestSeek) that seeks the same byte.
    Within(Range<u64>),
    /// Past the end of the log as it is known here.
    PastEnd,
}

impl Log {
    /// Tells which block holds the byte at `byte_offset` from the start of the log.
    ///
    /// Only sizes that are proven count. A replica therefore may have to hold one of two
    /// neighbouring blocks before it can tell in which of them a byte is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io).
    pub fn seek(&self, byte_offset: u64) -> Result<Seek> {
        let commit = self.shared.commit();
        seek(&self.shared.tree.at(commit.length()), &commit.roots, byte_offset)
    }
}

fn seek(source: &dyn NodeSource, roots: &Roots, byte_offset: u64) -> Result<Seek> {
    if byte_offset == 0 {
        return Ok(Seek::Block { index: 0, offset: 0 });
    }
    let mut bytes = byte_offset;
    for root in roots.nodes() {
        if root.size > bytes {
            return seek_below(source, root.index, bytes);
        }
        bytes -= root.size;
        if bytes == 0 {
            return Ok(first_after(root.index));
        }
    }
    Ok(Seek::PastEnd)
}

/// Walks down from a node that holds the byte, as far as sizes are known.
fn seek_below(source: &dyn NodeSource, top: u64, mut bytes: u64) -> Result<Seek> {
    let mut at = top;
    while let Some((left, right)) = flat_tree::children(at) {
        let Some(node) = source.node(left)? else {
            let first = flat_tree::left_span(at) / 2;
            return Ok(Seek::Within(first..first + flat_tree::leaf_count(at)));
        };
        if node.size == bytes {
            return Ok(first_after(left));
        }
        if node.size > bytes {
            at = left;
        } else {
            bytes -= node.size;
            at = right;
        }
    }
    Ok(Seek::Block { index: at / 2, offset: bytes })
}

/// The first byte after the blocks below a node.
const fn first_after(node: u64) -> Seek {
    Seek::Block { index: flat_tree::right_span(node) / 2 + 1, offset: 0 }
}
