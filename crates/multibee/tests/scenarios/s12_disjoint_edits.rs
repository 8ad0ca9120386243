//! S12: three devices edit different fields of one record.

use crate::devices::{Group, Kind, connection_orders, text};
use crate::scenario;

/// No edit is lost and no conflict remains, over every topology of three devices, whichever link
/// comes up first, and whoever dials.
async fn run(kind: Kind) {
    let topologies: [&[(usize, usize)]; 4] =
        [&[(0, 1), (1, 2)], &[(1, 0), (0, 2)], &[(0, 2), (2, 1)], &[(0, 1), (1, 2), (0, 2)]];
    for order in topologies.into_iter().flat_map(connection_orders) {
        let group = Group::new(kind, 3);
        group.db(0).put_map("k", r#"{"a":0,"b":0,"c":0}"#).unwrap();
        let links = [group.link(0, 1).await, group.link(1, 2).await];
        group.converge().await;
        for link in links {
            link.cut().await;
        }
        for (device, field) in ["a", "b", "c"].into_iter().enumerate() {
            group.db(device).patch("k", format!("{{\"{field}\":1}}")).unwrap();
        }
        let mut links = Vec::new();
        for &(one, other) in &order {
            links.push(group.link(one, other).await);
        }
        group.converge().await;
        for device in &group.devices {
            assert_eq!(text(&device.db, "k"), Some(r#"{"a":1,"b":1,"c":1}"#.into()), "{order:?}");
            assert!(device.db.conflicts().unwrap().is_empty());
        }
    }
}

scenario!(s12_concurrent_edits_of_different_fields, run);
