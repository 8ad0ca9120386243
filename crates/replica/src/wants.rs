//! What we lack of one log: which blocks, how badly, and of whom they were asked.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::event::ConnectionId;
use crate::holdings::Holdings;
use crate::limits::{ASKERS_MAX, HEDGE_AFTER};
use crate::ranges::RangeSet;

/// The blocks of one log that are wanted and not here.
///
/// A block is either queued (asked of nobody) or asked (of one remote, or of two when the first
/// is slow). Ranges cost one entry however long they are, so "everything, for ever" is
/// `0..u64::MAX`.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    queues: BTreeMap<Reverse<u64>, RangeSet>,
    asked: BTreeMap<u64, Asked>,
    /// Grows when blocks are added to a queue, so that a search that found nothing need not be
    /// repeated.
    version: u64,
}

#[derive(Debug)]
struct Asked {
    priority: u64,
    /// Not empty, at most [`ASKERS_MAX`].
    of: Vec<(ConnectionId, Instant)>,
}

/// What a connection may ask for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This block, which now counts as asked of that connection.
    Block { block: u64, priority: u64 },
    /// Nothing now. Look again at the time, or when the wants or the remote's blocks change.
    Nothing { look_again: Option<Instant> },
}

impl Wants {
    /// Changes whenever blocks were queued.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Wants blocks, none of which is here. What is wanted already keeps the higher priority.
    pub(crate) fn add(&mut self, blocks: Range<u64>, priority: u64) {
        if blocks.start >= blocks.end {
            return;
        }
        let mut fresh = RangeSet::default();
        fresh.insert(blocks.clone());
        for (&block, asked) in self.asked.range_mut(blocks.clone()) {
            asked.priority = asked.priority.max(priority);
            fresh.remove(block..block + 1);
        }
        for (&Reverse(other), queue) in &mut self.queues {
            if other < priority {
                queue.remove(blocks.clone());
            } else {
                for stretch in queue.within(blocks.clone()) {
                    fresh.remove(stretch);
                }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        if fresh.is_empty() {
            return;
        }
        let queue = self.queues.entry(Reverse(priority)).or_default();
        fresh.iter().for_each(|stretch| queue.insert(stretch));
        self.version += 1;
    }

    /// Whether a block is wanted and not here.
    pub(crate) fn is_wanted(&self, block: u64) -> bool {
        let queued = || self.first_queued(block, block.saturating_add(1)).is_some();
        self.asked.contains_key(&block) || queued()
    }

    /// No longer wants blocks. Returns those that were asked for, and of whom.
    pub(crate) fn remove(&mut self, blocks: Range<u64>) -> Vec<(u64, ConnectionId)> {
        if blocks.start >= blocks.end {
            return Vec::new();
        }
        self.queues.values_mut().for_each(|queue| queue.remove(blocks.clone()));
        self.queues.retain(|_, queue| !queue.is_empty());
        let asked: Vec<u64> = self.asked.range(blocks).map(|(&block, _)| block).collect();
        let mut cancelled = Vec::new();
        for block in asked {
            let of = self.asked.remove(&block).map(|asked| asked.of).unwrap_or_default();
            cancelled.extend(of.into_iter().map(|(connection, _)| (block, connection)));
        }
        cancelled
    }

    /// A block is here. Returns who else was asked for it.
    pub(crate) fn stored(&mut self, block: u64, from: Option<ConnectionId>) -> Vec<ConnectionId> {
        if let Some(asked) = self.asked.remove(&block) {
            let others = asked.of.into_iter().map(|(connection, _)| connection);
            return others.filter(|&connection| Some(connection) != from).collect();
        }
        self.queues.values_mut().for_each(|queue| queue.remove(block..block.saturating_add(1)));
        self.queues.retain(|_, queue| !queue.is_empty());
        Vec::new()
    }

    /// Picks a block below `limit` that a remote has: the highest priority first, then the lowest
    /// number; when nothing is queued, one that another remote is slow to deliver.
    pub(crate) fn next(
        &mut self,
        connection: ConnectionId,
        holdings: &Holdings,
        limit: u64,
        now: Instant,
    ) -> Next {
        if let Some((block, priority)) = self.find_queued(holdings, limit) {
            if let Some(queue) = self.queues.get_mut(&Reverse(priority)) {
                queue.remove(block..block + 1);
                if queue.is_empty() {
                    self.queues.remove(&Reverse(priority));
                }
            }
            self.asked.insert(block, Asked { priority, of: vec![(connection, now)] });
            return Next::Block { block, priority };
        }
        for (&block, asked) in &mut self.asked {
            let may_ask = asked.of.len() < ASKERS_MAX
                && asked.of.iter().all(|&(other, at)| {
                    other != connection && now.saturating_duration_since(at) >= HEDGE_AFTER
                });
            if may_ask && block < limit && holdings.contains(block) {
                asked.of.push((connection, now));
                return Next::Block { block, priority: asked.priority };
            }
        }
        let others_asked =
            self.asked.values().any(|asked| asked.of.iter().any(|&(other, _)| other != connection));
        let look_again = others_asked || self.first_queued(0, limit).is_some();
        Next::Nothing { look_again: look_again.then(|| now + HEDGE_AFTER) }
    }

    /// The next blocks that a remote has the first of, unless something more urgent is queued that it
    /// has.
    pub(crate) fn next_stretch(&self, holdings: &Holdings, limit: u64) -> Option<Range<u64>> {
        let (block, priority) = self.find_queued(holdings, limit)?;
        if priority > 0 {
            return None;
        }
        self.queues.get(&Reverse(0))?.first_within(block..limit)
    }

    /// Takes blocks out of the queue that is not urgent: they are asked for by other means.
    pub(crate) fn take(&mut self, blocks: Range<u64>) {
        if let Some(queue) = self.queues.get_mut(&Reverse(0)) {
            queue.remove(blocks);
            if queue.is_empty() {
                self.queues.remove(&Reverse(0));
            }
        }
    }

    /// The first queued stretch at or after `from` and below `limit`, whatever its priority.
    pub(crate) fn first_queued(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        let stretches = self.queues.values().filter_map(|queue| queue.first_within(from..limit));
        stretches.min_by_key(|stretch| stretch.start)
    }

    /// A remote did not deliver a block. Returns whether it is queued again (nobody else is
    /// asked for it).
    pub(crate) fn give_back(&mut self, block: u64, connection: ConnectionId) -> bool {
        let Some(asked) = self.asked.get_mut(&block) else { return false };
        asked.of.retain(|&(other, _)| other != connection);
        if !asked.of.is_empty() {
            return false;
        }
        let priority = asked.priority;
        self.asked.remove(&block);
        self.queues.entry(Reverse(priority)).or_default().insert(block..block + 1);
        self.version += 1;
        true
    }

    /// How many blocks below `limit` are wanted, asked ones included.
    pub(crate) fn count_below(&self, limit: u64) -> u64 {
        let queued: u64 = self.queues.values().map(|queue| queue.count_within(0..limit)).sum();
        queued + self.asked.len() as u64
    }

    /// How many blocks are asked for.
    pub(crate) fn asked_count(&self) -> u64 {
        self.asked.len() as u64
    }

    fn find_queued(&self, holdings: &Holdings, limit: u64) -> Option<(u64, u64)> {
        for (&Reverse(priority), queue) in &self.queues {
            for stretch in queue.within(0..limit) {
                if let Some(block) = holdings.next_within(stretch) {
                    return Some((block, priority));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Next, Wants};
    use crate::event::ConnectionId;
    use crate::holdings::{Holdings, PageBudget};
    use crate::limits::HEDGE_AFTER;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);
    const C: ConnectionId = ConnectionId(3);

    fn holder(len: u64) -> Holdings {
        let mut held = Holdings::default();
        held.add(0..len, &mut PageBudget::default());
        held
    }

    fn block(next: Next) -> Option<u64> {
        match next {
            Next::Block { block, .. } => Some(block),
            Next::Nothing { .. } => None,
        }
    }

    /// Higher priorities go first, then lower numbers; each block goes to one remote only, and
    /// nothing beyond the verified length or outside what the remote has is asked for.
    #[test]
    fn hands_out_each_block_once_in_order() {
        let (mut wants, now, held) = (Wants::default(), Instant::now(), holder(6));
        wants.add(0..u64::MAX, 0);
        wants.add(4..5, 1);
        wants.add(3..5, 0);
        let mut order = Vec::new();
        for connection in [A, B].into_iter().cycle() {
            let Some(block) = block(wants.next(connection, &held, 8, now)) else { break };
            order.push(block);
        }
        assert_eq!(order, [4, 0, 1, 2, 3, 5]);
        assert_eq!(wants.count_below(8), 8, "6 asked, 2 that nobody has");
    }

    /// What one remote fails to deliver is queued again at its old priority; a connection gets
    /// back only what nobody else was asked for.
    #[test]
    fn undelivered_blocks_are_queued_again() {
        let (mut wants, now, held) = (Wants::default(), Instant::now(), holder(4));
        wants.add(0..2, 0);
        wants.add(2..4, 7);
        assert_eq!(block(wants.next(A, &held, 4, now)), Some(2));
        let before = wants.version();
        assert!(wants.give_back(2, A));
        assert!(wants.version() > before);
        assert_eq!(wants.next(B, &held, 4, now), Next::Block { block: 2, priority: 7 });
        assert!(!wants.give_back(2, A), "A is not asked for it any more");
    }

    /// A block that is slow to come is asked of one more remote, not of the same and not of a
    /// third; when it comes, the other is named so that it can be told.
    #[test]
    fn slow_blocks_are_asked_of_a_second_remote() {
        let (mut wants, start, held) = (Wants::default(), Instant::now(), holder(4));
        wants.add(1..2, 0);
        assert_eq!(block(wants.next(A, &held, 4, start)), Some(1));
        let Next::Nothing { look_again } = wants.next(B, &held, 4, start) else { panic!("early") };
        assert_eq!(look_again, Some(start + HEDGE_AFTER));
        let later = start + HEDGE_AFTER;
        assert_eq!(block(wants.next(A, &held, 4, later)), None);
        assert_eq!(block(wants.next(B, &held, 1, later)), None, "beyond what it can prove");
        assert_eq!(block(wants.next(B, &held, 4, later)), Some(1));
        assert_eq!(block(wants.next(C, &held, 4, later + Duration::from_secs(60))), None);
        assert_eq!(wants.stored(1, Some(B)), [A]);
        assert_eq!(wants.count_below(4), 0);
    }

    /// What is no longer wanted is neither queued nor asked; who was asked is named.
    #[test]
    fn unwanted_blocks_are_forgotten() {
        let (mut wants, now, held) = (Wants::default(), Instant::now(), holder(10));
        wants.add(0..10, 0);
        assert_eq!(block(wants.next(A, &held, 10, now)), Some(0));
        assert_eq!(block(wants.next(B, &held, 10, now)), Some(1));
        assert_eq!(wants.remove(1..8), [(1, B)]);
        assert!(!wants.give_back(1, B), "a late failure does not bring it back");
        assert_eq!(wants.first_queued(0, 10), Some(8..10));
        assert_eq!(wants.stored(8, None), []);
        assert_eq!(wants.first_queued(0, 10), Some(9..10));
    }
}
