//! S13: two devices write one key in the same instant.

use std::collections::BTreeMap;

use crate::devices::{Group, Kind, text, versions};
use crate::scenario;

/// Both stamps are the same to the last bit, and the greater device id decides, whichever value it
/// wrote, whichever side dials, and whoever receives the other's write.
async fn run(kind: Kind) {
    for exchanged in [false, true] {
        for (first, second) in [(0, 1), (1, 0)] {
            let group = Group::new(kind, 2);
            let values = if exchanged { ["B", "A"] } else { ["A", "B"] };
            for (number, value) in values.iter().enumerate() {
                group.db(number).put("k", *value).unwrap();
            }
            let time = |number: usize| group.db(number).get("k").unwrap().unwrap().time;
            assert_eq!(time(0), time(1), "the clocks stand still");

            group.link(first, second).await;
            group.converge().await;
            let by_device: BTreeMap<_, _> =
                (0..2).map(|number| (group.db(number).device(), values[number])).collect();
            let (_, winner) = by_device.last_key_value().unwrap();
            for number in 0..2 {
                assert_eq!(text(group.db(number), "k").as_deref(), Some(*winner));
                assert_eq!(versions(group.db(number), "k").len(), 2);
            }
        }
    }
}

scenario!(s13_the_same_instant_on_two_devices, run);
