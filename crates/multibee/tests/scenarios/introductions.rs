//! Who is recognised by whom: strangers that are admitted later, and devices that moved to another log.

use multibee::{Multibee, Role};

use crate::by_hand::Hands;
use crate::devices::{Group, Kind, text, until};
use crate::scenario;

fn sees(db: &Multibee, other: &Multibee) -> bool {
    db.devices().unwrap().iter().any(|device| device.key == other.key() && device.connected)
}

/// A device that dialled before it was admitted is hung up on when it is, so that it dials again; then
/// it is known.
async fn admitted_later(kind: Kind) {
    let group = Group::strangers(kind, 3);
    let (a, b) = (group.db(0), group.db(1));
    b.add_replica(a.key()).unwrap();
    let mut hands = Hands::take(&group);
    let wire = hands.dial(1, 0);
    hands.settle(&[wire]);
    assert!(!sees(a, b) && !sees(b, a));
    a.add_replica(group.db(2).key()).unwrap();
    hands.settle(&[wire]);
    assert!(!hands.is_closed(wire, 0), "it is still nobody that A knows");
    a.add_replica(b.key()).unwrap();
    hands.settle(&[wire]);
    assert!(hands.is_closed(wire, 0));
    let again = hands.dial(1, 0);
    hands.settle(&[again]);
    assert!(sees(a, b) && sees(b, a));
}

scenario!(who_is_admitted_while_connected_is_dialled_anew, admitted_later);

/// A device that moves to another log stays connected, as the device of that log.
async fn moving_while_connected(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    a.put("before", "1").unwrap();
    let _link = group.link(0, 1).await;
    group.converge().await;
    let old = a.key();
    a.compact(|_| {}).unwrap();
    assert_ne!(a.key(), old);
    until(b, "B knows A by its new log", || sees(b, a)).await;
    a.put("after", "1").unwrap();
    b.put("reply", "1").unwrap();
    until(b, "B follows the new log", || text(b, "after").is_some()).await;
    until(a, "A follows B", || text(a, "reply").is_some()).await;
    assert!(!b.devices().unwrap().iter().any(|device| device.key == old && device.connected));
}

scenario!(who_moves_while_connected_stays_so, moving_while_connected);

/// A device that moved while nobody was there is recognised by the key that it had, whichever side
/// dials, however often it moved.
async fn moving_alone(kind: Kind) {
    for (dialling, answering) in [(0, 1), (1, 0)] {
        let group = Group::new(kind, 2);
        let link = group.link(0, 1).await;
        group.converge().await;
        link.cut().await;
        let old = group.db(0).key();
        for count in 0..3 {
            group.db(0).put("count", count.to_string()).unwrap();
            group.db(0).compact(|_| {}).unwrap();
        }
        group.db(0).put("after", "1").unwrap();
        group.db(1).put("reply", "1").unwrap();
        let (a, b) = (group.db(0), group.db(1));
        b.set_address(&a.key(), None).unwrap_err();
        b.set_address(&old, Some("there:1".into())).unwrap();
        let _link = group.link(dialling, answering).await;
        assert!(sees(b, a) && sees(a, b));
        until(b, "B has it all", || text(b, "after").is_some()).await;
        until(a, "A follows B", || text(a, "reply").is_some()).await;
        let found = b.devices().unwrap().into_iter().find(|device| device.key == a.key());
        assert_eq!(found.unwrap().address.as_deref(), Some("there:1"), "it lives where it did");
        until(b, "B has what the old logs hold", || text(b, "count") == Some("2".into())).await;
    }
}

scenario!(who_has_moved_is_recognised_by_an_earlier_key, moving_alone);

/// A device does not take itself for another one.
async fn oneself(kind: Kind) {
    let group = Group::new(kind, 2);
    let db = group.db(0);
    for _ in 0..2 {
        let (left, right) = tokio::io::duplex(1 << 16);
        let dialled = db.attach(left, Role::Initiator);
        let answered = db.attach(right, Role::Responder);
        let said = db.wait_introduced(dialled).await.unwrap_err().to_string();
        let heard = db.wait_introduced(answered).await.unwrap_err().to_string();
        assert!(said.contains("itself") || heard.contains("itself"), "{said}; {heard}");
        db.compact(|_| {}).unwrap();
    }
}

scenario!(nobody_talks_to_itself, oneself);
