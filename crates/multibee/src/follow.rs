//! Following another device: which blocks of its log are news, in which order.
//!
//! An own commit names its first block and the own commit before it, signed like everything in the
//! log. So whoever relays a log can leave out neither a commit nor a part of one: [`Follower`]
//! takes commits only where each names the one that was applied before it.
//!
//! Nothing here waits or asks: [`Follower::next`] says which blocks it needs, and is called again
//! when they are there.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use multibee_btree::{Bee, Entry as Block, Error as TreeError};
use multibee_log::LogKey;
use multibee_merge::{Applied, Clock, DeviceId, Time};

use crate::Error;
use crate::commit::{self, Base};
use crate::format::{Commit, Meta};
use crate::merging::{BadNews, device_of};
use crate::news::{News, OwnCommit};
use crate::primary::tag_at;

/// Where a peer says that a device's news lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Own commits at or beyond this block are listed.
    pub(crate) since: u64,
    /// The log's length up to which the list is meant.
    pub(crate) upto: u64,
    /// The own commits, oldest first, from first block up to but without the end.
    pub(crate) ranges: Vec<Range<u64>>,
    /// The author itself said so: nobody needs to prove that it left nothing out.
    pub(crate) by_author: bool,
}

/// What to do next about a log.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing is left to merge.
    Idle,
    /// These blocks are wanted first.
    Need(Vec<Range<u64>>),
    /// These commits come next.
    Ready(News),
}

/// What an author had seen when its log had some length.
#[derive(Debug)]
pub(crate) enum HeadClock {
    /// Its clock, with its own log up to its last own commit.
    Here(Clock),
    /// This block is wanted first.
    Missing(u64),
}

/// Follows one log.
#[derive(Debug)]
pub(crate) struct Follower {
    author: LogKey,
    device: DeviceId,
    bee: Bee,
    base: Option<Base>,
    /// Own commits that come next, oldest first.
    plan: VecDeque<Range<u64>>,
    /// The length up to which everything own is applied or planned.
    planned_to: u64,
    /// The end of that part of the plan which is asked for.
    part_to: u64,
    /// A walk from a head back to what is applied, newest first, and where it stands.
    walk: Option<Walk>,
    hint: Option<Hint>,
    /// Nothing but statements is taken of it.
    pub(crate) is_read_only: bool,
}

#[derive(Debug)]
struct Walk {
    head: u64,
    found: Vec<Range<u64>>,
    at: u64,
}

/// Blocks of news for one merge commit, about: own writes must not wait long for it. Two logs may
/// come up to this, the second one with one more batch; each change takes up to four blocks, beside
/// those of changed rules. A commit has room for all of that.
pub(crate) const MERGE_BLOCKS_MAX: u64 = 2048;

/// Bytes of blocks after which nothing more is taken into one merge: they are held in memory.
pub(crate) const MERGE_BYTES_MAX: u64 = 64 << 20;

/// Blocks that the cache of a followed log is sure to keep, if they are of common length.
const CACHED_BLOCKS: u64 = 1024;

