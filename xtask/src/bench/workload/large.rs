//! N2 and N3: a client downloads a log of large blocks, which the server makes up.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use multibee_log::{
    Durability, FileStorage, KeyPair, Log, LogKey, LogOptions, MemoryStorage, Storage,
};
use multibee_replica::Role;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::{Plan, Workload, floor_of_same_name};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::invented::Invented;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, SERVER_CPU_MS, Title};
use crate::bench::server::{Account, Offer, Server, endpoint, receive_all, serve_log};
use crate::bench::store::SEED;
use crate::bench::task::Task;
use crate::bench::transfer::{Costs, Repeated};
use crate::bench::usage::{Meter, peak_rss_kib, rss_kib};

/// Without its data.
pub(super) const FOLLOW: Plan = Plan { is_large: true, ..Plan::of(Workload::N2, follow_jobs) };

/// With it.
pub(super) const CLONE: Plan =
    Plan { floor: floor_of_same_name, ..Plan::of(Workload::N3, clone_jobs) };

fn follow_jobs() -> Vec<Job> {
    [4096, 1 << 20].map(|len| Job::CloneLarge(CloneLarge { len, keeps: false })).to_vec()
}

fn clone_jobs() -> Vec<Job> {
    let len = 4096;
    let clone = CloneLarge { len, keeps: true };
    vec![Job::CloneLargeFloor(CloneLargeFloor { len }), Job::CloneLarge(clone)]
}

fn workload(keeps: bool) -> Workload {
    if keeps { Workload::N3 } else { Workload::N2 }
}

/// Blocks in all.
fn full_n(len: u32, keeps: bool) -> u32 {
    let bytes: u64 = if keeps { 1 << 29 } else { 10 << 30 };
    u32::try_from(bytes / u64::from(len)).unwrap_or(u32::MAX)
}

/// The client's side: blocks of so many bytes, of which the data is kept or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct CloneLarge {
    pub(in crate::bench) len: u32,
    pub(in crate::bench) keeps: bool,
}

impl Kind for CloneLarge {
    fn workload(&self) -> Workload {
        workload(self.keeps)
    }

    fn name(&self) -> String {
        format!("clone-{}", self.len)
    }

    fn server(&self) -> Option<Job> {
        Some(Job::ServeLarge(ServeLarge { len: self.len, keeps: self.keeps }))
    }

    fn full_n(&self) -> u32 {
        full_n(self.len, self.keeps)
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        run(task, self.len, self.keeps)
    }
}

/// The floor: hashing, encrypting, decrypting and copying the same blocks, on one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct CloneLargeFloor {
    pub(in crate::bench) len: u32,
}

impl Kind for CloneLargeFloor {
    fn workload(&self) -> Workload {
        Workload::N3
    }

    fn name(&self) -> String {
        format!("floor-{}", self.len)
    }

    fn full_n(&self) -> u32 {
        full_n(self.len, true)
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        floor(task, self.len)
    }
}

/// The server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct ServeLarge {
    pub(in crate::bench) len: u32,
    pub(in crate::bench) keeps: bool,
}

impl Kind for ServeLarge {
    fn workload(&self) -> Workload {
        workload(self.keeps)
    }

    fn name(&self) -> String {
        format!("serve-{}", self.len)
    }

    fn full_n(&self) -> u32 {
        full_n(self.len, self.keeps)
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        serve(task, self.len).map(|()| Vec::new())
    }
}

/// Each block of the log.
fn block(len: u32) -> Vec<u8> {
    data::blocks(len.div_ceil(data::BLOCK_LEN as u32)).iter().flatten().copied().collect()
}

/// The server's process: a log of `task.n()` blocks of `len` bytes.
fn serve(task: &Task, len: u32) -> Result<()> {
    let block = block(len);
    let storage = Invented::new(MemoryStorage::new(), block.clone());
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let log = Log::create(storage, KeyPair::from_seed(SEED), options)?;
    let call = vec![block.as_slice(); (APPEND_LEN / block.len()).max(1)];
    let mut left = task.n() as usize;
    while left > 0 {
        let count = left.min(call.len());
        log.append(call.get(..count).unwrap_or_default())?;
        left -= count;
    }
    log.sync()?;
    serve_log(&log, None)
}

/// The client's process. It keeps the data, or only the tree.
fn run(task: &Task, len: u32, keeps: bool) -> Result<Vec<Record>> {
    let mut server = Server::start(task)?;
    let offer: Offer = server.hear()?;
    let storage = FileStorage::create(task.folder())?;
    let record = if keeps {
        download(task, len, &offer, storage)?
    } else {
        download(task, len, &offer, Invented::new(storage, block(len)))?
    };
    let account: Account = server.stop()?;
    let record = record.and("serverRssKiB", account.rss_kib).and(SERVER_CPU_MS, account.cpu_ms);
    Ok(vec![record.and_mb_per_s("payloadMbPerS", len as usize)])
}

fn download(task: &Task, len: u32, offer: &Offer, storage: impl Storage) -> Result<Record> {
    let key: LogKey = offer.key.parse().context("the server's key")?;
    let log = Log::create_replica(storage, key, LogOptions::default())?;
    let runtime = Runtime::new().context("tokio")?;
    let (endpoint, mut events) = endpoint(&log, [3; 32]);
    endpoint.with(|replicator| replicator.want_all(&key));
    // Before anything has come, to tell what the download takes.
    let rss_before = rss_kib();
    let meter = Meter::start();
    let (span, wire, rss_halfway) = runtime.block_on(async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, offer.port)).await?;
        stream.set_nodelay(true)?;
        let connection = endpoint.clone();
        let driving = tokio::spawn(async move { connection.drive(stream, Role::Initiator).await });
        receive_all(&endpoint, &mut events, &log, offer.length / 2).await?;
        let rss_halfway = rss_kib();
        receive_all(&endpoint, &mut events, &log, offer.length).await?;
        let span = meter.stop();
        let wire = endpoint.with(|replicator| replicator.stats().total);
        driving.abort();
        // Whatever the result, the task has to let go of the log.
        let _ = driving.await;
        anyhow::Ok((span, wire, rss_halfway))
    })?;
    let rss_after = rss_kib();
    drop(log);
    let disk = DiskUse::of(&task.folder())?;
    let variant = format!("blocks of {len} B");
    let title = Title { variant: &variant, durability: "buffered", unit: "blocks/s" };
    let payload = u64::from(len) * u64::from(task.n());
    let overhead = (wire.bytes_in + wire.bytes_out) as f64 / payload as f64 - 1.0;
    Ok(Record::new(task, &title, span, disk)
        .and("wireOverheadPercent", (overhead * 1e4).round() / 1e2)
        .and("rssBeforeKiB", rss_before)
        .and("rssHalfwayKiB", rss_halfway)
        .and("rssAfterKiB", rss_after)
        .and("rssPeakKiB", peak_rss_kib()))
}

/// For a log with blocks of `len` bytes.
fn floor(task: &Task, len: u32) -> Result<Vec<Record>> {
    // The server does not read them from a disk either.
    let blocks = Repeated::new(&block(len), task.n() as usize);
    let costs = Costs::measure(blocks.messages())?;
    let variant = format!("blocks of {len} B FLOOR");
    let title = Title { variant: &variant, durability: "read", unit: "blocks/s" };
    let record = Record::new(task, &title, costs.span, DiskUse::default());
    Ok(vec![costs.tell(record).and_mb_per_s("payloadMbPerS", len as usize)])
}

/// Bytes that one append writes, about.
const APPEND_LEN: usize = 4 << 20;
