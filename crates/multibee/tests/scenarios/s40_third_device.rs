//! S40: two devices that never meet, by way of a third.

use multibee::Multibee;

use crate::devices::{Group, Kind, converge, link, text};
use crate::scenario;

/// A meets C, then is gone for ever; B meets only C, D meets only B. All get everything, with its
/// author.
async fn run(kind: Kind) {
    let group = Group::strangers(kind, 4);
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| group.db(number).clone());
    let meet = |one: &Multibee, other: &Multibee| {
        one.add_replica(other.key()).unwrap();
        other.add_replica(one.key()).unwrap();
    };
    meet(&a, &c);
    meet(&c, &b);
    let a_to_c = link(&a, &c).await;
    a.put("k", "from A").unwrap();
    converge(&[&a, &c]).await;
    a_to_c.cut().await;
    let by_a = a.device();
    drop(a);

    let _c_to_b = link(&c, &b).await;
    converge(&[&c, &b]).await;
    b.put("k2", "from B").unwrap();
    converge(&[&c, &b]).await;
    assert_eq!(text(&c, "k2"), Some("from B".into()));
    assert_eq!(b.get("k").unwrap().unwrap().device, by_a);

    meet(&b, &d);
    let _b_to_d = link(&b, &d).await;
    converge(&[&c, &b, &d]).await;
    assert_eq!(text(&d, "k"), Some("from A".into()));
    assert_eq!(text(&d, "k2"), Some("from B".into()));
    assert_eq!(d.get("k").unwrap().unwrap().device, by_a);
}

scenario!(s40_through_a_third_device, run);

/// The relay was ahead of what it passes on, and had met the author at other moments than the
/// reader: B met A at a length that C never saw, then meets only C.
async fn at_other_moments(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    for round in 0..5 {
        a.put(format!("early/{round}"), "1").unwrap();
        b.put(format!("b/{round}"), "1").unwrap();
        let met = group.link(0, 1).await;
        converge(&[&a, &b]).await;
        met.cut().await;
        a.put(format!("late/{round}"), "2").unwrap();
        let met = group.link(0, 2).await;
        converge(&[&a, &c]).await;
        met.cut().await;
    }
    drop(a);
    let _c_to_b = group.link(1, 2).await;
    converge(&[&b, &c]).await;
    assert_eq!(b.verify().unwrap().keys, 15);
}

scenario!(s40_the_relay_met_the_author_at_other_moments, at_other_moments);

/// The relay learns the news piece by piece while it passes it on: what it told first is not the
/// last that is asked of it.
async fn while_it_learns(kind: Kind) {
    let group = Group::strangers(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    for (one, other) in [(&a, &c), (&b, &c)] {
        one.add_replica(other.key()).unwrap();
        other.add_replica(one.key()).unwrap();
    }
    for (db, name) in [(&a, "a"), (&b, "b")] {
        for round in 0..60 {
            let mut batch = db.batch();
            for i in 0..200 {
                batch.put(format!("{name}/{round}/{i}"), "value");
            }
            batch.commit().unwrap();
        }
        for i in 0..200 {
            db.put(format!("{name}/single/{i}"), "value").unwrap();
        }
    }
    let (_a_to_c, _b_to_c) = tokio::join!(link(&a, &c), link(&b, &c));
    converge(&[&a, &b, &c]).await;
    assert_eq!(b.verify().unwrap().keys, 2 * 12_200);
}

scenario!(s40_the_relay_learns_while_it_passes_on, while_it_learns);
