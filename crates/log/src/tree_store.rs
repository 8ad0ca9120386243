//! The nodes of a log's tree: those not yet written to the part `Tree`, and pages of those that are.

use std::cell::Cell;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;

use crate::cache::{Cache, Kind, Page};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::merkle::{NodeSource, Roots, roots_at};
use crate::node::Node;
use crate::pages::Pages;
use crate::storage::Part;
use crate::touches::Touches;
use crate::unflushed::{NODE_LEN, PAGE_LEN, PAGE_NODES, Unflushed, decode, encode};

/// `file_limit` of a part `Tree` that has no node which must not be believed.
const UNLIMITED: u64 = u64::MAX;

/// Single reads in a group after which its data is worth reading whole: it takes about as long as
/// eight of them, and who has read four is likely to read more.
const GROUP_READS_FEW: u32 = 4;

/// Reads of single leaves among neighbouring groups after which they are worth reading together.
const NEIGHBOUR_READS_FEW: u32 = 3;

/// The stored nodes of one log.
pub(crate) struct TreeStore {
    disk: Arc<Disk>,
    /// Nodes that only the oplog has. A node leaves only once it can be read from the part.
    unflushed: RwLock<Unflushed>,
    /// `false`: there are none to look for.
    has_unflushed: AtomicBool,
    pages: Pages,
    touched_groups: Touches<2048>,
    touched_neighbours: Touches<256>,
    /// Nodes in the part count only if they are whole below this length. Those beyond are left
    /// from a longer or another history.
    file_limit: AtomicU64,
    /// The part may have nodes below this index, and has none from it on.
    file_end: AtomicU64,
}

impl TreeStore {
    /// Opens the nodes of a log whose last header tells of `length` blocks.
    pub(crate) fn open(disk: Arc<Disk>, cache: Cache, length: u64) -> Self {
        Self {
            pages: Pages::new(disk.clone(), cache),
            touched_groups: Touches::new(GROUP_READS_FEW),
            touched_neighbours: Touches::new(NEIGHBOUR_READS_FEW),
            disk,
            unflushed: RwLock::default(),
            has_unflushed: AtomicBool::new(false),
            file_limit: AtomicU64::new(length),
            file_end: AtomicU64::new(u64::MAX),
        }
    }

