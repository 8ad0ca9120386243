//! Reading the merged data at one version: what users see of the tree.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use multibee_btree::{Entry as Block, RangeOptions, Tree};
use multibee_merge::{DeviceId, Digest, Resolution, Version, entry_digest};
use prost::DecodeError;

use crate::aside::Outline;
use crate::entry::{Entry, Scan};
use crate::format::Meta;
use crate::keyspace::{self, Place};
use crate::primary::between;
use crate::record::{Held, Showing};
use crate::resolver::Resolver;
use crate::rules::Rules;
use crate::{Error, MAX_KEY_LEN};

/// The data at one version. Later writes and merges do not show in it.
#[derive(Clone, Debug)]
pub struct View {
    tree: Tree,
    device: DeviceId,
    resolver: Arc<Resolver>,
    /// Read when they are needed: most reads do without.
    rules: OnceLock<Rules>,
}

/// Which keys to read, and how. The default is everything, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSpec {
    /// Only keys greater than or equal to this.
    pub gte: Option<Bytes>,
    /// Only keys greater than this.
    pub gt: Option<Bytes>,
    /// Only keys less than this.
    pub lt: Option<Bytes>,
    /// Only keys less than or equal to this.
    pub lte: Option<Bytes>,
    /// From the last key to the first.
    pub reverse: bool,
    /// At most so many entries.
    pub limit: Option<u64>,
}

impl RangeSpec {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let gte = (!prefix.is_empty()).then(|| Bytes::copy_from_slice(prefix));
        Self { gte, lt: keyspace::after_prefix(prefix), ..Self::default() }
    }

    /// The range of these keys under a prefix: all keys there, where it has no bounds.
    pub(crate) fn within(self, prefix: &Bytes) -> Self {
        if prefix.is_empty() {
            return self;
        }
        let whole = |bound: Option<Bytes>| bound.map(|key| keyspace::within(prefix, &key));
        let mut spec = Self {
            gte: whole(self.gte),
            gt: whole(self.gt),
            lt: whole(self.lt),
            lte: whole(self.lte),
            ..self
        };
        if spec.gte.is_none() && spec.gt.is_none() {
            spec.gte = Some(prefix.clone());
        }
        if spec.lt.is_none() && spec.lte.is_none() {
            spec.lt = keyspace::after_prefix(prefix);
        }
        spec
    }
}

impl View {
    pub(crate) fn new(tree: Tree, device: DeviceId, resolver: Arc<Resolver>) -> Self {
        Self { tree, device, resolver, rules: OnceLock::new() }
    }

    pub(crate) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whose log it is.
    pub(crate) const fn device(&self) -> DeviceId {
        self.device
    }

    /// The data at another version.
    pub(crate) fn at_version(&self, version: u64) -> Result<Self, Error> {
        let tree = self.tree.checkout(version).map_err(Error::version)?;
        Ok(Self::new(tree, self.device, self.resolver.clone()))
    }

    /// The version that is read: a length of this device's log at the end of a commit.
    pub fn version(&self) -> u64 {
        self.tree.version()
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>, Error> {
        let Some(block) = self.tree.get(&keyspace::place_of(key))? else { return Ok(None) };
        let Place::User(key) = keyspace::place(&block.key) else { return Ok(None) };
        self.entry(key, &block).map(Some)
    }

    /// Reads entries in the order of their keys.
    pub fn range(&self, spec: RangeSpec) -> Range {
        let mut parts: Vec<_> = parts(&self.tree, &spec).into();
        if !spec.reverse {
            parts.reverse();
        }
        Range { view: self.clone(), parts, remaining: spec.limit.unwrap_or(u64::MAX) }
    }

    /// Reads all values that a key shows, the foremost first: several, if its rule keeps them all.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_all(&self, key: &[u8]) -> Result<Vec<Entry>, Error> {
        let held = self.held(key)?;
        let Some(showing) = &held.showing else { return Ok(Vec::new()) };
        let key = Bytes::copy_from_slice(key);
        if showing.hidden == 0 {
            return Ok(vec![entry(key, showing.clone())]);
        }
        let resolution = self.resolve(&key, &held.versions)?;
        let entries = resolution.shown.into_iter().filter_map(|shown| {
            let version = crate::record::latest(&shown, &held.versions)?;
            Some(Entry {
                key: key.clone(),
                conflicts: held.versions.len() - shown.from.len(),
                value: shown.value,
                kind: shown.kind,
                seq: showing.seq,
                device: version.dot.device,
                time: version.time,
            })
        });
        Ok(entries.collect())
    }

