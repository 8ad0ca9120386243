//! Joining what others wrote into the own tree, as one commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee_btree::Entry as Block;
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId, State, Time};

use crate::format::Meta;
use crate::keyspace::{self, Place};
use crate::news::{News, OwnCommit};
use crate::primary::Primary;
use crate::record::{self, Held};
use crate::staging::Staging;
use crate::statement::Statement;
use crate::{Error, MAX_BATCH_OPS};

/// What a merge did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merged {
    /// Blocks of others that were joined.
    pub(crate) blocks: u64,
    /// Keys whose state changed.
    pub(crate) keys: u64,
    /// Whether statements came along that were not known.
    pub(crate) statements: bool,
    /// Devices whose clocks are too far ahead, and by how many milliseconds.
    pub(crate) ahead: BTreeMap<LogKey, u64>,
}

/// A block of another device that can't be joined: its author's fault.
#[derive(Debug, thiserror::Error)]
#[error("block {seq}: {what}")]
pub(crate) struct BadNews {
    pub(crate) author: LogKey,
    pub(crate) seq: u64,
    pub(crate) what: String,
}

/// A key on its way from what is held to what it becomes.
struct Joining {
    held: Held,
    state: State,
}

impl Joining {
    /// Whether there is anything to write down in a commit with this clock.
    fn changes(&self, clock: &Clock) -> bool {
        let seen = |context: &Clock| context.beyond(clock);
        self.state.versions() != self.held.versions
            || !seen(self.state.context()).same_lengths(&seen(self.held.state(clock).context()))
    }
}

/// The changes of one merge commit, collected before anything is staged.
#[derive(Default)]
struct Collected {
    keys: BTreeMap<Bytes, Joining>,
    statements: Vec<Statement>,
    latest: Vec<(LogKey, Time)>,
    blocks: u64,
}

/// Reads the news and finds fault with it before anything is written.
///
/// # Errors
///
/// [`BadNews`] blames the author of a log: leave that log alone and go on with the others.
pub(crate) fn check(news: &News) -> Result<(), BadNews> {
    for commit in &news.commits {
        let is_user = |block: &&Block| matches!(keyspace::place(&block.key), Place::User(_));
        if commit.blocks.iter().filter(is_user).count() > MAX_BATCH_OPS {
            let seq = commit.blocks.first().map_or(0, |block| block.seq);
            let what = "a commit of more changes than a device may write".into();
            return Err(BadNews { author: news.author, seq, what });
        }
    }
    for block in news.commits.iter().flat_map(|commit| &commit.blocks) {
        let bad = |what: String| BadNews { author: news.author, seq: block.seq, what };
        match keyspace::place(&block.key) {
            Place::User(_) | Place::Tombstone(_) | Place::Conflict(_) => {
                Meta::decode_extra(&block.extra).map_err(|error| bad(error.to_string()))?;
            }
            Place::Statement => {
                let meta = Meta::decode_extra(&block.extra).map_err(|e| bad(e.to_string()))?;
                Statement::verify(meta.state.unwrap_or_default())
                    .map_err(|e| bad(e.to_string()))?;
            }
            Place::Unknown => return Err(bad("a record of a newer program".into())),
        }
    }
    Ok(())
}

impl Primary {
    /// Joins news that [`check`] found no fault with, as one commit. The clock moves with it.
    ///
    /// # Errors
    ///
    /// Only the own tree or log can fail; the state is then as before.
    pub(crate) fn merge(&mut self, news: &[News], wall_ms: u64) -> Result<Merged, Error> {
        let mut clock = self.clock().clone();
        for part in news {
            clock.advance(part.device, part.applied);
        }
        if clock == *self.clock() {
            return Ok(Merged::default());
        }
        let mut staging = self.stage(false)?;
        let mut collected = Collected::default();
        for part in news {
            for commit in &part.commits {
                collected.join_commit(&mut staging, part, commit)?;
            }
        }
        let mut merged = Merged { blocks: collected.blocks, ..Merged::default() };
        for (key, joining) in &collected.keys {
            if joining.changes(&clock) {
                staging.store(key, &joining.held, &joining.state, &clock)?;
                merged.keys += 1;
            }
        }
        for statement in &collected.statements {
            merged.statements |= staging.put_statement(statement)?;
        }
        collected.carry_clock(&mut staging, &clock)?;
        self.finish_merge(staging, clock)?;
        for &(author, time) in &collected.latest {
            if let Some(ahead) = self.observe(time, wall_ms) {
                let most = merged.ahead.entry(author).or_default();
                *most = ahead.max(*most);
            }
        }
        Ok(merged)
    }

    /// Stores statements that came by themselves. Returns whether any was new.
    pub(crate) fn learn(&mut self, statements: &[Statement]) -> Result<bool, Error> {
        let mut staging = self.stage(false)?;
        let mut new = false;
        for statement in statements {
            new |= staging.put_statement(statement)?;
        }
        let clock = self.clock().clone();
        self.finish_merge(staging, clock)?;
        Ok(new)
    }
}

impl Collected {
    fn join_commit(
        &mut self,
        staging: &mut Staging,
        news: &News,
        commit: &OwnCommit,
    ) -> Result<(), Error> {
        for block in &commit.blocks {
            self.blocks += 1;
            let readable = "checked before the merge began";
            match keyspace::place(&block.key) {
                Place::User(key) => {
                    let theirs = record::written(block, news.device, &commit.clock);
                    let theirs = theirs.map_err(|_| Error::bad_record(block.seq, &readable))?;
                    let time = theirs.latest().unwrap_or_default();
                    self.latest.push((news.author, time));
                    self.join_key(staging, key, &theirs)?;
                }
                Place::Statement => {
                    let meta = Meta::decode_extra(&block.extra);
                    let meta = meta.map_err(|_| Error::bad_record(block.seq, &readable))?;
                    let statement = Statement::verify(meta.state.unwrap_or_default());
                    let statement =
                        statement.map_err(|_| Error::bad_record(block.seq, &readable))?;
                    self.statements.push(statement);
                }
                // The author's own bookkeeping: ours follows from the versions.
                Place::Tombstone(_) | Place::Conflict(_) => {}
                Place::Unknown => return Err(Error::bad_record(block.seq, &readable)),
            }
        }
        Ok(())
    }

    fn join_key(&mut self, staging: &mut Staging, key: Bytes, theirs: &State) -> Result<(), Error> {
        if let Some(joining) = self.keys.get_mut(&key) {
            joining.state = joining.state.join(theirs);
            return Ok(());
        }
        let held = staging.held(&key)?;
        let state = held.state(staging.context()).join(theirs);
        self.keys.insert(key, Joining { held, state });
        Ok(())
    }

    /// Sees to it that a commit whose clock moves has a block, though nothing else changed.
    ///
    /// That is so when all news had been superseded by writes that are here already: then the
    /// record of the last such key is written again, without the context that the clock now has.
    fn carry_clock(&self, staging: &mut Staging, clock: &Clock) -> Result<(), Error> {
        if staging.last_seq().is_some() {
            return Ok(());
        }
        if let Some((key, joining)) = self.keys.last_key_value() {
            return staging.store(key, &joining.held, &joining.state, clock);
        }
        match self.statements.last() {
            Some(statement) => staging.rewrite_statement(statement),
            None => Ok(()),
        }
    }
}

/// The id of a log's device.
pub(crate) fn device_of(key: &LogKey) -> DeviceId {
    DeviceId::of_key(key.as_bytes())
}
