//! W9: a client that has nothing but the head of a tree gets single entries from a server far away.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use multibee_btree::{Bee, BeeOptions, EXTENSION_NAME, Error, ExtensionMessage};
use multibee_log::{FileStorage, Log, LogKey, LogOptions};
use multibee_replica::{Endpoint, Event, EventReceiver, Role, Stats};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Plan, PutBatch, Workload};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::distance;
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, Title};
use crate::bench::server::{Account, Offer, PATIENCE, Server, endpoint, react};
use crate::bench::store::Layer;
use crate::bench::task::Task;
use crate::bench::usage::{Meter, Span};
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan { theirs, ..Plan::of(Workload::W9, jobs) };

/// Peers have hints, or none, as they are.
fn theirs(variant: &str, _: &str) -> Option<String> {
    variant.contains(" hints ").then(|| variant.replace(" hints ", " "))
}

fn jobs() -> Vec<Job> {
    let both = |round_trip_ms| {
        [false, true].map(|is_hinted| Job::Sparse(Sparse { round_trip_ms, is_hinted }))
    };
    [0, 20].into_iter().flat_map(both).collect()
}

/// The client's side, with a round trip of so many milliseconds, with hints of the server or
/// without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Sparse {
    pub(in crate::bench) round_trip_ms: u32,
    pub(in crate::bench) is_hinted: bool,
}

impl Kind for Sparse {
    fn workload(&self) -> Workload {
        Workload::W9
    }

    fn name(&self) -> String {
        let hints = if self.is_hinted { "-hints" } else { "" };
        format!("{}ms{hints}", self.round_trip_ms)
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(Layer::Tree))
    }

    fn server(&self) -> Option<Job> {
        Some(Job::Serve)
    }

    fn full_n(&self) -> u32 {
        100
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        let is_theirs = peer.is_tree() && !self.is_hinted;
        is_theirs.then_some(Work::new("W9", self.round_trip_ms))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        run(task, self.round_trip_ms, self.is_hinted)
    }
}

fn run(task: &Task, round_trip_ms: u32, is_hinted: bool) -> Result<Vec<Record>> {
    let mut server = Server::start(task)?;
    let mut offer: Offer = server.hear()?;
    if round_trip_ms > 0 {
        let delay = Duration::from_millis(round_trip_ms.into()) / 2;
        offer.port = distance::proxy(offer.port, delay)?;
    }
    let halves = Runtime::new().context("tokio")?.block_on(read(task, &offer, is_hinted))?;
    let _: Account = server.stop()?;
    let disk = DiskUse::of(&task.folder())?;
    let hints = if is_hinted { " hints" } else { "" };
    let mut records = Vec::new();
    for (what, half) in ["sequential", "100 concurrent"].into_iter().zip(halves) {
        let variant = format!("{round_trip_ms} ms{hints} {what}");
        let title = Title { variant: &variant, durability: "buffered", unit: "gets/s" };
        let mut record = Record::new(task, &title, half.span, disk)
            .and("blocks", half.blocks)
            .and("requests", half.requests)
            .and("waits", half.waits)
            .and("wireBytesIn", half.bytes_in)
            .and("wireBytesOut", half.bytes_out);
        if round_trip_ms > 0 {
            let trips = half.span.wall.as_secs_f64() * 1e3 / f64::from(round_trip_ms);
            let hundredth = |number: f64| (number * 100.0).round() / 100.0;
            record = record
                .and("roundTrips", hundredth(trips))
                .and("roundTripsPerGet", hundredth(trips / f64::from(task.n())));
        }
        records.push(record);
    }
    Ok(records)
}

/// What one half of the gets took.
struct Half {
    span: Span,
    blocks: u64,
    requests: u64,
    /// How often a get found that blocks were missing: of each group the get that found most. Unlike
    /// the time it does not depend on the machine.
    waits: u32,
    bytes_in: u64,
    bytes_out: u64,
}

/// Gets the first half one after another, and the other half all at once.
async fn read(task: &Task, offer: &Offer, is_hinted: bool) -> Result<[Half; 2]> {
    let key: LogKey = offer.key.parse().context("the server's key")?;
    let log = Log::create_replica(FileStorage::create(task.folder())?, key, LogOptions::default())?;
    let (endpoint, mut events) = endpoint(&log, [3; 32]);
    endpoint.with(|replicator| replicator.accept_extension(EXTENSION_NAME));
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, offer.port)).await?;
    stream.set_nodelay(true)?;
    let connection = endpoint.clone();
    let driving = tokio::spawn(async move { connection.drive(stream, Role::Initiator).await });
    while log.len() < offer.length {
        let event = timeout(PATIENCE, events.recv()).await.context("the head does not come")?;
        react(&endpoint, &log, &event.context("the endpoint is gone")?)?;
    }
    let bee = Bee::open(log, BeeOptions::default())?;
    let (keys, values) = (data::keys(task.population()), data::values(task.population()));
    let wanted = data::sparse_indexes(2 * task.n(), task.population());
    let (first, second) = wanted.split_at(task.n() as usize);
    let mut reader = Reader { endpoint, events: &mut events, bee, keys, values, is_hinted };
    let sequential: Vec<&[u32]> = first.chunks(1).collect();
    let halves = [reader.measure(&sequential).await?, reader.measure(&[second]).await?];
    driving.abort();
    // Whatever the result, the task has to let go of the log.
    let _ = driving.await;
    Ok(halves)
}

