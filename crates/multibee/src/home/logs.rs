//! The logs of a home, by name: the same for a directory, memory, and storage of one's own.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use multibee_log::{FileStorage, LogKey, Storage};

use super::{Home, gone, lock, private_dir};
use crate::Error;

/// The folder of replicas.
pub(super) const REPLICAS: &str = "replicas";
/// The folder of primaries that took over from another one.
pub(super) const PRIMARIES: &str = "primaries";
/// The first primary.
pub(super) const PRIMARY: &str = "primary";

/// The name of the replica of a log.
pub(super) fn replica_name(key: &LogKey) -> String {
    format!("{REPLICAS}/{}", key.discovery_key())
}

impl Home {
    /// The storage of a log, if it was made.
    pub(super) fn storage(&self, name: &str) -> Result<Option<Arc<dyn Storage>>, Error> {
        match self {
            Self::Dir(dir) => {
                let path = dir.join(name);
                if !path.is_dir() {
                    return Ok(None);
                }
                let storage = FileStorage::open(path).map_err(|error| self.unless_locked(error))?;
                Ok(Some(Arc::new(storage)))
            }
            Self::Memory(memory) => {
                let storage = lock(&memory.logs).get(name).cloned();
                Ok(storage.map(|storage| Arc::new(storage) as Arc<dyn Storage>))
            }
            Self::Own(own) => {
                let storage = own.places.open(name).map_err(Error::file(name))?;
                Ok(storage.map(breakable))
            }
        }
    }

    /// New, empty storage for a log.
    pub(super) fn new_storage(&self, name: &str) -> Result<Arc<dyn Storage>, Error> {
        match self {
            Self::Dir(dir) => {
                let path = dir.join(name);
                private_dir(path.parent().unwrap_or(dir))?;
                Ok(Arc::new(FileStorage::create(path)?))
            }
            Self::Memory(memory) => {
                Ok(Arc::new(lock(&memory.logs).entry(name.to_owned()).or_default().clone()))
            }
            Self::Own(own) => own.places.create(name).map(breakable).map_err(Error::file(name)),
        }
    }

    /// The names of all logs, in their order.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = match self {
            Self::Dir(dir) => {
                let mut names = folders(dir, REPLICAS)?;
                names.extend(folders(dir, PRIMARIES)?);
                if dir.join(PRIMARY).is_dir() {
                    names.push(PRIMARY.to_owned());
                }
                names
            }
            Self::Memory(memory) => lock(&memory.logs).keys().cloned().collect(),
            Self::Own(own) => own.places.names().map_err(Error::file("(own storage)"))?,
        };
        names.sort();
        Ok(names)
    }

    /// Gives a log another name. Nobody has it open.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        match self {
            Self::Dir(dir) => {
                let (old, new) = (dir.join(from), dir.join(to));
                let folder = new.parent().unwrap_or(dir);
                private_dir(folder)?;
                let renamed = fs::rename(&old, &new).and_then(|()| sync_dir(folder));
                renamed
                    .and_then(|()| sync_dir(old.parent().unwrap_or(dir)))
                    .map_err(Error::file(old))
            }
            Self::Memory(memory) => {
                let mut logs = lock(&memory.logs);
                if let Some(storage) = logs.remove(from) {
                    logs.insert(to.to_owned(), storage);
                }
                Ok(())
            }
            Self::Own(own) => own.places.rename(from, to).map_err(Error::file(from)),
        }
    }

    /// Forgets a log. Nobody has it open.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        match self {
            Self::Dir(dir) => gone::remove(&dir.join(name)),
            Self::Memory(memory) => {
                lock(&memory.logs).remove(name);
                Ok(())
            }
            Self::Own(own) => own.places.remove(name).map_err(Error::file(name)),
        }
    }

    /// Removes what is left of logs that were forgotten when the process ended.
    pub(super) fn finish_removals(&self) -> Result<(), Error> {
        match self {
            Self::Dir(dir) => gone::remove_left(dir),
            Self::Memory(_) | Self::Own(_) => Ok(()),
        }
    }

    fn unless_locked(&self, error: multibee_log::Error) -> Error {
        match error {
            multibee_log::Error::Locked { .. } => Error::Locked { path: self.path() },
            other => other.into(),
        }
    }
}

#[cfg(feature = "broken")]
fn breakable(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    crate::broken::breakable(storage)
}

#[cfg(not(feature = "broken"))]
fn breakable(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    storage
}

/// The folders in a folder, with its name. Those that begin with a dot are in the making.
fn folders(dir: &Path, folder: &str) -> Result<Vec<String>, Error> {
    let path = dir.join(folder);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file(&path))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if !name.is_empty() && !name.starts_with('.') && entry.path().is_dir() {
            names.push(format!("{folder}/{name}"));
        }
    }
    Ok(names)
}

/// Makes names in a folder survive a power cut.
#[cfg(unix)]
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

// Elsewhere a directory can't be opened as a file; the system keeps its names in its own journal.
#[cfg(not(unix))]
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
