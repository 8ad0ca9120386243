//! Reads some blocks of a log from a peer without downloading the rest.
//!
//! ```text
//! cargo run -p multibee-replica --example sparse_reader -- KEY HOST:PORT [BLOCK|@BYTE]...
//! ```
//!
//! See `--help`.

use std::error::Error;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, Instant};

use multibee_log::{Log, LogKey, LogOptions, MemoryStorage};
use multibee_replica::{
    DialOptions, Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, dial,
};

const HELP: &str = "\
Reads some blocks of a log from a peer without downloading the rest.

usage: sparse_reader KEY HOST:PORT [BLOCK|@BYTE]...

KEY        the log's key: 52 characters, or 64 hex digits
HOST:PORT  a peer that has the log: the example `mirror`, Multibee, or a Hypercore 10 or 11 that
           listens on plain TCP
BLOCK      number of a block, from 0; the last one if nothing is given
@BYTE      offset of a byte from the start of the log: the block that holds it

Prints the log's length, as its writer has signed it, and each block as text, after its proof.";

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (key, source, places) = match args.as_slice() {
        [help] if help == "--help" || help == "-h" => {
            println!("{HELP}");
            return Ok(());
        }
        [key, source, places @ ..] => (key, source, places),
        _ => return Err(HELP.into()),
    };
    let key: LogKey = key.parse()?;
    let places: Vec<Place> = places.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;

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
    let places = if places.is_empty() { vec![Place::Block(log.len() - 1)] } else { places };
    for place in places {
        let block = match place {
            Place::Block(block) => block,
            Place::Byte(byte) => seek(&endpoint, &mut events, &log, byte).await?,
        };
        println!("{block}: {}", read(&endpoint, &mut events, &log, block).await?);
    }
    endpoint.shutdown(Instant::now() + PATIENCE).await?;
    let total = endpoint.with(|replicator| replicator.stats().total);
    println!("{} bytes received, {} sent", total.bytes_in, total.bytes_out);
    Ok(())
}

/// What is to be read.
enum Place {
    /// The block of this number.
    Block(u64),
    /// The block with the byte at this offset.
    Byte(u64),
}

impl FromStr for Place {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        match text.strip_prefix('@') {
            Some(byte) => byte.parse().map(Self::Byte),
            None => text.parse().map(Self::Block),
        }
    }
}

/// Finds the block that holds a byte, without reading the blocks before it.
async fn seek(
    endpoint: &Endpoint,
    events: &mut EventReceiver,
    log: &Log,
    offset: u64,
) -> Result<u64, Box<dyn Error>> {
    if offset >= log.byte_len() {
        return Err(format!("the log has no byte {offset}").into());
    }
    endpoint.with(|replicator| replicator.seek(&log.key(), offset));
    loop {
        match next(events).await? {
            Event::Sought { byte, seq, within, .. } if byte == offset => {
                println!("byte {offset} is byte {within} of block {seq}");
                return Ok(seq);
            }
            _ => {}
        }
    }
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
async fn next(events: &mut EventReceiver) -> Result<Event, Box<dyn Error>> {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    match event.map_err(|_| "the peer does not have it")? {
        Some(Event::LogRejected { .. }) => Err("the peer does not have the log".into()),
        Some(Event::Fault { fault, .. }) => Err(fault.into()),
        Some(Event::Closed { reason, .. }) => Err(format!("the connection ended: {reason}").into()),
        Some(Event::LogFailed { error, .. }) => Err(error.into()),
        Some(event) => Ok(event),
        None => Err("the endpoint is gone".into()),
    }
}
