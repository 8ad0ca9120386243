//! Hints by which a peer that has a log tells a sparse reader of it what to fetch.

mod answer;
pub(crate) mod checkpoint;
mod codec;
mod traced;

use bytes::Bytes;
use multibee_log::Log;

use crate::range::RangeOptions;

/// The name under which these messages travel in the replication channel of a log.
pub const EXTENSION_NAME: &str = "hyperbee";

/// A message of the extension: what a reader asks, or what it is answered.
///
/// A reader with a sparse log needs a round trip for each level of the tree. A peer with the whole
/// log can run the same read and name all blocks that it touched, which makes it two. Nothing in
/// these messages is needed for a correct result, and nothing in them is proven: blocks are verified
/// when they come, and a peer that names too many costs bytes. See section 10.2 of
/// docs/spec/btree.md.
///
/// ```
/// use multibee_btree::{Bee, BeeOptions, ExtensionMessage};
/// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
///
/// let keys = KeyPair::from_seed([7; 32]);
/// let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
/// let bee = Bee::open(log, BeeOptions::default())?;
/// bee.put(b"milk", Some("two"))?;
///
/// // A reader sends this once, when `get` has said that blocks are missing.
/// let ask = bee.snapshot()?.hint(b"milk").expect("the tree is not empty").encode();
///
/// // A peer that has the tree answers, and the reader fetches what it is told.
/// let ask = ExtensionMessage::decode(&ask.into()).expect("it was encoded here");
/// let answer = bee.answer_hint(&ask);
/// let cache = answer[0].cache.as_ref().expect("an answer names blocks");
/// assert_eq!(cache.blocks, [1]);
/// # Ok::<(), multibee_btree::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionMessage {
    /// Blocks to fetch: the answer.
    pub cache: Option<CacheHint>,
    /// Asks what a lookup needs.
    pub get: Option<GetHint>,
    /// Asks what a range needs.
    pub iterator: Option<RangeHint>,
}

/// Blocks to fetch now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheHint {
    /// The smallest number among the blocks.
    pub start: u64,
    /// One more than the largest.
    pub end: u64,
    /// The numbers of the blocks, in the order in which they are needed.
    pub blocks: Vec<u64>,
}

/// A lookup that waits for blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetHint {
    /// The version that is read.
    pub version: u64,
    /// The key.
    pub key: Bytes,
}

/// A range that waits for blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeHint {
    /// The version that is read.
    pub version: u64,
    /// What is read. The limit is what is left of it; 0 cannot be sent, it would mean no limit.
    pub range: RangeOptions,
    /// How far the reader is: the nodes from the root to where it stands, each as a block number, a
    /// level, and a position: 2i before child i, 2i + 1 before key i. Empty at the start.
    pub checkpoint: Vec<u64>,
}

impl CacheHint {
    /// The blocks that a log lacks of those that are named.
    pub fn missing(&self, log: &Log) -> Vec<u64> {
        let mut blocks: Vec<u64> = Vec::new();
        let within = self.start..self.end.min(log.len());
        for seq in self.blocks.iter().copied().filter(|seq| within.contains(seq)) {
            if !log.has(seq) {
                blocks.push(seq);
            }
        }
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }
}

impl From<CacheHint> for ExtensionMessage {
    fn from(cache: CacheHint) -> Self {
        Self { cache: Some(cache), ..Self::default() }
    }
}

impl From<GetHint> for ExtensionMessage {
    fn from(get: GetHint) -> Self {
        Self { get: Some(get), ..Self::default() }
    }
}

impl From<RangeHint> for ExtensionMessage {
    fn from(iterator: RangeHint) -> Self {
        Self { iterator: Some(iterator), ..Self::default() }
    }
}
