//! Mending a damaged log, by itself and with the help of any other copy.

use crate::apply::Applied;
use crate::audit::{Audit, Damage, Progress};
use crate::barrier::Barrier;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::keys::LogKey;
use crate::known_conflict;
use crate::limits::{REPAIR_BATCH, REPAIR_ROUNDS_MAX};
use crate::log::{Log, LogOptions, Shared};
use crate::memory::MemoryStorage;
use crate::merkle::NodeSource;
use crate::node::Node;
use crate::oplog::{Opened, Oplog, StoredEntry};
use crate::oplog_codec::{Entry, Header};
use crate::proof::Proof;
use crate::recovery;
use crate::request::{Request, RequestBlock, RequestHash, RequestUpgrade};
use crate::storage::{Part, Storage};
use crate::verify::Belief;

/// What a repair has done. Made by [`Log::repair`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// Tree nodes that were computed anew from what is stored, and blocks that were found again.
    pub mended: u64,
    /// Blocks, with the nodes on the way to them, that were taken from the other copy.
    pub fetched_blocks: u64,
    /// What is left.
    pub remaining: Audit,
}

/// What a restoration has done. Made by [`Log::restore`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Blocks that were taken from the other copy.
    pub fetched_blocks: u64,
    /// Blocks that the other copy does not have.
    pub missing_blocks: u64,
}

