//! The files of a backup: its owner's alone, and each there as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Take, Write as _};
use std::path::{Path, PathBuf};

use multibee_log::LogKey;

use super::catalog::{Catalog, LogEntry};
use crate::Error;
use crate::home::sync_dir;

/// What the backup holds. Whatever it does not name is of no account.
const CATALOG: &str = "backup.json";
/// The catalog in the making.
const NEW: &str = "backup.json.new";
/// Held by whoever changes the backup.
const LOCK: &str = "lock";
/// Where the copied logs are.
const LOGS: &str = "logs";
/// Where the keys are that sign the database's own logs.
const KEYS: &str = "keys";

/// Longest catalog that is read.
const CATALOG_LEN_MAX: u64 = 256 << 20;

/// The folder of a backup. While it lives, nobody else changes the backup.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder of a backup to be changed, or makes one.
    ///
    /// # Errors
    ///
    /// [`Error::BadBackup`] if there are other things in it, [`Error::Locked`], or the disk is at
    /// fault.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let at = |name: &str| path.join(name);
        private_dir(path)?;
        for entry in fs::read_dir(path).map_err(Error::file(path))? {
            let name = entry.map_err(Error::file(path))?.file_name();
            if ![CATALOG, NEW, LOCK, LOGS, KEYS].iter().any(|known| name == *known) {
                let what = format!("it has {} in it: choose an empty folder", name.display());
                return Err(Error::BadBackup { path: path.into(), what });
            }
        }
        private_dir(&at(LOGS))?;
        private_dir(&at(KEYS))?;
        Self::lock(path)
    }

    /// Opens a backup to be read.
    ///
    /// # Errors
    ///
    /// [`Error::BadBackup`] if there is none, [`Error::Locked`], or the disk is at fault.
    pub(super) fn open_existing(path: &Path) -> Result<(Self, Catalog), Error> {
        let none = || Error::BadBackup { path: path.into(), what: "no backup is there".into() };
        if !path.join(CATALOG).is_file() {
            return Err(none());
        }
        // On a medium that can't be written nobody changes it.
        let folder = match Self::lock(path) {
            Err(Error::File { path: of, source })
                if matches!(
                    source.kind(),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
                ) =>
            {
                let catalog = path.join(CATALOG);
                let _lock = File::open(&catalog).map_err(|_| Error::File { path: of, source })?;
                Self { path: path.into(), _lock }
            }
            folder => folder?,
        };
        let catalog = folder.catalog()?.ok_or_else(none)?;
        Ok((folder, catalog))
    }

    fn lock(path: &Path) -> Result<Self, Error> {
        let file = path.join(LOCK);
        let lock = private().create(true).write(true).truncate(false).open(&file);
        let lock = lock.map_err(Error::file(&file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.into() }),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(file)(error)),
        }
    }

    /// What the backup holds, if there is one.
    pub(super) fn catalog(&self) -> Result<Option<Catalog>, Error> {
        let path = self.path.join(CATALOG);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(path)(error)),
        };
        let mut text = Vec::new();
        file.take(CATALOG_LEN_MAX).read_to_end(&mut text).map_err(Error::file(&path))?;
        Catalog::decode(&text).map(Some).map_err(|what| self.bad(what))
    }

    /// From now on this is what the backup holds. All that it names is on the disk.
    pub(super) fn publish(&self, catalog: &Catalog) -> Result<(), Error> {
        let (new, path) = (self.path.join(NEW), self.path.join(CATALOG));
        for folder in [LOGS, KEYS] {
            step().and_then(|()| sync_dir(&self.path.join(folder))).map_err(Error::file(folder))?;
        }
        self.write_whole(&new, &catalog.encode())?;
        step().and_then(|()| fs::rename(&new, &path)).map_err(Error::file(path))?;
        step().and_then(|()| sync_dir(&self.path)).map_err(Error::file(&self.path))
    }

    /// Removes what the catalog does not name.
    pub(super) fn tidy(&self, catalog: &Catalog) -> Result<(), Error> {
        let logs: Vec<&str> = catalog.logs.iter().map(|log| &log.file[..]).collect();
        let key = catalog.primary.to_string();
        for (folder, named) in [(LOGS, logs), (KEYS, vec![&key[..]])] {
            let folder = self.path.join(folder);
            for entry in fs::read_dir(&folder).map_err(Error::file(&folder))? {
                let entry = entry.map_err(Error::file(&folder))?;
                if !named.iter().any(|name| entry.file_name() == **name) {
                    step()
                        .and_then(|()| fs::remove_file(entry.path()))
                        .map_err(Error::file(entry.path()))?;
                }
            }
        }
        Ok(())
    }

    /// Writes a log's key, durably.
    pub(super) fn write_key(&self, log: &LogKey, seed: &[u8; 32]) -> Result<(), Error> {
        let path = self.path.join(KEYS).join(log.to_string());
        // The backup before needs it, too.
        if fs::read(&path).is_ok_and(|known| known == seed) {
            return Ok(());
        }
        let new = path.with_extension("new");
        self.write_whole(&new, seed)?;
        step().and_then(|()| fs::rename(&new, &path)).map_err(Error::file(path))
    }

    /// The key of a log.
    pub(super) fn key(&self, log: &LogKey) -> Result<[u8; 32], Error> {
        let path = self.path.join(KEYS).join(log.to_string());
        let seed = fs::read(&path).map_err(Error::file(path))?;
        seed.try_into().map_err(|_| self.bad("the key is not 32 bytes long".into()))
    }

    /// Goes on behind the first bytes of a log's file; what is behind them is gone.
    pub(super) fn append(&self, name: &str, from: u64) -> Result<Appending, Error> {
        let path = self.path.join(LOGS).join(name);
        let open = || {
            step()?;
            let mut file = private().create(true).write(true).truncate(false).open(&path)?;
            if file.metadata()?.len() < from {
                let what = "the file of a log is shorter than it was";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            step()?;
            file.set_len(from)?;
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        };
        let file = open().map_err(Error::file(&path))?;
        Ok(Appending { path, file: BufWriter::with_capacity(WRITE_BYTES, file), written: 0 })
    }

    /// The copy of a log, as far as the catalog says.
    pub(super) fn read(&self, log: &LogEntry) -> Result<BufReader<Take<File>>, Error> {
        let path = self.path.join(LOGS).join(&log.file);
        let file = File::open(&path).map_err(Error::file(path))?;
        Ok(BufReader::with_capacity(WRITE_BYTES, file.take(log.bytes)))
    }

    pub(super) fn bad(&self, what: String) -> Error {
        Error::BadBackup { path: self.path.clone(), what }
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || {
            step()?;
            let mut file = private().create(true).write(true).truncate(true).open(path)?;
            step()?;
            file.write_all(bytes)?;
            step()?;
            file.sync_all()
        };
        write().map_err(Error::file(path))
    }
}

