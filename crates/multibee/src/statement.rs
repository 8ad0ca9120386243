//! Signed statements about devices: who was added, who was removed, and how far; and about sources.
//!
//! Statements form a set that only grows. Each is signed with its author's log key, so that any
//! device can pass it on and none can alter it.

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use bytes::Bytes;
use multibee_log::{Log, LogKey, Manifest};
use multibee_merge::Time;
use prost::Message;

/// One statement, its signature checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) author: LogKey,
    pub(crate) time: Time,
    pub(crate) claim: Claim,
    /// The statement as signed, to store and to pass on.
    pub(crate) signed: Bytes,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A device is a member, perhaps under a name.
    Add { key: LogKey, name: Option<String> },
    /// A device is one no longer; its log counts up to what the author had applied.
    Remove { key: LogKey, applied: Extent },
    /// How far the author had applied the log of a removed device.
    Applied { key: LogKey, applied: Extent },
    /// A plain Hyperbee is taken in, perhaps under a name.
    Source { key: LogKey, name: Option<String> },
    /// A plain Hyperbee is taken in no longer.
    SourceEnd { key: LogKey },
    /// Something that only newer programs understand: kept and passed on.
    Unknown,
}

/// How far a log is meant: its length, and which history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) length: u64,
    pub(crate) tag: Option<[u8; 8]>,
}

/// Why bytes are no statement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatementError {
    #[error("undecodable statement")]
    Decode(#[from] prost::DecodeError),
    #[error("a key in a statement has {len} bytes, not 32")]
    KeyLength { len: usize },
    #[error("the statement's manifest does not belong to its author")]
    Manifest,
    #[error("the statement's signature is not its author's")]
    Signature,
}

#[derive(Clone, PartialEq, Message)]
struct SignedRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    body: Bytes,
    #[prost(bytes = "bytes", required, tag = "2")]
    signature: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(bytes = "bytes", required, tag = "1")]
    author: Bytes,
    /// Manifest of the author's log; absent where the log's key is the public key itself.
    #[prost(bytes = "bytes", optional, tag = "2")]
    manifest: Option<Bytes>,
    #[prost(fixed64, required, tag = "3")]
    time: u64,
    #[prost(message, optional, tag = "4")]
    add: Option<AddRecord>,
    #[prost(message, optional, tag = "5")]
    remove: Option<ExtentRecord>,
    // 6 is "succeed": a fresh log takes over from the author's.
    #[prost(message, optional, tag = "7")]
    applied: Option<ExtentRecord>,
    #[prost(message, optional, tag = "8")]
    source: Option<AddRecord>,
    /// Key of a source that ends.
    #[prost(bytes = "bytes", optional, tag = "9")]
    source_end: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct AddRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ExtentRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(uint64, required, tag = "2")]
    length: u64,
    #[prost(fixed64, optional, tag = "3")]
    tag: Option<u64>,
}

impl Statement {
    /// Signs a claim with the key of `log`; `None` if this process can't write that log.
    pub(crate) fn sign(log: &Log, time: Time, claim: Claim) -> Option<Self> {
        let author = log.key();
        let mut body = Body {
            author: Bytes::copy_from_slice(author.as_bytes()),
            manifest: own_manifest(log).map(|manifest| manifest.encode().into()),
            time: time.as_u64(),
            ..Body::default()
        };
        match &claim {
            Claim::Add { key, name } => {
                body.add = Some(AddRecord { key: key_bytes(key), name: name.clone() });
            }
            Claim::Remove { key, applied } => body.remove = Some(extent_record(key, *applied)),
            Claim::Applied { key, applied } => body.applied = Some(extent_record(key, *applied)),
            Claim::Source { key, name } => {
                body.source = Some(AddRecord { key: key_bytes(key), name: name.clone() });
            }
            Claim::SourceEnd { key } => body.source_end = Some(key_bytes(key)),
            Claim::Unknown => {}
        }
        let body = Bytes::from(body.encode_to_vec());
        let signature = log.sign(&signable(&body))?;
        let signature = Bytes::copy_from_slice(&signature);
        let signed = SignedRecord { body, signature }.encode_to_vec().into();
        Some(Self { author, time, claim, signed })
    }

    /// Reads a statement and checks its signature.
    ///
    /// # Errors
    ///
    /// [`StatementError`]: whoever handed the bytes over is at fault.
    pub(crate) fn verify(signed: Bytes) -> Result<Self, StatementError> {
        let record = SignedRecord::decode(signed.clone())?;
        let body = Body::decode(record.body.clone())?;
        let author = key(&body.author)?;
        let public_key = signer(&author, body.manifest.as_deref())?;
        let signature: [u8; 64] =
            record.signature[..].try_into().map_err(|_| StatementError::Signature)?;
        if !multibee_log::verify(&public_key, &signable(&record.body), &signature) {
            return Err(StatementError::Signature);
        }
        let claim = claim(&body)?;
        Ok(Self { author, time: Time::from_u64(body.time), claim, signed })
    }

