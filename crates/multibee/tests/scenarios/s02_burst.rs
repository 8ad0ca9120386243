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

/// The largest batches there may be, of the same keys on both sides, deletes among them: each is
/// merged whole, though every key takes several blocks.
async fn largest_batches(kind: Kind) {
    let group = Group::new(kind, 2);
    for number in [0, 1] {
        for round in 0..2 {
            let mut batch = group.db(number).batch();
            for i in 0..multibee::MAX_BATCH_OPS {
                batch.put(format!("{i:05}"), format!("{number} {round}"));
            }
            batch.commit().unwrap();
        }
        let mut batch = group.db(number).batch();
        for i in 0..multibee::MAX_BATCH_OPS {
            if number == 1 || i % 2 == 0 {
                batch.del(format!("{i:05}"));
            }
        }
        batch.commit().unwrap();
    }
    let mut batch = group.db(0).batch();
    for i in 0..=multibee::MAX_BATCH_OPS {
        batch.put(format!("{i}"), "x");
    }
    assert!(matches!(batch.commit(), Err(multibee::Error::BatchTooLarge { .. })));

    group.link(0, 1).await;
    group.converge().await;
    assert_eq!(group.db(1).verify().unwrap().keys, multibee::MAX_BATCH_OPS as u64 / 2);
}

scenario!(s02_the_largest_batches_are_merged, largest_batches);
