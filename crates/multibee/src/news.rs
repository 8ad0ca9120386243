//! What another device wrote, ready to be merged.

use multibee_btree::Entry as Block;
use multibee_log::LogKey;
use multibee_merge::{Applied, Clock, DeviceId};

use crate::merging::is_change;

/// One own commit of another device.
#[derive(Clone, Debug)]
pub(crate) struct OwnCommit {
    /// What the author had seen of others when it committed.
    pub(crate) clock: Clock,
    /// The blocks, in the order in which they were written.
    pub(crate) blocks: Vec<Block>,
}

impl OwnCommit {
    /// Whether it changes data or rules: whether it says more than statements do.
    pub(crate) fn is_change(&self) -> bool {
        self.blocks.iter().any(is_change)
    }

    /// Bytes of keys, values and records.
    pub(crate) fn byte_count(&self) -> u64 {
        let value = |block: &Block| block.value.as_ref().map_or(0, bytes::Bytes::len);
        let len = |block: &Block| (block.key.len() + value(block) + block.extra.len()) as u64;
        self.blocks.iter().map(len).sum()
    }
}

/// Some of a device's own commits: those that come next after what was applied.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) author: LogKey,
    pub(crate) device: DeviceId,
    pub(crate) commits: Vec<OwnCommit>,
    /// How far the author's log is applied once this is merged.
    pub(crate) applied: Applied,
}

impl News {
    /// Blocks in all commits together.
    pub(crate) fn block_count(&self) -> u64 {
        self.commits.iter().map(|commit| commit.blocks.len() as u64).sum()
    }

    /// Bytes of keys, values and records in all commits together.
    pub(crate) fn byte_count(&self) -> u64 {
        self.commits.iter().map(OwnCommit::byte_count).sum()
    }
}
