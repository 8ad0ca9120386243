//! Workloads on a bare log that its peers do not run: opening a very long one, and checking a
//! download.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use multibee_log::{
    Durability, FileStorage, KeyPair, Log, LogOptions, Proof, Request, RequestBlock, RequestUpgrade,
};

use super::disk::DiskUse;
use super::floor;
use super::job::Task;
use super::record::{Record, Title};
use super::store::SEED;
use super::usage::{Meter, Span, rss_kib};
use super::{data, job::VERIFY_BATCH};

/// Bytes of a block of the long log.
const SHORT_LEN: usize = 8;
/// Blocks of one append to it.
const LONG_BATCH: u32 = 50_000;

fn buffered() -> LogOptions {
    LogOptions { durability: Durability::Buffered, ..LogOptions::default() }
}

/// Writes the log that [`open`] opens.
pub(super) fn write_long(task: &Task) -> Result<Vec<Record>> {
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

/// L1: opens a log of ten million blocks, as the writer left it, in a fresh process.
pub(super) fn open(task: &Task) -> Result<Vec<Record>> {
    let folder = task.source_folder();
    // What all logs of a process share is there before.
    let other =
        Log::create(multibee_log::MemoryStorage::new(), KeyPair::from_seed(SEED), buffered())?;
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

/// L2: a replica takes in all blocks of a log, a group at a time, as a download brings them: each
/// group is asked for before its first answer is there. Beside it, the hashing that the answers'
/// nodes would take one by one.
pub(super) fn verify(task: &Task) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.n());
    let blocks: Vec<_> = blocks.iter().collect();
    let storage = multibee_log::MemoryStorage::new();
    let source = Log::create(storage, KeyPair::from_seed(SEED), buffered())?;
    for call in blocks.chunks(1000) {
        source.append(call)?;
    }
    source.sync()?;
    let storage = FileStorage::create(task.folder())?;
    let replica = Log::create_replica(storage, source.key(), LogOptions::default())?;
    let upgrade = Some(RequestUpgrade { start: 0, length: u64::from(task.n()) });
    let head = source.prove(&Request { upgrade, manifest: true, ..Request::default() })?;
    replica.apply(&head)?;
    let mut proving = Total::default();
    let (mut verifying, mut applying) = (Total::default(), Total::default());
    let mut parents = 0;
    for first in (0..u64::from(task.n())).step_by(VERIFY_BATCH) {
        let numbers = first..u64::from(task.n()).min(first + VERIFY_BATCH as u64);
        let requests: Vec<Request> = numbers
            .map(|index| {
                let nodes = replica.missing_nodes(2 * index)?;
                let block = Some(RequestBlock { index, nodes });
                Ok(Request { block, ..Request::default() })
            })
            .collect::<Result<_>>()?;
        let meter = Meter::start();
        let proofs: Vec<Proof> =
            requests.iter().map(|request| source.prove(request)).collect::<Result<_, _>>()?;
        proving.add(meter.stop());
        parents += proofs
            .iter()
            .filter_map(|proof| proof.block.as_ref())
            .map(|block| block.nodes.len() as u64)
            .sum::<u64>();
        let meter = Meter::start();
        replica.verify_all(&proofs)?;
        verifying.add(meter.stop());
        let meter = Meter::start();
        for applied in replica.apply_all(&proofs)? {
            applied?;
        }
        applying.add(meter.stop());
    }
    ensure!(replica.contiguous_len() == u64::from(task.n()), "blocks are missing");
    let meter = Meter::start();
    std::hint::black_box(floor::hashes(task.n().into(), parents));
    let hashing = meter.stop();
    drop(replica);
    let disk = DiskUse::of(&task.folder())?;
    let record = |variant, durability, span| {
        Record::new(task, &Title { variant, durability, unit: "blocks/s" }, span, disk)
    };
    Ok(vec![
        record("hashing FLOOR", "read", hashing)
            .and("hashesPerBlock", 1.0 + parents as f64 / f64::from(task.n())),
        record("prove", "read", proving.span()),
        record("verify", "read", verifying.span()),
        record("verify and store", "buffered", applying.span()),
    ])
}

/// Several spans together.
#[derive(Default)]
struct Total {
    wall: Duration,
    cpu: Option<Duration>,
}

impl Total {
    fn add(&mut self, span: Span) {
        self.wall += span.wall;
        self.cpu = span.cpu.map(|cpu| cpu + self.cpu.unwrap_or_default());
    }

    fn span(&self) -> Span {
        Span { wall: self.wall, cpu: self.cpu }
    }
}
