//! S71: a device's key is used twice.

use multibee::{Home, LogKey, Multibee};
use tempfile::TempDir;

use crate::devices::{Device, Group, Kind, converge, link, options, put_files, text};

/// A and its twin, which has the same key, and B and C: B has met A since, and C the twin. All four have
/// counted, and written a key of their own and one in common.
struct Forked {
    /// A, its twin, B, C.
    devices: [Multibee; 4],
    key: LogKey,
    _group: Group,
    _dir: TempDir,
}

async fn forked() -> Forked {
    let mut group = Group::new(Kind::Disk, 3);
    let dir = tempfile::tempdir().unwrap();
    let [b, c] = [1, 2].map(|number| group.db(number).clone());
    {
        let a = group.db(0).clone();
        for number in 0..20 {
            a.put(format!("early/{number}"), "1").unwrap();
            a.increment("count", 1).unwrap();
        }
        let links = (link(&a, &b).await, link(&a, &c).await);
        converge(&[&a, &b, &c]).await;
        links.0.cut().await;
        links.1.cut().await;
    }
    let Device { db, home, clock } = group.devices.remove(0);
    let key = db.key();
    db.close().await.unwrap();
    let Home::Dir(place) = home.clone() else { unreachable!("it is on disk") };
    put_files(&place, &dir.path().join("twin"));
    let a = Multibee::open(home, options(&clock)).unwrap();
    let twin = Multibee::adopt(Home::dir(dir.path().join("twin")), options(&clock)).unwrap();
    assert_eq!((a.key(), twin.key()), (key, key));
    let devices = [a, twin, b, c];
    for (number, by) in (0..).zip(&devices) {
        for round in 0..3 {
            by.increment("count", 10_i64.pow(2 + number)).unwrap();
            by.put(format!("by {number}/{round}"), "1").unwrap();
        }
        by.put(format!("early/{number}"), "again").unwrap();
    }
    let [a, twin, b, c] = &devices;
    let met = link(a, b).await;
    converge(&[a, b]).await;
    met.cut().await;
    let met = link(twin, c).await;
    converge(&[twin, c]).await;
    met.cut().await;
    Forked { devices, key, _group: group, _dir: dir }
}

fn check(devices: &[&Multibee]) {
    for db in devices {
        assert_eq!(text(db, "count"), Some("333320".into()));
        for number in 0..4 {
            assert_eq!(text(db, &format!("early/{number}")), Some("again".into()));
            for round in 0..3 {
                assert_eq!(text(db, &format!("by {number}/{round}")), Some("1".into()));
            }
        }
        assert!(db.conflicts().unwrap().is_empty(), "{:#?}", db.conflicts().unwrap());
        assert!(!db.devices().unwrap().iter().any(|device| device.stuck.is_some()));
    }
}

/// However the four meet, all end with everything that any of them has written, each write once; and
/// both of the two go on under keys of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s71_nothing_is_lost_or_doubled() {
    for first in [(0, 3), (1, 2), (2, 3), (0, 2)] {
        let Forked { devices, key, _group, _dir } = forked().await;
        let met = link(&devices[first.0], &devices[first.1]).await;
        let mut links = vec![met];
        for one in 0..4 {
            for other in one + 1..4 {
                // The two don't talk to whoever has their own key.
                if (one, other) != first && (one, other) != (0, 1) {
                    links.push(link(&devices[one], &devices[other]).await);
                }
            }
        }
        let all: Vec<&Multibee> = devices.iter().collect();
        converge(&all).await;
        check(&all);
        assert!(devices[0].key() != key && devices[1].key() != key);
        assert_ne!(devices[0].key(), devices[1].key());
        devices[0].put("on", "1").unwrap();
        devices[1].increment("count", 1).unwrap();
        converge(&all).await;
        assert_eq!(text(&devices[3], "count"), Some("333321".into()));
    }
}
