//! S24: one device deletes a key while another one edits it.

use multibee::{Choice, Content, Event, Multibee, Rule, Strategies};

use crate::devices::{Group, Kind, text, versions};
use crate::scenario;

/// By default the edit survives and the delete is listed; with delete-wins the key is absent and the
/// edit is listed. On every device, whoever connects and whichever clock is ahead.
async fn run(kind: Kind) {
    for (first, second) in [(0, 1), (1, 0)] {
        for ahead in [0, 1] {
            for delete_wins in [false, true] {
                let group = Group::new(kind, 2);
                group.db(0).put("k", "1").unwrap();
                if delete_wins {
                    group.db(0).set_rule("", Rule::strategy(Strategies::DELETE_WINS)).unwrap();
                }
                let link = group.link(first, second).await;
                group.converge().await;
                link.cut().await;
                group.devices[ahead].clock.set(1_700_000_060_000);
                assert!(group.db(0).del("k").unwrap());
                group.db(1).put("k", "2").unwrap();
                let mut events = group.db(0).events();
                let _link = group.link(first, second).await;
                group.converge().await;

                let shown = (!delete_wins).then(|| "2".to_owned());
                for db in [group.db(0), group.db(1)] {
                    assert_eq!(text(db, "k"), shown);
                    let authors = versions(db, "k");
                    assert_eq!(authors[&group.db(0).device().to_string()], None);
                    assert_eq!(authors[&group.db(1).device().to_string()], Some("2".into()));
                    let conflict = db.conflict("k").unwrap().unwrap();
                    assert_eq!(conflict.shown.is_some(), !delete_wins);
                    assert_eq!(conflict.value.is_some(), !delete_wins);
                }
                assert!(told(&mut events, &Event::Conflict { key: "k".into() }), "never silent");
                settle(&group, delete_wins).await;
            }
        }
    }
}

/// The edit is picked, and then both agree that nothing is left to settle.
async fn settle(group: &Group, delete_wins: bool) {
    let conflict = group.db(0).conflict("k").unwrap().unwrap();
    let edit = conflict.versions.iter().find(|version| version.content != Content::Deleted);
    let mut events = group.db(1).events();
    let choice = if delete_wins { Choice::Version(edit.unwrap().dot) } else { Choice::Delete };
    group.db(0).resolve("k", choice).unwrap();
    group.converge().await;
    for db in [group.db(0), group.db(1)] {
        assert_eq!(text(db, "k"), delete_wins.then(|| "2".into()));
        assert!(db.conflicts().unwrap().is_empty());
    }
    assert!(told(&mut events, &Event::ConflictResolved { key: "k".into() }));
}

fn told(events: &mut tokio::sync::broadcast::Receiver<Event>, expected: &Event) -> bool {
    std::iter::from_fn(|| events.try_recv().ok()).any(|event| event == *expected)
}

scenario!(s24_delete_against_a_concurrent_edit, run);

/// Conflicts that exist already are shown by a new rule as soon as it is known, on each device, and
/// as before once it is cleared.
async fn rules_change(kind: Kind) {
    let group = Group::new(kind, 3);
    for (device, value) in ["a", "b", "c"].into_iter().enumerate() {
        group.db(device).put("x/k", value).unwrap();
        group.db(device).put("y/k", value).unwrap();
    }
    group.db(0).put("x/d", "1").unwrap();
    let links = [group.link(0, 1).await, group.link(1, 2).await];
    group.converge().await;
    for link in links {
        link.cut().await;
    }
    group.db(0).del("x/d").unwrap();
    group.db(1).put("x/d", "2").unwrap();
    let _links = [group.link(0, 1).await, group.link(1, 2).await];
    group.converge().await;
    let all = |db: &Multibee, key: &str| -> Vec<_> {
        db.get_all(key).unwrap().into_iter().map(|entry| entry.value).collect()
    };
    let before = group.db(0).conflicts().unwrap();
    assert_eq!(all(group.db(0), "x/k").len(), 1);

    group.db(0).set_rule("x/", Rule::strategy(Strategies::KEEP_ALL)).unwrap();
    group.converge().await;
    for device in &group.devices {
        assert_eq!(all(&device.db, "x/k").len(), 3);
        assert_eq!(all(&device.db, "y/k").len(), 1);
        assert_eq!(text(&device.db, "x/d"), Some("2".into()));
    }
    group.db(2).set_rule("x/", Rule::strategy(Strategies::DELETE_WINS)).unwrap();
    group.converge().await;
    for device in &group.devices {
        assert_eq!(text(&device.db, "x/d"), None);
        assert_eq!(all(&device.db, "x/k").len(), 1);
        assert_eq!(device.db.conflicts().unwrap().len(), 3);
    }
    assert!(group.db(1).clear_rule("x/").unwrap());
    group.converge().await;
    assert_eq!(group.db(0).conflicts().unwrap(), before);
    assert_eq!(text(group.db(2), "x/d"), Some("2".into()));
}

scenario!(s24_rules_change, rules_change);