struct Reader<'a> {
    endpoint: Endpoint,
    events: &'a mut EventReceiver,
    bee: Bee,
    keys: data::Strings,
    values: data::Strings,
    is_hinted: bool,
}

/// A get that has not come to an end yet.
struct Waiting {
    index: u32,
    lacking: Vec<u64>,
    waits: u32,
    is_hinted: bool,
}

impl Reader<'_> {
    async fn measure(&mut self, groups: &[&[u32]]) -> Result<Half> {
        let stats = |endpoint: &Endpoint| endpoint.with(|replicator| replicator.stats());
        let of_log = |stats: &Stats| stats.logs.values().next().copied().unwrap_or_default();
        let before = stats(&self.endpoint);
        let meter = Meter::start();
        let mut waits = 0;
        for group in groups {
            waits += self.get(group).await?;
        }
        let span = meter.stop();
        let after = stats(&self.endpoint);
        let (log_before, log_after) = (of_log(&before), of_log(&after));
        Ok(Half {
            span,
            blocks: log_after.blocks_in - log_before.blocks_in,
            waits,
            requests: log_after.requests_out - log_before.requests_out,
            bytes_in: after.total.bytes_in - before.total.bytes_in,
            bytes_out: after.total.bytes_out - before.total.bytes_out,
        })
    }

    /// Gets some entries, all at once. Returns how often the one waited that did most often.
    async fn get(&mut self, indexes: &[u32]) -> Result<u32> {
        let is_hinted = self.is_hinted;
        let begin = |index| Waiting { index, lacking: Vec::new(), waits: 0, is_hinted };
        let mut waits = 0;
        let mut waiting: Vec<Waiting> = indexes.iter().copied().map(begin).collect();
        loop {
            let mut left = Vec::new();
            for mut get in waiting {
                let is_done = self.try_get(&mut get)?;
                waits = waits.max(get.waits);
                if !is_done {
                    left.push(get);
                }
            }
            waiting = left;
            if waiting.is_empty() {
                return Ok(waits);
            }
            let next = timeout(PATIENCE, self.events.recv()).await;
            let mut event = next.context("nothing happened any more")?;
            ensure!(event.is_some(), "the endpoint is gone");
            while let Some(happened) = event {
                self.handle(&happened)?;
                event = self.events.try_recv();
            }
        }
    }

    /// Goes on with a get whose blocks are here; asks for what it lacks then. Whether it is done.
    fn try_get(&self, get: &mut Waiting) -> Result<bool> {
        let log = self.bee.log();
        if get.lacking.iter().any(|seq| !log.has(*seq)) {
            return Ok(false);
        }
        let tree = self.bee.snapshot()?;
        let key = self.keys.get(get.index);
        match tree.get(key) {
            Err(Error::Missing(seqs)) => {
                get.lacking = seqs;
                get.waits += 1;
            }
            found => {
                let value = found?.context("an entry is missing")?.value;
                ensure!(value.as_deref() == Some(self.values.get(get.index)), "another value");
                return Ok(true);
            }
        }
        self.endpoint.with(|replicator| {
            for &seq in &get.lacking {
                replicator.want(&log.key(), seq..seq + 1, 1);
            }
            if std::mem::take(&mut get.is_hinted)
                && let Some(hint) = tree.hint(key)
            {
                replicator.broadcast_extension(&log.key(), EXTENSION_NAME, hint.encode());
            }
        });
        Ok(false)
    }

    fn handle(&self, event: &Event) -> Result<()> {
        let log = self.bee.log();
        if let Event::Extension { payload, .. } = event
            && let Ok(ExtensionMessage { cache: Some(cache), .. }) =
                ExtensionMessage::decode(payload)
        {
            self.endpoint.with(|replicator| {
                for seq in cache.missing(log) {
                    replicator.want(&log.key(), seq..seq + 1, 1);
                }
            });
        }
        react(&self.endpoint, log, event)
    }
}
