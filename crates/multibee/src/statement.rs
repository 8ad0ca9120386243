//! Signed statements about devices: who was added, who was removed, and how far, which log goes on for
//! which; and about sources.
//!
//! Statements form a set that only grows. Each is signed with its author's log key, so that any
//! device can pass it on and none can alter it.

#[cfg(test)]
pub(crate) mod tests;

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use bytes::Bytes;
use multibee_log::LogKey;
use multibee_merge::{DeviceId, Time};
use prost::Message;

use crate::DeviceRole;
use crate::author::{Author, signer};

/// One statement, its signature checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) author: LogKey,
    pub(crate) time: Time,
    pub(crate) claim: Claim,
    /// The statement as signed, to store and to pass on.
    pub(crate) signed: Bytes,
    /// BLAKE2b-256 of the signed bytes: names the statement in the set.
    hash: [u8; 32],
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A device is a member, perhaps under a name.
    Add { key: LogKey, name: Option<String>, role: DeviceRole },
    /// A device is one no longer; its log counts up to what the author had applied.
    Remove { key: LogKey, applied: Extent, why: Leaving },
    /// The author's log is finished, with this end if known, and a fresh log goes on for it.
    Succeed { key: LogKey, end: Option<Extent>, consent: Consent },
    /// How far the author had applied the log of a removed device.
    Applied { key: LogKey, applied: Extent },
    /// A plain Hyperbee is taken in, perhaps under a name.
    Source { key: LogKey, name: Option<String> },
    /// A plain Hyperbee is taken in no longer.
    SourceEnd { key: LogKey },
    /// From now on a device has this name.
    Name { key: LogKey, name: String },
    /// Whoever holds the recovery secret behind this key may admit and remove devices.
    Recovery { key: LogKey, consent: Consent },
    /// A log was written twice: what it has in one of its histories from a block on is another
    /// device's. The history is the one that has this block.
    Branch { key: LogKey, branch: Branch },
    /// Something that only newer programs understand: kept and passed on.
    Unknown,
}

impl Claim {
    /// The log that it is about.
    pub(crate) const fn key(&self) -> Option<LogKey> {
        match self {
            Self::Add { key, .. }
            | Self::Remove { key, .. }
            | Self::Succeed { key, .. }
            | Self::Applied { key, .. }
            | Self::Source { key, .. }
            | Self::SourceEnd { key }
            | Self::Name { key, .. }
            | Self::Recovery { key, .. }
            | Self::Branch { key, .. } => Some(*key),
            Self::Unknown => None,
        }
    }
}

/// One of the histories of a log that was written twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Branch {
    /// End of the last own commit that is the same in another history.
    pub(crate) from: u64,
    /// Last block of the first own commit behind that.
    pub(crate) last: u64,
    /// That block's hash.
    pub(crate) hash: [u8; 32],
}

impl Branch {
    /// The id under which the writes behind `from` are known.
    pub(crate) fn device(&self, log: &LogKey) -> DeviceId {
        DeviceId::of_branch(log.as_bytes(), &self.hash)
    }
}

/// Why a device is a member no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It was thrown out, and with it whatever goes on for it.
    Removed,
    /// It has stayed away too long to be waited for. When it returns, a fresh log may go on for it.
    Absent,
}

/// That a key is what somebody else says it is, signed with that key: nobody is made an heir unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consent {
    manifest: Option<Bytes>,
    signature: [u8; 64],
}

impl Consent {
    /// That `subject` is what `author` says; `None` if its secret is not here.
    fn of(subject: &impl Author, purpose: Purpose, author: &LogKey) -> Option<Self> {
        let manifest = subject.manifest().map(|manifest| manifest.encode().into());
        Some(Self { manifest, signature: subject.sign(&purpose.signable(author))? })
    }

    fn check(
        &self,
        subject: &LogKey,
        purpose: Purpose,
        author: &LogKey,
    ) -> Result<(), StatementError> {
        let public_key = signer(subject, self.manifest.as_deref())?;
        if multibee_log::verify(&public_key, &purpose.signable(author), &self.signature) {
            Ok(())
        } else {
            Err(StatementError::Consent)
        }
    }
}

/// What a key consents to be.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// What goes on for the author's log.
    Successor,
    /// A recovery secret of the author's database.
    Recovery,
}

