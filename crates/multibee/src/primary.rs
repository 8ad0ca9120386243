//! A device's own database: its tree, its clock, and how a commit is made.
//!
//! A commit holds either news from this device or what was merged from others, never both. It is
//! one append: data, merge progress and evidence land together or not at all.

use std::sync::Arc;

use bytes::Bytes;
use multibee_btree::{Bee, Entry as Block};
use multibee_log::Log;
use multibee_merge::{Applied, Clock, DeviceId, Digest, HybridClock, MAX_DRIFT_MS, Time};

use crate::Error;
use crate::broken::BrokenRule;
use crate::commit::{self, Base};
use crate::format::{self, Commit, Meta};
use crate::keyspace::{self, Place};
use crate::resolver::Resolver;
use crate::rules::Rules;
use crate::staging::{Staging, Start, Told};
use crate::statement::{Claim, Statement};
use crate::view::View;

/// The state of the last commit, in memory.
#[derive(Debug)]
pub(crate) struct Primary {
    bee: Bee,
    device: DeviceId,
    /// How far every other device's log has been applied.
    clock: Clock,
    /// Last block of the last own commit.
    last_own: Option<u64>,
    base: Option<Base>,
    /// What some keys have seen beyond the clock, because a state was joined in part.
    ahead: Clock,
    digest: Digest,
    /// Stamps writes.
    time: HybridClock,
    /// Stamps commits. It learns nothing of others, and no write is later because of it: a clock
    /// that was wrong while something was merged makes no write look late.
    committed: HybridClock,
    /// Whether it was said in this run that our own stamps are ahead of our clock.
    said_ahead: bool,
    resolver: Arc<Resolver>,
    rules: Rules,
}

impl Primary {
    /// Restores the state from the last commit in the log.
    ///
    /// If this program knows more types or strategies than the one that wrote the log, what is shown
    /// is chosen anew, as commits of their own.
    pub(crate) fn open(bee: Bee, resolver: Arc<Resolver>, wall_ms: u64) -> Result<Self, Error> {
        let device = DeviceId::of_key(bee.log().key().as_bytes());
        let mut primary = Self {
            bee,
            device,
            clock: Clock::new(),
            last_own: None,
            base: None,
            ahead: Clock::new(),
            digest: Digest::EMPTY,
            time: HybridClock::default(),
            committed: HybridClock::default(),
            said_ahead: false,
            resolver,
            rules: Rules::default(),
        };
        primary.restore(wall_ms)?;
        Ok(primary)
    }

    pub(crate) const fn bee(&self) -> &Bee {
        &self.bee
    }

    pub(crate) fn log(&self) -> &Log {
        self.bee.log()
    }

    pub(crate) const fn device(&self) -> DeviceId {
        self.device
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) const fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// How keys are merged.
    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How far every other device's log has been applied.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What some keys have seen beyond the clock; empty unless a state was joined in part.
    pub(crate) const fn ahead(&self) -> &Clock {
        &self.ahead
    }

    /// The clock with this device's own log in it, up to its last own commit.
    pub(crate) fn whole_clock(&self) -> Result<Clock, Error> {
        let mut clock = self.clock.clone();
        if let Some(last) = self.last_own {
            let length = last + 1;
            let tag = tag_at(self.log(), length)?;
            clock.advance(self.device, Applied { length, tag });
        }
        Ok(clock)
    }

    /// When the last commit was made: milliseconds since 1970.
    pub(crate) fn committed_ms(&self) -> Option<u64> {
        let last = self.committed.last();
        (last != Time::default()).then(|| last.millis())
    }

    /// Learns the time of a write that is about to be merged.
    ///
    /// Returns by how many milliseconds its writer's clock is ahead, if it is too far.
    pub(crate) fn observe(&mut self, time: Time, wall_ms: u64) -> Option<u64> {
        let wall_ms = if BrokenRule::FollowAnyClock.is_broken() { time.millis() } else { wall_ms };
        self.time.observe(time, wall_ms)
    }

