//! The records of one commit, before it is appended.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use multibee_btree::{Batch, Entry as Block};
use multibee_merge::{
    Clock, Content, DeviceId, Digest, Dot, Resolution, State, Time, Version, entry_digest,
};
use prost::DecodeError;

use crate::aside::{self, Outline};
use crate::broken::BrokenRule;
use crate::format::{Commit, Meta};
use crate::record::{self, Held};
use crate::resolver::Resolver;
use crate::rules::{Rule, Rules};
use crate::statement::Statement;
use crate::{Error, keyspace};

/// Most keys whose coming into conflict, or out of it, is told of one commit.
const TOLD_MAX: usize = 1000;

/// A commit in the making: blocks staged in a batch of the tree, and the digest that they lead to.
pub(crate) struct Staging {
    pub(crate) batch: Batch,
    device: DeviceId,
    first: u64,
    last: Option<(u64, Meta)>,
    /// Everything that the commit before this one had seen, own log included.
    context: Clock,
    digest: Digest,
    own: bool,
    /// Records of versions that were removed.
    removals: usize,
    bytes: usize,
    resolver: Arc<Resolver>,
    /// The rules, those staged included.
    pub(crate) rules: Rules,
    pub(crate) told: Told,
}

/// What a commit has changed that somebody has to hear of.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Keys that came into conflict; some of them, if they are very many.
    pub(crate) conflicts: Vec<Bytes>,
    /// Keys that are in conflict no more; some of them, if they are very many.
    pub(crate) settled: Vec<Bytes>,
    /// Prefixes whose strategy is another one now: what their keys show has to be chosen anew.
    pub(crate) prefixes: Vec<Bytes>,
}

/// What a commit begins from.
pub(crate) struct Start {
    pub(crate) device: DeviceId,
    pub(crate) own: bool,
    pub(crate) context: Clock,
    pub(crate) digest: Digest,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) rules: Rules,
}

impl Staging {
    pub(crate) fn new(batch: Batch, start: Start) -> Self {
        let first = batch.next_seq();
        let Start { device, own, context, digest, resolver, rules } = start;
        let told = Told::default();
        let (last, removals, bytes) = (None, 0, 0);
        Self {
            batch,
            device,
            first,
            last,
            context,
            digest,
            own,
            removals,
            bytes,
            resolver,
            rules,
            told,
        }
    }

    pub(crate) const fn first_seq(&self) -> u64 {
        self.first
    }

