//! L2: checking a download against a log's tree.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use multibee_log::{
    Durability, FileStorage, KeyPair, Log, LogOptions, MemoryStorage, Proof, Request, RequestBlock,
    RequestUpgrade,
};

use super::{Plan, Workload};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::merkle::{LEAF_PREFIX_LEN, PARENT_INPUT_LEN, params};
use crate::bench::record::{Record, Title};
use crate::bench::store::SEED;
use crate::bench::task::Task;
use crate::bench::usage::{Meter, Span};

pub(super) const PLAN: Plan = Plan { floor, ..Plan::of(Workload::L2, jobs) };

fn jobs() -> Vec<Job> {
    vec![Job::Verify]
}

fn floor(variant: &str) -> Option<String> {
    variant.starts_with("verify").then(|| "hashing FLOOR".to_owned())
}

/// Proves, checks and stores all blocks.
pub(in crate::bench) struct Verify;

impl Kind for Verify {
    fn workload(&self) -> Workload {
        Workload::L2
    }

    fn name(&self) -> String {
        "verify".to_owned()
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        verify(task)
    }
}

/// A replica takes in all blocks of a log, a group at a time, as a download brings them: each
/// group is asked for before its first answer is there. Beside it, the hashing that the answers'
/// nodes would take one by one.
fn verify(task: &Task) -> Result<Vec<Record>> {
    let blocks = data::blocks(task.n());
    let blocks: Vec<_> = blocks.iter().collect();
    let storage = MemoryStorage::new();
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let source = Log::create(storage, KeyPair::from_seed(SEED), options)?;
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
    black_box(hashes(task.n().into(), parents));
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

/// The floor of checking `n` blocks: so many hashes of a block, or of a parent.
fn hashes(leaves: u64, parents: u64) -> u8 {
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

/// Blocks that are asked for before the first answer is there.
const VERIFY_BATCH: usize = 256;
