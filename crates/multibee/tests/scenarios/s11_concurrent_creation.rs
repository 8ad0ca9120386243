//! S11: two devices create one record at the same time, with different fields.

use multibee::{Map, Rule};

use crate::devices::{Group, Kind, text};
use crate::scenario;

/// Both fields are there on both, whichever was written first by clock and whichever side connects.
/// As plain values, one of them wins, the same on both.
async fn run(kind: Kind) {
    for (first, second) in [(0, 1), (1, 0)] {
        for ahead in [0, 1] {
            for is_typed in [true, false] {
                let group = Group::new(kind, 2);
                group.devices[ahead].clock.set(1_700_000_060_000);
                for (device, value) in [(0, r#"{"x":1}"#), (1, r#"{"y":2}"#)] {
                    match is_typed {
                        true => group.db(device).put_map("k", value).unwrap(),
                        false => group.db(device).put("k", value).unwrap(),
                    }
                }
                let _link = group.link(first, second).await;
                group.converge().await;
                let plain = [r#"{"x":1}"#, r#"{"y":2}"#][ahead];
                let expected = if is_typed { r#"{"x":1,"y":2}"# } else { plain };
                for db in [group.db(0), group.db(1)] {
                    assert_eq!(text(db, "k"), Some(expected.into()));
                    assert_eq!(db.conflicts().unwrap().is_empty(), is_typed);
                    assert_eq!(db.get("k").unwrap().unwrap().conflicts == 0, is_typed);
                }
            }
        }
    }
}

scenario!(s11_concurrent_creation_of_disjoint_fields, run);

/// A rule makes plain puts merge; it may come after the data, or with it, to devices in any order.
async fn by_rule(kind: Kind) {
    let group = Group::new(kind, 3);
    group.db(0).set_rule("r/", Rule::kind(Map::KIND)).unwrap();
    let link = group.link(0, 1).await;
    group.converge_pair(0, 1).await;
    link.cut().await;
    group.db(0).put("r/k", r#"{"x":1}"#).unwrap();
    group.db(1).put("r/k", r#"{"y":2}"#).unwrap();
    // The third one hears of data and rule at once, from the device that did not set it.
    let _links = [group.link(1, 2).await, group.link(0, 1).await];
    group.converge().await;
    for device in &group.devices {
        assert_eq!(text(&device.db, "r/k"), Some(r#"{"x":1,"y":2}"#.into()));
    }
    group.db(2).put("r/k", r#"{"x":3,"y":2}"#).unwrap();
    group.converge().await;
    assert_eq!(text(group.db(0), "r/k"), Some(r#"{"x":3,"y":2}"#.into()));
}

scenario!(s11_by_rule, by_rule);