impl Purpose {
    fn signable(self, author: &LogKey) -> Vec<u8> {
        let purpose: &[u8] = match self {
            Self::Successor => b"multibee/1 successor",
            Self::Recovery => b"multibee/1 recovery",
        };
        [&Blake2b::<U32>::digest(purpose)[..], author.as_bytes()].concat()
    }
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
    #[error("the key that a statement names has not consented")]
    Consent,
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
    /// A fresh log goes on for the author's.
    #[prost(message, optional, tag = "6")]
    succeed: Option<ConsentRecord>,
    #[prost(message, optional, tag = "7")]
    applied: Option<ExtentRecord>,
    #[prost(message, optional, tag = "8")]
    source: Option<AddRecord>,
    /// Key of a source that ends.
    #[prost(bytes = "bytes", optional, tag = "9")]
    source_end: Option<Bytes>,
    #[prost(message, optional, tag = "10")]
    name: Option<AddRecord>,
    #[prost(message, optional, tag = "11")]
    recovery: Option<ConsentRecord>,
    #[prost(message, optional, tag = "12")]
    branch: Option<BranchRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct BranchRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(uint64, required, tag = "2")]
    from: u64,
    #[prost(uint64, required, tag = "3")]
    last: u64,
    #[prost(bytes = "bytes", required, tag = "4")]
    hash: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct AddRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    /// 1 read-only, 2 mirror; otherwise it may do all.
    #[prost(uint32, optional, tag = "3")]
    role: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ConsentRecord {
    /// The fresh log, or that of the recovery secret.
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    /// Where the author's log ended, if it did and that is known.
    #[prost(uint64, optional, tag = "2")]
    length: Option<u64>,
    #[prost(fixed64, optional, tag = "3")]
    tag: Option<u64>,
    /// Manifest of that log; absent where the log's key is the public key itself.
    #[prost(bytes = "bytes", optional, tag = "4")]
    manifest: Option<Bytes>,
    /// That key's own signature.
    #[prost(bytes = "bytes", required, tag = "5")]
    consent: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ExtentRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(uint64, required, tag = "2")]
    length: u64,
    #[prost(fixed64, optional, tag = "3")]
    tag: Option<u64>,
    /// Of a removal: the device has only stayed away.
    #[prost(bool, optional, tag = "4")]
    absent: Option<bool>,
}

impl Statement {
    /// Signs a claim with the author's key; `None` if its secret is not here.
    pub(crate) fn sign(author: &impl Author, time: Time, claim: Claim) -> Option<Self> {
        let mut body = body(&claim);
        body.author = key_bytes(&author.key());
        body.manifest = author.manifest().map(|manifest| manifest.encode().into());
        body.time = time.as_u64();
        let body = Bytes::from(body.encode_to_vec());
        let signature = author.sign(&signable(&body))?;
        let signature = Bytes::copy_from_slice(&signature);
        let signed = Bytes::from(SignedRecord { body, signature }.encode_to_vec());
        let hash = hash_of(&signed);
        Some(Self { author: author.key(), time, claim, signed, hash })
    }

    /// Says that `heir` goes on for `old`, which is finished, and had this end if that is known.
    pub(crate) fn succeed(
        old: &impl Author,
        heir: &impl Author,
        end: Option<Extent>,
        time: Time,
    ) -> Option<Self> {
        let consent = Consent::of(heir, Purpose::Successor, &old.key())?;
        Self::sign(old, time, Claim::Succeed { key: heir.key(), end, consent })
    }

    /// Says that whoever holds a recovery secret may admit and remove devices.
    pub(crate) fn recovery(author: &impl Author, secret: &impl Author, time: Time) -> Option<Self> {
        let consent = Consent::of(secret, Purpose::Recovery, &author.key())?;
        Self::sign(author, time, Claim::Recovery { key: secret.key(), consent })
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
        match &claim {
            Claim::Succeed { key, consent, .. } => {
                consent.check(key, Purpose::Successor, &author)?;
            }
            Claim::Recovery { key, consent } => consent.check(key, Purpose::Recovery, &author)?,
            _ => {}
        }
        let hash = hash_of(&signed);
        Ok(Self { author, time: Time::from_u64(body.time), claim, signed, hash })
    }

    /// Reads a statement out of this device's own tree, where it stands under its hash: what it says
    /// was checked before it was written there, and the tree's blocks are signed by this device.
    ///
    /// # Errors
    ///
    /// [`StatementError`]: the disk is at fault.
    pub(crate) fn kept(signed: Bytes, hash: [u8; 32]) -> Result<Self, StatementError> {
        let record = SignedRecord::decode(signed.clone())?;
        let body = Body::decode(record.body)?;
        let (author, claim) = (key(&body.author)?, claim(&body)?);
        Ok(Self { author, time: Time::from_u64(body.time), claim, signed, hash })
    }

