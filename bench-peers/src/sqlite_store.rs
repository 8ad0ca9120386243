//! SQLite: a tree of pages in one file, with a write-ahead log.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _};

use crate::store::{Reader, Store};
use crate::task::Durability;

pub(crate) struct Sqlite {
    db: Connection,
}

impl Sqlite {
    fn at(folder: &Path, synchronous: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let db = Connection::open(folder.join("db"))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", synchronous)?;
        Ok(Self { db })
    }
}

impl Store for Sqlite {
    fn version() -> String {
        rusqlite::version().to_owned()
    }

    fn create(folder: &Path, durability: Durability) -> Result<Self> {
        let store = Self::at(
            folder,
            match durability {
                Durability::Immediate => "full",
                Durability::Buffered => "off",
            },
        )?;
        let table =
            "create table entries (key blob primary key, value blob not null) without rowid";
        store.db.execute(table, [])?;
        Ok(store)
    }

    fn open(folder: &Path) -> Result<Self> {
        Self::at(folder, "full")
    }

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let transaction = self.db.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("insert or replace into entries values (?1, ?2)")?;
            for (key, value) in entries {
                insert.execute((key, value))?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> Result<impl Reader> {
        Ok(&self.db)
    }
}

impl Reader for &Connection {
    fn get(&mut self, key: &[u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let mut select = self.prepare_cached("select value from entries where key = ?1")?;
        let found = select.query_row([key], |row| Ok(take(row.get_ref(0)?.as_blob()?)));
        let found = found.optional()?.transpose()?;
        Ok(found.is_some())
    }

    fn scan(&mut self, mut take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let mut select = self.prepare_cached("select key, value from entries order by key")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            take(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?)?;
        }
        Ok(())
    }
}
