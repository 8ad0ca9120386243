//! S42: a new device joins a long history.

use multibee::{Multibee, SyncActivity, SyncStatus};

use crate::devices::{Group, Kind, converge, link, text};
use crate::scenario;

/// Overwrites 1,000 keys a hundred times, by turns, so that the other one knows half of the way.
async fn long_history(a: &Multibee, b: &Multibee, c: &Multibee) {
    let _links = (link(a, c).await, link(b, c).await);
    for half in 0..2 {
        for (db, name) in [(a, "A"), (b, "B")] {
            for round in 0..25 {
                for part in 0..20 {
                    let mut batch = db.batch();
                    for i in 0..50 {
                        let key = format!("key/{:04}", part * 50 + i);
                        batch.put(
                            key,
                            format!("{name} {half} {round}: some text of a usual length"),
                        );
                    }
                    batch.commit().unwrap();
                }
            }
            converge(&[a, b, c]).await;
        }
    }
}

/// D is added, and only the cloud peer C is there: D reads what is live, not what was. Its progress
/// never goes backwards, and ends with everything.
async fn run(kind: Kind) {
    let group = Group::strangers(kind, 4);
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| group.db(number).clone());
    for (one, other) in [(&a, &c), (&b, &c)] {
        one.add_replica(other.key()).unwrap();
        other.add_replica(one.key()).unwrap();
    }
    long_history(&a, &b, &c).await;
    let history: u64 = [&a, &b].iter().map(|db| db.status().unwrap().bytes).sum();

    c.add_replica(d.key()).unwrap();
    d.add_replica(c.key()).unwrap();
    let watching = watch(d.clone());
    let _c_to_d = link(&c, &d).await;
    // One key can be read before all of it is here.
    let union = d.union(&[c.key()]).await.unwrap();
    let early = union.get("key/0007").await.unwrap().unwrap();
    assert_eq!(Some(early.value), c.get("key/0007").unwrap().map(|entry| entry.value));
    converge(&[&c, &d]).await;
    let seen = watching.await.unwrap();

    assert_eq!(text(&d, "key/0007"), text(&a, "key/0007"));
    let status = d.status().unwrap();
    let received = status.bytes_received;
    assert!(received * 10 < history, "{received} bytes of {history} were received");
    check_progress(&seen);
    assert!(
        seen.iter().any(|one| one.activity == SyncActivity::Absorbing { from: c.key() }),
        "the state of C was absorbed: {seen:?}"
    );

    // From here on it follows, as all others do, and then all is quiet.
    c.put("later", "1").unwrap();
    converge(&[&c, &d]).await;
    d.put("last", "1").unwrap();
    converge(&[&c, &d]).await;
}

/// Notes the progress until a catch-up is over.
fn watch(db: Multibee) -> tokio::task::JoinHandle<Vec<SyncStatus>> {
    tokio::spawn(async move {
        let mut changes = db.changes();
        let mut seen: Vec<SyncStatus> = Vec::new();
        loop {
            let status = db.sync_status();
            let is_over = status.total > 1000 && status.remaining == 0;
            seen.push(status);
            if is_over {
                return seen;
            }
            changes.changed().await.unwrap();
        }
    })
}

fn check_progress(seen: &[SyncStatus]) {
    // What came before the device had learnt of anything is a catch-up of its own.
    let begin = seen.iter().rposition(|status| status.remaining == 0 && status.total <= 1000);
    let seen = &seen[begin.map_or(0, |at| at + 1)..];
    for pair in seen.windows(2) {
        assert!(pair[0].total <= pair[1].total && pair[0].done <= pair[1].done, "{pair:?}");
        assert!(pair[0].fraction <= pair[1].fraction, "{pair:?}");
    }
    let last = seen.last().unwrap();
    assert_eq!((last.remaining, last.done, last.fraction), (0, last.total, 1.0));
    assert!(last.devices.iter().all(|device| device.applied == device.known));
}

scenario!(s42_a_new_device_joins_a_long_history, run);