/// A log's file that grows.
#[derive(Debug)]
pub(super) struct Appending {
    path: PathBuf,
    file: BufWriter<File>,
    pub(super) written: u64,
}

impl Appending {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        step().and_then(|()| self.file.write_all(bytes)).map_err(Error::file(&self.path))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Ends it: all is on the disk.
    pub(super) fn finish(self) -> Result<u64, Error> {
        let end = || {
            step()?;
            let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
            step()?;
            file.sync_all()
        };
        end().map_err(Error::file(self.path))?;
        Ok(self.written)
    }
}

/// Bytes that are read and written at once.
const WRITE_BYTES: usize = 1 << 20;

fn private() -> OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_dir(path: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    step().and_then(|()| builder.create(path)).map_err(Error::file(path))
}

#[cfg(test)]
thread_local! {
    /// Changes that a backup may make before it is cut short.
    pub(super) static STEPS_LEFT: std::cell::Cell<Option<u64>> =
        const { std::cell::Cell::new(None) };
}

/// Comes before each change.
#[cfg(test)]
fn step() -> io::Result<()> {
    STEPS_LEFT.with(|left| match left.get() {
        Some(0) => Err(io::Error::other("cut short by a test")),
        Some(count) => {
            left.set(Some(count - 1));
            Ok(())
        }
        None => Ok(()),
    })
}

#[cfg(not(test))]
const fn step() -> io::Result<()> {
    Ok(())
}
