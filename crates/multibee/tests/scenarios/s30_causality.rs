//! S30: causality beats clocks.

use crate::devices::{Group, Kind, text};
use crate::scenario;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// A write that saw another one supersedes it, though its clock is an hour behind; stamps grow along
/// the chain, and nothing is a conflict.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    group.devices[1].clock.set(1_700_000_000_000 - HOUR_MS);
    group.link(0, 1).await;
    a.put("k", "first").unwrap();
    group.converge().await;
    let first = b.get("k").unwrap().unwrap();
    assert_eq!(first.value, "first");

    b.put("k", "second").unwrap();
    group.converge().await;
    let second = a.get("k").unwrap().unwrap();
    assert!(second.time > first.time, "stamps grow along the chain");
    a.put("k", "third").unwrap();
    group.converge().await;
    assert!(b.get("k").unwrap().unwrap().time > second.time);
    for db in [a, b] {
        assert_eq!(text(db, "k"), Some("third".into()));
        assert!(db.conflicts().unwrap().is_empty());
    }
}

scenario!(s30_causality_beats_clocks, run);
