//! `keys.json`: from a seed to the names of its logs.

use multibee_log::{KeyPair, LogKey, Manifest};
use serde::Deserialize;

use crate::json::{Hex, load};

#[derive(Deserialize)]
struct File {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    seed: Hex,
    public_key: Hex,
    secret_key: Hex,
    identities: Vec<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    mode: String,
    manifest: Hex,
    key: Hex,
    id: String,
    discovery_key: Hex,
}

/// The key pairs of all vectors.
pub(crate) fn all() -> Vec<KeyPair> {
    load::<File>("keys.json").keys.iter().map(|key| key.seed.keys()).collect()
}

/// Public keys, log keys, printed ids and discovery keys are Hypercore's, for each kind of log.
#[test]
fn names_are_the_same() {
    let mut cases = 0;
    for case in load::<File>("keys.json").keys {
        let keys = KeyPair::from_seed(case.seed.array());
        assert_eq!(keys.public_key(), case.public_key.array());
        assert_eq!([*keys.seed(), keys.public_key()].concat(), case.secret_key.0);
        for identity in case.identities {
            let mode = identity.mode.as_str();
            let manifest = Manifest::decode(&identity.manifest.0).unwrap();
            assert_eq!(manifest.encode(), identity.manifest.0, "{mode}");
            let key = LogKey::from_bytes(identity.key.array());
            match mode {
                "compat" => assert!(manifest.is_compat(&key)),
                _ => assert_eq!(manifest.key(), key, "{mode}"),
            }
            if matches!(mode, "compat" | "v1") {
                assert_eq!(Manifest::single(keys.public_key()), manifest, "{mode}");
            }
            assert_eq!(key.to_string(), identity.id, "{mode}");
            assert_eq!(identity.id.parse::<LogKey>().unwrap(), key, "{mode}");
            assert_eq!(hex::encode(key.as_bytes()).parse::<LogKey>().unwrap(), key, "{mode}");
            assert_eq!(key.discovery_key().as_bytes(), &identity.discovery_key.array(), "{mode}");
            cases += 1;
        }
    }
    println!("keys.json: {cases} cases passed");
}
