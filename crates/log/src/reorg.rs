//! Following a log that its writer has cut (docs/spec/log.md section 7.3).

use std::ops::Range;
use std::sync::Arc;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::fork_point::ForkPoint;
use crate::log::{Log, Shared};
use crate::manifest::Manifest;
use crate::proof::Proof;
use crate::request::Request;
use crate::verify::SignedHead;

/// A log's way over to a higher fork.
///
/// Ask [`request`](Self::request) of a peer at that fork, [`add`](Self::add) the answer, and so on
/// until there is nothing to ask: at most once for each level of the tree. Then hand it to
/// [`Log::apply_reorg`]. Until then the log stays as it is. Keeps the log open.
///
/// ```
/// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage, Request, RequestUpgrade};
///
/// let writer = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
/// let copy = Log::create_replica(MemoryStorage::new(), writer.key(), LogOptions::default())?;
/// let head_from_the_start = || {
///     let upgrade = Some(RequestUpgrade { start: 0, length: writer.durable_len() });
///     writer.prove(&Request { upgrade, manifest: true, ..Request::default() })
/// };
/// writer.append(&["rain", "sun", "snow"])?;
/// copy.apply(&head_from_the_start()?)?;
/// writer.truncate(2)?;
/// writer.append(&["hail"])?;
///
/// let mut reorg = copy.start_reorg(&head_from_the_start()?)?;
/// while let Some(request) = reorg.request() {
///     reorg.add(&writer.prove(&request)?)?;
/// }
/// let reorged = copy.apply_reorg(reorg)?;
/// assert_eq!((reorged.fork, reorged.len, reorged.shared_len), ((0, 1), (3, 3), 2));
/// assert_eq!(copy.head(), writer.head());
/// # Ok::<(), multibee_log::Error>(())
/// ```
#[derive(Debug)]
pub struct Reorg {
    log: Log,
    before: Arc<Commit>,
    after: Commit,
    /// The manifest, if the first proof brought it.
    manifest: Option<Manifest>,
    search: ForkPoint,
}

/// What a reorg has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reorged {
    /// The forks before and after.
    pub fork: (u64, u64),
    /// The lengths before and after.
    pub len: (u64, u64),
    /// Blocks that stayed as they were. All later ones are gone, or have others in their place.
    pub shared_len: u64,
}

impl Log {
    /// Begins to go over to a higher fork, which a peer proves from the start: an upgrade from 0 to
    /// its length.
    ///
    /// A higher fork supersedes ours since its writer signed it. Of several, the highest is the one
    /// to go for.
    ///
    /// # Errors
    ///
    /// [`Error::ForkMismatch`] if the fork is not higher than ours, which blames nobody.
    /// [`Error::BadProof`] and [`Error::BadSignature`] blame the peer, and
    /// [`Error::TwoHistories`], once there is a [conflict](Self::conflict), the writer.
    /// [`Error::OwnLog`]: the proof is good, but this is the copy that the log is written to; its
    /// key is in use elsewhere. [`Error::Io`].
    pub fn start_reorg(&self, proof: &Proof) -> Result<Reorg> {
        let (before, manifest) = {
            let state = self.shared.state();
            (state.accepted.clone(), state.manifest.clone())
        };
        let (ours, theirs) = (before.fork, proof.fork);
        if theirs <= ours {
            return Err(Error::ForkMismatch { ours, theirs });
        }
        self.shared.check_one_history()?;
        let head = SignedHead::of(&self.shared.key, manifest.as_deref(), proof)?;
        if self.is_writable() {
            return Err(Error::OwnLog { ours, theirs });
        }
        let signature = proof.upgrade.as_ref().map(|upgrade| upgrade.signature.clone());
        let source = self.shared.tree.at(before.length());
        let search = ForkPoint::new(&source, before.length(), &head, proof, &head.roots)?;
        let SignedHead { fork, roots, manifest, .. } = head;
        let after = Commit { fork, roots, signature: signature.unwrap_or_default() };
        Ok(Reorg { log: self.clone(), before, after, manifest, search })
    }

    /// Goes over to the fork that a reorg has led to, and drops all blocks that are not shared.
    /// Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::UnfinishedReorg`]; [`Error::ForkMismatch`] and [`Error::Outdated`] if the log has
    /// changed since the reorg was started; and as [`apply`](Self::apply). The log is then as
    /// before, unless a sync failed.
    pub fn apply_reorg(&self, reorg: Reorg) -> Result<Reorged> {
        self.shared.apply_reorg(reorg)
    }
}

impl Reorg {
    /// Returns what to ask next; `None` when the reorg can be applied.
    pub fn request(&self) -> Option<Request> {
        self.search.request()
    }

    /// Returns the blocks among which the two histories part; `None` when the reorg can be applied.
    pub fn blocks(&self) -> Option<Range<u64>> {
        self.search.blocks()
    }

    /// Returns what to ask a peer that holds another one of the [`blocks`](Self::blocks) than that
    /// which [`request`](Self::request) is about; `None` if the block is none of them.
    pub fn request_by(&self, block: u64) -> Option<Request> {
        self.search.request_by(block)
    }

    /// Takes the answer to [`request`](Self::request) or [`request_by`](Self::request_by). If it is
    /// not valid, nothing changes, and another peer may be asked.
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] blames the peer, [`Error::ForkMismatch`] nobody. [`Error::Io`].
    pub fn add(&mut self, proof: &Proof) -> Result<()> {
        let source = self.log.shared.tree.at(self.before.length());
        self.search.add(&source, proof)
    }

    /// Returns the fork that this leads to.
    pub fn fork(&self) -> u64 {
        self.after.fork
    }

    /// Returns the length in blocks that this leads to.
    #[expect(clippy::len_without_is_empty, reason = "it is a log's length, not the reorg's")]
    pub fn len(&self) -> u64 {
        self.after.length()
    }

    /// Returns how many blocks are known to be shared so far. They stay.
    pub fn shared_len(&self) -> u64 {
        self.search.shared_len()
    }
}

impl Shared {
    fn apply_reorg(&self, reorg: Reorg) -> Result<Reorged> {
        let Reorg { before, after, manifest, search, .. } = reorg;
        let mut writer = self.writer()?;
        self.check_one_history()?;
        let now = self.state().accepted.clone();
        if after.fork <= now.fork {
            return Err(Error::ForkMismatch { ours: now.fork, theirs: after.fork });
        }
        // A reorg of another log is none of this one's commits either.
        if !Arc::ptr_eq(&before, &now) {
            return Err(Error::Outdated { start: before.length(), ours: now.length() });
        }
        let shared_len = search.shared_len();
        if search.request().is_some() {
            return Err(Error::UnfinishedReorg { shared_len });
        }
        let reorged = Reorged {
            fork: (before.fork, after.fork),
            len: (before.length(), after.length()),
            shared_len,
        };
        if let Some(manifest) = manifest {
            // Only a header can tell it. It is there before the head that it verifies.
            writer.header.manifest = Some(manifest.clone());
            self.flush(&mut writer)?;
            self.state_mut().manifest = Some(Arc::new(manifest));
        }
        self.rewind(&mut writer, shared_len, after, search.into_nodes())?;
        Ok(reorged)
    }
}
