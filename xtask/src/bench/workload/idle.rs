//! N1: what connections cost on which nothing happens, each with some logs open. Clients and server
//! are two processes, each with all of its ends in one endpoint; neither has anything on disk.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use multibee_log::{KeyPair, Log, LogKey, LogOptions, MemoryStorage};
use multibee_replica::{
    Endpoint, Event, EventReceiver, ListenLimits, Listener, Replicator, ReplicatorOptions, dial,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Plan, Workload};
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::server::{Server, tell};
use crate::bench::task::Task;
use crate::bench::usage::{Meter, rss_kib};

pub(super) const PLAN: Plan = Plan::of(Workload::N1, jobs);

fn jobs() -> Vec<Job> {
    vec![Job::Idle]
}

/// The clients' side.
pub(in crate::bench) struct Idle;

impl Kind for Idle {
    fn workload(&self) -> Workload {
        Workload::N1
    }

    fn name(&self) -> String {
        "idle".to_owned()
    }

    fn server(&self) -> Option<Job> {
        Some(Job::IdleServe)
    }

    fn full_n(&self) -> u32 {
        1_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        run(task)
    }
}

/// The server's side.
pub(in crate::bench) struct IdleServe;

impl Kind for IdleServe {
    fn workload(&self) -> Workload {
        Workload::N1
    }

    fn name(&self) -> String {
        "serve".to_owned()
    }

    fn full_n(&self) -> u32 {
        1_000
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        serve(task).map(|()| Vec::new())
    }
}

/// Logs that are open on each connection.
const LOGS: u8 = 10;
/// Blocks of each.
const BLOCKS: u64 = 1000;
/// Nothing is done for this long before memory is looked at: keepalives have passed by then.
const REST: Duration = Duration::from_secs(12);
/// Nothing happens for this long only if something is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server tells when it can be connected to.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    port: u16,
    /// Of the logs, in hex.
    keys: Vec<String>,
}

/// What a server tells at the end, with all connections still there.
#[derive(Debug, Serialize, Deserialize)]
struct Account {
    connections: usize,
    channels: usize,
    before_kib: Option<u64>,
    rss_kib: Option<u64>,
}

/// The server's process.
fn serve(task: &Task) -> Result<()> {
    let logs = (1..=LOGS).map(written_log).collect::<Result<Vec<_>>>()?;
    let (endpoint, events) = endpoint(&logs, [2; 32]);
    // Nobody is to know.
    drop(events);
    let runtime = Runtime::new().context("tokio")?;
    let most = usize::try_from(task.n())? + 1;
    let limits = ListenLimits {
        half_open: most,
        half_open_per_address: most,
        connections: most,
        connections_per_address: most,
    };
    let listener = runtime.block_on(Listener::bind((Ipv4Addr::LOCALHOST, 0), limits))?;
    let keys = logs.iter().map(|log| hex::encode(log.key().as_bytes())).collect();
    let offer = Offer { port: listener.local_addr()?.port(), keys };
    let serving = endpoint.clone();
    runtime.spawn(async move { listener.run(&serving).await });
    let before_kib = rss_kib();
    tell(&offer)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    let rss_kib = rss_kib();
    let (connections, channels) = counts(&endpoint, &logs);
    tell(&Account { connections, channels, before_kib, rss_kib })
}

