//! M4: moving a database to a fresh log while somebody writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use multibee::{Compacted, Durability, Home, Multibee, Options};
use serde::{Deserialize, Serialize};

use super::{Plan, Workload};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::task::Task;
use crate::bench::usage::{Meter, peak_rss_kib, rss_kib};

pub(super) const PLAN: Plan = Plan::of(Workload::M4, jobs);

fn jobs() -> Vec<Job> {
    let writing = Compact { rounds: 3, is_written: true };
    let quiet = Compact { rounds: 100, is_written: false };
    [writing, quiet].map(Job::Compact).to_vec()
}

/// Compacts what was put so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Compact {
    rounds: u32,
    /// Whether somebody puts single entries meanwhile, as fast as they go.
    is_written: bool,
}

/// Puts in one batch.
const BATCH: u32 = 1000;

impl Kind for Compact {
    fn workload(&self) -> Workload {
        Workload::M4
    }

    fn name(&self) -> String {
        let meanwhile = if self.is_written { "-written" } else { "" };
        format!("compact-{}-times{meanwhile}", self.rounds)
    }

    fn full_n(&self) -> u32 {
        if self.is_written { 300_000 } else { 10_000 }
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        compact(*self, task)
    }
}

fn compact(kind: Compact, task: &Task) -> Result<Vec<Record>> {
    let fresh = task.folder().join("fresh");
    load(&Home::dir(&fresh), task.n(), 1)?;
    let fresh = DiskUse::of(&fresh)?;
    let folder = task.folder().join("home");
    let home = Home::dir(&folder);
    load(&home, task.n(), kind.rounds)?;
    let before = DiskUse::of(&folder)?;

    let db = Multibee::open(home.clone(), options())?;
    let rss_before = rss_kib();
    let is_over = AtomicBool::new(false);
    let meter = Meter::start();
    let (done, puts) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| if kind.is_written { write(&db, &is_over) } else { Ok(None) });
        let done = db.compact(|_| {});
        is_over.store(true, Ordering::Relaxed);
        let puts = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        anyhow::Ok((done?, puts?))
    })?;
    let span = meter.stop();
    let peak = peak_rss_kib();
    drop(db);
    // What was left goes when the database is opened next.
    let keys = Multibee::open(home, options())?.verify()?.keys;
    ensure!(keys >= u64::from(task.n()), "there are {keys} keys");
    let after = DiskUse::of(&folder)?;

    let Compacted { bytes_before, bytes_after, .. } = done;
    let variant = kind.name();
    let title = Title { variant: &variant, durability: "buffered", unit: "entries/s" };
    let record = Record::new(task, &title, span, after)
        .and("bytesBefore", bytes_before)
        .and("bytesAfter", bytes_after)
        .and("diskBefore", before.allocated)
        .and("timesFreshLoad", times(after, fresh))
        .and("rssBeforeKiB", rss_before)
        .and("rssPeakKiB", peak);
    Ok(vec![match puts {
        Some(Puts { count, slowest }) => {
            record.and("puts", count).and("slowestPutUs", u64::try_from(slowest.as_micros())?)
        }
        None => record,
    }])
}

/// How many times what the other folder has on the disk.
fn times(after: DiskUse, fresh: DiskUse) -> Option<f64> {
    let (after, fresh) = after.allocated.zip(fresh.allocated)?;
    Some((after as f64 / fresh as f64 * 100.0).round() / 100.0)
}

/// Puts entries, the same keys each time.
fn load(home: &Home, count: u32, rounds: u32) -> Result<()> {
    let db = Multibee::create(home.clone(), options())?;
    let (keys, values) = (data::keys(count), data::values(count));
    for _ in 0..rounds {
        for start in (0..count).step_by(BATCH as usize) {
            let mut batch = db.batch();
            for index in start..count.min(start + BATCH) {
                batch.put(keys.get(index), values.share(index));
            }
            batch.commit()?;
        }
    }
    Ok(())
}

/// What was put meanwhile.
struct Puts {
    count: u64,
    slowest: Duration,
}

fn write(db: &Multibee, is_over: &AtomicBool) -> Result<Option<Puts>> {
    let mut puts = Puts { count: 0, slowest: Duration::ZERO };
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        db.put(format!("meanwhile/{}", puts.count % 1000), "1").context("a put failed")?;
        puts.slowest = puts.slowest.max(start.elapsed());
        puts.count += 1;
    }
    Ok(Some(puts))
}

fn options() -> Options {
    Options { durability: Durability::Buffered, ..Options::default() }
}
