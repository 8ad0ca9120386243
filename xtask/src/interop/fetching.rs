//! Multibee reads a bee that Node serves, fetching only what it needs.

use anyhow::{Context, Result, ensure};
use multibee_btree::{Bee, BeeOptions, Error, RangeOptions};
use multibee_log::{Log, LogKey, LogOptions, MemoryStorage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::network::Network;
use super::program::Program;
use super::{Case, HYPERCORES};

/// How many entries the bee begins with.
const COUNT: u64 = 5000;

/// A lookup or a short range in it must not take more blocks than this.
const SPARSE_BLOCKS_MAX: u64 = 100;

pub(super) fn cases() -> Vec<Case> {
    HYPERCORES
        .iter()
        .flat_map(|&version| {
            [
                Case::new(
                    format!("we get single keys of a bee on hypercore {version}"),
                    move || single(version),
                ),
                Case::new(format!("we read a range of a bee on hypercore {version}"), move || {
                    range(version)
                }),
                Case::new(format!("we take hints of a bee on hypercore {version}"), move || {
                    hinted(version)
                }),
                Case::new(format!("we follow a bee on hypercore {version} live"), move || {
                    follow(version)
                }),
            ]
        })
        .collect()
}

/// What `bee-serve.mjs` prints first.
#[derive(Deserialize)]
struct Started {
    port: u16,
    key: String,
    length: u64,
}

/// What it prints when it has written something.
#[derive(Deserialize)]
struct Written {
    length: u64,
}

/// A bee of theirs, and our sparse copy of it.
struct Copy {
    node: Program,
    bee: Bee,
    network: Network,
}

impl Copy {
    fn start(version: &str) -> Result<Self> {
        let count = COUNT.to_string();
        let mut node = Program::node("bee-serve.mjs", &["--version", version, "--count", &count])?;
        let started: Started = node.line()?;
        let key: LogKey = started.key.parse().context("its key")?;
        let log = Log::create_replica(MemoryStorage::default(), key, LogOptions::default())?;
        let mut network = Network::new(log.clone())?;
        network.connect(started.port)?;
        network.reach(started.length)?;
        let bee = Bee::open(log, BeeOptions::default())?;
        Ok(Self { node, bee, network })
    }

    fn value(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        let bee = &self.bee;
        let entry = self.network.fetch(|| bee.snapshot()?.get(key.as_bytes()))?;
        Ok(entry.and_then(|entry| entry.value).map(|value| value.to_vec()))
    }

    /// Has Node write something, and waits until we know of it.
    fn write(&mut self, operation: &Value) -> Result<()> {
        let written: Written = self.node.ask(operation)?;
        self.network.reach(written.length)
    }

    fn blocks_held(&self) -> u64 {
        let log = self.bee.log();
        log.held(0..log.len()).iter().map(|range| range.end - range.start).sum()
    }

    fn finish(self) -> Result<()> {
        // The connection goes first, or the server would wait for us.
        drop(self.network);
        self.node.finish::<Value>().map(|_| ())
    }
}

fn single(version: &str) -> Result<()> {
    let mut copy = Copy::start(version)?;
    for index in [0, 1234, COUNT - 1] {
        let value = copy.value(&format!("key/{index:06}"))?.context("a key is missing")?;
        ensure!(value == format!("value {index}").as_bytes(), "key {index} has another value");
    }
    ensure!(copy.value("key/none")?.is_none(), "a key that isn't there was found");
    let held = copy.blocks_held();
    ensure!(held <= SPARSE_BLOCKS_MAX, "four lookups took {held} blocks");
    copy.finish()
}

fn range(version: &str) -> Result<()> {
    let mut copy = Copy::start(version)?;
    let options = RangeOptions {
        gte: Some("key/002500".into()),
        lt: Some("key/002510".into()),
        ..RangeOptions::default()
    };
    let tree = copy.network.fetch(|| copy.bee.snapshot())?;
    let mut found = tree.range(options);
    for index in 2500..2510 {
        let entry = copy.network.fetch(|| found.next())?.context("the range ended early")?;
        ensure!(entry.key == format!("key/{index:06}").as_bytes(), "{index}: not in order");
        let value = entry.value.context("a value is missing")?;
        ensure!(value == format!("value {index}").as_bytes(), "{index}: another value");
    }
    ensure!(copy.network.fetch(|| found.next())?.is_none(), "the range went on");
    let held = copy.blocks_held();
    ensure!(held <= SPARSE_BLOCKS_MAX, "ten entries took {held} blocks");
    copy.finish()
}

/// What Hyperbee answers when asked is all that our lookup takes, all that our range takes, and most
/// of what the rest of a range takes that has begun already.
fn hinted(version: &str) -> Result<()> {
    let mut copy = Copy::start(version)?;
    let tree = copy.network.fetch(|| copy.bee.snapshot())?;
    let key = b"key/001234";
    ensure!(matches!(tree.get(key), Err(Error::Missing(_))), "the log is not sparse");
    let ask = tree.hint(key).context("nothing to ask")?;
    let lookup = copy.network.fetch_hinted(&ask)?;
    let value = tree.get(key)?.and_then(|entry| entry.value);
    ensure!(value.as_deref() == Some(&b"value 1234"[..]), "another value");

    let mut range = tree.range(RangeOptions {
        gte: Some("key/002500".into()),
        lt: Some("key/002550".into()),
        ..RangeOptions::default()
    });
    let ask = range.hint().context("nothing to ask")?;
    let whole = copy.network.fetch_hinted(&ask)?;
    ensure!(range.by_ref().collect::<Result<Vec<_>, _>>()?.len() == 50, "the range differs");

    let mut range = tree.range(RangeOptions {
        gte: Some("key/002548".into()),
        limit: Some(60),
        ..RangeOptions::default()
    });
    for _ in 0..2 {
        range.next()?.context("the range ended early")?;
    }
    let ask = range.hint().context("nothing to ask")?;
    let rest = copy.network.fetch_hinted(&ask)?;
    // Going on from a checkpoint, Hyperbee leaves out the first few blocks (three for each node).
    for _ in 0..58 {
        copy.network.fetch(|| range.next())?.context("the range ended early")?;
    }
    ensure!(copy.network.fetch(|| range.next())?.is_none(), "the range went on");
    for (blocks, least, most) in [(lookup, 3, 40), (whole, 50, 80), (rest, 30, 90)] {
        ensure!((least..=most).contains(&blocks), "{blocks} blocks were named");
    }
    copy.finish()
}

fn follow(version: &str) -> Result<()> {
    let mut copy = Copy::start(version)?;
    for round in 0..3 {
        let (key, value) = (format!("live/{round}"), format!("news {round}"));
        copy.write(&json!({ "put": hex::encode(&key), "value": hex::encode(&value) }))?;
        ensure!(copy.value(&key)?.as_deref() == Some(value.as_bytes()), "{key} did not arrive");
    }
    copy.write(&json!({ "del": hex::encode("live/1") }))?;
    ensure!(copy.value("live/1")?.is_none(), "a deleted key is still there");
    copy.finish()
}
