//! Logs that a remote may have and waits for, because they are not open here yet.

use std::time::Instant;

use multibee_log::LogKey;

use super::{Connection, Shared};
use crate::event::Event;
use crate::mux::RemoteId;

/// A log's channel that the remote has opened. It has shown that it knows the log's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requested {
    remote_id: RemoteId,
    /// When the remote is told that we do not have it.
    pub(super) until: Instant,
}

impl Connection {
    /// Has the owner asked for a log. The mux bounds how many of these wait.
    pub(super) fn request_log(&mut self, key: LogKey, remote_id: RemoteId, shared: &mut Shared) {
        let until = shared.now() + shared.options.log_request_timeout;
        self.requested.insert(key, Requested { remote_id, until });
        shared.events.push_back(Event::LogRequested { id: self.id, key });
    }

    /// The owner has brought a log: opens it if the remote waits for it. Whether it did.
    pub(crate) fn grant_log(&mut self, key: &LogKey, shared: &mut Shared) -> bool {
        if self.withheld.contains(key) || self.requested.remove(key).is_none() {
            return false;
        }
        self.open_log(*key, key.discovery_key().as_bytes());
        self.is_dirty = true;
        // The answer brings what the remote has sent on the channel already.
        self.drain_or_fail(shared);
        true
    }

    /// The owner does not bring a log: the remote hears what it would of a log nobody knows.
    pub(crate) fn refuse_log(&mut self, key: &LogKey) {
        if let Some(requested) = self.requested.remove(key) {
            self.mux.reject(requested.remote_id);
            self.is_dirty = true;
        }
    }

    /// Refuses all logs that wait.
    pub(super) fn refuse_logs(&mut self) {
        for (_, requested) in std::mem::take(&mut self.requested) {
            self.mux.reject(requested.remote_id);
        }
    }

    /// The remote has taken back an open.
    pub(super) fn withdraw_requested(&mut self, remote_id: RemoteId) {
        self.requested.retain(|_, requested| requested.remote_id != remote_id);
    }

    /// Refuses what the owner has not answered in time.
    pub(super) fn give_up_requested(&mut self, now: Instant) {
        let due = self.requested.iter().filter(|(_, requested)| requested.until <= now);
        let due: Vec<LogKey> = due.map(|(&key, _)| key).collect();
        for key in due {
            self.refuse_log(&key);
        }
    }
}
