//! S28: lists within records are edited on two devices at once.

use crate::devices::{Group, Kind, text};
use crate::scenario;

fn list(db: &multibee::Multibee) -> Vec<String> {
    let whole = text(db, "k").unwrap();
    let items = whole.strip_prefix(r#"{"l":["#).and_then(|rest| rest.strip_suffix("]}")).unwrap();
    items.split(',').map(|item| item.trim_matches('"').to_owned()).collect()
}

/// No element is lost or doubled, and removals take effect everywhere.
async fn run(kind: Kind) {
    for (first, second) in [(0, 1), (1, 0)] {
        let group = Group::new(kind, 2);
        group.db(0).put_map("k", r#"{"l":["a","b"]}"#).unwrap();
        let link = group.link(first, second).await;
        group.converge().await;
        link.cut().await;
        group.db(0).put_map("k", r#"{"l":["a","b","c"]}"#).unwrap();
        group.db(1).put_map("k", r#"{"l":["d","b"]}"#).unwrap();
        let link = group.link(first, second).await;
        group.converge().await;
        assert_eq!(list(group.db(0)), ["d", "b", "c"]);
        assert_eq!(list(group.db(1)), ["d", "b", "c"]);
        link.cut().await;

        // Two removed in one edit, while the other device appends.
        group.db(1).put_map("k", r#"{"l":["b"]}"#).unwrap();
        group.db(0).put_map("k", r#"{"l":["d","b","c","e"]}"#).unwrap();
        let _link = group.link(first, second).await;
        group.converge().await;
        assert_eq!(list(group.db(0)), ["b", "e"]);
        assert_eq!(list(group.db(1)), ["b", "e"]);
        assert!(group.db(0).conflicts().unwrap().is_empty());
    }
}

scenario!(s28_lists, run);
