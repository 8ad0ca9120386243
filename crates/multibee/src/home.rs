//! Where a database keeps its logs: a directory, or memory.

mod gone;
mod logs;
mod primaries;
mod restored;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use multibee_log::{Log, LogKey, LogOptions, MemoryStorage, Storage};

use crate::Error;
use logs::replica_name;
pub(crate) use logs::sync_dir;
pub(crate) use primaries::Primaries;
pub(crate) use restored::is_restored;

/// Where a database lives.
#[derive(Clone, Debug)]
pub enum Home {
    /// A directory of its own; see `docs/formats.md` for what is in it.
    Dir(PathBuf),
    /// Memory. Clones share it, so that a test can reopen what it closed.
    Memory(MemoryHome),
    /// Storage of one's own.
    Own(OwnHome),
}

/// Where the logs of a database lie, for storage of one's own.
pub trait Places: fmt::Debug + Send + Sync + 'static {
    /// The storage of the log with this name; `None` if none was ever [made](Self::create).
    ///
    /// Names are words of letters and digits, joined by `/`.
    ///
    /// # Errors
    ///
    /// The storage is at fault, or somebody else has the log open.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Storage>>>;

    /// New, empty storage for a log with this name.
    ///
    /// # Errors
    ///
    /// The storage is at fault.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Storage>>;

    /// The names of all logs that were made.
    ///
    /// # Errors
    ///
    /// The storage is at fault.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Gives a log that nobody has open another name, under which there is none, durably.
    ///
    /// # Errors
    ///
    /// The storage is at fault. The log has the old name or the new one then.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Forgets a log that nobody has open.
    ///
    /// # Errors
    ///
    /// The storage is at fault.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A home in storage of one's own. Addresses of devices are remembered as long as it lasts.
#[derive(Clone, Debug)]
pub struct OwnHome {
    places: Arc<dyn Places>,
    addresses: Arc<Mutex<BTreeMap<LogKey, String>>>,
}

/// A home in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryHome {
    logs: Arc<Mutex<BTreeMap<String, MemoryStorage>>>,
    addresses: Arc<Mutex<BTreeMap<LogKey, String>>>,
}

const ADDRESSES: &str = "addresses.json";

impl Home {
    /// A directory.
    pub fn dir(path: impl Into<PathBuf>) -> Self {
        Self::Dir(path.into())
    }

    /// New, empty memory.
    pub fn memory() -> Self {
        Self::Memory(MemoryHome::default())
    }

    /// Storage of one's own.
    pub fn own(places: Arc<dyn Places>) -> Self {
        Self::Own(OwnHome { places, addresses: Arc::default() })
    }

    /// Whether a database is there.
    pub fn exists(&self) -> bool {
        // What can't be read is there, so that nobody makes a new database in its place.
        !self.primaries().is_ok_and(|names| names.is_empty())
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Dir(dir) => dir.clone(),
            Self::Memory(_) => PathBuf::from("(memory)"),
            Self::Own(_) => PathBuf::from("(own storage)"),
        }
    }

    /// Opens the replica of another device's log by itself, or makes an empty one, for tools that
    /// look beneath a database. No process may have the database open.
    ///
    /// # Errors
    ///
    /// The disk is at fault, or somebody has the log open.
    pub fn replica(&self, key: LogKey, options: LogOptions) -> Result<Log, Error> {
        let name = replica_name(&key);
        match self.storage(&name)? {
            Some(storage) => Ok(Log::open(storage, options)?),
            None => Ok(Log::create_replica(self.new_storage(&name)?, key, options)?),
        }
    }

    /// Whether there is a replica of a log.
    pub(crate) fn has_replica(&self, key: &LogKey) -> Result<bool, Error> {
        Ok(self.names()?.contains(&replica_name(key)))
    }

    /// Where each device was reached last: this device's own knowledge, not shared.
    pub(crate) fn addresses(&self) -> Result<BTreeMap<LogKey, String>, Error> {
        let dir = match self {
            Self::Memory(memory) => return Ok(lock(&memory.addresses).clone()),
            Self::Own(own) => return Ok(lock(&own.addresses).clone()),
            Self::Dir(dir) => dir,
        };
        let path = dir.join(ADDRESSES);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(Error::file(path)(error)),
        };
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let entries: BTreeMap<String, String> = serde_json::from_slice(&text)
            .map_err(|error| Error::file(&path)(invalid(error.to_string())))?;
        entries
            .into_iter()
            .map(|(key, address)| match key.parse() {
                Ok(key) => Ok((key, address)),
                Err(_) => Err(Error::file(&path)(invalid(format!("{key:?} is no key")))),
            })
            .collect()
    }

    /// Remembers where devices are reached.
    pub(crate) fn set_addresses(&self, addresses: &BTreeMap<LogKey, String>) -> Result<(), Error> {
        let dir = match self {
            Self::Memory(memory) => {
                lock(&memory.addresses).clone_from(addresses);
                return Ok(());
            }
            Self::Own(own) => {
                lock(&own.addresses).clone_from(addresses);
                return Ok(());
            }
            Self::Dir(dir) => dir,
        };
        let entries: BTreeMap<String, &String> =
            addresses.iter().map(|(key, address)| (key.to_string(), address)).collect();
        let path = dir.join(ADDRESSES);
        let text = serde_json::to_vec_pretty(&entries)
            .map_err(|error| Error::file(&path)(io::Error::other(error)))?;
        replace_file(&path, &text).map_err(Error::file(&path))
    }
}

/// A file is the old one or the new one, whatever happens in between.
fn replace_file(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn private_dir(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(Error::file(path))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while one of these is held, and each change is a single assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
