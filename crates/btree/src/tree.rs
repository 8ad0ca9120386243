use std::sync::Arc;

use crate::bee::Shared;
use crate::entry::Entry;
use crate::error::Result;
use crate::range::{Range, RangeOptions};
use crate::walk::{self, Stored};

/// A tree as it was at one length of the log. It never changes, and costs nothing to keep or clone.
#[derive(Clone)]
pub struct Tree {
    shared: Arc<Shared>,
    version: u64,
}

impl Tree {
    pub(crate) fn new(shared: Arc<Shared>, version: u64) -> Self {
        Self { shared, version }
    }

    /// The length of the log that this tree stands for. Below 2 it is empty.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The entry under `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`](crate::Error::Missing) if blocks are to be fetched first. Each time they are, the next call gets
    /// at least one level further.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        walk::get(&self.walk(), key)
    }

    /// The entries with keys in a range.
    pub fn range(&self, options: RangeOptions) -> Range {
        Range::new(self.clone(), options)
    }

    /// The first entry of a range.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn peek(&self, options: RangeOptions) -> Result<Option<Entry>> {
        let limit = Some(options.limit.unwrap_or(1).min(1));
        self.range(RangeOptions { limit, ..options }).next()
    }

    pub(crate) fn walk(&self) -> Stored<'_> {
        Stored { store: &self.shared.store, version: self.version }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("version", &self.version).finish_non_exhaustive()
    }
}