    /// By how many milliseconds our own stamps are ahead of our clock, if by too much: it was wrong
    /// once. Says so once in each run.
    pub(crate) fn own_drift(&mut self, wall_ms: u64) -> Option<u64> {
        let ahead_ms = self.time.last().millis().saturating_sub(wall_ms);
        let is_news = ahead_ms > MAX_DRIFT_MS && !self.said_ahead;
        self.said_ahead |= is_news;
        is_news.then_some(ahead_ms)
    }

    /// What stamps writes.
    pub(crate) const fn time(&self) -> &HybridClock {
        &self.time
    }

    /// Takes back stamps that were not used.
    pub(crate) fn set_time(&mut self, time: HybridClock) {
        self.time = time;
    }

    /// A time for something that is signed outside the tree.
    pub(crate) fn stamp(&mut self, wall_ms: u64) -> Time {
        self.time.stamp(wall_ms)
    }

    /// As [`stamp`](Self::stamp), and later than what it supersedes.
    pub(crate) fn stamp_after(&mut self, wall_ms: u64, superseded: Time) -> Time {
        if BrokenRule::IgnoreFloor.is_broken() {
            return self.time.stamp(wall_ms);
        }
        self.time.stamp_after(wall_ms, superseded)
    }

    /// Writes statements of this device as an own commit.
    pub(crate) fn state(&mut self, statements: &[Statement], wall_ms: u64) -> Result<(), Error> {
        let mut staging = self.stage(true)?;
        for statement in statements {
            staging.put_statement(statement)?;
        }
        self.finish_own(staging, wall_ms)
    }

    /// Begins a commit. It ends by [`finish_own`](Self::finish_own) or
    /// [`finish_merge`](Self::finish_merge), or without a trace when dropped.
    pub(crate) fn stage(&self, own: bool) -> Result<Staging, Error> {
        let batch = self.bee.batch()?;
        debug_assert!(self.bee.version() >= 1, "the header is written at creation");
        let start = Start {
            device: self.device,
            own,
            context: self.context(),
            digest: self.digest,
            resolver: self.resolver.clone(),
            rules: self.rules.clone(),
        };
        Ok(Staging::new(batch, start))
    }

    /// The clock as context of every key: everything in the own log has been seen.
    fn context(&self) -> Clock {
        let mut clock = self.clock.clone();
        let length = self.log().len();
        clock.advance(self.device, Applied { length, tag: None });
        clock
    }

    /// Ends a commit of the user's own. What changed rules have to say comes with the next one.
    pub(crate) fn finish_own(&mut self, mut staging: Staging, wall_ms: u64) -> Result<(), Error> {
        let Some(last) = staging.last_seq() else { return Ok(()) };
        let prefixes = std::mem::take(&mut staging.told.prefixes);
        let rules = staging.rules.clone();
        let (clock, clock_at) = commit::encode_clock(&self.clock, self.base.as_ref());
        let first = staging.first_seq();
        let record = Commit {
            clock,
            clock_at,
            prev_own: self.last_own,
            digest: Some(staging.digest().to_bytes().to_vec().into()),
            own_first: Some(first),
            at: Some(self.committed.stamp(wall_ms).as_u64()),
            ahead: format::encode_clock(&self.ahead),
        };
        self.digest = staging.commit(record)?;
        self.last_own = Some(last);
        self.rules = rules;
        if clock_at.is_none() {
            self.base = Some(Base { seq: last, clock: self.clock.clone() });
        }
        if !prefixes.is_empty() {
            let mut staging = self.stage(false)?;
            staging.told.prefixes = prefixes;
            self.finish_merge(staging, self.clock.clone(), wall_ms)?;
        }
        Ok(())
    }

    /// Ends a commit of what was merged; from then on the clock is `clock`.
    ///
    /// Under prefixes whose strategy has changed by it, what is shown is chosen anew.
    pub(crate) fn finish_merge(
        &mut self,
        staging: Staging,
        clock: Clock,
        wall_ms: u64,
    ) -> Result<Told, Error> {
        let ahead = self.ahead.beyond(&clock);
        self.finish_ahead(staging, clock, ahead, wall_ms)
    }

