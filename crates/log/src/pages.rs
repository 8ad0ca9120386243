//! What of a log is read by way of the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::{Cache, Item, Key, Kind, Page, new_owner};
use crate::disk::Disk;
use crate::error::Result;
use crate::storage::Part;

/// What one log has in the cache.
pub(crate) struct Pages {
    disk: Arc<Disk>,
    cache: Cache,
    owner: AtomicU64,
}

impl Pages {
    pub(crate) fn new(disk: Arc<Disk>, cache: Cache) -> Self {
        Self { disk, cache, owner: AtomicU64::new(new_owner()) }
    }

    /// Forgets all, also what is being read just now.
    pub(crate) fn forget_all(&self) {
        self.owner.store(new_owner(), Ordering::Release);
    }

    pub(crate) fn get(&self, kind: Kind, number: u64) -> Option<Item> {
        self.cache.get(&self.key(kind, number))
    }

    /// Returns where an item is cached. To be asked before what it is made of is read: if all is
    /// [forgotten](Self::forget_all) meanwhile, nobody will look there.
    pub(crate) fn spot(&self, kind: Kind, number: u64) -> Spot<'_> {
        Spot { cache: &self.cache, key: self.key(kind, number) }
    }

    pub(crate) fn forget(&self, kind: Kind, number: u64) {
        self.cache.remove(&self.key(kind, number));
    }

    /// Reads a page of `len` bytes, fewer where the part ends.
    pub(crate) fn read(&self, kind: Kind, number: u64, part: Part, len: usize) -> Result<Page> {
        let item = self.cache.get_or_make(&self.key(kind, number), || {
            let mut bytes = vec![0; len];
            let offset = number.saturating_mul(len as u64);
            let count = self.disk.read_at(part, offset, &mut bytes)?;
            bytes.truncate(count);
            bytes.shrink_to_fit();
            Ok(Item::Page(Arc::new(bytes)))
        })?;
        match item {
            Item::Page(bytes) => Ok(bytes),
            _ => Ok(Page::default()),
        }
    }

    /// Reads bytes of a part, as many as there are.
    pub(crate) fn read_past_cache(&self, part: Part, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let count = self.disk.read_at(part, offset, &mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn key(&self, kind: Kind, number: u64) -> Key {
        Key { owner: self.owner.load(Ordering::Acquire), kind, number }
    }
}

/// Where an item is cached.
pub(crate) struct Spot<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Spot<'_> {
    pub(crate) fn get(&self) -> Option<Item> {
        self.cache.get(&self.key)
    }

    pub(crate) fn insert(&self, item: Item) {
        self.cache.insert(self.key, item);
    }

    /// Who forgets the item while it is being made keeps it out of the cache.
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Result<Item>) -> Result<Item> {
        self.cache.get_or_make(&self.key, make)
    }
}
