//! S17: two peers' updates are merged while the application writes.

use crate::devices::{Group, Kind, permutations, text};
use crate::scenario;

#[derive(Clone, Copy, Debug)]
enum Step {
    HearA,
    HearB,
    Put,
}

/// A put is never overwritten by a merge that read before it, in whatever order things happen, nor
/// if they happen at once.
async fn run(kind: Kind) {
    for order in permutations(&[Step::HearA, Step::HearB, Step::Put]) {
        for wait in [true, false] {
            let group = Group::new(kind, 3);
            group.db(2).put_map("k", r#"{"a":0,"b":0}"#).unwrap();
            let links = [group.link(0, 2).await, group.link(1, 2).await];
            group.converge().await;
            for link in links {
                link.cut().await;
            }
            group.db(0).patch("k", r#"{"a":1}"#).unwrap();
            group.db(1).patch("k", r#"{"b":1}"#).unwrap();

            let mut links = Vec::new();
            for step in &order {
                match step {
                    Step::HearA => links.push(group.link(0, 2).await),
                    Step::HearB => links.push(group.link(1, 2).await),
                    Step::Put => drop(group.db(2).patch("k", r#"{"c":1}"#).unwrap()),
                }
                if wait && !matches!(step, Step::Put) {
                    let other = if matches!(step, Step::HearA) { 0 } else { 1 };
                    group.converge_pair(other, 2).await;
                }
            }
            group.converge().await;
            for device in &group.devices {
                let expected = r#"{"a":1,"b":1,"c":1}"#;
                assert_eq!(text(&device.db, "k"), Some(expected.into()), "{order:?}");
                assert!(device.db.conflicts().unwrap().is_empty());
            }
        }
    }
}

scenario!(s17_two_merges_and_a_put_at_once, run);

/// Three devices that all count and edit while everything is being merged: every count counts, and
/// every field is there.
async fn crowd(kind: Kind) {
    let group = Group::new(kind, 3);
    let _links = [group.link(0, 1).await, group.link(1, 2).await, group.link(2, 0).await];
    let writers = group.devices.iter().enumerate().map(|(number, device)| {
        let db = device.db.clone();
        tokio::task::spawn_blocking(move || {
            for i in 0..60 {
                db.increment("n", 1).unwrap();
                db.patch("m", format!("{{\"{number}/{i}\":{i}}}")).unwrap();
                db.set_insert("s", format!("{}", i * 3 + number)).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    group.converge().await;
    for device in &group.devices {
        assert_eq!(text(&device.db, "n"), Some("180".into()));
        assert_eq!(text(&device.db, "m").unwrap().matches(':').count(), 180);
        assert_eq!(text(&device.db, "s").unwrap().matches(',').count(), 179);
        assert!(device.db.conflicts().unwrap().is_empty());
    }
}

scenario!(s17_a_crowd, crowd);
