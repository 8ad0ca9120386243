//! The manifest: who may sign a log (docs/spec/log.md section 1.3).

use crate::{
    compact::{Reader, put_buffer, put_uint},
    error::DecodeError,
    hash,
    keys::{Hash, LogKey},
};

/// Who may sign a log, and how many of them must. Its hash is the log's key.
///
/// Versions 0 to 3 are understood; versions 2 and 3 are made by Hypercore 11 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    version: u8,
    allow_patch: bool,
    quorum: u64,
    signers: Vec<Signer>,
    prologue: Option<Prologue>,
    linked: Option<Vec<[u8; 32]>>,
    user_data: Option<Vec<u8>>,
}

/// One who may sign a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Sets logs of one key pair apart. Part of what is signed in version 0, of the key after it.
    pub namespace: [u8; 32],
    /// The Ed25519 public key.
    pub public_key: [u8; 32],
}

/// A beginning of the log that the manifest itself vouches for, without a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prologue {
    /// The tree hash at `length`.
    pub hash: Hash,
    /// Length in blocks.
    pub length: u64,
}

impl Manifest {
    /// The manifest that Node peers give a log of one signer: version 1, the default namespace.
    #[must_use]
    pub fn single(public_key: [u8; 32]) -> Self {
        Self::new(vec![Signer { namespace: hash::DEFAULT_NAMESPACE, public_key }], 1)
    }

    /// A manifest of version 1: `quorum` of these signers must sign, all the same length.
    #[must_use]
    pub const fn new(signers: Vec<Signer>, quorum: u64) -> Self {
        Self {
            version: 1,
            allow_patch: false,
            quorum,
            signers,
            prologue: None,
            linked: None,
            user_data: None,
        }
    }

    /// The manifest that headers from before there were manifests stand for.
    pub(crate) fn single_version_0(public_key: [u8; 32]) -> Self {
        Self { version: 0, ..Self::single(public_key) }
    }

    /// The format's version, 0 to 3.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Whether a signer may sign a longer tree than the one agreed on.
    #[must_use]
    pub const fn allow_patch(&self) -> bool {
        self.allow_patch
    }

    /// How many signers must sign.
    #[must_use]
    pub const fn quorum(&self) -> u64 {
        self.quorum
    }

    /// Who may sign.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// The beginning that needs no signature.
    #[must_use]
    pub const fn prologue(&self) -> Option<&Prologue> {
        self.prologue.as_ref()
    }

    /// Keys of other logs that belong to this one (version 2 and up).
    #[must_use]
    pub fn linked(&self) -> Option<&[[u8; 32]]> {
        self.linked.as_deref()
    }

    /// Bytes of the creator's choice (version 2 and up).
    #[must_use]
    pub fn user_data(&self) -> Option<&[u8]> {
        self.user_data.as_deref()
    }

    /// The key of the log that has this manifest, unless it is a [compat](Self::is_compat) one.
    #[must_use]
    pub fn key(&self) -> LogKey {
        LogKey::from_bytes(hash::manifest(&self.encode()))
    }

    /// Whether the owner of this public key may sign without others.
    pub(crate) fn lets_sign_alone(&self, public_key: &[u8; 32]) -> bool {
        self.quorum == 1 && self.signers.iter().any(|signer| signer.public_key == *public_key)
    }

    /// Whether `key` is the public key of the only signer instead of the manifest's hash.
    #[must_use]
    pub fn is_compat(&self, key: &LogKey) -> bool {
        matches!(self.signers.as_slice(), [only] if only.public_key == *key.as_bytes())
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Growing step by step would take up to three times as much.
        let lists = SIGNER_LEN * self.signers.len() + 32 * self.linked.as_ref().map_or(0, Vec::len);
        let user_data = self.user_data.as_ref().map_or(0, Vec::len);
        let mut out = Vec::with_capacity(70 + lists + user_data);
        self.put(&mut out);
        out
    }

