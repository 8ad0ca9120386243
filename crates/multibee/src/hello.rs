//! How two devices prove to each other who they are.
//!
//! The transport's own keys are fresh for every process and prove nothing. On top of it each side
//! first sends a tag that only those recognise who know its log's key already; and once it has
//! recognised the other's, a signature with its log's key. Both are bound to the handshake hash and
//! to the side, so neither can be used on another connection. A stranger who listens or dials
//! learns no key and no device's identity.

use blake2::digest::{FixedOutput as _, KeyInit as _, Update as _, consts::U32};
use blake2::{Blake2b, Blake2bMac, Digest as _};
use bytes::Bytes;
use multibee_log::LogKey;
use multibee_replica::Role;
use prost::Message;

use crate::author::{Author, signer};

/// Proves who its sender is, to somebody who knows its key already.
#[derive(Clone, PartialEq, Message)]
struct Proof {
    #[prost(bytes = "bytes", optional, tag = "1")]
    manifest: Option<Bytes>,
    #[prost(bytes = "bytes", required, tag = "2")]
    signature: Bytes,
}

/// The tag by which those who know `key` recognise its holder on the connection with this
/// handshake hash.
pub(crate) fn tag(key: &LogKey, role: Role, handshake_hash: &[u8; 64]) -> [u8; 32] {
    let mut mac = Blake2bMac::<U32>::new_from_slice(key.as_bytes())
        .expect("a key of 32 bytes is no longer than a block");
    mac.update(b"multibee/1 tag");
    mac.update(&[side(role)]);
    mac.update(handshake_hash);
    mac.finalize_fixed().into()
}

/// Which of these keys the tag is for, if any.
pub(crate) fn recognise(
    tag_received: &[u8],
    keys: impl IntoIterator<Item = LogKey>,
    role: Role,
    handshake_hash: &[u8; 64],
) -> Option<LogKey> {
    // A tag is used once and proves nothing by itself, so comparing it need not take equal time.
    keys.into_iter().find(|key| tag(key, role, handshake_hash) == tag_received)
}

/// Proves that we are who our tag says; `None` without a secret key.
pub(crate) fn prove(
    author: &impl Author,
    role: Role,
    handshake_hash: &[u8; 64],
) -> Option<Vec<u8>> {
    let signature = author.sign(&signable(role, handshake_hash))?;
    let manifest = author.manifest().map(|manifest| manifest.encode().into());
    Some(Proof { manifest, signature: Bytes::copy_from_slice(&signature) }.encode_to_vec())
}

/// Whether the peer in this role proves to hold the secret behind `key`.
pub(crate) fn is_proven(key: &LogKey, proof: Bytes, role: Role, handshake_hash: &[u8; 64]) -> bool {
    let check = || {
        let proof = Proof::decode(proof).ok()?;
        let public_key = signer(key, proof.manifest.as_deref()).ok()?;
        let signature: [u8; 64] = proof.signature[..].try_into().ok()?;
        Some(multibee_log::verify(&public_key, &signable(role, handshake_hash), &signature))
    };
    check().unwrap_or(false)
}

fn signable(role: Role, handshake_hash: &[u8; 64]) -> Vec<u8> {
    let purpose = Blake2b::<U32>::digest(b"multibee/1 hello");
    [&purpose[..], &[side(role)], handshake_hash].concat()
}

const fn side(role: Role) -> u8 {
    match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::log;

    /// A tag is recognised by those who know the key, on its own connection, in its own role.
    #[test]
    fn a_tag_is_recognised_by_its_key_only() {
        let (ours, other) = (log(1).key(), log(2).key());
        let made = tag(&ours, Role::Initiator, &[7; 64]);
        let seen = |keys: Vec<LogKey>, role, hash| recognise(&made, keys, role, &hash);
        assert_eq!(seen(vec![other, ours], Role::Initiator, [7; 64]), Some(ours));
        assert_eq!(seen(vec![other], Role::Initiator, [7; 64]), None);
        assert_eq!(seen(vec![ours], Role::Responder, [7; 64]), None);
        assert_eq!(seen(vec![ours], Role::Initiator, [8; 64]), None);
    }

    /// A device is known by its own signature, on its own connection, in its own role only; and
    /// no bit of the proof can be changed.
    #[test]
    fn a_proof_holds_for_one_connection_and_role() {
        let (ours, other) = (log(1).key(), log(2).key());
        let proof = Bytes::from(prove(&log(1), Role::Initiator, &[7; 64]).unwrap());
        let holds =
            |key, proof: &Bytes, role, hash: [u8; 64]| is_proven(key, proof.clone(), role, &hash);
        assert!(holds(&ours, &proof, Role::Initiator, [7; 64]));
        assert!(!holds(&other, &proof, Role::Initiator, [7; 64]));
        assert!(!holds(&ours, &proof, Role::Responder, [7; 64]));
        assert!(!holds(&ours, &proof, Role::Initiator, [8; 64]));
        for byte in proof.len() - 64..proof.len() {
            let mut forged = proof.to_vec();
            forged[byte] ^= 1;
            assert!(!holds(&ours, &forged.into(), Role::Initiator, [7; 64]));
        }
    }
}
