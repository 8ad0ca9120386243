//! `union`.

use std::time::Duration;

use multibee::{Error, Multibee, UnionEntry};
use serde_json::Value;

use super::changes::prefix;
use super::online::{reachable, runtime};
use crate::exit::Exit;
use crate::output::Output;
use crate::text;

pub(super) fn union(
    db: Multibee,
    under: Option<&str>,
    with: Option<String>,
    timeout_s: u64,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let addresses = reachable(&db, with)?;
    runtime()?.block_on(async {
        let read = tokio::time::timeout(
            Duration::from_secs(timeout_s),
            print(&db, under, &addresses, output),
        );
        let read = read.await.unwrap_or_else(|_| {
            let what = "not everything that was asked for has come".into();
            Err(Error::NotSynced { seconds: timeout_s, what }.into())
        });
        db.close().await?;
        read.map(|()| Exit::Ok)
    })
}

async fn print(
    db: &Multibee,
    under: Option<&str>,
    addresses: &[String],
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut devices = Vec::new();
    for address in addresses {
        devices.push(db.connect(address.as_str()).await?);
    }
    let union = db.union(&devices).await?;
    let mut range = union.range(prefix(under));
    while let Some(entry) = range.next().await? {
        let line = format!("{}\t{}", text::shown(&entry.key), text::shown(&entry.value));
        output.print(&entry_json(&entry), &line)?;
    }
    Ok(())
}

fn entry_json(entry: &UnionEntry) -> Value {
    let mut object = text::record(&entry.key, &entry.value);
    object.insert("device".into(), entry.device.to_string().into());
    object.insert("timeMs".into(), entry.time.millis().into());
    object.insert("conflicts".into(), entry.conflicts.into());
    object.into()
}
