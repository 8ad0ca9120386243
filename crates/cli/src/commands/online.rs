//! `serve`, `sync`.

use std::time::Duration;

use anyhow::Context as _;
use multibee::{Error, Event, Multibee};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::exit::{Exit, fail};
use crate::output::Output;

pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("tokio runtime")
}

pub(super) fn serve(
    db: Multibee,
    listen: &str,
    dial: bool,
    sources: &[String],
    output: &mut Output,
) -> anyhow::Result<Exit> {
    runtime()?.block_on(async {
        let mut events = db.events();
        let address = db.listen(listen).await?;
        let json = json!({ "listening": address.to_string(), "key": db.key().to_string() });
        output.print(&json, &format!("listening on {address}\nkey {}", db.key()))?;
        output.flush()?;
        for source in sources {
            db.connect_to_source(source.as_str()).await?;
        }
        let mut dials = JoinSet::new();
        if dial {
            for (_, address) in addresses(&db)? {
                let db = db.clone();
                dials.spawn(async move { db.stay_connected(&address).await });
            }
        }
        tokio::select! {
            () = report(&mut events) => {}
            stopped = interrupted() => stopped?,
        }
        dials.shutdown().await;
        db.close().await?;
        Ok(Exit::Ok)
    })
}

/// Tells people what happens, until the database is gone.
async fn report(events: &mut broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Connected { peer }) => eprintln!("{peer} is here"),
            Ok(Event::Disconnected { peer }) => eprintln!("{peer} is gone"),
            Ok(Event::Merged { blocks, keys }) => eprintln!("merged {blocks} blocks, {keys} keys"),
            Ok(Event::Removed { by }) => {
                eprintln!("{by} has removed this device: see `unmerged` for what was not taken");
            }
            Ok(Event::DevicesChanged) => eprintln!("the list of devices has changed"),
            Ok(Event::ClockAhead { device, by_ms }) => {
                eprintln!("the clock of {device} is {} s ahead", by_ms / 1000);
            }
            Ok(Event::Diverged { peer }) => {
                eprintln!("{peer} applied the same writes but holds different data: run `verify`");
            }
            Ok(Event::Stuck { device, why }) => eprintln!("{device} can't be followed: {why}"),
            Ok(Event::PeerFault { why }) => eprintln!("a peer is at fault: {why}"),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

pub(super) async fn interrupted() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => stopped?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// The devices whose addresses are known.
pub(super) fn addresses(db: &Multibee) -> anyhow::Result<Vec<(String, String)>> {
    let devices = db.devices()?.into_iter().filter(|device| device.is_active() && !device.is_self);
    Ok(devices.filter_map(|device| Some((device.key.to_string(), device.address?))).collect())
}

pub(super) fn sync(
    db: Multibee,
    with: Option<String>,
    wait: bool,
    timeout_s: u64,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let addresses = reachable(&db, with)?;
    let timeout = Duration::from_secs(timeout_s);
    runtime()?.block_on(async {
        let synced = tokio::time::timeout(timeout, sync_with(&db, &addresses, wait, timeout)).await;
        let synced = synced.unwrap_or_else(|_| {
            let what = format!("{} can't be reached", addresses.join(", "));
            Err(Error::NotSynced { seconds: timeout_s, what }.into())
        });
        let status = db.status()?;
        db.close().await?;
        let unreached = synced?;
        let json = json!({
            "digest": status.digest.to_string(), "blocksDownloaded": status.blocks_downloaded,
            "bytesSent": status.bytes_sent, "bytesReceived": status.bytes_received,
            "unreached": unreached,
        });
        let text = format!(
            "in sync; {} blocks downloaded, {} bytes sent, {} received",
            status.blocks_downloaded, status.bytes_sent, status.bytes_received
        );
        output.print(&json, &text)?;
        Ok(Exit::Ok)
    })
}

/// Where to connect to: one address, or all that are known.
pub(super) fn reachable(db: &Multibee, with: Option<String>) -> anyhow::Result<Vec<String>> {
    let addresses = match with {
        Some(address) => vec![address],
        None => addresses(db)?.into_iter().map(|(_, address)| address).collect(),
    };
    if addresses.is_empty() {
        let what = "no device's address is known: say --with HOST:PORT, or add KEY@HOST:PORT";
        return Err(fail(Exit::Usage, what));
    }
    Ok(addresses)
}

/// Connects, and waits until all are the same. Returns the addresses where nobody answered.
async fn sync_with(
    db: &Multibee,
    addresses: &[String],
    wait: bool,
    timeout: Duration,
) -> anyhow::Result<Vec<String>> {
    let mut unreached = Vec::new();
    let mut last = None;
    for address in addresses {
        loop {
            match db.connect(address.as_str()).await {
                Ok(_) => break,
                Err(error) if wait => {
                    tracing::info!(%error, "trying again");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                Err(error) => {
                    if let Some(earlier) = last.replace(error) {
                        eprintln!("multibee: {earlier}");
                    }
                    unreached.push(address.clone());
                    break;
                }
            }
        }
    }
    match last {
        Some(error) if unreached.len() == addresses.len() => Err(error.into()),
        last => {
            if let Some(error) = last {
                eprintln!("multibee: {error}");
            }
            db.wait_synced(timeout).await?;
            Ok(unreached)
        }
    }
}
