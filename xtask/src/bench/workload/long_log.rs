//! L1: opening a log of ten million blocks.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use multibee_log::{Durability, FileStorage, KeyPair, Log, LogOptions, MemoryStorage};

use super::{Plan, Workload};
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::store::SEED;
use crate::bench::task::Task;
use crate::bench::usage::{Meter, rss_kib};

pub(super) const PLAN: Plan = Plan::of(Workload::L1, jobs);

fn jobs() -> Vec<Job> {
    vec![Job::OpenLong]
}

/// Writes the log. Not measured for its own sake.
pub(in crate::bench) struct WriteLong;

impl Kind for WriteLong {
    fn workload(&self) -> Workload {
        Workload::L1
    }

    fn name(&self) -> String {
        "write".to_owned()
    }

    fn full_n(&self) -> u32 {
        10_000_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        write(task)
    }
}

/// Opens it.
pub(in crate::bench) struct OpenLong;

impl Kind for OpenLong {
    fn workload(&self) -> Workload {
        Workload::L1
    }

    fn name(&self) -> String {
        "open".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(Job::WriteLong)
    }

    fn full_n(&self) -> u32 {
        1
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        open(task)
    }
}

fn buffered() -> LogOptions {
    LogOptions { durability: Durability::Buffered, ..LogOptions::default() }
}

/// Writes the log that [`open`] opens.
fn write(task: &Task) -> Result<Vec<Record>> {
    let storage = FileStorage::create(task.folder())?;
    let log = Log::create(storage, KeyPair::from_seed(SEED), buffered())?;
    let meter = Meter::start();
    let mut next = 0;
    while next < task.n() {
        let end = task.n().min(next + LONG_BATCH);
        let blocks: Vec<[u8; SHORT_LEN]> =
            (next..end).map(|number| u64::from(number).to_le_bytes()).collect();
        log.append(&blocks)?;
        next = end;
    }
    let span = meter.stop();
    drop(log);
    let disk = DiskUse::of(&task.folder())?;
    let title = Title { variant: "write", durability: "buffered", unit: "blocks/s" };
    Ok(vec![Record::new(task, &title, span, disk)])
}

/// Opens it as the writer left it, in a fresh process.
fn open(task: &Task) -> Result<Vec<Record>> {
    let folder = task.source_folder();
    // What all logs of a process share is there before.
    let other = Log::create(MemoryStorage::new(), KeyPair::from_seed(SEED), buffered())?;
    other.append(&["block"])?;
    let before = rss_kib();
    let meter = Meter::start();
    let log = Log::open(FileStorage::open(&folder)?, buffered())?;
    let span = meter.stop();
    let after = rss_kib();
    let middle = u64::from(task.population()) / 2;
    let start = Instant::now();
    let block = log.get(middle)?.context("a block is missing")?;
    let first_get = start.elapsed();
    ensure!(block == middle.to_le_bytes().as_slice(), "another block came");
    ensure!(log.len() == u64::from(task.population()), "the log has {} blocks", log.len());
    let entry_bytes = log.info()?.entry_bytes;
    // What a log in use has beside the cache.
    log.flush()?;
    drop(log);
    let start = Instant::now();
    let flushed = Log::open(FileStorage::open(&folder)?, buffered())?;
    let open_flushed = start.elapsed();
    drop(flushed);
    let disk = DiskUse::of(&folder)?;
    let title = Title { variant: "open", durability: "read", unit: "opens/s" };
    let record = Record::new(task, &title, span, disk)
        .and("blocks", task.population())
        .and("unflushedBytes", entry_bytes)
        .and("firstGetUs", first_get.as_micros() as u64)
        .and("openFlushedUs", open_flushed.as_micros() as u64);
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(vec![record.and("openedKiB", grown)])
}

/// Bytes of a block of the long log.
const SHORT_LEN: usize = 8;
/// Blocks of one append to it.
const LONG_BATCH: u32 = 50_000;
