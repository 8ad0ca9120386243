//! A database takes in a bee that Node writes, and follows its changes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use multibee::{Home, LogKey, Multibee, Options, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::program::Program;
use super::{Case, HYPERCORES};

/// How many entries the bee begins with: more than one commit of ours takes.
const COUNT: u64 = 5000;

/// How long to wait for a change before calling it lost.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    let case = |&version| {
        Case::new(format!("we take in a bee on hypercore {version}"), move || take_in(version))
    };
    HYPERCORES.iter().map(case).collect()
}

/// What `bee-serve.mjs` prints first, and once it has written something.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    port: u16,
    #[serde(default)]
    key: String,
    length: u64,
}

/// Waits until so much of the only source is taken in.
async fn reach(database: &Multibee, length: u64) -> Result<()> {
    let mut changes = database.changes();
    let reached = async {
        while database.sources().iter().all(|source| source.applied < length) {
            if changes.changed().await.is_err() {
                break;
            }
        }
    };
    let waited = timeout(LIMIT, reached).await;
    waited.with_context(|| format!("it stays at {:?} of {length}", database.sources()))
}

fn value(database: &Multibee, key: &str) -> Result<Option<String>> {
    let entry = database.get(key)?;
    Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
}

fn take_in(version: &str) -> Result<()> {
    let arguments = ["--version", version, "--count", &COUNT.to_string()];
    let mut node = Program::node("bee-serve.mjs", &arguments)?;
    let started: Written = node.line()?;
    let key: LogKey = started.key.parse().context("its key")?;
    let runtime = Runtime::new().context("tokio")?;
    let near = Multibee::create(Home::memory(), Options::default())?;
    let far = Multibee::create(Home::memory(), Options::default())?;
    near.add_replica(far.key())?;
    far.add_replica(near.key())?;
    near.add_source(key, Some("notes".to_owned()))?;
    near.put("key/000001", "ours")?;

    runtime.block_on(async {
        near.connect_to_source(format!("127.0.0.1:{}", started.port)).await?;
        let (one, other) = tokio::io::duplex(1 << 16);
        near.attach(one, Role::Initiator);
        far.attach(other, Role::Responder);
        for database in [&near, &far] {
            reach(database, started.length).await?;
        }
        ensure!(far.verify()?.keys == COUNT, "the entries differ");
        ensure!(value(&far, "key/004999")?.as_deref() == Some("value 4999"), "a value differs");
        ensure!(value(&far, "key/000001")?.as_deref() == Some("ours"), "theirs went first");
        ensure!(far.conflicts()?.len() == 1, "a write was lost");

        let [put, gone] = ["key/000002", "key/000003"].map(hex::encode);
        let operations =
            json!({"batch": [{"put": put, "value": hex::encode("changed")}, {"del": gone}]});
        let written: Written = node.ask(&operations)?;
        for database in [&near, &far] {
            reach(database, written.length).await?;
            ensure!(value(database, "key/000002")?.as_deref() == Some("changed"), "a change");
            ensure!(value(database, "key/000003")?.is_none(), "a deleted key is still here");
            database.verify()?;
        }
        anyhow::Ok(())
    })?;
    // The connection goes first, or the server would wait for us.
    runtime.block_on(near.close())?;
    node.finish::<Value>().map(|_| ())
}
