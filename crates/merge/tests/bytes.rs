//! States from peers: bytes that no program writes neither panic nor pass as a state.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use multibee_merge::{Counter, DeviceId, Dot, Map, MergeType, Set, Time};
use proptest::collection::vec;
use proptest::prelude::*;

fn types() -> [(&'static dyn MergeType, [&'static str; 3]); 3] {
    [
        (&Map, [r#"{"a":1,"l":["x",{"y":[true]}]}"#, r#"{"l":["w","x",{"y":[]}]}"#, "{}"]),
        (&Set, [r#"["a","b"]"#, r#"["b",{"c":null}]"#, "[]"]),
        (&Counter, ["5", "-70000000000000000000", "0"]),
    ]
}

/// A state with some past: two devices wrote, one deleted, and went on.
fn state(kind: &dyn MergeType, values: [&str; 3]) -> Bytes {
    let dot = |device, seq| Dot { device: DeviceId::from_u64(device), seq };
    let put = |base: Option<&[u8]>, value: &str, dot| {
        kind.write(base, value.as_bytes(), dot, Time::from_millis(7)).unwrap()
    };
    let first = put(None, values[0], dot(1, 3));
    let other = put(Some(&first), values[1], dot(2, 300));
    let gone = kind.delete(Some(&first), dot(1, 5)).unwrap();
    let again = put(Some(&gone), values[0], dot(1, 9));
    kind.join(&other, &again).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever decodes is the one encoding of its state: joining it to itself gives it again.
    #[test]
    fn changed_states_are_refused_or_canonical(
        which in 0..3_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let (kind, values) = types()[which];
        let mut bytes = state(kind, values).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if kind.value(&bytes).is_ok() {
            prop_assert_eq!(&kind.join(&bytes, &bytes).unwrap()[..], &bytes[..]);
        }
    }

    /// Random bytes behind the format's number never panic, not as a base either.
    #[test]
    fn random_states_do_not_panic(which in 0..3_usize, mut bytes in vec(any::<u8>(), 0..80)) {
        let (kind, values) = types()[which];
        bytes.insert(0, 1);
        let dot = Dot { device: DeviceId::from_u64(1), seq: u64::MAX };
        if kind.value(&bytes).is_ok() {
            prop_assert_eq!(&kind.join(&bytes, &bytes).unwrap()[..], &bytes[..]);
            let _written = kind.write(Some(&bytes), values[0].as_bytes(), dot, Time::default());
        } else {
            prop_assert!(kind.join(&bytes, &state(kind, values)).is_err());
            prop_assert!(kind.write(Some(&bytes), values[0].as_bytes(), dot, Time::default()).is_err());
        }
    }
}

/// The bytes of a small state of each type, as docs/formats.md section 13 lays them out.
#[test]
fn the_layout_stays() {
    let dot = Dot { device: DeviceId::from_u64(2), seq: 3 };
    let hex = |kind: &dyn MergeType, value: &str| -> String {
        let state = kind.write(None, value.as_bytes(), dot, Time::from_u64(4)).unwrap();
        state.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let counter = [
        "01",                                // format
        "01 0200000000000000 03",            // one device: its last write
        "01 0200000000000000 03 03",         // one share: device, first and last write
        "ffffffffffffffff ffffffffffffffff", // total -1
    ];
    let facts = [
        "01",                                      // format
        "01 0200000000000000 03 01 03 01",         // one device: last write, one run: from 3, of 1
        "01 0200000000000000 03 0400000000000000", // one stamp: dot, time
    ];
    let set = ["01", "01 37", "01 00"]; // one fact: `7`; one stamp, number 0
    let map = [
        "03",
        "00 00 00 01 00",                        // the root is an object
        "00 01 00 01 61 01 01 00",               // below it, field `a` is a list
        "01 01 01 01 00 0200000000000000 03 00", // below that, item: one step, digit 0, dot, 0
        "02 01 37 01 00",                        // is the scalar `7`
    ];
    let expected = |parts: &[&str]| parts.concat().replace(' ', "");
    assert_eq!(hex(&Counter, "-1"), expected(&counter));
    assert_eq!(hex(&Set, "[7]"), expected(&[&facts[..], &set].concat()));
    assert_eq!(hex(&Map, r#"{"a":[7]}"#), expected(&[&facts[..], &map].concat()));
}
