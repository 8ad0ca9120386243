//! Which log is the database's own, and how another one takes its place.
//!
//! The first one is called `primary`. One that takes over is built as `primaries/…` beside it, and
//! counts from the moment that its generation is written into it: one change, on the disk or not.
//! What it took over from is renamed to a replica when the home is opened next.

use std::sync::Arc;

use multibee_log::{KeyPair, Log, LogKey, LogOptions, Storage};

use super::Home;
use super::logs::{PRIMARIES, PRIMARY, replica_name};
use crate::Error;

/// The value in a primary that says how many others came before it.
pub(super) const GENERATION: &str = "multibee/generation";

/// What a home holds of primaries when it is opened.
#[derive(Debug)]
pub(crate) struct Primaries {
    pub(crate) log: Log,
    /// Such as were begun and are not finished.
    pub(crate) unfinished: Vec<Log>,
}

impl Home {
    /// Creates the log of a new database.
    pub(crate) fn create_primary(&self, keys: KeyPair, options: LogOptions) -> Result<Log, Error> {
        if self.exists() {
            return Err(Error::AlreadyExists { path: self.path() });
        }
        Ok(Log::create(self.new_storage(PRIMARY)?, keys, options)?)
    }

    /// Creates a log that is to take over. Until [`enthrone`](Self::enthrone) it does not count.
    pub(crate) fn create_successor(
        &self,
        keys: KeyPair,
        options: LogOptions,
    ) -> Result<Log, Error> {
        // Its key is known only once it is made.
        let manifest = multibee_log::Manifest::single(keys.public_key());
        let name = primary_name(&manifest.key());
        let log = Log::create(self.new_storage(&name)?, keys, options)?;
        debug_assert_eq!(name, primary_name(&log.key()), "a log is named by its key");
        Ok(log)
    }

    /// From now on this is the database's own log, and not the one that it takes over from.
    pub(crate) fn enthrone(&self, log: &Log, former: &Log) -> Result<(), Error> {
        let generation = generation(former).unwrap_or_default() + 1;
        log.sync()?;
        log.set_user_data(GENERATION, generation.to_string().as_bytes())?;
        Ok(log.sync()?)
    }

    /// Forgets another log than the database's own, which has taken over from another one. Nobody may
    /// have it open.
    pub(crate) fn forget(&self, key: &LogKey) -> Result<(), Error> {
        self.remove(&replica_name(key))?;
        let names = self.names()?;
        if names.contains(&primary_name(key)) {
            return self.remove(&primary_name(key));
        }
        match names.iter().any(|name| name == PRIMARY) {
            true if self.is_first(key)? => self.remove(PRIMARY),
            _ => Ok(()),
        }
    }

    /// Whether the first log of the database is this one.
    fn is_first(&self, key: &LogKey) -> Result<bool, Error> {
        let Some(storage) = self.storage(PRIMARY)? else { return Ok(false) };
        Ok(Log::open_read_only(storage, LogOptions::default())?.key() == *key)
    }

    /// Forgets a log that did not come to take over. Nobody may have it open.
    pub(crate) fn forget_successor(&self, key: &LogKey) -> Result<(), Error> {
        self.remove(&primary_name(key))
    }

    /// Opens the log of a database by itself, for tools that look beneath it. No process may have
    /// the database open.
    ///
    /// # Errors
    ///
    /// [`Error::NotADatabase`], [`Error::Locked`], or the disk is at fault.
    pub fn open_primary(&self, options: LogOptions) -> Result<Log, Error> {
        self.open_primaries(|storage| Log::open(storage, options.clone())).map(|found| found.log)
    }

    /// Opens the logs of a database, its own and those that were to be.
    pub(crate) fn open_primaries(
        &self,
        open: impl Fn(Arc<dyn Storage>) -> multibee_log::Result<Log>,
    ) -> Result<Primaries, Error> {
        let mut found = Vec::new();
        for name in self.primaries()? {
            if let Some(storage) = self.storage(&name)? {
                let log = open(storage).map_err(|error| match error {
                    multibee_log::Error::Locked { .. } => Error::Locked { path: self.path() },
                    other => other.into(),
                })?;
                let generation = generation(&log).or((name == PRIMARY).then_some(0));
                found.push((generation, name, log));
            }
        }
        found.sort_by_key(|(generation, ..)| *generation);
        let newest = found.pop().filter(|(generation, ..)| generation.is_some());
        let Some((_, _, log)) = newest else {
            return Err(Error::NotADatabase { path: self.path() });
        };
        // Now nobody else has the database open.
        self.finish_removals()?;
        let mut unfinished = Vec::new();
        for (generation, name, log) in found {
            match generation {
                None => unfinished.push(log),
                Some(_) => self.demote(&name, log)?,
            }
        }
        Ok(Primaries { log, unfinished })
    }

    /// What was the database's own log is another device's now, and nobody writes it here.
    fn demote(&self, name: &str, former: Log) -> Result<(), Error> {
        let key = former.key();
        former.renounce()?;
        drop(former);
        if self.has_replica(&key)? {
            return self.remove(name);
        }
        self.rename(name, &replica_name(&key))
    }

    pub(super) fn primaries(&self) -> Result<Vec<String>, Error> {
        let is_primary = |name: &String| {
            name == PRIMARY
                || name.strip_prefix(PRIMARIES).is_some_and(|rest| rest.starts_with('/'))
        };
        Ok(self.names()?.into_iter().filter(is_primary).collect())
    }
}

pub(super) fn primary_name(key: &LogKey) -> String {
    format!("{PRIMARIES}/{}", key.discovery_key())
}

pub(super) fn generation(log: &Log) -> Option<u64> {
    std::str::from_utf8(&log.user_data(GENERATION)?).ok()?.parse().ok()
}
