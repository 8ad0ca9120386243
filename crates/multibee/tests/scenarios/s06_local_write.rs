//! S06: a local write is one step.

use std::collections::BTreeSet;
use std::sync::Arc;

use multibee::{Home, Multibee};
use multibee_log::testing::Effort;

use crate::crashes::{Disks, durable, home, pair};
use crate::devices::{Kind, TestClock, converge, link, text};
use crate::scenario;

/// What a user asks for in one call, and the keys that it changes.
type Write = (fn(&Multibee), &'static [&'static str]);

const WRITES: [Write; 3] = [
    (|db| db.put("new", "1").unwrap(), &["new"]),
    (
        |db| {
            let mut batch = db.batch();
            batch.put("new", "1").put("old", "1").put("other", "1");
            batch.commit().unwrap();
        },
        &["new", "old", "other"],
    ),
    (|db| assert!(db.del("gone").unwrap()), &["gone"]),
];

/// Whatever a crash leaves, at whichever step of a put, a batch or a delete: the write is there as a
/// whole or not at all, it is there if the call had returned, and the other device gets the same.
async fn run(kind: Kind) {
    let clock = Arc::new(TestClock::new());
    for (write, keys) in WRITES {
        let [a, b] = pair(&clock, |db| {
            db.put("old", "0").unwrap();
            db.put("gone", "0").unwrap();
        });
        let disks = Disks::over(&a);
        let db = Multibee::open(Home::own(disks.clone()), durable(&clock)).unwrap();
        let disk = disks.primary();
        let begun = disk.event_count();
        write(&db);
        let done = disk.event_count();
        let expected = keys.iter().map(|key| text(&db, key)).collect::<Vec<_>>();
        drop(db);

        let recording = disk.recording();
        let effort =
            Effort { exhaustive: 3, samples: if kind == Kind::Memory { 3 } else { 1 }, seed: 1 };
        let mut seen = BTreeSet::new();
        for at in begun..=done {
            for crash in recording.crash(at, effort) {
                if !seen.insert((at == done, crash.image().hash())) {
                    continue;
                }
                let dir = tempfile::tempdir().unwrap();
                let mut left = a.clone();
                left.insert("primary".into(), crash.image().clone());
                let a_again = home(kind, &left, &dir.path().join("a"));
                let a_again = Multibee::open(a_again, durable(&clock)).unwrap();
                let found: Vec<_> = keys.iter().map(|key| text(&a_again, key)).collect();
                let is_done = found == expected;
                assert!(is_done || at < done, "acknowledged, and lost by {crash}");
                let before = ["new", "old", "other", "gone"].map(|key| text(&a_again, key));
                let was = [None, Some("0".into()), None, Some("0".into())];
                assert!(is_done || before == was, "part of a write is left by {crash}");

                let b_again = home(kind, &b, &dir.path().join("b"));
                let b_again = Multibee::open(b_again, durable(&clock)).unwrap();
                link(&a_again, &b_again).await;
                converge(&[&a_again, &b_again]).await;
                let arrived: Vec<_> = keys.iter().map(|key| text(&b_again, key)).collect();
                assert_eq!(arrived, found, "B has what A has");
            }
        }
        assert!(seen.len() > 5, "a write has several steps, not {}", seen.len());
    }
}

scenario!(s06_a_local_write_is_one_step, run);
