//! Other names for writes that are held already.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multibee_btree::RangeOptions;
use multibee_merge::{Renaming, State, Version};

use crate::Error;
use crate::keyspace::{self, Place};
use crate::primary::Primary;

/// What a log's author had written to keys, last before the log's histories part.
pub(crate) type Before = BTreeMap<Bytes, Vec<Version>>;

impl Primary {
    /// Gives all that a renaming concerns its other name, in one commit: versions, contexts, what
    /// types' states say, and the clock. `before` is what the log's author had written to keys before
    /// its histories part.
    ///
    /// # Errors
    ///
    /// Only the own tree or log can fail; the state is then as before.
    pub(crate) fn rename(
        &mut self,
        renaming: &Renaming,
        before: &Before,
        wall_ms: u64,
    ) -> Result<(), Error> {
        let clock = renaming.clock(self.clock());
        let mut staging = self.stage(false)?;
        let context = staging.context().clone();
        for (place, key) in self.keys()? {
            let held = match place {
                Kept::User => staging.held(&key)?,
                Kept::Shared => staging.held_shared(&key)?,
            };
            let versions = before.get(&key).map_or(&[][..], Vec::as_slice);
            let state = self.renamed(&held.state(&context), renaming, versions);
            let is_same = state.versions() == held.versions
                && held.seen.length(renaming.device) <= renaming.from;
            if is_same {
                continue;
            }
            match place {
                Kept::User => staging.store(&key, &held, &state, &clock)?,
                Kept::Shared => staging.store_shared(&key, &held, &state, &clock)?,
            }
        }
        if staging.last_seq().is_none() {
            // A clock that moves needs a block to carry it.
            match self.statements()?.first() {
                Some(statement) => staging.rewrite_statement(statement)?,
                None => return Ok(()),
            }
        }
        let ahead = renaming.clock(self.ahead()).beyond(&clock);
        self.finish_ahead(staging, clock, ahead, wall_ms).map(|_| ())
    }

    /// Keys of which it takes more than what is held to tell the part behind from that before.
    pub(crate) fn renamed_from_before(
        &self,
        renaming: &Renaming,
    ) -> Result<BTreeSet<Bytes>, Error> {
        let mut staging = self.stage(false)?;
        let context = staging.context().clone();
        let types = &self.resolver().types;
        let mut keys = BTreeSet::new();
        for (place, key) in self.keys()? {
            let Kept::User = place else { continue };
            let held = staging.held(&key)?;
            let counts =
                held.versions.iter().any(|version| types.renames_from_before(version.kind));
            if counts
                && self.renamed(&held.state(&context), renaming, &[]).versions() != held.versions
            {
                keys.insert(key);
            }
        }
        Ok(keys)
    }

    fn renamed(&self, state: &State, renaming: &Renaming, before: &[Version]) -> State {
        let types = &self.resolver().types;
        let renamed = renaming.state(state, |version| {
            Ok::<_, std::convert::Infallible>(types.rename(version, renaming, before))
        });
        match renamed {
            Ok(state) => state,
            Err(never) => match never {},
        }
    }

    /// All keys of which something is held, and the records that all devices share.
    fn keys(&self) -> Result<Vec<(Kept, Bytes)>, Error> {
        let mut keys = Vec::new();
        let mut range = self.bee().snapshot()?.range(RangeOptions::default());
        while let Some(block) = range.next()? {
            match keyspace::place(&block.key) {
                Place::User(key) | Place::Tombstone(key) => keys.push((Kept::User, key)),
                Place::Shared(stored) => keys.push((Kept::Shared, stored)),
                _ => {}
            }
        }
        Ok(keys)
    }
}

#[derive(Clone, Copy)]
enum Kept {
    User,
    Shared,
}
