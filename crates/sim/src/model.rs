//! What devices should show: a model of the merge rules that is simple enough to be right.
//!
//! It knows every write, and what its author had applied when it wrote. From a device's clock it
//! follows what that device shows: of the writes that the clock covers, those that no other covered
//! write had seen; of the values among them the latest.

use std::collections::BTreeMap;

use crate::plan::Change;

/// A device's clock: for each device, how many blocks of its log are applied.
pub(crate) type Lengths = Vec<u64>;

/// One write of one key.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// Who wrote it.
    pub(crate) device: usize,
    /// A clock that reaches this block covers it: the end of its commit.
    pub(crate) end: u64,
    /// What its author had applied before; once [added](Model::add), also what the versions that
    /// it saw had seen of their key.
    pub(crate) seen: Lengths,
    /// The value, or a delete.
    pub(crate) value: Option<Vec<u8>>,
    /// The author's stamp and id: they order concurrent values.
    pub(crate) order: (u64, u64),
    /// Whether its author was told that it is safe.
    pub(crate) is_durable: bool,
}

/// What a key shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) value: Vec<u8>,
    /// Versions beside the one that is shown.
    pub(crate) others: usize,
}

/// A write that nobody knows to have happened: its device failed within.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) changes: Vec<(Change, Option<Vec<u8>>)>,
    pub(crate) seen: Lengths,
}

/// All writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    keys: BTreeMap<u16, Vec<Write>>,
    /// The end of each device's last commit.
    ends: BTreeMap<usize, u64>,
}

impl Write {
    fn supersedes(&self, other: &Self) -> bool {
        self.seen.get(other.device).is_some_and(|&seen| seen >= other.end)
    }

    fn is_covered(&self, clock: &[u64]) -> bool {
        clock.get(self.device).is_some_and(|&length| length >= self.end)
    }
}

impl Model {
    pub(crate) fn add(&mut self, key: u16, mut write: Write) {
        let applied = write.seen.clone();
        for other in self.keys.get(&key).into_iter().flatten() {
            if other.is_covered(&applied) {
                for (seen, theirs) in write.seen.iter_mut().zip(&other.seen) {
                    *seen = (*theirs).max(*seen);
                }
            }
        }
        let end = self.ends.entry(write.device).or_default();
        *end = write.end.max(*end);
        self.keys.entry(key).or_default().push(write);
    }

    /// All keys that were ever written.
    pub(crate) fn keys(&self) -> Vec<u16> {
        self.keys.keys().copied().collect()
    }

    /// The end of a device's last commit that is known to have happened.
    pub(crate) fn end(&self, device: usize) -> u64 {
        self.ends.get(&device).copied().unwrap_or_default()
    }

    /// The versions of a key at a clock that no other has superseded.
    pub(crate) fn versions(&self, key: u16, clock: &[u64]) -> Vec<&Write> {
        let Some(writes) = self.keys.get(&key) else { return Vec::new() };
        let covered: Vec<_> = writes.iter().filter(|write| write.is_covered(clock)).collect();
        let is_latest = |one: &&&Write| !covered.iter().any(|other| other.supersedes(one));
        covered.iter().filter(is_latest).copied().collect()
    }

    /// What a key shows at a clock.
    pub(crate) fn shown(&self, key: u16, clock: &[u64]) -> Option<Shown> {
        let versions = self.versions(key, clock);
        let values = versions.iter().filter_map(|write| Some((write.order, write.value.clone()?)));
        let (_, value) = values.max_by_key(|(order, _)| *order)?;
        Some(Shown { value, others: versions.len() - 1 })
    }

    /// Everything that is shown at a clock.
    pub(crate) fn view(&self, clock: &[u64]) -> BTreeMap<u16, Shown> {
        self.keys.keys().filter_map(|&key| Some((key, self.shown(key, clock)?))).collect()
    }

    /// The greatest stamp among the versions of a key: a write that supersedes them is later.
    pub(crate) fn latest(&self, key: u16, clock: &[u64]) -> u64 {
        let times = self.versions(key, clock).into_iter().map(|write| write.order.0);
        times.max().unwrap_or_default()
    }

    /// A device came back with its log up to this length: what lay beyond never happened.
    /// Returns one of the writes that it had called safe, if one is gone.
    pub(crate) fn recover(&mut self, device: usize, length: u64) -> Option<Write> {
        let mut broken = None;
        for writes in self.keys.values_mut() {
            writes.retain(|write| {
                let is_lost = write.device == device && write.end > length;
                if is_lost && write.is_durable {
                    broken = Some(write.clone());
                }
                !is_lost
            });
        }
        if let Some(end) = self.ends.get_mut(&device) {
            *end = length.min(*end);
        }
        broken
    }

    /// All writes of a key, for a person to read.
    pub(crate) fn tell(&self, key: u16) -> String {
        let writes = self.keys.get(&key).into_iter().flatten();
        let texts = writes.map(|write| {
            let Write { device, end, seen, order, .. } = write;
            let what = if write.value.is_some() { "put" } else { "delete" };
            format!("{what} by {device} up to {end} at {} having seen {seen:?}", order.0)
        });
        texts.collect::<Vec<_>>().join("; ")
    }

    /// Whether writes of a device lie beyond this length.
    pub(crate) fn reaches_beyond(&self, device: usize, length: u64) -> bool {
        self.end(device) > length
    }
}
