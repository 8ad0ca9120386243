//! Storage in a directory, one file for each part.

mod handles;
mod hole;
mod instance;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;

use crate::lock;
use crate::storage::{Part, Storage};
use handles::Handle;

/// Storage in a directory, locked against other processes for as long as this value lives, unless
/// it was opened for reading only.
///
/// The layout is Hypercore 10's: files `oplog`, `tree`, `data`, `bitfield` and rarely `header`,
/// each made when first written, and `key`, `conflict` and `instance`, which are our own. Files are
/// readable by their owner only. A `key` that others may read is refused.
///
/// A directory that was copied or restored is known as a [copy](crate::Log::is_copy) by its `oplog` being
/// another file than `instance` says. It may be renamed within its file system.
///
/// Files are opened when they are needed. A process keeps about 256 open for all its logs together,
/// and one of each log for its lock.
#[derive(Debug)]
pub struct FileStorage {
    dir: Mutex<Dir>,
    access: Access,
    /// Open as long as this lives, since the lock is on it.
    oplog: Arc<Handle>,
    others: [Arc<Handle>; Part::ALL.len() - 1],
    /// Whether a file was made since the directory was last synced.
    dir_is_dirty: AtomicBool,
}

/// What the files are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Where the files are now, and where they will be once the new log is complete.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    rename_to: Option<PathBuf>,
}

