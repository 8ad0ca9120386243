//! W2: reading a log at random.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use multibee_log::{FileStorage, Log, LogOptions};
use serde::{Deserialize, Serialize};

use super::{Append, Plan, Workload};
use crate::bench::data::{self, Strings};
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, Title};
use crate::bench::store::Durability;
use crate::bench::task::Task;
use crate::bench::usage::{Meter, Span};
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan { floor, theirs, ..Plan::of(Workload::W2, jobs) };

fn jobs() -> Vec<Job> {
    let read = |threads| Job::Read(Read { threads });
    vec![read(1), read(8), Job::ReadWhileWriting(ReadWhileWriting { threads: 8 })]
}

/// The floor is of one thread.
fn floor(variant: &str) -> Option<String> {
    matches!(variant, "sequential" | "sequential warm").then(|| "pread FLOOR".to_owned())
}

fn theirs(variant: &str, _: &str) -> Option<String> {
    match variant {
        "sequential" => Some("sequential-await".to_owned()),
        "8-threads" => Some(format!("{IN_FLIGHT}-in-flight")),
        _ => None,
    }
}

fn source() -> Job {
    Job::Append(Append { batch: 1000, durability: Durability::Buffered })
}

/// Reads on so many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Read {
    pub(in crate::bench) threads: u32,
}

impl Kind for Read {
    fn workload(&self) -> Workload {
        Workload::W2
    }

    fn name(&self) -> String {
        format!("threads{}", self.threads)
    }

    fn source(&self) -> Option<Job> {
        Some(source())
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        let size = if self.threads == 1 { 1 } else { IN_FLIGHT };
        (peer == Peer::Node).then_some(Work::new("W2", size))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        read(task, self.threads)
    }
}

/// Reads on so many threads while another one appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct ReadWhileWriting {
    pub(in crate::bench) threads: u32,
}

impl Kind for ReadWhileWriting {
    fn workload(&self) -> Workload {
        Workload::W2
    }

    fn name(&self) -> String {
        format!("writer-threads{}", self.threads)
    }

    fn source(&self) -> Option<Job> {
        Some(source())
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        read_while_writing(task, self.threads)
    }
}

/// Gets are plain calls that block, so that as many are in flight as there are threads. Read a
/// second time, in the same process, most blocks come from the log's own cache.
fn read(task: &Task, threads: u32) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.population());
    let indexes = data::indexes(task.n(), task.population());
    let folder = task.source_folder();
    let mut records = if threads == 1 { vec![read_floor(task)?] } else { Vec::new() };
    let log = Log::open(FileStorage::open(&folder)?, LogOptions::default())?;
    let variant = match threads {
        1 => "sequential".to_owned(),
        _ => format!("{threads}-threads"),
    };
    for pass in ["", " warm"] {
        let span = match threads {
            1 => read_in_turn(&log, &blocks, &indexes)?,
            _ => read_at_once(&log, &blocks, &indexes, threads)?,
        };
        let disk = DiskUse::of(&folder)?;
        let variant = format!("{variant}{pass}");
        let title = Title { variant: &variant, durability: "read", unit: "gets/s" };
        records.push(Record::new(task, &title, span, disk).and("inFlight", threads));
    }
    Ok(records)
}

/// On several threads while one more appends single blocks, buffered, as fast as it can.
fn read_while_writing(task: &Task, threads: u32) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.population());
    let indexes = data::indexes(task.n(), task.population());
    let folder = task.folder();
    copy_folder(&task.source_folder(), &folder)?;
    let options =
        LogOptions { durability: multibee::Durability::Buffered, ..LogOptions::default() };
    // The original is not written any more.
    let log = Log::adopt(FileStorage::open(&folder)?, options)?;
    let before = log.len();
    let is_done = AtomicBool::new(false);
    let span = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                log.append(&[[7; data::BLOCK_LEN]])?;
            }
            anyhow::Ok(())
        });
        let span = read_at_once(&log, &blocks, &indexes, threads);
        is_done.store(true, Ordering::Relaxed);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        span
    })?;
    let appended = log.len() - before;
    drop(log);
    let disk = DiskUse::of(&folder)?;
    let variant = format!("{threads}-threads + writer");
    let title = Title { variant: &variant, durability: "read", unit: "gets/s" };
    let rate = appended as f64 / span.wall.as_secs_f64();
    Ok(vec![Record::new(task, &title, span, disk).and("appendsPerS", rate.round())])
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn read_in_turn(log: &Log, blocks: &Strings, indexes: &[u32]) -> Result<Span> {
    let meter = Meter::start();
    for &index in indexes {
        read_one(log, blocks, index)?;
    }
    Ok(meter.stop())
}

/// Each thread does its share of each group of 64; none waits for the others' between two groups.
fn read_at_once(log: &Log, blocks: &Strings, indexes: &[u32], threads: u32) -> Result<Span> {
    let share_len = (IN_FLIGHT / threads) as usize;
    let all_are_there = Barrier::new(threads as usize + 1);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads as usize)
            .map(|thread| {
                let all_are_there = &all_are_there;
                scope.spawn(move || {
                    all_are_there.wait();
                    let groups = indexes.chunks(IN_FLIGHT as usize);
                    let shares = groups.filter_map(|group| group.chunks(share_len).nth(thread));
                    shares.flatten().try_for_each(|&index| read_one(log, blocks, index))
                })
            })
            .collect();
        let meter = Meter::start();
        all_are_there.wait();
        for reader in readers {
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(meter.stop())
    })
}

fn read_one(log: &Log, blocks: &Strings, index: u32) -> Result<()> {
    let block = log.get(index.into())?.context("a block is missing")?;
    ensure!(block == blocks.get(index), "block {index} has the bytes of another");
    Ok(())
}

/// The floor of W2: one read from the system's cache for each block, from the log's own file, and the
/// same look at what came as the log's readers take.
fn read_floor(task: &Task) -> Result<Record> {
    let blocks = data::blocks(task.population());
    let indexes = data::indexes(task.n(), task.population());
    let file = File::open(task.source_folder().join("data"))?;
    let mut block = [0; data::BLOCK_LEN];
    let meter = Meter::start();
    for index in indexes {
        file.read_exact_at(&mut block, u64::from(index) * data::BLOCK_LEN as u64)?;
        ensure!(block == blocks.get(index), "block {index} has the bytes of another");
    }
    let span = meter.stop();
    let disk = DiskUse::of(&task.source_folder())?;
    let title = Title { variant: "pread FLOOR", durability: "read", unit: "gets/s" };
    Ok(Record::new(task, &title, span, disk))
}

/// Gets in flight at once in the concurrent half.
const IN_FLIGHT: u32 = 64;
