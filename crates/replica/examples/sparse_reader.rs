//! Reads some blocks of a log from a peer without downloading the rest.
//!
//! ```text
//! cargo run -p multibee-replica --example sparse_reader -- KEY HOST:PORT [BLOCK]...
//! ```
//!
//! See `--help`.

use std::error::Error;
use std::time::{Duration, Instant};

use multibee_log::{Log, LogKey, LogOptions, MemoryStorage};
use multibee_replica::{
    DialOptions, Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, dial,
};

const HELP: &str = "\
Reads some blocks of a log from a peer without downloading the rest.

usage: sparse_reader KEY HOST:PORT [BLOCK]...

KEY        the log's key: 52 characters, or 64 hex digits
HOST:PORT  a peer that has the log: the example `mirror`, Multibee, or a Hypercore 10 or 11 that
           listens on plain TCP
BLOCK      numbers of blocks, from 0; the last one if none is given

Prints the log's length, as its writer has signed it, and each block as text, after its proof.";

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (key, source, blocks) = match args.as_slice() {
        [help] if help == "--help" || help == "-h" => {
            println!("{HELP}");
            return Ok(());
        }
        [key, source, blocks @ ..] => (key, source, blocks),
        _ => return Err(HELP.into()),
    };
    let key: LogKey = key.parse()?;
    let blocks: Vec<u64> = blocks.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;

    // A copy in memory: what is read is gone at the end.
    let log = Log::create_replica(MemoryStorage::default(), key, LogOptions::default())?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let mut replicator = Replicator::new(ReplicatorOptions::default(), seed);
    replicator.add_log(log.clone());
    let (endpoint, mut events) = Endpoint::new(replicator);

    let (stream, link) = dial(source.as_str(), DialOptions::default().timeout).await?;
    let id = endpoint.connect_link(link);
    endpoint.with(|replicator| replicator.offer(id, &key));
    let driver = endpoint.clone();
    tokio::spawn(async move { driver.drive_connection(id, stream).await });

    while log.is_empty() {
        next(&mut events).await?;
    }
    println!("{} blocks", log.len());
    let blocks = if blocks.is_empty() { vec![log.len() - 1] } else { blocks };
    for block in blocks {
        println!("{block}: {}", read(&endpoint, &mut events, &log, block).await?);
    }
    endpoint.shutdown(Instant::now() + PATIENCE).await?;
    let total = endpoint.with(|replicator| replicator.stats().total);
    println!("{} bytes received, {} sent", total.bytes_in, total.bytes_out);
    Ok(())
}

/// Waits for a block, and gives it as text.
async fn read(
    endpoint: &Endpoint,
    events: &mut EventReceiver,
    log: &Log,
    block: u64,
) -> Result<String, Box<dyn Error>> {
    if block >= log.len() {
        return Err(format!("the log has no block {block}").into());
    }
    // Somebody waits for it, so it goes before downloads.
    endpoint.with(|replicator| replicator.want(&log.key(), block..block + 1, 1));
    loop {
        if let Some(bytes) = log.get(block)? {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        next(events).await?;
    }
}

/// Waits until something happens, unless it is the end.
async fn next(events: &mut EventReceiver) -> Result<(), Box<dyn Error>> {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    match event.map_err(|_| "the peer does not have it")? {
        Some(Event::LogRejected { .. }) => Err("the peer does not have the log".into()),
        Some(Event::Fault { fault, .. }) => Err(fault.into()),
        Some(Event::Closed { reason, .. }) => Err(format!("the connection ended: {reason}").into()),
        Some(Event::LogFailed { error, .. }) => Err(error.into()),
        Some(_) => Ok(()),
        None => Err("the endpoint is gone".into()),
    }
}
