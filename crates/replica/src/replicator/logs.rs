//! Which logs there are, and on which connections.

use multibee_log::{Log, LogKey};

use super::Replicator;
use crate::event::ConnectionId;
use crate::log_state::{Effect, LogState};

impl Replicator {
    /// Makes a log known: remotes that know its key may open it from now on, and those that wait
    /// for it have it opened now. Does nothing for a log that is here already.
    pub fn add_log(&mut self, log: Log) {
        let key = log.key();
        self.add_key(key);
        self.shared.logs.entry(key).or_insert_with(|| LogState::new(log));
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(connection) = self.connections.get_mut(&id)
                && connection.grant_log(&key, &mut self.shared)
            {
                self.wake.insert(id);
                self.settle(Some(id));
            }
        }
    }

    /// Makes the key of a log known that is not open here, so that thousands of them cost nothing.
    /// A remote that opens it and proves to know the key waits, which
    /// [`Event::LogRequested`](crate::Event::LogRequested) tells. Others learn nothing.
    pub fn add_key(&mut self, key: LogKey) {
        self.shared.by_discovery_key.insert(key.discovery_key(), key);
    }

    /// Does not bring a log that [`Event::LogRequested`](crate::Event::LogRequested) has told of.
    /// The remote learns no more than it would of a log that is not known.
    pub fn refuse_log(&mut self, id: ConnectionId, key: &LogKey) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.refuse_log(key);
            self.wake.insert(id);
        }
    }

    /// Has a remote wait for a log that is here: if it opens it, that makes an event, as if the log
    /// were not open. What is open stays so.
    pub fn withhold_log(&mut self, id: ConnectionId, key: LogKey) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.withhold_log(key);
        }
    }

    /// Lets a remote have a log that was [withheld](Self::withhold_log); opens it now if the remote
    /// waits for it. Does nothing otherwise.
    pub fn yield_log(&mut self, id: ConnectionId, key: &LogKey) {
        let is_here = self.shared.logs.contains_key(key);
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.yield_log(key)
            && is_here
            && connection.grant_log(key, &mut self.shared)
        {
            self.wake.insert(id);
            self.settle(Some(id));
        }
    }

    /// On how many connections a log is open, or being opened.
    #[must_use]
    pub fn channel_count(&self, key: &LogKey) -> usize {
        self.connections.values().filter(|connection| connection.has_log(key)).count()
    }

    /// Gives up a log that is open on no connection, but not its key: the next remote that wants
    /// the log makes an event as [`add_key`](Self::add_key) has it. What was
    /// [wanted](Self::want) of it is forgotten. Returns whether it did, or the log was not here.
    pub fn release_log(&mut self, key: &LogKey) -> bool {
        let is_idle = self.channel_count(key) == 0;
        if is_idle {
            self.shared.logs.remove(key);
        }
        is_idle
    }

    /// Closes the channel of a log on one connection. What the remote does with it further is its
    /// own affair: it may open it again.
    pub fn close_log(&mut self, id: ConnectionId, key: &LogKey) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close_log(key, &mut self.shared);
            self.wake.insert(id);
            self.settle(Some(id));
        }
    }

    /// Forgets a log and its key, and closes its channels.
    pub fn remove_log(&mut self, key: &LogKey) {
        for (&id, connection) in &mut self.connections {
            connection.close_log(key, &mut self.shared);
            self.wake.insert(id);
        }
        self.shared.logs.remove(key);
        self.shared.by_discovery_key.remove(&key.discovery_key());
        self.shared
            .effects
            .retain(|(other, effect)| other != key || matches!(effect, Effect::Event(_)));
        self.settle(None);
    }

    /// The logs that are here, by key.
    pub fn logs(&self) -> impl Iterator<Item = LogKey> + '_ {
        self.shared.logs.keys().copied()
    }

    /// Opens a log's channel on a connection, so that both sides replicate it if the remote knows
    /// it too. Does nothing if it is open, or the log not known here.
    ///
    /// The remote learns the log's discovery key, from which the key cannot be found, but by
    /// which it recognises the log elsewhere.
    pub fn offer(&mut self, id: ConnectionId, key: &LogKey) {
        if self.shared.logs.contains_key(key)
            && let Some(connection) = self.connections.get_mut(&id)
        {
            connection.offer(key);
            self.wake.insert(id);
        }
    }

    /// Has no log replicated on a connection any more: those that are open are closed, and what
    /// the remote opens is rejected as if it were not known. Channels of own protocols stay.
    pub fn bar_logs(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.bar_logs(&mut self.shared);
            self.wake.insert(id);
            self.settle(Some(id));
        }
    }
}