    /// As [`finish_merge`](Self::finish_merge); some keys have then seen `ahead` beyond the clock.
    pub(crate) fn finish_ahead(
        &mut self,
        mut staging: Staging,
        clock: Clock,
        ahead: Clock,
        wall_ms: u64,
    ) -> Result<Told, Error> {
        let is_all = staging.reshow_changed(&clock)?;
        if staging.last_seq().is_none() {
            debug_assert!(clock == self.clock, "a clock that moves needs a block to carry it");
            return Ok(Told::default());
        }
        let is_spoken = BrokenRule::SpeakMerge.is_broken();
        let last = staging.last_seq();
        let (told, rules) = (std::mem::take(&mut staging.told), staging.rules.clone());
        let (entries, clock_at) = commit::encode_clock(&clock, self.base.as_ref());
        let record = Commit {
            clock: entries,
            clock_at,
            prev_own: self.last_own,
            digest: Some(staging.digest().to_bytes().to_vec().into()),
            own_first: is_spoken.then(|| staging.first_seq()),
            at: Some(self.committed.stamp(wall_ms).as_u64()),
            ahead: format::encode_clock(&ahead),
        };
        self.digest = staging.commit(record)?;
        self.clock = clock;
        self.ahead = ahead;
        self.rules = rules;
        if is_spoken {
            self.last_own = last;
        }
        if !is_all {
            self.reshow_conflicts(wall_ms)?;
        }
        Ok(told)
    }

    fn restore(&mut self, wall_ms: u64) -> Result<(), Error> {
        let length = self.log().len();
        if length <= 1 {
            return Ok(());
        }
        let last = length - 1;
        let commit = self.commit_at(last)?;
        if let Some(at) = commit.clock_at {
            let clock = commit::decode_clock(&self.commit_at(at)?, None);
            self.base = Some(Base { seq: at, clock });
        }
        let base = self.base.as_ref().map(|base| &base.clock);
        self.clock = commit::decode_clock(&commit, base);
        self.ahead = format::decode_clock(&commit.ahead);
        self.digest = commit::decode_digest(commit.digest.as_ref())
            .ok_or_else(|| Error::bad_record(last, &"its commit has no digest"))?;
        self.last_own = if commit.own_first.is_some() { Some(last) } else { commit.prev_own };
        self.restore_base()?;
        if !BrokenRule::ForgetTime.is_broken() {
            self.time = HybridClock::restored(self.last_own_time(wall_ms)?);
        }
        self.committed = HybridClock::restored(Time::from_u64(commit.at.unwrap_or_default()));
        self.rules = Rules::load(&self.bee.snapshot()?, self.device)?;
        self.catch_up_showing(wall_ms)
    }

    /// Own commits refer to own commits: a merge commit that carried its clock whole is no base.
    fn restore_base(&mut self) -> Result<(), Error> {
        let Some(last_own) = self.last_own else {
            self.base = None;
            return Ok(());
        };
        let commit = self.commit_at(last_own)?;
        let at = commit.clock_at.unwrap_or(last_own);
        let clock = commit::decode_clock(&self.commit_at(at)?, None);
        self.base = Some(Base { seq: at, clock });
        Ok(())
    }

    /// The time after which the clock goes on: that of the last own write.
    ///
    /// A write that was stamped later than its key's future time only (a floor) says nothing
    /// about the clock; then the own commit before it is asked.
    fn last_own_time(&self, wall_ms: u64) -> Result<Time, Error> {
        let bound = Time::from_millis(wall_ms.saturating_add(MAX_DRIFT_MS));
        let mut at = self.last_own;
        while let Some(seq) = at {
            let commit = self.commit_at(seq)?;
            let first = commit.own_first.unwrap_or(seq);
            for seq in (first..=seq).rev() {
                let block = self.block(seq)?;
                let time = self.meta(&block)?.stamp();
                let floored = time > bound && self.was_floored(&block, first, time)?;
                if time != Time::default() && !floored {
                    return Ok(time);
                }
            }
            at = commit.prev_own;
        }
        self.time_of_succession()
    }

