//! Arbitrary bytes as the signature of a head.

use std::sync::LazyLock;

use crate::compact::put_uint;
use crate::hash;
use crate::key_pair::KeyPair;
use crate::keys::LogKey;
use crate::manifest::{Manifest, Signer};
use crate::merkle::Roots;
use crate::node::{Node, put_nodes};
use crate::signature::Signers;

/// A log at length 6, signed by both of two signers. If they may sign longer trees than the one
/// agreed on, the second signed it at length 9.
struct Case {
    manifest: Manifest,
    key: LogKey,
    roots: Roots,
    /// By each signer, at either length.
    signatures: [[[u8; 64]; 2]; 2],
    /// A valid one, as stored.
    stored: Vec<u8>,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let keys = [KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32])];
    let signers = |count: usize| {
        let signer = |pair: &KeyPair| Signer {
            namespace: hash::DEFAULT_NAMESPACE,
            public_key: pair.public_key(),
        };
        keys.iter().take(count).map(signer).collect::<Vec<_>>()
    };
    let single = Manifest::new(signers(1), 1);
    let compat = LogKey::from_bytes(keys[0].public_key());
    let mut cases = vec![Case::new(single.clone(), compat, &keys)];
    cases.push(Case::new(single.clone(), single.key(), &keys));
    for version in [0, 1] {
        for allow_patch in [0, 1] {
            let mut bytes = vec![version];
            // Version 0: hash function, type, flag. Later: flag, hash function. Then the quorum.
            bytes.extend_from_slice(if version == 0 { &[0, 2] } else { &[] });
            bytes.push(allow_patch);
            bytes.extend_from_slice(if version == 0 { &[] } else { &[0] });
            bytes.extend_from_slice(&[2, 2]);
            for signer in signers(2) {
                bytes.push(0);
                bytes.extend_from_slice(&signer.namespace);
                bytes.extend_from_slice(&signer.public_key);
            }
            let manifest = Manifest::decode(&bytes).expect("a manifest of two signers");
            let key = manifest.key();
            cases.push(Case::new(manifest, key, &keys));
        }
    }
    cases
});

impl Case {
    fn new(manifest: Manifest, key: LogKey, keys: &[KeyPair; 2]) -> Self {
        let (mut roots, mut created) = (Roots::default(), Vec::new());
        let mut grow = |roots: &mut Roots, count| {
            created.clear();
            roots.append_all(&vec![&b"block"[..]; count], &mut created).expect("the log is short");
            created.clone()
        };
        grow(&mut roots, 6);
        let mut longer = roots.clone();
        let mut between = grow(&mut longer, 3);
        // What completes the last root, then the root that follows.
        between.retain(|node: &Node| [13, 16].contains(&node.index));
        let signatures = [[[0; 64]; 2]; 2];
        let mut case = Self { manifest, key, roots, signatures, stored: Vec::new() };
        let signables = [case.signable(&case.roots), case.signable(&longer)];
        case.signatures = keys.each_ref().map(|pair| signables.each_ref().map(|s| pair.sign(s)));
        case.stored = case.encode(&between);
        case
    }

    /// What docs/spec/log.md section 2.5 says is signed.
    fn signable(&self, roots: &Roots) -> Vec<u8> {
        let mut out = hash::TREE.to_vec();
        if !self.manifest.is_compat(&self.key) {
            out.extend_from_slice(match self.manifest.version() {
                0 => &hash::DEFAULT_NAMESPACE,
                _ => self.key.as_bytes(),
            });
        }
        out.extend_from_slice(roots.tree_hash().as_bytes());
        out.extend_from_slice(&roots.length().to_le_bytes());
        out.extend_from_slice(&0_u64.to_le_bytes());
        out
    }

    /// What docs/spec/log.md section 2.6 says is stored.
    fn encode(&self, between: &[Node]) -> Vec<u8> {
        let [[first, _], [short, long]] = &self.signatures;
        let second = if self.manifest.allow_patch() { long } else { short };
        if self.manifest.is_compat(&self.key) {
            return first.to_vec();
        }
        let is_patched = self.manifest.allow_patch();
        let inputs = [first, second].into_iter().take(self.manifest.signers().len());
        let mut out = Vec::new();
        put_uint(&mut out, self.manifest.signers().len() as u64);
        for (number, signature) in (0..).zip(inputs) {
            let has_patch = is_patched && number == 1;
            if self.manifest.version() == 0 {
                out.extend_from_slice(&[u8::from(has_patch), number]);
                out.extend_from_slice(signature);
                // Start and length, and which of the nodes.
                out.extend_from_slice(if has_patch { &[6, 3, 2, 0, 1] } else { &[] });
            } else {
                out.push(number);
                out.extend_from_slice(signature);
                put_uint(&mut out, if has_patch { 3 } else { 0 });
            }
        }
        put_nodes(&mut out, if is_patched { between } else { &[] });
        out
    }
}

/// One valid input for [`signature`] of each kind of log.
///
/// # Panics
///
/// If it is not valid.
#[must_use]
pub fn signatures() -> Vec<Vec<u8>> {
    for case in &*CASES {
        let signers = Signers { key: &case.key, manifest: &case.manifest };
        signers.verify(&case.roots, 0, &case.stored).expect("ours is valid");
    }
    (0..).zip(&*CASES).map(|(number, case)| [&[number], &*case.stored].concat()).collect()
}

/// Bytes that count as the signature of a head contain those of as many signers as it takes.
///
/// Input: the number of one of our logs, and the stored signature.
pub fn signature(data: &[u8]) {
    let Some((number, stored)) = data.split_first() else { return };
    let Some(case) = CASES.get(usize::from(*number)) else { return };
    let signers = Signers { key: &case.key, manifest: &case.manifest };
    if signers.verify(&case.roots, 0, stored).is_ok() {
        let is_there = |signature: &[u8; 64]| stored.windows(64).any(|bytes| bytes == signature);
        let has_signed = |by_one: &&[[u8; 64]; 2]| by_one.iter().any(is_there);
        let count = case.signatures.iter().filter(has_signed).count() as u64;
        assert!(count >= case.manifest.quorum(), "{count} signers count as enough");
    }
}
