//! Several devices' data read as one, without merging anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use multibee_btree::{
    Bee, BeeOptions, Entry as Block, Error as TreeError, Header, Range, RangeOptions, Tree,
};
use multibee_log::{Log, LogKey};
use multibee_merge::{Applied, Clock, DeviceId, State, Time};
use prost::DecodeError;

use crate::aside::Outline;
use crate::format::{Commit, Meta};
use crate::keyspace::{self, Place};
use crate::look::Look;
use crate::primary::{between, tag_at};
use crate::record::{self, Held};
use crate::resolver::Resolver;
use crate::rules::Rules;
use crate::union_range::UnionRange;
use crate::view::{RangeSpec, parts};
use crate::{Error, FORMAT, Multibee, commit};

/// This device's data and that of others, read as one: for each key what this device would show if
/// it had merged what they hold.
///
/// It stands for what each of them held when the union was made. What is not on this machine is
/// asked of the devices that are connected, and waited for, however long that takes: give reads a
/// deadline of your own. Nothing is written but the blocks that were asked for, to the replicas.
#[derive(Clone, Debug)]
pub struct Union {
    database: Multibee,
    sources: Vec<Source>,
    resolver: Arc<Resolver>,
    /// Those of all sources, joined.
    rules: Rules,
}

/// One key of a [`Union`] and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnionEntry {
    /// The key, as it was put.
    pub key: Bytes,
    /// The value, as it was put, or as versions of its type make it together.
    pub value: Bytes,
    /// Its type; [`PLAIN`](crate::PLAIN) if it is of none that merges by itself.
    pub kind: u32,
    /// Who wrote the value.
    pub device: DeviceId,
    /// When, by the writer's hybrid clock.
    pub time: Time,
    /// Concurrent versions that are not shown.
    pub conflicts: usize,
}

impl Multibee {
    /// Reads this device's data and that of other devices as one, without merging: to see single
    /// keys of a peer before all of it is here.
    ///
    /// Keys of plain Hyperbees, and of logs that do not belong to the database, may be among these, to
    /// look at them before they are [added](Self::add_source). They are read over connections with
    /// whoever serves them: see [`connect_to_source`](Self::connect_to_source). What was read of
    /// them is kept in memory as long as the union is.
    ///
    /// Waits until something is known of each of them.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] blames whoever wrote what can't be read, others this machine.
    pub async fn union(&self, keys: &[LogKey]) -> Result<Union, Error> {
        let mut union = Union::empty(self.clone());
        let mut chosen = vec![self.key()];
        for key in keys.iter().filter(|key| **key != self.key()) {
            if !chosen.contains(key) {
                chosen.push(*key);
            }
        }
        for key in chosen {
            let source = union.source(key).await?;
            union.sources.push(source);
        }
        union.rules = union.waiting_for(|| union.joined_rules()).await?;
        Ok(union)
    }
}

