//! Workloads on a bare log, W1 and W2.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use multibee_log::{FileStorage, KeyPair, Log, LogOptions};

use super::data::{self, Strings};
use super::disk::DiskUse;
use super::floor;
use super::job::{Durability, IN_FLIGHT, Task};
use super::record::{Record, Title};
use super::store::SEED;
use super::usage::{Meter, Span};

/// W1.
pub(super) fn append(task: &Task, batch: u32, durability: Durability) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.n());
    let options = LogOptions { durability: durability.into(), ..LogOptions::default() };
    let storage = FileStorage::create(task.folder())?;
    let log = Log::create(storage, KeyPair::from_seed(SEED), options)?;
    let blocks: Vec<_> = blocks.iter().collect();
    let meter = Meter::start();
    for call in blocks.chunks(batch as usize) {
        log.append(call)?;
    }
    let span = meter.stop();
    ensure!(log.len() == u64::from(task.n()), "the log has {} blocks", log.len());
    drop(log);
    let disk = DiskUse::of(&task.folder())?;
    let (variant, durability) = (format!("batch{batch}"), durability.to_string());
    let title = Title { variant: &variant, durability: &durability, unit: "blocks/s" };
    let record = Record::new(task, &title, span, disk);
    Ok(vec![record.and_mb_per_s("mbPerS", data::BLOCK_LEN)])
}

/// W2. Gets are plain calls that block, so that as many are in flight as there are threads. Read a
/// second time, in the same process, most blocks come from the log's own cache.
pub(super) fn read(task: &Task, threads: u32) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.population());
    let indexes = data::indexes(task.n(), task.population());
    let folder = task.source_folder();
    let mut records = if threads == 1 { vec![floor::read(task)?] } else { Vec::new() };
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

/// W2 on several threads while one more appends single blocks, buffered, as fast as it can.
pub(super) fn read_while_writing(task: &Task, threads: u32) -> Result<Vec<Record>> {
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
