//! S70: an old backup is put back on the same device.

use multibee::{Error, Event, Home, Multibee};

use crate::devices::{
    Device, Group, Kind, contents, converge, link, options, put_files, text, until,
};

/// A group of two on disk; A is put back to what it was in the midst, and goes on by itself.
async fn restored(offline_writes: bool) -> (Group, Device, multibee::LogKey, tempfile::TempDir) {
    let mut group = Group::new(Kind::Disk, 2);
    let backup = tempfile::tempdir().unwrap();
    let a = group.devices.remove(0);
    let b = group.devices[0].db.clone();
    let key = a.db.key();
    for number in 0..50 {
        a.db.put(format!("early/{number}"), "1").unwrap();
        a.db.increment("count", 1).unwrap();
    }
    let met = link(&a.db, &b).await;
    converge(&[&a.db, &b]).await;
    met.cut().await;
    let Home::Dir(dir) = a.home.clone() else { unreachable!("it is on disk") };
    let Device { db, home, clock } = a;
    db.close().await.unwrap();
    put_files(&dir, backup.path());

    let db = Multibee::open(home.clone(), options(&clock)).unwrap();
    for number in 0..50 {
        db.put(format!("late/{number}"), "1").unwrap();
        db.increment("count", 1).unwrap();
    }
    db.put("early/3", "later").unwrap();
    let met = link(&db, &b).await;
    converge(&[&db, &b]).await;
    met.cut().await;
    db.close().await.unwrap();

    put_files(backup.path(), &dir);
    let db = Multibee::open(home.clone(), options(&clock)).unwrap();
    assert_eq!(db.key(), key, "nothing tells by itself");
    if offline_writes {
        db.put("put offline", "1").unwrap();
        db.put("early/4", "offline").unwrap();
        db.increment("count", 7).unwrap();
    }
    (group, Device { db, home, clock }, key, backup)
}

/// A's user writes before A meets anybody who could tell. Nothing is lost: what A wrote in its first
/// life, and what it wrote in its second one. B never sees another entry of A at a place where it has
/// one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s70_old_backup_written_offline() {
    let (group, a, key, _backup) = restored(true).await;
    let b = &group.devices[0].db;
    let mut told = a.db.events();
    let _link = link(&a.db, b).await;
    converge(&[&a.db, b]).await;
    assert_ne!(a.db.key(), key, "it goes on under another key");
    for db in [&a.db, b] {
        assert_eq!(contents(db).len(), 50 + 50 + 1 + 1);
        assert_eq!(text(db, "put offline"), Some("1".into()));
        assert_eq!(text(db, "early/3"), Some("later".into()));
        assert_eq!(text(db, "early/4"), Some("offline".into()));
        assert_eq!(text(db, "count"), Some("107".into()));
        assert!(db.conflicts().unwrap().is_empty());
    }
    let mut events = Vec::new();
    while let Ok(event) = told.try_recv() {
        events.push(event);
    }
    let is_told = |of: &dyn Fn(&Event) -> bool| events.iter().any(of);
    assert!(is_told(&|event| matches!(event, Event::StaleRestore { log, .. } if *log == key)));
    assert!(is_told(&|event| matches!(event, Event::Moved { from, .. } if *from == key)));
    for db in [&a.db, b] {
        assert!(!db.devices().unwrap().iter().any(|device| device.stuck.is_some()));
    }

    // And on.
    a.db.put("on", "1").unwrap();
    a.db.increment("count", 1).unwrap();
    b.increment("count", 1).unwrap();
    converge(&[&a.db, b]).await;
    assert_eq!(text(b, "count"), Some("109".into()));
}

/// A meets B before anything is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s70_old_backup_not_written() {
    let (group, a, key, _backup) = restored(false).await;
    let b = &group.devices[0].db;
    let _link = link(&a.db, b).await;
    converge(&[&a.db, b]).await;
    assert_ne!(a.db.key(), key);
    a.db.put("put", "1").unwrap();
    converge(&[&a.db, b]).await;
    assert_eq!(contents(&a.db).len(), 50 + 50 + 1 + 1);
    assert_eq!(text(b, "count"), Some("100".into()));
}

/// Who tells that A is old does not have A's log: until somebody is met who has, nothing is written,
/// by another run neither, and that is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s70_nothing_is_written_meanwhile() {
    let (mut group, a, key, _backup) = restored(true).await;
    let b = group.devices.remove(0);
    let dir = tempfile::tempdir().unwrap();
    // C has A's log of B, and B loses it.
    let c = Multibee::create(Home::dir(dir.path()), options(&b.clock)).unwrap();
    b.db.add_replica(c.key()).unwrap();
    c.add_replica(b.db.key()).unwrap();
    let met = link(&b.db, &c).await;
    converge(&[&b.db, &c]).await;
    met.cut().await;
    let Home::Dir(place) = b.home.clone() else { unreachable!("it is on disk") };
    b.db.close().await.unwrap();
    std::fs::remove_dir_all(place.join("replicas")).unwrap();
    let b = Multibee::open(Home::dir(&place), options(&a.clock)).unwrap();

    let refused =
        |db: &Multibee| matches!(db.put("k", "1"), Err(Error::StaleRestore { log }) if log == key);
    let met = link(&a.db, &b).await;
    until(&a.db, "it is told", || refused(&a.db)).await;
    assert_eq!(text(&a.db, "put offline"), Some("1".into()), "what is here is read");
    met.cut().await;
    a.db.close().await.unwrap();
    let a_again = Multibee::open(a.home.clone(), options(&a.clock)).unwrap();
    assert!(refused(&a_again));

    let _link = link(&a_again, &c).await;
    until(&a_again, "it has moved", || a_again.key() != key).await;
    a_again.put("k", "1").unwrap();
    converge(&[&a_again, &c]).await;
    assert_eq!(
        (text(&c, "count"), text(&c, "put offline")),
        (Some("107".into()), Some("1".into()))
    );
}
