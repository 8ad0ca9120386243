//! Opening: from the last header, by way of the entries since, to the state of the log.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::bitfield::{Bitfield, PAGE_LEN};
use crate::cache::Cache;
use crate::commit::{Commit, State, UserData};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::hash;
use crate::key_pair::KeyPair;
use crate::known_conflict::{self, KnownConflict};
use crate::limits::{BATCH_BLOCKS_MAX, USER_DATA_ITEMS_MAX};
use crate::log::Writer;
use crate::merkle::{Roots, roots_at};
use crate::oplog::{Opened, Oplog, StoredEntry};
use crate::oplog_codec::{Entry, EntryUpgrade, Header, Reorg};
use crate::placed::{Places, placed};
use crate::storage::Part;
use crate::tree_store::TreeStore;
use crate::user_data;

/// What a log was found to be.
pub(crate) struct Recovered {
    pub(crate) tree: TreeStore,
    pub(crate) state: State,
    pub(crate) writer: Writer,
    /// Whether entries were dropped because what they tell of is not there.
    pub(crate) has_dropped: bool,
}

/// Bytes of a key's part. What is shorter was being erased.
const SEED_LEN: u64 = 32;

/// Finds the key pair that may sign the log: in the part `Key`, or in a header by Hypercore.
pub(crate) fn find_keys(disk: &Disk, header: &Header) -> Result<Option<KeyPair>> {
    let in_header = header.key_pair.as_ref().and_then(|pair| pair.secret_key.as_ref());
    let keys = if disk.len(Part::Key)? >= SEED_LEN {
        let seed = Zeroizing::new(disk.read_exact(Part::Key, 0, 32)?);
        Some(KeyPair::from_seed(seed.as_slice().try_into().expect("32 bytes were read")))
    } else {
        in_header.and_then(|secret| secret.first_chunk()).map(|seed| KeyPair::from_seed(*seed))
    };
    let Some(keys) = keys else {
        return Ok(None);
    };
    let public_key = keys.public_key();
    if header.key_pair.as_ref().is_some_and(|pair| pair.public_key != public_key) {
        return Err(Error::Corrupt { part: Part::Key, offset: 0, what: "another log's key" });
    }
    // A restored log of which it is not known how long it was names none.
    let is_named = header.key_pair.is_some();
    let may_sign = match &header.manifest {
        Some(manifest) => manifest.lets_sign_alone(&public_key),
        None => *header.key.as_bytes() == public_key,
    };
    Ok((is_named && may_sign).then_some(keys))
}

/// Replays the entries on the header, and drops those at the end that did not reach the disk whole.
///
/// An entry may have arrived without its blocks. If `cut_anywhere`, the log ends before the first
/// such entry; otherwise only those are looked at that nobody waited for, as the entries tell.
pub(crate) fn recover(
    disk: &Arc<Disk>,
    cache: &Cache,
    opened: Opened,
    cut_anywhere: bool,
) -> Result<Recovered> {
    let Opened { mut oplog, header, mut entries } = opened;
    let bits = read_bits(disk, header.length)?;
    let mut has_dropped = false;
    let replay = loop {
        // A stale entry, left from before the header: two changes of header without the disk
        // keeping up can make it look current.
        if let Some(count) = first_stale(&header, &entries) {
            entries.truncate(count);
        }
        let mut replay = Replay::run(disk, cache, &bits, &header, &entries)?;
        match replay.check(disk, &header, &entries, cut_anywhere)? {
            Some(count) => entries.truncate(count),
            None => break replay,
        }
        has_dropped = true;
    };
    if !disk.is_read_only() {
        oplog.cut(disk, entries.last().map(|stored| stored.end))?;
    }
    let conflict = known_conflict::read(disk, &header.key)?;
    let recovered = replay.finish(oplog, header, conflict)?;
    Ok(Recovered { has_dropped, ..recovered })
}

/// The commit that a header tells of, as far as the log has not been cut since: all that is certain
/// to be on disk.
pub(crate) fn commit_of_header(tree: &TreeStore, header: &Header) -> Result<Commit> {
    let roots = roots_at(&tree.at(header.length), header.length)?.unwrap_or_default();
    Ok(match check_hash(header, roots) {
        Ok(roots) => Commit { fork: header.fork, roots, signature: header.signature.clone() },
        Err(_) => Commit::default(),
    })
}

/// Reads which of the first `length` blocks are held. Bits beyond are left from a newer header that
/// was lost or never written, or from a batch that was never signed: there is no knowing whether
/// they fit to what comes there next.
pub(crate) fn read_bits(disk: &Disk, length: u64) -> Result<Bitfield> {
    let mut bits = Bitfield::default();
    // Hypercore writes whole words.
    let len = disk.len(Part::Bitfield)? & !3;
    let mut page = vec![0; PAGE_LEN];
    for number in 0..len.div_ceil(PAGE_LEN as u64) {
        page.fill(0);
        disk.read_at(Part::Bitfield, number * PAGE_LEN as u64, &mut page)?;
        bits.load_page(number, &page);
    }
    bits.finish_loading();
    bits.set(length..u64::MAX, false);
    Ok(bits)
}

