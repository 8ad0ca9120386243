//! Concurrent versions of one key that are too large for one block together.

use bytes::Bytes;
use multibee::{Choice, MAX_VALUE_LEN, Multibee};

use crate::devices::{Group, Kind, converge, until, versions};

/// One block holds 15 MiB at most, and all but one of these write.
const DEVICES: u8 = 17;

fn value(number: usize) -> Bytes {
    vec![number as u8; MAX_VALUE_LEN].into()
}

/// All of these list every version, with its author and all of its bytes.
fn check_versions(group: &Group, devices: &[&Multibee]) {
    let writers = group.devices.iter().take(group.devices.len() - 1);
    let written: Vec<_> = writers.map(|device| device.db.device().to_string()).collect();
    for db in devices {
        let found = versions(db, "k");
        assert_eq!(found.len(), written.len());
        for (number, id) in written.iter().enumerate() {
            assert_eq!(found.get(id), Some(&Some(value(number))));
        }
    }
}

/// All devices but one put a value of the greatest length while apart, and one of them meets all
/// others. It lists all versions, and so do one that follows it and one that never wrote; a choice
/// settles it for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_versions_are_all_kept() {
    let group = Group::new(Kind::Memory, DEVICES);
    let late = group.devices.len() - 1;
    for (number, device) in group.devices[..late].iter().enumerate() {
        device.db.put("k", value(number)).unwrap();
    }
    for number in 2..late {
        let link = group.link(0, number).await;
        let writer = group.db(number).device();
        let length = |db: &Multibee| db.status().unwrap().clock.length(writer);
        let written = length(group.db(number));
        until(group.db(0), "its value is merged", || length(group.db(0)) == written).await;
        link.cut().await;
    }
    let all = [group.db(0), group.db(1), group.db(late)];
    let _links = [group.link(0, 1).await, group.link(0, late).await];
    converge(&all).await;
    check_versions(&group, &all);
    // What stands aside is written once, not with each version that comes.
    let bytes = group.db(0).status().unwrap().bytes;
    assert!(bytes < 4 * u64::from(DEVICES) * MAX_VALUE_LEN as u64, "{bytes} bytes");

    let dot = group.db(late).conflict("k").unwrap().unwrap().versions[3].dot;
    group.db(late).resolve("k", Choice::Version(dot)).unwrap();
    converge(&all).await;
    for db in all {
        assert!(db.conflicts().unwrap().is_empty());
    }
}