impl FileStorage {
    /// Prepares storage for a new log in the directory `dir`.
    ///
    /// If `dir` does not exist, the files are made in a directory beside it, which is renamed when
    /// the log is complete: a crash before leaves nothing at `dir`. Otherwise they are made in it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] of kind `AlreadyExists` if there is an `oplog` in `dir` that is not empty, and
    /// [`Error::Locked`] if another process is making or using a log there.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        if dir.try_exists()? {
            let storage = Self::lock_in(dir.to_path_buf(), None)?;
            if storage.len(Part::Oplog)? > 0 {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
            }
            return Ok(storage);
        }
        let aside = path_aside(dir)?;
        if aside.try_exists()? {
            // Left by a crash, unless its maker still holds the lock.
            let left = Self::lock_in(aside.clone(), None)?;
            fs::remove_dir_all(&aside)?;
            drop(left);
        }
        if let Some(parent) = parent(dir) {
            fs::create_dir_all(parent)?;
        }
        create_private_dir(&aside)?;
        Self::lock_in(aside, Some(dir.to_path_buf()))
    }

    /// Opens the directory of an existing log.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] of kind `NotFound` if there is no `oplog`, and [`Error::Locked`] if another
    /// process has the log open.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        fs::metadata(dir.join(Part::Oplog.name()))?;
        Self::lock_in(dir.to_path_buf(), None)
    }

    /// Opens the directory of a log for [reading](crate::Log::open_read_only) while another process
    /// may write it. Nothing is locked, and writing fails.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], of kind `NotFound` if there is no `oplog`.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        fs::metadata(dir.join(Part::Oplog.name()))?;
        Ok(Self::new(dir.to_path_buf(), None, Access::Read))
    }

    /// Returns whether `dir` holds an `oplog`, without locking it.
    ///
    /// # Errors
    ///
    /// Any other I/O error than that there is no such file.
    pub fn exists(dir: impl AsRef<Path>) -> io::Result<bool> {
        match fs::metadata(dir.as_ref().join(Part::Oplog.name())) {
            Ok(metadata) => Ok(metadata.len() > 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn new(path: PathBuf, rename_to: Option<PathBuf>, access: Access) -> Self {
        Self {
            dir: Mutex::new(Dir { path, rename_to }),
            access,
            oplog: Arc::default(),
            others: Default::default(),
            dir_is_dirty: AtomicBool::new(false),
        }
    }

    fn lock_in(path: PathBuf, rename_to: Option<PathBuf>) -> Result<Self, Error> {
        let storage = Self::new(path.clone(), rename_to, Access::Write);
        let is_locked = storage.with_file_for_writing(Part::Oplog, lock::try_lock)?;
        if !is_locked {
            return Err(Error::Locked { path });
        }
        // Never closed, and so never unlocked.
        storage.oplog.mark_unsynced();
        Ok(storage)
    }

    /// Hands the file of a part to `run`. `None` if it was never written.
    fn with_file<R>(
        &self,
        part: Part,
        run: impl FnOnce(&File) -> io::Result<R>,
    ) -> io::Result<Option<R>> {
        self.handle(part).with(|| self.open_file(part), run)
    }

    /// Hands the file of a part to `run`, made if it does not exist.
    fn with_file_for_writing<R>(
        &self,
        part: Part,
        run: impl FnOnce(&File) -> io::Result<R>,
    ) -> io::Result<R> {
        let open = || match self.open_file(part)? {
            Some(file) => Ok(Some(file)),
            None => {
                let path = self.dir().path.join(part.name());
                let file = open_options(self.access).create(true).open(path)?;
                self.dir_is_dirty.store(true, Ordering::Release);
                Ok(Some(file))
            }
        };
        let handle = self.handle(part);
        handle.mark_unsynced();
        let result = handle.with(open, run);
        handle.mark_unsynced();
        result?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_file(&self, part: Part) -> io::Result<Option<File>> {
        match open_options(self.access).open(self.dir().path.join(part.name())) {
            Ok(file) => {
                if part == Part::Key {
                    refuse_if_others_can_read(&file)?;
                }
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn handle(&self, part: Part) -> &Arc<Handle> {
        let [tree, data, bitfield, header, key, conflict] = &self.others;
        match part {
            Part::Oplog => &self.oplog,
            Part::Tree => tree,
            Part::Data => data,
            Part::Bitfield => bitfield,
            Part::Header => header,
            Part::Key => key,
            Part::Conflict => conflict,
        }
    }

    fn dir(&self) -> std::sync::MutexGuard<'_, Dir> {
        self.dir.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for FileStorage {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset.saturating_add(buf.len() as u64) > OFFSET_MAX {
            // Damage may lead there. No file is so long, but systems refuse even to look.
            return Ok(0);
        }
        let read = |file: &File| {
            let mut done = 0;
            while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
                match positional::read(file, rest, offset.saturating_add(done as u64)) {
                    Ok(0) => break,
                    Ok(count) => done += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(done)
        };
        Ok(self.with_file(part, read)?.unwrap_or(0))
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.with_file_for_writing(part, |file| positional::write_all(file, bytes, offset))
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        Ok(self.with_file(part, |file| Ok(file.metadata()?.len()))?.unwrap_or(0))
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        if len == 0 && self.with_file(part, |_| Ok(()))?.is_none() {
            return Ok(());
        }
        self.with_file_for_writing(part, |file| file.set_len(len))
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        let handle = self.handle(part);
        if part != Part::Oplog {
            handle.mark_synced();
        }
        let synced = self.with_file(part, File::sync_data);
        synced.inspect_err(|_| handle.mark_unsynced())?;
        // The name of a new file must last too. Cleared first: a file made meanwhile sets it again.
        if self.dir_is_dirty.swap(false, Ordering::AcqRel) {
            let path = self.dir().path.clone();
            sync_dir(&path).inspect_err(|_| self.dir_is_dirty.store(true, Ordering::Release))?;
        }
        Ok(())
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        if self.with_file(part, |_| Ok(()))?.is_none() {
            return Ok(());
        }
        self.with_file_for_writing(part, |file| hole::punch(file, offset, len))
    }

    fn allocated(&self, part: Part) -> io::Result<u64> {
        Ok(self.with_file(part, hole::allocated)?.unwrap_or(0))
    }

    fn is_copy(&self) -> io::Result<bool> {
        instance::is_copy(&self.dir().path)
    }

    fn claim(&self) -> io::Result<()> {
        instance::claim(&self.dir().path)
    }

    fn publish(&self) -> io::Result<()> {
        let mut dir = self.dir();
        // Without a key nobody can write it, here or in a copy. This syncs the directory, too.
        if dir.path.join(Part::Key.name()).try_exists()? {
            instance::claim(&dir.path)?;
        } else {
            sync_dir(&dir.path)?;
        }
        if let Some(target) = dir.rename_to.clone() {
            fs::rename(&dir.path, &target)?;
            dir.path = target;
            dir.rename_to = None;
        }
        parent(&dir.path).map_or(Ok(()), sync_dir)
    }
}

impl Drop for FileStorage {
    /// Removes the directory of a log that was never completed.
    fn drop(&mut self) {
        let dir = self.dir.get_mut().unwrap_or_else(PoisonError::into_inner);
        if dir.rename_to.is_some() {
            // What stays is removed by the next `create`.
            let _ = fs::remove_dir_all(&dir.path);
        }
    }
}

/// The end of the longest file that a system can have.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// Reading and writing at a position, which each system spells in its own way.
mod positional {
    use std::fs::File;
    use std::io;

    #[cfg(unix)]
    pub(super) fn read(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(file, buf, offset)
    }

    #[cfg(unix)]
    pub(super) fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
    }

    #[cfg(windows)]
    pub(super) fn read(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(file, buf, offset)
    }

    #[cfg(windows)]
    pub(super) fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
            bytes = bytes.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
            offset = offset.saturating_add(count as u64);
        }
        Ok(())
    }
}

fn open_options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Write);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(unix)]
fn refuse_if_others_can_read(file: &File) -> io::Result<()> {
    let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata()?);
    if mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the key file is open to other users; `chmod 600` it",
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_if_others_can_read(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

// Elsewhere a directory cannot be opened as a file; the system keeps its names in its own journal.
#[cfg(not(unix))]
fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the directory that holds `path`, or `None` for a root.
fn parent(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Returns where a log is made before it is moved to `dir`: hidden, beside it, one name for each.
fn path_aside(dir: &Path) -> io::Result<PathBuf> {
    let name = dir.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(".new");
    Ok(dir.with_file_name(aside))
}
