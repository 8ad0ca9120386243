//! Hints for sparse readers of what a device serves.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use multibee::{Home, Multibee, Options, Role};
use multibee_btree::{Bee, BeeOptions, EXTENSION_NAME, Error, ExtensionMessage};
use multibee_log::{Log, LogOptions, MemoryStorage};
use multibee_replica::{Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions};
use tokio::time::timeout;

/// Far more than any step takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next event of which `wanted` makes something.
async fn wait<T>(events: &mut EventReceiver, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("nothing happened").unwrap();
        assert!(!matches!(event, Event::Closed { .. } | Event::Fault { .. }), "{event:?}");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

/// Somebody who knows the key of a device's log, and no more, asks what a lookup needs; with the
/// blocks of the answer it succeeds. What is no question gets no answer, and harms nothing.
#[tokio::test]
async fn a_stranger_with_the_key_is_given_hints() {
    let database = Multibee::create(Home::memory(), Options::default()).unwrap();
    let mut batch = database.batch();
    for i in 0..1000 {
        batch.put(format!("key/{i:04}"), format!("value {i}"));
    }
    batch.commit().unwrap();
    let key = database.key();

    let log = Log::create_replica(MemoryStorage::default(), key, LogOptions::default()).unwrap();
    let mut replicator = Replicator::new(ReplicatorOptions::default(), [3; 32]);
    replicator.add_log(log.clone());
    replicator.accept_extension(EXTENSION_NAME);
    let (endpoint, mut events) = Endpoint::new(replicator);
    let (near, far) = tokio::io::duplex(1 << 16);
    database.attach(far, Role::Responder);
    let id = endpoint.connect(Role::Initiator);
    let driving = endpoint.clone();
    tokio::spawn(async move { driving.drive_connection(id, near).await });
    wait(&mut events, |event| matches!(event, Event::Connected { .. }).then_some(())).await;
    endpoint.with(|replicator| replicator.offer(id, &key));
    wait(&mut events, |event| matches!(event, Event::Upgraded { .. }).then_some(())).await;

    let bee = Bee::open(log.clone(), BeeOptions::default()).unwrap();
    let tree = bee.snapshot().unwrap();
    assert!(matches!(tree.get(b"key/0345"), Err(Error::Missing(_))));
    let ask = |message: Vec<u8>| {
        assert!(endpoint.with(|r| r.send_extension(id, &key, EXTENSION_NAME, message)));
    };
    ask(b"no message of this extension".to_vec());
    ask(tree.hint(b"key/0345").unwrap().encode());
    let cache = wait(&mut events, |event| match event {
        Event::Extension { payload, .. } => ExtensionMessage::decode(payload).unwrap().cache,
        _ => None,
    });
    let missing = cache.await.missing(&log);
    assert!((2..40).contains(&missing.len()), "{missing:?}");
    endpoint.with(|replicator| {
        missing.iter().for_each(|seq| replicator.want(&key, *seq..seq + 1, 1));
    });
    let all_here = || missing.iter().all(|seq| log.has(*seq));
    if !all_here() {
        wait(&mut events, |_| all_here().then_some(())).await;
    }
    assert!(tree.get(b"key/0345").unwrap().is_some());
    database.close().await.unwrap();
}
