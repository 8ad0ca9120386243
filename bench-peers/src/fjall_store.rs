//! fjall: a log-structured merge tree in many files.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{Reader, Store, locked};
use crate::task::Durability;

pub(crate) struct Fjall {
    db: Database,
    entries: Keyspace,
    mode: PersistMode,
}

impl Fjall {
    fn at(folder: &Path, mode: PersistMode) -> Result<Self> {
        let db = Database::builder(folder).open()?;
        let entries = db.keyspace("entries", KeyspaceCreateOptions::default)?;
        Ok(Self { db, entries, mode })
    }
}

impl Store for Fjall {
    fn version() -> String {
        locked("fjall")
    }

    fn create(folder: &Path, durability: Durability) -> Result<Self> {
        let mode = match durability {
            Durability::Immediate => PersistMode::SyncData,
            Durability::Buffered => PersistMode::Buffer,
        };
        Self::at(folder, mode)
    }

    fn open(folder: &Path) -> Result<Self> {
        Self::at(folder, PersistMode::Buffer)
    }

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(self.mode));
        for (key, value) in entries {
            batch.insert(&self.entries, key, value);
        }
        Ok(batch.commit()?)
    }

    fn reader(&self) -> Result<impl Reader> {
        Ok(self.entries.clone())
    }
}

impl Reader for Keyspace {
    fn get(&mut self, key: &[u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let found = Self::get(self, key)?;
        found.as_ref().map(|value| take(value)).transpose()?;
        Ok(found.is_some())
    }

    fn scan(&mut self, mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        for entry in self.iter() {
            let (key, value) = entry.into_inner()?;
            take(&key, &value)?;
        }
        Ok(())
    }
}
