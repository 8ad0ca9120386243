//! What a log was asked to do, and what it may be found to be after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::random::{hash, mix, mix2};
use crate::error::Result;
use crate::head::Head;
use crate::key_pair::KeyPair;
use crate::log::Log;
use crate::manifest::Manifest;
use crate::merkle::Roots;
use crate::signature::Signers;

/// A state that a log was in, or would have been in, told by what was done and not by the log.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) fork: u64,
    pub(super) head: Option<Head>,
    roots: Roots,
    blocks: Arc<Vec<Bytes>>,
    /// Blocks that are not held.
    missing: Arc<BTreeSet<u64>>,
    user_data: Arc<BTreeMap<String, Bytes>>,
}

impl Version {
    /// A new log.
    pub(super) fn empty() -> Self {
        Self {
            fork: 0,
            head: None,
            roots: Roots::default(),
            blocks: Arc::default(),
            missing: Arc::default(),
            user_data: Arc::default(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub(super) const fn byte_len(&self) -> u64 {
        self.roots.byte_length()
    }

    /// The version with blocks added.
    pub(super) fn append(&self, keys: &KeyPair, blocks: &[Bytes]) -> Result<Self> {
        let mut after = self.clone();
        after.add_to_roots(blocks)?;
        Arc::make_mut(&mut after.blocks).extend_from_slice(blocks);
        after.sign(keys)?;
        Ok(after)
    }

    /// The version cut to `len` blocks, on the next fork.
    pub(super) fn truncate(&self, keys: &KeyPair, len: u64) -> Result<Self> {
        let blocks: Vec<Bytes> = self.blocks.iter().take(len as usize).cloned().collect();
        let mut after = Self { fork: self.fork + 1, roots: Roots::default(), ..self.clone() };
        after.add_to_roots(&blocks)?;
        after.blocks = Arc::new(blocks);
        Arc::make_mut(&mut after.missing).retain(|block| *block < len);
        after.sign(keys)?;
        Ok(after)
    }

    /// The version without the data of some blocks.
    pub(super) fn clear(&self, range: Range<u64>) -> Self {
        let mut after = self.clone();
        Arc::make_mut(&mut after.missing).extend(range.start..range.end.min(self.len()));
        after
    }

    pub(super) fn set_user_data(&self, key: &str, value: &Bytes) -> Self {
        let mut after = self.clone();
        let user_data = Arc::make_mut(&mut after.user_data);
        if value.is_empty() {
            user_data.remove(key);
        } else {
            user_data.insert(key.to_owned(), value.clone());
        }
        after
    }

    /// A copy of `source` that holds only the blocks that this version holds, and one more.
    pub(super) fn follow(&self, source: &Self, block: Option<u64>) -> Self {
        let is_same = self.fork == source.fork;
        let held = |number: &u64| is_same && *number < self.len() && !self.missing.contains(number);
        let mut missing: BTreeSet<u64> = (0..source.len()).filter(|number| !held(number)).collect();
        if let Some(block) = block {
            missing.remove(&block);
        }
        Self { missing: Arc::new(missing), user_data: self.user_data.clone(), ..source.clone() }
    }

    /// The version on another fork, with only the blocks that are the same there.
    pub(super) fn reorg(&self, source: &Self, shared_len: u64) -> Self {
        let held = |number: &u64| *number < shared_len && self.holds(*number);
        let missing = (0..source.len()).filter(|number| !held(number)).collect();
        let user_data = self.user_data.clone();
        Self { missing: Arc::new(missing), user_data, ..source.clone() }
    }

    /// The first `len` blocks.
    pub(super) fn first_blocks(&self, len: u64) -> Vec<Bytes> {
        self.blocks.iter().take(len as usize).cloned().collect()
    }

    pub(super) fn holds(&self, block: u64) -> bool {
        block < self.len() && !self.missing.contains(&block)
    }

    /// The blocks that are held.
    pub(super) fn held(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).filter(|block| self.holds(*block))
    }

    fn add_to_roots(&mut self, blocks: &[Bytes]) -> Result<()> {
        let blocks: Vec<&[u8]> = blocks.iter().map(AsRef::as_ref).collect();
        self.roots.append_all(&blocks, &mut Vec::new())
    }

    fn sign(&mut self, keys: &KeyPair) -> Result<()> {
        let manifest = Manifest::single(keys.public_key());
        let signers = Signers { key: &manifest.key(), manifest: &manifest };
        let (length, tree_hash) = (self.roots.length(), self.roots.tree_hash());
        let signature = signers.sign(keys, &tree_hash, length, self.fork)?;
        let byte_length = self.roots.byte_length();
        let head = Head { length, fork: self.fork, byte_length, tree_hash, signature };
        self.head = (length > 0).then_some(head);
        Ok(())
    }

    /// Whether fork, length, roots and signature are the log's. Blocks are not looked at.
    pub(super) fn has_head_of(&self, log: &Log) -> bool {
        log.fork() == self.fork && log.head() == self.head
    }

    /// Whether the log has this user data and these blocks, as far as it says so itself.
    pub(super) fn has_claims_of(&self, log: &Log) -> bool {
        // No version has other keys than the newest.
        let user_data = USER_DATA_KEYS
            .iter()
            .all(|key| log.user_data(key).as_ref() == self.user_data.get(*key));
        user_data && log.held(0..u64::MAX).into_iter().flatten().eq(self.held())
    }

    pub(super) fn block(&self, number: u64) -> Option<&Bytes> {
        usize::try_from(number).ok().and_then(|number| self.blocks.get(number))
    }

    /// A hash of all that the version is.
    pub(super) fn id(&self) -> u64 {
        let mut id = mix2(self.fork, self.len());
        id = mix2(id, self.head.as_ref().map_or(0, |head| hash(&head.signature)));
        for number in &*self.missing {
            id = mix2(id, *number);
        }
        for (key, value) in &*self.user_data {
            id = mix2(id, mix2(hash(key.as_bytes()), hash(value)));
        }
        id
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user_data = USER_DATA_KEYS.iter().map(|key| self.user_data.get(*key));
        let user_data: Vec<_> = user_data.map(|value| value.map(|value| brief(value))).collect();
        let (fork, len, missing) = (self.fork, self.len(), &self.missing);
        write!(f, "fork {fork} length {len} missing {missing:?} with {user_data:?}")
    }
}

/// The first bytes of a value, for people.
pub(super) fn brief(value: &[u8]) -> String {
    value.iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}

/// The keys that workloads use.
pub(super) const USER_DATA_KEYS: [&str; 2] = ["cursor", "notes"];

/// The moment that never comes.
const NEVER: usize = usize::MAX;

/// The versions of one log in order of time. Moments are numbers of events of its storage.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    versions: Vec<Dated>,
    /// What was found out of another history that the writer signed. This part of a log comes and
    /// stays apart from its versions.
    conflicts: Vec<DatedConflict>,
}

/// A step of finding out about another history.
#[derive(Debug, Clone, Copy)]
struct DatedConflict {
    /// How many blocks are known to be the same.
    common_len: u64,
    begun: usize,
    safe: usize,
}

/// A version and what happened to it when.
#[derive(Debug, Clone)]
struct Dated {
    version: Version,
    id: u64,
    /// Its operation began.
    begun: usize,
    /// Its operation returned.
    accepted: usize,
    /// It was said to be safe, or others saw it.
    safe: usize,
    /// It can no longer come back.
    gone: usize,
}

impl History {
    /// The newest version.
    pub(super) fn last(&self) -> Option<&Version> {
        self.versions.last().map(|dated| &dated.version)
    }

