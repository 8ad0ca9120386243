//! Looking at all that may be left of a log, whenever the power fails.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use super::crash_images::{CrashImage, CrashImages, Effort};
use super::history::{Expected, History};
use super::image::Image;
use super::invariants::{Examiner, Invariant, Source, Survival};
use super::random::mix2;
use super::recording::Recording;
use super::session::{Session, Settled};
use super::unsynced::Unsynced;
use super::workload::{Start, Workload};
use crate::barrier::Barrier;
use crate::cache::Cache;
use crate::durability::Durability;
use crate::error::Result;
use crate::log::LogOptions;
use crate::storage::Part;

/// How a crash during and after recovery is looked at.
const SECOND_CRASH: Effort = Effort { exhaustive: 5, samples: 4, seed: 0 };

/// Of so many images, a second crash is looked at after one.
const SECOND_CRASH_EVERY: u64 = 128;

/// Memory for what the logs read. Little, so that it stays close to the processor.
const CACHE_BYTES: u64 = 256 * 1024;

/// Runs workloads, and checks what may be left of their logs at every moment.
///
/// Each state is looked at once: images that were seen before, with as much to expect of them, are
/// left out. May be used by several threads at once.
#[derive(Debug)]
pub struct Enumerator {
    settled: Settled,
    without_barrier: Option<(Barrier, Part)>,
    images: Seen,
    states: Seen,
}

impl Enumerator {
    /// Makes one that has seen nothing.
    ///
    /// # Errors
    ///
    /// None unless the log is broken.
    pub fn new() -> Result<Self> {
        Ok(Self {
            settled: Settled::new()?,
            without_barrier: None,
            images: Seen::default(),
            states: Seen::default(),
        })
    }

    /// Makes one whose logs leave out one wait for the disk.
    ///
    /// # Errors
    ///
    /// None unless the log is broken.
    pub fn without_barrier(barrier: Barrier, part: Part) -> Result<Self> {
        Ok(Self { without_barrier: Some((barrier, part)), ..Self::new()? })
    }

    /// Returns how many different images were looked at so far.
    pub fn image_count(&self) -> u64 {
        self.images.len()
    }

    /// Runs a workload, and looks at crashes from the operation number `from` on: earlier ones are
    /// those of a shorter workload.
    ///
    /// # Errors
    ///
    /// The first state in which an invariant does not hold.
    pub fn explore(
        &self,
        workload: &Workload,
        from: usize,
        effort: Effort,
    ) -> Result<Tally, Box<Bad>> {
        let bad = |what: String| Box::new(Bad::without_crash(workload, what));
        let (mut session, starts) = self.run(workload, self.without_barrier).map_err(bad)?;
        let recordings = [session.writer.disk.inner(), session.replica.disk.inner()];
        let [writer, replica] = recordings.map(|disk| disk.recording());
        let mut begun = match starts.get(from) {
            Some(begun) if from > 0 => *begun,
            // What was there before the log was opened is not its doing.
            _ => match (workload.start, session.opened) {
                (Start::Nothing | Start::Settled, _) => [0, 0],
                (Start::Unsynced, [writer, _]) => [writer.saturating_sub(1), 0],
                (Start::Disputed, [_, replica]) => [0, replica.saturating_sub(1)],
            },
        };
        if self.without_barrier.is_some() {
            // Until something is left out there is nothing to be found.
            let (whole, _) = self.run(workload, None).map_err(bad)?;
            let apart =
                [(&writer, &whole.writer), (&replica, &whole.replica)].map(|(recording, whole)| {
                    recording.first_difference(&whole.disk.inner().recording())
                });
            for (begun, apart) in begun.iter_mut().zip(apart) {
                *begun = (*begun).max(apart.map_or(usize::MAX, |apart| apart.saturating_sub(1)));
            }
        }
        let [writer_begun, replica_begun] = begun;
        let log = session.writer.log();
        let log = log.and_then(|log| log.sync().map(|()| log));
        let log = log.map_err(|error| bad(format!("syncing at the end: {error}")))?;
        let source = Source { log, version: session.writer.current.clone() };

        let options = self.examining_options(workload.durability);
        let examiner = Examiner::new(session.keys(), &options);
        let is_replica = false;
        let mut search =
            Search { all: self, workload, effort, examiner, is_replica, starts: &starts };
        let mut tally = search.run(&writer, &session.writer.history, writer_begun)?;
        search.examiner.source = Some(&source);
        search.is_replica = true;
        tally.add(search.run(&replica, &session.replica.history, replica_begun)?);
        Ok(tally)
    }

