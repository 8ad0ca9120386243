//! S26: keys that contain, prefix or look like other keys.

use bytes::Bytes;

use crate::devices::{Group, Kind, contents};
use crate::scenario;

fn keys() -> Vec<Bytes> {
    let mut keys: Vec<Bytes> = [
        &b"c"[..],
        b"c/",
        b"c/r1",
        b"c/r1/2020-01-01",
        b"c\0x",
        b"\0",
        b"\xff\xff",
        b"x",
        b"",
        // Everything that the implementation stores under names of its own.
        b"\xff",
        b"\xfft",
        b"\xffd",
        b"\xffp",
        b"\xffc",
        b"\xffck",
        b"\xfftk",
        b"\xff\xffk",
        b"hyperbee",
        b"multibee/1",
    ]
    .into_iter()
    .map(Bytes::copy_from_slice)
    .collect();
    keys.push(vec![b'l'; 64 << 10].into());
    keys.push([&b"\xffd"[..], &[7; 32]].concat().into());
    keys
}

/// Every key merges only with itself; ranges return exactly the users' keys, in byte order.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    group.devices[1].clock.set(1_700_000_060_000);
    for (number, key) in keys().iter().enumerate() {
        group.db(0).put(key, format!("A{number}")).unwrap();
        group.db(1).put(key, format!("B{number}")).unwrap();
    }
    group.link(0, 1).await;
    group.converge().await;

    let mut expected: Vec<(Bytes, Bytes)> = keys()
        .into_iter()
        .enumerate()
        .map(|(number, key)| (key, format!("B{number}").into()))
        .collect();
    expected.sort();
    for device in &group.devices {
        assert_eq!(contents(&device.db), expected);
        assert_eq!(device.db.conflicts().unwrap().len(), expected.len());
        let mut backwards = device
            .db
            .range(multibee::RangeSpec { reverse: true, ..Default::default() })
            .unwrap()
            .map(|entry| entry.unwrap().key)
            .collect::<Vec<_>>();
        backwards.reverse();
        assert!(backwards.iter().eq(expected.iter().map(|(key, _)| key)));
    }

    // Deleting one touches no other; a key that is too long is refused, and nothing is written.
    let length = group.db(0).status().unwrap().length;
    assert!(group.db(0).put(vec![0; (64 << 10) + 1], "v").is_err());
    assert_eq!(group.db(0).status().unwrap().length, length);
    assert!(group.db(0).del(b"\xfft").unwrap());
    group.converge().await;
    assert_eq!(contents(group.db(1)).len(), expected.len() - 1);
}

scenario!(s26_keys_that_look_like_other_keys, run);
