//! Finding out exactly how far the two histories of a conflict are the same.

use crate::conflict::Conflict;
use crate::error::{Error, Result};
use crate::fork_point::ForkPoint;
use crate::log::Log;
use crate::proof::Proof;
use crate::request::Request;
use crate::verify::SignedHead;

/// A search for the last block that a log shares with the other history of its [`Conflict`].
///
/// Ask [`request`](Self::request) of a peer with the other history, [`add`](Self::add) the answer,
/// and so on until there is nothing to ask: at most once for each level of the tree. The outcome is
/// for [`Log::apply_divergence`]. Keeps the log open.
#[derive(Debug)]
pub struct Divergence {
    log: Log,
    conflict: Conflict,
    search: ForkPoint,
    /// What is shared with the history that is not searched: all, mostly, since it is the log's.
    shared_len_max: u64,
}

impl Log {
    /// Begins to search for the block up to which both histories of the log's
    /// [conflict](Self::conflict) are the same. `None` if there is no conflict.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn start_divergence(&self) -> Result<Option<Divergence>> {
        let conflict = self.conflict();
        conflict.map(|conflict| Divergence::new(self, conflict)).transpose()
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
            self.shared.keep_conflict(&mut writer, &divergence)?;
        }
        Ok(self.trusted_len())
    }
}

impl Divergence {
    /// The log is at least as long as the length of the conflict, which was verified.
    pub(crate) fn new(log: &Log, conflict: Conflict) -> Result<Self> {
        let manifest = log.shared.state().manifest.clone();
        let length = conflict.length();
        let source = log.shared.tree.at(length);
        let search = |proof: &Proof| {
            let head = SignedHead::of(&log.shared.key, manifest.as_deref(), proof)?;
            ForkPoint::new(&source, length, &head, proof, &head.asked)
        };
        let (ours, theirs) = (search(conflict.ours())?, search(conflict.theirs())?);
        let is_ours = ours.shared_len() < theirs.shared_len();
        let (search, other) = if is_ours { (ours, theirs) } else { (theirs, ours) };
        // Signed sizes alone may differ, which is no trustworthy beginning at all.
        let is_apart = search.shared_len() < length;
        let shared_len_max = if is_apart { other.shared_len() } else { 0 };
        Ok(Self { log: log.clone(), conflict, search, shared_len_max })
    }

    pub(crate) const fn conflict(&self) -> &Conflict {
        &self.conflict
    }

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
        self.search.shared_len().min(self.shared_len_max)
    }
}
