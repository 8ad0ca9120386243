//! Proof that the sender of an open knows the key of the log (docs/spec/wire.md section 4).

use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{KeyInit, Mac};
use multibee_log::LogKey;
use subtle::ConstantTimeEq;

use crate::secure::Role;

/// What `sender` puts in its open to prove that it knows `key` on this very connection.
///
/// It cannot be passed on: another connection has another handshake hash, and the other direction
/// of this one another role.
#[must_use]
pub fn capability(handshake_hash: &[u8; 64], sender: Role, key: &LogKey) -> [u8; 32] {
    let namespace = match sender {
        Role::Initiator => &REPLICATE_INITIATOR,
        Role::Responder => &REPLICATE_RESPONDER,
    };
    keyed_hash(handshake_hash, &[namespace, key.as_bytes()])
}

/// Whether `claimed` is the capability of `sender`, in constant time.
#[must_use]
pub fn capability_matches(
    handshake_hash: &[u8; 64],
    sender: Role,
    key: &LogKey,
    claimed: &[u8; 32],
) -> bool {
    capability(handshake_hash, sender, key).ct_eq(claimed).into()
}

/// BLAKE2b-256 of all `parts`, keyed with 1 to 64 bytes.
pub(crate) fn keyed_hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Blake2bMac<U32> as KeyInit>::new_from_slice(key)
        .expect("all keys here are 32 or 64 bytes, and 1 to 64 are allowed");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `H( H("hypercore") || 1 )` and `|| 2`, as the constants vectors have them.
const REPLICATE_INITIATOR: [u8; 32] = [
    0x51, 0x81, 0x2a, 0x2a, 0x35, 0x9b, 0x50, 0x36, 0x95, 0x36, 0x77, 0x5d, 0xf8, 0x9e, 0x18, 0xe4,
    0x77, 0x40, 0xf3, 0xdb, 0x72, 0xac, 0x0a, 0xe7, 0x0b, 0x29, 0x59, 0x4c, 0x19, 0x4d, 0xc3, 0x16,
];
const REPLICATE_RESPONDER: [u8; 32] = [
    0x04, 0x38, 0x49, 0x2d, 0x02, 0x97, 0x0c, 0xc1, 0x35, 0x28, 0xac, 0x02, 0x62, 0xbc, 0xa0, 0x07,
    0x4e, 0x09, 0x26, 0x26, 0x02, 0x56, 0x86, 0x5a, 0xcc, 0xc0, 0xbf, 0x15, 0xbd, 0x79, 0x12, 0x7d,
];
