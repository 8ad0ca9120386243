//! Noticing that a log's writer signed two histories, and what follows from it.

use std::sync::Arc;

use crate::commit::Commit;
use crate::conflict::Conflict;
use crate::divergence::Divergence;
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::known_conflict::KnownConflict;
use crate::limits::{CONFLICT_LEN_MAX, CONFLICT_SIGNATURE_LEN_MAX};
use crate::log::{Log, Shared, Writer};
use crate::manifest::Manifest;
use crate::merkle::NodeSource;
use crate::proof::{Proof, ProofUpgrade};
use crate::prove::{ProvenHead, prove};
use crate::request::{Request, RequestUpgrade};
use crate::verify::SignedHead;

impl Log {
    /// Compares a head that a peer proves with the history held here. To be asked of a peer whose
    /// proof was refused: an upgrade from 0 to the shorter one's length, and nothing else.
    ///
    /// Returns the conflict if the log's writer signed both. It is on disk by then, and from then
    /// on this log takes no newer head and no reorg, and appends nothing; below
    /// [`trusted_len`](Self::trusted_len) blocks are still served and taken. `None`: both are of
    /// one history.
    ///
    /// ```
    /// use multibee_log::{
    ///     Conflict, Error, KeyPair, Log, LogOptions, MemoryStorage, Request, RequestUpgrade,
    /// };
    ///
    /// // Two logs with one key: what must never be, such as a copy that was written to.
    /// let log = || {
    ///     let keys = KeyPair::from_seed([7; 32]);
    ///     Log::create(MemoryStorage::new(), keys, LogOptions::default())
    /// };
    /// let (ours, theirs) = (log()?, log()?);
    /// ours.append(&["rain", "sun"])?;
    /// theirs.append(&["rain", "snow"])?;
    ///
    /// let length = ours.durable_len().min(theirs.durable_len());
    /// let upgrade = Some(RequestUpgrade { start: 0, length });
    /// let head = theirs.prove(&Request { upgrade, ..Request::default() })?;
    /// let conflict = ours.check_conflict(&head)?.expect("the second blocks differ");
    /// assert!(matches!(ours.append(&["hail"]), Err(Error::TwoHistories { length: 2 })));
    ///
    /// // Anyone can check it, from its bytes alone.
    /// Conflict::decode(&conflict.encode())?.verify(None)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] and [`Error::BadSignature`] blame the peer. [`Error::ForkMismatch`], and
    /// [`Error::Outdated`] if the proof is for a longer history, blame nobody.
    /// [`Error::NotAvailable`]: a sparse copy holds too little to tell, or to prove its own side;
    /// the last block below the length asked for, once fetched, brings all that it takes.
    /// [`Error::TwoHistories`]: there are two, but to prove it a head of that length is needed.
    /// [`Error::ReadOnly`], and as [`append`](Self::append).
    pub fn check_conflict(&self, proof: &Proof) -> Result<Option<Conflict>> {
        let mut writer = self.shared.writer()?;
        let conflict = self.shared.find_conflict(proof)?;
        if let Some(conflict) = &conflict {
            self.note_conflict(&mut writer, conflict)?;
        }
        Ok(conflict)
    }

    /// Takes over a conflict that somebody else has found, as if it had been found here.
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] and [`Error::BadSignature`] blame who made it. [`Error::ForkMismatch`],
    /// and [`Error::Outdated`] if this log is shorter than the conflict's length, blame nobody.
    /// [`Error::ReadOnly`], and as [`append`](Self::append).
    pub fn accept_conflict(&self, conflict: &Conflict) -> Result<()> {
        let mut writer = self.shared.writer()?;
        if *conflict.key() != self.shared.key {
            return Err(Error::BadProof { index: u64::MAX, what: "the conflict of another log" });
        }
        let (_, manifest) = self.shared.comparable(conflict.fork(), conflict.length())?;
        check_size(conflict)?;
        conflict.verify(manifest.as_deref())?;
        self.note_conflict(&mut writer, conflict)
    }

    /// Keeps a conflict, unless one is known that leaves no more to be trusted.
    fn note_conflict(&self, writer: &mut Writer, conflict: &Conflict) -> Result<()> {
        let known = self.shared.state().conflict.clone();
        if known.is_some_and(|known| conflict.length() > known.common_len) {
            return Ok(());
        }
        let divergence = Divergence::new(self, conflict.clone())?;
        self.shared.keep_conflict(writer, &divergence)
    }

    /// Returns the proof that the log's writer signed two histories, if one was ever found.
    pub fn conflict(&self) -> Option<Conflict> {
        self.shared.state().conflict.as_ref().map(|known| known.conflict.clone())
    }

    /// Returns how many blocks are not disputed: all, or if there is a
    /// [conflict](Self::conflict) those that are known to be the same in both histories. Tree nodes
    /// that are not held make it fewer than there are.
    pub fn trusted_len(&self) -> u64 {
        let state = self.shared.state();
        state.trusted_len().min(state.commit().length())
    }
}

impl Shared {
    fn find_conflict(&self, proof: &Proof) -> Result<Option<Conflict>> {
        let theirs = head_alone(proof)?;
        let (commit, manifest) = self.comparable(proof.fork, theirs.length)?;
        let (ours, length) = (commit.length(), theirs.length);
        let head = SignedHead::of(&self.key, manifest.as_deref(), proof)?;
        let source = self.tree.at(ours);
        if is_one_history(&source, ours, &head)? {
            return Ok(None);
        }
        let our_proof = self.prove_head(&source, &commit, length)?;
        let shown = manifest.as_deref().filter(|manifest| !manifest.is_compat(&self.key)).cloned();
        let theirs = theirs.clone();
        let conflict = Conflict::new(self.key, commit.fork, length, our_proof, theirs, shown);
        check_size(&conflict)?;
        // What is accused must hold anywhere.
        conflict.verify(manifest.as_deref())?;
        Ok(Some(conflict))
    }

