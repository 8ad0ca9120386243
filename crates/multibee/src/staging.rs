//! The records of one commit, before it is appended.

use bytes::Bytes;
use multibee_btree::Batch;
use multibee_merge::{
    Clock, Content, DeviceId, Digest, Dot, LastWriter, MergeStrategy, State, Time, Version,
    entry_digest,
};

use crate::Error;
use crate::format::{self, Commit, Meta};
use crate::record::Held;
use crate::statement::Statement;
use crate::{keyspace, record};

/// A commit in the making: blocks staged in a batch of the tree, and the digest that they lead to.
pub(crate) struct Staging {
    batch: Batch,
    device: DeviceId,
    first: u64,
    last: Option<(u64, Meta)>,
    /// Everything that the commit before this one had seen, own log included.
    context: Clock,
    digest: Digest,
    own: bool,
}

impl Staging {
    pub(crate) fn new(
        batch: Batch,
        device: DeviceId,
        own: bool,
        context: Clock,
        digest: Digest,
    ) -> Self {
        let first = batch.next_seq();
        Self { batch, device, first, last: None, context, digest, own }
    }

    pub(crate) const fn first_seq(&self) -> u64 {
        self.first
    }

    /// The last staged block, if there is one.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.last.as_ref().map(|(seq, _)| *seq)
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Everything that the commit before this one had seen, own log included.
    pub(crate) const fn context(&self) -> &Clock {
        &self.context
    }

    /// What the tree holds of a user's key, staged changes included.
    pub(crate) fn held(&mut self, key: &[u8]) -> Result<Held, Error> {
        if let Some(block) = self.batch.get(&keyspace::user(key))? {
            return Held::live(&block, self.device)
                .map_err(|error| Error::bad_record(block.seq, &error));
        }
        match self.batch.get(&keyspace::tombstone(key))? {
            Some(block) => {
                Held::tombstone(&block).map_err(|error| Error::bad_record(block.seq, &error))
            }
            None => Ok(Held::default()),
        }
    }

