//! Choosing anew what keys show, when the rules, or what this program knows, have changed.

use std::ops::Bound;

use bytes::Bytes;
use multibee_btree::RangeOptions;
use multibee_merge::Clock;

use crate::keyspace::{self, Place};
use crate::primary::Primary;
use crate::staging::Staging;
use crate::{Error, format::Meta};

/// Most keys of which one commit chooses anew what they show. What is left comes with the next.
const KEYS_MAX: u64 = 2000;

/// The keys of one of the indexes, from a bound on.
type Keys = (Bound<Bytes>, Bytes);

impl Staging {
    /// Chooses anew what the keys in conflict under changed prefixes show, as many as one commit has
    /// room for. Says whether those were all, and it is written down by which strategies.
    pub(crate) fn reshow_changed(&mut self, clock: &Clock) -> Result<bool, Error> {
        let prefixes = std::mem::take(&mut self.told.prefixes);
        if prefixes.is_empty() {
            return Ok(true);
        }
        let mut left = KEYS_MAX;
        for prefix in &prefixes {
            let (first, end) = keyspace::conflicts_under(prefix);
            let mut keys = (Bound::Included(first), end);
            self.reshow(&mut keys, clock, &mut left)?;
            if left == 0 {
                return Ok(false);
            }
        }
        self.put_shown_by(self.rules.fingerprint(&self.resolver().strategies))?;
        Ok(true)
    }

    /// Chooses anew for the next keys of an index, and moves on behind them. `left` says for how
    /// many at most, and then how many of these were not needed.
    fn reshow(&mut self, keys: &mut Keys, clock: &Clock, left: &mut u64) -> Result<(), Error> {
        let (start, end) = keys;
        let mut options =
            RangeOptions { lt: Some(end.clone()), limit: Some(*left), ..RangeOptions::default() };
        match start {
            Bound::Included(first) => options.gte = Some(first.clone()),
            Bound::Excluded(last) => options.gt = Some(last.clone()),
            Bound::Unbounded => {}
        }
        let mut found = Vec::new();
        for block in self.batch.range(options)? {
            found.push(block?.key);
        }
        for stored in &found {
            if let Place::Conflict(key) | Place::Opaque(key) = keyspace::place(stored) {
                self.show_anew(&key, clock)?;
            }
        }
        *left = left.saturating_sub(found.len() as u64);
        if let Some(last) = found.pop() {
            *start = Bound::Excluded(last);
        }
        Ok(())
    }

    /// Writes a key again if its versions show something else now, or belong in other indexes.
    fn show_anew(&mut self, key: &[u8], clock: &Clock) -> Result<(), Error> {
        let held = self.held(key)?;
        let resolution = self.resolve(key, &held.versions);
        let same = match (&held.showing, resolution.shown.first()) {
            (None, None) => true,
            (Some(showing), Some(shown)) => showing.is(shown, &held.versions),
            _ => false,
        };
        let belongs = (resolution.conflict, !resolution.opaque.is_empty());
        if same && belongs == self.listed(key, &held)? {
            return Ok(());
        }
        let state = held.state(self.context());
        self.store(key, &held, &state, clock)
    }
}

impl Primary {
    /// Sees to it that what is shown follows from the rules and from what this program knows, after
    /// an upgrade perhaps, or after a crash in the midst of it. The clock does not move.
    pub(crate) fn catch_up_showing(&mut self, wall_ms: u64) -> Result<(), Error> {
        let (first, end) = keyspace::opaques();
        self.reshow_all((Bound::Included(first), end), wall_ms)?;
        let fingerprint = self.rules().fingerprint(&self.resolver().strategies);
        let block = self.bee().snapshot()?.get(&keyspace::shown_by())?;
        let written = block.map(|block| {
            let meta = Meta::decode_extra(&block.extra);
            meta.map(|meta| meta.state).map_err(|error| Error::bad_record(block.seq, &error))
        });
        if written.transpose()?.flatten() == fingerprint {
            return Ok(());
        }
        self.reshow_conflicts(wall_ms)
    }

    /// Chooses anew what all keys in conflict show, and writes down by which strategies.
    pub(crate) fn reshow_conflicts(&mut self, wall_ms: u64) -> Result<(), Error> {
        let (first, end) = keyspace::conflicts();
        self.reshow_all((Bound::Included(first), end), wall_ms)?;
        let mut staging = self.stage(false)?;
        staging.put_shown_by(self.rules().fingerprint(&self.resolver().strategies))?;
        self.finish_merge(staging, self.clock().clone(), wall_ms).map(|_| ())
    }

    fn reshow_all(&mut self, mut keys: Keys, wall_ms: u64) -> Result<(), Error> {
        loop {
            let mut staging = self.stage(false)?;
            let (clock, mut left) = (self.clock().clone(), KEYS_MAX);
            staging.reshow(&mut keys, &clock, &mut left)?;
            self.finish_merge(staging, clock, wall_ms)?;
            if left > 0 {
                return Ok(());
            }
        }
    }
}
