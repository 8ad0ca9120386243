//! S50: removing a device survives a restart.

use multibee::{Error, Event, Multibee};

use crate::devices::{Group, Kind, converge, text, until};
use crate::scenario;

fn is_removed(by: &Multibee, of: &Multibee) -> bool {
    by.devices().unwrap().iter().any(|device| device.key == of.key() && device.removed)
}

/// A device that was removed and does not know so writes on. After restarts it is still removed, what it
/// wrote before stays, what it wrote since is not taken, and it is told nothing but its fate.
async fn removal(kind: Kind) {
    let mut group = Group::new(kind, 3);
    group.db(1).put("before", "1").unwrap();
    let links = [group.link(0, 1).await, group.link(0, 2).await];
    group.converge().await;
    for link in links {
        link.cut().await;
    }

    group.db(0).remove_replica(&group.db(1).key()).unwrap();
    let link = group.link(0, 2).await;
    until(group.db(2), "C knows", || is_removed(group.db(2), group.db(1))).await;
    link.cut().await;
    group.restart(0).await;
    group.restart(2).await;
    let mut events = group.db(1).events();
    group.db(1).put("after", "1").unwrap();
    group.db(0).put("news", "1").unwrap();

    let _links = [group.link(0, 1).await, group.link(2, 1).await, group.link(0, 2).await];
    let (a, b, c) = (group.db(0), group.db(1), group.db(2));
    until(b, "B is told", || is_removed(b, b)).await;
    converge(&[a, c]).await;
    for db in [a, c] {
        assert!(is_removed(db, b));
        assert_eq!(text(db, "before"), Some("1".into()));
        assert_eq!(text(db, "after"), None);
        assert_eq!(text(db, "news"), Some("1".into()));
    }
    assert_eq!(text(b, "news"), None, "a removed device is told nothing else");
    let told = std::iter::from_fn(|| events.try_recv().ok());
    assert_eq!(told.filter(|event| *event == Event::Removed { by: a.key() }).count(), 1);
}

scenario!(s50_removal_survives_restarts, removal);

/// A device that knows of its removal writes nothing in vain, and hands out what the others did not
/// take, after a restart, too.
async fn what_was_not_taken(kind: Kind) {
    let mut group = Group::new(kind, 2);
    for key in ["both", "deleted"] {
        group.db(1).put(key, "1").unwrap();
    }
    let link = group.link(0, 1).await;
    group.converge().await;
    link.cut().await;
    assert_eq!(group.db(1).unmerged().unwrap(), []);
    group.db(0).remove_replica(&group.db(1).key()).unwrap();
    group.db(1).put("late", "2").unwrap();
    group.db(1).del("deleted").unwrap();

    let link = group.link(0, 1).await;
    until(group.db(1), "B is told", || is_removed(group.db(1), group.db(1))).await;
    link.cut().await;
    group.restart(1).await;
    let b = group.db(1);
    assert!(matches!(b.put("in vain", "1"), Err(Error::Removed { key }) if key == b.key()));
    assert!(matches!(b.rename(&b.key(), "in vain"), Err(Error::Removed { .. })));
    let found = b.unmerged().unwrap();
    let found: Vec<_> = found.iter().map(|one| (&one.key[..], one.value.as_deref())).collect();
    assert_eq!(found, [(&b"deleted"[..], None), (b"late", Some(&b"2"[..]))]);
}

scenario!(s50_what_was_not_taken_is_handed_out, what_was_not_taken);

/// What was not taken is handed out by a device, too, that was compacted before it knew.
async fn what_was_not_taken_of_an_earlier_log(kind: Kind) {
    let group = Group::new(kind, 2);
    let link = group.link(0, 1).await;
    group.converge().await;
    link.cut().await;
    let (a, b) = (group.db(0), group.db(1));
    a.remove_replica(&b.key()).unwrap();
    b.put("before", "1").unwrap();
    b.compact(|_| {}).unwrap();
    b.put("behind", "1").unwrap();

    let _link = group.link(0, 1).await;
    until(b, "B is told", || is_removed(b, b)).await;
    let found = b.unmerged().unwrap();
    let found: Vec<_> = found.iter().map(|one| &one.key[..]).collect();
    assert_eq!(found, [&b"before"[..], b"behind"]);
}

scenario!(s50_what_was_not_taken_before_a_move, what_was_not_taken_of_an_earlier_log);