    /// The user puts a value: it supersedes everything that is held.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        value: &Bytes,
        held: &Held,
        time: Time,
    ) -> Result<(), Error> {
        debug_assert!(self.own, "a user's write goes into an own commit");
        let meta = Meta { time: Some(time.as_u64()), seen: self.seen(held), ..Meta::default() };
        let seq = self.insert(&keyspace::user(key), Some(value), meta)?;
        let dot = Dot { device: self.device, seq };
        let version = Version::plain(dot, time, Content::Value(value.clone()));
        self.account(key, &held.versions, &[version])
    }

    /// The user deletes a key that is in the tree.
    pub(crate) fn delete(&mut self, key: &[u8], held: &Held, time: Time) -> Result<(), Error> {
        debug_assert!(self.own && held.in_tree, "only what is there is deleted");
        let seen = self.seen(held);
        let meta = Meta {
            time: Some(time.as_u64()),
            seen: seen.clone(),
            deleted: Some(true),
            ..Meta::default()
        };
        let seq = self.remove(&keyspace::user(key), meta)?;
        let dot = Dot { device: self.device, seq };
        let version = Version::plain(dot, time, Content::Deleted);
        let others = vec![format::Version::from(&version)];
        let tombstone = Meta { others, seen, ..Meta::default() };
        self.insert(&keyspace::tombstone(key), None, tombstone)?;
        self.account(key, &held.versions, &[version])
    }

    /// Writes what a key's state has become by merging.
    ///
    /// `clock` is the clock of this commit: what it covers need not be said again.
    pub(crate) fn store(
        &mut self,
        key: &[u8],
        held: &Held,
        state: &State,
        clock: &Clock,
    ) -> Result<(), Error> {
        let versions = state.versions();
        let seen = format::encode_clock(&beyond(state.context(), clock, self.device));
        if let Some(shown) =
            LastWriter.resolve(key, versions).first().and_then(|at| versions.get(at))
        {
            self.show(key, shown, versions, seen)?;
        } else {
            if held.in_tree {
                self.hide(key, versions)?;
            }
            if versions.is_empty() {
                // Superseded by a delete that everybody knew of: as if it had never been.
                self.forget(key)?;
                return self.account(key, &held.versions, versions);
            }
            let others = versions.iter().map(format::Version::from).collect();
            let tombstone = Meta { others, seen, ..Meta::default() };
            self.insert(&keyspace::tombstone(key), None, tombstone)?;
        }
        self.account(key, &held.versions, versions)
    }

    /// Stores a statement, unless it is there already. Returns whether it was new.
    pub(crate) fn put_statement(&mut self, statement: &Statement) -> Result<bool, Error> {
        let key = keyspace::statement(&statement.hash());
        if self.batch.get(&key)?.is_some() {
            return Ok(false);
        }
        self.rewrite_statement(statement)?;
        Ok(true)
    }

    /// Stores a statement, whether or not it is there already.
    pub(crate) fn rewrite_statement(&mut self, statement: &Statement) -> Result<(), Error> {
        let meta = Meta {
            time: Some(statement.time.as_u64()),
            state: Some(statement.signed.clone()),
            ..Meta::default()
        };
        self.insert(&keyspace::statement(&statement.hash()), None, meta).map(|_| ())
    }

    /// Appends everything with this commit record on the last block. Returns the new digest.
    pub(crate) fn commit(mut self, commit: Commit) -> Result<Digest, Error> {
        if let Some((seq, mut meta)) = self.last.take() {
            meta.commit = Some(commit);
            self.batch.set_extra(seq, meta.into_extra())?;
        }
        self.batch.flush()?;
        Ok(self.digest)
    }

    fn show(
        &mut self,
        key: &[u8],
        shown: &Version,
        versions: &[Version],
        seen: Vec<format::Applied>,
    ) -> Result<u64, Error> {
        let others = versions.iter().filter(|version| version.dot != shown.dot);
        let meta = Meta {
            time: Some(shown.time.as_u64()),
            dot: Some(shown.dot.into()),
            seen,
            others: others.map(format::Version::from).collect(),
            state: shown.state.clone(),
            r#type: (shown.kind != 0).then_some(shown.kind),
            ..Meta::default()
        };
        self.insert(&keyspace::user(key), shown.value(), meta)
    }

    /// Takes a key out of the tree, in the name of the latest delete.
    fn hide(&mut self, key: &[u8], versions: &[Version]) -> Result<(), Error> {
        let deletes = versions.iter().filter(|version| record::is_delete(version));
        let latest = deletes.max_by_key(|version| (version.time, version.dot));
        let meta = Meta {
            time: latest.map(|version| version.time.as_u64()),
            dot: latest.map(|version| version.dot.into()),
            deleted: Some(true),
            ..Meta::default()
        };
        self.remove(&keyspace::user(key), meta).map(|_| ())
    }

    /// Drops what is remembered of a key that is not in the tree.
    fn forget(&mut self, key: &[u8]) -> Result<(), Error> {
        let tombstone = keyspace::tombstone(key);
        if self.batch.get(&tombstone)?.is_some() {
            let meta = Meta { deleted: Some(true), ..Meta::default() };
            self.remove(&tombstone, meta)?;
        }
        Ok(())
    }

    /// Keeps the digest and the index of conflicts in step with a key's versions.
    fn account(&mut self, key: &[u8], old: &[Version], new: &[Version]) -> Result<(), Error> {
        self.digest.subtract(entry_digest(key, old));
        self.digest.add(entry_digest(key, new));
        match (is_conflict(old), is_conflict(new)) {
            (false, true) => {
                self.insert(&keyspace::conflict(key), None, Meta::default())?;
            }
            (true, false) => {
                let meta = Meta { deleted: Some(true), ..Meta::default() };
                self.remove(&keyspace::conflict(key), meta)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What a write of this key must say that it has seen, beyond the commit clock.
    fn seen(&self, held: &Held) -> Vec<format::Applied> {
        format::encode_clock(&beyond(&held.seen, &self.context, self.device))
    }

    fn insert(&mut self, key: &[u8], value: Option<&Bytes>, meta: Meta) -> Result<u64, Error> {
        let seq = self.batch.put(key, value.cloned(), meta.clone().into_extra())?;
        self.last = Some((seq, meta));
        Ok(seq)
    }

    fn remove(&mut self, key: &[u8], meta: Meta) -> Result<u64, Error> {
        let next = self.batch.next_seq();
        let seq = self.batch.del(key, meta.clone().into_extra())?;
        debug_assert!(seq.is_some(), "only keys that are in the tree are removed");
        if let Some(seq) = seq {
            self.last = Some((seq, meta));
        }
        Ok(seq.unwrap_or(next))
    }
}

/// What a context adds to a clock, the own log left aside: it has always been seen.
fn beyond(context: &Clock, clock: &Clock, own: DeviceId) -> Clock {
    let mut beyond = context.beyond(clock);
    beyond.remove(own);
    beyond
}

/// Several versions, one of them a value: something for a user to look at.
pub(crate) fn is_conflict(versions: &[Version]) -> bool {
    versions.len() > 1 && versions.iter().any(Version::is_live)
}