/// Returns where to cut the entries off because one does not lead on from those before.
fn first_stale(header: &Header, entries: &[StoredEntry]) -> Option<usize> {
    let mut now = (header.fork, header.length);
    for stored in entries {
        if let Some(upgrade) = &stored.entry.upgrade {
            let new = (upgrade.fork, upgrade.length);
            if new <= now {
                return Some(stored.batch_start);
            }
            now = new;
        }
    }
    None
}

/// Returns the first of the entries that may have reached the disk without what they tell of.
///
/// Of those that somebody waited for there is at most one, the first of a batch at the very end.
fn first_doubtful(entries: &[StoredEntry], cut_anywhere: bool) -> usize {
    if cut_anywhere {
        return 0;
    }
    // Written when those before it may not have been on disk; see `Oplog::append`.
    let is_hasty = |stored: &StoredEntry| {
        entries.get(stored.batch_start).is_some_and(|first| first.entry == Entry::default())
    };
    let mut numbered = entries.iter().enumerate().rev();
    let certain =
        numbered.find(|(number, stored)| !is_hasty(stored) && stored.batch_start >= *number);
    certain.map_or(0, |(number, _)| number)
}

/// A log in the midst of having its entries replayed.
struct Replay {
    length: u64,
    /// The first block whose node an entry does not have.
    placed_from: Option<u64>,
    tree: TreeStore,
    bits: Bitfield,
    commit: Commit,
    user_data: UserData,
    /// What the header says of it, as far as nothing was dropped since.
    contiguous_length: u64,
    reorgs: Vec<Reorg>,
}

impl Replay {
    fn new(disk: &Arc<Disk>, cache: &Cache, bits: &Bitfield, header: &Header) -> Self {
        Self {
            length: header.length,
            placed_from: None,
            tree: TreeStore::open(disk.clone(), cache.clone(), header.length),
            bits: bits.clone(),
            commit: Commit {
                fork: header.fork,
                signature: header.signature.clone(),
                ..Commit::default()
            },
            user_data: header.user_data.clone(),
            contiguous_length: header.contiguous_length,
            reorgs: header.reorgs.clone(),
        }
    }

    /// Replays `entries`. The roots are not looked for yet.
    fn run(
        disk: &Arc<Disk>,
        cache: &Cache,
        bits: &Bitfield,
        header: &Header,
        entries: &[StoredEntry],
    ) -> Result<Self> {
        let mut replay = Self::new(disk, cache, bits, header);
        // A cut that was being moved to its place may have taken the roots of all lengths before.
        let was_cut = entries.iter().any(|stored| {
            stored.entry.upgrade.as_ref().is_some_and(|upgrade| upgrade.ancestors < header.length)
        });
        if !was_cut {
            check_hash(header, replay.roots(header.length)?)?;
        }
        for stored in entries {
            replay.apply(&stored.entry)?;
        }
        Ok(replay)
    }

    fn apply(&mut self, entry: &Entry) -> Result<()> {
        if let Some((key, value)) = &entry.user_data {
            user_data::put(&mut self.user_data, key, value);
            if self.user_data.len() > USER_DATA_ITEMS_MAX {
                return Err(corrupt(Part::Oplog, "more user data than a log may have"));
            }
        }
        if let Some(upgrade) = &entry.upgrade
            && upgrade.ancestors < self.length
        {
            self.tree.truncate(upgrade.ancestors);
        }
        let nodes = entry.nodes.as_deref().unwrap_or(&[]);
        self.tree.insert(nodes);
        if let Some(bits) = entry.bitfield {
            let end = bits.start.saturating_add(bits.length);
            // Each block that is added brings its leaf, so the entry's own size bounds the memory; or
            // its leaf is at its place, and there are no more of them than one append may have.
            let limit = if placed(entry).is_some() { BATCH_BLOCKS_MAX } else { nodes.len().max(1) };
            if !bits.drop && bits.length > limit as u64 {
                return Err(corrupt(Part::Oplog, "an entry holds blocks without their leaves"));
            }
            self.bits.set(bits.start..end, !bits.drop);
            if bits.drop {
                self.contiguous_length = self.contiguous_length.min(bits.start);
            }
        }
        if let Some(upgrade) = &entry.upgrade {
            self.upgrade(upgrade)?;
        }
        if let Some(upgrade) = placed(entry) {
            self.tree.believe_places(upgrade.length);
            let from = self.placed_from.unwrap_or(u64::MAX);
            self.placed_from = Some(from.min(upgrade.ancestors));
        }
        Ok(())
    }

