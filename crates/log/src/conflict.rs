//! The proof that a writer signed two histories (docs/spec/log.md section 7.4). Pure.
//!
//! ```text
//! 01, key[32], uint fork, uint length, byte has manifest (0|1), [manifest],
//! ours, theirs: array node, array node, buf signature
//! ```
//!
//! The two lists of nodes are those that lead from nothing to `length`, and from there to the length
//! that is signed.

use bytes::Bytes;

use crate::{
    compact::{Reader, put_buffer, put_uint},
    error::{DecodeError, Error, Result},
    keys::LogKey,
    limits::CONFLICT_LEN_MAX,
    manifest::Manifest,
    node::{put_nodes, read_nodes},
    proof::{Proof, ProofUpgrade},
    verify::SignedHead,
};

/// Two signed heads of one log and fork that are not of one history.
///
/// Anyone who knows the log's key can [`verify`](Self::verify) that its writer signed both: the
/// keys were used in two places, or are in the wrong hands. One made by a log, or kept by it, is
/// verified; one that was decoded is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    key: LogKey,
    fork: u64,
    length: u64,
    ours: Proof,
    theirs: Proof,
}

impl Conflict {
    /// Combines two proofs for the same length of `key`'s log, both from the start.
    pub(crate) fn new(
        key: LogKey,
        fork: u64,
        length: u64,
        ours: ProofUpgrade,
        theirs: ProofUpgrade,
        manifest: Option<Manifest>,
    ) -> Self {
        let whole = |upgrade, manifest| Proof {
            fork,
            upgrade: Some(ProofUpgrade { start: 0, length, ..upgrade }),
            manifest,
            ..Proof::default()
        };
        let (ours, theirs) = (whole(ours, manifest.clone()), whole(theirs, manifest));
        Self { key, fork, length, ours, theirs }
    }

    /// The log's key.
    #[must_use]
    pub const fn key(&self) -> &LogKey {
        &self.key
    }

    /// The fork for which both heads are signed.
    #[must_use]
    pub const fn fork(&self) -> u64 {
        self.fork
    }

    /// The length in blocks at which the two histories are different already.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The head that the log which found the conflict held, proven from the start. To be sent to
    /// peers, who may hold the other one.
    #[must_use]
    pub const fn ours(&self) -> &Proof {
        &self.ours
    }

    /// The head that a peer showed, proven from the start.
    #[must_use]
    pub const fn theirs(&self) -> &Proof {
        &self.theirs
    }

    /// Checks that both heads are validly signed and that no log can have had both. `manifest` is
    /// the log's, if it is known; otherwise the proofs' is taken.
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] and [`Error::BadSignature`], for which whoever made this is to blame.
    pub fn verify(&self, manifest: Option<&Manifest>) -> Result<()> {
        if manifest.is_some_and(|it| !it.is_compat(&self.key) && it.key() != self.key) {
            return Err(bad("the manifest of another log"));
        }
        let ours = SignedHead::of(&self.key, manifest, &self.ours)?;
        let theirs = SignedHead::of(&self.key, manifest, &self.theirs)?;
        if !are_apart(&ours, &theirs) {
            return Err(bad("two heads of one history"));
        }
        Ok(())
    }

    /// Returns the conflict in the form that [`decode`](Self::decode) takes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.key.as_bytes());
        put_uint(&mut out, self.fork);
        put_uint(&mut out, self.length);
        out.push(self.ours.manifest.is_some().into());
        if let Some(manifest) = &self.ours.manifest {
            manifest.put(&mut out);
        }
        for upgrade in [&self.ours, &self.theirs].into_iter().filter_map(|it| it.upgrade.as_ref()) {
            put_nodes(&mut out, &upgrade.nodes);
            put_nodes(&mut out, &upgrade.additional_nodes);
            put_buffer(&mut out, &upgrade.signature);
        }
        out
    }

    /// Reads a conflict that is all of `bytes`. To be [verified](Self::verify).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is cut, goes on, is too long, or was made by a newer program.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > CONFLICT_LEN_MAX {
            let limit = CONFLICT_LEN_MAX as u64;
            return Err(DecodeError::TooLarge { value: bytes.len() as u64, limit });
        }
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            VERSION => {}
            version => return Err(DecodeError::UnsupportedVersion { version: version.into() }),
        }
        let key = LogKey::from_bytes(reader.fixed()?);
        let (fork, length) = (reader.uint()?, reader.uint()?);
        let manifest = match reader.byte()? {
            0 => None,
            1 => Some(Manifest::read(&mut reader)?),
            value => return Err(DecodeError::Unknown { what: "bool", value: value.into() }),
        };
        let (ours, theirs) = (read_upgrade(&mut reader)?, read_upgrade(&mut reader)?);
        reader.finish()?;
        let conflict = Self::new(key, fork, length, ours, theirs, manifest);
        if conflict.encode() != bytes {
            return Err(DecodeError::Invalid { what: "longer form of a number" });
        }
        Ok(conflict)
    }
}

fn read_upgrade(reader: &mut Reader<'_>) -> Result<ProofUpgrade, DecodeError> {
    Ok(ProofUpgrade {
        start: 0,
        length: 0,
        nodes: read_nodes(reader)?,
        additional_nodes: read_nodes(reader)?,
        signature: Bytes::copy_from_slice(reader.buffer()?),
    })
}

/// Whether two signed heads, proven for the same length and fork, are of two histories.
///
/// Only what is proven counts. Where a head goes on beyond that length, a peer can move bytes from
/// one root to the node after it without a trace; that must not look like the writer's doing.
fn are_apart(ours: &SignedHead, theirs: &SignedHead) -> bool {
    let (a, b) = (ours.asked.nodes(), theirs.asked.nodes());
    if a.iter().map(|root| root.hash).ne(b.iter().map(|root| root.hash)) {
        return true;
    }
    let are_proven = ours.asked == ours.roots && theirs.asked == theirs.roots;
    are_proven && a != b
}

fn bad(what: &'static str) -> Error {
    Error::BadProof { index: u64::MAX, what }
}

/// The version of the encoding.
pub(crate) const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
