//! Adding and removing devices.

use std::time::Duration;

use multibee::{Error, Multibee, Role};

use crate::devices::{Group, Kind, PATIENCE, text, until};
use crate::scenario;

fn is_removed(by: &Multibee, of: &Multibee) -> bool {
    by.devices().unwrap().iter().any(|device| device.key == of.key() && device.removed)
}

/// What a device wrote before its removal stays, what it writes later is not taken; it learns its
/// fate, and a restart changes nothing.
async fn removal(kind: Kind) {
    let mut group = Group::new(kind, 3);
    group.db(1).put("before", "1").unwrap();
    let links = [group.link(0, 1).await, group.link(0, 2).await, group.link(1, 2).await];
    group.converge().await;

    group.db(0).remove_replica(&group.db(1).key()).unwrap();
    for number in [0, 1, 2] {
        let db = group.db(number);
        until(db, "the removal is known", || is_removed(db, group.db(1))).await;
    }
    assert!(matches!(group.db(1).put("after", "1"), Err(Error::Removed { .. })));
    group.db(0).put("news", "1").unwrap();
    until(group.db(2), "C follows A", || text(group.db(2), "news").is_some()).await;
    for link in links {
        link.cut().await;
    }
    group.restart(0).await;

    let _links = [group.link(0, 1).await, group.link(0, 2).await, group.link(1, 2).await];
    let kept = [group.db(0), group.db(2)];
    crate::devices::converge(&kept).await;
    for db in kept {
        assert_eq!(text(db, "before"), Some("1".into()));
        assert_eq!(text(db, "after"), None);
    }
    assert_eq!(text(group.db(1), "news"), None, "a removed device is told nothing else");
    let said = group.db(1).wait_synced(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(&said, Error::NotSynced { what, .. } if what.contains("removed")), "{said}");
    assert!(matches!(group.db(0).add_replica(group.db(1).key()), Err(Error::Removed { .. })));
}

scenario!(removal_is_final_and_known_to_all, removal);

/// Members agree how far a removed device's log counts: as far as any of them had applied it.
async fn agreed_cut(kind: Kind) {
    let group = Group::new(kind, 3);
    group.db(1).put("early", "1").unwrap();
    let a_and_b = group.link(0, 1).await;
    crate::devices::converge(&[group.db(0), group.db(1)]).await;
    a_and_b.cut().await;
    // C gets more of B's log than A, which removes B without knowing.
    group.db(1).put("late", "1").unwrap();
    let b_and_c = group.link(1, 2).await;
    crate::devices::converge(&[group.db(1), group.db(2)]).await;
    b_and_c.cut().await;
    group.db(0).remove_replica(&group.db(1).key()).unwrap();
    group.db(1).put("too late", "1").unwrap();

    let _links = [group.link(0, 2).await, group.link(1, 2).await];
    crate::devices::converge(&[group.db(0), group.db(2)]).await;
    for number in [0, 2] {
        assert_eq!(text(group.db(number), "late"), Some("1".into()));
        assert_eq!(text(group.db(number), "too late"), None);
    }
}

scenario!(members_agree_on_how_far_a_removed_log_counts, agreed_cut);

/// A device that nobody admitted is turned away, whichever side dials, and learns nothing.
async fn strangers(kind: Kind) {
    let group = Group::strangers(kind, 2);
    group.db(0).add_replica(group.db(1).key()).unwrap();
    for (one, other) in [(0, 1), (1, 0)] {
        let (left, right) = tokio::io::duplex(1 << 16);
        let dialled = group.db(one).attach(left, Role::Initiator);
        let answered = group.db(other).attach(right, Role::Responder);
        let refused = |db: &Multibee, connection| {
            let db = db.clone();
            async move { tokio::time::timeout(PATIENCE, db.wait_introduced(connection)).await }
        };
        let said = refused(group.db(one), dialled).await.unwrap();
        assert!(matches!(said, Err(Error::Unreachable { .. })), "{said:?}");
        let said = refused(group.db(other), answered).await.unwrap();
        assert!(matches!(said, Err(Error::Unreachable { .. })), "{said:?}");
    }
    assert_eq!(group.db(1).devices().unwrap().len(), 1, "B has learnt of nobody");
}

scenario!(strangers_are_turned_away, strangers);

/// Connects two devices that may hang up as soon as they know of each other.
fn meet(one: &Multibee, other: &Multibee) {
    let (left, right) = tokio::io::duplex(1 << 16);
    one.attach(left, Role::Initiator);
    other.attach(right, Role::Responder);
}

/// Two devices remove each other while apart, and each hears first of its own removal of the other: the
/// senior one stays, on all devices, and goes on as if nothing were.
async fn mutual_removal(kind: Kind) {
    let group = Group::new(kind, 3);
    let links = [group.link(0, 1).await, group.link(0, 2).await];
    group.converge().await;
    for link in links {
        link.cut().await;
    }
    let seniors: Vec<_> = group.db(0).devices().unwrap().iter().map(|one| one.key).collect();
    let place = |number: usize| seniors.iter().position(|key| *key == group.db(number).key());
    let (senior, junior) = if place(0) < place(1) { (0, 1) } else { (1, 0) };
    group.db(senior).remove_replica(&group.db(junior).key()).unwrap();
    group.db(junior).remove_replica(&group.db(senior).key()).unwrap();
    group.db(senior).put("news", "1").unwrap();
    let [senior, junior, third] = [senior, junior, 2].map(|number| group.db(number));
    // The third one hears from the junior first.
    meet(junior, third);
    until(third, "it believes the junior", || is_removed(third, senior)).await;

    meet(senior, junior);
    until(senior, "it stays", || is_removed(senior, junior) && !is_removed(senior, senior)).await;
    until(junior, "it goes", || is_removed(junior, junior) && !is_removed(junior, senior)).await;
    assert!(matches!(junior.put("in vain", "1"), Err(Error::Removed { .. })));
    meet(senior, third);
    until(third, "it knows better", || is_removed(third, junior) && !is_removed(third, senior))
        .await;
    meet(senior, third);
    until(third, "it follows", || text(third, "news").is_some()).await;
}

scenario!(the_senior_of_two_that_remove_each_other_stays, mutual_removal);
