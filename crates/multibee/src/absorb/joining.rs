//! Joining a batch of another database's state into the own tree, as one commit.

use std::collections::BTreeMap;

use multibee_btree::RangeOptions;
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId, Time};

use super::Batch;
use crate::Error;
use crate::broken::BrokenRule;
use crate::keyspace::{self, Place};
use crate::merging::Merged;
use crate::primary::Primary;
use crate::staging::Staging;

impl Primary {
    /// Joins a batch. The clock moves with the last one only: until then it would claim more than
    /// is here. `key_of` names devices in what is told.
    ///
    /// # Errors
    ///
    /// Only the own tree or log can fail; the state is then as before.
    pub(crate) fn absorb(
        &mut self,
        batch: &Batch,
        wall_ms: u64,
        key_of: impl Fn(DeviceId) -> Option<LogKey>,
    ) -> Result<Merged, Error> {
        let mut clock = self.clock().clone();
        let mut ahead = self.ahead().clone();
        ahead.merge(&batch.clock);
        ahead.merge(&batch.ahead);
        ahead.remove(self.device());
        let mut theirs = batch.clock.clone();
        if BrokenRule::AbsorbWithoutTags.is_broken() {
            theirs = crate::core::untagged(&theirs);
        }
        if batch.is_last || BrokenRule::MoveClockEarly.is_broken() {
            clock.merge(&theirs);
            clock.remove(self.device());
        }
        let ahead = ahead.beyond(&clock);
        let mut staging = self.stage(false)?;
        let mut merged = Merged { blocks: batch.keys.len() as u64, ..Merged::default() };
        let mut latest: BTreeMap<DeviceId, Time> = BTreeMap::new();
        // Rules first: what keys show depends on them.
        for (stored, theirs) in &batch.shared {
            let held = staging.held_shared(stored)?;
            let state = held.state(staging.context()).join(theirs);
            if state.versions() != held.versions {
                staging.store_shared(stored, &held, &state, &clock)?;
            }
        }
        for (key, theirs) in &batch.keys {
            let held = staging.held(key)?;
            let state = held.state(staging.context()).join(theirs);
            // What is equal need not be written again: the context grows with the clock.
            if state.versions() == held.versions {
                continue;
            }
            staging.store(key, &held, &state, &clock)?;
            merged.keys += 1;
            for version in state.versions() {
                let time = latest.entry(version.dot.device).or_default();
                *time = version.time.max(*time);
            }
        }
        for statement in &batch.statements {
            merged.statements |= staging.put_statement(statement)?;
        }
        let is_silent = staging.last_seq().is_none() && clock != *self.clock();
        if is_silent && !self.carry_clock(&mut staging, &clock)? {
            // Nothing is here, nor there: a clock that says so can wait.
            return Ok(merged);
        }
        let told = self.finish_ahead(staging, clock, ahead, wall_ms)?;
        (merged.conflicts, merged.settled) = (told.conflicts, told.settled);
        for (device, time) in latest {
            if let (Some(ahead), Some(author)) = (self.observe(time, wall_ms), key_of(device)) {
                merged.ahead.insert(author, ahead);
            }
        }
        Ok(merged)
    }

    /// Sees to it that a commit whose clock moves has a block, though nothing else changed: a
    /// record that is here is written again. Returns whether there is one.
    fn carry_clock(&self, staging: &mut Staging, clock: &Clock) -> Result<bool, Error> {
        if let Some(statement) = self.statements()?.first() {
            staging.rewrite_statement(statement)?;
            return Ok(true);
        }
        let mut records = self.bee().snapshot()?.range(RangeOptions::default());
        while let Some(block) = records.next()? {
            if let Place::User(key) | Place::Tombstone(key) = keyspace::place(&block.key) {
                let held = staging.held(&key)?;
                let state = held.state(staging.context());
                staging.store(&key, &held, &state, clock)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