    fn upgrade(&mut self, upgrade: &EntryUpgrade) -> Result<()> {
        if upgrade.ancestors > upgrade.length || upgrade.ancestors > self.length {
            return Err(corrupt(Part::Oplog, "an entry's lengths do not fit each other"));
        }
        if upgrade.fork != self.commit.fork && self.length > 0 {
            let from = self.commit.fork;
            let reorg = Reorg { from, to: upgrade.fork, ancestors: upgrade.ancestors };
            reorg.note_in(&mut self.reorgs);
        }
        self.commit.fork = upgrade.fork;
        self.commit.signature = upgrade.signature.clone();
        self.length = upgrade.length;
        Ok(())
    }

    fn roots(&self, length: u64) -> Result<Roots> {
        roots_at(&self.tree.at(length), length)?
            .ok_or(corrupt(Part::Tree, "the roots of the tree are missing"))
    }

    /// Finds the roots, and returns where to cut the entries off because what they tell of is not
    /// there.
    fn check(
        &mut self,
        disk: &Disk,
        header: &Header,
        entries: &[StoredEntry],
        cut_anywhere: bool,
    ) -> Result<Option<usize>> {
        let first = first_doubtful(entries, cut_anywhere);
        let Self { tree, bits, commit, length, .. } = &*self;
        let places = Places { disk, header, tree, bits, entries, commit, length: *length };
        // Without these nodes there may be no roots.
        if let Some(cut) = places.first_misplaced(first)? {
            return Ok(Some(cut));
        }
        self.commit.roots = self.roots(self.length)?;
        self.first_without_blocks(disk, entries, first)
    }

    /// Returns where to cut the entries off because blocks that those from number `first` on tell of
    /// are not there.
    fn first_without_blocks(
        &self,
        disk: &Disk,
        entries: &[StoredEntry],
        first: usize,
    ) -> Result<Option<usize>> {
        let mut later = Bitfield::default();
        let mut cut = None;
        let data_len = disk.len(Part::Data)?;
        for (number, stored) in entries.iter().enumerate().skip(first).rev() {
            let mut is_whole = true;
            let is_checked = placed(&stored.entry).is_some();
            if let Some(bits) = stored.entry.bitfield.filter(|bits| !bits.drop && !is_checked) {
                for block in bits.start..bits.start.saturating_add(bits.length) {
                    // What a later entry took away or wrote again is that entry's matter.
                    if self.bits.get(block) && !later.get(block) {
                        later.set(block..block + 1, true);
                        is_whole &= self.is_there(disk, data_len, block)?;
                    }
                }
            }
            if !is_whole {
                cut = Some(stored.batch_start.min(number));
            }
        }
        Ok(cut)
    }

    /// Returns whether a block's data is what its leaf says. Blocks beyond the end do not matter.
    fn is_there(&self, disk: &Disk, data_len: u64, block: u64) -> Result<bool> {
        if block >= self.commit.length() {
            return Ok(true);
        }
        let place = match self.tree.place(&self.commit.roots, block) {
            Err(Error::NotAvailable { .. }) => return Ok(false),
            found => found?,
        };
        // An empty block may lie beyond the end of the part, since nothing was written for it.
        if place.size > data_len.saturating_sub(place.offset) {
            return Ok(false);
        }
        let Ok(len) = usize::try_from(place.size) else {
            return Ok(false);
        };
        let data = disk.read_exact(Part::Data, place.offset, len)?;
        Ok(place.hash == hash::leaf(&data))
    }

    fn finish(
        mut self,
        oplog: Oplog,
        header: Header,
        conflict: Option<KnownConflict>,
    ) -> Result<Recovered> {
        let length = self.commit.length();
        self.bits.set(length..u64::MAX, false);
        self.tree.drop_beyond(length);
        self.tree.look_for_stale_nodes()?;
        let placed_bytes = match self.placed_from {
            Some(from) => {
                let before = roots_at(&self.tree.at(length), from.min(length))?;
                let before = before.map_or(0, |roots| roots.byte_length());
                self.commit.roots.byte_length().saturating_sub(before)
            }
            None => 0,
        };
        let commit = Arc::new(self.commit);
        let state = State {
            durable: commit.clone(),
            accepted: commit,
            shows_accepted: true,
            change: 0,
            durable_change: 0,
            bits: self.bits,
            manifest: header.manifest.clone().map(Arc::new),
            user_data: Arc::new(self.user_data),
            conflict: conflict.map(Arc::new),
        };
        let Self { contiguous_length, reorgs, tree, .. } = self;
        let header = Header { contiguous_length, reorgs, ..header };
        let (data, run) = (Vec::new(), Vec::new());
        let writer = Writer { oplog, header, data, run, placed_bytes };
        Ok(Recovered { tree, state, writer, has_dropped: false })
    }
}

fn check_hash(header: &Header, roots: Roots) -> Result<Roots> {
    match header.tree_hash {
        Some(hash) if hash != roots.tree_hash() => {
            Err(corrupt(Part::Tree, "the tree's roots are not those of the header"))
        }
        _ => Ok(roots),
    }
}

fn corrupt(part: Part, what: &'static str) -> Error {
    Error::Corrupt { part, offset: 0, what }
}