impl Union {
    fn empty(database: Multibee) -> Self {
        let resolver = database.network().session().lock().core.primary.resolver().clone();
        Self { database, sources: Vec::new(), resolver, rules: Rules::default() }
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] blames a device that wrote what can't be read, others this machine.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<UnionEntry>, Error> {
        let key = key.as_ref();
        let states = self.waiting_for(|| self.states(key)).await?;
        Ok(self.show(Bytes::copy_from_slice(key), states))
    }

    /// Reads entries in the order of their keys, of all keys that one of the devices shows.
    pub fn range(&self, spec: RangeSpec) -> UnionRange {
        UnionRange::new(self.clone(), spec)
    }

    /// How much of each device's log is read, this one first: a length at the end of a commit.
    pub fn versions(&self) -> impl Iterator<Item = (LogKey, u64)> {
        self.sources.iter().map(|source| (source.log.key(), source.tree.version()))
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What a key shows of all that is known of it.
    pub(crate) fn show(&self, key: Bytes, states: Vec<State>) -> Option<UnionEntry> {
        let joined = states.into_iter().reduce(|one, other| one.join(&other))?;
        let versions = joined.versions();
        let shown = self.resolver.resolve(&self.rules, &key, versions).shown.into_iter().next()?;
        let latest = record::latest(&shown, versions)?;
        Some(UnionEntry {
            conflicts: versions.len() - shown.from.len(),
            device: latest.dot.device,
            time: latest.time,
            value: shown.value,
            kind: shown.kind,
            key,
        })
    }

    fn joined_rules(&self) -> Result<Rules, Lack> {
        let (mut joined, mut lack) = (BTreeMap::<Bytes, State>::new(), Lack::default());
        for (number, source) in self.sources.iter().enumerate() {
            for (prefix, theirs) in lack.note(number, source.rules())?.into_iter().flatten() {
                let state = joined.remove(&prefix).map(|ours| ours.join(&theirs));
                joined.insert(prefix, state.unwrap_or(theirs));
            }
        }
        let mut rules = Rules::default();
        for (prefix, state) in &joined {
            rules.set(prefix, state.versions());
        }
        lack.or(rules)
    }

    /// What each source knows of a key, as far as all is here.
    fn states(&self, key: &[u8]) -> Result<Vec<State>, Lack> {
        let (mut states, mut lack) = (Vec::new(), Lack::default());
        for (number, source) in self.sources.iter().enumerate() {
            states.extend(lack.note(number, source.state(key))?);
        }
        lack.or(states)
    }

    /// Calls `read` until all blocks are here that it needs.
    pub(crate) async fn waiting_for<T>(
        &self,
        mut read: impl FnMut() -> Result<T, Lack>,
    ) -> Result<T, Error> {
        loop {
            let lack = match read() {
                Ok(found) => return Ok(found),
                Err(lack) => lack,
            };
            for (number, seqs) in lack.missing()? {
                let Some(source) = self.sources.get(number) else { continue };
                self.fetch(&source.log, &seqs).await;
            }
        }
    }

    /// Asks for blocks and waits until they are here.
    async fn fetch(&self, log: &Log, seqs: &[u64]) {
        let session = self.database.network().session();
        let mut changes = session.changes.subscribe();
        session.endpoint.with(|replicator| {
            for &seq in seqs {
                // As what a reader waits for, before what is downloaded for later.
                replicator.want(&log.key(), seq..seq + 1, 1);
            }
        });
        while !seqs.iter().all(|&seq| log.has(seq)) {
            // An error means that the database is gone; but we have a handle to it.
            let _ = changes.changed().await;
        }
    }

    async fn source(&self, key: LogKey) -> Result<Source, Error> {
        let session = self.database.network().session();
        let (known, source_log) = {
            let state = session.lock();
            let source = state.core.sources().get(&key).map(|source| source.log.clone());
            (state.core.bee(&key).cloned(), source)
        };
        let mut look = None;
        let bee = match (known, source_log) {
            (Some(bee), _) => bee,
            (None, Some(log)) => Bee::open(log, BeeOptions::default())?,
            (None, None) => look.insert(self.database.look(key)?).bee().clone(),
        };
        let log = bee.log().clone();
        let mut changes = session.changes.subscribe();
        while log.is_empty() {
            let _ = changes.changed().await;
        }
        let tree = bee.snapshot()?;
        let device = DeviceId::of_key(key.as_bytes());
        let mut source =
            Source { log, tree, device, is_plain: false, context: Clock::new(), _look: look };
        let union = Self { sources: vec![source.clone()], ..self.clone() };
        let header = union.waiting_for(|| {
            let mut lack = Lack::default();
            let header = lack.note(0, bee.header().map_err(Fault::from))?;
            lack.or(header.flatten())
        });
        let Some(header) = header.await?.filter(Header::is_hyperbee) else {
            return Err(Error::Unreadable {
                device: key,
                seq: 0,
                what: "it is no Hyperbee".into(),
            });
        };
        source.is_plain = !is_database(&header);
        source.context = union
            .waiting_for(|| {
                let mut lack = Lack::default();
                let clock = lack.note(0, source.clock())?;
                lack.or(clock).map(Option::unwrap_or_default)
            })
            .await?;
        Ok(source)
    }
}

/// One log of a union, at one version.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    log: Log,
    tree: Tree,
    device: DeviceId,
    /// It is a Hyperbee that knows nothing of Multibee: its keys stand as they are.
    is_plain: bool,
    /// All that the owner had seen at that version.
    context: Clock,
    /// Keeps the log, if it does not belong to the database.
    _look: Option<Arc<Look>>,
}

impl Source {
    /// What the owner knew of a key.
    pub(crate) fn state(&self, key: &[u8]) -> Result<State, Fault> {
        if self.is_plain {
            return match self.tree.get(key)? {
                Some(block) => self.live(&block),
                None => Ok(State::unwritten(self.context.clone())),
            };
        }
        if let Some(block) = self.tree.get(&keyspace::user(key))? {
            return self.live(&block);
        }
        let held = match self.tree.get(&keyspace::tombstone(key))? {
            Some(block) => self.complete(&block, Outline::tombstone(&block))?,
            None => Held::default(),
        };
        Ok(held.state(&self.context))
    }

    fn complete(
        &self,
        block: &Block,
        outline: Result<Outline, DecodeError>,
    ) -> Result<Held, Fault> {
        let outline = outline.map_err(|error| self.bad(block.seq, &error))?;
        outline.complete(|key| Ok(self.tree.get(key)?), |seq, what| self.bad(seq, &what))
    }