    /// What versions of a key show, by the rules of this version of the data.
    pub(crate) fn resolve(&self, key: &[u8], versions: &[Version]) -> Result<Resolution, Error> {
        Ok(self.resolver.resolve(self.loaded_rules()?, key, versions))
    }

    pub(crate) fn loaded_rules(&self) -> Result<&Rules, Error> {
        if let Some(rules) = self.rules.get() {
            return Ok(rules);
        }
        let rules = Rules::load(&self.tree, self.device)?;
        Ok(self.rules.get_or_init(|| rules))
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Reads every entry and computes the digest anew.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn scan(&self) -> Result<Scan, Error> {
        let mut scan = Scan { keys: 0, conflicts: 0, bytes: 0, digest: Digest::EMPTY };
        for part in parts(&self.tree, &RangeSpec::default()) {
            let mut part = part;
            while let Some(block) = part.next()? {
                let Place::User(key) = keyspace::place(&block.key) else { continue };
                let held = self.live(&block)?;
                scan.keys += 1;
                let hidden = held.showing.as_ref().map_or(0, |showing| showing.hidden);
                scan.conflicts += u64::from(hidden > 0);
                scan.bytes += (key.len() + block.value.as_ref().map_or(0, Bytes::len)) as u64;
                scan.digest.add(entry_digest(&key, &held.versions));
            }
        }
        self.add_hidden(&mut scan)?;
        Ok(scan)
    }

    /// Keys that have values but show none count in the digest, too, and so do shared records.
    fn add_hidden(&self, scan: &mut Scan) -> Result<(), Error> {
        let mut range = self.tree.range(between(keyspace::tombstones()));
        while let Some(block) = range.next()? {
            let Place::Tombstone(key) = keyspace::place(&block.key) else { continue };
            let outline =
                Outline::tombstone(&block).map_err(|error| Error::bad_record(block.seq, &error))?;
            let has_value = outline.versions().iter().any(Version::is_live);
            // The tombstone of a live key may name what is not there any more.
            if has_value && self.tree.get(&keyspace::user(&key))?.is_none() {
                let held = self.complete(&block, Ok(outline))?;
                scan.digest.add(entry_digest(&key, &held.versions));
                let resolution = self.resolve(&key, &held.versions)?;
                scan.conflicts += u64::from(resolution.conflict);
            }
        }
        for part in keyspace::shared() {
            let mut range = self.tree.range(between(part));
            while let Some(block) = range.next()? {
                let held = self.complete(&block, Outline::shared(&block, self.device))?;
                scan.digest.add(entry_digest(&block.key, &held.versions));
            }
        }
        Ok(())
    }

    /// Whether both are the same length of the same log.
    pub(crate) fn is_same_version(&self, other: &Self) -> bool {
        self.device == other.device && self.version() == other.version()
    }

    /// Whether both were read from one open database, before and after a move to another log perhaps.
    pub(crate) fn is_of_same_database(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.resolver, &other.resolver)
    }

    pub(crate) fn held(&self, key: &[u8]) -> Result<Held, Error> {
        if let Some(block) = self.tree.get(&keyspace::user(key))? {
            return self.live(&block);
        }
        match self.tree.get(&keyspace::tombstone(key))? {
            Some(block) => self.complete(&block, Outline::tombstone(&block)),
            None => Ok(Held::default()),
        }
    }

