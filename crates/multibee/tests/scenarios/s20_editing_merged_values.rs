//! S20: a value that came from another device is read, changed and put back.

use multibee::RangeSpec;

use crate::devices::{Group, Kind, text};
use crate::scenario;

/// The edit is the newer version on both devices, and holds what the user put and nothing else.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    a.put("k", r#"{"v":1}"#).unwrap();
    group.link(0, 1).await;
    group.converge().await;

    let read = b.get("k").unwrap().unwrap();
    assert_eq!(read.value, r#"{"v":1}"#);
    assert_eq!(read.device, a.device());
    let changed = String::from_utf8(read.value.to_vec()).unwrap().replace('1', "2");
    b.put(&read.key, changed).unwrap();
    group.converge().await;

    for db in [a, b] {
        assert_eq!(text(db, "k"), Some(r#"{"v":2}"#.into()));
        let entry = db.get("k").unwrap().unwrap();
        assert!(entry.time > read.time, "the later version has the later stamp");
        assert_eq!((entry.device, entry.conflicts), (b.device(), 0));
        let only = db.range(RangeSpec::default()).unwrap().map(|entry| entry.unwrap().key);
        assert_eq!(only.collect::<Vec<_>>(), ["k"]);
    }
}

scenario!(s20_editing_a_value_that_came_from_another_device, run);
