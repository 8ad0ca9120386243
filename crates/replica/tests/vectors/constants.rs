use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{KeyInit, Mac};
use multibee_log::LogKey;
use multibee_replica::{PROTOCOL, Role, SecureStream, SessionKeys, capability};

use crate::{bytes, fixed, load, passed, text};

/// The namespaces and names in the code are the recorded ones. Namespaces show only in what they
/// are hashed into, so that is computed here once more from the recorded ones.
#[test]
fn constants() {
    let vectors = load("constants.json");
    let hash = [5; 64];
    let key = LogKey::from_bytes([6; 32]);
    let mut count = 0;
    for (role, name) in
        [(Role::Initiator, "replicateInitiator"), (Role::Responder, "replicateResponder")]
    {
        let namespace = bytes(&vectors["hypercore"][name]);
        let expected = keyed_hash(&hash, &[&namespace, key.as_bytes()]);
        assert_eq!(capability(&hash, role, &key), expected);
        count += 1;
    }
    for (role, name) in [(Role::Initiator, "initiator"), (Role::Responder, "responder")] {
        let namespace = fixed::<32>(&vectors["secretStream"][name]);
        let keys = SessionKeys { tx: [1; 32], rx: [2; 32], hash, remote_static: [3; 32] };
        let mut stream = SecureStream::with_keys(role, &keys, [0; 24]);
        let frame = stream.poll_transmit().unwrap();
        assert_eq!(frame[3..35], keyed_hash(&hash, &[&namespace]));
        count += 1;
    }
    assert_eq!(PROTOCOL, text(&vectors["muxProtocol"]));
    passed("constants.json", count + 1);
}

fn keyed_hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Blake2bMac<U32> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
