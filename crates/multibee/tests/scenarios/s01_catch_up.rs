//! S01: a device catches up after being offline.

use multibee::{Event, Multibee};
use tokio::sync::broadcast::Receiver;

use crate::devices::{Group, Kind};
use crate::scenario;

fn write_a_thousand(db: &Multibee) {
    for i in 0..1000 {
        db.put(format!("key/{i:04}"), format!("value {i}")).unwrap();
    }
    for i in 0..200 {
        db.put(format!("key/{i:04}"), format!("second value {i}")).unwrap();
    }
    for i in 300..400 {
        assert!(db.del(format!("key/{i:04}")).unwrap());
    }
}

fn merged(events: &mut Receiver<Event>) -> u64 {
    std::iter::from_fn(|| events.try_recv().ok())
        .map(|event| match event {
            Event::Merged { blocks, .. } => blocks,
            _ => 0,
        })
        .sum()
}

/// Every change of a device that was alone for long arrives, not only the newest, and the report
/// says how many there were.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    write_a_thousand(a);
    let mut events = b.events();
    group.link(0, 1).await;
    group.converge().await;

    assert_eq!(b.verify().unwrap().keys, 900);
    assert_eq!(b.get("key/0007").unwrap().unwrap().value, "second value 7");
    assert_eq!(b.get("key/0950").unwrap().unwrap().value, "value 950");
    assert!(b.get("key/0350").unwrap().is_none());

    // 1,300 changes; a delete is two blocks; and the statement that admitted B.
    assert_eq!(merged(&mut events), 1401);
    let devices = b.devices().unwrap();
    let a_as_seen = devices.iter().find(|device| device.key == a.key()).unwrap();
    assert_eq!(a_as_seen.applied, a.status().unwrap().clock.length(a.device()));
    b.wait_synced(crate::devices::PATIENCE).await.unwrap();
}

scenario!(s01_catch_up_after_being_offline, run);
