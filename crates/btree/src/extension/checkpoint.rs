//! The place of a range in a tree, as numbers that mean the same to every reader of the log.

use std::sync::Arc;

use crate::cursor::{Cursor, Step, after};
use crate::error::Result;
use crate::limits::DEPTH_MAX;
use crate::node::{Kid, Node};
use crate::walk::{Stored, Walk};

/// Where `cursor` is, below the root at `root`. `None` if nothing is left to read; nothing at all if
/// it has not found its start yet, so that the bounds say it best.
pub(crate) fn of(cursor: &Cursor<Arc<Node>>, root: Kid) -> Option<Vec<u64>> {
    let Some(frames) = cursor.frames() else {
        return Some(Vec::new());
    };
    let mut checkpoint = Vec::new();
    let mut spot = root;
    for (node, next, seeking) in frames {
        if seeking {
            return Some(Vec::new());
        }
        let position = next.map(|step| match step {
            Step::Kid(i) => 2 * i as u64,
            Step::Key(i) => 2 * i as u64 + 1,
        });
        // A node that is done with may be above one that is not.
        if let Some(position) = position {
            checkpoint.extend([spot.seq, spot.level, position]);
        }
        spot = entered(node, next, cursor.is_reverse()).unwrap_or(spot);
    }
    (!checkpoint.is_empty()).then_some(checkpoint)
}

/// The child that was entered last: what comes next in the node lies right behind it.
fn entered(node: &Node, next: Option<Step>, reverse: bool) -> Option<Kid> {
    let i = match (next, reverse) {
        (Some(Step::Key(i)), false) => i,
        (Some(Step::Key(i)), true) => i + 1,
        (None, false) => node.kids().len().checked_sub(1)?,
        (None, true) => 0,
        // Before a child, none was entered after the key in between.
        (Some(Step::Kid(_)), _) => return None,
    };
    node.kids().get(i).copied()
}

/// The nodes and what comes next in each. Numbers that stand for no place in a tree give none.
///
/// # Errors
///
/// Whatever keeps a node from being read.
pub(super) fn places(
    walk: &Stored<'_>,
    checkpoint: &[u64],
    reverse: bool,
) -> Result<Vec<(Arc<Node>, Option<Step>)>> {
    let mut places = Vec::new();
    for &[seq, level, position] in checkpoint.chunks_exact(3).filter_map(<[u64]>::first_chunk) {
        if places.len() >= DEPTH_MAX || seq >= walk.version {
            return Ok(Vec::new());
        }
        let node = walk.store.node(Kid { seq, level })?;
        let i = usize::try_from(position / 2).unwrap_or(usize::MAX);
        let (keys, kids) = (node.key_seqs().len(), node.kids().len());
        let next = if position % 2 == 1 {
            (i < keys).then_some(Step::Key(i))
        } else if walk.is_leaf(&node) && i <= keys {
            // Where others have a child, a leaf has nothing.
            after(walk, &node, Step::Kid(i), reverse)
        } else {
            (i < kids).then_some(Step::Kid(i))
        };
        places.push((node, next));
    }
    Ok(places)
}
