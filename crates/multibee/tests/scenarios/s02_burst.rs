//! S02: both devices write as fast as they can while they are connected.

use crate::devices::{Group, Kind};
use crate::scenario;

/// Two tight loops on different keys, with no pause between writes: everything arrives.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    group.link(0, 1).await;
    let writer = |number: usize| {
        let db = group.db(number).clone();
        tokio::task::spawn_blocking(move || {
            for i in 0..5000 {
                db.put(format!("{number}/{i:04}"), format!("value {i}")).unwrap();
            }
        })
    };
    let (a, b) = (writer(0), writer(1));
    a.await.unwrap();
    b.await.unwrap();
    group.converge().await;
    assert_eq!(group.db(0).verify().unwrap().keys, 10_000);
    assert!(group.db(0).conflicts().unwrap().is_empty());
}

scenario!(s02_burst_while_connected, run);