    /// What is held, if a head for this fork and length can be compared with it.
    fn comparable(&self, fork: u64, length: u64) -> Result<(Arc<Commit>, Option<Arc<Manifest>>)> {
        let state = self.state();
        // What is not durable must not be shown to others, not even as evidence.
        let commit = &state.durable;
        if fork != commit.fork || fork != state.accepted.fork {
            return Err(Error::ForkMismatch { ours: state.accepted.fork, theirs: fork });
        }
        let ours = commit.length();
        if length > ours {
            return Err(Error::Outdated { start: 0, ours });
        }
        Ok((commit.clone(), state.manifest.clone()))
    }

    /// Stores a conflict, and how far its histories are the same, in place of what was known
    /// before.
    pub(crate) fn keep_conflict(
        &self,
        _writer: &mut Writer,
        divergence: &Divergence,
    ) -> Result<()> {
        let before = self.state().conflict.clone();
        let (conflict, common_len) = (divergence.conflict().clone(), divergence.shared_len());
        let known = KnownConflict::write(&self.disk, before.as_deref(), conflict, common_len)?;
        self.state_mut().conflict = Some(Arc::new(known));
        Ok(())
    }

    /// Proves the head to one who holds nothing and asks for `length` blocks.
    fn prove_head(
        &self,
        source: &dyn NodeSource,
        commit: &Commit,
        length: u64,
    ) -> Result<ProofUpgrade> {
        let head = ProvenHead {
            key: &self.key,
            manifest: None,
            length: commit.length(),
            fork: commit.fork,
            signature: &commit.signature,
        };
        let upgrade = Some(RequestUpgrade { start: 0, length });
        let request = Request { upgrade, ..Request::default() };
        let proof = prove(source, &head, &request, |_| Ok(None))?;
        proof.upgrade.ok_or(Error::NotAvailable { index: 0 })
    }

    /// Fails once the writer is known to have signed two histories.
    pub(crate) fn check_one_history(&self) -> Result<()> {
        match &self.state().conflict {
            Some(known) => Err(Error::TwoHistories { length: known.conflict.length() }),
            None => Ok(()),
        }
    }

    /// Fails if a proof brings what is disputed: once there is a conflict, a head, or a block
    /// beyond the common ones.
    pub(crate) fn check_undisputed(&self, proof: &Proof) -> Result<()> {
        let common_len = self.state().trusted_len();
        let is_common = |index: u64| index < common_len;
        if proof.upgrade.is_none() && proof.block.as_ref().is_none_or(|it| is_common(it.index)) {
            return Ok(());
        }
        self.check_one_history()
    }
}

fn check_size(conflict: &Conflict) -> Result<()> {
    let (len, limit) = (conflict.encode().len() as u64, CONFLICT_LEN_MAX as u64);
    if len > limit {
        return Err(Error::BatchTooLarge { len, limit, unit: "bytes of evidence" });
    }
    Ok(())
}

/// The upgrade of a proof that brings nothing else.
fn head_alone(proof: &Proof) -> Result<&ProofUpgrade> {
    let bad = |what| Error::BadProof { index: u64::MAX, what };
    if proof.block.is_some() || proof.hash.is_some() || proof.seek.is_some() {
        return Err(bad("more than a head"));
    }
    let upgrade = proof.upgrade.as_ref().ok_or(bad("no head"))?;
    if upgrade.signature.len() > CONFLICT_SIGNATURE_LEN_MAX {
        return Err(bad("a signature longer than any"));
    }
    Ok(upgrade)
}

/// Whether a signed head is of the history held here, of `ours` blocks, at the length it was asked
/// for.
fn is_one_history(source: &dyn NodeSource, ours: u64, head: &SignedHead) -> Result<bool> {
    // Only then can both sides be proven to have signed the sizes.
    let with_sizes = head.asked == head.roots && head.roots.length() == ours;
    let mut missing = None;
    for root in head.asked.nodes() {
        match source.node(root.index)? {
            Some(held) if held.hash != root.hash => return Ok(false),
            Some(held) if with_sizes && held.size != root.size => return Ok(false),
            Some(_) => {}
            None if is_held_above(source, ours, head, root.index)? => {}
            None => missing = missing.or(Some(root.index)),
        }
    }
    missing.map_or(Ok(true), |index| Err(Error::NotAvailable { index }))
}

/// Whether a node of a head that is not held stands below one that is.
fn is_held_above(
    source: &dyn NodeSource,
    ours: u64,
    head: &SignedHead,
    index: u64,
) -> Result<bool> {
    let end = 2 * ours.min(head.roots.length());
    let is_common = |index: &u64| flat_tree::right_span(*index) < end;
    let above = std::iter::successors(flat_tree::parent(index), |index| flat_tree::parent(*index));
    for index in above.take_while(is_common) {
        let Some(theirs) = head.nodes.iter().find(|node| node.index == index) else {
            break;
        };
        if let Some(held) = source.node(index)? {
            let length = flat_tree::right_span(index) / 2 + 1;
            let is_same = held.hash == theirs.hash;
            return if is_same { Ok(true) } else { Err(Error::TwoHistories { length }) };
        }
    }
    Ok(false)
}
