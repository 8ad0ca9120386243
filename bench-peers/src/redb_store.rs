//! redb: a tree of pages in one file.

use std::fs;
use std::path::Path;

use anyhow::Result;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::store::{Reader, Store, locked};
use crate::task::Durability;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

pub(crate) struct Redb {
    db: Database,
    durability: redb::Durability,
}

impl Store for Redb {
    fn version() -> String {
        locked("redb")
    }

    fn create(folder: &Path, durability: Durability) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let db = Database::create(folder.join("db"))?;
        let durability = match durability {
            Durability::Immediate => redb::Durability::Immediate,
            Durability::Buffered => redb::Durability::None,
        };
        let transaction = db.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        Ok(Self { db, durability })
    }

    fn open(folder: &Path) -> Result<Self> {
        let db = Database::open(folder.join("db"))?;
        Ok(Self { db, durability: redb::Durability::Immediate })
    }

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(self.durability)?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in entries {
                table.insert(key, value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> Result<impl Reader> {
        Ok(self.db.begin_read()?.open_table(TABLE)?)
    }
}

impl Drop for Redb {
    /// What no commit brought to disk is lost when a database is closed: it has to be there for those
    /// who read it. Beyond the measured time.
    fn drop(&mut self) {
        if matches!(self.durability, redb::Durability::None)
            && let Ok(transaction) = self.db.begin_write()
            && let Err(error) = transaction.commit()
        {
            eprintln!("redb: {error}");
        }
    }
}

impl Reader for ReadOnlyTable<&'static [u8], &'static [u8]> {
    fn get(&mut self, key: &[u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let found = ReadableTable::get(self, key)?;
        found.as_ref().map(|value| take(value.value())).transpose()?;
        Ok(found.is_some())
    }

    fn scan(&mut self, mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        for entry in self.iter()? {
            let (key, value) = entry?;
            take(key.value(), value.value())?;
        }
        Ok(())
    }
}