    /// What is left to read of a range, in its order.
    pub(crate) fn parts(&self, spec: &RangeSpec) -> Vec<Range> {
        if !self.is_plain {
            return parts(&self.tree, spec).into();
        }
        let RangeSpec { gte, gt, lt, lte, reverse, .. } = spec.clone();
        vec![self.tree.range(RangeOptions { gte, gt, lt, lte, reverse, ..RangeOptions::default() })]
    }

    /// The user's key that a block is of, if it is of one.
    pub(crate) fn key_of(&self, block: &Block) -> Option<Bytes> {
        match keyspace::place(&block.key) {
            _ if self.is_plain => Some(block.key.clone()),
            Place::User(key) => Some(key),
            _ => None,
        }
    }

    /// What the owner knew of a key that has this block.
    pub(crate) fn live(&self, block: &Block) -> Result<State, Fault> {
        let held = self.complete(block, Outline::live(block, self.device))?;
        Ok(held.state(&self.context))
    }

    /// What the owner knew of each prefix that had a rule.
    fn rules(&self) -> Result<Vec<(Bytes, State)>, Fault> {
        if self.is_plain {
            return Ok(Vec::new());
        }
        let (mut rules, mut range) = (Vec::new(), self.tree.range(between(keyspace::rules())));
        while let Some(block) = range.next()? {
            let held = self.complete(&block, Outline::shared(&block, self.device))?;
            let prefix = keyspace::rule_prefix(&block.key);
            rules.extend(prefix.map(|prefix| (prefix, held.state(&self.context))));
        }
        Ok(rules)
    }

    /// All that the owner had seen: its commit's clock, and its own log.
    fn clock(&self) -> Result<Clock, Fault> {
        let length = self.tree.version();
        let mut clock = match length.checked_sub(1).filter(|last| *last > 0) {
            Some(last) => self.commit_clock(last)?,
            None => Clock::new(),
        };
        let tag = tag_at(&self.log, length).map_err(Fault::Failed)?;
        clock.advance(self.device, Applied { length, tag });
        Ok(clock)
    }

    fn commit_clock(&self, last: u64) -> Result<Clock, Fault> {
        // A plain Hyperbee's blocks have no such record: its writer has seen nobody else.
        let Some(commit) = self.commit(last)? else { return Ok(Clock::new()) };
        let base = match commit.clock_at.filter(|at| *at < last) {
            Some(at) => self.commit(at)?.map(|base| commit::decode_clock(&base, None)),
            None => None,
        };
        Ok(commit::decode_clock(&commit, base.as_ref()))
    }

    fn commit(&self, seq: u64) -> Result<Option<Commit>, Fault> {
        let block = self.tree.get_by_seq(seq)?;
        let block = block.ok_or_else(|| self.bad(seq, &"it is no entry"))?;
        let meta = Meta::decode_extra(&block.extra).map_err(|error| self.bad(seq, &error))?;
        Ok(meta.commit)
    }

    fn bad(&self, seq: u64, what: &impl ToString) -> Fault {
        let (device, what) = (self.log.key(), what.to_string());
        Fault::Failed(Error::Unreadable { device, seq, what })
    }
}

/// Whether it is a database of devices, and no plain Hyperbee.
fn is_database(header: &Header) -> bool {
    let user_data = header.metadata.as_ref().and_then(|metadata| metadata.user_data.as_ref());
    let ours = FORMAT.split_once('/').map_or(FORMAT, |(name, _)| name);
    user_data.is_some_and(|data| data.starts_with(ours.as_bytes()))
}

/// Why one source could not be read.
pub(crate) enum Fault {
    /// These blocks are not on this machine.
    Missing(Vec<u64>),
    Failed(Error),
}

impl From<TreeError> for Fault {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Missing(seqs) => Self::Missing(seqs),
            error => Self::Failed(error.into()),
        }
    }
}

/// What all sources together lack for a read.
#[derive(Default)]
pub(crate) struct Lack {
    /// Blocks, by the number of the source.
    missing: Vec<(usize, Vec<u64>)>,
    failed: Option<Error>,
}

impl Lack {
    /// Puts what a source lacks beside what others do, so that all of it is asked for at once.
    pub(crate) fn note<T>(
        &mut self,
        source: usize,
        found: Result<T, Fault>,
    ) -> Result<Option<T>, Self> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Fault::Missing(seqs)) => {
                self.missing.push((source, seqs));
                Ok(None)
            }
            Err(Fault::Failed(error)) => Err(Self { failed: Some(error), ..Self::default() }),
        }
    }

    /// What was found, if nothing was missing.
    pub(crate) fn or<T>(self, found: T) -> Result<T, Self> {
        if self.missing.is_empty() { Ok(found) } else { Err(self) }
    }

    fn missing(self) -> Result<Vec<(usize, Vec<u64>)>, Error> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.missing),
        }
    }
}

#[cfg(test)]
mod tests;
