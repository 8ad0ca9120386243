use std::fs;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::manifest::tests::manifest;

fn load() -> Value {
    let vectors = std::env::var_os("MULTIBEE_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")),
        PathBuf::from,
    );
    serde_json::from_slice(&fs::read(vectors.join("log/encodings.json")).unwrap()).unwrap()
}

/// Bytes of a hex string; none for null.
fn hex(value: &Value) -> Vec<u8> {
    value.as_str().map_or_else(Vec::new, |text| hex::decode(text).unwrap())
}

fn uint(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn user_data(value: &Value) -> (String, Bytes) {
    (value["key"].as_str().unwrap().to_owned(), hex(&value["value"]).into())
}

fn entry_of(value: &Value) -> Entry {
    let present = |name: &str| Some(&value[name]).filter(|value| !value.is_null());
    let node = |node: &Value| Node {
        index: uint(&node[0]),
        size: uint(&node[1]),
        hash: Hash::try_from(hex(&node[2]).as_slice()).unwrap(),
    };
    Entry {
        user_data: present("userData").map(user_data),
        nodes: present("treeNodes")
            .map(|nodes| nodes.as_array().unwrap().iter().map(node).collect()),
        upgrade: present("treeUpgrade").map(|upgrade| EntryUpgrade {
            fork: uint(&upgrade["fork"]),
            ancestors: uint(&upgrade["ancestors"]),
            length: uint(&upgrade["length"]),
            signature: hex(&upgrade["signature"]).into(),
        }),
        bitfield: present("bitfield").map(|bits| EntryBitfield {
            drop: bits["drop"].as_bool().unwrap(),
            start: uint(&bits["start"]),
            length: uint(&bits["length"]),
        }),
    }
}

fn slot_of(value: &Value) -> Slot {
    if !value["external"].is_null() {
        let start = uint(&value["external"]["start"]);
        return Slot::External { start, length: uint(&value["external"]["length"]) };
    }
    let pair = Some(&value["keyPair"]).filter(|pair| !pair.is_null());
    let reorg = |reorg: &Value| Reorg {
        from: uint(&reorg["from"]),
        to: uint(&reorg["to"]),
        ancestors: uint(&reorg["ancestors"]),
    };
    Slot::Inline(Box::new(Header {
        key: LogKey::try_from(hex(&value["key"]).as_slice()).unwrap(),
        manifest: Some(hex(&value["manifest"]))
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| Manifest::decode(&bytes).unwrap()),
        key_pair: pair.map(|pair| HeaderKeyPair {
            public_key: hex(&pair["publicKey"]).try_into().unwrap(),
            secret_key: hex(&pair["secretKey"]).try_into().ok().map(Zeroizing::new),
        }),
        user_data: value["userData"].as_array().unwrap().iter().map(user_data).collect(),
        fork: uint(&value["tree"]["fork"]),
        length: uint(&value["tree"]["length"]),
        tree_hash: Hash::try_from(hex(&value["tree"]["rootHash"]).as_slice()).ok(),
        signature: hex(&value["tree"]["signature"]).into(),
        reorgs: value["hints"]["reorgs"].as_array().unwrap().iter().map(reorg).collect(),
        contiguous_length: uint(&value["hints"]["contiguousLength"]),
    }))
}

/// Entries and headers encode to Hypercore's bytes, and those decode to them.
#[test]
fn encodings_are_the_same() {
    let vectors = load();
    let mut count = 0;
    for case in vectors["oplogEntry"].as_array().unwrap() {
        let entry = entry_of(&case["value"]);
        let mut encoded = Vec::new();
        entry.put(&mut encoded);
        assert_eq!(encoded, hex(&case["encoded"]));
        assert_eq!(Entry::decode(&hex(&case["encoded"])), Ok(entry));
        count += 1;
    }
    for case in vectors["oplogHeader"].as_array().unwrap() {
        let slot = slot_of(&case["value"]);
        assert_eq!(slot.encode().as_slice(), hex(&case["encoded"]));
        assert!(Slot::decode(&hex(&case["encoded"])) == Ok(slot));
        count += 1;
    }
    println!("encodings.json (oplog): {count} cases passed");
}

