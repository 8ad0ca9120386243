//! Joining another database's whole state, rather than its writes one by one.
//!
//! [`Absorb`] compares two versions of another log's tree: one whose clock ours covers, and the
//! one to be absorbed. Every key in which they differ is joined, then the clocks. Where no version
//! is covered, all keys of both databases are joined: a key that one side lacks is decided by that
//! side's clock. A plain Hyperbee is absorbed likewise: its clock is its length.
//!
//! Nothing here waits or asks: [`Absorb::next`] says which blocks it needs, and is called again
//! when they are there. Nothing is written here, either: what comes out is joined by
//! [`Primary::absorb`](crate::primary::Primary::absorb).

mod base;
mod joining;
mod landmark;
mod theirs;

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use multibee_btree::{Bee, Diff, RangeOptions, Tree};
use multibee_merge::{Clock, DeviceId, State};

use crate::Error;
use crate::aside::Outline;
use crate::catch_up::Limits;
use crate::follow::FollowError;
use crate::keyspace::{self, Place};
use crate::merging::device_of;
use crate::statement::Statement;
use landmark::{Hindrance, SparseLog};
use theirs::{Lookup, Theirs};

/// Bytes in one batch, about: it is held in memory.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Keys that are looked up together, so that what they lack is asked for together.
const LOOKUPS_MAX: usize = if cfg!(test) { 3 } else { 1024 };
/// Own records that are looked through in one step.
const OWN_RECORDS_MAX: u64 = if cfg!(test) { 3 } else { 4096 };

/// What is absorbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The primary of another device.
    Device,
    /// A plain Hyperbee.
    Plain,
}

/// Our side, as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    /// The clock with this device's own log in it.
    pub(crate) clock: &'a Clock,
    pub(crate) bee: &'a Bee,
    pub(crate) device: DeviceId,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum AbsorbStep {
    /// The state to be absorbed has seen this. Told once: compare it with ours, then go on.
    Target(Clock),
    /// These blocks are wanted first; those that were told before are left out.
    Need(Vec<Range<u64>>),
    /// This is to be joined next.
    Ready(Batch),
    /// More blocks are needed than was allowed. This is the end.
    TooFar,
    /// Everything is joined.
    Done,
}

/// Keys and statements to be joined in one commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) keys: Vec<(Bytes, State)>,
    /// Records that all devices share, by their stored keys.
    pub(crate) shared: Vec<(Bytes, State)>,
    pub(crate) statements: Vec<Statement>,
    /// What the other database had seen.
    pub(crate) clock: Clock,
    /// What some of its records may have seen beyond.
    pub(crate) ahead: Clock,
    /// With this batch everything is joined: the clocks are joined, too.
    pub(crate) is_last: bool,
    bytes: usize,
}

/// Absorbs one version of one log.
#[derive(Debug)]
pub(crate) struct Absorb {
    log: SparseLog,
    origin: Origin,
    device: DeviceId,
    version: u64,
    /// Versions that our clock may cover.
    hints: Vec<u64>,
    /// Blocks that may be fetched to find out how much differs; `None` if that does not matter.
    budget: Option<u64>,
    stage: Stage,
    batch: Batch,
    lookups: Vec<Lookup>,
    /// Blocks that were told to be needed last.
    waiting: BTreeSet<u64>,
    fetched: u64,
    batch_keys_max: usize,
    /// All keys are compared, whatever is covered.
    compares_all: bool,
    /// Keys that were found to differ, and those that were handed out.
    found: Option<u64>,
    walked: u64,
}

#[derive(Debug)]
enum Stage {
    /// What has the version seen?
    Target,
    /// From which version on is it news?
    Base(base::Search),
    /// How much differs? The second diff is to be walked then.
    Survey(Box<Diff>, Box<Walk>),
    /// All keys that differ.
    Walk(Box<Walk>),
    /// Without a base: keys of ours that they may lack, behind this one.
    Rest(Theirs, Option<Bytes>),
    /// What is in the batch is the last.
    Last,
    Done,
}

#[derive(Clone, Debug)]
struct Walk {
    diff: Diff,
    theirs: Theirs,
    /// The diff is against the empty tree, though we may hold keys that they lack.
    is_whole: bool,
    is_over: bool,
}

