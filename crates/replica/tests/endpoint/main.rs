//! The tokio driver over pipes in memory and over TCP.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod ending;
mod keyed;
mod pipe;
mod tcp;

use std::time::Duration;

use multibee_log::{KeyPair, Log, LogKey, LogOptions, MemoryStorage};
use multibee_replica::{
    CloseReason, Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, Role,
};
use tokio::net::{TcpListener, TcpStream};

fn endpoint(seed: u8) -> (Endpoint, EventReceiver) {
    Endpoint::new(Replicator::new(ReplicatorOptions::default(), [seed; 32]))
}

fn writer(blocks: u64) -> Log {
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    append(&log, blocks);
    log
}

fn append(log: &Log, count: u64) {
    let len = log.len();
    let blocks: Vec<Vec<u8>> =
        (len..len + count).map(|seq| format!("block-{seq}").into_bytes()).collect();
    log.append(&blocks).unwrap();
}

fn replica(key: LogKey) -> Log {
    Log::create_replica(MemoryStorage::default(), key, LogOptions::default()).unwrap()
}

/// Waits for an event, passing over others.
async fn next(events: &mut EventReceiver, fits: impl Fn(&Event) -> bool) -> Event {
    let waiting = async {
        loop {
            let event = events.recv().await.unwrap();
            if fits(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap()
}

/// Waits until a log holds so many blocks.
async fn until_whole(events: &mut EventReceiver, log: &Log, len: u64) {
    while log.contiguous_len() < len {
        next(events, |event| matches!(event, Event::Stored { .. })).await;
    }
}

/// A clone, then a live append, then a close that both sides are told of, over a pipe so narrow
/// that every frame is cut and both sides wait for each other all the time.
#[tokio::test]
async fn narrow_pipe_carries_a_clone() {
    let ours = writer(500);
    let key = ours.key();
    let theirs = replica(key);
    let (server, mut server_events) = endpoint(1);
    let (client, mut client_events) = endpoint(2);
    server.with(|replicator| replicator.add_log(ours.clone()));
    client.with(|replicator| {
        replicator.add_log(theirs.clone());
        replicator.want_all(&key);
    });
    let (near, far) = tokio::io::duplex(100);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.drive(far, Role::Responder).await }
    });
    let cloning = tokio::spawn({
        let client = client.clone();
        async move { client.drive(near, Role::Initiator).await }
    });
    let connected =
        next(&mut client_events, |event| matches!(event, Event::Connected { .. })).await;
    let Event::Connected { id, .. } = connected else { unreachable!() };
    client.with(|replicator| replicator.offer(id, &key));
    until_whole(&mut client_events, &theirs, 500).await;
    append(&ours, 3);
    server.with(|replicator| replicator.log_changed(&key));
    until_whole(&mut client_events, &theirs, 503).await;

    client.with(|replicator| replicator.close(id));
    assert_eq!(cloning.await.unwrap(), CloseReason::Local);
    assert_eq!(serving.await.unwrap(), CloseReason::Remote);
    next(&mut server_events, |event| matches!(event, Event::Closed { .. })).await;
}

/// The same over TCP, with two clients at once; one that stops in the middle by dropping its
/// future disturbs neither the server nor the other.
#[tokio::test]
async fn tcp_carries_clones() {
    let ours = writer(20_000);
    let key = ours.key();
    let (server, server_events) = endpoint(1);
    // Nobody listens to the server's events, so none may hold it up.
    drop(server_events);
    server.with(|replicator| replicator.add_log(ours.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            tokio::spawn(async move { server.drive(stream, Role::Responder).await });
        }
    });
    let connect = async |seed| {
        let (client, mut events) = endpoint(seed);
        let theirs = replica(key);
        client.with(|replicator| {
            replicator.add_log(theirs.clone());
            replicator.want_all(&key);
        });
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let driver = client.clone();
        let driving = tokio::spawn(async move { driver.drive(stream, Role::Initiator).await });
        let connected = next(&mut events, |event| matches!(event, Event::Connected { .. })).await;
        let Event::Connected { id, .. } = connected else { unreachable!() };
        client.with(|replicator| replicator.offer(id, &key));
        (client, events, theirs, driving)
    };
    let (_first, mut first_events, first_log, first_driving) = connect(2).await;
    let (_second, mut second_events, second_log, _driving) = connect(3).await;
    until_whole(&mut first_events, &first_log, 1).await;
    first_driving.abort();
    let reason = next(&mut first_events, |event| matches!(event, Event::Closed { .. })).await;
    assert!(matches!(reason, Event::Closed { reason: CloseReason::Local, .. }));
    until_whole(&mut second_events, &second_log, 20_000).await;
    assert_eq!(second_log.get(19_999).unwrap().as_deref(), Some(&b"block-19999"[..]));
}
