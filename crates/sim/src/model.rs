//! What devices should show: a model of the merge rules that is simple enough to be right.
//!
//! It knows every write, and what its author had applied when it wrote. From a device's clock it
//! follows what that device shows: of the writes that the clock covers, those that no other covered
//! write had seen; of these what their types and the rules make.

use std::collections::BTreeMap;
use std::ops::Range;

use multibee::{DeviceId, Dot, PLAIN};

use crate::keys::{self, Slot};
use crate::typed::{Stamp, State};

/// A device's clock: for each author, how many blocks of its log are applied.
pub(crate) type Lengths = Vec<u64>;

/// How far a device is: by its clock, and in some keys beyond it, in the midst of absorbing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) common: Lengths,
    pub(crate) beyond: BTreeMap<Slot, Lengths>,
}

/// One write of one key, or rule.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// Who wrote it, by the number of the log.
    pub(crate) author: usize,
    pub(crate) dot: Dot,
    /// A clock that reaches this block covers it: the end of its commit.
    pub(crate) end: u64,
    /// What its author had applied before; once [added](Model::add), also what the versions that
    /// it saw had seen of their key.
    pub(crate) seen: Lengths,
    pub(crate) kind: u32,
    /// The value, or a delete.
    pub(crate) value: Option<Vec<u8>>,
    /// What it means, if it is of a mergeable type.
    pub(crate) state: Option<State>,
    pub(crate) time: u64,
    /// Whether its author was told that it is safe.
    pub(crate) is_durable: bool,
}

/// What a key shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The foremost first.
    pub(crate) values: Vec<Value>,
    /// Whether it is listed as a conflict.
    pub(crate) is_conflict: bool,
}

/// A value that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) value: Vec<u8>,
    pub(crate) kind: u32,
    /// Versions beside those it comes from.
    pub(crate) others: usize,
}

/// All writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    slots: BTreeMap<Slot, Vec<Write>>,
    /// The end of each author's last commit.
    ends: BTreeMap<usize, u64>,
}

impl Clocks {
    /// What is applied of a key.
    pub(crate) fn of(&self, slot: Slot) -> &[u64] {
        self.beyond.get(&slot).unwrap_or(&self.common)
    }
}

impl Write {
    pub(crate) fn stamp(&self) -> Stamp {
        (self.time, self.dot)
    }

    fn supersedes(&self, other: &Self) -> bool {
        self.seen.get(other.author).is_some_and(|&seen| seen >= other.end)
    }

    fn is_covered(&self, clock: &[u64]) -> bool {
        clock.get(self.author).is_some_and(|&length| length >= self.end)
    }
}

impl Model {
    pub(crate) fn add(&mut self, slot: Slot, mut write: Write) {
        let applied = write.seen.clone();
        for other in self.slots.get(&slot).into_iter().flatten() {
            if other.is_covered(&applied) {
                raise(&mut write.seen, &other.seen);
            }
        }
        let end = self.ends.entry(write.author).or_default();
        *end = write.end.max(*end);
        self.slots.entry(slot).or_default().push(write);
    }

