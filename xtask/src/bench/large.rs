//! N2 and N3: a client downloads a log of large blocks, which the server makes up.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use multibee_log::{
    Durability, FileStorage, KeyPair, Log, LogKey, LogOptions, MemoryStorage, Storage,
};
use multibee_replica::Role;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::clone::{Account, Offer, Server, endpoint, receive_all, serve_log};
use super::data;
use super::disk::DiskUse;
use super::invented::Invented;
use super::job::{Job, Task};
use super::record::{Record, Title};
use super::store::SEED;
use super::usage::{Meter, peak_rss_kib, rss_kib};

/// Bytes that one append writes, about.
const APPEND_LEN: usize = 4 << 20;

/// Each block of the log.
pub(super) fn block(len: u32) -> Vec<u8> {
    data::blocks(len.div_ceil(data::BLOCK_LEN as u32)).iter().flatten().copied().collect()
}

/// The server's process: a log of `task.n()` blocks of `len` bytes.
pub(super) fn serve(task: &Task, len: u32) -> Result<()> {
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
pub(super) fn run(task: &Task, len: u32, keeps: bool) -> Result<Vec<Record>> {
    let mut server = Server::start_as(&task.with(Job::ServeLarge { len, keeps }))?;
    let offer: Offer = server.hear()?;
    let storage = FileStorage::create(task.folder())?;
    let record = if keeps {
        download(task, len, &offer, storage)?
    } else {
        download(task, len, &offer, Invented::new(storage, block(len)))?
    };
    let account: Account = server.stop()?;
    let record = record.and("serverRssKiB", account.rss_kib).and("serverCpuMs", account.cpu_ms);
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
