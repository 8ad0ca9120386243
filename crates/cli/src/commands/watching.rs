//! `watch`.

use multibee::{Changes, Multibee};
use tokio::task::JoinSet;

use super::changes::{Names, one, prefix};
use super::online::{addresses, interrupted, runtime};
use crate::args;
use crate::exit::Exit;
use crate::output::Output;

pub(super) fn watch(db: Multibee, watch: args::Watch, output: &mut Output) -> anyhow::Result<Exit> {
    runtime()?.block_on(async {
        let mut dials = JoinSet::new();
        // Before anybody is connected, so that all that comes is told.
        let watched = watched(&db, &watch)?;
        if let Some(listen) = &watch.listen {
            eprintln!("listening on {}", db.listen(listen.as_str()).await?);
        }
        if !watch.no_dial {
            for (_, address) in addresses(&db)? {
                let db = db.clone();
                dials.spawn(async move { db.stay_connected(&address).await });
            }
        }
        tokio::select! {
            told = tell(&db, watched, watch.limit, output) => told?,
            stopped = interrupted() => stopped?,
        }
        dials.shutdown().await;
        db.close().await?;
        Ok(Exit::Ok)
    })
}

fn watched(db: &Multibee, watch: &args::Watch) -> anyhow::Result<multibee::Watch> {
    let spec = match &watch.key {
        Some(key) => one(key.clone()),
        None => prefix(watch.prefix.as_deref()),
    };
    Ok(match watch.since {
        Some(when) => db.watch_since(when.view(db)?.version(), spec)?,
        None => db.watch(spec)?,
    })
}

/// Prints changes, so many if there is a limit. What one notice tells is printed at once.
async fn tell(
    db: &Multibee,
    mut watched: multibee::Watch,
    limit: Option<usize>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let Some(changes) = watched.next().await? else { break };
        left = print(db, &changes, left, output)?;
        output.flush()?;
    }
    Ok(())
}

fn print(
    db: &Multibee,
    changes: &Changes,
    mut left: usize,
    output: &mut Output,
) -> anyhow::Result<usize> {
    // Names may come with the changes.
    let names = Names::of(db)?;
    for changed in changes.iter().take(left) {
        let changed = changed?;
        let mut json = names.json(&changed);
        json.insert("version".into(), changes.to_version().into());
        output.print(&json.into(), &names.line(&changed))?;
        left -= 1;
    }
    Ok(left)
}
