//! Logs that are looked at though they do not belong to the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use multibee_btree::{Bee, BeeOptions};
use multibee_log::{BLOCK_LEN_MAX, Log, LogKey, LogOptions, MemoryStorage};

use crate::{Error, Multibee};

/// A log that somebody looks at. What was read of it is kept in memory, and gone with this.
#[derive(Debug)]
pub(crate) struct Look {
    database: Multibee,
    bee: Bee,
}

impl Look {
    pub(crate) const fn bee(&self) -> &Bee {
        &self.bee
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let session = self.database.network().session();
        let key = self.bee.log().key();
        // If it belongs to the database by now, or somebody looks at it anew, it stays.
        let mut state = session.lock();
        if state.looks.end(&key) {
            state.peers.offer_again(&key);
            session.endpoint.with(|replicator| replicator.remove_log(&key));
        }
    }
}

/// All logs that are looked at.
#[derive(Debug, Default)]
pub(crate) struct Looks(BTreeMap<LogKey, Weak<Look>>);

impl Looks {
    pub(crate) fn keys(&self) -> impl Iterator<Item = LogKey> {
        self.0.keys().copied()
    }

    /// The log belongs to the database from now on. Returns whether it was looked at.
    pub(crate) fn give_way(&mut self, key: &LogKey) -> bool {
        self.0.remove(key).is_some()
    }

    /// Nobody looks at a log any more. Returns whether it was looked at until now.
    fn end(&mut self, key: &LogKey) -> bool {
        let is_over = self.0.get(key).is_some_and(|look| look.strong_count() == 0);
        is_over && self.0.remove(key).is_some()
    }
}

impl Multibee {
    /// Looks at a log that does not belong to the database. It is asked for on connections that were
    /// begun from here.
    pub(crate) fn look(&self, key: LogKey) -> Result<Arc<Look>, Error> {
        let session = self.network().session();
        let mut state = session.lock();
        if let Some(look) = state.looks.0.get(&key).and_then(Weak::upgrade) {
            return Ok(look);
        }
        let options = LogOptions { block_len_max: BLOCK_LEN_MAX, ..LogOptions::default() };
        let log = Log::create_replica(MemoryStorage::default(), key, options)?;
        let bee = Bee::open(log.clone(), BeeOptions::default())?;
        let look = Arc::new(Look { database: self.clone(), bee });
        state.looks.0.insert(key, Arc::downgrade(&look));
        session.endpoint.with(|replicator| replicator.add_log(log));
        drop(state);
        self.network().own_log_changed();
        Ok(look)
    }
}