    /// Names the statement in the set.
    pub(crate) const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

fn hash_of(signed: &Bytes) -> [u8; 32] {
    Blake2b::<U32>::digest(signed).into()
}

/// What a claim is in a body, which lacks all else.
fn body(claim: &Claim) -> Body {
    let mut body = Body::default();
    match claim {
        Claim::Add { key, name, role } => {
            let (key, role) = (key_bytes(key), role.number());
            body.add = Some(AddRecord { key, name: name.clone(), role });
        }
        Claim::Remove { key, applied, why } => {
            let absent = (*why == Leaving::Absent).then_some(true);
            body.remove = Some(ExtentRecord { absent, ..extent_record(key, *applied) });
        }
        Claim::Succeed { key, end, consent } => {
            body.succeed = Some(consent_record(key, *end, consent));
        }
        Claim::Applied { key, applied } => body.applied = Some(extent_record(key, *applied)),
        Claim::Source { key, name } => body.source = Some(named(key, name.clone())),
        Claim::SourceEnd { key } => body.source_end = Some(key_bytes(key)),
        Claim::Name { key, name } => body.name = Some(named(key, Some(name.clone()))),
        Claim::Recovery { key, consent } => {
            body.recovery = Some(consent_record(key, None, consent));
        }
        Claim::Branch { key, branch } => {
            body.branch = Some(BranchRecord {
                key: key_bytes(key),
                from: branch.from,
                last: branch.last,
                hash: Bytes::copy_from_slice(&branch.hash),
            });
        }
        Claim::Unknown => {}
    }
    body
}

fn claim(body: &Body) -> Result<Claim, StatementError> {
    if let Some(add) = &body.add {
        let role = DeviceRole::of_number(add.role);
        return Ok(Claim::Add { key: key(&add.key)?, name: add.name.clone(), role });
    }
    if let Some(remove) = &body.remove {
        let is_absent = remove.absent.unwrap_or_default();
        let why = if is_absent { Leaving::Absent } else { Leaving::Removed };
        return Ok(Claim::Remove { key: key(&remove.key)?, applied: extent(remove), why });
    }
    if let Some(succeed) = &body.succeed {
        let tag = succeed.tag.map(u64::to_le_bytes);
        let end = succeed.length.map(|length| Extent { length, tag });
        return Ok(Claim::Succeed { key: key(&succeed.key)?, end, consent: consent(succeed)? });
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
    if let Some(named) = &body.name {
        let name = named.name.clone().unwrap_or_default();
        return Ok(Claim::Name { key: key(&named.key)?, name });
    }
    if let Some(recovery) = &body.recovery {
        return Ok(Claim::Recovery { key: key(&recovery.key)?, consent: consent(recovery)? });
    }
    if let Some(record) = &body.branch {
        let hash = record.hash[..].try_into();
        let hash = hash.map_err(|_| StatementError::KeyLength { len: record.hash.len() })?;
        let branch = Branch { from: record.from, last: record.last, hash };
        return Ok(Claim::Branch { key: key(&record.key)?, branch });
    }
    Ok(Claim::Unknown)
}

fn consent(record: &ConsentRecord) -> Result<Consent, StatementError> {
    let signature = record.consent[..].try_into().map_err(|_| StatementError::Consent)?;
    Ok(Consent { manifest: record.manifest.clone(), signature })
}

fn consent_record(key: &LogKey, end: Option<Extent>, consent: &Consent) -> ConsentRecord {
    ConsentRecord {
        key: key_bytes(key),
        length: end.map(|end| end.length),
        tag: end.and_then(|end| end.tag).map(u64::from_le_bytes),
        manifest: consent.manifest.clone(),
        consent: Bytes::copy_from_slice(&consent.signature),
    }
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

fn named(key: &LogKey, name: Option<String>) -> AddRecord {
    AddRecord { key: key_bytes(key), name, role: None }
}

fn extent_record(key: &LogKey, extent: Extent) -> ExtentRecord {
    let tag = extent.tag.map(u64::from_le_bytes);
    ExtentRecord { key: key_bytes(key), length: extent.length, tag, absent: None }
}

fn extent(record: &ExtentRecord) -> Extent {
    Extent { length: record.length, tag: record.tag.map(u64::to_le_bytes) }
}
