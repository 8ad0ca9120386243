//! Reading another device's log sparsely: blocks, commits, and what a version had seen.

use multibee_btree::{Bee, Entry as Block, Error as TreeError};
use multibee_log::LogKey;
use multibee_merge::{Applied, Clock};

use crate::Error;
use crate::commit;
use crate::format::{self, Commit, Meta};
use crate::merging::{BadNews, device_of};
use crate::primary::tag_at;

/// Why a step can't be done now.
#[derive(Debug)]
pub(crate) enum Hindrance {
    /// These blocks are not here.
    Missing(Vec<u64>),
    /// The log's author wrote something that can't be read.
    Author(BadNews),
    /// This machine failed.
    Here(Error),
}

/// A log that is read sparsely.
#[derive(Clone, Debug)]
pub(crate) struct SparseLog {
    pub(crate) bee: Bee,
    pub(crate) author: LogKey,
}

/// What another device's database had seen at one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Landmark {
    /// Its clock, with its own log up to its last own commit.
    pub(crate) clock: Clock,
    /// What some of its records may have seen beyond.
    pub(crate) ahead: Clock,
    /// Last block of its last own commit before this one.
    pub(crate) prev_own: Option<u64>,
}

impl Landmark {
    /// Everything that a record of this version can have seen.
    pub(crate) fn reach(&self) -> Clock {
        let mut reach = self.clock.clone();
        reach.merge(&self.ahead);
        reach
    }
}

impl SparseLog {
    /// What the database had seen when its log had `version` blocks.
    ///
    /// # Errors
    ///
    /// [`Hindrance`]; the author is blamed if no commit ends there.
    pub(crate) fn landmark(&self, version: u64) -> Result<Landmark, Hindrance> {
        let last = version.checked_sub(1).ok_or_else(|| self.bad(0, "an empty log"))?;
        let commit = self.commit(last)?;
        let base = match commit.clock_at {
            Some(at) if at >= last => return Err(self.bad(last, "its clock refers forward")),
            Some(at) => {
                let base = self.commit(at)?;
                if base.clock_at.is_some() {
                    return Err(self.bad(at, "a clock that others refer to is not whole"));
                }
                Some(commit::decode_clock(&base, None))
            }
            None => None,
        };
        let mut clock = commit::decode_clock(&commit, base.as_ref());
        let last_own = if commit.own_first.is_some() { Some(last) } else { commit.prev_own };
        if let Some(own) = last_own {
            if own > last {
                return Err(self.bad(last, "its commit names a later one as earlier"));
            }
            // The tag takes nodes of the log's hash tree, which come with the block.
            self.block(own)?;
            let length = own + 1;
            let tag = tag_at(self.bee.log(), length).map_err(Hindrance::Here)?;
            clock.advance(device_of(&self.author), Applied { length, tag });
        }
        let ahead = format::decode_clock(&commit.ahead);
        Ok(Landmark { clock, ahead, prev_own: commit.prev_own })
    }

    /// The record of the commit that ends with this block.
    fn commit(&self, seq: u64) -> Result<Commit, Hindrance> {
        let meta = Meta::decode_extra(&self.block(seq)?.extra);
        let meta = meta.map_err(|error| self.bad(seq, &error.to_string()))?;
        meta.commit.ok_or_else(|| self.bad(seq, "it ends no commit"))
    }

    fn block(&self, seq: u64) -> Result<Block, Hindrance> {
        let block = self.bee.get_by_seq(seq).map_err(|error| self.hindrance(error))?;
        block.ok_or_else(|| self.bad(seq, "it is no entry"))
    }

    /// Who has to do something about a failed read of the tree.
    pub(crate) fn hindrance(&self, error: TreeError) -> Hindrance {
        match error {
            TreeError::Missing(seqs) => Hindrance::Missing(seqs),
            TreeError::Log(error) => Hindrance::Here(error.into()),
            TreeError::BadBlock { seq, what } => self.bad(seq, &what.to_string()),
            error => self.bad(self.bee.version().saturating_sub(1), &error.to_string()),
        }
    }

    pub(crate) fn bad(&self, seq: u64, what: &str) -> Hindrance {
        Hindrance::Author(BadNews { author: self.author, seq, what: what.into() })
    }
}