    /// Names the statement in the set: BLAKE2b-256 of the signed bytes.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Blake2b::<U32>::digest(&self.signed).into()
    }
}

fn claim(body: &Body) -> Result<Claim, StatementError> {
    if let Some(add) = &body.add {
        return Ok(Claim::Add { key: key(&add.key)?, name: add.name.clone() });
    }
    if let Some(remove) = &body.remove {
        return Ok(Claim::Remove { key: key(&remove.key)?, applied: extent(remove) });
    }
    if let Some(applied) = &body.applied {
        return Ok(Claim::Applied { key: key(&applied.key)?, applied: extent(applied) });
    }
    if let Some(source) = &body.source {
        return Ok(Claim::Source { key: key(&source.key)?, name: source.name.clone() });
    }
    if let Some(ended) = &body.source_end {
        return Ok(Claim::SourceEnd { key: key(ended)? });
    }
    Ok(Claim::Unknown)
}

/// The public key that signs for a log: named by its manifest, or the log's key itself.
pub(crate) fn signer(author: &LogKey, manifest: Option<&[u8]>) -> Result<[u8; 32], StatementError> {
    let Some(manifest) = manifest else { return Ok(*author.as_bytes()) };
    let manifest = Manifest::decode(manifest).map_err(|_| StatementError::Manifest)?;
    match manifest.signers() {
        [signer] if manifest.key() == *author => Ok(signer.public_key),
        _ => Err(StatementError::Manifest),
    }
}

/// The manifest to hand along with a signature, unless the log's key says it all.
pub(crate) fn own_manifest(log: &Log) -> Option<Manifest> {
    log.manifest().filter(|manifest| manifest.key() == log.key())
}

/// What is signed: a name of the purpose, so that no other signature can pass for a statement.
fn signable(body: &[u8]) -> Vec<u8> {
    [&Blake2b::<U32>::digest(b"multibee/1 statement")[..], body].concat()
}

fn key(bytes: &[u8]) -> Result<LogKey, StatementError> {
    LogKey::try_from(bytes).map_err(|_| StatementError::KeyLength { len: bytes.len() })
}

fn key_bytes(key: &LogKey) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

fn extent_record(key: &LogKey, extent: Extent) -> ExtentRecord {
    let tag = extent.tag.map(u64::from_le_bytes);
    ExtentRecord { key: key_bytes(key), length: extent.length, tag }
}

fn extent(record: &ExtentRecord) -> Extent {
    Extent { length: record.length, tag: record.tag.map(u64::to_le_bytes) }
}

#[cfg(test)]
pub(crate) mod tests {
    use multibee_log::{KeyPair, LogOptions, MemoryStorage};

    use super::*;

    pub(crate) fn log(seed: u8) -> Log {
        let keys = KeyPair::from_seed([seed; 32]);
        Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap()
    }

    fn claims() -> Vec<Claim> {
        let key = log(2).key();
        let applied = Extent { length: 9, tag: Some([1; 8]) };
        vec![
            Claim::Add { key, name: Some("phone".into()) },
            Claim::Remove { key, applied },
            Claim::Applied { key, applied: Extent { length: 0, tag: None } },
            Claim::Source { key, name: Some("notes".into()) },
            Claim::SourceEnd { key },
        ]
    }

    /// What one device signs, another one reads, with the same meaning and the same name.
    #[test]
    fn statements_round_trip() {
        for claim in claims() {
            let made = Statement::sign(&log(1), Time::from_millis(5), claim).unwrap();
            let read = Statement::verify(made.signed.clone()).unwrap();
            assert_eq!((read.hash(), &read), (made.hash(), &made));
        }
    }

    /// No bit of a statement can be changed on the way.
    #[test]
    fn every_flipped_bit_is_noticed() {
        for claim in claims() {
            let made = Statement::sign(&log(1), Time::from_millis(5), claim).unwrap();
            for bit in 0..made.signed.len() * 8 {
                let mut forged = made.signed.to_vec();
                forged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = Statement::verify(forged.into()) {
                    assert_eq!((read.author, read.claim), (made.author, made.claim.clone()));
                }
            }
        }
    }

    /// A statement in another's name is refused, whoever signs it.
    #[test]
    fn nobody_signs_for_another() {
        let body = Body {
            author: key_bytes(&log(1).key()),
            manifest: own_manifest(&log(2)).map(|manifest| manifest.encode().into()),
            ..Body::default()
        };
        let body = Bytes::from(body.encode_to_vec());
        let signature = Bytes::copy_from_slice(&log(2).sign(&signable(&body)).unwrap());
        let signed = SignedRecord { body, signature }.encode_to_vec();
        assert!(matches!(Statement::verify(signed.into()), Err(StatementError::Manifest)));
    }
}
