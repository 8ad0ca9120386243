//! S03: a device catches up while the other goes on writing and the link comes and goes.

use multibee::Multibee;

use crate::devices::{Group, Kind, text};
use crate::scenario;

/// No key is missing and none is old, however often the link drops in between.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0).clone(), group.db(1).clone());
    for i in 0..1000 {
        a.put(format!("key/{i:04}"), format!("value {i}")).unwrap();
    }
    for i in 0..200 {
        a.put(format!("key/{i:04}"), format!("second value {i}")).unwrap();
    }
    for i in 300..400 {
        assert!(a.del(format!("key/{i:04}")).unwrap());
    }
    // Where the link drops: after so many changes that B sees, from a fixed row of numbers.
    let mut turn: u64 = 7;
    for round in 0..20_u64 {
        let link = group.link(0, 1).await;
        for i in 0..25 {
            a.put(format!("late/{:03}", round * 25 + i), format!("{round}")).unwrap();
            a.put("again", format!("{round}/{i}")).unwrap();
        }
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut changes = b.changes();
        let has_all = || {
            let length = |db: &Multibee| db.status().unwrap().clock.length(a.device());
            length(&b) == length(&a)
        };
        for _ in 0..turn >> 61 {
            // Then nothing more changes.
            if has_all() {
                break;
            }
            changes.changed().await.unwrap();
        }
        link.cut().await;
    }
    let _link = group.link(0, 1).await;
    group.converge().await;
    assert_eq!(b.verify().unwrap().keys, 900 + 500 + 1);
    assert_eq!(text(&b, "again"), Some("19/24".into()));
    assert_eq!(text(&b, "key/0007"), Some("second value 7".into()));
    assert_eq!(text(&b, "key/0350"), None);
}

scenario!(s03_catch_up_interleaved_with_writes, run);
