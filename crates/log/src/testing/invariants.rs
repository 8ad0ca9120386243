//! What must hold after every crash (docs/architecture.md, "Crashes").

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::history::{Expected, USER_DATA_KEYS, Version, brief};
use super::image::Image;
use super::recording::{Recording, RecordingStorage};
use super::session::{prove_block, reorg, upgrade_request};
use crate::error::{Error, Result};
use crate::key_pair::KeyPair;
use crate::log::{Log, LogOptions};
use crate::storage::Part;

/// Of so many logs that went on after a crash, one is then opened as it was, and flushed. The others
/// are opened read-only, which costs a third.
const OPENED_TO_WRITE_EVERY: u64 = 4;

/// Something that must hold after every crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// The log opens, without error or panic.
    Opens,
    /// Its length is a committed one, and no less than what was said to be safe or was shared.
    KeepsCommits,
    /// Batches are there whole or not at all, with their user data.
    KeepsBatchesWhole,
    /// Each block that it claims to hold is right, and none lies beyond its length.
    HoldsWhatItClaims,
    /// Its head is one that was signed before.
    KeepsHead,
    /// Its contiguous length is not too long.
    KnowsItsGaps,
    /// It can be read, written and opened again, and no part has grown.
    GoesOn,
}

/// An invariant that does not hold, and how that shows.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    pub(super) what: String,
}

impl Violation {
    fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// What a log that was found sound did then: opened, was changed, and was opened again.
#[derive(Debug)]
pub(super) struct Survival {
    /// All that was done to the disk from opening on.
    pub(super) recording: Recording,
    /// The number of the first event after opening.
    pub(super) opened: usize,
    /// What it was found to be. `None`: there was no log yet.
    pub(super) found: Option<u64>,
    /// What it was changed to, step by step, and the moment from which the last step was safe.
    pub(super) after: (Vec<Version>, usize),
}

/// Checks images of one log.
pub(super) struct Examiner<'a> {
    pub(super) keys: &'a KeyPair,
    pub(super) options: &'a LogOptions,
    /// `None`: the log is the writer's own.
    pub(super) source: Option<&'a Source>,
    /// By version, the one that going on leads to: signing takes longer than anything else.
    pub(super) next: RefCell<HashMap<u64, Version>>,
}

/// The writer's log, for a replica to go on from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) log: Log,
    pub(super) version: Version,
}

impl<'a> Examiner<'a> {
    /// Checks images of the writer's own log.
    pub(super) fn new(keys: &'a KeyPair, options: &'a LogOptions) -> Self {
        Self { keys, options, source: None, next: RefCell::default() }
    }
}

impl Examiner<'_> {
    /// Checks that an image is sound and one of the versions expected.
    pub(super) fn examine(
        &self,
        image: &Image,
        expected: &Expected<'_>,
    ) -> Result<Survival, Violation> {
        catch_unwind(AssertUnwindSafe(|| self.examine_or_panic(image, expected))).unwrap_or_else(
            |panic| {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
                Err(Violation::new(Invariant::Opens, format!("panic: {}", message.unwrap_or("?"))))
            },
        )
    }

    fn examine_or_panic(
        &self,
        image: &Image,
        expected: &Expected<'_>,
    ) -> Result<Survival, Violation> {
        let disk = image.to_storage();
        let log = match Log::open(disk.clone(), self.options.clone()) {
            Ok(log) => log,
            Err(Error::WrongStorage { .. }) if expected.may_be_absent => return self.create(disk),
            Err(error) => {
                return Err(Violation::new(Invariant::Opens, format!("{error} ({error:?})")));
            }
        };
        let opened = disk.event_count();
        let version = find(&log, expected)?;
        check_blocks(&log, version)?;
        check_growth(&disk, |part| image.len(part), "opening")?;
        let after = self.go_on(&log, version);
        let after = after.map_err(|what| Violation::new(Invariant::GoesOn, what))?;
        let safe = if self.source.is_none() { disk.event_count() } else { usize::MAX };
        drop(log);
        self.check_reopened(&disk, after.last().unwrap_or(version))?;
        let found = Some(version.id());
        Ok(Survival { recording: disk.recording(), opened, found, after: (after, safe) })
    }

    /// Goes on where the creation of the log was cut short.
    fn create(&self, disk: RecordingStorage) -> Result<Survival, Violation> {
        let options = self.options.clone();
        let log = match self.source {
            None => Log::create(disk.clone(), self.keys.clone(), options),
            Some(source) => Log::create_replica(disk.clone(), source.log.key(), options),
        };
        let fails = |error| Violation::new(Invariant::Opens, format!("creating again: {error}"));
        drop(log.map_err(fails)?);
        self.check_reopened(&disk, &Version::empty())?;
        let (recording, opened) = (disk.recording(), disk.event_count());
        Ok(Survival { recording, opened, found: None, after: (Vec::new(), usize::MAX) })
    }

    /// Appends or downloads something. Returns what the log is after each step.
    fn go_on(&self, log: &Log, version: &Version) -> Result<Vec<Version>, String> {
        let fails = |error: Error| format!("going on: {error} ({error:?})");
        match self.source {
            None => {
                let block = Bytes::from_static(b"after the crash");
                let known = self.next.borrow().get(&version.id()).cloned();
                let after = match known {
                    Some(known) => known,
                    None => {
                        version.append(self.keys, std::slice::from_ref(&block)).map_err(fails)?
                    }
                };
                self.next.borrow_mut().insert(version.id(), after.clone());
                log.append(&[block]).map_err(fails)?;
                log.sync().map_err(fails)?;
                Ok(vec![after])
            }
            Some(source) => download(log, source, version).map_err(fails),
        }
    }

    /// Opens the log again, and checks that it is `version`.
    fn check_reopened(&self, disk: &RecordingStorage, version: &Version) -> Result<(), Violation> {
        let goes_on = |what: String| Violation::new(Invariant::GoesOn, what);
        let (disk_again, options) = (disk.clone(), self.options.clone());
        let may_write = disk.image().hash().is_multiple_of(OPENED_TO_WRITE_EVERY);
        let log = if may_write {
            Log::open(disk_again, options)
        } else {
            Log::open_read_only(disk_again, options)
        };
        let log = log.map_err(|error| goes_on(format!("opening again: {error} ({error:?})")))?;
        if !version.has_head_of(&log) || !version.has_claims_of(&log) {
            return Err(goes_on(format!("opened again it is {}, not {version}", describe(&log))));
        }
        check_blocks(&log, version)?;
        if !may_write {
            return Ok(());
        }
        log.flush().map_err(|error| goes_on(format!("flushing: {error}")))?;
        let audit = log.audit(|_| ()).map_err(|error| goes_on(format!("auditing: {error}")))?;
        if !audit.is_clean() {
            return Err(goes_on(format!("an audit finds {:?}", audit.findings)));
        }
        let image = disk.start();
        let tidy = |part: Part| {
            let len = match part {
                Part::Oplog => 8192,
                Part::Tree => 40 * (2 * version.len()).saturating_sub(1),
                Part::Data => version.byte_len(),
                Part::Bitfield => 4096,
                Part::Header => 64 * 1024,
                Part::Key => 32,
                Part::Conflict => 0,
            };
            if part == Part::Oplog { len } else { len.max(image.len(part)) }
        };
        check_growth(disk, tidy, "flushing")
    }
}

