//! The causal context that a state carries: which writes of its key it knows.

use std::collections::BTreeMap;

use crate::codec::{Reader, Writer};
use crate::{DeviceId, Dot, Renaming, StateError};

/// What is known of one device's writes to the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Writes {
    /// The last one known, deletes included.
    latest: u64,
    /// Half-open runs of dots that the state knows, ascending, with gaps between them. Writes
    /// that a delete of the key has ended are not among them.
    runs: Vec<(u64, u64)>,
}

/// The dots that a state knows. A dot that is known and holds no fact was removed.
///
/// A run may name blocks that hold other keys: only dots of this key are ever looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<DeviceId, Writes>);

impl Seen {
    pub(crate) fn covers(&self, dot: Dot) -> bool {
        self.0.get(&dot.device).is_some_and(|writes| {
            writes.runs.iter().any(|&(from, end)| from <= dot.seq && dot.seq < end)
        })
    }

    /// Takes in a write. The run goes on only if nothing, no delete either, came in between.
    pub(crate) fn record(&mut self, dot: Dot) {
        let end = dot.seq.saturating_add(1);
        let writes = self.0.entry(dot.device).or_default();
        match writes.runs.last_mut() {
            Some((_, last)) if *last == writes.latest.saturating_add(1) && *last <= end => {
                *last = end;
            }
            _ => writes.runs.push((dot.seq, end)),
        }
        normalize(&mut writes.runs);
        writes.latest = writes.latest.max(dot.seq);
    }

    /// What a delete by `dot` remembers: the last write of each device, and none of the runs.
    pub(crate) fn forget(&mut self, dot: Dot) {
        for writes in self.0.values_mut() {
            writes.runs.clear();
        }
        let writes = self.0.entry(dot.device).or_default();
        writes.latest = writes.latest.max(dot.seq);
    }

    /// The union.
    pub(crate) fn join(&mut self, other: &Self) {
        for (device, theirs) in &other.0 {
            let ours = self.0.entry(*device).or_default();
            ours.latest = ours.latest.max(theirs.latest);
            ours.runs.extend(&theirs.runs);
            normalize(&mut ours.runs);
        }
    }

    /// Other names for the writes that a renaming concerns.
    pub(crate) fn rename(&mut self, renaming: &Renaming) {
        let Some(writes) = self.0.get_mut(&renaming.device) else { return };
        let from = renaming.from;
        if writes.latest < from {
            return;
        }
        let mut branch = Writes { latest: writes.latest, runs: Vec::new() };
        // The log's own last write before is not known, and it writes no more: the highest that it
        // can be joins with any.
        writes.latest = from.saturating_sub(1);
        branch.runs.extend(
            writes.runs.iter().filter(|run| run.1 > from).map(|run| (run.0.max(from), run.1)),
        );
        writes.runs.retain_mut(|run| {
            run.1 = run.1.min(from);
            run.0 < run.1
        });
        let known = self.0.entry(renaming.to).or_default();
        known.latest = known.latest.max(branch.latest);
        known.runs.extend(branch.runs);
        normalize(&mut known.runs);
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.count(self.0.len());
        for (device, writes) in &self.0 {
            out.device(*device);
            out.varint(writes.latest);
            out.count(writes.runs.len());
            for (from, end) in &writes.runs {
                out.varint(*from);
                out.varint(end - from);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut seen = Self::default();
        for _ in 0..reader.varint()? {
            let device = reader.device()?;
            let mut writes = Writes { latest: reader.varint()?, runs: Vec::new() };
            for _ in 0..reader.varint()? {
                let (from, len) = (reader.varint()?, reader.varint()?);
                let end = from.checked_add(len).filter(|_| len > 0);
                writes.runs.push((from, end.ok_or(StateError::Malformed { what: "a run" })?));
            }
            normalize(&mut writes.runs);
            seen.0.insert(device, writes);
        }
        Ok(seen)
    }
}

/// Sorts runs and fuses those that touch.
fn normalize(runs: &mut Vec<(u64, u64)>) {
    runs.sort_unstable();
    runs.dedup_by(|next, run| {
        let touches = next.0 <= run.1;
        if touches {
            run.1 = run.1.max(next.1);
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run grows over writes elsewhere, but not over a delete of the key.
    #[test]
    fn a_delete_ends_a_run() {
        let dot = |seq| Dot { device: DeviceId::from_u64(1), seq };
        let mut seen = Seen::default();
        seen.record(dot(5));
        seen.record(dot(8));
        let kept = seen.clone();
        seen.forget(dot(9));
        seen.join(&kept);
        seen.record(dot(12));
        assert!([5, 6, 8, 12].into_iter().all(|seq| seen.covers(dot(seq))));
        assert!([4, 9, 10, 13].into_iter().all(|seq| !seen.covers(dot(seq))));
    }
}
