//! Running workloads on disks that fail.

use std::io::ErrorKind;

use super::crash_images::{CrashImages, Effort};
use super::enumerator::{Bad, Enumerator};
use super::faulty::{Fault, Operation};
use super::history::Version;
use super::invariants::{Examiner, Source, describe};
use super::session::Session;
use super::side::Side;
use super::unsynced::Unsynced;
use super::workload::Workload;
use crate::error::{Error, Result};
use crate::log::Log;

/// How a power cut after a fault is looked at.
const POWER_CUT: Effort = Effort { exhaustive: 3, samples: 1, seed: 0 };

/// What a failing disk says, in turn.
const KINDS: [ErrorKind; 4] =
    [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::PermissionDenied, ErrorKind::TimedOut];

/// How many bytes of a failing write are there all the same, in turn.
const WRITTEN: [usize; 4] = [0, 7, usize::MAX, 600];

/// Numbers of operations to fail: the writer's disk's, and the replica's.
type Faults<'a> = [&'a [u64]; 2];

impl Enumerator {
    /// Runs a workload again and again, so that each operation of the disks fails once: each write
    /// and sync, but reading as well. The program goes on as well as it can, and opens the log anew
    /// when it takes no more writes. Returns how many runs that were.
    ///
    /// # Errors
    ///
    /// The first run in which an error is not one of the disk's, a log that was not to be written
    /// any more was written, or an invariant does not hold at the end: with all that reached the
    /// disk, or after a power cut.
    pub fn fail_each(&self, workload: &Workload) -> Result<u64, Box<Bad>> {
        let [writer, replica] = self.run_failing(workload, [&[], &[]])?;
        for number in 0..writer {
            self.run_failing(workload, [&[number], &[]])?;
        }
        for number in 0..replica {
            self.run_failing(workload, [&[], &[number]])?;
        }
        Ok(writer + replica)
    }

    /// As [`fail_each`](Self::fail_each), with every pair of operations on the same disk. Takes as
    /// many runs as half the square of their number.
    ///
    /// # Errors
    ///
    /// As [`fail_each`](Self::fail_each).
    pub fn fail_each_pair(&self, workload: &Workload) -> Result<u64, Box<Bad>> {
        let mut runs = 0;
        for first in 0.. {
            // What there is to do after the first fault, and so the last number, shows as it goes.
            let mut second = first + 1;
            loop {
                let [writer, _] = self.run_failing(workload, [&[first, second], &[]])?;
                runs += 1;
                second += 1;
                if second >= writer {
                    break;
                }
            }
            if second <= first + 2 {
                break;
            }
        }
        Ok(runs)
    }

    /// Returns how many operations there were on either disk.
    fn run_failing(&self, workload: &Workload, faults: Faults<'_>) -> Result<[u64; 2], Box<Bad>> {
        let bad = |what: String| Box::new(Bad::of_faults(workload, faults, what));
        let options = self.options(workload.durability);
        let mut session = Session::prepare(options, workload.start, workload.seed, self.settled());
        for (side, numbers) in [&session.writer, &session.replica].into_iter().zip(faults) {
            for &number in numbers {
                let kind = KINDS.get(number as usize / 4 % 4).copied().unwrap_or(ErrorKind::Other);
                let written = WRITTEN.get(number as usize % 4).copied().unwrap_or(0);
                side.disk.fail_at(number, Fault { kind, written });
            }
        }
        for (op, number) in workload.ops.iter().zip(0..) {
            let outcome = session.run(*op);
            let sides = [&mut session.writer, &mut session.replica];
            let checked = sides.into_iter().try_for_each(Side::check_faults);
            let error = match (outcome, checked) {
                (Ok(()) | Err(Error::Io(_) | Error::ReadOnlyAfterFailedSync), Ok(())) => continue,
                (_, Err(what)) => what,
                (Err(error), _) => format!("{error}; {}", session.complaint()),
            };
            return Err(bad(format!("operation {number}, {op}: {error}")));
        }
        let counts = [&session.writer, &session.replica].map(|side| side.disk.operation_count());
        self.check_end(workload, &mut session).map_err(bad)?;
        Ok(counts)
    }

    /// Checks what is left: as it is, and after a power cut.
    fn check_end(&self, workload: &Workload, session: &mut Session) -> Result<(), String> {
        let sides = [&mut session.writer, &mut session.replica];
        let recordings = sides.map(|side| {
            side.end();
            side.disk.heal();
            side.disk.inner().recording()
        });
        let log = session.create().and_then(|()| session.writer.log());
        let log = log.and_then(|log| log.sync().map(|()| log));
        let log =
            log.map_err(|error| format!("opening at the end: {error}; {}", session.complaint()))?;
        let source = Source { log, version: session.writer.current.clone() };
        let options = self.examining_options(workload.durability);
        let mut examiner = Examiner::new(session.keys(), &options);
        let histories = [&session.writer.history, &session.replica.history];
        for ((recording, history), is_replica) in
            recordings.iter().zip(histories).zip([false, true])
        {
            examiner.source = is_replica.then_some(&source);
            let mut unsynced = Unsynced::new(recording);
            recording.events().iter().for_each(|event| unsynced.add(event));
            let moment = recording.events().len();
            for crash in CrashImages::new(unsynced, None, POWER_CUT) {
                let expected = history.expected(moment, crash.is_whole());
                let survival = examiner.examine(crash.image(), &expected);
                survival.map_err(|violation| {
                    let log = if is_replica { "the replica" } else { "the log" };
                    format!("{log} at the end, {crash}: {violation}")
                })?;
            }
        }
        Ok(())
    }
}

impl Side {
    /// Checks that the log is what it was before an operation that failed, or takes no more writes
    /// if a sync failed; opens it anew then.
    fn check_faults(&mut self) -> Result<(), String> {
        let failures = self.disk.failures();
        let new = failures.iter().skip(self.failures_seen);
        self.failures_seen = failures.len();
        let Some(log) = self.open_log() else {
            return Ok(());
        };
        if new.clone().any(|(operation, _)| *operation == Operation::Sync) {
            check_refuses(log)?;
            self.end();
            return Ok(());
        }
        let is_found = |version: &&Version| version.has_head_of(log) && version.has_claims_of(log);
        if new.count() > 0 && !is_found(&&self.current) {
            // What failed may have been done, if only the wait for it failed.
            let failed = self.history.last().filter(is_found).cloned();
            let failed = failed.ok_or_else(|| {
                format!("after a fault it is {}, not {}", describe(log), self.current)
            })?;
            self.current = failed;
        }
        Ok(())
    }
}

/// Checks that a log takes no writes of any kind.
fn check_refuses(log: &Log) -> Result<(), String> {
    let attempts = [
        ("append", log.append(&["refused"]).map(drop)),
        ("submit", log.submit(&["refused"]).map(drop)),
        ("set_user_data", log.set_user_data("cursor", b"refused")),
        ("truncate", log.truncate(0).map(drop)),
        ("clear", log.clear(0..1)),
        ("reclaim", log.reclaim().map(drop)),
        ("flush", log.flush()),
        ("sync", log.sync()),
    ];
    for (name, outcome) in attempts {
        if !matches!(outcome, Err(Error::ReadOnlyAfterFailedSync)) {
            return Err(format!("after a failed sync, {name} gives {outcome:?}"));
        }
    }
    Ok(())
}
