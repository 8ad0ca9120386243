//! What readers see: the newest head, the newest durable one, and which blocks are held.

use std::sync::Arc;

use bytes::Bytes;

use crate::bitfield::Bitfield;
use crate::head::Head;
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

/// The part of a log that readers share. Locked for moments only, never across disk work.
pub(crate) struct State {
    pub(crate) commit: Arc<Commit>,
    /// The last commit that a power cut cannot take back. All that is ever proven to others.
    pub(crate) durable: Arc<Commit>,
    /// Blocks held. None at or beyond the length.
    pub(crate) bits: Bitfield,
    pub(crate) manifest: Option<Arc<Manifest>>,
}