impl Absorb {
    /// Absorbs the version of `bee` with this length.
    ///
    /// `hints` are versions that our clock may cover. With a `budget`, nothing is joined before it
    /// is known that no more blocks than that are needed.
    pub(crate) fn new(
        bee: Bee,
        origin: Origin,
        version: u64,
        hints: Vec<u64>,
        budget: Option<u64>,
    ) -> Self {
        let author = bee.log().key();
        Self {
            log: SparseLog { bee, author },
            origin,
            device: device_of(&author),
            version,
            hints,
            budget,
            stage: Stage::Target,
            batch: Batch::default(),
            lookups: Vec::new(),
            waiting: BTreeSet::new(),
            fetched: 0,
            batch_keys_max: Limits::default().absorb_keys,
            compares_all: false,
            found: None,
            walked: 0,
        }
    }

    /// Hands out so many keys at once.
    pub(crate) const fn in_batches_of(mut self, keys: usize) -> Self {
        self.batch_keys_max = keys;
        self
    }

    /// Compares all keys, also those that we hold and they do not.
    pub(crate) const fn comparing_all(mut self) -> Self {
        self.compares_all = true;
        self
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Whether all keys are compared, for want of a version that is covered; `None` until it is known.
    #[cfg(feature = "testing")]
    pub(crate) const fn is_whole(&self) -> Option<bool> {
        match &self.stage {
            Stage::Survey(_, walk) | Stage::Walk(walk) => Some(walk.is_whole),
            Stage::Rest(..) => Some(true),
            _ => None,
        }
    }

    /// The part of the work that is done, from 0 to 1, as far as it can be told.
    pub(crate) fn fraction(&self) -> f64 {
        match (self.found, &self.stage) {
            (_, Stage::Done) => 1.0,
            (Some(found), Stage::Walk(_) | Stage::Rest(..) | Stage::Last) => {
                self.walked as f64 / (found.max(self.walked) + 1) as f64
            }
            (None, Stage::Walk(walk)) => walk.diff.fraction().unwrap_or(0.0),
            (None, Stage::Rest(..) | Stage::Last) => 1.0,
            _ => 0.0,
        }
    }

    /// Says what to do.
    ///
    /// # Errors
    ///
    /// The log's author wrote what can't be read, or this machine failed.
    pub(crate) fn next(&mut self, ours: &Ours<'_>) -> Result<AbsorbStep, FollowError> {
        if !self.is_worth_a_look() {
            return Ok(AbsorbStep::Need(Vec::new()));
        }
        match self.step(ours) {
            Ok(step) => Ok(step),
            Err(Hindrance::Missing(seqs)) => Ok(self.need(&seqs)),
            Err(Hindrance::Author(bad)) => Err(bad.into()),
            Err(Hindrance::Here(error)) => Err(error.into()),
        }
    }

    /// Whether so much has arrived that a step gets on by more than a little.
    fn is_worth_a_look(&self) -> bool {
        let log = self.log.bee.log();
        let here = self.waiting.iter().filter(|&&seq| log.has(seq)).count();
        2 * here >= self.waiting.len()
    }

    fn need(&mut self, seqs: &[u64]) -> AbsorbStep {
        let new: BTreeSet<u64> =
            seqs.iter().copied().filter(|seq| !self.waiting.contains(seq)).collect();
        self.waiting = seqs.iter().copied().collect();
        self.fetched += new.len() as u64;
        let is_survey = !matches!(self.stage, Stage::Walk(_) | Stage::Rest(..) | Stage::Last);
        if is_survey && self.budget.is_some_and(|budget| self.fetched > budget) {
            self.stage = Stage::Done;
            return AbsorbStep::TooFar;
        }
        AbsorbStep::Need(ranges(new))
    }

    fn step(&mut self, ours: &Ours<'_>) -> Result<AbsorbStep, Hindrance> {
        loop {
            match &mut self.stage {
                Stage::Target => {
                    let target = self.read_target()?;
                    self.stage = Stage::Base(base::Search::new(&self.hints));
                    return Ok(AbsorbStep::Target(target));
                }
                Stage::Base(search) => {
                    let since = match self.origin {
                        Origin::Plain => Some(ours.clock.length(self.device).max(1)),
                        Origin::Device if self.compares_all => None,
                        Origin::Device => search.find(&self.log, self.version, ours.clock)?,
                    };
                    self.begin_walk(since)?;
                }
                Stage::Survey(diff, walk) => {
                    let diff: &mut Diff = diff;
                    let found = self.found.get_or_insert_default();
                    while diff.next().map_err(|error| self.log.hindrance(error))?.is_some() {
                        *found += 1;
                    }
                    self.stage = Stage::Walk(walk.clone());
                }
                Stage::Walk(_) | Stage::Rest(..) => {
                    self.gather(ours)?;
                    if self.is_full() {
                        return Ok(self.hand_out(false));
                    }
                }
                Stage::Last => {
                    self.stage = Stage::Done;
                    return Ok(self.hand_out(true));
                }
                Stage::Done => return Ok(AbsorbStep::Done),
            }
        }
    }

    fn read_target(&mut self) -> Result<Clock, Hindrance> {
        match self.origin {
            Origin::Device => {
                let landmark = self.log.landmark(self.version)?;
                (self.batch.clock, self.batch.ahead) = (landmark.clock, landmark.ahead);
            }
            Origin::Plain => self.batch.clock = self.log.plain_clock(self.version)?,
        }
        Ok(self.batch.clock.clone())
    }

    fn begin_walk(&mut self, since: Option<u64>) -> Result<(), Hindrance> {
        let bee = &self.log.bee;
        let tree = |version| bee.checkout(version).map_err(|error| self.log.hindrance(error));
        let left: Tree = tree(self.version)?;
        let diff = left.diff(&tree(since.unwrap_or(1))?, RangeOptions::default());
        let diff = diff.map_err(|error| self.log.hindrance(error))?;
        let theirs = Theirs {
            log: self.log.clone(),
            tree: left,
            origin: self.origin,
            clock: self.batch.clock.clone(),
        };
        let walk = Walk { diff, theirs, is_whole: since.is_none(), is_over: false };
        let walk = Box::new(walk);
        self.stage = match self.budget {
            Some(_) => Stage::Survey(Box::new(walk.diff.clone()), walk),
            None => Stage::Walk(walk),
        };
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.batch.is_full(self.batch_keys_max)
    }

    fn hand_out(&mut self, is_last: bool) -> AbsorbStep {
        let rest = Batch {
            clock: self.batch.clock.clone(),
            ahead: self.batch.ahead.clone(),
            ..Batch::default()
        };
        let batch = std::mem::replace(&mut self.batch, rest);
        AbsorbStep::Ready(Batch { is_last, ..batch })
    }

    /// Fills the batch as far as blocks are here.
    fn gather(&mut self, ours: &Ours<'_>) -> Result<(), Hindrance> {
        let mut missing = match self.look_further(ours) {
            Ok(()) => Vec::new(),
            Err(Hindrance::Missing(seqs)) => seqs,
            Err(hindrance) => return Err(hindrance),
        };
        let is_stopped = !missing.is_empty();
        // Not all at once unless nothing else can be done: what they lack is asked for together.
        if self.lookups.len() >= LOOKUPS_MAX || is_stopped || self.is_at_end() {
            match self.resolve() {
                Ok(()) => {}
                Err(Hindrance::Missing(seqs)) => missing.extend(seqs),
                Err(hindrance) => return Err(hindrance),
            }
        }
        if !missing.is_empty() && !self.is_full() {
            return Err(Hindrance::Missing(missing));
        }
        if self.is_at_end() && self.lookups.is_empty() {
            self.end_stage();
        }
        Ok(())
    }

    const fn is_at_end(&self) -> bool {
        match &self.stage {
            Stage::Walk(walk) => walk.is_over,
            Stage::Rest(_, after) => after.is_none(),
            _ => true,
        }
    }

    fn end_stage(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Last) {
            Stage::Walk(walk) if walk.is_whole => Stage::Rest(walk.theirs, Some(Bytes::new())),
            _ => Stage::Last,
        };
    }

