//! A union against merging.

use std::time::Duration;

use super::*;
use crate::{Home, Options, Role, Rule, Strategies};

const PATIENCE: Duration = Duration::from_secs(60);

const RULES: [&str; 3] = [Strategies::KEEP_ALL, Strategies::DELETE_WINS, Strategies::DELETE_WINS];

fn group() -> [Multibee; 3] {
    let devices = [0; 3].map(|_| Multibee::create(Home::memory(), Options::default()).unwrap());
    for one in &devices {
        for other in devices.iter().filter(|other| other.key() != one.key()) {
            one.add_replica(other.key()).unwrap();
        }
    }
    devices
}

/// Connects all, waits until they have merged everything, and parts them.
async fn meet(devices: &[Multibee; 3]) {
    let mut connections = Vec::new();
    for (one, other) in [(0, 1), (1, 2), (2, 0)] {
        let (left, right) = tokio::io::duplex(1 << 16);
        let (one, other) = (&devices[one], &devices[other]);
        connections.push((one, one.attach(left, Role::Initiator)));
        connections.push((other, other.attach(right, Role::Responder)));
    }
    for (db, connection) in &connections {
        db.wait_introduced(*connection).await.unwrap();
    }
    for db in devices {
        db.wait_synced(PATIENCE).await.unwrap();
    }
    for (db, connection) in connections {
        db.disconnect(connection);
        let mut changes = db.changes();
        while db.is_connected(connection) {
            changes.changed().await.unwrap();
        }
    }
}

/// A union of what these hold, though none of it was downloaded or merged.
fn union(devices: &[Multibee; 3]) -> Union {
    let source = |db: &Multibee| {
        let view = db.view().unwrap();
        let state = db.network().session().lock();
        let (log, tree) = (state.core.primary.log().clone(), view.tree().clone());
        let mut source = Source {
            log,
            tree,
            device: db.device(),
            is_plain: false,
            context: Clock::new(),
            _look: None,
        };
        source.context = source.clock().ok().unwrap();
        source
    };
    let sources = devices.iter().map(source).collect();
    let mut union = Union { sources, ..Union::empty(devices[0].clone()) };
    union.rules = union.joined_rules().ok().unwrap();
    union
}

async fn all(union: &Union, spec: RangeSpec) -> Vec<UnionEntry> {
    let mut range = union.range(spec);
    let mut entries = Vec::new();
    while let Some(entry) = range.next().await.unwrap() {
        entries.push(entry);
    }
    entries
}

fn shown(db: &Multibee) -> Vec<UnionEntry> {
    let entries = db.range(RangeSpec::default()).unwrap().map(|entry| {
        let crate::Entry { key, value, kind, device, time, conflicts, .. } = entry.unwrap();
        UnionEntry { key, value, kind, device, time, conflicts }
    });
    entries.collect()
}

/// Before anything is merged, a union shows what each device will show when all is: new keys, edits
/// and deletes that the others have not seen, concurrent ones, conflicts of earlier rounds, rules that
/// some don't know yet, and counters.
#[tokio::test(flavor = "multi_thread")]
async fn a_union_foretells_what_merging_shows() {
    let devices = group();
    let [a, b, c] = &devices;
    for i in 0..40 {
        a.put(format!("k{i:02}"), "first").unwrap();
    }
    meet(&devices).await;
    for (round, rule) in RULES.into_iter().enumerate() {
        for (number, db) in devices.iter().enumerate() {
            for i in 0..40 {
                let key = format!("k{i:02}");
                match (i * 7 + number * 5 + round * 3) % 11 {
                    0 | 1 => {
                        db.del(&key).unwrap();
                    }
                    2..=4 => db.put(&key, format!("{number} in {round}")).unwrap(),
                    _ => {}
                }
            }
            db.put(format!("new/{number}/{round}"), "1").unwrap();
            db.increment("counted", 1 << number).unwrap();
            db.put(format!("ruled/{round}"), format!("{number}")).unwrap();
        }
        // The others have not seen the rule, nor that the key is deleted.
        a.set_rule("ruled/", Rule::strategy(rule)).unwrap();
        assert!(a.del(format!("ruled/{round}")).unwrap());
        // Deleted by one, edited by another, who both know nothing of it.
        a.put("both", "1").unwrap();
        assert!(a.del("both").unwrap());
        b.put("both", "2").unwrap();
        c.put([0xff, b't', b'k'], "3").unwrap();

        let union = union(&devices);
        let foretold = all(&union, RangeSpec::default()).await;
        let mut backwards = all(&union, RangeSpec { reverse: true, ..RangeSpec::default() }).await;
        backwards.reverse();
        assert_eq!(backwards, foretold);
        meet(&devices).await;
        for db in &devices {
            assert_eq!(shown(db), foretold, "round {round}");
        }
        for entry in foretold {
            assert_eq!(union.get(&entry.key).await.unwrap(), Some(entry));
        }
    }
}
