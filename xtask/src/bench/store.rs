//! The two things that entries are put into, seen alike.

use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};
use bytes::Bytes;
use multibee::{Home, KeyPair, Multibee, Options, RangeSpec};
use multibee_btree::{Bee, BeeOptions, RangeOptions};
use multibee_log::{FileStorage, Log, LogOptions};
use serde::{Deserialize, Serialize};

/// When a write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Durability {
    /// When it is on disk.
    Immediate,
    /// When the system has it.
    Buffered,
}

impl Durability {
    pub(super) const BOTH: [Self; 2] = [Self::Immediate, Self::Buffered];
}

impl From<Durability> for multibee::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Immediate => Self::Immediate,
            Durability::Buffered => Self::Buffered,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Immediate => "immediate",
            Self::Buffered => "buffered",
        })
    }
}

/// What entries are put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Layer {
    /// The tree over a log: what Hyperbee is.
    Tree,
    /// The database, with what several writers take.
    Database,
}

impl Layer {
    pub(super) const BOTH: [Self; 2] = [Self::Tree, Self::Database];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tree => "btree",
            Self::Database => "multibee",
        })
    }
}

/// A store of entries in a folder. Dropping it closes it.
pub(super) trait Store: Sized {
    fn create(folder: &Path, durability: Durability) -> Result<Self>;

    fn open(folder: &Path) -> Result<Self>;

    /// Puts one entry as a commit of its own.
    fn put(&self, key: &[u8], value: Bytes) -> Result<()>;

    /// Puts entries as one commit.
    fn put_all<'a>(&self, entries: impl Iterator<Item = (&'a [u8], Bytes)>) -> Result<()>;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Hands all entries to `take`, in the order of their keys.
    fn scan(&self, take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()>;

    /// Bytes of all blocks in the log.
    fn log_bytes(&self) -> Result<u64>;
}

impl Store for Bee {
    fn create(folder: &Path, durability: Durability) -> Result<Self> {
        let storage = FileStorage::create(folder)?;
        let options = LogOptions { durability: durability.into(), ..LogOptions::default() };
        let log = Log::create(storage, KeyPair::from_seed(SEED), options)?;
        let bee = Self::open(log, BeeOptions::default())?;
        // So that it is not part of the first put.
        bee.create_header()?;
        Ok(bee)
    }

    fn open(folder: &Path) -> Result<Self> {
        let log = Log::open(FileStorage::open(folder)?, LogOptions::default())?;
        Ok(Self::open(log, BeeOptions::default())?)
    }

    fn put(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.put(key, Some(value))?;
        Ok(())
    }

    fn put_all<'a>(&self, entries: impl Iterator<Item = (&'a [u8], Bytes)>) -> Result<()> {
        let mut batch = self.batch()?;
        for (key, value) in entries {
            batch.put(key, Some(value), Bytes::new())?;
        }
        batch.flush()?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.snapshot()?.get(key)?.and_then(|entry| entry.value))
    }

    fn scan(&self, mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        for entry in self.snapshot()?.range(RangeOptions::default()) {
            let entry = entry?;
            take(&entry.key, entry.value.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }

    fn log_bytes(&self) -> Result<u64> {
        Ok(self.log().byte_len())
    }
}

impl Store for Multibee {
    fn create(folder: &Path, durability: Durability) -> Result<Self> {
        let options = Options {
            durability: durability.into(),
            keys: Some(KeyPair::from_seed(SEED)),
            ..Options::default()
        };
        Ok(Self::create(Home::dir(folder), options)?)
    }

    fn open(folder: &Path) -> Result<Self> {
        Ok(Self::open(Home::dir(folder), Options::default())?)
    }

    fn put(&self, key: &[u8], value: Bytes) -> Result<()> {
        Ok(self.put(key, value)?)
    }

    fn put_all<'a>(&self, entries: impl Iterator<Item = (&'a [u8], Bytes)>) -> Result<()> {
        let mut batch = self.batch();
        for (key, value) in entries {
            batch.put(key, value);
        }
        let changed = batch.commit()?;
        ensure!(changed.iter().all(|changed| *changed), "a put has changed nothing");
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.get(key)?.map(|entry| entry.value))
    }

    fn scan(&self, mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        for entry in self.range(RangeSpec::default())? {
            let entry = entry?;
            take(&entry.key, &entry.value)?;
        }
        Ok(())
    }

    fn log_bytes(&self) -> Result<u64> {
        Ok(self.status()?.bytes)
    }
}

/// Of the key pair of everything that is written here: the same for each run.
pub(super) const SEED: [u8; 32] = [1; 32];
