//! W8: a client downloads everything from a server, each in its own process.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use multibee_btree::{Bee, BeeOptions, EXTENSION_NAME, ExtensionMessage};
use multibee_log::{FileStorage, Log, LogKey, LogOptions};
use multibee_replica::{
    ConnectionStats, Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, Role,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::data;
use super::disk::DiskUse;
use super::entries;
use super::job::{Job, Task};
use super::record::{Record, Title};
use super::runner;
use super::store::Store;
use super::usage::{Meter, Span, peak_rss_kib};

/// A download in which nothing happens for this long is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a server tells when it can be connected to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) port: u16,
    /// Of the log, in hex.
    pub(super) key: String,
    /// In blocks.
    pub(super) length: u64,
    /// In hex.
    tree_hash: String,
}

/// What a server tells when it is over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) rss_kib: Option<u64>,
    pub(super) cpu_ms: Option<f64>,
}

/// The server's process: tells what it offers, and serves until its input ends.
pub(super) fn serve(task: &Task) -> Result<()> {
    let log = Log::open(FileStorage::open(task.source_folder())?, LogOptions::default())?;
    let bee = Bee::open(log.clone(), BeeOptions::default())?;
    serve_log(&log, Some(bee))
}

/// As [`serve`], any log. If it is that of a tree, readers get hints.
pub(super) fn serve_log(log: &Log, bee: Option<Bee>) -> Result<()> {
    let head = log.durable_head().context("there is nothing to serve")?;
    let runtime = Runtime::new().context("tokio")?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let offer = Offer {
        port: listener.local_addr()?.port(),
        key: hex::encode(log.key().as_bytes()),
        length: head.length,
        tree_hash: head.tree_hash.to_string(),
    };
    let (endpoint, events) = endpoint(log, [2; 32]);
    if let Some(bee) = bee {
        runtime.spawn(answer_hints(endpoint.clone(), events, bee));
    }
    let meter = Meter::start();
    runtime.spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        endpoint.drive(stream, Role::Responder).await;
        io::Result::Ok(())
    });
    tell(&offer)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    let cpu_ms = meter.stop().cpu.map(|cpu| cpu.as_secs_f64() * 1e3);
    tell(&Account { rss_kib: peak_rss_kib(), cpu_ms })
}

/// Tells readers what to fetch, as they ask.
async fn answer_hints(endpoint: Endpoint, mut events: EventReceiver, bee: Bee) {
    endpoint.with(|replicator| replicator.accept_extension(EXTENSION_NAME));
    while let Some(event) = events.recv().await {
        if let Event::Extension { id, key, payload, .. } = event
            && let Ok(question) = ExtensionMessage::decode(&payload)
        {
            for part in bee.answer_hint(&question) {
                endpoint.with(|replicator| {
                    replicator.send_extension(id, &key, EXTENSION_NAME, part.encode())
                });
            }
        }
    }
}

/// The client's process.
pub(super) fn run(task: &Task) -> Result<Vec<Record>> {
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
            .and("serverCpuMs", account.cpu_ms),
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

pub(super) async fn receive_all(
    endpoint: &Endpoint,
    events: &mut EventReceiver,
    log: &Log,
    length: u64,
) -> Result<()> {
    while log.contiguous_len() < length {
        let next = timeout(PATIENCE, events.recv()).await;
        let mut event = next.context("nothing happened any more")?;
        ensure!(event.is_some(), "the endpoint is gone");
        // Looking at the log once for all that is there already.
        while let Some(happened) = event {
            react(endpoint, log, &happened)?;
            event = events.try_recv();
        }
    }
    Ok(())
}

/// What any client does about an event: asks for the log, and stops if anything is wrong.
pub(super) fn react(endpoint: &Endpoint, log: &Log, event: &Event) -> Result<()> {
    match event {
        Event::Connected { id, .. } => {
            endpoint.with(|replicator| replicator.offer(*id, &log.key()));
        }
        Event::Fault { fault, .. } => bail!("the server is faulty: {fault}"),
        Event::Closed { reason, .. } => bail!("the connection ended: {reason}"),
        Event::LogRejected { .. } => bail!("the server does not know the log"),
        Event::LogFailed { error, .. } => bail!("the log failed: {error}"),
        _ => {}
    }
    Ok(())
}

/// Opens what was downloaded and compares all of it with what the server's data was made from.
fn check(task: &Task, offer: &Offer) -> Result<()> {
    let bee = <Bee as Store>::open(&task.folder())?;
    let head = bee.log().head().context("the copy is empty")?;
    let is_same = head.length == offer.length && head.tree_hash.to_string() == offer.tree_hash;
    ensure!(is_same, "the copy has another head than the original");
    entries::compare(&bee, &data::sorted_entries(task.population()))
}

pub(super) fn endpoint(log: &Log, seed: [u8; 32]) -> (Endpoint, EventReceiver) {
    // A fixed seed makes the encryption worthless, which on this machine's loopback it may be.
    let mut replicator = Replicator::new(ReplicatorOptions::default(), seed);
    replicator.add_log(log.clone());
    Endpoint::new(replicator)
}

pub(super) fn tell(message: &impl Serialize) -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(message)?)?;
    output.flush().context("cannot write to the client")
}

/// A server's process, as its client has it. It ends when this is dropped, since its input does.
pub(super) struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Of what the job of a task reads.
    pub(super) fn start(task: &Task) -> Result<Self> {
        Self::start_as(&task.with(Job::Serve))
    }

    pub(super) fn start_as(task: &Task) -> Result<Self> {
        let mut process = runner::spawn(task)?;
        let output = process.stdout.take().context("the server has no output")?;
        Ok(Self { process, output: BufReader::new(output) })
    }

    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))
    }

    pub(super) fn stop<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.process.stdin.take());
        let account = self.hear()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(account)
    }
}
