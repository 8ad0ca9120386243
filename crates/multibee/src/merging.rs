//! Joining what others wrote into the own tree, as one commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee_btree::Entry as Block;
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId, State, Time};

use crate::aside::{self, CONTENT_LEN_MAX};
use crate::broken::BrokenRule;
use crate::format::Meta;
use crate::keyspace::{self, Place};
use crate::news::{News, OwnCommit};
use crate::primary::Primary;
use crate::record::{self, Held};
use crate::staging::{Staging, Told};
use crate::statement::Statement;
use crate::view::View;
use crate::{Error, MAX_BATCH_OPS};

/// Bytes after which a merge goes on in another commit, well below what one append takes. (Few in
/// tests, so that many merges take several.)
const COMMIT_BYTES_MAX: usize = if cfg!(test) { 64 } else { 128 << 20 };

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
    /// Keys that came into conflict; some of them, if they are very many.
    pub(crate) conflicts: Vec<Bytes>,
    /// Keys that are in conflict no more; some of them, if they are very many.
    pub(crate) settled: Vec<Bytes>,
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
    fn join(&mut self, theirs: State) {
        self.state = std::mem::take(&mut self.state).joined(theirs);
    }

    /// Whether there is anything to write down in a commit with this clock, after one that had
    /// seen `context`.
    fn changes(&self, context: &Clock, clock: &Clock) -> bool {
        let seen = |state: &State| state.context().beyond(clock);
        self.state.versions() != self.held.versions
            || !seen(&self.state).same_lengths(&seen(&self.held.state(context)))
    }
}

/// The changes of one merge commit, collected before anything is staged.
#[derive(Default)]
struct Collected {
    keys: BTreeMap<Bytes, Joining>,
    /// Records that all devices share, by their stored keys.
    shared: BTreeMap<Bytes, Joining>,
    statements: Vec<Statement>,
    latest: Vec<(LogKey, Time)>,
    blocks: u64,
    /// The data before our last write, if what is held there is taken for what is held now.
    stale: Option<View>,
}

/// Reads the news and finds fault with it before anything is written.
///
/// # Errors
///
/// [`BadNews`] blames the author of a log: leave that log alone and go on with the others.
pub(crate) fn check(news: &News) -> Result<(), BadNews> {
    for commit in &news.commits {
        // Few have more blocks than a device may write changes.
        let is_long = commit.blocks.len() > MAX_BATCH_OPS;
        if is_long && commit.blocks.iter().filter(|one| is_change(one)).count() > MAX_BATCH_OPS {
            let seq = commit.blocks.first().map_or(0, |block| block.seq);
            let what = "a commit of more changes than a device may write".into();
            return Err(BadNews { author: news.author, seq, what });
        }
    }
    for block in news.commits.iter().flat_map(|commit| &commit.blocks) {
        let len = block.value.as_ref().map_or(0, Bytes::len) + block.extra.len();
        // What can't be read is held with its length.
        if len + size_of::<u64>() > CONTENT_LEN_MAX {
            let what = format!("a block of {len} bytes is longer than any device may write");
            return Err(BadNews { author: news.author, seq: block.seq, what });
        }
        if keyspace::is_statement(&block.key) {
            let bad = |what: String| BadNews { author: news.author, seq: block.seq, what };
            let meta = Meta::decode_extra(&block.extra).map_err(|e| bad(e.to_string()))?;
            Statement::verify(meta.state.unwrap_or_default()).map_err(|e| bad(e.to_string()))?;
        }
    }
    Ok(())
}

/// Whether a block of an own commit changes what all devices share, statements left aside.
pub(crate) fn is_change(block: &Block) -> bool {
    match keyspace::place(&block.key) {
        Place::User(_) | Place::Shared(_) => true,
        Place::Tombstone(_) => record::is_news(block),
        _ => false,
    }
}

