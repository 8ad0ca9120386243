//! A mirror: a device, in the cloud say, that keeps everything.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee::{AddOptions, DeviceRole, Home, Log, LogOptions, Multibee, ReclaimOptions};
use multibee_btree::{Bee, BeeOptions, RangeOptions};

use crate::devices::{Group, Kind, contents, converge, until};
use crate::scenario;

/// What a device showed at each of its versions.
type Past = BTreeMap<u64, Vec<(Bytes, Bytes)>>;

fn note(db: &Multibee, past: &mut Past) {
    past.insert(db.view().unwrap().version(), contents(db));
}

/// What a tree in somebody's log holds at a version, but for what is not the users'.
fn shown(log: &Log, version: u64) -> Vec<(Bytes, Bytes)> {
    let bee = Bee::open(log.clone(), BeeOptions::default()).unwrap();
    let lt = Some(Bytes::from_static(&[0xff]));
    let mut range = bee.checkout(version).unwrap().range(RangeOptions { lt, ..Default::default() });
    let mut entries = Vec::new();
    while let Some(block) = range.next().unwrap() {
        entries.push((block.key, block.value.unwrap_or_default()));
    }
    entries
}

/// The log of a device as another one has it, which nobody has open.
fn replica(home: &Home, of: multibee::LogKey) -> Log {
    home.replica(of, LogOptions::default()).unwrap()
}

fn is_whole(home: &Home, of: multibee::LogKey, length: u64, past: &Past) {
    let log = replica(home, of);
    let held: u64 = log.held(0..length).iter().map(|run| run.end - run.start).sum();
    assert_eq!(held, length, "all blocks are here");
    for (version, entries) in past {
        assert_eq!(&shown(&log, *version), entries, "at version {version}");
    }
}

/// A writes, overwrites and deletes before anybody knows of a mirror and while one is there, reclaims,
/// moves to a fresh log, and is gone. A new laptop, a mirror as well, meets the cloud only: both have
/// all that A ever wrote, version by version. A phone that is none has the data alone.
async fn run(kind: Kind) {
    let group = Group::strangers(kind, 4);
    let [a, cloud, laptop, phone] = [0, 1, 2, 3].map(|number| group.db(number));
    let mut past = Past::new();
    let first = a.key();
    for round in 0..4 {
        for key in 0..30 {
            a.put(format!("k{key}"), format!("{round}")).unwrap();
        }
        a.del(format!("k{round}")).unwrap();
        note(a, &mut past);
    }
    let as_mirror = || AddOptions { role: DeviceRole::Mirror, name: None };
    for mirror in [cloud, laptop] {
        a.add_with(mirror.key(), as_mirror()).unwrap();
    }
    a.add_replica(phone.key()).unwrap();
    for (number, to) in [(1, first), (2, cloud.key()), (3, cloud.key())] {
        group.devices[number].clock.move_by(1000);
        group.db(number).add_replica(to).unwrap();
    }
    let holds = |db: &Multibee, of, length| {
        let audits = db.audit(|_, _| {}).unwrap();
        audits.iter().any(|audit| audit.key == of && audit.blocks >= length)
    };

    let link = group.link(0, 1).await;
    converge(&[a, cloud]).await;
    for key in 0..5 {
        a.put(format!("k{key}"), "late").unwrap();
        note(a, &mut past);
    }
    converge(&[a, cloud]).await;
    cloud.reclaim(&ReclaimOptions::default()).unwrap();
    let length = a.view().unwrap().version();
    until(cloud, "the cloud has it all", || holds(cloud, first, length)).await;
    a.compact(|_| {}).unwrap();
    a.put("moved", "1").unwrap();
    let (second, moved) = (a.key(), a.view().unwrap().version());
    converge(&[a, cloud]).await;
    until(cloud, "the cloud has that, too", || holds(cloud, second, moved)).await;
    link.cut().await;

    let links = [group.link(1, 2).await, group.link(1, 3).await];
    converge(&[cloud, laptop, phone]).await;
    until(laptop, "the laptop has it all", || {
        holds(laptop, first, length) && holds(laptop, second, moved)
    })
    .await;
    assert!(!holds(phone, first, length), "history is for mirrors");
    assert_eq!(contents(phone), contents(a));
    for link in links {
        link.cut().await;
    }
    for device in group.devices {
        let is_mirror = device.db.key() != second
            && device
                .db
                .devices()
                .unwrap()
                .iter()
                .any(|one| one.key == device.db.key() && one.role == DeviceRole::Mirror);
        device.db.close().await.unwrap();
        if is_mirror {
            is_whole(&device.home, first, length, &past);
            is_whole(&device.home, second, moved, &Past::new());
        }
    }
}

scenario!(a_mirror_has_all_that_anybody_ever_wrote, run);
