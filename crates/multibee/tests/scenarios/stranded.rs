//! Writes that nobody can hand out any more: their author is gone, and the relay has cleared its
//! copy of the log.

use multibee::LogOptions;

use crate::devices::{Device, Group, Kind, converge, options, text};
use crate::scenario;

/// Ends a device, drops all blocks that it holds of another's log, and starts it anew.
async fn clear_replica(group: &mut Group, number: usize, of: usize) {
    let key = group.db(of).key();
    let Device { db, home, clock } = group.devices.remove(number);
    db.close().await.unwrap();
    let log = home.replica(key, LogOptions::default()).unwrap();
    log.clear(0..log.len()).unwrap();
    log.sync().unwrap();
    drop(log);
    let db = multibee::Multibee::open(home.clone(), options(&clock)).unwrap();
    group.devices.insert(number, Device { db, home, clock });
}

/// S62 and S40: C has cleared what it held of A, and A is gone. B and D, of which one knew A's first
/// writes and one nothing, still get all of it through C; then all is quiet.
async fn run(kind: Kind) {
    let mut group = Group::new(kind, 4);
    let a = group.db(0).clone();
    a.put("early", "1").unwrap();
    a.put("changed", "1").unwrap();
    a.put("gone", "1").unwrap();
    let met = group.link(0, 1).await;
    converge(&[&a, group.db(1)]).await;
    met.cut().await;
    (0..100).for_each(|i| a.put(format!("late/{i}"), "1").unwrap());
    a.put("changed", "2").unwrap();
    a.del("gone").unwrap();
    // B writes what A never saw, among it a key that A has changed and one that it has deleted.
    group.db(1).put("changed", "by B").unwrap();
    group.db(1).put("from B", "1").unwrap();
    let met = group.link(0, 2).await;
    converge(&[&a, group.db(2)]).await;
    met.cut().await;
    clear_replica(&mut group, 2, 0).await;

    let [b, c, d] = [1, 2, 3].map(|number| group.db(number).clone());
    let _links = [group.link(1, 2).await, group.link(2, 3).await];
    converge(&[&b, &c, &d]).await;
    assert_eq!(d.verify().unwrap().keys, 100 + 3);
    assert_eq!(text(&b, "late/99"), Some("1".into()));
    assert_eq!(text(&d, "gone"), None);
    assert_eq!(b.conflict("changed").unwrap().unwrap().versions.len(), 2);
    assert_eq!(b.get("late/0").unwrap().unwrap().device, a.device());

    // Everybody goes on as always, A among them when it comes back.
    let lengths = || [&b, &c, &d].map(|db| db.status().unwrap().length);
    let before = lengths();
    let _a_to_d = group.link(0, 3).await;
    converge(&[&a, &b, &c, &d]).await;
    assert_eq!(lengths(), before, "only A had something to learn");
    a.put("back", "1").unwrap();
    c.put("from C", "1").unwrap();
    converge(&[&a, &b, &c, &d]).await;
}

scenario!(what_nobody_can_hand_out_is_absorbed, run);