    /// Takes what differs next, until the batch is full or enough is to be looked up.
    fn look_further(&mut self, ours: &Ours<'_>) -> Result<(), Hindrance> {
        while !self.is_full() && self.lookups.len() < LOOKUPS_MAX && !self.is_at_end() {
            match &mut self.stage {
                Stage::Walk(walk) => match walk.diff.next() {
                    Ok(Some(change)) => {
                        walk.theirs.take(&change, &mut self.batch, &mut self.lookups)?;
                        self.walked += 1;
                    }
                    Ok(None) => walk.is_over = true,
                    Err(error) => return Err(self.log.hindrance(error)),
                },
                Stage::Rest(_, after) => {
                    self.lookups.extend(own_keys(ours, after, &self.batch.clock)?);
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Looks up what the other side has of keys, as far as blocks are here.
    fn resolve(&mut self) -> Result<(), Hindrance> {
        let theirs = match &self.stage {
            Stage::Walk(walk) => &walk.theirs,
            Stage::Rest(theirs, _) => theirs,
            _ => return Ok(()),
        };
        let mut missing = Vec::new();
        for lookup in std::mem::take(&mut self.lookups) {
            // What a lookup brings may be long; the rest comes with the next batch.
            if self.batch.is_full(self.batch_keys_max) {
                self.lookups.push(lookup);
                continue;
            }
            match theirs.resolve(&lookup) {
                Ok(Some(state)) if lookup.is_shared() => {
                    self.batch.push_shared(lookup.key, state);
                }
                Ok(Some(state)) => self.batch.push(lookup.key, state),
                Ok(None) => {}
                Err(Hindrance::Missing(seqs)) => {
                    missing.extend(seqs);
                    self.lookups.push(lookup);
                }
                Err(hindrance) => return Err(hindrance),
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Hindrance::Missing(missing)) }
    }
}

impl Batch {
    /// Whether something in it was written by a device behind this length of its log.
    pub(crate) fn has_news_of(&self, device: DeviceId, applied: u64) -> bool {
        let mut all = self.keys.iter().chain(&self.shared).flat_map(|(_, state)| state.versions());
        all.any(|version| version.dot.device == device && version.dot.seq >= applied)
    }

    fn is_full(&self, keys_max: usize) -> bool {
        self.keys.len() + self.shared.len() >= keys_max || self.bytes >= BATCH_BYTES_MAX
    }

    fn push(&mut self, key: Bytes, state: State) {
        self.weigh(&key, &state);
        self.keys.push((key, state));
    }

    fn push_shared(&mut self, stored: Bytes, state: State) {
        self.weigh(&stored, &state);
        self.shared.push((stored, state));
    }

    fn weigh(&mut self, key: &Bytes, state: &State) {
        let of_version = |version: &multibee_merge::Version| {
            version.value().map_or(0, Bytes::len) + version.state.as_ref().map_or(0, Bytes::len)
        };
        self.bytes += key.len() + state.versions().iter().map(of_version).sum::<usize>();
    }
}

/// Some keys of ours, and records that all devices share, behind `after` that the target's clock has something to say about. Moves
/// `after` on, to `None` at the end.
fn own_keys(
    ours: &Ours<'_>,
    after: &mut Option<Bytes>,
    target: &Clock,
) -> Result<Vec<Lookup>, Hindrance> {
    let here = |error: multibee_btree::Error| Hindrance::Here(error.into());
    let limit = Some(OWN_RECORDS_MAX);
    let mut range = ours.bee.snapshot().map_err(here)?.range(
        match after.as_ref().filter(|key| !key.is_empty()) {
            Some(key) => RangeOptions { gt: Some(key.clone()), limit, ..RangeOptions::default() },
            None => RangeOptions { limit, ..RangeOptions::default() },
        },
    );
    let (mut keys, mut count) = (Vec::new(), 0);
    while let Some(block) = range.next().map_err(here)? {
        count += 1;
        let (held, lookup) = match keyspace::place(&block.key) {
            Place::User(key) => (Outline::live(&block, ours.device), Lookup::rest(key)),
            Place::Tombstone(key) => (Outline::tombstone(&block), Lookup::rest(key)),
            Place::Shared(key) => (Outline::shared(&block, ours.device), Lookup::rest_shared(key)),
            _ => {
                *after = Some(block.key);
                continue;
            }
        };
        let held = held.map_err(|error| Hindrance::Here(Error::bad_record(block.seq, &error)))?;
        if held.versions().iter().any(|version| target.covers(version.dot)) {
            keys.push(lookup);
        }
        *after = Some(block.key);
    }
    if count < OWN_RECORDS_MAX {
        *after = None;
    }
    Ok(keys)
}

fn ranges(seqs: BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for seq in seqs {
        match ranges.last_mut().filter(|range| range.end == seq) {
            Some(range) => range.end = seq + 1,
            None => ranges.push(seq..seq + 1),
        }
    }
    ranges
}

/// Finds tags that prove one log to have two histories: a clock of theirs against what is known
/// here. `known` tells the tag at a length, if it can.
pub(crate) fn forked(
    theirs: &Clock,
    ours: &Clock,
    known: impl Fn(DeviceId, u64) -> Option<[u8; 8]>,
) -> Option<DeviceId> {
    theirs.iter().find_map(|(device, at)| {
        let ours = ours.get(device).filter(|ours| ours.length == at.length);
        let tag = ours.and_then(|ours| ours.tag).or_else(|| known(device, at.length));
        (at.tag.is_some() && tag.is_some() && tag != at.tag).then_some(device)
    })
}

#[cfg(test)]
mod tests;
