//! Plain Hyperbees that are taken in.

use std::fmt;
use std::time::Duration;

use multibee_log::LogKey;
use multibee_merge::DeviceId;
use tokio::net::ToSocketAddrs;

use crate::merging::device_of;
use crate::network::Connection;
use crate::{Error, Multibee};

/// How long dialling may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A plain Hyperbee, written by a program that knows nothing of this database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The key of its log.
    pub key: LogKey,
    /// Its short id, as in [`Entry::device`](crate::Entry::device).
    pub id: DeviceId,
    /// Its name, if it was added with one.
    pub name: Option<String>,
    /// Whether it was removed: what was read of it stays.
    pub removed: bool,
    /// Blocks of its log that are taken in.
    pub applied: u64,
    /// Blocks of its log that are known of.
    pub known: u64,
    /// Why nothing more of it can be taken in, if that is so.
    pub stuck: Option<String>,
}

impl Multibee {
    /// Takes in a plain Hyperbee: its keys become keys of the database, on all devices, and follow it
    /// from now on. It is only read.
    ///
    /// A change of it counts as written at no known time: where a device writes the same key without
    /// having seen that change, what the device wrote is shown, and the key is in conflict.
    ///
    /// The Hyperbee is read over connections with whoever serves it: see
    /// [`connect_to_source`](Self::connect_to_source). One device that can is enough. Adding it
    /// again is no error.
    ///
    /// # Errors
    ///
    /// [`Error::IsDevice`] and [`Error::IdTaken`] blame the caller, others the disk.
    pub fn add_source(&self, key: LogKey, name: Option<String>) -> Result<(), Error> {
        let session = self.network().session();
        {
            let mut state = session.lock();
            let advance = state.core.add_source(key, name)?;
            session.settle(&mut state, Ok(advance));
        }
        self.network().own_log_changed();
        Ok(())
    }

    /// Takes in nothing more of a plain Hyperbee, on all devices. What was read of it stays.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSource`] blames the caller, others the disk.
    pub fn remove_source(&self, key: &LogKey) -> Result<(), Error> {
        let session = self.network().session();
        {
            let mut state = session.lock();
            let advance = state.core.end_source(*key)?;
            session.settle(&mut state, Ok(advance));
        }
        self.network().own_log_changed();
        Ok(())
    }

    /// All plain Hyperbees that are or were taken in, by key.
    pub fn sources(&self) -> Vec<Source> {
        let state = self.network().session().lock();
        let sources = state.core.sources().iter().map(|(key, source)| {
            let id = device_of(key);
            let applied = state.core.applied(id);
            Source {
                key: *key,
                id,
                name: source.name.clone(),
                removed: source.is_ended,
                applied,
                known: source.log.len().max(applied),
                stuck: source.stuck.clone(),
            }
        });
        sources.collect()
    }

    /// Dials somebody who serves sources and is no device of this database: a Node program, say. To
    /// use a connection that stands already, [`attach`](Self::attach) it as the initiator.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if nobody answers.
    pub async fn connect_to_source(
        &self,
        address: impl ToSocketAddrs + fmt::Display,
    ) -> Result<Connection, Error> {
        let peer = address.to_string();
        let dialled = multibee_replica::dial(address, DIAL_TIMEOUT).await;
        let (stream, link) =
            dialled.map_err(|error| Error::Unreachable { peer, why: error.to_string() })?;
        Ok(self.attach_link(stream, link))
    }
}
