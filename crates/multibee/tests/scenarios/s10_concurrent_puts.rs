//! S10: concurrent puts of one key have one winner everywhere.

use bytes::Bytes;

use crate::devices::{Group, Kind, text, versions};
use crate::scenario;

/// Never does A end up with B's value and B with A's. The loser is listed on both. Whichever side
/// connects, and whichever clock is ahead.
async fn run(kind: Kind) {
    for (first, second) in [(0, 1), (1, 0)] {
        for ahead in [0, 1] {
            let group = Group::new(kind, 2);
            group.devices[ahead].clock.set(1_700_000_060_000);
            group.db(0).put("k", "A").unwrap();
            group.db(1).put("k", "B").unwrap();
            group.link(first, second).await;
            group.converge().await;

            let winner = ["A", "B"][ahead].to_owned();
            for db in [group.db(0), group.db(1)] {
                assert_eq!(text(db, "k"), Some(winner.clone()));
                assert_eq!(db.get("k").unwrap().unwrap().conflicts, 1);
                let expected = [(0, "A"), (1, "B")].map(|(number, value)| {
                    (group.db(number).device().to_string(), Some(Bytes::from(value)))
                });
                assert_eq!(versions(db, "k"), expected.into());
            }

            // Writing the key resolves the conflict, on both.
            group.db(0).put("k", "settled").unwrap();
            group.converge().await;
            assert_eq!(text(group.db(1), "k"), Some("settled".into()));
            assert!(group.db(1).conflicts().unwrap().is_empty());
        }
    }
}

scenario!(s10_concurrent_puts_do_not_swap, run);
