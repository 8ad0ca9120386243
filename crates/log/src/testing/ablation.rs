//! What becomes of a log that does not wait for the disk where it should.

use super::enumerator::{Bad, Enumerator, Tally};
use super::session::{Session, Settled};
use super::workload::Workload;
use super::{Effort, Event};
use crate::barrier::Barrier;
use crate::error::Result;
use crate::log::LogOptions;
use crate::storage::Part;

/// All barriers, in the order of a log's life.
const BARRIERS: [Barrier; 7] = [
    Barrier::Create,
    Barrier::Commit,
    Barrier::Flush,
    Barrier::Header,
    Barrier::Clear,
    Barrier::Conflict,
    Barrier::Recovery,
];

/// Random workloads by which it is found out which barriers there are.
const PROBES: u64 = 12;

/// What leaving out one wait for the disk led to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ablation {
    /// The wait that was left out.
    pub left_out: (Barrier, Part),
    /// What was looked at.
    pub tally: Tally,
    /// The first bad state. `None`: all was well without it.
    pub bad: Option<Box<Bad>>,
}

impl Ablation {
    /// Leaves out one wait, and looks for a bad state: in all short workloads of up to two operations,
    /// and then in `random` random ones.
    ///
    /// # Errors
    ///
    /// None unless the log is broken.
    pub fn run(left_out: (Barrier, Part), random: u64, effort: Effort) -> Result<Self> {
        let (barrier, part) = left_out;
        let all = Enumerator::without_barrier(barrier, part)?;
        let short = (0..=2).flat_map(Workload::all_of_len).map(|workload| {
            let from = workload.ops.len().saturating_sub(1);
            (workload, from)
        });
        let random = (0..random).map(|seed| (Workload::random(seed), 0));
        let mut tally = Tally::default();
        for (workload, from) in short.chain(random) {
            match all.explore(&workload, from, effort) {
                Ok(looked_at) => tally.add(looked_at),
                Err(bad) => return Ok(Self { left_out, tally, bad: Some(bad) }),
            }
        }
        Ok(Self { left_out, tally, bad: None })
    }

    /// Returns each wait for the disk that logs make: the barrier and the part.
    ///
    /// # Errors
    ///
    /// None unless the log is broken.
    pub fn waits() -> Result<Vec<(Barrier, Part)>> {
        let settled = Settled::new()?;
        let all = sync_count(None, &settled)?;
        let mut waits = Vec::new();
        for barrier in BARRIERS {
            for part in Part::ALL {
                // A wait that is left out is not made up for by another in each workload.
                if sync_count(Some((barrier, part)), &settled)? < all {
                    waits.push((barrier, part));
                }
            }
        }
        Ok(waits)
    }
}

/// How often logs wait for the disk in a few workloads.
fn sync_count(without_barrier: Option<(Barrier, Part)>, settled: &Settled) -> Result<usize> {
    let mut count = 0;
    for seed in 0..PROBES {
        let workload = Workload::random(seed);
        let options = LogOptions {
            durability: workload.durability,
            without_barrier,
            little_is_much: true,
            ..LogOptions::default()
        };
        let mut session = Session::start(options, workload.start, seed, settled)?;
        workload.ops.iter().try_for_each(|op| session.run(*op))?;
        for side in [&session.writer, &session.replica] {
            let recording = side.disk.inner().recording();
            let is_sync = |event: &&Event| matches!(event, Event::Sync { .. });
            count += recording.events().iter().filter(is_sync).count();
        }
    }
    Ok(count)
}
