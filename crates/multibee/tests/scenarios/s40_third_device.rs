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
