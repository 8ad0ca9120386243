//! Which tree nodes the requests under way on one connection will bring.
//!
//! A block's proof is a list of siblings up to a node that the asker already has. An asker
//! who sends a hundred requests before the first answer would ask a hundred times for the same
//! upper siblings. So each request that is sent notes what its answer will leave behind, and a
//! later one on the same connection climbs only up to such a node.

use std::collections::HashMap;

use multibee_log::flat_tree;

/// Nodes under way, each with the request that brings it.
#[derive(Debug, Default)]
pub(super) struct Forecast {
    /// Looked up by index only, so its order does not matter.
    nodes: HashMap<u64, u64>,
}

/// Where a block's climb can stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// Levels from the leaf, itself counted as level 0.
    pub(super) levels: u64,
    /// The request whose answer brings the node at that level.
    pub(super) request: u64,
}

impl Forecast {
    /// The lowest node above (or at) a leaf that is under way.
    pub(super) fn stop(&self, block: u64) -> Option<Stop> {
        self.stop_above(block.checked_mul(2)?)
    }

    /// The same above (or at) any node.
    pub(super) fn stop_above(&self, mut index: u64) -> Option<Stop> {
        for levels in 0..LEVELS_MAX {
            if let Some(&request) = self.nodes.get(&index) {
                return Some(Stop { levels, request });
            }
            index = flat_tree::parent(index)?;
        }
        None
    }

    /// Notes what the answer to a request for `block` with `levels` nodes leaves behind: on each
    /// level the node of the path and its sibling.
    pub(super) fn expect(&mut self, request: u64, block: u64, levels: u64) {
        self.expect_above(request, block.saturating_mul(2), levels);
    }

    /// The same for a request for what lies below any node.
    pub(super) fn expect_above(&mut self, request: u64, index: u64, levels: u64) {
        for index in brought(index, levels) {
            self.nodes.entry(index).or_insert(request);
        }
    }

    /// Forgets what a request would have brought: it has, or it won't.
    pub(super) fn settle(&mut self, request: u64, block: u64, levels: u64) {
        self.settle_above(request, block.saturating_mul(2), levels);
    }

    /// The same for a request for what lies below any node.
    pub(super) fn settle_above(&mut self, request: u64, index: u64, levels: u64) {
        for index in brought(index, levels) {
            if self.nodes.get(&index) == Some(&request) {
                self.nodes.remove(&index);
            }
        }
    }
}

fn brought(index: u64, levels: u64) -> impl Iterator<Item = u64> {
    let mut next = Some(index);
    let mut left = levels;
    std::iter::from_fn(move || {
        let index = next?;
        left = left.checked_sub(1)?;
        next = flat_tree::parent(index);
        Some([index, flat_tree::sibling(index)?])
    })
    .flatten()
}

/// More levels than a tree over 2^53 blocks has.
const LEVELS_MAX: u64 = 54;

#[cfg(test)]
mod tests {
    use super::{Forecast, Stop};

    /// In an ascending run each request climbs only to what the earlier ones bring, which makes
    /// one sibling for each block, and nothing is left over when all are settled.
    #[test]
    fn ascending_run_asks_for_each_node_once() {
        let mut forecast = Forecast::default();
        let mut asked = Vec::new();
        for block in 0..64_u64 {
            let levels = forecast.stop(block).map_or(6, |stop| stop.levels);
            forecast.expect(block, block, levels);
            asked.push(levels);
        }
        assert_eq!(asked[..9], [6, 0, 1, 0, 2, 0, 1, 0, 3]);
        assert_eq!(asked.iter().sum::<u64>(), 63);
        for (block, &levels) in (0..).zip(&asked) {
            forecast.settle(block, block, levels);
        }
        assert!(forecast.nodes.is_empty());
    }

    /// A request relies on the one that brings the node; once that is settled, on none.
    #[test]
    fn names_the_request_relied_on() {
        let mut forecast = Forecast::default();
        forecast.expect(7, 4, 3);
        assert_eq!(forecast.stop(5), Some(Stop { levels: 0, request: 7 }));
        assert_eq!(forecast.stop(6), Some(Stop { levels: 1, request: 7 }));
        assert_eq!(forecast.stop(0), Some(Stop { levels: 2, request: 7 }));
        assert_eq!(forecast.stop(8), None);
        forecast.settle(7, 4, 3);
        assert_eq!(forecast.stop(5), None);
        assert_eq!(forecast.stop(u64::MAX), None);
    }
}
