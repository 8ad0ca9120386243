//! Backups of a device that meets others.

use std::path::Path;

use multibee::{BackupOptions, Home, Multibee};

use crate::devices::{Device, Group, Kind, contents, converge, link, options, text, until};

fn restored(backup: &Path, home: &Home, device: &Device) -> Multibee {
    Multibee::restore(backup, home, |_| {}).unwrap();
    Multibee::open(home.clone(), options(&device.clock)).unwrap()
}

/// A's disk is lost after it wrote more than its backup has. What is put back meets B, gets all that
/// A had told B, and goes on as another device in A's place. The same with the logs of others in the
/// backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_device_is_put_back() {
    for kind in [Kind::Memory, Kind::Disk] {
        for with_replicas in [false, true] {
            let mut group = Group::new(kind, 2);
            let backup = tempfile::tempdir().unwrap();
            let home = tempfile::tempdir().unwrap();
            let (a, b) = (group.devices.remove(0), group.devices.remove(0));
            a.db.put("by A", "early").unwrap();
            b.db.put("by B", "early").unwrap();
            a.db.set_address(&b.db.key(), Some("host:1".into())).unwrap();
            let met = link(&a.db, &b.db).await;
            converge(&[&a.db, &b.db]).await;
            let options = if with_replicas {
                BackupOptions::with_replicas()
            } else {
                BackupOptions::default()
            };
            let done = a.db.backup(backup.path(), &options, |_| {}).unwrap();
            assert_eq!(done.logs, if with_replicas { 2 } else { 1 });
            let before = contents(&a.db);
            a.db.put("by A", "late").unwrap();
            converge(&[&a.db, &b.db]).await;
            met.cut().await;
            let key = a.db.key();
            a.db.close().await.unwrap();

            let home = match kind {
                Kind::Memory => Home::memory(),
                Kind::Disk => Home::dir(home.path().join("db")),
            };
            let db = restored(backup.path(), &home, &b);
            assert_eq!(contents(&db), before);
            let known = db.devices().unwrap();
            let known = known.iter().find(|device| device.key == b.db.key()).unwrap();
            assert_eq!(known.address.as_deref(), Some("host:1"));
            let replica_len = if with_replicas { known.known } else { 0 };
            assert!(replica_len > 1 || !with_replicas, "B's log came along");
            db.put("by the restored one", "1").unwrap();
            let _met = link(&db, &b.db).await;
            until(&db, "A's late write came", || text(&db, "by A") == Some("late".into())).await;
            converge(&[&db, &b.db]).await;
            assert_ne!(db.key(), key);
            assert_eq!(text(&b.db, "by the restored one"), Some("1".into()));
        }
    }
}
