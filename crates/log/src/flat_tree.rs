//! Numbering of a binary tree's nodes, in order from left to right (docs/spec/log.md section 2.3).
//!
//! Leaves are even: block `i` is node `2i`. A node's depth is the count of its trailing one bits.
//! Three full trees of 1, 2 and 4 blocks:
//!
//! ```text
//!       3
//!   1       5
//! 0   2   4   6
//! ```
//!
//! No index makes a function here panic; what would not fit into 64 bits is `None` or saturates.
//! Indices of real logs stay below 2^55.

/// The height of node `index` above the leaves.
#[must_use]
pub const fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// How many nodes of the same depth stand to the left of node `index`.
#[must_use]
pub const fn offset(index: u64) -> u64 {
    match index.checked_shr(depth(index) + 1) {
        Some(offset) => offset,
        None => 0,
    }
}

/// The node of this depth and offset.
#[must_use]
pub fn index(depth: u32, offset: u64) -> Option<u64> {
    let odd = offset.checked_mul(2)?.checked_add(1)?;
    let factor = 1_u64.checked_shl(depth)?;
    Some(odd.checked_mul(factor)? - 1)
}

/// The node above.
#[must_use]
pub fn parent(node: u64) -> Option<u64> {
    index(depth(node) + 1, offset(node) >> 1)
}

/// The other child of the node above.
#[must_use]
pub fn sibling(node: u64) -> Option<u64> {
    index(depth(node), offset(node) ^ 1)
}

/// The two nodes below, or `None` for a leaf.
#[must_use]
pub fn children(node: u64) -> Option<(u64, u64)> {
    let below = depth(node).checked_sub(1)?;
    let quarter = 1_u64.checked_shl(below)?;
    Some((node - quarter, node.checked_add(quarter)?))
}

/// The leftmost leaf below, as a tree index.
#[must_use]
pub const fn left_span(node: u64) -> u64 {
    node - reach(node)
}

/// The rightmost leaf below, as a tree index.
#[must_use]
pub const fn right_span(node: u64) -> u64 {
    node.saturating_add(reach(node))
}

/// Whether `other` is `node` itself or stands below it.
#[must_use]
pub const fn contains(node: u64, other: u64) -> bool {
    left_span(node) <= other && other <= right_span(node)
}

/// The number of leaves below; 1 for a leaf.
#[must_use]
pub const fn leaf_count(node: u64) -> u64 {
    match 1_u64.checked_shl(depth(node)) {
        Some(count) => count,
        None => u64::MAX,
    }
}

/// The roots of the full trees that a log of `length` blocks consists of, from left to right.
///
/// `length` is at most 2^62; a larger one is taken as that.
pub fn full_roots(length: u64) -> impl Iterator<Item = u64> {
    let mut left = length.min(1 << 62);
    let mut first_leaf = 0;
    std::iter::from_fn(move || {
        let count = 1_u64 << left.checked_ilog2()?;
        let root = 2 * first_leaf + count - 1;
        first_leaf += count;
        left -= count;
        Some(root)
    })
}

/// The distance from a node to the outermost leaves below it.
const fn reach(node: u64) -> u64 {
    // The trailing ones themselves: 2^depth - 1.
    node & !node.wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Relatives agree with each other, and their spans with their order.
        #[test]
        fn relatives_agree(raw in 0..1_u64 << 60, shift in 0..60_u32) {
            let node = raw >> shift;
            prop_assert_eq!(index(depth(node), offset(node)), Some(node));
            let sibling = sibling(node).unwrap();
            let parent = parent(node).unwrap();
            prop_assert_eq!(super::parent(sibling), Some(parent));
            prop_assert_eq!(children(parent), Some((node.min(sibling), node.max(sibling))));
            prop_assert_eq!(leaf_count(parent), 2 * leaf_count(node));
            prop_assert_eq!(right_span(node.min(sibling)) + 2, left_span(node.max(sibling)));
            prop_assert!(contains(parent, node) && !contains(node, parent));
        }

        /// Roots of a length are adjacent, shrink, and cover exactly that many leaves.
        #[test]
        fn roots_cover_the_length(raw in 0..1_u64 << 53, shift in 0..53_u32) {
            let length = raw >> shift;
            let roots: Vec<u64> = full_roots(length).collect();
            let mut next_leaf = 0;
            for &root in &roots {
                prop_assert_eq!(left_span(root), next_leaf);
                next_leaf = right_span(root) + 2;
            }
            prop_assert_eq!(next_leaf, 2 * length);
            prop_assert!(roots.windows(2).all(|pair| depth(pair[0]) > depth(pair[1])));
        }

        /// Any index at all is safe to ask about.
        #[test]
        fn no_index_panics(near in 0..70_u64, shift in 0..64_u32) {
            let node = (u64::MAX >> shift).wrapping_sub(near);
            let _ = (parent(node), sibling(node), children(node), leaf_count(node));
            prop_assert!(left_span(node) <= node && node <= right_span(node));
            prop_assert_eq!(full_roots(node).count() as u32, node.min(1 << 62).count_ones());
        }
    }
}