impl Primary {
    /// Joins news that [`check`] found no fault with, as one commit. The clock moves with it.
    ///
    /// What is too long for one commit is joined by several, as an absorbed state is: the clock moves
    /// with the last one, and those before name in `ahead` what their keys have seen.
    ///
    /// # Errors
    ///
    /// Only the own tree or log can fail; the state is then as before, or as after one of several
    /// commits.
    pub(crate) fn merge(&mut self, news: &[News], wall_ms: u64) -> Result<Merged, Error> {
        let mut clock = self.clock().clone();
        for part in news {
            clock.advance(part.device, part.applied);
        }
        if clock == *self.clock() {
            return Ok(Merged::default());
        }
        let mut staging = self.stage(false)?;
        let mut collected = Collected { stale: self.stale_view()?, ..Collected::default() };
        for part in news {
            for commit in &part.commits {
                collected.join_commit(&mut staging, part, commit)?;
            }
        }
        let mut merged = Merged { blocks: collected.blocks, ..Merged::default() };
        let context = staging.context().clone();
        let is_long = collected.byte_count() > COMMIT_BYTES_MAX;
        let stored_at = if is_long { self.clock().clone() } else { clock.clone() };
        // Rules first: what keys show depends on them.
        for (stored, joining) in &collected.shared {
            if joining.changes(&context, &clock) {
                staging.store_shared(stored, &joining.held, &joining.state, &stored_at)?;
            }
        }
        for (key, joining) in &collected.keys {
            if !joining.changes(&context, &clock) {
                continue;
            }
            merged.keys += 1;
            if !is_long {
                staging.store(key, &joining.held, &joining.state, &clock)?;
                continue;
            }
            if staging.byte_count() >= COMMIT_BYTES_MAX {
                let ahead = self.ahead_of_merge(&clock);
                merged.tell(self.finish_ahead(staging, stored_at.clone(), ahead, wall_ms)?);
                staging = self.stage(false)?;
            }
            // Rules in a commit before may have changed what the key shows.
            let held = staging.held(key)?;
            staging.store(key, &held, &joining.state, &stored_at)?;
        }
        for statement in &collected.statements {
            merged.statements |= staging.put_statement(statement)?;
        }
        collected.carry_clock(&mut staging, &clock)?;
        let told = self.finish_merge(staging, clock, wall_ms)?;
        merged.tell(told);
        for &(author, time) in &collected.latest {
            if let Some(ahead) = self.observe(time, wall_ms) {
                let most = merged.ahead.entry(author).or_default();
                *most = ahead.max(*most);
            }
        }
        Ok(merged)
    }

    /// What keys have seen beyond the clock while a merge of several commits is under way.
    fn ahead_of_merge(&self, clock: &Clock) -> Clock {
        let mut ahead = self.ahead().clone();
        ahead.merge(clock);
        ahead.beyond(self.clock())
    }

