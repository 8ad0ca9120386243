//! One log on a recorded disk, together with what is known of it from outside.

use super::faulty::{FaultyStorage, Operation};
use super::history::{History, Version};
use super::invariants::describe;
use super::recording::RecordingStorage;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::log::{Log, LogOptions};
use crate::storage::{Part, Storage};

/// The disk of a log in a workload.
pub(super) type Disk = FaultyStorage<RecordingStorage>;

/// A log, its disk, and its history.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) disk: Disk,
    /// Whether the log was created.
    is_there: bool,
    /// `None`: closed, and could not be opened again so far.
    log: Option<Log>,
    pub(super) options: LogOptions,
    pub(super) history: History,
    /// The version that the log is, not yet safe perhaps.
    pub(super) current: Version,
    /// Whether an operation failed since the log was opened.
    has_failed: bool,
    /// What was found wrong when the log was opened.
    pub(super) complaint: Option<String>,
    /// How many faults of the disk were dealt with.
    pub(super) failures_seen: usize,
}

impl Side {
    /// A log that does not exist yet.
    pub(super) fn nowhere(options: LogOptions) -> Self {
        Self::on(RecordingStorage::new(), options, Version::empty())
    }

    /// A log that is there, closed.
    pub(super) fn over(storage: RecordingStorage, options: LogOptions, version: Version) -> Self {
        let mut side = Self::on(storage, options, version.clone());
        side.is_there = true;
        let now = side.now();
        let id = version.id();
        side.history.push(version, now, now);
        side.history.make_safe(id, now);
        side
    }

    fn on(storage: RecordingStorage, options: LogOptions, current: Version) -> Self {
        let disk = FaultyStorage::new(storage);
        Self {
            disk,
            is_there: false,
            log: None,
            options,
            history: History::default(),
            current,
            has_failed: false,
            complaint: None,
            failures_seen: 0,
        }
    }

    /// Creates the log by `create`, unless it is there.
    pub(super) fn create(
        &mut self,
        create: impl FnOnce(Disk, LogOptions) -> Result<Log>,
    ) -> Result<()> {
        if self.is_there {
            return Ok(());
        }
        if self.history.last().is_none() {
            self.history.push(self.current.clone(), self.now(), usize::MAX);
        } else {
            // It may have come about though creating it failed; perhaps not in its place yet.
            self.disk.publish()?;
            match self.open() {
                Err(Error::WrongStorage { .. }) => {}
                outcome => return outcome,
            }
        }
        self.log = Some(create(self.disk.clone(), self.options.clone())?);
        self.is_there = true;
        self.history.make_safe(self.current.id(), self.now());
        Ok(())
    }

    /// The number of the next event.
    pub(super) fn now(&self) -> usize {
        self.disk.inner().event_count()
    }

    /// The log, opened if it is not.
    pub(super) fn log(&mut self) -> Result<Log> {
        if self.log.is_none() {
            self.open()?;
        }
        self.log.clone().ok_or(Error::WrongStorage { what: "the log is closed" })
    }

    /// The log, if it is open.
    pub(super) fn open_log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Whether the log was created.
    pub(super) const fn is_there(&self) -> bool {
        self.is_there
    }

    /// Closes the log.
    pub(super) fn close(&mut self) {
        self.log = None;
    }

    /// Ends the program. What was in memory only is gone.
    pub(super) fn end(&mut self) {
        self.close();
        self.has_failed = true;
    }

    /// Opens the log anew.
    pub(super) fn open(&mut self) -> Result<()> {
        self.close();
        // Closing a log writes what is in memory only, and cannot tell if that fails.
        self.has_failed |= self.disk.failures().len() > self.failures_seen;
        self.failures_seen = self.disk.failures().len();
        let log = Log::open(self.disk.clone(), self.options.clone())?;
        let now = self.now();
        // With `None` the newest commits may be gone if closing the log could not write them.
        let is_certain = !self.has_failed || self.options.durability != Durability::None;
        let expected = self.history.expected(now, is_certain);
        let is_found =
            |version: &&Version| version.has_head_of(&log) && version.has_claims_of(&log);
        let found = expected.versions().filter(is_found).last().cloned();
        let Some(found) = found else {
            self.complaint = Some(format!("it is {}, expected {expected}", describe(&log)));
            return Err(Error::WrongStorage { what: "a log that nobody has written" });
        };
        if !self.has_failed && found.id() != self.current.id() {
            self.complaint = Some(format!("it is {found}, expected {}", self.current));
            return Err(Error::WrongStorage { what: "a log from before the last change" });
        }
        if log.is_writable() {
            // Others may ask for it from now on.
            self.history.make_head_safe(log.durable_head().as_ref(), now);
        }
        // What is tidied up after a write that failed need not last, and opening a replica waits for
        // nothing: an entry that was written all the same may come back.
        let last_failure = self.disk.failures().last().copied();
        if log.is_writable() || last_failure != Some((Operation::WriteAt, Part::Oplog)) {
            self.history.find(found.id(), now);
        }
        (self.current, self.log) = (found, Some(log));
        (self.is_there, self.has_failed) = (true, false);
        Ok(())
    }

    /// Makes a change that leads to `after`.
    pub(super) fn change<R>(
        &mut self,
        after: Version,
        promise: Promise,
        change: impl FnOnce(&Log) -> Result<R>,
    ) -> Result<R> {
        let log = self.log()?;
        let begun = self.now();
        let result = change(&log);
        if result.is_err() {
            self.history.push_failed(after, begun);
            self.has_failed = true;
            return result;
        }
        let now = self.now();
        // What is in memory only does not outlive the program.
        let is_accepted = self.options.durability != Durability::None || promise == Promise::Safe;
        self.history.push(after.clone(), begun, if is_accepted { now } else { usize::MAX });
        self.current = after;
        let is_immediate = self.options.durability == Durability::Immediate && log.is_writable();
        if promise == Promise::Safe || promise == Promise::AsOptions && is_immediate {
            self.history.make_safe(self.current.id(), now);
            self.disk.inner().ack(self.current.len());
        }
        self.look(&log);
        result
    }

    /// Does something that changes nothing, but makes all that was done safe.
    pub(super) fn make_safe(&mut self, change: impl FnOnce(&Log) -> Result<()>) -> Result<()> {
        let log = self.log()?;
        if let Err(error) = change(&log) {
            self.has_failed = true;
            return Err(error);
        }
        self.history.make_safe(self.current.id(), self.now());
        self.disk.inner().ack(self.current.len());
        self.look(&log);
        Ok(())
    }

    /// Looks which head the log says is safe: a program may rely on that.
    fn look(&mut self, log: &Log) {
        if let Some(head) = log.durable_head().filter(|_| log.is_writable()) {
            let now = self.now();
            self.history.make_head_safe(Some(&head), now);
        }
    }
}

/// What a change says when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// It is on disk.
    Safe,
    /// What the log's durability says.
    AsOptions,
    /// It is accepted.
    Accepted,
}