    /// Runs a workload. Returns the moments at which its operations began, too.
    fn run(
        &self,
        workload: &Workload,
        without_barrier: Option<(Barrier, Part)>,
    ) -> Result<(Session, Vec<[usize; 2]>), String> {
        let options = LogOptions { without_barrier, ..self.options(workload.durability) };
        let session = Session::start(options, workload.start, workload.seed, &self.settled);
        let mut session = session.map_err(|error| format!("beginning: {error}"))?;
        let mut starts = Vec::with_capacity(workload.ops.len());
        for (op, number) in workload.ops.iter().zip(0..) {
            starts.push([session.writer.now(), session.replica.now()]);
            session.run(*op).map_err(|error| {
                format!("operation {number}, {op}: {error}; {}", session.complaint())
            })?;
        }
        Ok((session, starts))
    }

    pub(super) fn settled(&self) -> &Settled {
        &self.settled
    }

    pub(super) fn options(&self, durability: Durability) -> LogOptions {
        LogOptions {
            durability,
            without_barrier: self.without_barrier,
            // Few blocks make many states as it is.
            little_is_much: true,
            cache: Cache::new(CACHE_BYTES),
            ..LogOptions::default()
        }
    }

    /// Images are opened as they were written, but without a thread for each.
    pub(super) fn examining_options(&self, durability: Durability) -> LogOptions {
        self.options(match durability {
            Durability::Eventual { .. } => Durability::Buffered,
            other => other,
        })
    }
}

/// What is looked at of one log of one workload.
struct Search<'a> {
    all: &'a Enumerator,
    workload: &'a Workload,
    effort: Effort,
    examiner: Examiner<'a>,
    is_replica: bool,
    /// When each operation began, on either disk.
    starts: &'a [[usize; 2]],
}

impl Search<'_> {
    /// Names a moment, for people.
    fn when(&self, moment: usize) -> String {
        let begun = |[writer, replica]: &&[usize; 2]| {
            if self.is_replica { *replica < moment } else { *writer < moment }
        };
        let count = self.starts.iter().take_while(begun).count();
        match count.checked_sub(1).and_then(|number| Some((number, self.workload.ops.get(number)?)))
        {
            Some((number, op)) => format!("event {moment}, in operation {number}, {op}"),
            None => format!("event {moment}, at the beginning"),
        }
    }

    /// Looks at crashes at all moments after the first `begun` events.
    fn run(
        &self,
        recording: &Recording,
        history: &History,
        begun: usize,
    ) -> Result<Tally, Box<Bad>> {
        let mut tally = Tally::default();
        let mut unsynced = Unsynced::new(recording);
        let mut floor = None;
        for (event, moment) in recording.events.iter().zip(1..) {
            let before = unsynced.count();
            unsynced.add(event);
            if moment <= begun {
                continue;
            }
            let expected = [false, true].map(|is_whole| history.expected(moment, is_whole));
            let new_floor = Some(expected.each_ref().map(Expected::floor));
            // Without a change that expects more, all images were looked at that are not news; but
            // after a sync there may be few enough to look at each.
            let known = (floor == new_floor).then_some(before);
            let is_closer = before > self.effort.exhaustive && unsynced.count() < before;
            if known == Some(unsynced.count())
                || known.is_some() && !event.is_change() && !is_closer
            {
                continue;
            }
            floor = new_floor;
            let known = known.filter(|_| !is_closer);
            for crash in CrashImages::new(unsynced.clone(), known, self.effort) {
                let [after_power_cut, after_end] = &expected;
                let expected = if crash.is_whole() { after_end } else { after_power_cut };
                self.look(&crash, expected, moment, &mut tally)?;
            }
        }
        Ok(tally)
    }

    fn look(
        &self,
        crash: &CrashImage,
        expected: &Expected<'_>,
        moment: usize,
        tally: &mut Tally,
    ) -> Result<(), Box<Bad>> {
        tally.images += 1;
        let image = crash.image();
        let hash = image.hash();
        if !self.all.states.insert(mix2(hash, mix2(expected.id(), self.is_replica.into()))) {
            return Ok(());
        }
        tally.states += 1;
        tally.distinct += u64::from(self.all.images.insert(hash));
        let survival = self.examiner.examine(image, expected);
        let survival = survival.map_err(|violation| {
            let what = format!("{}: {crash}: {}", self.when(moment), violation.what);
            self.bad(image, violation.invariant, what)
        })?;
        if hash.is_multiple_of(SECOND_CRASH_EVERY) {
            self.crash_again(crash, &survival, expected, moment, tally)?;
        }
        Ok(())
    }

    /// Looks at crashes while the log was opened and changed after the first one.
    fn crash_again(
        &self,
        crash: &CrashImage,
        survival: &Survival,
        expected: &Expected<'_>,
        moment: usize,
        tally: &mut Tally,
    ) -> Result<(), Box<Bad>> {
        let Survival { recording, opened, found: Some(found), after: (steps, safe) } = survival
        else {
            return Ok(());
        };
        let mut history = expected.to_history();
        history.settle(*found, *opened);
        for step in steps {
            history.push(step.clone(), *opened, usize::MAX);
        }
        if let Some(last) = steps.last() {
            history.make_safe(last.id(), *safe);
        }
        let mut unsynced = Unsynced::new(recording);
        for (event, again) in recording.events.iter().zip(1..) {
            let before = unsynced.count();
            unsynced.add(event);
            if !event.is_change() {
                continue;
            }
            let expected = history.expected(again, false);
            for second in CrashImages::new(unsynced.clone(), Some(before), SECOND_CRASH) {
                tally.images += 1;
                let image = second.image();
                let hash = image.hash();
                if !self.all.states.insert(mix2(hash, mix2(expected.id(), self.is_replica.into())))
                {
                    continue;
                }
                tally.states += 1;
                tally.again += 1;
                tally.distinct += u64::from(self.all.images.insert(hash));
                self.examiner.examine(image, &expected).map_err(|violation| {
                    let what = violation.what;
                    let when = self.when(moment);
                    let what = format!("{when}: {crash}; then event {again}: {second}: {what}");
                    self.bad(image, violation.invariant, what)
                })?;
            }
        }
        Ok(())
    }

    fn bad(&self, image: &Image, invariant: Invariant, what: String) -> Box<Bad> {
        let workload = self.workload.clone();
        let is_replica = self.is_replica;
        Box::new(Bad {
            workload,
            is_replica,
            invariant: Some(invariant),
            what,
            image: image.clone(),
        })
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Images, with those that came up before.
    pub images: u64,
    /// Images together with what is expected of them, each counted once.
    pub states: u64,
    /// Different images.
    pub distinct: u64,
    /// Those of `states` that were left by a second crash.
    pub again: u64,
}

