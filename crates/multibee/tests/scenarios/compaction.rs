//! Compacting a database.

use std::path::Path;

use multibee::{Multibee, Options, RangeSpec};

use crate::devices::{Group, Kind, contents, converge, options, text};

/// What is alive is taken over: values, conflicts, what is remembered of deletes. What a database
/// that has compacted writes is newer than what it wrote before.
async fn keeps_what_is_alive(kind: Kind) {
    let mut group = Group::new(kind, 2);
    let [a, b] = [0, 1].map(|number| group.db(number).clone());
    for round in 0..20 {
        for key in 0..10 {
            a.put(format!("k{key}"), format!("{round}")).unwrap();
        }
    }
    a.del("k3").unwrap();
    let link = group.link(0, 1).await;
    converge(&[&a, &b]).await;
    link.cut().await;
    a.put("both", "by A").unwrap();
    b.put("both", "by B").unwrap();
    let link = group.link(0, 1).await;
    converge(&[&a, &b]).await;
    link.cut().await;

    let before = (contents(&a), a.conflicts().unwrap(), a.digest(), a.key());
    let done = a.compact(|_| {}).unwrap();
    assert!(done.bytes_after < done.bytes_before / 4, "{done:?}");
    assert_ne!(a.key(), before.3);
    assert_eq!((contents(&a), a.conflicts().unwrap(), a.digest()), (before.0, before.1, before.2));
    a.verify().unwrap();
    a.put("k1", "later").unwrap();
    a.put("k3", "again").unwrap();
    drop((a, b));
    group.restart(0).await;
    assert_eq!(text(group.db(0), "k1"), Some("later".into()));
    group.db(0).verify().unwrap();
}

#[tokio::test]
async fn keeps_what_is_alive_in_memory() {
    keeps_what_is_alive(Kind::Memory).await;
}

#[tokio::test]
async fn keeps_what_is_alive_on_disk() {
    keeps_what_is_alive(Kind::Disk).await;
}

/// Devices that are connected meanwhile, and others that come later, go on with the device under its
/// new key; nothing of what it took over is downloaded.
async fn others_follow(kind: Kind) {
    let mut group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    for key in 0..200 {
        a.put(format!("k{key}"), "value").unwrap();
    }
    let (ab, bc) = (group.link(0, 1).await, group.link(1, 2).await);
    converge(&[&a, &b, &c]).await;
    let downloaded = b.status().unwrap().blocks_downloaded;
    let before = a.key();
    a.compact(|_| {}).unwrap();
    a.put("new", "1").unwrap();
    converge(&[&a, &b, &c]).await;
    assert_eq!(text(&c, "new"), Some("1".into()));
    let more = b.status().unwrap().blocks_downloaded - downloaded;
    assert!(more < 8, "{more} blocks for a statement and a put");
    for db in [&b, &c] {
        let devices = db.devices().unwrap();
        let of = |key| devices.iter().find(|device| device.key == key).unwrap();
        assert!(of(a.key()).connected || db.key() == c.key());
        assert!(!of(before).connected);
    }
    b.put("back", "1").unwrap();
    converge(&[&a, &b, &c]).await;
    ab.cut().await;
    bc.cut().await;

    // Again, away from the others, and both of them.
    drop((a, b, c));
    group.restart(0).await;
    for number in [0, 1] {
        let db = group.db(number);
        db.put("apart", format!("{number}")).unwrap();
        db.compact(|_| {}).unwrap();
        db.put(format!("after/{number}"), "1").unwrap();
    }
    let _links = (group.link(0, 1).await, group.link(1, 2).await);
    group.converge().await;
    assert_eq!(text(group.db(2), "after/0"), Some("1".into()));
    assert_eq!(text(group.db(0), "after/1"), Some("1".into()));
}

#[tokio::test]
async fn others_follow_in_memory() {
    others_follow(Kind::Memory).await;
}

#[tokio::test]
async fn others_follow_on_disk() {
    others_follow(Kind::Disk).await;
}

/// Whoever watches is told what has changed, and nothing else, also if a compaction lies between; a
/// view from before can be compared with one from after it.
#[tokio::test]
async fn watches_go_on() {
    let group = Group::new(Kind::Memory, 1);
    let db = group.db(0);
    for key in ["a", "b", "c"] {
        db.put(key, "1").unwrap();
    }
    let before = db.view().unwrap();
    let mut watch = db.watch(RangeSpec::default()).unwrap();
    let mut asleep = db.watch(RangeSpec::prefix(b"z")).unwrap();
    db.put("a", "2").unwrap();
    db.del("b").unwrap();
    db.compact(|_| {}).unwrap();
    db.put("d", "1").unwrap();
    let keys = |changes: multibee::Changes| {
        changes.iter().map(|change| change.unwrap().key).collect::<Vec<_>>()
    };
    assert_eq!(keys(watch.next().await.unwrap().unwrap()), ["a", "b", "d"]);
    db.compact(|_| {}).unwrap();
    assert!(watch.look().unwrap().is_none() && asleep.look().unwrap().is_none());
    db.put("a", "3").unwrap();
    assert_eq!(keys(watch.look().unwrap().unwrap()), ["a"]);
    let diff = db.view().unwrap().diff(&before, RangeSpec::default()).unwrap();
    assert_eq!(diff.map(|change| change.unwrap().key).collect::<Vec<_>>(), ["a", "b", "d"]);
}

/// Times of writes go on after a compaction, also if the clock was set back and nothing was written in
/// between.
#[tokio::test]
async fn times_go_on() {
    let mut group = Group::new(Kind::Memory, 1);
    let db = group.db(0).clone();
    db.put("before", "1").unwrap();
    let before = db.get("before").unwrap().unwrap().time;
    db.compact(|_| {}).unwrap();
    drop(db);
    group.devices[0].clock.move_by(-86_400_000);
    group.restart(0).await;
    group.db(0).put("after", "1").unwrap();
    assert!(group.db(0).get("after").unwrap().unwrap().time > before);
}

/// Room of what was superseded is given back: the disk holds little more than a fresh load of the
/// same data.
#[test]
fn room_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, rounds: u32| {
        let home = multibee::Home::dir(dir.path().join(name));
        let clock = std::sync::Arc::new(crate::devices::TestClock::new());
        let db = Multibee::create(home, options(&clock)).unwrap();
        for round in 0..rounds {
            for keys in 0..10 {
                let mut batch = db.batch();
                for key in 0..100 {
                    batch.put(format!("key/{keys}/{key}"), format!("value of {round:20}"));
                }
                batch.commit().unwrap();
            }
        }
        db
    };
    let fresh = make("fresh", 1);
    let written = make("written", 100);
    let view = written.view().unwrap();
    written.compact(|_| {}).unwrap();
    // Whoever reads what was before goes on reading.
    assert_eq!(view.range(RangeSpec::default()).count(), 1000);
    drop((view, fresh, written));
    let clock = std::sync::Arc::new(crate::devices::TestClock::new());
    for name in ["fresh", "written"] {
        let home = multibee::Home::dir(dir.path().join(name));
        let db = Multibee::open(home, Options { ..options(&clock) }).unwrap();
        assert_eq!(db.verify().unwrap().keys, 1000);
    }
    let [fresh, written] = ["fresh", "written"].map(|name| size(&dir.path().join(name)));
    assert!(written * 2 < fresh * 3, "{written} bytes, and {fresh} of a fresh load");
}

fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).unwrap();
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}
