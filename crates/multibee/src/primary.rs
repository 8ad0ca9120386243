//! A device's own database: its tree, its clock, and how a commit is made.
//!
//! A commit holds either news from this device or what was merged from others, never both. It is
//! one append: data, merge progress and evidence land together or not at all.

use bytes::Bytes;
use multibee_btree::{Bee, Entry as Block};
use multibee_log::Log;
use multibee_merge::{Applied, Clock, DeviceId, Digest, HybridClock, MAX_DRIFT_MS, Time};

use crate::Error;
use crate::commit::{self, Base};
use crate::format::{self, Commit, Meta};
use crate::staging::Staging;
use crate::statement::Statement;
use crate::{keyspace, record};

/// One change that a user asked for.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

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
    time: HybridClock,
}

impl Primary {
    /// Restores the state from the last commit in the log.
    pub(crate) fn open(bee: Bee, wall_ms: u64) -> Result<Self, Error> {
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

    /// Learns the time of a write that is about to be merged.
    ///
    /// Returns by how many milliseconds its writer's clock is ahead, if it is too far.
    pub(crate) fn observe(&mut self, time: Time, wall_ms: u64) -> Option<u64> {
        self.time.observe(time, wall_ms)
    }

    /// A time for something that is signed outside the tree.
    pub(crate) fn stamp(&mut self, wall_ms: u64) -> Time {
        self.time.stamp(wall_ms)
    }

    /// Writes the user's changes as one own commit; says for each whether it changed anything.
    pub(crate) fn write(&mut self, ops: &[Op], wall_ms: u64) -> Result<Vec<bool>, Error> {
        let mut staging = self.stage(true)?;
        let mut changed = Vec::with_capacity(ops.len());
        for op in ops {
            changed.push(match op {
                Op::Put { key, value } => {
                    let held = staging.held(key)?;
                    let floor = held.versions.iter().map(|version| version.time).max();
                    let time = self.time.stamp_after(wall_ms, floor.unwrap_or_default());
                    staging.put(key, value, &held, time)?;
                    true
                }
                Op::Delete { key } => {
                    let held = staging.held(key)?;
                    let floor = held.versions.iter().map(|version| version.time).max();
                    held.in_tree && {
                        let time = self.time.stamp_after(wall_ms, floor.unwrap_or_default());
                        staging.delete(key, &held, time)?;
                        true
                    }
                }
            });
        }
        self.finish_own(staging)?;
        Ok(changed)
    }

    /// Writes statements of this device as an own commit.
    pub(crate) fn state(&mut self, statements: &[Statement]) -> Result<(), Error> {
        let mut staging = self.stage(true)?;
        for statement in statements {
            staging.put_statement(statement)?;
        }
        self.finish_own(staging)
    }

    /// Begins a commit. It ends by [`finish_own`](Self::finish_own) or
    /// [`finish_merge`](Self::finish_merge), or without a trace when dropped.
    pub(crate) fn stage(&self, own: bool) -> Result<Staging, Error> {
        let whole = self.context();
        let batch = self.bee.batch()?;
        debug_assert!(self.bee.version() >= 1, "the header is written at creation");
        Ok(Staging::new(batch, self.device, own, whole, self.digest))
    }

    /// The clock as context of every key: everything in the own log has been seen.
    fn context(&self) -> Clock {
        let mut clock = self.clock.clone();
        let length = self.log().len();
        clock.advance(self.device, Applied { length, tag: None });
        clock
    }

    fn finish_own(&mut self, staging: Staging) -> Result<(), Error> {
        let Some(last) = staging.last_seq() else { return Ok(()) };
        let (clock, clock_at) = commit::encode_clock(&self.clock, self.base.as_ref());
        let first = staging.first_seq();
        let record = Commit {
            clock,
            clock_at,
            prev_own: self.last_own,
            digest: Some(staging.digest().to_bytes().to_vec().into()),
            own_first: Some(first),
            ahead: format::encode_clock(&self.ahead),
        };
        let digest = staging.commit(record)?;
        self.digest = digest;
        self.last_own = Some(last);
        if clock_at.is_none() {
            self.base = Some(Base { seq: last, clock: self.clock.clone() });
        }
        Ok(())
    }

    /// Ends a commit of what was merged; from then on the clock is `clock`.
    pub(crate) fn finish_merge(&mut self, staging: Staging, clock: Clock) -> Result<(), Error> {
        let ahead = self.ahead.beyond(&clock);
        self.finish_ahead(staging, clock, ahead)
    }

    /// As [`finish_merge`](Self::finish_merge); some keys have then seen `ahead` beyond the clock.
    pub(crate) fn finish_ahead(
        &mut self,
        staging: Staging,
        clock: Clock,
        ahead: Clock,
    ) -> Result<(), Error> {
        if staging.last_seq().is_none() {
            debug_assert!(clock == self.clock, "a clock that moves needs a block to carry it");
            return Ok(());
        }
        let (entries, clock_at) = commit::encode_clock(&clock, self.base.as_ref());
        let record = Commit {
            clock: entries,
            clock_at,
            prev_own: self.last_own,
            digest: Some(staging.digest().to_bytes().to_vec().into()),
            own_first: None,
            ahead: format::encode_clock(&ahead),
        };
        self.digest = staging.commit(record)?;
        self.clock = clock;
        self.ahead = ahead;
        Ok(())
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
        self.time = HybridClock::restored(self.last_own_time(wall_ms)?);
        Ok(())
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
        Ok(Time::default())
    }

    fn was_floored(&self, block: &Block, first: u64, time: Time) -> Result<bool, Error> {
        if first <= 1 {
            return Ok(false);
        }
        let before = self.bee.checkout(first)?;
        let Some(old) = before.get(&block.key)? else { return Ok(false) };
        let held = record::Held::live(&old, self.device)
            .map_err(|error| Error::bad_record(old.seq, &error))?;
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

    /// All statements in the tree, checked again.
    pub(crate) fn statements(&self) -> Result<Vec<Statement>, Error> {
        let mut statements = Vec::new();
        let mut range = self.bee.snapshot()?.range(between(keyspace::statements()));
        while let Some(block) = range.next()? {
            let meta = self.meta(&block)?;
            let statement = Statement::verify(meta.state.unwrap_or_default())
                .map_err(|error| Error::bad_record(block.seq, &error))?;
            statements.push(statement);
        }
        Ok(statements)
    }
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
