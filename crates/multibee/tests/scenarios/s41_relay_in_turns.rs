//! S41: two devices that only ever meet a third one, never both at a time.

use crate::devices::{Group, Kind, converge};
use crate::scenario;

/// C meets A, B, A, B, A; between the meetings A and B write 50 keys each, 3 of them the same ones.
async fn run(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    for (round, met) in [0, 1, 0, 1, 0].into_iter().enumerate() {
        for (db, name) in [(&a, "a"), (&b, "b")] {
            for i in 0..47 {
                db.put(format!("{name}/{round}/{i}"), name).unwrap();
            }
            for i in 0..3 {
                db.put(format!("both/{round}/{i}"), name).unwrap();
            }
        }
        let link = group.link(met, 2).await;
        converge(&[group.db(met), &c]).await;
        link.cut().await;
    }
    // What B wrote before it met C last is everywhere; what both wrote since is met now.
    for met in [1, 0] {
        let link = group.link(met, 2).await;
        converge(&[group.db(met), &c]).await;
        link.cut().await;
    }
    converge(&[&a, &b, &c]).await;
    assert_eq!(a.verify().unwrap().keys, 5 * (47 + 47 + 3));
    // Nobody saw the other's write of the same key before writing its own.
    assert_eq!(a.conflicts().unwrap().len(), 15);
}

scenario!(s41_relay_in_turns, run);
