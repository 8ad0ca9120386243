//! The listener and the dialer, over real sockets.

use std::time::{Duration, Instant};

use multibee_replica::{
    Admission, CloseReason, DialNews, DialOptions, Dialer, Endpoint, Event, EventReceiver,
    ListenLimits, Listener, RedialOptions, Replicator, ReplicatorOptions, Role, dial,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{endpoint, next, replica, until_whole, writer};

const PATIENCE: Duration = Duration::from_secs(30);

async fn listen(endpoint: &Endpoint, limits: ListenLimits) -> (String, JoinHandle<()>) {
    let listener = Listener::bind("127.0.0.1:0", limits).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let endpoint = endpoint.clone();
    (address, tokio::spawn(async move { listener.run(&endpoint).await }))
}

/// Dials again at once, so that tests need not wait.
fn eager() -> DialOptions {
    let pause = Duration::from_millis(1);
    let redial = RedialOptions { first_pause: pause, longest_pause: pause, lasting: pause };
    DialOptions { timeout: PATIENCE, redial }
}

fn keep_dialing(
    endpoint: &Endpoint,
    address: &str,
) -> (mpsc::UnboundedReceiver<DialNews>, JoinHandle<()>) {
    let (sender, news) = mpsc::unbounded_channel();
    let (endpoint, dialer) = (endpoint.clone(), Dialer::new(address, eager()));
    let running = tokio::spawn(async move {
        dialer.run(&endpoint, |news| drop(sender.send(news))).await;
    });
    (news, running)
}

async fn connected(events: &mut EventReceiver) -> multibee_replica::ConnectionId {
    match next(events, |event| matches!(event, Event::Connected { .. })).await {
        Event::Connected { id, .. } => id,
        _ => unreachable!(),
    }
}

/// A connection that the other side ends is made anew, and the log goes on over it; when either
/// endpoint is shut down its listener or dialer ends.
#[tokio::test]
async fn dialer_reconnects_until_it_is_shut_down() {
    let ours = writer(10);
    let theirs = replica(ours.key());
    let (server, mut server_events) = endpoint(1);
    let (client, mut client_events) = endpoint(2);
    server.with(|replicator| replicator.add_log(ours.clone()));
    client.with(|replicator| {
        replicator.add_log(theirs.clone());
        replicator.want_all(&ours.key());
    });
    let (address, listening) = listen(&server, ListenLimits::default()).await;
    let (mut news, dialing) = keep_dialing(&client, &address);
    let first = connected(&mut client_events).await;
    assert!(matches!(news.recv().await, Some(DialNews::Reached { id }) if id == first));
    let far = connected(&mut server_events).await;
    server.with(|replicator| replicator.close(far));
    let ended = news.recv().await;
    assert!(
        matches!(ended, Some(DialNews::Ended { reason: CloseReason::Remote, .. })),
        "{ended:?}"
    );
    let second = connected(&mut client_events).await;
    assert_ne!(first, second);
    client.with(|replicator| replicator.offer(second, &ours.key()));
    until_whole(&mut client_events, &theirs, 10).await;

    client.shutdown(Instant::now() + PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, dialing).await.unwrap().unwrap();
    server.shutdown(Instant::now() + PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, listening).await.unwrap().unwrap();
    assert!(TcpStream::connect(&address).await.is_err(), "nobody listens any more");
}

/// An address where nobody is is tried again and again, with a reason each time; one that cannot be
/// reached once is told as such.
#[tokio::test]
async fn dialer_tells_why_it_fails() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    assert!(dial(&*address, PATIENCE).await.is_err());
    let (client, _events) = endpoint(2);
    let (mut news, dialing) = keep_dialing(&client, &address);
    for _ in 0..3 {
        let failed = news.recv().await;
        assert!(matches!(failed, Some(DialNews::Failed { .. })), "{failed:?}");
    }
    client.shutdown(Instant::now() + PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, dialing).await.unwrap().unwrap();
}

/// Those who connect and say nothing take only so many places; the next is closed at once, and one
/// that speaks when there is a place again is served.
#[tokio::test]
async fn half_open_connections_are_bounded() {
    let limits = ListenLimits { half_open_per_address: 2, ..ListenLimits::default() };
    let (server, mut events) = endpoint(1);
    let (address, _listening) = listen(&server, limits).await;
    let mute = [(); 2].map(|()| TcpStream::connect(address.clone()));
    let [first, second] = mute;
    let (first, _second) = (first.await.unwrap(), second.await.unwrap());
    let mut third = TcpStream::connect(&*address).await.unwrap();
    let read = tokio::time::timeout(PATIENCE, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "closed without a word: {read:?}");

    drop(first);
    next(&mut events, |event| matches!(event, Event::Closed { .. })).await;
    let (client, mut client_events) = endpoint(2);
    let (_news, _dialing) = keep_dialing(&client, &address);
    connected(&mut client_events).await;
}

/// Finished handshakes do not count as half open, but as connections; those are bounded, too.
#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let limits = ListenLimits {
        half_open_per_address: 1,
        connections_per_address: 2,
        ..ListenLimits::default()
    };
    let (server, mut server_events) = endpoint(1);
    let (address, _listening) = listen(&server, limits).await;
    let (client, mut events) = endpoint(2);
    for _ in 0..2 {
        let (stream, link) = dial(&*address, PATIENCE).await.unwrap();
        let id = client.connect_link(link);
        let driver = client.clone();
        tokio::spawn(async move { driver.drive_connection(id, stream).await });
        connected(&mut events).await;
        connected(&mut server_events).await;
    }
    let (stream, link) = dial(&*address, PATIENCE).await.unwrap();
    let id = client.connect_link(link);
    let reason = tokio::time::timeout(PATIENCE, client.drive_connection(id, stream)).await.unwrap();
    assert!(matches!(reason, CloseReason::Remote | CloseReason::Io(_)), "{reason}");
}

/// The listener tells admission where the remote is; who is not let in is cut off.
#[tokio::test]
async fn listener_asks_with_the_address() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let admission = Admission::ask(move |who| {
        let _ = sender.send(*who);
        false
    });
    let options = ReplicatorOptions { admission, ..ReplicatorOptions::default() };
    let (server, _events) = Endpoint::new(Replicator::new(options, [1; 32]));
    let (address, _listening) = listen(&server, ListenLimits::default()).await;
    let (client, _client_events) = endpoint(2);
    let (stream, link) = dial(&*address, PATIENCE).await.unwrap();
    let own = stream.local_addr().unwrap();
    let id = client.connect_link(link);
    let reason = tokio::time::timeout(PATIENCE, client.drive_connection(id, stream)).await.unwrap();
    assert!(matches!(reason, CloseReason::Remote | CloseReason::Io(_)), "{reason}");
    let who = asked.recv().await.unwrap();
    assert_eq!((who.role, who.address), (Role::Responder, Some(own)));
    assert_eq!(who.remote_static, client.with(|replicator| replicator.static_public_key()));
}
