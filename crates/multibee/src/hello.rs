//! How two devices prove to each other who they are.
//!
//! The transport's own keys are fresh for every process and prove nothing. On top of it each side
//! first sends tags that only those recognise who know a key of its log already, or one that its log goes
//! on for; and once it has recognised the other's, a signature with its log's key, with the
//! statements that lead there. All is bound to the handshake hash and to the side, so it can't be used on
//! another connection. A stranger who listens or dials learns no key and no device's identity.

use std::collections::BTreeMap;

use blake2::digest::{FixedOutput as _, KeyInit as _, Update as _, consts::U32};
use blake2::{Blake2b, Blake2bMac, Digest as _};
use bytes::Bytes;
use multibee_log::LogKey;
use multibee_replica::Role;
use prost::Message;

use crate::author::{Author, signer};
use crate::chain::chain;
use crate::statement::Statement;

/// Keys by which a side says that it may be known, at most.
pub(crate) const TAGS_MAX: usize = 64;
/// Statements in a proof, at most.
pub(crate) const CHAIN_MAX: usize = 256;

/// One side of a connection, to which what it says is bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) role: Role,
    pub(crate) handshake_hash: [u8; 64],
}

impl Side {
    /// The other side of the same connection.
    pub(crate) fn other(self) -> Self {
        Self { role: self.role.opposite(), ..self }
    }

    const fn number(self) -> u8 {
        match self.role {
            Role::Initiator => 0,
            Role::Responder => 1,
        }
    }
}

/// Proves who its sender is, to somebody who knows a key that leads there.
#[derive(Clone, PartialEq, Message)]
struct Proof {
    #[prost(bytes = "bytes", optional, tag = "1")]
    manifest: Option<Bytes>,
    #[prost(bytes = "bytes", required, tag = "2")]
    signature: Bytes,
    /// The sender's key; absent if it has sent but one tag, which was for this key.
    #[prost(bytes = "bytes", optional, tag = "3")]
    key: Option<Bytes>,
    /// Statements that lead to it from each of the keys that tags were sent for.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    chain: Vec<Bytes>,
}

/// Who a peer has proven to be.
#[derive(Debug)]
pub(crate) struct Introduced {
    pub(crate) key: LogKey,
    /// What leads there from the key that was known.
    pub(crate) chain: Vec<Statement>,
}

/// The tags by which those who know any of `keys`, newest first, recognise their holder on this side.
pub(crate) fn tags(keys: impl IntoIterator<Item = LogKey>, side: Side) -> Vec<u8> {
    keys.into_iter().take(TAGS_MAX).flat_map(|key| tag(&key, side)).collect()
}

fn tag(key: &LogKey, side: Side) -> [u8; 32] {
    let mut mac = Blake2bMac::<U32>::new_from_slice(key.as_bytes())
        .expect("a key of 32 bytes is no longer than a block");
    mac.update(b"multibee/1 tag");
    mac.update(&[side.number()]);
    mac.update(&side.handshake_hash);
    mac.finalize_fixed().into()
}

/// Which of these keys the first tag is for that is for any; `side` is who sent them.
pub(crate) fn recognise(
    tags: &[u8],
    keys: impl IntoIterator<Item = LogKey>,
    side: Side,
) -> Option<LogKey> {
    // A tag is used once and proves nothing by itself, so comparing it need not take equal time.
    let keys: BTreeMap<[u8; 32], LogKey> =
        keys.into_iter().map(|key| (tag(&key, side), key)).collect();
    let (tags, _) = tags.as_chunks::<32>();
    tags.iter().take(TAGS_MAX).find_map(|tag| keys.get(tag).copied())
}

/// Proves that we are `author`, to somebody who knows one of `names`. `None` without a secret key.
pub(crate) fn prove<'a>(
    author: &impl Author,
    names: &[LogKey],
    statements: impl IntoIterator<Item = &'a Statement>,
    side: Side,
) -> Option<Vec<u8>> {
    let signature = author.sign(&signable(side))?;
    let (me, statements) = (author.key(), statements.into_iter().collect::<Vec<_>>());
    let mut used = BTreeMap::new();
    for name in names {
        for statement in chain(*name, me, statements.iter().copied()).into_iter().flatten() {
            used.insert(statement.hash(), statement.signed.clone());
        }
    }
    let proof = Proof {
        manifest: author.manifest().map(|manifest| manifest.encode().into()),
        signature: Bytes::copy_from_slice(&signature),
        key: (!used.is_empty()).then(|| Bytes::copy_from_slice(me.as_bytes())),
        chain: used.into_values().take(CHAIN_MAX).collect(),
    };
    Some(proof.encode_to_vec())
}