    /// Adds the version that an operation makes, which began and returned at these moments.
    pub(super) fn push(&mut self, version: Version, begun: usize, accepted: usize) {
        let id = version.id();
        self.versions.push(Dated { version, id, begun, accepted, safe: NEVER, gone: NEVER });
    }

    /// Adds the version of an operation that did not return.
    pub(super) fn push_failed(&mut self, version: Version, begun: usize) {
        self.push(version, begun, NEVER);
    }

    /// The version with this id is safe from `moment` on: no older one can come back.
    pub(super) fn make_safe(&mut self, id: u64, moment: usize) {
        let is_found = |dated: &&mut Dated| dated.id == id && dated.gone == NEVER;
        if let Some(found) = self.versions.iter_mut().rfind(is_found) {
            found.safe = found.safe.min(moment);
        }
    }

    /// A head was told to be safe, or was seen by others, at `moment`.
    pub(super) fn make_head_safe(&mut self, head: Option<&Head>, moment: usize) {
        // Of several versions with this head the first: the others differ in what is not signed.
        let is_found =
            |dated: &&mut Dated| dated.version.head.as_ref() == head && dated.gone == NEVER;
        let found = self.versions.iter_mut().find(is_found);
        if let Some(found) = found {
            found.safe = found.safe.min(moment);
        }
    }

    /// Another history was found, the same for so many blocks. Known from then on.
    pub(super) fn push_conflict(&mut self, common_len: u64, begun: usize, safe: usize) {
        self.conflicts.push(DatedConflict { common_len, begun, safe });
    }

