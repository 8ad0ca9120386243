//! W1: appending to a log, and the least that it can cost.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use blake2b_simd::many::{HashManyJob, hash_many};
use multibee_log::{FileStorage, KeyPair, Log, LogOptions};
use serde::{Deserialize, Serialize};

use super::{Plan, Workload, floor_of_same_name};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::merkle::{LEAF_PREFIX_LEN, PARENT_INPUT_LEN, params};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, Title};
use crate::bench::store::{Durability, SEED};
use crate::bench::task::Task;
use crate::bench::usage::Meter;
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan { floor: floor_of_same_name, ..Plan::of(Workload::W1, jobs) };

fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for batch in [1, 100, 1000] {
        for durability in Durability::BOTH {
            jobs.push(Job::AppendFloor(AppendFloor { batch, durability }));
            jobs.push(Job::Append(Append { batch, durability }));
        }
    }
    jobs
}

/// Blocks in all. Each call waits for the disk if it is to be durable, so there are fewer of the
/// single ones then.
fn full_n(batch: u32, durability: Durability) -> u32 {
    if (batch, durability) == (1, Durability::Immediate) { 5_000 } else { 100_000 }
}

/// Appends in calls of `batch` blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Append {
    pub(in crate::bench) batch: u32,
    pub(in crate::bench) durability: Durability,
}

impl Kind for Append {
    fn workload(&self) -> Workload {
        Workload::W1
    }

    fn name(&self) -> String {
        format!("batch{}-{}", self.batch, self.durability)
    }

    fn full_n(&self) -> u32 {
        full_n(self.batch, self.durability)
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        let is_theirs = peer == Peer::Node && self.durability == Durability::Buffered;
        is_theirs.then_some(Work::new("W1", self.batch))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        append(task, self.batch, self.durability)
    }
}

/// The floor of [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct AppendFloor {
    pub(in crate::bench) batch: u32,
    pub(in crate::bench) durability: Durability,
}

impl Kind for AppendFloor {
    fn workload(&self) -> Workload {
        Workload::W1
    }

    fn name(&self) -> String {
        format!("floor{}-{}", self.batch, self.durability)
    }

    fn full_n(&self) -> u32 {
        full_n(self.batch, self.durability)
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        append_floor(task, self.batch, self.durability)
    }
}

fn append(task: &Task, batch: u32, durability: Durability) -> Result<Vec<Record>> {
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

/// For each call, the hash of each block and of as many parents, one signature,
/// the blocks written to one file and as many bytes as their entry has to another, and, if they are
/// to be durable, a sync of each. Nothing is kept, framed, checked or moved to its place.
fn append_floor(task: &Task, batch: u32, durability: Durability) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.n());
    let blocks: Vec<_> = blocks.iter().collect();
    let keys = KeyPair::from_seed(SEED);
    fs::create_dir_all(task.folder())?;
    let (data, entries) = (create(task, "data")?, create(task, "entries")?);
    let (mut data_end, mut entries_end) = (0, 0);
    let params = params();
    let parent = [7; PARENT_INPUT_LEN];
    let mut inputs = Vec::new();
    let mut joined = Vec::new();
    let mut entry = Vec::new();
    let meter = Meter::start();
    for call in blocks.chunks(batch as usize) {
        inputs.clear();
        joined.clear();
        for block in call {
            inputs.extend_from_slice(&[0; LEAF_PREFIX_LEN]);
            inputs.extend_from_slice(block);
            joined.extend_from_slice(block);
        }
        let leaves = inputs.chunks(LEAF_PREFIX_LEN + data::BLOCK_LEN);
        let mut jobs: Vec<_> = leaves.map(|leaf| HashManyJob::new(&params, leaf)).collect();
        jobs.extend(call.iter().map(|_| HashManyJob::new(&params, &parent)));
        hash_many(jobs.iter_mut());
        let last = jobs.last().context("a call without blocks")?.to_hash();
        entry.clear();
        entry.extend_from_slice(&keys.sign(last.as_bytes()));
        entry.resize(ENTRY_LEN + 2 * NODE_LEN * call.len(), 7);
        data.write_all_at(&joined, data_end)?;
        entries.write_all_at(&entry, entries_end)?;
        data_end += joined.len() as u64;
        entries_end += entry.len() as u64;
        if durability == Durability::Immediate {
            data.sync_data()?;
            entries.sync_data()?;
        }
    }
    let span = meter.stop();
    let disk = DiskUse::of(&task.folder())?;
    let (variant, durability) = (format!("batch{batch} FLOOR"), durability.to_string());
    let title = Title { variant: &variant, durability: &durability, unit: "blocks/s" };
    Ok(vec![Record::new(task, &title, span, disk)])
}

fn create(task: &Task, name: &str) -> Result<File> {
    let path = task.folder().join(name);
    let file = OpenOptions::new().create_new(true).write(true).open(&path);
    file.with_context(|| format!("{}", path.display()))
}

/// Bytes of an entry without its nodes, and of one node in it, about.
const ENTRY_LEN: usize = 110;
const NODE_LEN: usize = 36;
