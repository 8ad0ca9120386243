use multibee_replica::StaticKeys;

use crate::{fixed, list, load, passed, text};

/// Both sides compute the recorded secret, and every dishonest public key is refused.
#[test]
fn dh() {
    let vectors = load("dh.json");
    let (cases, invalid) = (list(&vectors["cases"]), list(&vectors["invalid"]));
    for case in cases {
        let a = StaticKeys::from_seed(fixed(&case["aSeed"]));
        let b = StaticKeys::from_seed(fixed(&case["bSeed"]));
        assert_eq!(a.public_key(), fixed(&case["aPublicKey"]));
        assert_eq!(b.public_key(), fixed(&case["bPublicKey"]));
        let shared: [u8; 32] = fixed(&case["shared"]);
        assert_eq!(*a.shared_secret(&b.public_key()).unwrap(), shared);
        assert_eq!(*b.shared_secret(&a.public_key()).unwrap(), shared);
    }
    let keys = StaticKeys::from_seed(fixed(&cases[0]["aSeed"]));
    for case in invalid {
        let remote = fixed(&case["publicKey"]);
        assert!(keys.shared_secret(&remote).is_none(), "{}", text(&case["why"]));
    }
    passed("dh.json", cases.len() + invalid.len());
}