    /// The last staged block, if there is one.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.last.as_ref().map(|(seq, _)| *seq)
    }

    /// Bytes of keys, values and records that are staged, about.
    pub(crate) const fn byte_count(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Everything that the commit before this one had seen, own log included.
    pub(crate) const fn context(&self) -> &Clock {
        &self.context
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// What the tree holds of a user's key, staged changes included.
    pub(crate) fn held(&mut self, key: &[u8]) -> Result<Held, Error> {
        if let Some(block) = self.batch.get_for_update(&keyspace::place_of(key))? {
            return self.complete(&block, Outline::live(&block, self.device));
        }
        match self.batch.get_for_update(&keyspace::tombstone(key))? {
            Some(block) => self.complete(&block, Outline::tombstone(&block)),
            None => Ok(Held::default()),
        }
    }

    /// What the tree holds of a record that all devices share, by its stored key.
    pub(crate) fn held_shared(&mut self, stored: &[u8]) -> Result<Held, Error> {
        match self.batch.get_for_update(stored)? {
            Some(block) => self.complete(&block, Outline::shared(&block, self.device)),
            None => Ok(Held::default()),
        }
    }

    fn complete(
        &mut self,
        block: &Block,
        outline: Result<Outline, DecodeError>,
    ) -> Result<Held, Error> {
        let outline = outline.map_err(|error| Error::bad_record(block.seq, &error))?;
        let bad = |seq, what: &str| Error::bad_record(seq, &what);
        outline.complete(|key| Ok(self.batch.get(key)?), bad)
    }

    /// What versions of a key show, by the rules as they are now.
    pub(crate) fn resolve(&self, key: &[u8], versions: &[Version]) -> Resolution {
        if BrokenRule::ShowGreatestBlock.is_broken() {
            let time = |version: &Version| Time::from_u64(version.dot.seq);
            let changed = |version: &Version| Version { time: time(version), ..version.clone() };
            let versions: Vec<_> = versions.iter().map(changed).collect();
            return self.resolver.resolve(&self.rules, key, &versions);
        }
        self.resolver.resolve(&self.rules, key, versions)
    }

    /// The dot of the next block.
    pub(crate) fn next_dot(&self) -> Dot {
        Dot { device: self.device, seq: self.batch.next_seq() }
    }

    /// The user puts a value: it supersedes everything that is held. `version` is what the put
    /// makes, with [`next_dot`](Self::next_dot) as its dot.
    pub(crate) fn put(&mut self, key: &[u8], held: &Held, version: &Version) -> Result<(), Error> {
        debug_assert!(self.own, "a user's write goes into an own commit");
        let meta = record::own(version, &self.seen(held));
        let seq = self.insert(&keyspace::user(key), version.value(), meta)?;
        debug_assert_eq!(seq, version.dot.seq, "the block that was named");
        self.stand_aside(&keyspace::user(key), held, &[], &BTreeSet::new())?;
        self.account(key, held, std::slice::from_ref(version), (false, false))
    }

    /// The user deletes a key of which something is held.
    ///
    /// If it shows nothing, its tombstone itself says that this is a delete.
    pub(crate) fn delete(&mut self, key: &[u8], held: &Held, time: Time) -> Result<(), Error> {
        debug_assert!(self.own, "a user's write goes into an own commit");
        let version = self.resolver.types.delete(&held.versions, self.next_dot(), time);
        let seen = self.seen(held);
        let none = BTreeSet::new();
        let mut tombstone = record::tombstone(std::slice::from_ref(&version), &seen, &none);
        let deletion = record::own(&version, &seen);
        if held.in_tree() {
            self.remove(&keyspace::user(key), deletion)?;
        } else {
            tombstone = Meta { others: tombstone.others, ..deletion };
        }
        if BrokenRule::ForgetTombstone.is_broken() && held.in_tree() {
            return self.account(key, held, &[], (false, false));
        }
        self.insert(&keyspace::tombstone(key), None, tombstone)?;
        self.stand_aside(&keyspace::user(key), held, &[], &none)?;
        self.account(key, held, std::slice::from_ref(&version), (false, false))
    }

    /// The user sets a rule, or clears it.
    pub(crate) fn put_rule(
        &mut self,
        prefix: &Bytes,
        rule: Option<&Rule>,
        held: &Held,
        time: Time,
    ) -> Result<(), Error> {
        debug_assert!(self.own, "a user's write goes into an own commit");
        let content = rule.map_or(Content::Deleted, |rule| Content::Value(rule.encode()));
        let version = Version::plain(self.next_dot(), time, content);
        let meta =
            Meta { state: version.value().cloned(), ..record::own(&version, &self.seen(held)) };
        let stored = keyspace::rule(prefix);
        self.insert(&stored, None, meta)?;
        self.stand_aside(&stored, held, &[], &BTreeSet::new())?;
        self.account_shared(&stored, held, std::slice::from_ref(&version));
        Ok(())
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
        let mut versions = state.versions();
        let seen = beyond(state.context(), clock, self.device);
        let mut resolution = self.resolve(key, versions);
        if BrokenRule::DropDot.is_broken()
            && let Some(shown) = resolution.shown.first()
        {
            versions = shown.from.first().and_then(|&at| versions.get(at..=at)).unwrap_or(versions);
            resolution = self.resolve(key, versions);
        }
        let aside = match resolution.shown.first() {
            Some(shown) => aside::choose(record::beside(shown, versions), &held.aside),
            None => aside::choose(versions.iter(), &held.aside),
        };
        self.stand_aside(&keyspace::user(key), held, versions, &aside)?;
        if let Some(shown) = resolution.shown.first() {
            let meta = record::live(shown, versions, &seen, &aside);
            self.insert(&keyspace::user(key), Some(&shown.value), meta)?;
        } else {
            if held.in_tree() {
                self.hide(key, versions)?;
            }
            if versions.is_empty() && seen.is_empty() {
                // Superseded by a delete that everybody knew of: as if it had never been. But what
                // the clock does not cover yet has to be remembered, or it would come back.
                self.forget(key)?;
                return self.account(key, held, versions, (false, false));
            }
            let tombstone = record::tombstone(versions, &seen, &aside);
            self.insert(&keyspace::tombstone(key), None, tombstone)?;
        }
        let listed = (resolution.conflict, !resolution.opaque.is_empty());
        self.account(key, held, versions, listed)
    }

    /// Writes what a record that all devices share has become by merging.
    pub(crate) fn store_shared(
        &mut self,
        stored: &Bytes,
        held: &Held,
        state: &State,
        clock: &Clock,
    ) -> Result<(), Error> {
        let versions = state.versions();
        let aside = aside::choose(record::beside_shared(versions), &held.aside);
        self.stand_aside(stored, held, versions, &aside)?;
        if versions.is_empty() {
            let meta = Meta { deleted: Some(true), ..Meta::default() };
            self.remove(stored, meta)?;
        } else {
            let seen = beyond(state.context(), clock, self.device);
            self.insert(stored, None, record::shared(versions, &seen, &aside))?;
        }
        self.account_shared(stored, held, state.versions());
        Ok(())
    }

    /// Sees to it that those of a key's versions have records of their own that are in `aside`, and
    /// no others. `base` is where the key is stored while it is live.
    fn stand_aside(
        &mut self,
        base: &[u8],
        held: &Held,
        versions: &[Version],
        aside: &BTreeSet<Dot>,
    ) -> Result<(), Error> {
        let is_new = |dot| aside.contains(&dot) && !held.aside.contains(&dot);
        for version in versions.iter().filter(|version| is_new(version.dot)) {
            let key = keyspace::aside(base, version.dot);
            self.insert(&key, None, aside::record(version))?;
        }
        for &dot in held.aside.difference(aside) {
            if self.removals < aside::REMOVALS_MAX {
                self.removals += 1;
                let meta = Meta { deleted: Some(true), ..Meta::default() };
                self.remove(&keyspace::aside(base, dot), meta)?;
            }
        }
        Ok(())
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

    /// Writes down by which strategies what is shown was chosen.
    pub(crate) fn put_shown_by(&mut self, fingerprint: Option<Bytes>) -> Result<(), Error> {
        let meta = Meta { state: fingerprint, ..Meta::default() };
        self.insert(&keyspace::shown_by(), None, meta).map(|_| ())
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

    /// Drops the tombstone of a key, with what stands aside of it. `held` is what it says, unless the
    /// key is live again: then it says nothing.
    pub(crate) fn collect(&mut self, key: &[u8], held: Option<&Held>) -> Result<(), Error> {
        debug_assert!(!self.own, "what nobody needs any more is no news");
        if let Some(held) = held {
            self.stand_aside(&keyspace::user(key), held, &[], &BTreeSet::new())?;
        }
        self.forget(key)
    }

    /// Drops what is remembered of a key that is not in the tree.
    fn forget(&mut self, key: &[u8]) -> Result<(), Error> {
        let tombstone = keyspace::tombstone(key);
        if self.batch.get_for_update(&tombstone)?.is_some() {
            let meta = Meta { deleted: Some(true), ..Meta::default() };
            self.remove(&tombstone, meta)?;
        }
        Ok(())
    }

    /// In which indexes a key is listed: of keys in conflict, of keys with opaque versions.
    pub(crate) fn listed(&mut self, key: &[u8], held: &Held) -> Result<(bool, bool), Error> {
        if held.is_settled() {
            return Ok((false, false));
        }
        let conflict = self.batch.get_for_update(&keyspace::conflict(key))?.is_some();
        Ok((conflict, self.batch.get_for_update(&keyspace::opaque(key))?.is_some()))
    }

    /// Keeps the digest and the indexes in step with a key's versions. `new` says in which indexes
    /// the key belongs: that of conflicts, that of opaque versions.
    fn account(
        &mut self,
        key: &[u8],
        held: &Held,
        versions: &[Version],
        new: (bool, bool),
    ) -> Result<(), Error> {
        if !BrokenRule::KeepDigest.is_broken() || !versions.iter().all(record::is_delete) {
            self.digest.subtract(entry_digest(key, &held.versions));
        }
        self.digest.add(entry_digest(key, versions));
        let old = self.listed(key, held)?;
        self.list(keyspace::conflict, key, old.0, new.0)?;
        self.list(keyspace::opaque, key, old.1, new.1)?;
        if old.0 != new.0 {
            let Told { conflicts, settled, .. } = &mut self.told;
            let told = if new.0 { conflicts } else { settled };
            if told.len() < TOLD_MAX {
                told.push(Bytes::copy_from_slice(key));
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        index: fn(&[u8]) -> Bytes,
        key: &[u8],
        old: bool,
        new: bool,
    ) -> Result<(), Error> {
        match (old, new) {
            (false, true) => self.insert(&index(key), None, Meta::default()).map(|_| ()),
            (true, false) => {
                let meta = Meta { deleted: Some(true), ..Meta::default() };
                self.remove(&index(key), meta).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Keeps the digest and the rules in step with a shared record.
    fn account_shared(&mut self, stored: &Bytes, held: &Held, versions: &[Version]) {
        self.digest.subtract(entry_digest(stored, &held.versions));
        self.digest.add(entry_digest(stored, versions));
        if let Some(prefix) = keyspace::rule_prefix(stored)
            && self.rules.set(&prefix, versions)
        {
            self.told.prefixes.push(prefix);
        }
    }

    /// What a write of this key must say that it has seen, beyond the commit clock.
    fn seen(&self, held: &Held) -> Clock {
        beyond(&held.seen, &self.context, self.device)
    }

    fn insert(&mut self, key: &[u8], value: Option<&Bytes>, meta: Meta) -> Result<u64, Error> {
        let (extra, meta) = meta.encode();
        self.bytes += key.len() + value.map_or(0, Bytes::len) + extra.len();
        let seq = self.batch.put(key, value.cloned(), extra)?;
        self.last = Some((seq, meta));
        Ok(seq)
    }

    fn remove(&mut self, key: &[u8], meta: Meta) -> Result<u64, Error> {
        let next = self.batch.next_seq();
        let (extra, meta) = meta.encode();
        let seq = self.batch.del(key, extra)?;
        debug_assert!(seq.is_some(), "only keys that are in the tree are removed");
        if let Some(seq) = seq {
            self.last = Some((seq, meta));
        }
        Ok(seq.unwrap_or(next))
    }
}

/// What a context adds to a clock, the own log left aside: it has always been seen.
fn beyond(context: &Clock, clock: &Clock, own: DeviceId) -> Clock {
    if BrokenRule::ForgetSeen.is_broken() {
        return Clock::new();
    }
    let mut beyond = context.beyond(clock);
    beyond.remove(own);
    beyond
}
