//! W8: a client downloads everything from a server, each in its own process.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use multibee_btree::{Bee, BeeOptions};
use multibee_log::{FileStorage, Log, LogKey, LogOptions};
use multibee_replica::{ConnectionStats, Role};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::{Plan, PutBatch, Workload, floor_of_same_name};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::entries;
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, SERVER_CPU_MS, Title};
use crate::bench::server::{Account, Offer, Server, endpoint, receive_all, serve_log};
use crate::bench::store::{Layer, Store};
use crate::bench::task::Task;
use crate::bench::transfer::{Costs, Message};
use crate::bench::usage::{Meter, Span};
use crate::bench::work::Work;

pub(super) const PLAN: Plan =
    Plan { floor: floor_of_same_name, theirs, ..Plan::of(Workload::W8, jobs) };

fn theirs(variant: &str, _: &str) -> Option<String> {
    (variant == Layer::Tree.to_string()).then(|| "clone".to_owned())
}

fn jobs() -> Vec<Job> {
    vec![Job::CloneFloor, Job::Clone]
}

/// The floor: hashing, encrypting, decrypting and copying the same blocks, on one core.
pub(in crate::bench) struct CloneFloor;

impl Kind for CloneFloor {
    fn workload(&self) -> Workload {
        Workload::W8
    }

    fn name(&self) -> String {
        "floor".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(Layer::Tree))
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        floor(task)
    }
}

/// The client's side.
pub(in crate::bench) struct CloneTree;

impl Kind for CloneTree {
    fn workload(&self) -> Workload {
        Workload::W8
    }

    fn name(&self) -> String {
        "clone".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(Layer::Tree))
    }

    fn server(&self) -> Option<Job> {
        Some(Job::Serve)
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        peer.is_tree().then_some(Work::new("W8", 1))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        run(task)
    }
}

/// The server's side, of W9, too.
pub(in crate::bench) struct ServeTree;

impl Kind for ServeTree {
    fn workload(&self) -> Workload {
        Workload::W8
    }

    fn name(&self) -> String {
        "serve".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(Layer::Tree))
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        serve(task).map(|()| Vec::new())
    }
}

/// The server's process: tells what it offers, and serves until its input ends.
fn serve(task: &Task) -> Result<()> {
    let log = Log::open(FileStorage::open(task.source_folder())?, LogOptions::default())?;
    let bee = Bee::open(log.clone(), BeeOptions::default())?;
    serve_log(&log, Some(bee))
}

/// The client's process.
fn run(task: &Task) -> Result<Vec<Record>> {
    let mut server = Server::start(task)?;
    let offer: Offer = server.hear()?;
    let length = u64::from(task.n()) + 1;
    ensure!(offer.length == length, "the server has {} blocks, not {length}", offer.length);
    let (span, wire) = download(task, &offer)?;
    let account: Account = server.stop()?;
    // Before the check, which opens the log and may tidy it up.
    let disk = DiskUse::of(&task.folder())?;
    check(task, &offer)?;
    // A replica is written as with that, whatever was asked for.
    let title = Title { variant: "btree", durability: "buffered", unit: "entries/s" };
    let record = Record::new(task, &title, span, disk);
    Ok(vec![
        record
            .and_mb_per_s("payloadMbPerS", data::KEY_LEN + data::VALUE_LEN)
            .and_bytes_per_entry()
            .and("wireBytesIn", wire.bytes_in)
            .and("wireBytesOut", wire.bytes_out)
            .and("serverRssKiB", account.rss_kib)
            .and(SERVER_CPU_MS, account.cpu_ms),
    ])
}

/// Downloads into an empty folder. The time runs from before connecting until all blocks are here.
fn download(task: &Task, offer: &Offer) -> Result<(Span, ConnectionStats)> {
    let key: LogKey = offer.key.parse().context("the server's key")?;
    let storage = FileStorage::create(task.folder())?;
    let log = Log::create_replica(storage, key, LogOptions::default())?;
    let runtime = Runtime::new().context("tokio")?;
    let (endpoint, mut events) = endpoint(&log, [3; 32]);
    endpoint.with(|replicator| replicator.want_all(&key));
    let meter = Meter::start();
    runtime.block_on(async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, offer.port)).await?;
        stream.set_nodelay(true)?;
        let connection = endpoint.clone();
        let drive = async move { connection.drive(stream, Role::Initiator).await };
        let driving = tokio::spawn(drive);
        receive_all(&endpoint, &mut events, &log, offer.length).await?;
        let span = meter.stop();
        let wire = endpoint.with(|replicator| replicator.stats().total);
        driving.abort();
        // Whatever the result, the task has to let go of the log before it is opened again.
        let _ = driving.await;
        Ok((span, wire))
    })
}

/// Opens what was downloaded and compares all of it with what the server's data was made from.
fn check(task: &Task, offer: &Offer) -> Result<()> {
    let bee = <Bee as Store>::open(&task.folder())?;
    let head = bee.log().head().context("the copy is empty")?;
    let is_same = head.length == offer.length && head.tree_hash.to_string() == offer.tree_hash;
    ensure!(is_same, "the copy has another head than the original");
    entries::compare(&bee, &data::sorted_entries(task.population()))
}

/// For the very log that is cloned.
fn floor(task: &Task) -> Result<Vec<Record>> {
    let log = Log::open(FileStorage::open(task.source_folder())?, LogOptions::default())?;
    let head = log.head().context("there is nothing to clone")?;
    let blocks: Vec<_> = (0..head.length)
        .map(|seq| log.get(seq)?.context("a block is missing"))
        .collect::<Result<_>>()?;
    drop(log);
    let messages = Message::gather(blocks.iter().map(|block| &block[..]));
    let costs = Costs::measure(&messages)?;
    ensure!(costs.tree_hash == *head.tree_hash.as_bytes(), "other blocks have arrived");
    let title = Title { variant: "btree FLOOR", durability: "read", unit: "entries/s" };
    let record = Record::new(task, &title, costs.span, DiskUse::default());
    Ok(vec![costs.tell(record).and_mb_per_s("payloadMbPerS", data::KEY_LEN + data::VALUE_LEN)])
}
