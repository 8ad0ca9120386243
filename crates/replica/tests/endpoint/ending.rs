//! Shutting down.

use std::time::{Duration, Instant};

use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};
use multibee_replica::{CloseReason, Event, Role, ShutdownError};
use tokio::net::{TcpListener, TcpStream};

use crate::pipe::pipe;
use crate::{append, endpoint, next};

const PATIENCE: Duration = Duration::from_secs(30);

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Much that was accepted for sending arrives, though the endpoint is shut down right after and the
/// remote, which is sending as much itself, does not stop: over TCP, where a socket closed with
/// unread bytes would lose what the remote has not read yet.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_queued_is_lost() {
    const MESSAGES: usize = 300;
    let (one, mut one_events) = endpoint(1);
    let (other, mut other_events) = endpoint(2);
    let (near, far) = sockets().await;
    for (end, stream, role) in [(&one, near, Role::Initiator), (&other, far, Role::Responder)] {
        let end = end.clone();
        tokio::spawn(async move { end.drive(stream, role).await });
    }
    let mut open = Vec::new();
    for (end, events) in [(&one, &mut one_events), (&other, &mut other_events)] {
        let connected = next(events, |event| matches!(event, Event::Connected { .. })).await;
        let Event::Connected { id, .. } = connected else { unreachable!() };
        open.push((id, end.with(|replicator| replicator.open_channel(id, "p", b"", b""))));
    }
    next(&mut one_events, |event| matches!(event, Event::ChannelOpened { .. })).await;
    for (end, (id, channel)) in [(&one, open[0]), (&other, open[1])] {
        end.with(|replicator| {
            for _ in 0..MESSAGES {
                assert!(replicator.send(id, channel, 0, vec![7; 64 * 1024]));
            }
        });
    }
    one.shutdown(Instant::now() + PATIENCE).await.unwrap();
    let mut received = 0;
    loop {
        match other_events.recv().await.unwrap() {
            Event::ChannelMessage { .. } => received += 1,
            Event::Closed { .. } => break,
            _ => {}
        }
    }
    assert_eq!(received, MESSAGES);
}

/// Two endpoints that are shut down at the same time do not wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn both_ends_can_shut_down_at_once() {
    let (one, mut one_events) = endpoint(1);
    let (other, mut other_events) = endpoint(2);
    let (near, far) = sockets().await;
    for (end, stream, role) in [(&one, near, Role::Initiator), (&other, far, Role::Responder)] {
        let end = end.clone();
        tokio::spawn(async move { end.drive(stream, role).await });
    }
    for (end, events) in [(&one, &mut one_events), (&other, &mut other_events)] {
        let connected = next(events, |event| matches!(event, Event::Connected { .. })).await;
        let Event::Connected { id, .. } = connected else { unreachable!() };
        end.with(|replicator| {
            let channel = replicator.open_channel(id, "p", b"", b"");
            assert!(replicator.send(id, channel, 0, vec![7; 8 << 20]));
        });
    }
    let deadline = Instant::now() + PATIENCE;
    let (first, second) = tokio::join!(one.shutdown(deadline), other.shutdown(deadline));
    first.unwrap();
    second.unwrap();
    for events in [&mut one_events, &mut other_events] {
        next(events, |event| matches!(event, Event::Closed { reason: CloseReason::Local, .. }))
            .await;
    }
}

/// A remote that takes nothing holds a shutdown up until the deadline and no longer, which is told.
/// No connection begins after it.
#[tokio::test(start_paused = true)]
async fn shutdown_ends_at_the_deadline() {
    let (one, mut events) = endpoint(1);
    let (near, _far) = pipe();
    let driver = one.clone();
    let driving = tokio::spawn(async move { driver.drive_framed(near).await });
    let connected = next(&mut events, |event| matches!(event, Event::Connected { .. })).await;
    let Event::Connected { id, .. } = connected else { unreachable!() };
    one.with(|replicator| {
        let channel = replicator.open_channel(id, "p", b"", b"");
        replicator.send(id, channel, 0, vec![7; 8 << 20]);
        replicator.send(id, channel, 0, vec![7; 8 << 20]);
        replicator.send(id, channel, 0, vec![7; 8 << 20]);
    });
    let start = tokio::time::Instant::now();
    let late = one.shutdown((start + PATIENCE).into_std()).await;
    assert!(matches!(late, Err(ShutdownError::Late { connections: 1 })), "{late:?}");
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    assert_eq!(driving.await.unwrap(), CloseReason::Local);

    let (near, _far) = tokio::io::duplex(100);
    assert_eq!(one.drive(near, Role::Initiator).await, CloseReason::Local);
}

/// Shutting down brings the logs to the disk: what was appended buffered can then be told.
#[tokio::test]
async fn shutdown_writes_logs_out() {
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, options).unwrap();
    append(&log, 3);
    assert_eq!(log.durable_len(), 0);
    let (one, _events) = endpoint(1);
    one.with(|replicator| replicator.add_log(log.clone()));
    one.shutdown(Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(log.durable_len(), 3);
}