/// Why a log can't be followed further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The author wrote something that can't be read.
    #[error(transparent)]
    Author(#[from] BadNews),
    /// This machine failed.
    #[error(transparent)]
    Here(#[from] Error),
}

impl Follower {
    /// Follows the log behind `bee`.
    pub(crate) fn new(bee: Bee) -> Self {
        let author = bee.log().key();
        Self {
            author,
            device: device_of(&author),
            bee,
            base: None,
            plan: VecDeque::new(),
            planned_to: 0,
            part_to: 0,
            walk: None,
            hint: None,
            is_read_only: false,
        }
    }

    pub(crate) const fn device(&self) -> DeviceId {
        self.device
    }

    pub(crate) const fn bee(&self) -> &Bee {
        &self.bee
    }

    /// Whether the log was written twice, and what comes between `applied` and `length` is not the same in
    /// both histories: nobody hands out such blocks.
    pub(crate) fn is_disputed(&self, applied: u64, length: u64) -> bool {
        let log = self.bee.log();
        log.conflict().is_some() && applied <= log.trusted_len() && log.trusted_len() < length
    }

    /// Takes a peer's word for where the news lies, until the chain of commits says otherwise.
    ///
    /// Somebody who has nothing to list takes nothing back of what another one did.
    pub(crate) fn take_hint(&mut self, hint: Hint) {
        if hint.upto > hint.since {
            self.hint = Some(hint);
        }
    }

    /// Own blocks between `applied` and `theirs`, as far as can be told: what is planned or listed
    /// is counted, what lies behind it is taken to be alike.
    pub(crate) fn news(&self, applied: u64, theirs: u64) -> u64 {
        let (listed, upto) = match &self.hint {
            _ if !self.plan.is_empty() => (self.remaining(), self.planned_to),
            Some(hint) => {
                let news = hint.ranges.iter().filter(|range| range.start >= applied);
                (news.map(|range| range.end - range.start).sum(), hint.upto)
            }
            None => return 0,
        };
        if upto <= applied || theirs <= upto {
            return listed;
        }
        let behind = u128::from(listed) * u128::from(theirs - upto) / u128::from(upto - applied);
        listed.saturating_add(u64::try_from(behind).unwrap_or(u64::MAX))
    }

    /// Blocks that are planned but not applied: what is left to do, as far as it is known.
    pub(crate) fn remaining(&self) -> u64 {
        self.plan.iter().map(|range| range.end - range.start).sum()
    }

    /// The blocks that are planned next.
    pub(crate) fn planned(&self) -> Option<Range<u64>> {
        self.plan.front().cloned()
    }

    /// The length up to which the log may hold news: what is applied, once nothing else is.
    pub(crate) fn known(&self, applied: u64) -> u64 {
        let length = self.bee.log().len();
        let is_done = self.plan.is_empty() && self.planned_to >= length;
        if is_done { applied } else { length.max(applied) }
    }

    /// Says what to do, given how far the log is applied, up to which length it may be read, and how many
    /// blocks of what is planned to need at a time, about.
    pub(crate) fn next(&mut self, applied: u64, head: u64, part: u64) -> Result<Step, FollowError> {
        self.forget_applied(applied);
        if head <= 1 || head <= applied {
            return Ok(Step::Idle);
        }
        let step = self.plan_and_take(applied, head, part)?;
        match &step {
            // The list was wrong: once more, by the chain.
            Step::Need(ranges) if ranges.is_empty() => self.plan_and_take(applied, head, part),
            _ => Ok(step),
        }
    }

    fn plan_and_take(&mut self, applied: u64, head: u64, part: u64) -> Result<Step, FollowError> {
        if self.plan.is_empty() && self.planned_to < head {
            self.plan_from_hint(applied, head);
        }
        if self.plan.is_empty() && self.planned_to < head {
            let missing = self.plan_by_walking(applied, head)?;
            if !missing.is_empty() {
                return Ok(Step::Need(missing));
            }
        }
        if self.plan.is_empty() { Ok(Step::Idle) } else { self.take_ready(applied, part) }
    }

    /// When the own commit that was applied last was made, if it is here and says so: milliseconds
    /// since 1970.
    pub(crate) fn committed_ms(&self, applied: u64) -> Option<u64> {
        let commit = self.commit_at(applied.checked_sub(1)?).ok()??;
        commit.at.map(|at| Time::from_u64(at).millis())
    }

    /// The own commits from block `since` on, up to `applied`, oldest first; `None` if not all of
    /// them are here, with what it takes to follow them.
    pub(crate) fn applied_ranges(&self, since: u64, applied: u64) -> Option<Vec<Range<u64>>> {
        let mut ranges = Vec::new();
        let mut at = applied.checked_sub(1);
        while let Some(seq) = at.filter(|&seq| seq >= since) {
            let commit = self.commit_at(seq).ok()??;
            let range = commit.own_first?..seq + 1;
            // Whoever follows needs all of it, and the clock that it is a difference to.
            let is_base_here = commit.clock_at.is_none_or(|at| self.bee.log().has(at));
            if !is_base_here || !self.is_here(&range) {
                return None;
            }
            ranges.push(range);
            at = commit.prev_own;
        }
        ranges.reverse();
        Some(ranges)
    }

    /// What the author had seen when its log was so long: that of a commit's end.
    pub(crate) fn clock_at(&mut self, length: u64) -> Result<HeadClock, FollowError> {
        let last = length.saturating_sub(1);
        let Some(commit) = self.commit_at(last)? else { return Ok(HeadClock::Missing(last)) };
        let base = match commit.clock_at {
            None => None,
            Some(at) => match self.base_at(at, last)? {
                Some(base) => Some(base),
                None => return Ok(HeadClock::Missing(at)),
            },
        };
        let mut clock = commit::decode_clock(&commit, base.as_ref());
        let own = if commit.own_first.is_some() { Some(last) } else { commit.prev_own };
        if let Some(own) = own {
            clock.advance(self.device, Applied { length: own + 1, tag: None });
        }
        Ok(HeadClock::Here(clock))
    }

    /// The blocks below `applied` that the next own commits are read with: the end of the last one,
    /// and the one that its clock is a difference to.
    pub(crate) fn landmarks(&self, applied: u64) -> Result<BTreeSet<u64>, FollowError> {
        let Some(last) = applied.checked_sub(1) else { return Ok(BTreeSet::new()) };
        let base = self.commit_at(last)?.and_then(|commit| commit.clock_at);
        Ok([last].into_iter().chain(base).collect())
    }

    /// The log may be applied further than what was merged from here: by absorbing another device.
    fn forget_applied(&mut self, applied: u64) {
        // They ascend.
        while self.plan.front().is_some_and(|range| range.start < applied) {
            self.plan.pop_front();
        }
        if let Some(walk) = &mut self.walk {
            walk.found.retain(|range| range.start >= applied);
        }
    }

    fn plan_from_hint(&mut self, applied: u64, head: u64) {
        let Some(hint) = self.hint.take() else { return };
        if hint.upto > head {
            // It is about blocks whose signature has not arrived yet.
            self.hint = Some(hint);
            return;
        }
        if hint.upto <= self.planned_to || !is_plausible(&hint) {
            return;
        }
        self.plan = hint.ranges.into_iter().filter(|range| range.start >= applied).collect();
        // A relay may have left out the newest commits: the head's own record will tell.
        let last = self.plan.back().map_or(applied, |range| range.end);
        self.planned_to = self.planned_to.max(if hint.by_author { hint.upto } else { last });
    }

    /// Walks from the head along the chain of own commits, as far as blocks are here.
    fn plan_by_walking(&mut self, applied: u64, head: u64) -> Result<Vec<Range<u64>>, FollowError> {
        let mut walk = match self.walk.take() {
            Some(walk) if walk.head == head => walk,
            _ => Walk { head, found: Vec::new(), at: head - 1 },
        };
        while walk.at >= applied.max(1) {
            let Some(block) = self.read(walk.at, head - applied)? else {
                let missing = walk.at..walk.at + 1;
                self.walk = Some(walk);
                return Ok(vec![missing]);
            };
            let commit = self.commit_of(&block)?;
            if let Some(first) = commit.own_first {
                if first > walk.at || first < applied {
                    return Err(self.bad(walk.at, "its commit names no possible first block"));
                }
                walk.found.push(first..walk.at + 1);
            }
            match commit.prev_own {
                Some(before) if before < walk.at => walk.at = before,
                Some(_) => return Err(self.bad(walk.at, "its commit names a later one as earlier")),
                None => break,
            }
        }
        walk.found.reverse();
        self.plan = walk.found.into();
        self.planned_to = head;
        Ok(Vec::new())
    }

    /// Takes the commits at the front of the plan that are here, whole and in order.
    fn take_ready(&mut self, applied: u64, part: u64) -> Result<Step, FollowError> {
        let mut commits = Vec::new();
        let (mut end, mut blocks, mut bytes) = (applied, 0, 0);
        while let Some(range) = self.plan.front().cloned() {
            let is_full = blocks >= MERGE_BLOCKS_MAX || bytes >= MERGE_BYTES_MAX;
            if is_full || !self.is_here(&range) {
                break;
            }
            match self.read_commit(&range, end)? {
                // Stopping is not skipping: should it be allowed to write, nothing is lost.
                Reading::Whole(commit) if self.is_read_only && commit.is_change() => {
                    if commits.is_empty() {
                        return Err(self.bad(range.start, "a device that may only read wrote this"));
                    }
                    break;
                }
                Reading::Whole(commit) => {
                    bytes += commit.byte_count();
                    commits.push(commit);
                }
                Reading::Misled => {
                    // The list was wrong; what the chain says counts.
                    self.forget_plan(end);
                    break;
                }
                Reading::Missing(missing) if commits.is_empty() => {
                    return Ok(Step::Need(Vec::from([missing])));
                }
                Reading::Missing(_) => break,
            }
            blocks += range.end - range.start;
            end = range.end;
            self.plan.pop_front();
        }
        if commits.is_empty() {
            return Ok(Step::Need(self.next_part(part)));
        }
        let tag = tag_at(self.bee.log(), end)?;
        let applied = Applied { length: end, tag };
        Ok(Step::Ready(News { author: self.author, device: self.device, commits, applied }))
    }

    /// The plan's next commits of about so many blocks: the same ones until they are applied, unless more
    /// are asked for.
    fn next_part(&mut self, blocks: u64) -> Vec<Range<u64>> {
        let mut left = blocks;
        let is_in_part = |range: &&Range<u64>| {
            let has_room = left > 0;
            left = left.saturating_sub(range.end - range.start);
            has_room
        };
        let end = self.plan.iter().take_while(is_in_part).last().map_or(0, |range| range.end);
        let is_begun = self.plan.front().is_some_and(|range| range.end <= self.part_to);
        let is_all = self.plan.back().is_some_and(|range| range.end == end);
        if !is_begun || is_all {
            self.part_to = end;
        }
        self.plan.iter().take_while(|range| range.end <= self.part_to).cloned().collect()
    }

    /// What was planned has to be found out again.
    pub(crate) fn forget_plan(&mut self, applied: u64) {
        self.plan.clear();
        self.hint = None;
        self.planned_to = applied;
        self.part_to = 0;
    }

    fn is_here(&self, range: &Range<u64>) -> bool {
        range.clone().all(|seq| self.bee.log().has(seq))
    }

    fn read_commit(&mut self, range: &Range<u64>, applied: u64) -> Result<Reading, FollowError> {
        let last = range.end - 1;
        let stretch = self.planned_to.saturating_sub(applied);
        let Some(ending) = self.read(last, stretch)? else {
            return Ok(Reading::Missing(last..range.end));
        };
        let commit = self.commit_of(&ending)?;
        let before = applied.checked_sub(1);
        if commit.own_first != Some(range.start) || commit.prev_own != before {
            return Ok(Reading::Misled);
        }
        let clock = match commit.clock_at {
            None => {
                let clock = commit::decode_clock(&commit, None);
                self.base = Some(Base { seq: last, clock: clock.clone() });
                clock
            }
            Some(at) => match self.base_at(at, last)? {
                Some(base) => commit::decode_clock(&commit, Some(&base)),
                None => return Ok(Reading::Missing(at..at + 1)),
            },
        };
        let mut blocks = Vec::new();
        for seq in range.start..last {
            match self.read(seq, stretch)? {
                Some(block) => blocks.push(block),
                None => return Ok(Reading::Missing(seq..seq + 1)),
            }
        }
        blocks.push(ending);
        Ok(Reading::Whole(OwnCommit { clock, blocks }))
    }

    /// The clock at an earlier own commit, or `None` if that block is not here.
    fn base_at(&mut self, at: u64, referrer: u64) -> Result<Option<Clock>, FollowError> {
        if let Some(base) = self.base.as_ref().filter(|base| base.seq == at) {
            return Ok(Some(base.clock.clone()));
        }
        if at >= referrer {
            return Err(self.bad(referrer, "its clock refers to a later block"));
        }
        let Some(commit) = self.commit_at(at)? else { return Ok(None) };
        if commit.clock_at.is_some() {
            return Err(self.bad(at, "a clock that others refer to is not whole"));
        }
        let clock = commit::decode_clock(&commit, None);
        self.base = Some(Base { seq: at, clock: clock.clone() });
        Ok(Some(clock))
    }

    fn commit_at(&self, seq: u64) -> Result<Option<Commit>, FollowError> {
        self.block(seq)?.map(|block| self.commit_of(&block)).transpose()
    }

    fn commit_of(&self, block: &Block) -> Result<Commit, FollowError> {
        let meta = Meta::decode_extra(&block.extra);
        let meta = meta.map_err(|error| self.bad(block.seq, &error.to_string()))?;
        meta.commit.ok_or_else(|| self.bad(block.seq, "it ends no commit"))
    }

    fn block(&self, seq: u64) -> Result<Option<Block>, FollowError> {
        self.found(seq, self.bee.get_by_seq(seq))
    }

    /// As [`block`](Self::block), of one of a stretch of so many that are all read. The cache keeps few:
    /// if they are many, each is gone before anybody asks for it again.
    fn read(&self, seq: u64, stretch: u64) -> Result<Option<Block>, FollowError> {
        if stretch <= CACHED_BLOCKS {
            return self.block(seq);
        }
        self.found(seq, self.bee.read_by_seq(seq))
    }

    fn found(
        &self,
        seq: u64,
        block: Result<Option<Block>, TreeError>,
    ) -> Result<Option<Block>, FollowError> {
        match block {
            Ok(Some(block)) => Ok(Some(block)),
            Ok(None) => Err(self.bad(seq, "it is no entry")),
            Err(TreeError::Missing(_)) => Ok(None),
            Err(TreeError::Log(error)) => Err(Error::from(error).into()),
            Err(error) => Err(self.bad(seq, &error.to_string())),
        }
    }

    fn bad(&self, seq: u64, what: &str) -> FollowError {
        BadNews { author: self.author, seq, what: what.into() }.into()
    }
}

/// What became of reading a planned commit.
enum Reading {
    Whole(OwnCommit),
    /// The blocks are no commit that follows what was applied.
    Misled,
    Missing(Range<u64>),
}

/// Ranges of a list from a peer: not empty, in order, within the length.
fn is_plausible(hint: &Hint) -> bool {
    let mut end = hint.since;
    hint.ranges.iter().all(|range| {
        let fits = range.start >= end && range.start < range.end && range.end <= hint.upto;
        end = range.end;
        fits
    })
}

#[cfg(test)]
mod tests;