    /// The nodes that a log of `length` blocks may have.
    pub(crate) fn at(&self, length: u64) -> TreeView<'_> {
        TreeView { store: self, length, last_page: Cell::default() }
    }

    /// The roots that a log of `len` blocks had which has `now` blocks, on the same fork.
    pub(crate) fn roots(&self, len: u64, now: u64) -> Result<Roots> {
        let what = "the roots of the tree are missing";
        let missing = Error::Corrupt { part: Part::Tree, offset: 0, what };
        roots_at(&self.at(now), len)?.ok_or(missing)
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// How often groups were read.
    pub(crate) fn touched_groups(&self) -> &Touches<2048> {
        &self.touched_groups
    }

    /// How often the leaves of neighbouring groups were read.
    pub(crate) fn touched_neighbours(&self) -> &Touches<256> {
        &self.touched_neighbours
    }

    /// Fills `page` with the nodes of a page all of which are in the part, past the cache. Returns
    /// whether they are: only then is what it has true of a log of `length` blocks.
    pub(crate) fn read_whole_page(
        &self,
        number: u64,
        length: u64,
        page: &mut [u8; PAGE_LEN],
    ) -> Result<bool> {
        let is_stored = self.is_page_stored(number, length);
        if is_stored {
            self.read_pages(number, page)?;
        }
        Ok(is_stored)
    }

    /// Whether all nodes of a page that are known are in the part, and true of a log of `length`
    /// blocks. To be asked before they are read: those that are not there yet may come later.
    pub(crate) fn is_page_stored(&self, number: u64, length: u64) -> bool {
        let first = number.saturating_mul(PAGE_NODES);
        // The last node of a page reaches further than all others, and is none of the page's tree.
        let last = first.saturating_add(PAGE_NODES - 2);
        let limit = length.min(self.file_limit.load(Ordering::Acquire));
        let has_unflushed = || self.has_unflushed.load(Ordering::Acquire);
        is_whole(last, limit) && !(has_unflushed() && self.unflushed().has_page(number))
    }

    /// Fills `pages` with what the part has, from a page on, past the cache.
    pub(crate) fn read_pages(&self, first: u64, pages: &mut [u8]) -> Result<()> {
        let offset = first.saturating_mul(PAGE_LEN as u64);
        self.disk.read_at(Part::Tree, offset, pages)?;
        Ok(())
    }

    /// Adds verified nodes.
    pub(crate) fn insert(&self, nodes: &[Node]) {
        if !nodes.is_empty() {
            let mut unflushed = self.unflushed_mut();
            unflushed.insert(nodes);
            self.has_unflushed.store(true, Ordering::Release);
        }
    }

    /// Adds verified nodes, list by list.
    pub(crate) fn insert_all<'a>(&self, lists: impl Iterator<Item = &'a [Node]>) {
        let mut lists = lists.filter(|nodes| !nodes.is_empty()).peekable();
        if lists.peek().is_some() {
            let mut unflushed = self.unflushed_mut();
            lists.for_each(|nodes| unflushed.insert(nodes));
            self.has_unflushed.store(true, Ordering::Release);
        }
    }

    /// Forgets where blocks lie, because a stored size turned out to be wrong.
    pub(crate) fn forget_places(&self) {
        self.pages.forget_all();
    }

    /// Forgets unflushed nodes that a log of `length` blocks cannot have.
    pub(crate) fn drop_beyond(&self, length: u64) {
        self.unflushed_mut().retain(|index| is_whole(index, length));
    }

    /// Forgets the nodes that are not whole below `length`, which the log was cut to.
    pub(crate) fn truncate(&self, length: u64) {
        self.file_limit.fetch_min(length, Ordering::AcqRel);
        self.drop_beyond(length);
        self.pages.forget_all();
    }

    /// Takes over what another store of the same disk has found.
    pub(crate) fn become_as(&self, other: Self) {
        let mut unflushed = self.unflushed_mut();
        *unflushed = std::mem::take(&mut *other.unflushed_mut());
        self.has_unflushed.store(true, Ordering::Release);
        self.file_limit.store(other.file_limit.load(Ordering::Acquire), Ordering::Release);
        self.file_end.store(other.file_end.load(Ordering::Acquire), Ordering::Release);
        self.pages.forget_all();
    }

    /// Finds out whether the part holds nodes that must not be believed; if not, all are from here
    /// on.
    pub(crate) fn look_for_stale_nodes(&self) -> Result<()> {
        let limit = self.file_limit.load(Ordering::Acquire);
        let len = self.disk.len(Part::Tree)?;
        self.file_end.store(len.div_ceil(NODE_LEN as u64), Ordering::Release);
        let is_longer = len > file_len(limit);
        if !is_longer && self.stale_ancestors(limit)?.is_empty() {
            self.file_limit.store(UNLIMITED, Ordering::Release);
        }
        Ok(())
    }

    /// Writes the unflushed nodes to the part, without a sync.
    ///
    /// They stay in memory until [`retire`](Self::retire).
    pub(crate) fn write(&self) -> Result<()> {
        self.remove_stale_nodes()?;
        self.unflushed().write_runs(|first, bytes| {
            let end = first.saturating_add((bytes.len() / NODE_LEN) as u64);
            self.disk.write_at(Part::Tree, first.saturating_mul(NODE_LEN as u64), bytes)?;
            self.file_end.fetch_max(end, Ordering::AcqRel);
            Ok(())
        })
    }

    /// Whether new nodes can go straight to their places: the part holds none that must not be
    /// believed, which they would be mixed up with.
    pub(crate) fn can_place(&self) -> bool {
        self.file_limit.load(Ordering::Acquire) == UNLIMITED
    }

    /// Writes the nodes that lead from `before` to `after` blocks straight to their places, without a
    /// sync. `run` is memory for that.
    ///
    /// They count once a log of that length is asked for. If that never comes to be, see
    /// [`unplace`](Self::unplace).
    pub(crate) fn place_nodes(
        &self,
        (before, after): (u64, u64),
        nodes: &[Node],
        run: &mut Vec<u8>,
    ) -> Result<()> {
        // From the first new leaf to the last. Those between that are not whole yet are zeros.
        let first = before.saturating_mul(2);
        let count = file_len(after).saturating_sub(first.saturating_mul(NODE_LEN as u64));
        run.clear();
        run.resize(usize::try_from(count).map_err(|_| Error::LogTooLarge)?, 0);
        for node in nodes {
            let Some(number) = node.index.checked_sub(first) else {
                // A parent of older nodes as well. There are few.
                self.write_node(node.index, &encode(node))?;
                continue;
            };
            let at = (number as usize).saturating_mul(NODE_LEN);
            if let Some(place) = run.get_mut(at..at + NODE_LEN) {
                place.copy_from_slice(&encode(node));
            }
        }
        self.disk.write_at(Part::Tree, first.saturating_mul(NODE_LEN as u64), run)?;
        // Pages that were read before; and one that is being read just now is not kept.
        let last = after.saturating_mul(2).saturating_sub(2);
        let pages = first / PAGE_NODES..=last / PAGE_NODES;
        let further_left =
            nodes.iter().map(|node| node.index / PAGE_NODES).filter(|page| page < pages.start());
        further_left.for_each(|number| self.pages.forget(Kind::Nodes, number));
        pages.for_each(|number| self.pages.forget(Kind::Nodes, number));
        self.file_end.fetch_max(last.saturating_add(1), Ordering::AcqRel);
        Ok(())
    }

    /// Notes that the part may have nodes of a log that never came to be longer than `length`.
    pub(crate) fn unplace(&self, length: u64) {
        self.file_limit.fetch_min(length, Ordering::AcqRel);
        // Pages from before would hide what must be removed.
        self.pages.forget_all();
    }

    /// While entries are replayed: the nodes of a log of `length` blocks are in the part, as far as
    /// no entry has them.
    pub(crate) fn believe_places(&self, length: u64) {
        self.file_limit.store(length, Ordering::Release);
    }

    fn write_node(&self, index: u64, bytes: &[u8; NODE_LEN]) -> Result<()> {
        self.disk.write_at(Part::Tree, index.saturating_mul(NODE_LEN as u64), bytes)
    }

    /// Forgets that the nodes are unflushed, after [`write`](Self::write) and all that must follow.
    pub(crate) fn retire(&self) {
        // Order matters: a reader who does not find a node among the unflushed ones must not find
        // a page from before the node was written. Removing a page that is being read just now
        // keeps what was read out of the cache.
        let numbers = self.unflushed().page_numbers();
        numbers.into_iter().for_each(|number| self.pages.forget(Kind::Nodes, number));
        let mut unflushed = self.unflushed_mut();
        *unflushed = Unflushed::default();
        self.has_unflushed.store(false, Ordering::Release);
    }

    /// Reads a node from the part, by way of the cache.
    fn read(&self, index: u64) -> Result<Option<Node>> {
        let page = self.page(index / PAGE_NODES)?;
        Ok(node_in(&page, index))
    }

    fn page(&self, number: u64) -> Result<Page> {
        self.pages.read(Kind::Nodes, number, Part::Tree, PAGE_LEN)
    }

    /// Makes the part hold only nodes that count, so that those written next are not mixed up with
    /// others.
    fn remove_stale_nodes(&self) -> Result<()> {
        let limit = self.file_limit.load(Ordering::Acquire);
        if limit == UNLIMITED {
            return Ok(());
        }
        if self.disk.len(Part::Tree)? > file_len(limit) {
            self.disk.truncate(Part::Tree, file_len(limit))?;
        }
        for index in self.stale_ancestors(limit)? {
            self.write_node(index, &[0; NODE_LEN])?;
        }
        // Before the limit is lifted: who sees it lifted must not see pages from before.
        self.pages.forget_all();
        self.file_limit.store(UNLIMITED, Ordering::Release);
        Ok(())
    }

    /// Nodes in the part, before the one where a log of `length` blocks goes on, that reach past
    /// its end.
    fn stale_ancestors(&self, length: u64) -> Result<Vec<u64>> {
        let end = length.saturating_mul(2);
        let ancestors = iter::successors(flat_tree::parent(end), |index| flat_tree::parent(*index));
        let mut stale = Vec::new();
        for index in ancestors.filter(|index| *index < end) {
            if self.read(index)?.is_some() {
                stale.push(index);
            }
        }
        Ok(stale)
    }

    // A panic cannot leave the nodes half changed.
    fn unflushed(&self) -> RwLockReadGuard<'_, Unflushed> {
        self.unflushed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn unflushed_mut(&self) -> RwLockWriteGuard<'_, Unflushed> {
        self.unflushed.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length of the part `Tree` for a log of `length` blocks.