/// The clients' process.
fn run(task: &Task) -> Result<Vec<Record>> {
    let mut server = Server::start(task)?;
    let offer: Offer = server.hear()?;
    let logs = offer.keys.iter().map(|key| empty_log(key)).collect::<Result<Vec<_>>>()?;
    let (endpoint, events) = endpoint(&logs, [3; 32]);
    let runtime = Runtime::new().context("tokio")?;
    let before_kib = rss_kib();
    let meter = Meter::start();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, offer.port));
    let events = runtime.block_on(connect_all(task.n(), address, &endpoint, events, &logs))?;
    let span = meter.stop();
    let resting = Meter::start();
    std::thread::sleep(REST);
    let resting = resting.stop();
    let rss_kib = rss_kib();
    let (connections, channels) = counts(&endpoint, &logs);
    let account: Account = server.stop()?;
    drop(events);
    let wanted = usize::try_from(task.n())?;
    ensure!(connections == wanted, "{connections} connections are left");
    ensure!(channels == wanted * usize::from(LOGS), "{channels} channels are left");
    ensure!(account.connections == wanted && account.channels == channels, "{account:?}");
    let each = |before: Option<u64>, after: Option<u64>| {
        let grown = after?.saturating_sub(before?);
        Some(grown * 1024 / u64::from(task.n()))
    };
    let title = Title { variant: "10-logs", durability: "read", unit: "connections/s" };
    let record = Record::new(task, &title, span, DiskUse::default());
    Ok(vec![
        record
            .and("clientRssKiB", rss_kib)
            .and("clientBytesEach", each(before_kib, rss_kib))
            .and("serverRssKiB", account.rss_kib)
            .and("serverBytesEach", each(account.before_kib, account.rss_kib))
            .and(
                "idleCpuPerCent",
                resting.cpu.map(|cpu| {
                    (cpu.as_secs_f64() / resting.wall.as_secs_f64() * 1e4).round() / 1e2
                }),
            ),
    ])
}

/// Makes so many connections with all logs open on each, and waits until nothing is missing.
async fn connect_all(
    count: u32,
    address: SocketAddr,
    endpoint: &Endpoint,
    mut events: EventReceiver,
    logs: &[Log],
) -> Result<EventReceiver> {
    let mut to_open = u64::from(count) * u64::from(LOGS);
    for _ in 0..count {
        let (stream, link) = dial(address, PATIENCE).await?;
        let id = endpoint.connect_link(link);
        endpoint.with(|replicator| logs.iter().for_each(|log| replicator.offer(id, &log.key())));
        tokio::spawn(drive(endpoint.clone(), id, stream));
    }
    while to_open > 0 || logs.iter().any(|log| log.contiguous_len() < BLOCKS) {
        let event = timeout(PATIENCE, events.recv()).await.context("nothing happened any more")?;
        match event.context("the endpoint is gone")? {
            Event::LogOpened { .. } => to_open -= 1,
            Event::Fault { fault, .. } => bail!("the server is faulty: {fault}"),
            Event::Closed { reason, .. } => bail!("a connection ended: {reason}"),
            Event::LogRejected { .. } => bail!("the server does not know a log"),
            _ => {}
        }
    }
    Ok(events)
}

async fn drive(endpoint: Endpoint, id: multibee_replica::ConnectionId, stream: TcpStream) {
    endpoint.drive_connection(id, stream).await;
}

fn counts(endpoint: &Endpoint, logs: &[Log]) -> (usize, usize) {
    endpoint.with(|replicator| {
        let channels = logs.iter().map(|log| replicator.channel_count(&log.key())).sum();
        (replicator.stats().connections.len(), channels)
    })
}

fn written_log(seed: u8) -> Result<Log> {
    let keys = KeyPair::from_seed([seed; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
    let blocks: Vec<[u8; 8]> = (0..BLOCKS).map(u64::to_le_bytes).collect();
    log.append(&blocks)?;
    Ok(log)
}

fn empty_log(key: &str) -> Result<Log> {
    let key: LogKey = key.parse().context("the server's key")?;
    Ok(Log::create_replica(MemoryStorage::default(), key, LogOptions::default())?)
}

fn endpoint(logs: &[Log], seed: [u8; 32]) -> (Endpoint, EventReceiver) {
    // A fixed seed makes the encryption worthless, which on this machine's loopback it may be.
    let mut replicator = Replicator::new(ReplicatorOptions::default(), seed);
    for log in logs {
        replicator.add_log(log.clone());
        replicator.want_all(&log.key());
    }
    Endpoint::new(replicator)
}