    /// What a merge goes by that is not under the lock.
    fn stale_view(&self) -> Result<Option<View>, Error> {
        if !BrokenRule::MergeOutsideLock.is_broken() {
            return Ok(None);
        }
        let last = self.own_ranges(0)?.pop().filter(|own| own.start > 1);
        let version = last.map_or(self.bee().version(), |own| own.start);
        let tree = self.bee().checkout(version)?;
        Ok(Some(View::new(tree, self.device(), self.resolver().clone())))
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

impl Merged {
    fn tell(&mut self, told: Told) {
        self.conflicts.extend(told.conflicts);
        self.settled.extend(told.settled);
    }
}

impl Collected {
    /// Bytes that storing all of it takes at most, roughly: each version may be written as what is
    /// shown, and once more.
    fn byte_count(&self) -> usize {
        let of = |(key, joining): (&Bytes, &Joining)| {
            let versions = joining.state.versions().iter().map(aside::content_len);
            key.len() + 2 * versions.sum::<usize>()
        };
        self.keys.iter().map(of).sum()
    }

    fn join_commit(
        &mut self,
        staging: &mut Staging,
        news: &News,
        commit: &OwnCommit,
    ) -> Result<(), Error> {
        let nothing = Clock::new();
        let is_ignored = BrokenRule::IgnoreContext.is_broken();
        let seen = if is_ignored { &nothing } else { &commit.clock };
        for block in &commit.blocks {
            self.blocks += 1;
            if BrokenRule::SkipEntry.is_broken() && block.seq % 5 == 3 {
                continue;
            }
            let readable = "checked before the merge began";
            match keyspace::place(&block.key) {
                Place::User(key) => {
                    let theirs = record::written(block, news.device, seen);
                    self.note(news, &theirs);
                    self.join_key(staging, key, theirs)?;
                }
                // A delete of a key that showed nothing has no other block.
                Place::Tombstone(key) if record::is_news(block) => {
                    let theirs = record::written(block, news.device, seen);
                    self.note(news, &theirs);
                    self.join_key(staging, key, theirs)?;
                }
                Place::Shared(stored) => {
                    let theirs = record::shared_written(block, news.device, seen);
                    self.note(news, &theirs);
                    self.join_shared(staging, stored, theirs)?;
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
                Place::Tombstone(_)
                | Place::Aside
                | Place::Conflict(_)
                | Place::Opaque(_)
                | Place::ShownBy
                | Place::Unknown => {}
            }
        }
        Ok(())
    }

    fn join_key(&mut self, staging: &mut Staging, key: Bytes, theirs: State) -> Result<(), Error> {
        if let Some(joining) = self.keys.get_mut(&key) {
            joining.join(theirs);
            return Ok(());
        }
        let mut held = staging.held(&key)?;
        if let Some(stale) = &self.stale {
            held.versions = stale.held(&key)?.versions;
        }
        let state = held.state(staging.context()).joined(theirs);
        self.keys.insert(key, Joining { held, state });
        Ok(())
    }

    fn join_shared(
        &mut self,
        staging: &mut Staging,
        stored: Bytes,
        theirs: State,
    ) -> Result<(), Error> {
        if let Some(joining) = self.shared.get_mut(&stored) {
            joining.join(theirs);
            return Ok(());
        }
        let held = staging.held_shared(&stored)?;
        let state = held.state(staging.context()).joined(theirs);
        self.shared.insert(stored, Joining { held, state });
        Ok(())
    }

    fn note(&mut self, news: &News, theirs: &State) {
        self.latest.push((news.author, theirs.latest().unwrap_or_default()));
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
        if let Some((stored, joining)) = self.shared.last_key_value() {
            return staging.store_shared(stored, &joining.held, &joining.state, clock);
        }
        match self.statements.last() {
            Some(statement) => staging.rewrite_statement(statement),
            // A commit of nothing but a newer program's bookkeeping.
            None => {
                let strategies = &staging.resolver().strategies;
                staging.put_shown_by(staging.rules.fingerprint(strategies))
            }
        }
    }
}

/// The id of a log's device.
pub(crate) fn device_of(key: &LogKey) -> DeviceId {
    DeviceId::of_key(key.as_bytes())
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use multibee_btree::{Bee, BeeOptions};
    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    use multibee_merge::Applied;

    use super::*;

    fn primary() -> (Primary, Bee) {
        let keys = KeyPair::from_seed([1; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        bee.create_header().unwrap();
        (Primary::open(bee.clone(), Arc::default(), 0).unwrap(), bee)
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
        let scan = View::new(bee.snapshot().unwrap(), primary.device(), primary.resolver().clone())
            .scan()
            .unwrap();
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
        let view = View::new(bee.snapshot().unwrap(), primary.device(), primary.resolver().clone());
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
        let again = Primary::open(bee.clone(), Arc::default(), 0).unwrap();
        assert_eq!((again.clock(), again.digest()), (primary.clock(), primary.digest()));
    }

    /// News that one commit has no room for is joined by several. Only the last one says that it is
    /// applied; those before say what their keys have seen, so that a crash in between loses nothing.
    #[test]
    fn long_news_is_joined_by_several_commits() {
        let (mut primary, bee) = primary();
        let second = device_of(&LogKey::from_bytes([2; 32]));
        let mut long = news(2, 5, Meta::default(), "a value of some length, which takes some room");
        let first = long.commits[0].blocks[0].clone();
        for number in 1..6 {
            let key = format!("k{number}").into();
            long.commits[0].blocks.push(Block { seq: 5 + number, key, ..first.clone() });
        }
        long.applied.length = 11;
        assert_eq!(primary.merge(&[long], 0).unwrap().keys, 6);
        assert_eq!(check_digest(&primary, &bee), 6);

        let mut said = Vec::new();
        for seq in 1..bee.log().len() {
            let block = bee.get_by_seq(seq).unwrap().unwrap();
            let Some(commit) = Meta::decode_extra(&block.extra).unwrap().commit else { continue };
            let ahead = crate::format::decode_clock(&commit.ahead).length(second);
            let clock = crate::commit::decode_clock(&commit, None).length(second);
            let tree = bee.checkout(seq + 1).unwrap();
            let view = View::new(tree, primary.device(), primary.resolver().clone());
            said.push((clock, ahead, view.held(b"k").unwrap().seen.length(second)));
        }
        let (last, before) = said.split_last().unwrap();
        assert_eq!((last.0, last.1), (11, 0));
        assert!(before.len() > 1 && before.iter().all(|said| *said == (0, 11, 6)), "{before:?}");
    }

    /// What newer programs share is kept as it is, and counted; their bookkeeping is left to them. A
    /// write whose record can't be read is kept, too, and listed with its author.
    #[test]
    fn what_cannot_be_read_is_kept() {
        let (mut primary, bee) = primary();
        for (seq, key) in [(5, "\u{ff}Z1"), (7, "\u{ff}z1")] {
            let key: Vec<u8> = key.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            let said = Meta { time: Some(9), state: Some("?".into()), ..Meta::default() };
            let mut strange = news(2, seq, said, "");
            strange.commits[0].blocks[0].key = key.into();
            check(&strange).unwrap();
            primary.merge(&[strange], 0).unwrap();
        }
        assert!(bee.snapshot().unwrap().get(b"\xffZ1").unwrap().is_some());
        assert!(bee.snapshot().unwrap().get(b"\xffz1").unwrap().is_none());
        assert_ne!(primary.digest(), multibee_merge::Digest::EMPTY);
        check_digest(&primary, &bee);

        let mut garbled = news(3, 5, Meta::default(), "value");
        garbled.commits[0].blocks[0].extra = Bytes::from_static(b"\xa2\x06\x05\x00");
        check(&garbled).unwrap();
        primary.merge(&[garbled.clone()], 0).unwrap();
        check_digest(&primary, &bee);
        let view = View::new(bee.snapshot().unwrap(), primary.device(), Arc::default());
        let listed = view.not_merged().unwrap();
        assert_eq!((listed.len(), listed[0].dot.device, listed[0].dot.seq), (1, garbled.device, 5));
        assert!(listed[0].reason.contains("record"), "{}", listed[0].reason);
    }
}