pub(crate) fn file_len(length: u64) -> u64 {
    length.saturating_mul(2).saturating_sub(1).saturating_mul(NODE_LEN as u64)
}

/// Whether all blocks below node `index` are among the first `length` ones.
pub(crate) fn is_whole(index: u64, length: u64) -> bool {
    flat_tree::right_span(index) / 2 < length
}

/// The node of this index in its page.
pub(crate) fn node_in(page: &[u8], index: u64) -> Option<Node> {
    let at = (index % PAGE_NODES) as usize * NODE_LEN;
    page.get(at..).and_then(|bytes| decode(index, bytes))
}

/// The nodes that a log of some length may have: none that reach past its end.
pub(crate) struct TreeView<'a> {
    store: &'a TreeStore,
    length: u64,
    /// The page that was read last: most walks through the tree stay in one for a while.
    last_page: Cell<Option<(u64, Page)>>,
}

impl TreeView<'_> {
    /// As [`node`](NodeSource::node), but reads no more than this node, and caches nothing.
    pub(crate) fn node_alone(&self, index: u64) -> Result<Option<Node>> {
        let read = |index| {
            let mut bytes = [0; NODE_LEN];
            self.store.disk.read_at(Part::Tree, index * NODE_LEN as u64, &mut bytes)?;
            Ok(decode(index, &bytes))
        };
        self.look_up(index, read)
    }

    /// Looks among the nodes that only the oplog has, and then in the part.
    fn look_up(
        &self,
        index: u64,
        read: impl FnOnce(u64) -> Result<Option<Node>>,
    ) -> Result<Option<Node>> {
        if !is_whole(index, self.length) {
            return Ok(None);
        }
        if self.store.has_unflushed.load(Ordering::Acquire)
            && let Some(node) = self.store.unflushed().get(index)
        {
            return Ok(Some(node));
        }
        let is_in_file = index < self.store.file_end.load(Ordering::Acquire)
            && is_whole(index, self.store.file_limit.load(Ordering::Acquire));
        if is_in_file { read(index) } else { Ok(None) }
    }

    fn read(&self, index: u64) -> Result<Option<Node>> {
        let number = index / PAGE_NODES;
        if let Some((last, page)) = self.last_page.take() {
            let node = if last == number { node_in(&page, index) } else { None };
            self.last_page.set(Some((last, page)));
            // A node that is not in it may have been written since.
            if node.is_some() {
                return Ok(node);
            }
        }
        let page = self.store.page(number)?;
        let node = node_in(&page, index);
        self.last_page.set(Some((number, page)));
        Ok(node)
    }
}

impl NodeSource for TreeView<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>> {
        self.look_up(index, |index| self.read(index))
    }
}

/// Nodes by index.
pub(crate) type Nodes = FxHashMap<u64, Node>;

/// Nodes that are not stored yet, before those of another source.
pub(crate) struct Overlaid<'a> {
    pub(crate) new: &'a Nodes,
    pub(crate) below: &'a dyn NodeSource,
}

impl NodeSource for Overlaid<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>> {
        match self.new.get(&index) {
            Some(node) => Ok(Some(*node)),
            None => self.below.node(index),
        }
    }
}