/// Who the peer on `side`, known by `known`, proves to be; `None` if it proves nothing.
pub(crate) fn introduced(known: LogKey, proof: Bytes, side: Side) -> Option<Introduced> {
    let proof = Proof::decode(proof).ok()?;
    let key = match &proof.key {
        Some(key) => LogKey::try_from(&key[..]).ok()?,
        None => known,
    };
    let public_key = signer(&key, proof.manifest.as_deref()).ok()?;
    let signature: [u8; 64] = proof.signature[..].try_into().ok()?;
    if proof.chain.len() > CHAIN_MAX
        || !multibee_log::verify(&public_key, &signable(side), &signature)
    {
        return None;
    }
    let statements: Result<Vec<_>, _> = proof.chain.into_iter().map(Statement::verify).collect();
    let statements = statements.ok()?;
    let chain = chain(known, key, &statements)?.into_iter().cloned().collect();
    Some(Introduced { key, chain })
}

fn signable(side: Side) -> Vec<u8> {
    let purpose = Blake2b::<U32>::digest(b"multibee/1 hello");
    [&purpose[..], &[side.number()], &side.handshake_hash].concat()
}

#[cfg(test)]
mod tests {
    use multibee_merge::Time;

    use super::*;
    use crate::statement::tests::log;

    const DIALLED: Side = Side { role: Role::Initiator, handshake_hash: [7; 64] };
    const ELSEWHERE: Side = Side { role: Role::Initiator, handshake_hash: [8; 64] };

    /// A tag is recognised by those who know the key, on its own connection, on its own side.
    #[test]
    fn a_tag_is_recognised_by_its_key_only() {
        let (ours, other) = (log(1).key(), log(2).key());
        let made = tags([ours], DIALLED);
        let seen = |keys: Vec<LogKey>, side| recognise(&made, keys, side);
        assert_eq!(seen(vec![other, ours], DIALLED), Some(ours));
        assert_eq!(seen(vec![other], DIALLED), None);
        assert_eq!(seen(vec![ours], DIALLED.other()), None);
        assert_eq!(seen(vec![ours], ELSEWHERE), None);
    }

    /// Of several tags the newest counts that is known; too many, or a part of one, do no harm.
    #[test]
    fn the_newest_known_tag_counts() {
        let [old, new, other] = [1, 2, 3].map(|seed| log(seed).key());
        let made = tags([other, new, old], DIALLED);
        assert_eq!(recognise(&made, [old, new], DIALLED), Some(new));
        assert_eq!(recognise(&made, [old], DIALLED), Some(old));
        assert_eq!(recognise(&made[..made.len() - 1], [old], DIALLED), None);
        let many = [tags([other], DIALLED).repeat(TAGS_MAX), tags([old], DIALLED)].concat();
        assert_eq!(recognise(&many, [old], DIALLED), None);
    }

    fn proven(known: LogKey, proof: &Bytes, side: Side) -> Option<LogKey> {
        introduced(known, proof.clone(), side).map(|introduced| introduced.key)
    }

    /// A device is known by its own signature, on its own connection, on its own side only; and no
    /// bit of the proof can be changed.
    #[test]
    fn a_proof_holds_for_one_connection_and_side() {
        let (ours, other) = (log(1).key(), log(2).key());
        let proof = Bytes::from(prove(&log(1), &[ours], [], DIALLED).unwrap());
        assert_eq!(proven(ours, &proof, DIALLED), Some(ours));
        assert_eq!(proven(other, &proof, DIALLED), None);
        assert_eq!(proven(ours, &proof, DIALLED.other()), None);
        assert_eq!(proven(ours, &proof, ELSEWHERE), None);
        for byte in proof.len() - 64..proof.len() {
            let mut forged = proof.to_vec();
            forged[byte] ^= 1;
            assert_eq!(proven(ours, &forged.into(), DIALLED), None);
        }
    }

    /// Whoever knows any log of the line learns the newest one, with the statements that lead there from
    /// what it knows. Without them the newest one proves nothing.
    #[test]
    fn a_proof_leads_from_a_known_key_to_the_newest() {
        let [a, b, c] = [1, 2, 3].map(log);
        let succeed =
            |old, heir, time| Statement::succeed(old, heir, None, Time::from_millis(time)).unwrap();
        let statements = [succeed(&a, &b, 5), succeed(&b, &c, 6)];
        let names = [c.key(), b.key(), a.key()];
        let proof = Bytes::from(prove(&c, &names, &statements, DIALLED).unwrap());
        for (known, count) in [(&a, 2), (&b, 1), (&c, 0)] {
            let found = introduced(known.key(), proof.clone(), DIALLED).unwrap();
            assert_eq!((found.key, found.chain.len()), (c.key(), count));
        }
        let proof = Bytes::from(prove(&c, &names, &statements[..1], DIALLED).unwrap());
        assert_eq!(proven(a.key(), &proof, DIALLED), None);
    }
}