/// Finds out which of the versions expected a log is.
fn find<'a>(log: &Log, expected: &'a Expected<'_>) -> Result<&'a Version, Violation> {
    let has_head = |version: &&Version| version.has_head_of(log);
    let mut with_head = expected.versions().filter(has_head).peekable();
    let is = || format!("it is {}, expected {expected}", describe(log));
    if with_head.peek().is_none() {
        let is_known = expected
            .versions()
            .any(|version| (version.fork, version.len()) == (log.fork(), log.len()));
        let broken = if is_known { Invariant::KeepsHead } else { Invariant::KeepsCommits };
        return Err(Violation::new(broken, is()));
    }
    if !expected.has_conflict_of(log) {
        return Err(Violation::new(Invariant::KeepsCommits, is()));
    }
    // The newest, should there be two alike.
    let found = with_head.filter(|version| version.has_claims_of(log)).last();
    found.ok_or_else(|| Violation::new(Invariant::KeepsBatchesWhole, is()))
}

pub(super) fn describe(log: &Log) -> String {
    let user_data = USER_DATA_KEYS.iter().map(|key| log.user_data(key));
    let user_data: Vec<_> = user_data.map(|value| value.map(|value| brief(&value))).collect();
    let held = log.held(0..u64::MAX);
    let conflict = log.conflict().map(|_| log.trusted_len());
    let conflict = conflict.map_or(String::new(), |len| format!(" and a conflict from {len} on"));
    let (fork, len) = (log.fork(), log.len());
    format!("fork {fork} length {len} holding {held:?} with {user_data:?}{conflict}")
}

/// Checks that all blocks are as they were, and where the first gap is.
fn check_blocks(log: &Log, version: &Version) -> Result<(), Violation> {
    for number in 0..=log.len() {
        let expected = version.block(number).filter(|_| version.holds(number));
        let broken = match log.get(number) {
            Ok(found) if found.as_ref() == expected => continue,
            Ok(Some(_)) => "another one".to_owned(),
            Ok(None) => "not held".to_owned(),
            Err(error) => error.to_string(),
        };
        let what = format!("block {number} of {} is {broken}", describe(log));
        return Err(Violation::new(Invariant::HoldsWhatItClaims, what));
    }
    let gap = (0..).find(|number| !version.holds(*number)).unwrap_or(0);
    if log.contiguous_len() != gap {
        let what =
            format!("contiguous length {}, but the first gap is at {gap}", log.contiguous_len());
        return Err(Violation::new(Invariant::KnowsItsGaps, what));
    }
    Ok(())
}

fn check_growth(
    disk: &RecordingStorage,
    limit: impl Fn(Part) -> u64,
    by: &str,
) -> Result<(), Violation> {
    let image = disk.image();
    for part in Part::ALL {
        if image.len(part) > limit(part) {
            let what =
                format!("{by} made {part} {} bytes long, not {}", image.len(part), limit(part));
            return Err(Violation::new(Invariant::GoesOn, what));
        }
    }
    Ok(())
}

/// Has a replica take over the source's head, and the first block that it lacks.
fn download(log: &Log, source: &Source, version: &Version) -> Result<Vec<Version>> {
    let Source { log: writer, version: newest } = source;
    let mut steps = Vec::new();
    let mut after = version.clone();
    if log.conflict().is_some() {
        // What it lacks may be of either history.
        return Ok(steps);
    }
    if version.fork != newest.fork {
        let reorg = reorg(writer, log)?;
        after = version.reorg(newest, reorg.shared_len());
        log.apply_reorg(reorg)?;
        steps.push(after.clone());
    } else if version.len() < newest.len() {
        log.apply(&writer.prove(&upgrade_request(log, newest.len()))?)?;
        after = version.follow(newest, None);
        steps.push(after.clone());
    }
    if let Some(lacking) = newest.held().find(|block| !after.holds(*block)) {
        log.apply(&prove_block(writer, log, lacking)?)?;
        steps.push(after.follow(newest, Some(lacking)));
    }
    Ok(steps)
}
