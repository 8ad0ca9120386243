//! How two devices prove to each other who they are.
//!
//! The transport's own keys are fresh for every process and prove nothing. On top of it each side
//! signs the handshake hash with its log's key: that can't be replayed on another connection, and
//! a stranger who listens or dials learns no device's identity.

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use bytes::Bytes;
use multibee_log::{Log, LogKey};
use multibee_replica::Role;
use prost::Message;

use crate::statement::{own_manifest, signer};

/// Opens the channel `multibee/1`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    manifest: Option<Bytes>,
    #[prost(bytes = "bytes", required, tag = "3")]
    signature: Bytes,
}

/// Says who we are on the connection with this handshake hash; `None` without a secret key.
pub(crate) fn hello(log: &Log, role: Role, handshake_hash: &[u8; 64]) -> Option<Bytes> {
    let signature = log.sign(&signable(role, handshake_hash))?;
    let hello = Hello {
        key: Bytes::copy_from_slice(log.key().as_bytes()),
        manifest: own_manifest(log).map(|manifest| manifest.encode().into()),
        signature: Bytes::copy_from_slice(&signature),
    };
    Some(hello.encode_to_vec().into())
}

/// Who the peer in this role is, or `None` if it does not prove it.
pub(crate) fn identify(hello: Bytes, role: Role, handshake_hash: &[u8; 64]) -> Option<LogKey> {
    let hello = Hello::decode(hello).ok()?;
    let key = LogKey::try_from(&hello.key[..]).ok()?;
    let public_key = signer(&key, hello.manifest.as_deref()).ok()?;
    let signature: [u8; 64] = hello.signature[..].try_into().ok()?;
    multibee_log::verify(&public_key, &signable(role, handshake_hash), &signature).then_some(key)
}

fn signable(role: Role, handshake_hash: &[u8; 64]) -> Vec<u8> {
    let side = match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    };
    [&Blake2b::<U32>::digest(b"multibee/1 hello")[..], &[side], handshake_hash].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::log;

    /// A device is known by its own signature, on its own connection, in its own role only.
    #[test]
    fn a_hello_holds_for_one_connection_and_role() {
        let hello = hello(&log(1), Role::Initiator, &[7; 64]).unwrap();
        assert_eq!(identify(hello.clone(), Role::Initiator, &[7; 64]), Some(log(1).key()));
        assert_eq!(identify(hello.clone(), Role::Responder, &[7; 64]), None);
        assert_eq!(identify(hello.clone(), Role::Initiator, &[8; 64]), None);
        for bit in 0..hello.len() * 8 {
            let mut forged = hello.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(identify(forged.into(), Role::Initiator, &[7; 64]), Some(log(2).key()));
        }
    }
}
