use bytes::BytesMut;
use multibee_replica::{Pull, Push, Tag};
use serde_json::Value;

use crate::{bytes, fixed, list, load, passed, text};

/// Each case seals to and opens from the recorded bytes, with all tags; each invalid message is
/// refused behind the good ones and leaves the state such that the true one is still taken.
#[test]
fn secretstream() {
    let vectors = load("secretstream.json");
    let (cases, invalid) = (list(&vectors["cases"]), list(&vectors["invalid"]));
    for case in cases {
        let (mut push, mut pull) = ends(case);
        for frame in list(&case["frames"]) {
            let tag = Tag(u8::try_from(frame["tag"].as_u64().unwrap()).unwrap());
            let (plaintext, ciphertext) = (bytes(&frame["plaintext"]), bytes(&frame["ciphertext"]));
            let mut sealed = BytesMut::new();
            push.seal(tag, &plaintext, &mut sealed);
            assert_eq!(sealed, ciphertext, "{}", text(&case["name"]));
            let mut framed = u32::try_from(sealed.len()).unwrap().to_le_bytes()[..3].to_vec();
            framed.extend_from_slice(&sealed);
            assert_eq!(framed, bytes(&frame["framed"]));
            let (got_tag, got) = pull.open(sealed).unwrap();
            assert_eq!((got_tag, got.to_vec()), (tag, plaintext));
        }
    }
    for case in invalid {
        let name = &case["caseName"];
        let base = cases.iter().find(|base| base["name"] == *name).unwrap();
        let frames = list(&base["frames"]);
        let skip = usize::try_from(case["skipFrames"].as_u64().unwrap()).unwrap();
        let open = |pull: &mut Pull, bytes: Vec<u8>| pull.open(BytesMut::from(bytes.as_slice()));
        let (_, mut pull) = ends(base);
        for frame in &frames[..skip] {
            open(&mut pull, bytes(&frame["ciphertext"])).unwrap();
        }
        assert!(open(&mut pull, bytes(&case["ciphertext"])).is_err(), "{}", text(&case["why"]));
        if let Some(next) = frames.get(skip) {
            open(&mut pull, bytes(&next["ciphertext"])).unwrap();
        }
    }
    passed("secretstream.json", cases.len() + invalid.len());
}

fn ends(case: &Value) -> (Push, Pull) {
    let (key, header) = (fixed(&case["key"]), fixed(&case["header"]));
    (Push::new(&key, &header), Pull::new(&key, &header))
}
