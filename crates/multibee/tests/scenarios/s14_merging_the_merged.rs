//! S14: once all is merged, nobody writes anything any more.

use crate::devices::{Group, Kind, Link};
use crate::scenario;

fn lengths(group: &Group) -> Vec<u64> {
    group.devices.iter().map(|device| device.db.status().unwrap().length).collect()
}

async fn ring(group: &Group) -> Vec<Link> {
    vec![group.link(0, 1).await, group.link(1, 2).await, group.link(2, 0).await]
}

/// Three devices in a ring: one put on one device causes at most one data-carrying append per
/// device, and 50 resets of every link append nothing at all.
async fn run(kind: Kind) {
    let group = Group::new(kind, 3);
    let mut links = ring(&group).await;
    group.converge().await;
    let before = lengths(&group);
    for i in 0..100 {
        group.db(0).put(format!("key/{i:03}"), "value").unwrap();
    }
    group.converge().await;
    let after = lengths(&group);
    assert_eq!(after[0] - before[0], 100);
    // A merged put is one block; many of them may share a commit.
    assert_eq!((after[1] - before[1], after[2] - before[2]), (100, 100));

    for _ in 0..50 {
        for link in links {
            link.cut().await;
        }
        links = ring(&group).await;
        for device in &group.devices {
            device.db.wait_synced(crate::devices::PATIENCE).await.unwrap();
        }
        assert_eq!(lengths(&group), after, "a round of syncing wrote something");
    }
    group.converge().await;
}

scenario!(s14_merging_the_merged, run);
