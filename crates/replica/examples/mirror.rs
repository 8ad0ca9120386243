//! Follows a log from one peer, keeps a copy in a directory, and serves it to others.
//!
//! ```text
//! cargo run -p multibee-replica --example mirror -- KEY DIR HOST:PORT [LISTEN-ADDRESS]
//! ```
//!
//! `KEY` is the log's key (52 characters, or 64 hex digits), `DIR` where the copy is or will
//! be, `HOST:PORT` a peer that has the log: Multibee, or a Hypercore 10 or 11 that listens on
//! plain TCP. With a listen address (`127.0.0.1:0` picks a port) others can fetch the copy from
//! here, also while it is still being made.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use multibee_log::{FileStorage, Log, LogKey, LogOptions};
use multibee_replica::{Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, Role};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (key, dir, source, listen) = match args.as_slice() {
        [key, dir, source] => (key, dir, source, None),
        [key, dir, source, listen] => (key, dir, source, Some(listen.parse()?)),
        _ => return Err("usage: mirror KEY DIR HOST:PORT [LISTEN-ADDRESS]".into()),
    };
    let key: LogKey = key.parse()?;
    let log = open_copy(Path::new(dir), key)?;

    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let mut replicator = Replicator::new(ReplicatorOptions::default(), seed);
    replicator.add_log(log.clone());
    replicator.want_all(&key);
    let (endpoint, events) = Endpoint::new(replicator);

    if let Some(address) = listen {
        serve(&endpoint, address).await?;
    }
    let printer = tokio::spawn(report(endpoint.clone(), events, log));
    let stream = TcpStream::connect(source).await?;
    stream.set_nodelay(true)?;
    let reason = endpoint.drive(stream, Role::Initiator).await;
    println!("the source is gone: {reason}");
    if listen.is_some() {
        printer.await?;
    }
    Ok(())
}

fn open_copy(dir: &Path, key: LogKey) -> Result<Log, multibee_log::Error> {
    if dir.exists() {
        Log::open(FileStorage::open(dir)?, LogOptions::default())
    } else {
        Log::create_replica(FileStorage::create(dir)?, key, LogOptions::default())
    }
}

/// Serves all who connect.
async fn serve(endpoint: &Endpoint, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                // Without this only latency suffers.
                let _ = stream.set_nodelay(true);
                endpoint.drive(stream, Role::Responder).await;
            });
        }
    });
    Ok(())
}

/// Offers the log on every connection, and tells how far it has come.
async fn report(endpoint: Endpoint, mut events: EventReceiver, log: Log) {
    let key = log.key();
    let mut whole_at = 0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Connected { id, role: Role::Initiator, .. } => {
                endpoint.with(|replicator| replicator.offer(id, &key));
            }
            Event::Upgraded { new, .. } => println!("{new} blocks"),
            Event::Stored { .. } => {
                let (len, contiguous) = (log.len(), log.contiguous_len());
                // Blocks are stored many at a time, so the last one's event is not the first.
                if contiguous == len && whole_at < len {
                    println!("all {len} blocks are here");
                    whole_at = len;
                }
            }
            Event::RemoteHead { .. } => {}
            Event::LogFailed { error, .. } => return println!("the copy failed: {error}"),
            other => println!("{other:?}"),
        }
    }
}
