//! Memory for what logs have read, shared among them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Items;

use crate::block_places::Group;
use crate::error::Result;
use crate::leaves::Leaves;
use crate::limits::{CACHE_BYTES_DEFAULT, CACHE_ITEM_BYTES};

/// Memory for what logs have read: pages of their trees and of their data.
///
/// Clones are the same memory. Logs opened with the same cache compete for its bytes, so one that
/// lies idle ends up with none. What is cached takes no more than the bytes given; what a log needs
/// besides does not count.
#[derive(Clone)]
pub struct Cache {
    items: Arc<Items<Key, Item, Weight>>,
}

impl Cache {
    /// Makes a cache of its own, for at most so many bytes.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / CACHE_ITEM_BYTES).unwrap_or(usize::MAX);
        Self { items: Arc::new(Items::with_weighter(items, bytes, Weight)) }
    }

    /// Returns the cache that logs of this process use unless told otherwise: 64 MiB.
    pub fn shared() -> Self {
        static SHARED: LazyLock<Cache> = LazyLock::new(|| Cache::new(CACHE_BYTES_DEFAULT));
        SHARED.clone()
    }

    /// Returns how many bytes are cached now.
    pub fn bytes(&self) -> u64 {
        self.items.weight()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Item> {
        self.items.get(key)
    }

    /// Who removes the item while it is being made keeps it out of the cache.
    pub(crate) fn get_or_make(
        &self,
        key: &Key,
        make: impl FnOnce() -> Result<Item>,
    ) -> Result<Item> {
        self.items.get_or_insert_with(key, make)
    }

    pub(crate) fn insert(&self, key: Key, item: Item) {
        self.items.insert(key, item);
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.items.remove(key);
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::shared()
    }
}

/// What an item is, of whom, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) owner: u64,
    pub(crate) kind: Kind,
    pub(crate) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Nodes,
    Leaves,
    Group,
    GroupOffset,
    Region,
    Block,
}

/// Bytes that are read by many at once.
pub(crate) type Page = Arc<Vec<u8>>;

#[derive(Clone)]
pub(crate) enum Item {
    /// A page of the part `Tree`, shorter where the part ended.
    Page(Page),
    Leaves(Arc<Leaves>),
    Group(Arc<Group>),
    /// A block of a group that is not whole, or not all here.
    Block(Bytes),
    /// Where the data of a group of blocks begins.
    Offset(u64),
    /// Where the groups of a region begin, as many of them as are known.
    Offsets(Arc<Vec<u64>>),
}

/// Returns a number that nobody has had: whoever takes a new one forgets all he has cached.
pub(crate) fn new_owner() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Item> for Weight {
    fn weight(&self, _key: &Key, item: &Item) -> u64 {
        // The rest is an estimate of what the cache itself needs for an item.
        let len = match item {
            Item::Page(bytes) => bytes.len(),
            Item::Leaves(leaves) => size_of_val(leaves.as_ref()),
            Item::Group(group) => group.weight(),
            Item::Block(bytes) => bytes.len(),
            Item::Offset(_) => 0,
            Item::Offsets(offsets) => size_of_val(offsets.as_slice()),
        };
        len as u64 + 96
    }
}
