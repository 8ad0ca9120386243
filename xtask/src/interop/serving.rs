//! Node reads a primary that Multibee serves.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use multibee::{Home, KeyPair, LogKey, Multibee, Options};
use multibee_log::Manifest;
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::program::Program;
use super::sample::{self, Entries, Line};
use super::{Case, HYPERCORES};

/// One lookup in the sample must not take more blocks than this, of more than 5,000.
const SPARSE_BLOCKS_MAX: u64 = 100;

/// An answer to one lookup must not name more: two for each probe on a path.
const HINTED_BLOCKS_MAX: u64 = 40;

pub(super) fn cases() -> Vec<Case> {
    HYPERCORES
        .iter()
        .flat_map(|&version| {
            [
                Case::new(format!("hyperbee on {version} downloads our primary"), move || {
                    whole(version)
                }),
                Case::new(
                    format!("hyperbee on {version} reads from `multibee serve`"),
                    move || program(version),
                ),
                Case::new(format!("hyperbee on {version} gets single keys of ours"), move || {
                    single(version)
                }),
                Case::new(format!("hyperbee on {version} takes hints of ours"), move || {
                    hinted(version)
                }),
                Case::new(format!("hyperbee on {version} follows our primary live"), move || {
                    follow(version)
                }),
            ]
        })
        .collect()
}

/// A database of ours that is being served.
struct Served {
    database: Multibee,
    entries: Entries,
    port: String,
    key: String,
    /// Last, so that the database is closed while it still runs.
    _runtime: Runtime,
}

impl Served {
    /// The sample, and beside it what isn't the user's: a statement about a device, a tombstone.
    fn start() -> Result<Self> {
        let database = Multibee::create(Home::memory(), Options::default())?;
        let device = Manifest::single(KeyPair::from_seed([4; 32]).public_key()).key();
        database.add_named(device, Some("another device".to_owned()))?;
        let entries = sample::entries()?;
        let mut batch = database.batch();
        for (key, value) in &entries {
            batch.put(key, value.clone());
        }
        batch.commit()?;
        database.put("gone", "soon")?;
        database.del("gone")?;

        let runtime = Runtime::new().context("tokio")?;
        let port = runtime.block_on(database.listen("127.0.0.1:0"))?.port().to_string();
        let key = hex::encode(database.key().as_bytes());
        Ok(Self { database, entries, port, key, _runtime: runtime })
    }

    fn reader(&self, version: &str, arguments: &[&str]) -> Result<Program> {
        let mut all = vec!["--version", version, "--port", &self.port, "--key", &self.key];
        all.push("--below-ff");
        all.extend(arguments);
        Program::node("bee-read.mjs", &all)
    }
}

fn whole(version: &str) -> Result<()> {
    let served = Served::start()?;
    let lines: Vec<Line> = served.reader(version, &["--all"])?.finish()?;
    let (last, found) = lines.split_last().context("the reader printed nothing")?;
    ensure!(sample::from_lines(found)? == served.entries, "the entries differ");
    let length = served.database.status()?.length;
    ensure!(last.length == Some(length), "it saw {:?} of {length} blocks", last.length);
    ensure!(last.blocks == Some(length), "it downloaded {:?} of {length} blocks", last.blocks);
    Ok(())
}

/// What `multibee serve --json` prints first.
#[derive(Deserialize)]
struct Serving {
    listening: SocketAddr,
    key: String,
}

/// The same from end to end: the program, its files, another program.
fn program(version: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().to_str().context("the temporary folder's name is not UTF-8")?;
    let multibee =
        |arguments: &[&str]| Program::multibee(&[&["--json", "--dir", dir], arguments].concat());
    multibee(&["init"])?.finish::<Value>()?;
    let sample = sample::path();
    multibee(&["import", sample.to_str().context("its path is not UTF-8")?])?.finish::<Value>()?;
    let mut server = multibee(&["serve", "--listen", "127.0.0.1:0"])?;
    let Serving { listening, key } = server.line()?;
    let key: LogKey = key.parse().context("its key")?;
    let (port, key) = (listening.port().to_string(), hex::encode(key.as_bytes()));
    let arguments = ["--version", version, "--port", &port, "--key", &key, "--below-ff", "--all"];
    let lines: Vec<Line> = Program::node("bee-read.mjs", &arguments)?.finish()?;
    let (_, found) = lines.split_last().context("the reader printed nothing")?;
    ensure!(sample::from_lines(found)? == sample::entries()?, "the entries differ");
    Ok(())
}

fn single(version: &str) -> Result<()> {
    let served = Served::start()?;
    let mut wanted = Entries::new();
    for key in ["country/FR", "subdivision/JP-13"] {
        let value = served.entries.get(key.as_bytes()).context("not in the sample")?;
        wanted.insert(key.as_bytes().to_vec(), value.clone());
    }
    let [first, second] = ["country/FR", "subdivision/JP-13"].map(hex::encode);
    let missing = hex::encode("country/XX");
    let arguments = ["--get", &first, "--get", &missing, "--get", &second];
    let mut lines: Vec<Line> = served.reader(version, &arguments)?.finish()?;
    let last = lines.pop().context("the reader printed nothing")?;
    let (absent, found): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.missing);
    ensure!(sample::from_lines(&found)? == wanted, "the entries differ");
    ensure!(absent.len() == 1, "the absent key was found");
    let blocks = last.blocks.context("no count of blocks")?;
    ensure!(blocks <= SPARSE_BLOCKS_MAX, "three lookups took {blocks} blocks");
    Ok(())
}

/// A cold lookup has Hyperbee ask what it needs, and our answer names it.
fn hinted(version: &str) -> Result<()> {
    let served = Served::start()?;
    let key = "subdivision/JP-13";
    let hex_key = hex::encode(key);
    let lines: Vec<Line> = served.reader(version, &["--get", &hex_key, "--hinted"])?.finish()?;
    let (last, found) = lines.split_last().context("the reader printed nothing")?;
    let value = served.entries.get(key.as_bytes()).context("not in the sample")?;
    let wanted = Entries::from([(key.into(), value.clone())]);
    ensure!(sample::from_lines(found)? == wanted, "the entry differs");
    let asked = served.database.status()?.length;
    let hinted = last.hinted.context("no count of hinted blocks")?;
    ensure!((4..=HINTED_BLOCKS_MAX).contains(&hinted), "{hinted} of {asked} blocks were named");
    let blocks = last.blocks.context("no count of blocks")?;
    ensure!(blocks <= SPARSE_BLOCKS_MAX, "a lookup took {blocks} blocks");
    Ok(())
}

fn follow(version: &str) -> Result<()> {
    let served = Served::start()?;
    let mut reader = served.reader(version, &["--follow", "3"])?;
    let begun: Line = reader.line()?;
    ensure!(begun.following, "it did not begin to follow: {begun:?}");
    for (key, value) in [("a", "1"), ("zz", ""), ("m", "3")] {
        served.database.put(key, value)?;
        let seen = sample::from_lines(&[reader.line()?])?;
        let expected = Entries::from([(key.into(), value.into())]);
        ensure!(seen == expected, "it saw {seen:?} instead of {key}");
    }
    let lines: Vec<Line> = reader.finish()?;
    ensure!(lines.len() == 1, "it saw more changes than there were");
    Ok(())
}
