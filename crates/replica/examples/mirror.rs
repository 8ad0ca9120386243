//! Follows a log from one peer, keeps a copy in a directory, and serves it to others.
//!
//! ```text
//! cargo run -p multibee-replica --example mirror -- KEY DIR HOST:PORT [LISTEN-ADDRESS]
//! ```
//!
//! See `--help`. Stop it with Ctrl-D.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use multibee_log::{FileStorage, Log, LogKey, LogOptions};
use multibee_replica::{
    DialNews, DialOptions, Dialer, Endpoint, Event, EventReceiver, ListenLimits, Listener,
    Replicator, ReplicatorOptions, Role,
};

const HELP: &str = "\
Follows a log from one peer, keeps a copy in a directory, and serves it to others.

usage: mirror KEY DIR HOST:PORT [LISTEN-ADDRESS]

KEY             the log's key: 52 characters, or 64 hex digits
DIR             where the copy is, or will be
HOST:PORT       a peer that has the log: Multibee, or a Hypercore 10 or 11 that listens on plain
                TCP; it is dialled again whenever the connection is lost
LISTEN-ADDRESS  where others can fetch the copy from, also while it is still being made;
                127.0.0.1:0 picks a port

Ends when its input does (Ctrl-D), after all is sent and stored.";

/// How long others have to take what waits for them at the end.
const SHUTDOWN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (key, dir, source, listen) = match args.as_slice() {
        [key, dir, source] => (key, dir, source, None),
        [key, dir, source, listen] => (key, dir, source, Some(listen)),
        [help] if help == "--help" || help == "-h" => {
            println!("{HELP}");
            return Ok(());
        }
        _ => return Err(HELP.into()),
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
        let listener = Listener::bind(address, ListenLimits::default()).await?;
        println!("listening on {}", listener.local_addr()?);
        let endpoint = endpoint.clone();
        tokio::spawn(async move { listener.run(&endpoint).await });
    }
    let dialer = Dialer::new(source, DialOptions::default());
    tokio::select! {
        () = dialer.run(&endpoint, tell) => {}
        () = report(&endpoint, events, &log) => {}
        ended = end_of_input() => ended?,
    }
    endpoint.shutdown(Instant::now() + SHUTDOWN).await?;
    Ok(())
}

fn open_copy(dir: &Path, key: LogKey) -> Result<Log, multibee_log::Error> {
    if dir.exists() {
        Log::open(FileStorage::open(dir)?, LogOptions::default())
    } else {
        Log::create_replica(FileStorage::create(dir)?, key, LogOptions::default())
    }
}

fn tell(news: DialNews) {
    match news {
        DialNews::Failed { error, pause } => println!("no connection: {error}; again in {pause:?}"),
        DialNews::Ended { reason, pause } => {
            println!("the source is gone: {reason}; again in {pause:?}");
        }
        // Whether it speaks the protocol is told by an event.
        _ => {}
    }
}

/// Offers the log to the source, and tells how far it has come.
async fn report(endpoint: &Endpoint, mut events: EventReceiver, log: &Log) {
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

/// Ends with the program's input.
async fn end_of_input() -> std::io::Result<()> {
    let (sender, ended) = tokio::sync::oneshot::channel();
    // A thread of its own: nothing can take back a read of the terminal, and the runtime would wait
    // for one of its own threads.
    std::thread::spawn(move || {
        let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        // Nobody waits any more only when the program is ending anyway.
        let _ = sender.send(read.map(drop));
    });
    ended.await.unwrap_or(Ok(()))
}