    /// What is held of a record that all devices share, by its stored key.
    pub(crate) fn held_shared(&self, stored: &[u8]) -> Result<Held, Error> {
        let Some(block) = self.tree.get(stored)? else { return Ok(Held::default()) };
        self.complete(&block, Outline::shared(&block, self.device))
    }

    pub(crate) fn live(&self, block: &Block) -> Result<Held, Error> {
        self.complete(block, Outline::live(block, self.device))
    }

    fn complete(
        &self,
        block: &Block,
        outline: Result<Outline, DecodeError>,
    ) -> Result<Held, Error> {
        let outline = outline.map_err(|error| Error::bad_record(block.seq, &error))?;
        let bad = |seq, what: &str| Error::bad_record(seq, &what);
        outline.complete(|key| Ok(self.tree.get(key)?), bad)
    }

    /// Whether a block of a user's key deletes it.
    pub(crate) fn is_delete(&self, block: &Block) -> Result<bool, Error> {
        let meta = Meta::decode_extra(&block.extra);
        Ok(meta.map_err(|error| Error::bad_record(block.seq, &error))?.is_deleted())
    }

    pub(crate) fn entry(&self, key: Bytes, block: &Block) -> Result<Entry, Error> {
        let showing = Showing::read(block, self.device)
            .map_err(|error| Error::bad_record(block.seq, &error))?;
        Ok(entry(key, showing))
    }
}

pub(crate) fn entry(key: Bytes, showing: Showing) -> Entry {
    let Showing { seq, value, kind, dot, time, hidden, .. } = showing;
    Entry { key, value, kind, seq, device: dot.device, time, conflicts: hidden }
}

/// Entries in the order of their keys, read as they are asked for.
#[derive(Debug)]
pub struct Range {
    view: View,
    /// What is left to read, the next part last.
    parts: Vec<multibee_btree::Range>,
    remaining: u64,
}

impl Range {
    fn advance(&mut self) -> Result<Option<Entry>, Error> {
        while let Some(part) = self.parts.last_mut().filter(|_| self.remaining > 0) {
            let Some(block) = part.next()? else {
                self.parts.pop();
                continue;
            };
            let Place::User(key) = keyspace::place(&block.key) else { continue };
            self.remaining -= 1;
            return self.view.entry(key, &block).map(Some);
        }
        Ok(None)
    }
}

impl Iterator for Range {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.remaining = 0;
        }
        next.transpose()
    }
}

/// The two halves of a range, below and above the reserved keys.
pub(crate) fn parts(tree: &Tree, spec: &RangeSpec) -> [multibee_btree::Range; 2] {
    halves(spec).map(|half| tree.range(half))
}

/// As [`parts`], for what is to be done with them. Limits are not heeded.
pub(crate) fn halves(spec: &RangeSpec) -> [RangeOptions; 2] {
    let stored = |bound: &Option<Bytes>| bound.as_ref().map(|key| keyspace::user(key));
    let (reserved, behind) = keyspace::all_reserved();
    let whole = RangeOptions {
        gte: stored(&spec.gte),
        gt: stored(&spec.gt),
        lt: stored(&spec.lt),
        lte: stored(&spec.lte),
        reverse: spec.reverse,
        ..RangeOptions::default()
    };
    let mut below = whole.clone();
    let upper = below.lt.as_ref().or(below.lte.as_ref());
    if upper.is_none_or(|upper| *upper >= reserved) {
        (below.lt, below.lte) = (Some(reserved), None);
    }
    let mut above = whole;
    let lower = above.gt.as_ref().or(above.gte.as_ref());
    if lower.is_none_or(|lower| *lower < behind) {
        (above.gt, above.gte) = (None, Some(behind));
    }
    [below, above]
}

/// Refuses keys that no database of ours takes.
pub(crate) const fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.len() > MAX_KEY_LEN { Err(Error::KeyTooLong { len: key.len() }) } else { Ok(()) }
}
