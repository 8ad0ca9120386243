//! Reading a log that another process writes.

use std::sync::{Arc, PoisonError};
use std::thread;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::limits::READ_ATTEMPTS;
use crate::log::{Log, LogOptions, Shared};
use crate::oplog::Oplog;
use crate::recovery::{self, Recovered};
use crate::storage::{Part, Storage};

impl Log {
    /// Opens a log for reading only, also while another process writes it: nothing is locked,
    /// written or mended. What is seen is the log as it is now; [`refresh`](Self::refresh) looks
    /// again.
    ///
    /// Blocks that the writer cuts off or clears later are gone here as well. Only what the writer
    /// has moved out of its oplog ([`flush`](Self::flush)) is proven to others, since the rest may
    /// not be on disk yet.
    ///
    /// ```
    /// use multibee_log::{FileStorage, KeyPair, Log, LogOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let dir = folder.path().join("weather");
    /// let keys = KeyPair::generate();
    /// let log = Log::create(FileStorage::create(&dir)?, keys, LogOptions::default())?;
    /// log.append(&["rain"])?;
    ///
    /// // In another process, mostly.
    /// let storage = FileStorage::open_read_only(&dir)?;
    /// let reader = Log::open_read_only(storage, LogOptions::default())?;
    /// assert_eq!(reader.get(0)?.as_deref(), Some(&b"rain"[..]));
    /// log.append(&["sun"])?;
    /// assert!(reader.refresh()?);
    /// assert_eq!((reader.len(), reader.durable_len()), (2, 0));
    /// log.flush()?;
    /// reader.refresh()?;
    /// assert_eq!(reader.durable_len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Busy`] if the writer changes the log faster than it
    /// can be read.
    pub fn open_read_only(storage: impl Storage, options: LogOptions) -> Result<Self> {
        let disk = Arc::new(Disk::read_only(storage));
        let recovered = read_consistently(&disk, &options)?;
        Ok(Self::assemble(None, false, options, disk, recovered))
    }

    /// Looks whether the writer of a log that is [open for reading](Self::open_read_only) has
    /// changed it. Returns whether it has. On any other log does nothing.
    ///
    /// # Errors
    ///
    /// As [`open_read_only`](Self::open_read_only). The log is then as before.
    pub fn refresh(&self) -> Result<bool> {
        if !self.shared.disk.is_read_only() {
            return Ok(false);
        }
        self.shared.refresh()
    }
}

impl Shared {
    /// Reads the log anew. The caller knows that it is read only.
    pub(crate) fn refresh(&self) -> Result<bool> {
        // A panic has left nothing half changed: all is assigned below.
        let mut writer = self.writer_unchecked();
        let recovered = read_consistently(&self.disk, &self.options)?;
        let mut state = self.state_mut();
        let new = &recovered.state;
        let is_same = (new.accepted.fork, new.accepted.length(), &new.accepted.signature)
            == (state.accepted.fork, state.accepted.length(), &state.accepted.signature)
            && new.bits.held(0..u64::MAX) == state.bits.held(0..u64::MAX)
            && new.user_data == state.user_data
            && new.conflict == state.conflict
            && new.durable.length() == state.durable.length();
        if is_same {
            return Ok(false);
        }
        self.tree.become_as(recovered.tree);
        *writer = recovered.writer;
        *state = recovered.state;
        Ok(true)
    }

    fn writer_unchecked(&self) -> std::sync::MutexGuard<'_, crate::log::Writer> {
        self.writer_lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the log until no header was written while it was read.
///
/// Without a new header, the writer only adds: blocks and entries behind those that are read.
fn read_consistently(disk: &Arc<Disk>, options: &LogOptions) -> Result<Recovered> {
    for _ in 0..READ_ATTEMPTS {
        let (heads, len) = (Oplog::slot_heads(disk)?, disk.len(Part::Oplog)?);
        let read = read_once(disk, options);
        // Before what a cut takes goes, there is an entry that tells of it; before that entry goes,
        // there is a header.
        let is_whole = read.as_ref().is_ok_and(|recovered| !recovered.has_dropped);
        let is_sure = is_whole || disk.len(Part::Oplog)? == len;
        if is_sure && Oplog::slot_heads(disk)? == heads {
            return read;
        }
        thread::yield_now();
    }
    Err(Error::Busy)
}

fn read_once(disk: &Arc<Disk>, options: &LogOptions) -> Result<Recovered> {
    let Some(opened) = Oplog::open(disk)? else {
        return Err(Error::WrongStorage { what: "the storage holds no log" });
    };
    let header = opened.header.clone();
    let mut recovered = recovery::recover(disk, &options.cache, opened, true)?;
    recovered.state.durable = Arc::new(recovery::commit_of_header(&recovered.tree, &header)?);
    Ok(recovered)
}
