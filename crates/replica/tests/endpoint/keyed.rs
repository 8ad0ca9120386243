//! Transports that come with keys.

use multibee_replica::{CloseReason, Event, Role, SessionKeys};

use crate::pipe::pipe;
use crate::{endpoint, next, replica, until_whole, writer};

/// A clone over a narrow transport of messages, with the log at either end; both learn from it who
/// the other is, and the close arrives.
#[tokio::test]
async fn messages_carry_a_clone() {
    for server_role in [Role::Responder, Role::Initiator] {
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
        let (near, far) = pipe();
        let (to_client, to_server) =
            if server_role == Role::Responder { (near, far) } else { (far, near) };
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.drive_framed(to_server).await }
        });
        let cloning = tokio::spawn({
            let client = client.clone();
            async move { client.drive_framed(to_client).await }
        });
        let is_connected = |event: &Event| matches!(event, Event::Connected { .. });
        let Event::Connected { id, remote_static, role, handshake_hash } =
            next(&mut client_events, is_connected).await
        else {
            unreachable!()
        };
        assert_eq!((role, handshake_hash), (server_role.opposite(), [5; 64]));
        assert_eq!(remote_static, [if server_role == Role::Responder { 2 } else { 1 }; 32]);
        client.with(|replicator| replicator.offer(id, &key));
        until_whole(&mut client_events, &theirs, 500).await;
        client.with(|replicator| replicator.close(id));
        assert_eq!(cloning.await.unwrap(), CloseReason::Local);
        assert_eq!(serving.await.unwrap(), CloseReason::Remote);
        next(&mut server_events, |event| matches!(event, Event::Closed { .. })).await;
    }
}

/// A byte stream with keys from elsewhere carries a clone without a handshake.
#[tokio::test]
async fn keyed_stream_carries_a_clone() {
    let ours = writer(50);
    let key = ours.key();
    let theirs = replica(key);
    let (server, _server_events) = endpoint(1);
    let (client, mut client_events) = endpoint(2);
    server.with(|replicator| replicator.add_log(ours.clone()));
    client.with(|replicator| {
        replicator.add_log(theirs.clone());
        replicator.want_all(&key);
    });
    let keys = |tx, rx, remote| SessionKeys {
        tx: [tx; 32],
        rx: [rx; 32],
        hash: [9; 64],
        remote_static: [remote; 32],
    };
    let (near, far) = tokio::io::duplex(1000);
    let serving = async move { server.drive_keyed(far, Role::Responder, keys(1, 2, 7)).await };
    tokio::spawn(serving);
    let driver = client.clone();
    tokio::spawn(async move { driver.drive_keyed(near, Role::Initiator, keys(2, 1, 8)).await });
    let connected = next(&mut client_events, |e| matches!(e, Event::Connected { .. })).await;
    let Event::Connected { id, remote_static, .. } = connected else { unreachable!() };
    assert_eq!(remote_static, [8; 32]);
    client.with(|replicator| replicator.offer(id, &key));
    until_whole(&mut client_events, &theirs, 50).await;
}
