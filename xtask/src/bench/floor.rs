//! What the machine itself takes for what a log does: the least that a workload can cost.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use blake2b_simd::many::{HashManyJob, hash_many};
use multibee_log::KeyPair;

use super::data;
use super::disk::DiskUse;
use super::job::{Durability, Task};
use super::merkle::{LEAF_PREFIX_LEN, PARENT_INPUT_LEN, params};
use super::record::{Record, Title};
use super::store::SEED;
use super::usage::Meter;

/// Bytes of an entry without its nodes, and of one node in it, about.
const ENTRY_LEN: usize = 110;
const NODE_LEN: usize = 36;

/// The floor of W1: for each call, the hash of each block and of as many parents, one signature,
/// the blocks written to one file and as many bytes as their entry has to another, and, if they are
/// to be durable, a sync of each. Nothing is kept, framed, checked or moved to its place.
pub(super) fn append(task: &Task, batch: u32, durability: Durability) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.n());
    let blocks: Vec<_> = blocks.iter().collect();
    let keys = KeyPair::from_seed(SEED);
    std::fs::create_dir_all(task.folder())?;
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

/// The floor of W2: one read from the system's cache for each block, from the log's own file, and the
/// same look at what came as the log's readers take.
pub(super) fn read(task: &Task) -> Result<Record> {
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

/// The floor of checking `n` blocks: so many hashes of a block, or of a parent.
pub(super) fn hashes(leaves: u64, parents: u64) -> u8 {
    let params = params();
    let (mut sum, mut leaf) = (0_u8, [7; LEAF_PREFIX_LEN + data::BLOCK_LEN]);
    let mut parent = [7; PARENT_INPUT_LEN];
    for number in 0..leaves {
        leaf[0] = number as u8;
        sum ^= first_byte(&params.hash(black_box(&leaf)));
    }
    for number in 0..parents {
        parent[0] = number as u8;
        sum ^= first_byte(&params.hash(black_box(&parent)));
    }
    sum
}

fn first_byte(hash: &blake2b_simd::Hash) -> u8 {
    hash.as_bytes().first().copied().unwrap_or_default()
}

fn create(task: &Task, name: &str) -> Result<File> {
    let path = task.folder().join(name);
    let file = OpenOptions::new().create_new(true).write(true).open(&path);
    file.with_context(|| format!("{}", path.display()))
}