    /// Everything that was ever written.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.slots.keys().copied().collect()
    }

    /// The end of the last commit that wrote it, if anybody did.
    pub(crate) fn end_of(&self, slot: Slot) -> Option<u64> {
        self.slots.get(&slot)?.iter().map(|write| write.end).max()
    }

    /// The end of a device's last commit that is known to have happened.
    pub(crate) fn end(&self, device: usize) -> u64 {
        self.ends.get(&device).copied().unwrap_or_default()
    }

    /// The versions of a key at a clock that no other has superseded, by dot.
    pub(crate) fn versions(&self, slot: Slot, clock: &[u64]) -> Vec<&Write> {
        let Some(writes) = self.slots.get(&slot) else { return Vec::new() };
        let covered: Vec<_> = writes.iter().filter(|write| write.is_covered(clock)).collect();
        let is_latest = |one: &&&Write| !covered.iter().any(|other| other.supersedes(one));
        let mut latest: Vec<_> = covered.iter().filter(is_latest).copied().collect();
        latest.sort_by_key(|write| write.dot);
        latest
    }

    /// The clock that a key has reached where these versions of it are held: what they had seen is
    /// applied, too. `None` if nobody wrote one of them.
    pub(crate) fn reached(&self, slot: Slot, clock: &[u64], held: &[Dot]) -> Option<Lengths> {
        let mut reached = clock.to_vec();
        for dot in held {
            let write = self.slots.get(&slot)?.iter().find(|write| write.dot == *dot)?;
            raise(&mut reached, &write.seen);
            if let Some(length) = reached.get_mut(write.author) {
                *length = write.end.max(*length);
            }
        }
        Some(reached)
    }

    /// A clock, and beyond it what had been seen by those writes of a key that it covers.
    pub(crate) fn with_seen(&self, slot: Slot, clock: &[u64]) -> Lengths {
        let mut seen = clock.to_vec();
        let writes = self.slots.get(&slot).into_iter().flatten();
        writes.filter(|write| write.is_covered(clock)).for_each(|one| raise(&mut seen, &one.seen));
        seen
    }

    /// What a key shows.
    pub(crate) fn shown(&self, key: u16, clocks: &Clocks) -> Shown {
        let slot = Slot::Key(key);
        let versions = self.versions(slot, clocks.of(slot));
        resolve(&versions, self.rule(key, clocks).0)
    }

    /// The rule for a key: which strategy, and which type a plain put writes.
    pub(crate) fn rule(&self, key: u16, clocks: &Clocks) -> (&'static str, u32) {
        let key = keys::key(key);
        let rules = self.rules(clocks).into_iter();
        let mine = rules.filter(|(prefix, _)| key.starts_with(keys::prefix(*prefix).as_bytes()));
        let longest = mine.max_by_key(|(prefix, _)| keys::prefix(*prefix).len());
        longest.map_or(keys::DEFAULT_RULE, |(_, rule)| rule)
    }

    /// All rules, by the numbers of their prefixes.
    pub(crate) fn rules(&self, clocks: &Clocks) -> BTreeMap<u8, (&'static str, u32)> {
        let mut rules = BTreeMap::new();
        for slot in self.slots.range(Slot::Rule(0)..).map(|(slot, _)| *slot) {
            let Slot::Rule(prefix) = slot else { continue };
            let versions = self.versions(slot, clocks.of(slot));
            let set = versions.iter().filter(|write| write.value.is_some());
            if let Some(last) = set.max_by_key(|write| write.stamp()) {
                let number = last.value.as_ref().and_then(|value| value.first().copied());
                rules.insert(prefix, keys::rule(number.unwrap_or_default()));
            }
        }
        rules
    }

    /// A device came back with its log up to this length: what lay beyond never happened.
    /// Returns one of the writes that it had called safe, if one is gone.
    pub(crate) fn recover(&mut self, device: usize, length: u64) -> Option<Write> {
        let mut broken = None;
        for writes in self.slots.values_mut() {
            writes.retain(|write| {
                let is_lost = write.author == device && write.end > length;
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

    /// The writes of a device are known by another id.
    pub(crate) fn rename(&mut self, from: DeviceId, to: DeviceId) {
        for write in self.slots.values_mut().flatten() {
            if write.dot.device == from {
                write.dot.device = to;
            }
            if let Some(state) = &mut write.state {
                state.rename(from, to, &(0..u64::MAX));
            }
        }
    }

    /// What one wrote in these blocks was written by another: of each its number and its id.
    pub(crate) fn part(
        &mut self,
        (from, id): (usize, DeviceId),
        (to, named): (usize, DeviceId),
        blocks: &Range<u64>,
    ) {
        for write in self.slots.values_mut().flatten() {
            if write.author == from && blocks.contains(&write.dot.seq) {
                (write.author, write.dot.device) = (to, named);
            }
            if let Some(state) = &mut write.state {
                state.rename(id, named, blocks);
            }
            let count = write.seen.len().max(to + 1);
            write.seen.resize(count, 0);
            let seen = write.seen.get(from).copied().unwrap_or_default();
            if blocks.start < seen && seen <= blocks.end {
                write.seen[to] = seen.max(write.seen[to]);
                write.seen[from] = blocks.start;
            }
        }
        let end = self.ends.entry(to).or_default();
        *end = blocks.end.max(*end);
    }

    /// What one wrote was written by another.
    pub(crate) fn give(&mut self, from: usize, to: usize) {
        let end = self.ends.remove(&from).unwrap_or_default();
        let before = self.ends.entry(to).or_default();
        *before = end.max(*before);
        for write in self.slots.values_mut().flatten() {
            if write.author == from {
                write.author = to;
            }
            if let Some(seen) = write.seen.get_mut(from).map(std::mem::take)
                && let Some(of) = write.seen.get_mut(to)
            {
                *of = seen.max(*of);
            }
        }
    }

    /// All writes of a key, for a person to read.
    pub(crate) fn tell(&self, slot: Slot) -> String {
        let writes = self.slots.get(&slot).into_iter().flatten();
        let texts = writes.map(|write| {
            let Write { author, end, seen, kind, dot, .. } = write;
            let what = match &write.value {
                Some(value) => format!("{:?}", short(value)),
                None => "delete".into(),
            };
            let (at, time) = (dot.seq, write.time);
            format!("{what} ({kind}) by {author} in {at}..{end} at {time} having seen {seen:?}")
        });
        texts.collect::<Vec<_>>().join("; ")
    }

    /// Whether writes of a device lie beyond this length.
    pub(crate) fn reaches_beyond(&self, device: usize, length: u64) -> bool {
        self.end(device) > length
    }
}

/// The beginning of a value, for a person to read.
pub(crate) fn short(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(24).collect()
}

fn raise(lengths: &mut Lengths, others: &[u64]) {
    for (length, other) in lengths.iter_mut().zip(others) {
        *length = (*other).max(*length);
    }
}

/// All live versions of one type, joined.
pub(crate) fn joined(versions: &[&Write], kind: u32) -> Option<State> {
    let live = versions.iter().filter(|write| write.value.is_some() && write.kind == kind);
    let mut states = live.filter_map(|write| write.state.clone());
    let first = states.next()?;
    Some(states.fold(first, |sum, state| sum.join(&state)))
}

/// What concurrent versions show, under a strategy.
pub(crate) fn resolve(versions: &[&Write], strategy: &str) -> Shown {
    let mut candidates: Vec<(Stamp, Option<Value>)> = Vec::new();
    let mut kinds: BTreeMap<u32, (Stamp, usize)> = BTreeMap::new();
    for write in versions {
        match &write.value {
            None => candidates.push((write.stamp(), None)),
            Some(value) if write.kind == PLAIN => {
                let (value, others) = (value.clone(), versions.len() - 1);
                candidates.push((write.stamp(), Some(Value { value, kind: PLAIN, others })));
            }
            Some(_) => {
                let (latest, count) = kinds.entry(write.kind).or_insert((write.stamp(), 0));
                *latest = write.stamp().max(*latest);
                *count += 1;
            }
        }
    }
    for (kind, (latest, count)) in kinds {
        let value = joined(versions, kind).map(|state| state.value(kind)).unwrap_or_default();
        candidates.push((latest, Some(Value { value, kind, others: versions.len() - count })));
    }
    let is_live = candidates.iter().any(|(_, value)| value.is_some());
    let is_conflict = is_live && candidates.len() > 1;
    let is_hidden = candidates.iter().any(|(_, value)| value.is_none())
        && strategy == multibee::Strategies::DELETE_WINS;
    candidates.sort_by_key(|(stamp, _)| std::cmp::Reverse(*stamp));
    let mut values: Vec<Value> = candidates.into_iter().filter_map(|(_, value)| value).collect();
    if strategy != multibee::Strategies::KEEP_ALL {
        values.truncate(1);
    }
    if is_hidden {
        values.clear();
    }
    Shown { values, is_conflict }
}
