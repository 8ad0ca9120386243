//! S27: values arrive as written.

use bytes::Bytes;

use crate::devices::{Group, Kind};
use crate::scenario;

fn values() -> Vec<Bytes> {
    let mut random = vec![0; 1 << 20];
    let mut state = 0x9e37_79b9_u32;
    for byte in &mut random {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let texts = [
        "",
        "x",
        "some text",
        "null",
        "0",
        "false",
        "[1,2,3]",
        r#"{"a":{"b":{"c":[{"d":null}]}}}"#,
    ];
    let mut values: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
    values.push(random.into());
    // An imitation of the records that the implementation keeps beside a value.
    values.push(Bytes::from_static(b"\xa2\x06\x09\x09\x01\x00\x00\x00\x00\x00\x00\x00"));
    values.push(Bytes::from_static(b"\x0a\x00\x12\x01k\x1a\x01v"));
    values
}

/// Byte for byte, on every device, also where a concurrent version is kept beside it.
async fn run(kind: Kind) {
    let group = Group::new(kind, 3);
    for (number, value) in values().iter().enumerate() {
        let before = value.clone();
        group.db(0).put(format!("k{number:02}"), value.clone()).unwrap();
        assert_eq!(*value, before, "putting a value does not change it");
        group.db(1).put(format!("both{number:02}"), value.clone()).unwrap();
        group.db(2).put(format!("both{number:02}"), value.clone()).unwrap();
    }
    let _links = [group.link(0, 1).await, group.link(1, 2).await];
    group.converge().await;
    for device in &group.devices {
        for (number, value) in values().iter().enumerate() {
            assert_eq!(device.db.get(format!("k{number:02}")).unwrap().unwrap().value, *value);
            let conflict = device.db.conflict(format!("both{number:02}")).unwrap().unwrap();
            assert_eq!(conflict.versions.len(), 2);
            assert!(conflict.versions.iter().all(|version| version.value() == Some(value)));
        }
    }
}

scenario!(s27_values_arrive_as_written, run);