    /// What is known of another history is so for good from `moment` on.
    pub(super) fn make_conflicts_safe(&mut self, moment: usize) {
        for conflict in &mut self.conflicts {
            conflict.safe = conflict.safe.min(moment);
        }
    }

    /// The first version with this head.
    pub(super) fn with_head(&self, head: &Head) -> Option<&Version> {
        let mut versions = self.versions.iter().map(|dated| &dated.version);
        versions.find(|version| version.head.as_ref() == Some(head))
    }

    /// What may be found after a crash at `moment`.
    pub(super) fn expected(&self, moment: usize, is_whole: bool) -> Expected<'_> {
        let is_floor = |dated: &Dated| dated.safe <= moment || is_whole && dated.accepted <= moment;
        let floor = self.versions.iter().rposition(is_floor);
        let may_come = |dated: &&Dated| dated.begun <= moment && moment < dated.gone;
        let versions: Vec<&Dated> =
            self.versions.iter().skip(floor.unwrap_or(0)).filter(may_come).collect();
        let is_known = |conflict: &DatedConflict| conflict.safe <= moment;
        let known = self.conflicts.iter().rposition(is_known);
        let conflicts = self.conflicts.iter().skip(known.unwrap_or(0));
        let begun = conflicts.filter(|conflict| conflict.begun <= moment);
        let mut conflicts: Vec<_> = begun.map(|conflict| Some(conflict.common_len)).collect();
        if known.is_none() {
            conflicts.push(None);
        }
        Expected { versions, may_be_absent: floor.is_none(), conflicts }
    }

    /// A version was found when the log was opened at `moment`: newer ones have gone for good.
    pub(super) fn find(&mut self, id: u64, moment: usize) {
        for dated in self.versions.iter_mut().rev().take_while(|dated| dated.id != id) {
            dated.gone = dated.gone.min(moment);
        }
    }

    /// A version was found on a disk that forgets no more: nothing else can come from there.
    pub(super) fn settle(&mut self, id: u64, moment: usize) {
        for dated in &mut self.versions {
            if dated.id == id {
                dated.safe = dated.safe.min(moment);
            } else {
                dated.gone = dated.gone.min(moment);
            }
        }
    }
}

/// What a log may be after a crash.
#[derive(Debug, Clone)]
pub(super) struct Expected<'a> {
    versions: Vec<&'a Dated>,
    /// It was not certain to be there yet.
    pub(super) may_be_absent: bool,
    /// What may be known of another history: for how many blocks it is the same.
    conflicts: Vec<Option<u64>>,
}

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (version, number) in self.versions().zip(0..) {
            write!(f, "{}{version}", if number > 0 { " or " } else { "" })?;
        }
        match *self.conflicts {
            [None] => Ok(()),
            _ => write!(f, "; conflicts {:?}", self.conflicts),
        }
    }
}

impl Expected<'_> {
    pub(super) fn versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().map(|dated| &dated.version)
    }

    /// The oldest version that may be found.
    pub(super) fn floor(&self) -> u64 {
        self.versions.first().map_or(0, |dated| dated.id)
    }

    /// Whether a log knows of another history what it may know.
    pub(super) fn has_conflict_of(&self, log: &Log) -> bool {
        let found = log.conflict().map(|_| log.trusted_len());
        self.conflicts.iter().any(|known| known.map(|len| len.min(log.len())) == found)
    }

    /// A hash of what is expected.
    pub(super) fn id(&self) -> u64 {
        let conflicts = self.conflicts.iter().map(|known| known.map_or(u64::MAX, mix));
        let ids = self.versions.iter().map(|dated| dated.id).chain(conflicts);
        ids.fold(u64::from(self.may_be_absent), mix2)
    }

    /// The same, to go on with.
    pub(super) fn to_history(&self) -> History {
        let renew = |dated: &&Dated| Dated {
            begun: 0,
            accepted: NEVER,
            safe: NEVER,
            gone: NEVER,
            ..(*dated).clone()
        };
        let mut versions: Vec<Dated> = self.versions.iter().map(renew).collect();
        if let Some(oldest) = versions.first_mut().filter(|_| !self.may_be_absent) {
            oldest.safe = 0;
        }
        let is_known = !self.conflicts.contains(&None);
        let conflicts = self.conflicts.iter().flatten().enumerate().map(|(number, common_len)| {
            let safe = if is_known && number == 0 { 0 } else { NEVER };
            DatedConflict { common_len: *common_len, begun: 0, safe }
        });
        let conflicts = conflicts.collect();
        History { versions, conflicts }
    }
}
