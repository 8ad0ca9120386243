//! Finding out exactly how far the two histories of a conflict are the same.

use crate::conflict::Conflict;
use crate::error::{Error, Result};
use crate::fork_point::ForkPoint;
use crate::log::Log;
use crate::proof::Proof;
use crate::request::Request;
use crate::verify::SignedHead;

/// A search for the last block that both histories of a [`Conflict`] share.
///
/// Ask [`request`](Self::request) of a peer with the other history, [`add`](Self::add) the answer,
/// and so on until there is nothing to ask: at most once for each level of the tree. The outcome is
/// for [`Log::apply_divergence`]. Keeps the log open.
#[derive(Debug)]
pub struct Divergence {
    log: Log,
    conflict: Conflict,
    search: ForkPoint,
}

impl Log {
    /// Begins to search for the block up to which both histories of the log's
    /// [conflict](Self::conflict) are the same. `None` if there is no conflict.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn start_divergence(&self) -> Result<Option<Divergence>> {
        let (conflict, manifest) = {
            let state = self.shared.state();
            let Some(known) = &state.conflict else {
                return Ok(None);
            };
            (known.conflict.clone(), state.manifest.clone())
        };
        let (length, proof) = (conflict.length(), conflict.theirs());
        let head = SignedHead::of(&self.shared.key, manifest.as_deref(), proof)?;
        let source = self.shared.tree.at(length);
        let search = ForkPoint::new(&source, length, &head, proof, &head.asked)?;
        Ok(Some(Divergence { log: self.clone(), conflict, search }))
    }

    /// Takes over how many blocks a search has found to be common, also if it is not finished.
    /// Durable when it returns. Returns the new [`trusted_len`](Self::trusted_len).
    ///
    /// # Errors
    ///
    /// [`Error::Outdated`] if the search was for another conflict than the one that is known now,
    /// and as [`check_conflict`](Self::check_conflict).
    pub fn apply_divergence(&self, divergence: Divergence) -> Result<u64> {
        let mut writer = self.shared.writer()?;
        let known = self.shared.state().conflict.clone();
        let common_len = divergence.shared_len();
        let known = known.filter(|known| known.conflict == divergence.conflict);
        let known = known.ok_or(Error::Outdated { start: common_len, ours: self.len() })?;
        if common_len > known.common_len {
            self.shared.keep_conflict(&mut writer, divergence.conflict, common_len)?;
        }
        Ok(self.trusted_len())
    }
}

impl Divergence {
    /// Returns what to ask next; `None` when all is known that can be.
    pub fn request(&self) -> Option<Request> {
        self.search.request()
    }

    /// Takes the answer to [`request`](Self::request). If it is not valid, nothing changes.
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`]: the peer lies, or is not on the other history.
    /// [`Error::ForkMismatch`] blames nobody. [`Error::Io`].
    pub fn add(&mut self, proof: &Proof) -> Result<()> {
        let source = self.log.shared.tree.at(self.conflict.length());
        self.search.add(&source, proof)
    }

    /// Returns how many blocks are known to be the same so far.
    pub fn shared_len(&self) -> u64 {
        self.search.shared_len()
    }
}
