//! S25: a write after a delete that was seen.

use crate::devices::{Group, Kind, text};
use crate::scenario;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// Whoever saw the delete writes later than it, though its clock is an hour behind.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    group.devices[1].clock.set(1_700_000_000_000 - HOUR_MS);
    a.put("k", "1").unwrap();
    group.link(0, 1).await;
    group.converge().await;
    assert!(a.del("k").unwrap());
    group.converge().await;
    assert_eq!(text(b, "k"), None, "B has seen the delete");

    b.put("k", "3").unwrap();
    group.converge().await;
    for db in [a, b] {
        assert_eq!(text(db, "k"), Some("3".into()));
        assert!(db.conflict("k").unwrap().is_none());
    }
}

scenario!(s25_a_write_after_a_seen_delete, run);
