//! Which runs of one log were asked for, and of whom.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::event::ConnectionId;
use crate::holdings::Holdings;
use crate::limits::ASKERS_MAX;

/// Runs that were asked for and are not here, by their first block. They share no block.
///
/// While a run is asked for, its blocks are in no queue of [`Wants`](crate::wants::Wants).
#[derive(Debug, Default)]
pub(crate) struct AskedRuns {
    runs: BTreeMap<u64, AskedRun>,
}

#[derive(Debug)]
struct AskedRun {
    end: u64,
    /// Not empty, at most [`ASKERS_MAX`]. With each, how long it has before another one is asked.
    of: Vec<(ConnectionId, Instant)>,
}

impl AskedRuns {
    /// Notes that a run is asked of a remote, which has until then before another one is asked.
    pub(crate) fn ask(&mut self, run: Range<u64>, connection: ConnectionId, until: Instant) {
        let of =
            &mut self.runs.entry(run.start).or_insert(AskedRun { end: run.end, of: Vec::new() }).of;
        of.push((connection, until));
    }

    /// A run is here. Returns who else was asked for it.
    pub(crate) fn stored(&mut self, start: u64, from: ConnectionId) -> Vec<ConnectionId> {
        let of = self.runs.remove(&start).map(|run| run.of).unwrap_or_default();
        let others = of.into_iter().map(|(connection, _)| connection);
        others.filter(|connection| *connection != from).collect()
    }

    /// A remote did not deliver a run. Returns its blocks if nobody else is asked for them.
    pub(crate) fn give_back(&mut self, start: u64, connection: ConnectionId) -> Option<Range<u64>> {
        let run = self.runs.get_mut(&start)?;
        run.of.retain(|(other, _)| *other != connection);
        if !run.of.is_empty() {
            return None;
        }
        self.runs.remove(&start).map(|run| start..run.end)
    }

    /// Forgets the runs with any of these blocks. Returns them, and who was asked for each.
    pub(crate) fn remove(&mut self, blocks: &Range<u64>) -> Vec<(Range<u64>, ConnectionId)> {
        let found: Vec<u64> = self.within(blocks).map(|run| run.start).collect();
        let mut removed = Vec::new();
        for start in found {
            if let Some(run) = self.runs.remove(&start) {
                removed.extend(run.of.iter().map(|(connection, _)| (start..run.end, *connection)));
            }
        }
        removed
    }

    /// The runs with any of these blocks.
    pub(crate) fn within(&self, blocks: &Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let (from, to) = (blocks.start, blocks.end);
        let before = self.runs.range(..from).next_back().filter(move |(_, run)| run.end > from);
        before
            .into_iter()
            .chain(self.runs.range(from..to.max(from)))
            .map(|(start, run)| *start..run.end)
    }

    /// A run that another remote is slow to deliver, and this one could.
    pub(crate) fn stalled(
        &self,
        connection: ConnectionId,
        holdings: &Holdings,
        limit: u64,
        now: Instant,
    ) -> Option<Range<u64>> {
        let is_slow = |run: &AskedRun| {
            run.of.len() < ASKERS_MAX
                && run.of.iter().all(|&(other, until)| other != connection && until <= now)
        };
        let mut slow = self.runs.iter().filter(|(_, run)| run.end <= limit && is_slow(run));
        let found =
            slow.find(|(start, run)| (**start..run.end).all(|block| holdings.contains(block)));
        found.map(|(start, run)| *start..run.end)
    }

    /// When a run that is asked of others may be asked of this remote, too.
    pub(crate) fn look_again(&self, connection: ConnectionId, now: Instant) -> Option<Instant> {
        let others = self.runs.values().filter(|run| {
            run.of.len() < ASKERS_MAX && run.of.iter().all(|(other, _)| *other != connection)
        });
        let times = others.filter_map(|run| run.of.iter().map(|(_, until)| *until).max());
        times.filter(|until| *until > now).min()
    }

    /// Blocks in all runs.
    pub(crate) fn block_count(&self) -> u64 {
        self.runs.iter().map(|(start, run)| run.end - start).sum()
    }
}