    /// Reads a manifest that is all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is cut, goes on, or has a version or flag that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let manifest = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(manifest)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.version.into());
        if self.version == 0 {
            return self.put_version_0(out);
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.allow_patch, ALLOW_PATCH)
                | flag(self.prologue.is_some(), PROLOGUE)
                | flag(self.linked.is_some(), LINKED)
                | flag(self.user_data.is_some(), USER_DATA),
        );
        out.push(BLAKE2B);
        put_uint(out, self.quorum);
        put_signers(out, &self.signers);
        if let Some(prologue) = &self.prologue {
            out.extend_from_slice(prologue.hash.as_bytes());
            put_uint(out, prologue.length);
        }
        if let Some(linked) = &self.linked {
            put_uint(out, linked.len() as u64);
            linked.iter().for_each(|key| out.extend_from_slice(key));
        }
        if let Some(user_data) = &self.user_data {
            put_buffer(out, user_data);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.uint()?;
        let known = match version {
            0 => return Self::read_version_0(reader),
            1 => ALLOW_PATCH | PROLOGUE,
            2 | 3 => ALLOW_PATCH | PROLOGUE | LINKED | USER_DATA,
            value => return Err(DecodeError::Unknown { what: "manifest version", value }),
        };
        let flags = reader.byte()?;
        if flags & !known != 0 {
            return Err(DecodeError::Unknown {
                what: "set of manifest flags",
                value: flags.into(),
            });
        }
        expect_byte(reader, BLAKE2B, "hash function")?;
        Ok(Self {
            version: version as u8, // 1 to 3, see above.
            allow_patch: flags & ALLOW_PATCH != 0,
            quorum: reader.uint()?,
            signers: read_signers(reader)?,
            prologue: read_if(flags & PROLOGUE, reader, |reader| {
                Ok(Prologue { hash: Hash::from_bytes(reader.fixed()?), length: reader.uint()? })
            })?,
            linked: read_if(flags & LINKED, reader, |reader| reader.array(32, Reader::fixed))?,
            user_data: read_if(flags & USER_DATA, reader, |reader| Ok(reader.buffer()?.to_vec()))?,
        })
    }

    fn put_version_0(&self, out: &mut Vec<u8>) {
        out.push(BLAKE2B);
        match (&self.prologue, self.signers.as_slice()) {
            (Some(prologue), []) => {
                out.push(VERSION_0_PROLOGUE);
                out.extend_from_slice(prologue.hash.as_bytes());
            }
            (None, [signer]) if self.quorum == 1 && !self.allow_patch => {
                out.push(VERSION_0_ONE);
                signer.put(out);
            }
            (_, signers) => {
                out.push(VERSION_0_MANY);
                out.push(self.allow_patch.into());
                put_uint(out, self.quorum);
                put_signers(out, signers);
            }
        }
    }

    fn read_version_0(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_byte(reader, BLAKE2B, "hash function")?;
        let mut manifest = Self {
            version: 0,
            allow_patch: false,
            quorum: 0,
            signers: Vec::new(),
            prologue: None,
            linked: None,
            user_data: None,
        };
        match reader.byte()? {
            VERSION_0_PROLOGUE => {
                let hash = Hash::from_bytes(reader.fixed()?);
                manifest.prologue = Some(Prologue { hash, length: 0 });
            }
            VERSION_0_ONE => {
                manifest.quorum = 1;
                manifest.signers = vec![Signer::read(reader)?];
            }
            VERSION_0_MANY => {
                manifest.allow_patch = match reader.byte()? {
                    bit @ (0 | 1) => bit == 1,
                    other => {
                        return Err(DecodeError::Unknown { what: "bool", value: other.into() });
                    }
                };
                manifest.quorum = reader.uint()?;
                manifest.signers = read_signers(reader)?;
            }
            other => {
                return Err(DecodeError::Unknown { what: "manifest type", value: other.into() });
            }
        }
        Ok(manifest)
    }
}

impl Signer {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(ED25519);
        out.extend_from_slice(&self.namespace);
        out.extend_from_slice(&self.public_key);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_byte(reader, ED25519, "signature scheme")?;
        Ok(Self { namespace: reader.fixed()?, public_key: reader.fixed()? })
    }
}

fn put_signers(out: &mut Vec<u8>, signers: &[Signer]) {
    put_uint(out, signers.len() as u64);
    signers.iter().for_each(|signer| signer.put(out));
}

fn read_signers(reader: &mut Reader<'_>) -> Result<Vec<Signer>, DecodeError> {
    reader.array(SIGNER_LEN, Signer::read)
}

fn read_if<T>(
    flag: u8,
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if flag == 0 { Ok(None) } else { read(reader).map(Some) }
}

fn expect_byte(reader: &mut Reader<'_>, only: u8, what: &'static str) -> Result<(), DecodeError> {
    match reader.byte()? {
        byte if byte == only => Ok(()),
        other => Err(DecodeError::Unknown { what, value: other.into() }),
    }
}

const ALLOW_PATCH: u8 = 1;
const PROLOGUE: u8 = 2;
const LINKED: u8 = 4;
const USER_DATA: u8 = 8;

const BLAKE2B: u8 = 0;
const ED25519: u8 = 0;

const VERSION_0_PROLOGUE: u8 = 0;
const VERSION_0_ONE: u8 = 1;
const VERSION_0_MANY: u8 = 2;

/// Scheme, namespace, public key.
const SIGNER_LEN: usize = 65;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn signer() -> impl Strategy<Value = Signer> {
        any::<([u8; 32], [u8; 32])>()
            .prop_map(|(namespace, public_key)| Signer { namespace, public_key })
    }

    fn prologue() -> impl Strategy<Value = Prologue> {
        (any::<[u8; 32]>(), 0..1_u64 << 53)
            .prop_map(|(hash, length)| Prologue { hash: Hash::from_bytes(hash), length })
    }

    /// Any manifest that can be written without loss.
    pub(crate) fn manifest() -> impl Strategy<Value = Manifest> {
        (
            0..4_u8,
            any::<bool>(),
            0..300_u64,
            vec(signer(), 0..4),
            option::of(prologue()),
            option::of(vec(any::<[u8; 32]>(), 0..3)),
            option::of(vec(any::<u8>(), 0..40)),
        )
            .prop_map(
                |(version, allow_patch, quorum, signers, prologue, linked, user_data)| {
                    let late = version >= 2;
                    Manifest {
                        version,
                        allow_patch,
                        quorum,
                        signers,
                        prologue: prologue.filter(|_| version >= 1),
                        linked: linked.filter(|_| late),
                        user_data: user_data.filter(|_| late),
                    }
                },
            )
    }

    proptest! {
        /// Every manifest survives, and no proper beginning of its bytes is one.
        #[test]
        fn manifests_survive(manifest in manifest()) {
            let encoded = manifest.encode();
            prop_assert_eq!(&Manifest::decode(&encoded)?, &manifest);
            for len in 0..encoded.len() {
                prop_assert!(Manifest::decode(&encoded[..len]).is_err());
            }
        }

        /// No bytes make the decoder panic, and what it takes has one canonical form.
        #[test]
        fn garbage_is_safe(version in 0..5_u8, rest in vec(0..4_u8, 0..90)) {
            let mut bytes = vec![version];
            bytes.extend_from_slice(&rest);
            if let Ok(manifest) = Manifest::decode(&bytes) {
                prop_assert_eq!(Manifest::decode(&manifest.encode())?, manifest);
            }
        }
    }
}