/// A later version is told from damage, so that nothing is thrown away for it.
#[test]
fn later_versions_are_named() {
    let error = Slot::decode(&[2, 0]).err();
    assert_eq!(error, Some(DecodeError::UnsupportedVersion { version: 2 }));
}

prop_compose! {
    fn entry()(
        user_data in prop::option::of((".{0,9}", vec(any::<u8>(), 0..9))),
        nodes in prop::option::of(vec((0..1_u64 << 50, 0..1_u64 << 50, any::<[u8; 32]>()), 0..9)),
        upgrade in prop::option::of((0..9_u64, 0..1_u64 << 50, 0..1_u64 << 50, vec(any::<u8>(), 0..80))),
        bitfield in prop::option::of((any::<bool>(), 0..1_u64 << 50, 0..1_u64 << 50)),
    ) -> Entry {
        Entry {
            user_data: user_data.map(|(key, value)| (key, value.into())),
            nodes: nodes.map(|nodes| nodes.into_iter().map(|(index, size, hash)| Node {
                index, size, hash: Hash::from_bytes(hash),
            }).collect()),
            upgrade: upgrade.map(|(fork, ancestors, length, signature)| EntryUpgrade {
                fork, ancestors, length, signature: signature.into(),
            }),
            bitfield: bitfield.map(|(drop, start, length)| EntryBitfield { drop, start, length }),
        }
    }
}

proptest! {
    /// Entries survive, and a cut one is refused.
    #[test]
    fn entries_survive(entry in entry()) {
        let mut bytes = Vec::new();
        entry.put(&mut bytes);
        prop_assert!(bytes.len() <= entry.len_max());
        prop_assert_eq!(&Entry::decode(&bytes)?, &entry);
        for len in 0..bytes.len() {
            prop_assert!(Entry::decode(&bytes[..len]).is_err());
        }
    }

    /// Headers survive.
    #[test]
    fn headers_survive(
        key: [u8; 32], manifest in prop::option::of(manifest()), pair: Option<([u8; 32], bool)>,
        user_data in vec((".{0,9}", vec(any::<u8>(), 0..9)), 0..4), fork in 0..9_u64,
        length in 0..1_u64 << 50, tree_hash: Option<[u8; 32]>, signature in vec(any::<u8>(), 0..80),
        reorgs in vec((0..9_u64, 0..9_u64, 0..9_u64), 0..5), contiguous_length in 0..1_u64 << 50,
    ) {
        let header = Header {
            key: LogKey::from_bytes(key),
            manifest,
            key_pair: pair.map(|(public_key, has_secret)| HeaderKeyPair {
                public_key, secret_key: has_secret.then(|| Zeroizing::new([7; 64])),
            }),
            user_data: user_data.into_iter().map(|(key, value)| (key, value.into())).collect(),
            fork,
            length,
            tree_hash: tree_hash.map(Hash::from_bytes),
            signature: signature.into(),
            reorgs: reorgs.into_iter().map(|(from, to, ancestors)| Reorg { from, to, ancestors }).collect(),
            contiguous_length,
        };
        let bytes = header.encode();
        prop_assert!(Header::decode(&bytes)? == header);
        for len in 0..bytes.len() {
            prop_assert!(Header::decode(&bytes[..len]).is_err());
        }
    }

    /// A frame is taken whole or not at all, and no flipped bit goes unseen.
    #[test]
    fn frames_are_sound_or_refused(payload in vec(any::<u8>(), 0..60), bit: bool, flip: prop::sample::Index) {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, &payload, bit);
        let frame = Frame { header_bit: bit, partial: false, payload: &payload };
        prop_assert_eq!(parse_frame(&bytes), Some(frame));
        prop_assert_eq!(frame_payload_len(*bytes.first_chunk().unwrap()), payload.len() as u64);
        for len in 0..bytes.len() {
            prop_assert_eq!(parse_frame(&bytes[..len]), None);
        }
        let flip = flip.index(bytes.len() * 8);
        bytes[flip / 8] ^= 1 << (flip % 8);
        prop_assert_eq!(parse_frame(&bytes), None);
    }

    /// No bytes make a decoder panic.
    #[test]
    fn garbage_is_safe(bytes in vec(0..9_u8, 0..120)) {
        let _ = (Slot::decode(&bytes).is_ok(), Entry::decode(&bytes).is_ok(), parse_frame(&bytes));
    }
}
