//! One log of a replicator, apart from who is connected.

use std::collections::BTreeSet;
use std::ops::Range;

use multibee_log::{Error, Log, LogKey};

use crate::asked_runs::AskedRuns;
use crate::cuts::Cuts;
use crate::event::{ConnectionId, Event};
use crate::limits::{BLOCKS_MAX, STANDING_RANGES_MAX};
use crate::meter::Meter;
use crate::ranges::RangeSet;
use crate::requests::Sought;
use crate::stats::LogStats;
use crate::wants::Wants;

/// A log, what we lack of it, and what is under way.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) key: LogKey,
    pub(crate) log: Log,
    pub(crate) wants: Wants,
    /// What is asked for in runs, and in no queue of the wants.
    pub(crate) runs: AskedRuns,
    /// What the owner wants, here or not: it is wanted anew when it is cut off.
    standing: RangeSet,
    pub(crate) cuts: Cuts,
    pub(crate) sought: Sought,
    /// The writer is known to have signed two histories.
    pub(crate) is_disputed: bool,
    /// Who was asked for a new length; at most one remote at a time.
    pub(crate) upgrade_asked_of: Option<ConnectionId>,
    /// Blocks whose proof did not fit when it came; they are asked for without a forecast.
    pub(crate) plain: BTreeSet<u64>,
    pub(crate) stats: LogStats,
    pub(crate) meter: Meter,
    has_manifest: Option<bool>,
}

/// What a change on one connection means to the others and to the owner.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Something to tell.
    Event(Event),
    /// Blocks were stored that this connection's remote sent.
    Stored(RangeSet),
    /// The log is longer, or known to be in dispute.
    Upgraded,
    /// The log was cut: what was asked for and told is of another history.
    Cut,
    /// Nothing more of this log is to be had of this connection's remote.
    CloseLog(ConnectionId),
    /// This connection need not send a block any more.
    Cancel(ConnectionId, u64),
    /// Others may now ask for what this connection did not deliver, or ask for a new length.
    Freed,
    /// Our own storage failed.
    Failed(Error),
}

/// Who has to do something about an error of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// What the remote sent is wrong.
    Peer,
    /// Nobody: it came too late, or for another fork.
    Nobody,
    /// The log's writer. The remote may only have passed it on.
    Writer,
    /// This machine.
    Machine,
}

impl Blame {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Decode(_)
            | Error::BadProof { .. }
            | Error::BadSignature { .. }
            | Error::BlockTooLarge { .. }
            | Error::LogTooLarge => Self::Peer,
            Error::TwoHistories { .. } | Error::OwnLog { .. } => Self::Writer,
            Error::ForkMismatch { .. }
            | Error::Outdated { .. }
            | Error::InvalidRequest { .. }
            | Error::NotAvailable { .. } => Self::Nobody,
            _ => Self::Machine,
        }
    }
}

impl LogState {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            key: log.key(),
            cuts: Cuts::new(&log),
            is_disputed: log.conflict().is_some(),
            log,
            wants: Wants::default(),
            runs: AskedRuns::default(),
            standing: RangeSet::default(),
            sought: Sought::default(),
            upgrade_asked_of: None,
            plain: BTreeSet::new(),
            stats: LogStats::default(),
            meter: Meter::default(),
            has_manifest: None,
        }
    }

    /// Whether new lengths come from remotes.
    pub(crate) fn follows(&self) -> bool {
        !self.log.is_writable()
    }

    /// The length that may be told: what is not durable could still be lost and signed anew.
    pub(crate) fn announced_len(&self) -> u64 {
        self.log.durable_len()
    }

    /// The contiguous length that may be told.
    pub(crate) fn announced_contiguous_len(&self) -> u64 {
        self.log.contiguous_len().min(self.announced_len())
    }

    /// Whether there is a manifest to hand out: it is stored, and the key does not say it all.
    pub(crate) fn has_manifest(&mut self) -> bool {
        if let Some(known) = self.has_manifest {
            return known;
        }
        let manifest = self.log.manifest();
        let known = manifest.map(|manifest| !manifest.is_compat(&self.key));
        self.has_manifest = known;
        known.unwrap_or(false)
    }

    /// Looks whether the log was cut since the last time. If so, what was cut off and is wanted is
    /// wanted anew. Returns whether it was cut.
    pub(crate) fn notice_cut(&mut self) -> bool {
        if self.log.fork() == self.cuts.fork() {
            return false;
        }
        let Some(shared_len) = self.cuts.notice(&self.log) else { return false };
        self.plain.clear();
        let again: Vec<Range<u64>> = self.standing.within(shared_len..u64::MAX).collect();
        again.into_iter().for_each(|blocks| self.want_once(blocks, 0));
        true
    }

    /// Wants those of the blocks that are not here, now and whenever they are cut off.
    pub(crate) fn want(&mut self, blocks: Range<u64>, priority: u64) {
        self.standing.insert(blocks.clone());
        if self.standing.range_count() > STANDING_RANGES_MAX {
            let first = self.standing.first_within(0..u64::MAX);
            first.into_iter().for_each(|first| self.standing.remove(first));
        }
        self.want_once(blocks, priority);
    }

    /// No longer wants blocks. Returns those that were asked for, and of whom.
    pub(crate) fn unwant(&mut self, blocks: Range<u64>) -> Vec<(u64, ConnectionId)> {
        self.standing.remove(blocks.clone());
        let mut asked = Vec::new();
        for (run, of) in self.runs.remove(&blocks) {
            asked.push((run.start, of));
            for rest in [run.start..run.end.min(blocks.start), run.start.max(blocks.end)..run.end] {
                self.want_once(rest, 0);
            }
        }
        asked.extend(self.wants.remove(blocks));
        asked
    }

    /// Whether new blocks are wanted as soon as there are any.
    pub(crate) fn wants_new(&self) -> bool {
        let len = self.log.len();
        let next = self.wants.first_queued(len, BLOCKS_MAX);
        self.follows() && next.is_some_and(|stretch| stretch.start == len)
    }

    /// Blocks that were here are dropped: they are not fetched anew if they are cut off.
    pub(crate) fn forget(&mut self, blocks: Range<u64>) {
        self.standing.remove(blocks);
    }

    /// Wants those of the blocks that are not here, this time only.
    pub(crate) fn want_once(&mut self, blocks: Range<u64>, priority: u64) {
        if blocks.is_empty() {
            return;
        }
        let mut lacking = RangeSet::default();
        lacking.insert(blocks.start..blocks.end.min(BLOCKS_MAX));
        let len = self.log.len();
        for held in self.log.held(blocks.start..blocks.end.min(len)) {
            lacking.remove(held);
        }
        // Who waits for a block does not wait for the rest of the run that it is in.
        if priority == 0 {
            self.runs.within(&blocks).for_each(|run| lacking.remove(run));
        }
        for stretch in lacking.iter() {
            self.wants.add(stretch, priority);
        }
    }
}