impl Log {
    /// Audits the log and mends what is wrong: from what is stored, and where that does not do,
    /// from `source`, which answers requests as [`prove`](Self::prove) of another copy does, or as
    /// a peer does. What it says is verified. With no other copy, let it return an error.
    ///
    /// ```
    /// use multibee_log::{
    ///     KeyPair, Log, LogOptions, MemoryStorage, Part, Request, RequestBlock, RequestUpgrade, Storage,
    /// };
    ///
    /// let disk = MemoryStorage::new();
    /// let log = Log::create(disk.clone(), KeyPair::generate(), LogOptions::default())?;
    /// log.append(&["rain"])?;
    /// let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default())?;
    /// let block = Some(RequestBlock { index: 0, nodes: 0 });
    /// let upgrade = Some(RequestUpgrade { start: 0, length: 1 });
    /// copy.apply(&log.prove(&Request { block, upgrade, manifest: true, ..Request::default() })?)?;
    ///
    /// disk.write_at(Part::Data, 0, b"p")?;
    /// assert!(!log.audit(|_| {})?.is_clean());
    /// let repair = log.repair(|request| copy.prove(request), |_progress| {})?;
    /// assert_eq!(repair.fetched_blocks, 1);
    /// assert!(repair.remaining.is_clean());
    /// assert_eq!(log.get(0)?.as_deref(), Some(&b"rain"[..]));
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::ReadOnly`] and [`Error::ReadOnlyAfterFailedSync`]. What cannot be
    /// mended is no error, but is told in the result; nor are errors of `source`.
    pub fn repair(
        &self,
        mut source: impl FnMut(&Request) -> Result<Proof>,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Repair> {
        self.shared.disk.check_writable()?;
        let mut repair = Repair::default();
        for _ in 0..REPAIR_ROUNDS_MAX {
            let damage = self.shared.audit(&mut on_progress)?;
            let is_clean = damage.audit.is_clean();
            let mended = self.shared.mend(&damage)?;
            let is_as_before = repair.remaining == damage.audit;
            let fetched = self.fetch(&damage, &mut source)?;
            repair.mended += mended;
            repair.fetched_blocks += fetched.blocks;
            repair.remaining = damage.audit;
            if is_clean || is_as_before || mended + fetched.blocks + fetched.paths == 0 {
                break;
            }
        }
        Ok(repair)
    }

    /// Makes a log that cannot be [opened](Self::open) any more readable again, with what another
    /// copy has. `source` is asked as in [`repair`](Self::repair).
    ///
    /// `key` is needed if not even that can be read. A log of one's own stays writable only if its
    /// oplog can still be read and the other copy is no older: to go on from an older one would be
    /// to sign a second history.
    ///
    /// Fetched are the blocks that the log held, as far as that can be read, or all if it cannot.
    /// Where a directory is without its `oplog`,
    /// [`FileStorage::create`](crate::FileStorage::create) opens it.
    ///
    /// # Errors
    ///
    /// [`Error::WrongStorage`] if the key is needed, [`Error::ForkMismatch`] and
    /// [`Error::Outdated`] if the other copy is older than this one: nothing is changed then.
    /// [`Error::Io`], and the errors of `source` when it is asked for the head.
    pub fn restore(
        storage: impl Storage,
        key: Option<LogKey>,
        options: LogOptions,
        mut source: impl FnMut(&Request) -> Result<Proof>,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<(Self, Restored)> {
        let disk = options.disk(storage, false);
        let opened = Oplog::open(&disk).unwrap_or(None);
        let known = opened.as_ref().map(Known::of);
        let (old, entries) = opened.map(|opened| (opened.header, opened.entries)).unzip();
        let key = old.as_ref().map(|header| header.key).or(key);
        let what = "not even the log's key can be read from the storage; give it";
        let key = key.ok_or(Error::WrongStorage { what })?;
        let proof = source(&Request {
            upgrade: Some(RequestUpgrade { start: 0, length: 1 }),
            manifest: true,
            ..Request::default()
        })?;
        // Checked where it does no harm.
        let check = Self::create_replica(MemoryStorage::new(), key, LogOptions::default())?;
        check.apply(&proof)?;
        if let Some(known) = known {
            known.check_not_newer_than(&check)?;
        }
        let wanted = wanted_blocks(&disk, &entries.unwrap_or_default(), check.len())?;
        // Nothing could be taken while it is known. Damaged, it will have to be found again.
        let conflict = known_conflict::read(&disk, &key).ok().flatten();
        let header = Header {
            manifest: check.manifest(),
            key_pair: old.as_ref().and_then(|header| header.key_pair.clone()),
            user_data: old.map(|header| header.user_data).unwrap_or_default(),
            ..Header::empty(key)
        };
        for part in [Part::Oplog, Part::Tree, Part::Bitfield, Part::Header, Part::Conflict] {
            disk.truncate(part, 0)?;
        }
        Oplog::create(&disk, &header)?;
        disk.sync(Barrier::Create, &Part::ALL)?;
        let log = Self::open_disk(disk, options)?;
        log.apply(&proof)?;
        let total = wanted.len() as u64;
        let mut restored = Restored::default();
        for (number, blocks) in wanted.chunks(REPAIR_BATCH).enumerate() {
            on_progress(Progress { done: (number * REPAIR_BATCH) as u64, total });
            for &block in blocks {
                let nodes = log.missing_nodes(block.saturating_mul(2))?;
                match log.fetch_block(block, nodes, &mut source)? {
                    true => restored.fetched_blocks += 1,
                    false => restored.missing_blocks += 1,
                }
            }
        }
        on_progress(Progress { done: total, total });
        log.flush()?;
        if let Some(known) = conflict
            && let Err(error) = log.accept_conflict(&known.conflict)
        {
            tracing::warn!(%key, %error, "a conflict does not fit the log that was restored");
        }
        Ok((log, restored))
    }

    /// Fetches what is damaged.
    fn fetch(
        &self,
        damage: &Damage,
        source: &mut impl FnMut(&Request) -> Result<Proof>,
    ) -> Result<Fetched> {
        let mut fetched = Fetched::default();
        for &(index, trusted) in &damage.bad_nodes {
            self.fetch_node(index, flat_tree::depth(trusted), source, &mut fetched)?;
        }
        for &block in &damage.bad_blocks {
            // With a wrong size on the way to it, it would be written over others.
            if !self.shared.has_sound_path(block)? {
                continue;
            }
            let nodes = self.missing_nodes(block.saturating_mul(2))?;
            fetched.blocks += u64::from(self.fetch_block(block, nodes, source)?);
        }
        Ok(fetched)
    }

    /// Fetches a node by way of one that is below it, where what is at `depth` above them both is
    /// right.
    fn fetch_node(
        &self,
        index: u64,
        depth: u32,
        source: &mut impl FnMut(&Request) -> Result<Proof>,
        fetched: &mut Fetched,
    ) -> Result<()> {
        // Any block below brings all nodes on the way to it.
        for leaf in [flat_tree::left_span(index), flat_tree::right_span(index)] {
            if self.fetch_block(leaf / 2, u64::from(depth), source)? {
                fetched.blocks += 1;
                return Ok(());
            }
        }
        // So does a node, all but itself and its sibling: of those the sum of sizes is sure only.
        if let Some((below, _)) = flat_tree::children(index) {
            let nodes = u64::from(depth.saturating_sub(flat_tree::depth(below)));
            let hash = Some(RequestHash { index: below, nodes });
            let applied = self.fetch_proof(&Request { hash, ..Request::default() }, source)?;
            fetched.paths += u64::from(applied.is_some());
        }
        Ok(())
    }

    /// Fetches one block. Returns whether it came, and was right.
    fn fetch_block(
        &self,
        index: u64,
        nodes: u64,
        source: &mut impl FnMut(&Request) -> Result<Proof>,
    ) -> Result<bool> {
        let block = Some(RequestBlock { index, nodes });
        let applied = self.fetch_proof(&Request { block, ..Request::default() }, source)?;
        Ok(applied.is_some_and(|applied| applied.block == Some(index)))
    }

    /// Takes in what `source` answers, if it is right.
    fn fetch_proof(
        &self,
        request: &Request,
        source: &mut impl FnMut(&Request) -> Result<Proof>,
    ) -> Result<Option<Applied>> {
        let Ok(proof) = source(request) else {
            return Ok(None);
        };
        match self.shared.apply_one(&proof, Belief::Damaged) {
            Ok(applied) => Ok(Some(applied)),
            Err(error @ (Error::Io(_) | Error::ReadOnly | Error::ReadOnlyAfterFailedSync)) => {
                Err(error)
            }
            Err(error) => {
                tracing::debug!(%error, ?request, "what came for a repair is of no use");
                Ok(None)
            }
        }
    }
}

/// What came from another copy.
#[derive(Default)]
struct Fetched {
    /// Blocks, with the nodes on the way to them.
    blocks: u64,
    /// Nodes without a block, with the nodes on the way to them.
    paths: u64,
}

/// The blocks that a log of `len` blocks held, as far as bits and entries tell: all, if they tell of
/// none.
fn wanted_blocks(disk: &Disk, entries: &[StoredEntry], len: u64) -> Result<Vec<u64>> {
    let mut bits = recovery::read_bits(disk, len)?;
    for change in entries.iter().filter_map(|stored| stored.entry.bitfield) {
        let end = change.start.saturating_add(change.length).min(len);
        bits.set(change.start.min(end)..end, !change.drop);
    }
    Ok(match bits.held(0..len).as_slice() {
        [] => (0..len).collect(),
        runs => runs.iter().cloned().flatten().collect(),
    })
}

/// What is known of a log that cannot be opened: how far it was.
struct Known {
    fork: u64,
    length: u64,
}

impl Known {
    fn of(opened: &Opened) -> Self {
        let newest = opened.entries.iter().rev().find_map(|stored| stored.entry.upgrade.as_ref());
        match newest {
            Some(upgrade) => Self { fork: upgrade.fork, length: upgrade.length },
            None => Self { fork: opened.header.fork, length: opened.header.length },
        }
    }

    fn check_not_newer_than(&self, copy: &Log) -> Result<()> {
        if copy.fork() != self.fork {
            return Err(Error::ForkMismatch { ours: self.fork, theirs: copy.fork() });
        }
        if copy.len() < self.length {
            return Err(Error::Outdated { start: copy.len(), ours: self.length });
        }
        Ok(())
    }
}

impl Shared {
    /// Whether all nodes on the way to a block fit to the root, which the signature vouches for.
    fn has_sound_path(&self, block: u64) -> Result<bool> {
        let commit = self.commit();
        let view = self.tree.at(commit.length());
        let leaf = block.saturating_mul(2);
        let is_above = |root: &&Node| flat_tree::contains(root.index, leaf);
        let Some(mut above) = commit.roots.nodes().iter().find(is_above).copied() else {
            return Ok(false);
        };
        while let Some((left, right)) = flat_tree::children(above.index) {
            let (Some(left), Some(right)) = (view.node(left)?, view.node(right)?) else {
                return Ok(false);
            };
            if Node::parent(&left, &right) != Some(above) {
                return Ok(false);
            }
            above = if flat_tree::contains(left.index, leaf) { left } else { right };
        }
        Ok(true)
    }

    /// Writes what could be computed, and the bits. Returns how many nodes and blocks.
    fn mend(&self, damage: &Damage) -> Result<u64> {
        if damage.audit.is_clean() {
            return Ok(0);
        }
        let mut writer = self.writer()?;
        let mut nodes = damage.mended.clone();
        nodes.sort_unstable_by_key(|node| node.index);
        if !nodes.is_empty() {
            let entry = Entry { nodes: Some(nodes.clone()), ..Entry::default() };
            self.write_entries(&mut writer, &[entry], true)?;
            self.tree.insert(&nodes);
            self.tree.forget_places();
        }
        {
            let mut state = self.state_mut();
            for &seq in &damage.lost_blocks {
                state.bits.set(seq..seq + 1, true);
            }
            state.bits.mark_dirty();
        }
        self.flush(&mut writer)?;
        Ok((nodes.len() + damage.lost_blocks.len()) as u64)
    }
}
