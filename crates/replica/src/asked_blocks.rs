//! Which single blocks of one log were asked for, and of whom.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::event::ConnectionId;
use crate::limits::{ASKERS_MAX, HEDGE_MIN, HEDGED_MAX};
use crate::wants::{Next, Seeker};

/// Blocks that were asked for one by one and are not here. Those of runs are
/// [elsewhere](crate::asked_runs::AskedRuns).
#[derive(Debug, Default)]
pub(crate) struct AskedBlocks {
    blocks: BTreeMap<u64, AskedBlock>,
    /// Blocks that are asked of more than one.
    hedged_count: usize,
}

#[derive(Debug)]
struct AskedBlock {
    priority: u64,
    /// Not empty, at most [`ASKERS_MAX`]. With each, how long it has before another one is asked.
    of: Vec<(ConnectionId, Instant)>,
}

impl AskedBlocks {
    /// Whether a block is asked for.
    pub(crate) fn contains(&self, block: u64) -> bool {
        self.blocks.contains_key(&block)
    }

    /// How many blocks are asked for.
    pub(crate) fn count(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// How many of them are asked of more than one remote.
    #[cfg(test)]
    pub(crate) fn hedged_count(&self) -> usize {
        self.hedged_count
    }

    /// Notes that a block is asked of a remote, which has until then before another one is asked.
    pub(crate) fn ask(
        &mut self,
        block: u64,
        priority: u64,
        connection: ConnectionId,
        until: Instant,
    ) {
        self.blocks.insert(block, AskedBlock { priority, of: vec![(connection, until)] });
    }

    /// Asks a remote for a block that another one has had its time to deliver, if there is one. It
    /// has until then itself.
    pub(crate) fn ask_late(&mut self, seeker: &Seeker<'_>, until: Instant) -> Next {
        let &Seeker { connection, holdings, limit, now, is_full } = seeker;
        // Then time alone does not tell when there is room for more.
        let is_crowded = self.hedged_count >= HEDGED_MAX;
        let mut look_again = is_crowded.then(|| now + HEDGE_MIN);
        for (&block, asked) in self.blocks.range_mut(..limit) {
            let is_open = asked.of.len() < ASKERS_MAX
                && !is_crowded
                && asked.of.iter().all(|(other, _)| *other != connection)
                && (asked.priority > 0 || !is_full);
            let last = asked.of.iter().map(|(_, until)| *until).max().filter(|_| is_open);
            let Some(had_until) = last.filter(|_| holdings.contains(block)) else { continue };
            if had_until <= now {
                self.hedged_count += 1;
                asked.of.push((connection, until));
                return Next::Block { block, priority: asked.priority };
            }
            look_again = Some(look_again.map_or(had_until, |at| at.min(had_until)));
        }
        Next::Nothing { look_again }
    }

    /// Gives blocks at least this priority. Returns those of them that are asked for.
    pub(crate) fn raise(
        &mut self,
        blocks: Range<u64>,
        priority: u64,
    ) -> impl Iterator<Item = u64> + '_ {
        self.blocks.range_mut(blocks).map(move |(&block, asked)| {
            asked.priority = asked.priority.max(priority);
            block
        })
    }

    /// Forgets blocks. Returns those that were asked for, and of whom.
    pub(crate) fn remove(&mut self, blocks: Range<u64>) -> Vec<(u64, ConnectionId)> {
        let asked: Vec<u64> = self.blocks.range(blocks).map(|(&block, _)| block).collect();
        let mut removed = Vec::new();
        for block in asked {
            let of = self.take(block).map(|asked| asked.of).unwrap_or_default();
            removed.extend(of.into_iter().map(|(connection, _)| (block, connection)));
        }
        removed
    }

    /// A block is here. Returns who else was asked for it, if anybody was.
    pub(crate) fn stored(
        &mut self,
        block: u64,
        from: Option<ConnectionId>,
    ) -> Option<Vec<ConnectionId>> {
        let of = self.take(block)?.of.into_iter().map(|(connection, _)| connection);
        Some(of.filter(|&connection| Some(connection) != from).collect())
    }

    /// A remote did not deliver a block. Returns its priority if nobody else is asked for it: then
    /// it is forgotten.
    pub(crate) fn give_back(&mut self, block: u64, connection: ConnectionId) -> Option<u64> {
        let mut asked = self.take(block)?;
        asked.of.retain(|&(other, _)| other != connection);
        if asked.of.is_empty() {
            return Some(asked.priority);
        }
        self.hedged_count += usize::from(asked.of.len() > 1);
        self.blocks.insert(block, asked);
        None
    }

    fn take(&mut self, block: u64) -> Option<AskedBlock> {
        let asked = self.blocks.remove(&block)?;
        self.hedged_count -= usize::from(asked.of.len() > 1);
        Some(asked)
    }
}