    /// The time after which the clock goes on if nothing was written yet since this log took over from
    /// another one: that of the statement that it does.
    fn time_of_succession(&self) -> Result<Time, Error> {
        let own = self.log().key();
        let is_about_us = |statement: &&Statement| matches!(&statement.claim, Claim::Succeed { key, .. } if *key == own);
        let statements = self.statements()?;
        let times = statements.iter().filter(is_about_us).map(|statement| statement.time);
        Ok(times.max().unwrap_or_default())
    }

    fn was_floored(&self, block: &Block, first: u64, time: Time) -> Result<bool, Error> {
        if first <= 1 {
            return Ok(false);
        }
        let before = View::new(self.bee.checkout(first)?, self.device, self.resolver.clone());
        let held = match keyspace::place(&block.key) {
            // A tombstone has a floor, too.
            Place::User(key) | Place::Tombstone(key) => before.held(&key)?,
            Place::Shared(stored) => before.held_shared(&stored)?,
            _ => return Ok(false),
        };
        let floor = held.versions.iter().map(|version| version.time).max();
        Ok(floor.is_some_and(|floor| floor.next() == time))
    }

    fn block(&self, seq: u64) -> Result<Block, Error> {
        self.bee
            .get_by_seq(seq)?
            .ok_or_else(|| Error::bad_record(seq, &"it is not there, or no entry"))
    }

    fn meta(&self, block: &Block) -> Result<Meta, Error> {
        Meta::decode_extra(&block.extra).map_err(|error| Error::bad_record(block.seq, &error))
    }

    fn commit_at(&self, seq: u64) -> Result<Commit, Error> {
        let block = self.block(seq)?;
        let meta = self.meta(&block)?;
        meta.commit.ok_or_else(|| Error::bad_record(seq, &"it ends no commit"))
    }

    /// The length of the own log at which the last own commit ended.
    #[cfg(test)]
    pub(crate) fn last_own_end(&self) -> u64 {
        self.last_own.map_or(0, |last| last + 1)
    }

    /// The own commits from block `since` on, oldest first, as ranges of blocks.
    pub(crate) fn own_ranges(&self, since: u64) -> Result<Vec<std::ops::Range<u64>>, Error> {
        let mut ranges = Vec::new();
        let mut at = self.last_own;
        while let Some(seq) = at.filter(|&seq| seq >= since) {
            let commit = self.commit_at(seq)?;
            let first = commit.own_first.ok_or_else(|| Error::bad_record(seq, &"not own"))?;
            ranges.push(first..seq + 1);
            at = commit.prev_own;
        }
        ranges.reverse();
        Ok(ranges)
    }

    /// All statements in the tree.
    pub(crate) fn statements(&self) -> Result<Vec<Statement>, Error> {
        statements(&self.bee)
    }
}

/// All statements in a tree of ours.
pub(crate) fn statements(bee: &Bee) -> Result<Vec<Statement>, Error> {
    let mut statements = Vec::new();
    let mut range = bee.snapshot()?.range(between(keyspace::statements()));
    while let Some(block) = range.next()? {
        let bad = |error: &dyn std::fmt::Display| Error::bad_record(block.seq, &error);
        let meta = Meta::decode_extra(&block.extra).map_err(|error| bad(&error))?;
        let hash = keyspace::statement_hash(&block.key).ok_or_else(|| bad(&"it has no hash"))?;
        let statement = Statement::kept(meta.state.unwrap_or_default(), hash);
        statements.push(statement.map_err(|error| bad(&error))?);
    }
    Ok(statements)
}

/// The first 8 bytes of a log's tree hash at a length, if the nodes for it are here.
pub(crate) fn tag_at(log: &Log, length: u64) -> Result<Option<[u8; 8]>, Error> {
    let hash = log.tree_hash_at(length)?;
    Ok(hash.and_then(|hash| hash.as_bytes().first_chunk().copied()))
}

/// The range of stored keys from the first up to, but without, the second.
pub(crate) fn between((first, end): (Bytes, Bytes)) -> multibee_btree::RangeOptions {
    multibee_btree::RangeOptions { gte: Some(first), lt: Some(end), ..Default::default() }
}