impl Tally {
    /// Adds what was looked at elsewhere.
    pub fn add(&mut self, other: Self) {
        self.images += other.images;
        self.states += other.states;
        self.distinct += other.distinct;
        self.again += other.again;
    }
}

/// A state in which an invariant does not hold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Bad {
    /// What was done.
    pub workload: Workload,
    /// Whether it is the replica's disk.
    pub is_replica: bool,
    /// What does not hold. `None`: an operation failed before any crash.
    pub invariant: Option<Invariant>,
    /// What was lost, and what is wrong.
    pub what: String,
    /// What the disk held.
    pub image: Image,
}

impl Bad {
    fn without_crash(workload: &Workload, what: String) -> Self {
        let workload = workload.clone();
        Self { workload, is_replica: false, invariant: None, what, image: Image::default() }
    }
}

impl Bad {
    pub(super) fn of_faults(workload: &Workload, faults: [&[u64]; 2], what: String) -> Self {
        let [writer, replica] = faults;
        let what = format!("disk operations {writer:?} and {replica:?} fail; {what}");
        Self::without_crash(workload, what)
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = if self.is_replica { "the replica" } else { "the log" };
        write!(f, "`{}`, {log}", self.workload)?;
        self.invariant.iter().try_for_each(|invariant| write!(f, ", {invariant:?}"))?;
        write!(f, ": {}", self.what)
    }
}

/// A set of hashes that many threads add to.
#[derive(Debug)]
struct Seen {
    shards: [Mutex<HashSet<u64, BuildHasherDefault<Identity>>>; 64],
}

impl Default for Seen {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Seen {
    /// Adds a hash. `false`: it was there.
    fn insert(&self, hash: u64) -> bool {
        // The highest bits choose the shard, the lowest the place in it.
        let shard = self.shards.get((hash >> 58) as usize).expect("six bits are below 64");
        shard.lock().unwrap_or_else(PoisonError::into_inner).insert(hash)
    }

    fn len(&self) -> u64 {
        let len = |shard: &Mutex<HashSet<u64, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
        };
        self.shards.iter().map(len).sum()
    }
}

/// Takes a hash for what it is.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
