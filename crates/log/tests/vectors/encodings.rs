//! `encodings.json` but for the oplog: primitives, arrays of nodes, manifests.

use multibee_log::{
    Hash, Manifest, Node, Proof, ProofHash,
    compact::{self, Reader},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::json::{Hex, load};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    uint: Vec<Case<u64>>,
    uint64: Vec<Case<u64>>,
    /// An absent value looks like an empty one.
    buffer: Vec<Case<Option<Hex>>>,
    string: Vec<Case<String>>,
    node_array: Vec<Case<Vec<(u64, u64, Hex)>>>,
    manifest: Vec<ManifestCase>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Case<T> {
    value: T,
    encoded: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestCase {
    id: String,
    version: u8,
    allow_patch: bool,
    quorum: u64,
    signers: Vec<SignerJson>,
    prologue: Option<PrologueJson>,
    linked: Option<Vec<Hex>>,
    user_data: Option<Hex>,
    encoded: Hex,
    hash: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignerJson {
    namespace: Hex,
    public_key: Hex,
}

#[derive(Deserialize)]
struct PrologueJson {
    hash: Hex,
    length: u64,
}

fn put<T>(value: T, put: impl FnOnce(&mut Vec<u8>, T)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

/// Numbers, bytes, texts and nodes look the same, and are read back whole.
#[test]
fn primitives_are_the_same() {
    let file: File = load("encodings.json");
    for case in &file.uint {
        let mut reader = Reader::new(&case.encoded.0);
        assert_eq!(put(case.value, compact::put_uint), case.encoded.0);
        assert_eq!(reader.uint(), Ok(case.value));
        assert!(reader.is_empty());
    }
    for case in &file.uint64 {
        let mut reader = Reader::new(&case.encoded.0);
        assert_eq!(put(case.value, compact::put_u64), case.encoded.0);
        assert_eq!(reader.u64(), Ok(case.value));
        assert!(reader.is_empty());
    }
    for case in &file.buffer {
        let mut reader = Reader::new(&case.encoded.0);
        let value = case.value.as_ref().map_or(&[][..], |value| &value.0);
        assert_eq!(put(value, compact::put_buffer), case.encoded.0);
        assert_eq!(reader.buffer(), Ok(value));
        assert!(reader.is_empty());
    }
    for case in &file.string {
        let mut reader = Reader::new(&case.encoded.0);
        assert_eq!(put(case.value.as_str(), compact::put_string), case.encoded.0);
        assert_eq!(reader.string(), Ok(case.value.as_str()));
        assert!(reader.is_empty());
    }
    for case in &file.node_array {
        let node = |(index, size, hash): &(u64, u64, Hex)| Node {
            index: *index,
            size: *size,
            hash: Hash::from_bytes(hash.array()),
        };
        // Arrays of nodes are seen from outside in proofs only: flags, id, fork and index go before.
        let nodes = case.value.iter().map(node).collect();
        let hash = Some(ProofHash { index: 0, nodes });
        let proof = Proof { hash, ..Proof::default() };
        let wire = put(0, |out, id| proof.encode(id, out));
        assert_eq!(wire, [&[2, 0, 0, 0], case.encoded.0.as_slice()].concat());
        assert_eq!(Proof::decode(&wire), Ok((0, proof)));
    }
    let lens = [
        file.uint.len(),
        file.uint64.len(),
        file.buffer.len(),
        file.string.len(),
        file.node_array.len(),
    ];
    println!("encodings.json, primitives: {} cases passed", lens.iter().sum::<usize>());
}

/// Manifests of each version say the same, look the same and hash to the same key.
#[test]
fn manifests_are_the_same() {
    let cases = load::<File>("encodings.json").manifest;
    for case in &cases {
        let id = case.id.as_str();
        let manifest = Manifest::decode(&case.encoded.0).unwrap();
        assert_eq!(manifest.encode(), case.encoded.0, "{id}");
        assert_eq!(manifest.key().as_bytes(), &case.hash.array(), "{id}");
        assert_eq!(manifest.version(), case.version, "{id}");
        assert_eq!(manifest.allow_patch(), case.allow_patch, "{id}");
        assert_eq!(manifest.quorum(), case.quorum, "{id}");
        assert_eq!(manifest.signers().len(), case.signers.len(), "{id}");
        for (signer, expected) in manifest.signers().iter().zip(&case.signers) {
            assert_eq!(signer.namespace, expected.namespace.array(), "{id}");
            assert_eq!(signer.public_key, expected.public_key.array(), "{id}");
        }
        let prologue =
            manifest.prologue().map(|prologue| (*prologue.hash.as_bytes(), prologue.length));
        let expected =
            case.prologue.as_ref().map(|prologue| (prologue.hash.array(), prologue.length));
        assert_eq!(prologue, expected, "{id}");
        let linked =
            case.linked.as_ref().map(|keys| keys.iter().map(Hex::array).collect::<Vec<_>>());
        assert_eq!(manifest.linked(), linked.as_deref(), "{id}");
        assert_eq!(
            manifest.user_data(),
            case.user_data.as_ref().map(|data| data.0.as_slice()),
            "{id}"
        );
    }
    println!("encodings.json, manifests: {} cases passed", cases.len());
}
