//! A database's network without tasks and sockets: somebody else moves bytes and time.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId, Digest, Version};
use multibee_replica::{CloseReason, ConnectionId, EventReceiver, Link, Role};

use crate::session::Session;
use crate::{Error, Multibee, RecoverySecret, keyspace};

/// Drives the connections of one database, one step at a time, in whatever time it likes.
///
/// For simulations: all of a database runs within the calls made here and on the [`Multibee`] it
/// belongs to. Nothing waits, no clock is read, no task runs. After each call here or write there,
/// [`take_in`](Self::take_in) lets the database act on what it was told, and
/// [`transmit`](Self::transmit) gives what it wants to send.
pub struct ByHand {
    session: Arc<Session>,
    events: EventReceiver,
}

impl ByHand {
    /// Takes a database's network into one's own hands. `None` if somebody has it already.
    pub fn take(database: &Multibee) -> Option<Self> {
        let (session, events) = database.network().by_hand()?;
        Some(Self { session, events })
    }

    /// Begins a connection.
    pub fn connect(&self, role: Role, now: Instant) -> ConnectionId {
        self.session.endpoint.with(|replicator| replicator.connect(role, now))
    }

    /// Begins a connection over something else than a stream that is to be encrypted.
    pub fn connect_link(&self, link: Link, now: Instant) -> ConnectionId {
        self.session.endpoint.with(|replicator| replicator.connect_link(link, now))
    }

    /// Bytes have arrived.
    pub fn receive(&self, id: ConnectionId, bytes: &[u8], now: Instant) {
        self.session.endpoint.with(|replicator| replicator.handle_bytes(id, bytes, now));
    }

    /// The stream has ended.
    pub fn end(&self, id: ConnectionId, reason: CloseReason, now: Instant) {
        self.session.endpoint.with(|replicator| replicator.handle_end(id, reason, now));
    }

    /// What is to be sent next, if anything is.
    pub fn transmit(&self, id: ConnectionId) -> Option<Bytes> {
        self.session.endpoint.with(|replicator| replicator.poll_transmit(id))
    }

    /// Whether a connection is over.
    pub fn is_closed(&self, id: ConnectionId) -> bool {
        self.session.endpoint.with(|replicator| replicator.is_closed(id))
    }

    /// Ends a connection from this side.
    pub fn close(&self, id: ConnectionId) {
        self.session.endpoint.with(|replicator| replicator.close(id));
    }

    /// When [`on_time`](Self::on_time) is to be called, if nothing happens before.
    pub fn timeout(&self) -> Option<Instant> {
        self.session.endpoint.with(|replicator| replicator.poll_timeout())
    }

    /// Time has passed.
    pub fn on_time(&self, now: Instant) {
        self.session.endpoint.with(|replicator| replicator.handle_timeout(now));
    }

    /// Takes in what the network told and what was written here: merges, asks, tells.
    /// Returns how many events there were.
    pub fn take_in(&mut self) -> usize {
        let mut batch = Vec::new();
        while let Some(event) = self.events.try_recv() {
            batch.push(event);
        }
        let count = batch.len();
        self.session.process(batch);
        count
    }

    /// How far every device's own commits are applied, this device included.
    ///
    /// # Errors
    ///
    /// The own log can't be read.
    pub fn clock(&self) -> Result<Clock, Error> {
        self.session.lock().core.primary.whole_clock()
    }

    /// The digest of the data.
    pub fn digest(&self) -> Digest {
        self.session.lock().core.primary.digest()
    }

    /// Whether nothing is written, and nothing of the own log handed out, since others know other things
    /// of it.
    pub fn is_refusing(&self) -> bool {
        self.session.lock().core.refusal().is_some()
    }

    /// The id that the history of a log that is here from block `from` on is to have, if it turns out that
    /// there is another one.
    pub fn history_name(&self, log: &LogKey, from: u64) -> Option<DeviceId> {
        self.session.lock().core.history_name(log, from)
    }

    /// Every log that is held, the own one included, and its length as far as it is known here.
    pub fn heads(&self) -> Vec<(LogKey, u64)> {
        let state = self.session.lock();
        let own = state.core.primary.log();
        let others =
            state.core.following().values().map(|following| following.follower.bee().log());
        others.chain([own]).map(|log| (log.key(), log.len())).collect()
    }

    /// What some keys have seen beyond the clock, while a state is being joined piece by piece.
    pub fn ahead(&self) -> Clock {
        self.session.lock().core.primary.ahead().clone()
    }

    /// The device whose state is being absorbed.
    pub fn absorbing(&self) -> Option<LogKey> {
        self.session.lock().core.absorbing_from()
    }

    /// Whether all keys are compared in what is being absorbed, for want of a version of it that this
    /// device has seen; `None` until it is known.
    pub fn is_absorbing_whole(&self) -> Option<bool> {
        self.session.lock().core.is_absorbing_whole()
    }

    /// Grows with each state that is absorbed to its end.
    pub fn absorbed(&self) -> u64 {
        self.session.lock().core.absorbed_sum()
    }

    /// All versions of a key that are held, deletes included, by dot.
    ///
    /// # Errors
    ///
    /// The own log can't be read.
    pub fn versions(&self, key: &[u8]) -> Result<Vec<Version>, Error> {
        let mut staging = self.session.lock().core.primary.stage(false)?;
        Ok(staging.held(key)?.versions)
    }

    /// All versions of the rule for a prefix that are held, those that cleared it included, by dot.
    ///
    /// # Errors
    ///
    /// The own log can't be read.
    pub fn rule_versions(&self, prefix: &[u8]) -> Result<Vec<Version>, Error> {
        let mut staging = self.session.lock().core.primary.stage(false)?;
        Ok(staging.held_shared(&keyspace::rule(prefix))?.versions)
    }

    /// Has a recovery secret count that was made elsewhere: one that is the same in each run.
    ///
    /// # Errors
    ///
    /// As [`create_recovery`](crate::Multibee::create_recovery).
    pub fn set_recovery(&self, secret: &RecoverySecret) -> Result<(), Error> {
        let mut state = self.session.lock();
        let advance = state.core.set_recovery(secret.keys())?;
        self.session.settle(&mut state, Ok(advance));
        Ok(())
    }

    /// Why nothing is merged any more in this run, if the disk failed.
    pub fn failed(&self) -> Option<String> {
        self.session.lock().failed.clone()
    }

    /// The events of the network that nobody has taken in yet go unheard: as if the process ended.
    pub fn drop_events(&mut self) {
        while self.events.try_recv().is_some() {}
    }
}

impl fmt::Debug for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByHand").finish_non_exhaustive()
    }
}
