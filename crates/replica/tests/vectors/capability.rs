use multibee_log::LogKey;
use multibee_replica::{Role, capability, capability_matches};

use crate::{fixed, list, load, passed};

/// Both directions' capabilities are as recorded, and neither passes for the other.
#[test]
fn capabilities() {
    let vectors = load("capability.json");
    let cases = list(&vectors["cases"]);
    for case in cases {
        let hash = fixed(&case["handshakeHash"]);
        let key = LogKey::from_bytes(fixed(&case["key"]));
        assert_eq!(*key.discovery_key().as_bytes(), fixed::<32>(&case["discoveryKey"]));
        let of_initiator = fixed::<32>(&case["initiatorCapability"]);
        let of_responder = fixed::<32>(&case["responderCapability"]);
        for (sender, own, other) in [
            (Role::Initiator, of_initiator, of_responder),
            (Role::Responder, of_responder, of_initiator),
        ] {
            assert_eq!(capability(&hash, sender, &key), own);
            assert!(capability_matches(&hash, sender, &key, &own));
            assert!(!capability_matches(&hash, sender, &key, &other), "reflected");
        }
    }
    passed("capability.json", cases.len());
}
