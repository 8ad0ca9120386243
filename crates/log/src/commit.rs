//! What readers see: the newest head, the newest durable one, and which blocks are held.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::bitfield::Bitfield;
use crate::head::Head;
use crate::known_conflict::KnownConflict;
use crate::manifest::Manifest;
use crate::merkle::Roots;

/// A state that the log was in, never changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commit {
    pub(crate) fork: u64,
    pub(crate) roots: Roots,
    /// As stored. Empty at length 0, mostly.
    pub(crate) signature: Bytes,
}

impl Commit {
    pub(crate) fn length(&self) -> u64 {
        self.roots.length()
    }

    pub(crate) fn head(&self) -> Option<Head> {
        (self.length() > 0).then(|| Head {
            length: self.length(),
            fork: self.fork,
            byte_length: self.roots.byte_length(),
            tree_hash: self.roots.tree_hash(),
            signature: self.signature.clone(),
        })
    }
}

/// A pair of key and value that a log carries beside its blocks, in the order they were set.
pub(crate) type UserData = Vec<(String, Bytes)>;

/// The part of a log that readers share. Locked for moments only, never across disk work.
pub(crate) struct State {
    /// The last commit that was accepted. The next one builds on it.
    pub(crate) accepted: Arc<Commit>,
    /// The last commit that a power cut cannot take back. All that is ever proven to others.
    pub(crate) durable: Arc<Commit>,
    /// Whether readers see what is not durable yet.
    pub(crate) shows_accepted: bool,
    /// Number of the last change that was accepted, counted from when the log was opened.
    pub(crate) change: u64,
    /// Number of the last change that a power cut cannot take back.
    pub(crate) durable_change: u64,
    /// Blocks held. None at or beyond the accepted length.
    pub(crate) bits: Bitfield,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) user_data: Arc<UserData>,
    /// Set for good once the writer is known to have signed two histories.
    pub(crate) conflict: Option<Arc<KnownConflict>>,
}

impl State {
    /// The commit that readers see.
    pub(crate) fn commit(&self) -> &Arc<Commit> {
        if self.shows_accepted { &self.accepted } else { &self.durable }
    }

    /// Whether a block is held, as far as readers see.
    pub(crate) fn has(&self, block: u64) -> bool {
        block < self.commit().length() && self.bits.get(block)
    }

    /// The first block that is not held.
    pub(crate) fn contiguous(&self) -> u64 {
        self.bits.contiguous().min(self.commit().length())
    }

    /// The runs of held blocks within `range`.
    pub(crate) fn held(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.bits.held(range.start..range.end.min(self.commit().length()))
    }

    /// The 32 bits of the blocks from `32 * index` on.
    pub(crate) fn word(&self, index: u64) -> u32 {
        let visible = self.commit().length().saturating_sub(index.saturating_mul(32)).min(32);
        let mask = u32::MAX.checked_shr(32 - visible as u32).unwrap_or(0);
        self.bits.word(index) & mask
    }

    /// The number of blocks that are not disputed: those before the point where the writer's
    /// histories part, or all if there is but one.
    pub(crate) fn trusted_len(&self) -> u64 {
        self.conflict.as_ref().map_or(u64::MAX, |known| known.common_len)
    }

    /// Takes in a change that was written.
    pub(crate) fn accept(&mut self, commit: Arc<Commit>) -> u64 {
        self.accepted = commit;
        self.change += 1;
        self.change
    }

    /// Notes that all changes up to number `change`, which led to `commit`, are on disk.
    pub(crate) fn note_durable(&mut self, change: u64, commit: Arc<Commit>) {
        if change > self.durable_change {
            self.durable_change = change;
            // A replica's heads count at once, so a newer one may be there by now.
            let order = |commit: &Commit| (commit.fork, commit.length());
            if order(&commit) >= order(&self.durable) {
                self.durable = commit;
            }
        }
    }
}
