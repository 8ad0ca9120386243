//! A database's log that came out of a backup.
//!
//! Others may have read more of it than the backup has, and the device that it was copied from may
//! still be there. So nobody writes it again: when the database is opened, a fresh log takes over.

use multibee_log::{KeyPair, Log, LogKey, LogOptions};

use super::logs::{PRIMARY, replica_name};
use super::primaries::{GENERATION, generation, primary_name};
use super::{Home, private_dir};
use crate::Error;

/// The value in a primary that says that it came out of a backup.
const RESTORED: &str = "multibee/restored";

/// Whether a log came out of a backup.
pub(crate) fn is_restored(log: &Log) -> bool {
    log.user_data(RESTORED).is_some()
}

impl Home {
    /// Makes room for a database out of a backup. What is left of an attempt that was cut short goes.
    pub(crate) fn make_room(&self) -> Result<(), Error> {
        for name in self.primaries()? {
            let Some(storage) = self.storage(&name)? else { continue };
            let log = Log::open_read_only(storage, LogOptions::default());
            // What can't be read is there.
            if name == PRIMARY || !log.is_ok_and(|log| generation(&log).is_none()) {
                return Err(Error::AlreadyExists { path: self.path() });
            }
            self.remove(&name)?;
        }
        match self {
            Self::Dir(dir) => private_dir(dir),
            Self::Memory(_) | Self::Own(_) => Ok(()),
        }
    }

    /// Puts a replica there that `fill` fills.
    pub(crate) fn restore_replica(
        &self,
        key: LogKey,
        fill: impl FnOnce(&Log) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = replica_name(&key);
        self.remove(&name)?;
        fill(&Log::create_replica(self.new_storage(&name)?, key, LogOptions::default())?)
    }

    /// Puts the database's own log there, which `fill` fills. With the last step it counts.
    pub(crate) fn restore_primary(
        &self,
        key: LogKey,
        seed: &[u8; 32],
        fill: impl FnOnce(&Log) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let storage = self.new_storage(&primary_name(&key))?;
        let replica = Log::create_replica(storage.clone(), key, LogOptions::default())?;
        fill(&replica)?;
        replica.entrust(&KeyPair::from_seed(*seed))?;
        drop(replica);
        let log = Log::open(storage, LogOptions::default())?;
        log.set_user_data(RESTORED, b"1")?;
        log.sync()?;
        log.set_user_data(GENERATION, b"0")?;
        Ok(log.sync()?)
    }
}
