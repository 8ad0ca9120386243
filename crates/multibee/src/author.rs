//! Who signs: a log, or a key pair that stands for one.

use multibee_log::{KeyPair, Log, LogKey, Manifest};

use crate::statement::StatementError;

/// Somebody with a log key and the secret behind it.
pub(crate) trait Author {
    /// The log key by which others know the author.
    fn key(&self) -> LogKey;
    /// The manifest to hand along with a signature, unless the key says it all.
    fn manifest(&self) -> Option<Manifest>;
    /// Signs; `None` if the secret is not here.
    fn sign(&self, message: &[u8]) -> Option<[u8; 64]>;
}

impl Author for Log {
    fn key(&self) -> LogKey {
        Self::key(self)
    }

    fn manifest(&self) -> Option<Manifest> {
        Self::manifest(self).filter(|manifest| manifest.key() == Self::key(self))
    }

    fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        Self::sign(self, message)
    }
}

/// A key pair signs for the log that a new database with this pair would have.
impl Author for KeyPair {
    fn key(&self) -> LogKey {
        Manifest::single(self.public_key()).key()
    }

    fn manifest(&self) -> Option<Manifest> {
        Some(Manifest::single(self.public_key()))
    }

    fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        Some(Self::sign(self, message))
    }
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

#[cfg(test)]
mod tests {
    use multibee_log::{LogOptions, MemoryStorage};

    use super::*;

    /// A key pair is known by the key of the log that is made with it, and signs as that log does.
    #[test]
    fn a_key_pair_stands_for_its_log() {
        let keys = KeyPair::from_seed([3; 32]);
        let options = LogOptions::default();
        let log = Log::create(MemoryStorage::default(), keys.clone(), options).unwrap();
        assert_eq!(Author::key(&keys), log.key());
        let manifest = Author::manifest(&keys).map(|manifest| manifest.encode());
        let public_key = signer(&log.key(), manifest.as_deref()).unwrap();
        let signature = Author::sign(&keys, b"so").unwrap();
        assert!(multibee_log::verify(&public_key, b"so", &signature));
    }
}
