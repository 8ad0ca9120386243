//! S22: a delete reaches everyone.

use crate::devices::{Group, Kind, contents, text, versions};
use crate::scenario;

/// After a delete the key is in no get and no range on any device.
async fn run(kind: Kind) {
    let group = Group::new(kind, 3);
    group.db(0).put("k", "1").unwrap();
    group.db(0).put("stays", "1").unwrap();
    let links = [group.link(0, 1).await, group.link(1, 2).await];
    group.converge().await;
    assert!(group.devices.iter().all(|device| text(&device.db, "k").is_some()));

    assert!(group.db(0).del("k").unwrap());
    group.converge().await;
    for device in &group.devices {
        assert_eq!(text(&device.db, "k"), None);
        assert_eq!(contents(&device.db).len(), 1);
        assert!(!device.db.del("k").unwrap(), "it is gone already");
    }

    // A put after a delete that was seen is no conflict, also with a clock that lags behind.
    group.devices[2].clock.set(1_600_000_000_000);
    group.db(2).put("k", "again").unwrap();
    group.converge().await;
    for device in &group.devices {
        assert_eq!(text(&device.db, "k"), Some("again".into()));
        assert!(device.db.conflicts().unwrap().is_empty());
    }

    // A concurrent edit survives a delete, which stays listed.
    for link in links {
        link.cut().await;
    }
    group.db(0).del("k").unwrap();
    group.db(1).put("k", "edited").unwrap();
    let _links = [group.link(1, 2).await, group.link(0, 2).await];
    group.converge().await;
    for device in &group.devices {
        assert_eq!(text(&device.db, "k"), Some("edited".into()));
        assert_eq!(versions(&device.db, "k")[&group.db(0).device().to_string()], None);
    }
}

scenario!(s22_a_delete_reaches_everyone, run);
