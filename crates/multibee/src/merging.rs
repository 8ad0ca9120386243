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
    /// Whether there is anything to write down in a commit with this clock, after one that had
    /// seen `context`.
    fn changes(&self, context: &Clock, clock: &Clock) -> bool {
        let before = self.held.state(context);
        let seen = |state: &State| state.context().beyond(clock);
        self.state.versions() != before.versions()
            || !seen(&self.state).same_lengths(&seen(&before))
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
        let context = staging.context().clone();
        for (key, joining) in &collected.keys {
            if joining.changes(&context, &clock) {
                staging.store(key, &joining.held, &joining.state, &clock)?;
                merged.keys += 1;
            }
        }
        for statement in &collected.statements {
            merged.statements |= staging.put_statement(statement)?;
        }
        collected.carry_clock(&mut staging, &clock)?;
        self.finish_merge(staging, clock, wall_ms)?;
        for &(author, time) in &collected.latest {
            if let Some(ahead) = self.observe(time, wall_ms) {
                let most = merged.ahead.entry(author).or_default();
                *most = ahead.max(*most);
            }
        }
        Ok(merged)
    }

    /// Stores statements that came by themselves. Returns whether any was new.
    pub(crate) fn learn(&mut self, statements: &[Statement], wall_ms: u64) -> Result<bool, Error> {
        let mut staging = self.stage(false)?;
        let mut new = false;
        for statement in statements {
            new |= staging.put_statement(statement)?;
        }
        let clock = self.clock().clone();
        self.finish_merge(staging, clock, wall_ms)?;
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

#[cfg(test)]
mod tests {
    use multibee_btree::{Bee, BeeOptions};
    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    use multibee_merge::Applied;

    use super::*;
    use crate::view::View;

    fn primary() -> (Primary, Bee) {
        let keys = KeyPair::from_seed([1; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        bee.create_header().unwrap();
        (Primary::open(bee.clone(), 0).unwrap(), bee)
    }

    /// One block of another device's log, as an own commit.
    fn news(author: u8, seq: u64, meta: Meta, value: &'static str) -> News {
        let author = LogKey::from_bytes([author; 32]);
        let block =
            Block { seq, key: "k".into(), value: Some(value.into()), extra: meta.into_extra() };
        let commits = vec![OwnCommit { clock: Clock::new(), blocks: vec![block] }];
        let applied = Applied { length: seq + 1, tag: None };
        News { author, device: device_of(&author), commits, applied }
    }

    /// The digest in memory is what a full scan finds.
    fn check_digest(primary: &Primary, bee: &Bee) -> u64 {
        let scan = View::new(bee.snapshot().unwrap(), primary.device()).scan().unwrap();
        assert_eq!(scan.digest, primary.digest());
        scan.keys
    }

    /// A value of a type that this program does not know is kept and counted, but not shown; a
    /// plain concurrent one is shown beside it.
    #[test]
    fn an_unknown_type_is_kept_and_not_shown() {
        let (mut primary, bee) = primary();
        let opaque = Meta { time: Some(9), r#type: Some(77), ..Meta::default() };
        primary.merge(&[news(2, 5, opaque, "?")], 0).unwrap();
        assert_eq!(check_digest(&primary, &bee), 0);
        assert_ne!(primary.digest(), multibee_merge::Digest::EMPTY);

        let plain = Meta { time: Some(3), ..Meta::default() };
        primary.merge(&[news(3, 7, plain, "shown")], 0).unwrap();
        assert_eq!(check_digest(&primary, &bee), 1);
        let view = View::new(bee.snapshot().unwrap(), primary.device());
        assert_eq!(view.get(b"k").unwrap().unwrap().value, "shown");
        assert_eq!(view.conflict(b"k").unwrap().unwrap().versions.len(), 2);
    }

    /// News that was superseded before it came moves the clock and changes nothing else.
    #[test]
    fn superseded_news_moves_the_clock_only() {
        let (mut primary, bee) = primary();
        let second = device_of(&LogKey::from_bytes([2; 32]));
        let seen = crate::format::Applied { device: second.as_u64(), length: 6, tag: None };
        let later = Meta { time: Some(3), seen: vec![seen], ..Meta::default() };
        primary.merge(&[news(3, 7, later, "later")], 0).unwrap();
        let digest = primary.digest();

        let earlier = Meta { time: Some(99), ..Meta::default() };
        let merged = primary.merge(&[news(2, 5, earlier, "earlier")], 0).unwrap();
        assert_eq!((merged.keys, primary.digest()), (0, digest));
        assert_eq!(primary.clock().length(second), 6);
        assert_eq!(check_digest(&primary, &bee), 1);

        // Nothing is left to say: the same once more writes nothing.
        let length = bee.log().len();
        primary.merge(&[news(2, 5, Meta::default(), "earlier")], 0).unwrap();
        assert_eq!(bee.log().len(), length);

        // What was restored is what was in memory.
        let again = Primary::open(bee.clone(), 0).unwrap();
        assert_eq!((again.clock(), again.digest()), (primary.clock(), primary.digest()));
    }

    /// A record of a newer program is refused before anything of its log is written.
    #[test]
    fn records_of_newer_programs_are_refused() {
        let mut strange = news(2, 5, Meta::default(), "?");
        strange.commits[0].blocks[0].key = Bytes::from_static(b"\xffz");
        assert!(check(&strange).is_err());
        let mut garbled = news(2, 5, Meta::default(), "?");
        garbled.commits[0].blocks[0].extra = Bytes::from_static(b"\xa2\x06\x05\x00");
        assert!(check(&garbled).is_err());
    }
}
