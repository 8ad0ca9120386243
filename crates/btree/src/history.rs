use std::ops::Range;

use crate::bee::Bee;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::HISTORY_AHEAD_BLOCKS;

/// Which part of a tree's history to give, and in which order.
///
/// Bounds are numbers of blocks; negative ones count back from the end of the log as it is when the
/// history is asked for, so that -1 is the last block. No bounds give all of it, from block 1 on.
/// When both bounds of an end are given, the exclusive one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Blocks after this one.
    pub gt: Option<i64>,
    /// This block and those after it.
    pub gte: Option<i64>,
    /// Blocks before this one.
    pub lt: Option<i64>,
    /// This block and those before it.
    pub lte: Option<i64>,
    /// From the last block to the first.
    pub reverse: bool,
    /// Most records to give.
    pub limit: Option<u64>,
    /// Whether blocks that come later belong to it too: at the end there is nothing more for the
    /// time being. `lt`, `lte` and `reverse` are not heeded then.
    pub live: bool,
}

/// What a block of a tree's history did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It put an entry.
    Put,
    /// It deleted one.
    Del,
}

/// One block of a tree's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it did. A put of no value, within a batch, looks like a deletion: there is nothing in
    /// the format to tell them apart. (Section 5.1 of docs/spec/btree.md.)
    pub action: Action,
    /// The key, the value, and the number of the block.
    pub entry: Entry,
}

/// All that was done to a tree, block by block, in the order in which it was done. Made by
/// [`Bee::history`].
///
/// [`next`](Self::next) suits any log. The iterator suits logs that are all here, and ends after an
/// error.
#[derive(Clone)]
pub struct History {
    bee: Bee,
    /// Blocks that are still to come. Of a live history without an end.
    blocks: Range<u64>,
    /// Of the log.
    fork: u64,
    reverse: bool,
    remaining: u64,
    failed: bool,
}

impl Bee {
    /// What was done to the tree, block by block. In a sub-database, what was done to its keys.
    ///
    /// ```
    /// # use multibee_btree::{Action, Bee, BeeOptions, HistoryOptions};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let bee = Bee::open(log, BeeOptions::default())?;
    /// bee.put(b"bread", Some("rye"))?;
    /// bee.del(b"bread")?;
    ///
    /// let history = bee.history(HistoryOptions { reverse: true, ..HistoryOptions::default() });
    /// let done: Vec<_> = history.map(|record| record.map(|record| record.action)).collect::<Result<_, _>>()?;
    /// assert_eq!(done, [Action::Del, Action::Put]);
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    pub fn history(&self, options: HistoryOptions) -> History {
        let (fork, len) = (self.log().fork(), self.version());
        let HistoryOptions { gt, gte, lt, lte, reverse, limit, live } = options;
        let at = |number: i64| match u64::try_from(number) {
            Ok(number) => number,
            Err(_) => len.saturating_sub(number.unsigned_abs()),
        };
        let start = gt.map(|gt| at(gt).saturating_add(1)).or(gte.map(at)).unwrap_or(1);
        let end = lt.map(at).or(lte.map(|lte| at(lte).saturating_add(1))).unwrap_or(len);
        let end = if live { u64::MAX } else { end.min(len) };
        // Block 0 is the header.
        let blocks = start.max(1)..end;
        let remaining = limit.unwrap_or(u64::MAX);
        let reverse = reverse && !live;
        History { bee: self.clone(), blocks, fork, reverse, remaining, failed: false }
    }
}

impl History {
    /// The next record, or `None` at the end: of a live history, until more was appended, for which
    /// [`Log::listen`](multibee_log::Log::listen) waits.
    ///
    /// # Errors
    ///
    /// After [`Error::Missing`] the history has not moved: fetch the blocks and call again. Named
    /// are all blocks that are needed next, up to a thousand. [`Error::WentBack`] for good once the
    /// log's writer has cut it: ask for a new history.
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<Record>> {
        while self.remaining > 0 {
            let Some(seq) = self.next_seq() else {
                return Ok(None);
            };
            let block = self.bee.shared.store.block(seq);
            let fork = self.bee.log().fork();
            if fork != self.fork {
                return Err(Error::WentBack { fork });
            }
            let block = match block {
                Err(Error::Missing(_)) => return Err(self.missing()),
                block => block?,
            };
            let record = self.bee.prefix.shown(block.entry(seq)).map(|entry| {
                let is_del = entry.value.is_none() && !block.names(seq);
                Record { action: if is_del { Action::Del } else { Action::Put }, entry }
            });
            if self.reverse {
                self.blocks.end = seq;
            } else {
                self.blocks.start = seq.saturating_add(1);
            }
            if let Some(record) = record {
                self.remaining -= 1;
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn next_seq(&self) -> Option<u64> {
        let end = self.blocks.end.min(self.bee.log().len());
        if self.blocks.start >= end {
            return None;
        }
        Some(if self.reverse { end - 1 } else { self.blocks.start })
    }

    /// Names the blocks ahead that are not here. In a sub-database, which of them count shows only
    /// once they are.
    fn missing(&self) -> Error {
        let log = self.bee.log();
        let blocks = self.blocks.start..self.blocks.end.min(log.len());
        let most = self.remaining.min(HISTORY_AHEAD_BLOCKS);
        let is_missing = |seq: &u64| !log.has(*seq);
        Error::Missing(if self.reverse {
            let from = blocks.end.saturating_sub(most).max(blocks.start);
            (from..blocks.end).rev().filter(is_missing).collect()
        } else {
            let to = blocks.start.saturating_add(most).min(blocks.end);
            (blocks.start..to).filter(is_missing).collect()
        })
    }
}

impl Iterator for History {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = Self::next(self);
        self.failed = record.is_err();
        record.transpose()
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}
