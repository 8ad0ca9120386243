//! S29: every way to write reaches the other device, and a batch arrives as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use multibee::{Multibee, Role};

use crate::devices::{Group, Kind, PATIENCE, text};
use crate::scenario;

/// Puts, deletes, compare-and-swap, edits, batches, namespaces.
async fn every_path(kind: Kind) {
    let group = Group::new(kind, 2);
    let a = group.db(0);
    a.put("put", "1").unwrap();
    a.put("del", "1").unwrap();
    assert!(a.del("del").unwrap());
    assert!(a.put_if("cas", None, "1").unwrap() && a.put_if("cas", Some(b"1"), "2").unwrap());
    a.update("update", |_| Some("1".into())).unwrap();
    a.increment("counter", 3).unwrap();
    a.set_insert("set", "1").unwrap();
    a.patch("map", r#"{"f":1}"#).unwrap();
    let mut batch = a.batch();
    batch.put("b1", "1").put("b2", "2").increment("b3", 3).del("put");
    batch.commit().unwrap();
    let sub = a.namespace("sub/");
    sub.put("k", "1").unwrap();
    let mut batch = sub.batch();
    batch.put("b", "2");
    batch.commit().unwrap();

    let _link = group.link(0, 1).await;
    group.converge().await;
    let b = group.db(1);
    let expected = [
        ("put", None),
        ("del", None),
        ("cas", Some("2")),
        ("update", Some("1")),
        ("counter", Some("3")),
        ("set", Some("[1]")),
        ("map", Some(r#"{"f":1}"#)),
        ("b1", Some("1")),
        ("b3", Some("3")),
        ("sub/k", Some("1")),
        ("sub/b", Some("2")),
    ];
    for (key, value) in expected {
        assert_eq!(text(b, key).as_deref(), value, "{key}");
    }
}

scenario!(s29_every_write_path, every_path);

/// Ends the reader, also when the test fails.
#[derive(Default)]
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// In every view that a reader ever takes, the three keys of a batch have one value.
fn is_whole(db: &Multibee) -> bool {
    let view = db.view().unwrap();
    let value = |key: &str| view.get(key.as_bytes()).unwrap().map(|entry| entry.value);
    let (one, two, three) = (value("1"), value("2"), value("3"));
    one == two && two == three
}

/// A batch is there as a whole or not at all, at every instant, also while links are cut again and
/// again in the midst of it.
async fn whole_batches(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0).clone(), group.db(1).clone());
    let applied = |db: &Multibee| db.status().unwrap().clock.length(group.db(0).device());
    let done = Done::default();
    let reader = {
        let (b, done) = (b.clone(), done.0.clone());
        tokio::task::spawn_blocking(move || {
            while !done.load(Ordering::SeqCst) {
                assert!(is_whole(&b), "a batch in parts");
            }
        })
    };
    for round in 0..12_u32 {
        for value in 0..5 {
            let mut batch = a.batch();
            for key in ["1", "2", "3"] {
                batch.put(key, format!("{round}/{value}"));
            }
            batch.commit().unwrap();
        }
        // A narrow pipe, cut after so many steps of the receiver.
        let (left, right) = tokio::io::duplex(256);
        let mut changes = b.changes();
        let ends = [a.attach(left, Role::Initiator), b.attach(right, Role::Responder)];
        for _ in 0..=round {
            if applied(&b) == applied(&a) {
                break;
            }
            tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
        }
        a.disconnect(ends[0]);
        b.disconnect(ends[1]);
        assert!(is_whole(&b));
    }
    let _link = group.link(0, 1).await;
    group.converge().await;
    drop(done);
    reader.await.unwrap();
    assert_eq!(text(&b, "2"), Some("11/4".into()));
}

scenario!(s29_batches_arrive_whole, whole_batches);
