//! All logs and all connections of one node.

mod extensions;
mod flow;
mod logs;
mod places;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::{Log, LogKey};

use crate::bucket::Bucket;
use crate::capability::keyed_hash;
use crate::connection::{Connection, Shared};
use crate::event::{ChannelId, CloseReason, ConnectionId, Event};
use crate::feed::Feed;
use crate::link::Link;
use crate::log_state::Effect;
use crate::noise::StaticKeys;
use crate::options::ReplicatorOptions;
use crate::secure::Role;
use crate::stats::{ConnectionStats, Stats};

/// Replicates any number of logs over any number of connections.
///
/// A state machine: bytes and the time go in by the `handle_` methods, wishes by the others, and
/// after each call what is to be sent, to be told and to be waited for comes out of
/// [`poll_transmit`](Self::poll_transmit) (of each connection that
/// [`poll_wake`](Self::poll_wake) names, beside the one called for),
/// [`poll_event`](Self::poll_event) and [`poll_timeout`](Self::poll_timeout). It opens no socket
/// and reads no clock. The logs it reads and writes itself, so a call may wait for the disk.
///
/// # Who learns what
///
/// A remote that opens a log's channel is answered only after it has shown that it knows the log's
/// key; otherwise it learns neither whether the log is known nor its key. Nothing is opened unasked:
/// see [`offer`](Self::offer). Who may connect at all, [`Admission`](crate::Admission) decides.
///
/// # What is downloaded
///
/// The newest head that any remote offers, for each log that is not writable here; and the blocks
/// that [`want`](Self::want) and [`want_all`](Self::want_all) name. Each block is asked of
/// one remote that says it has it, of another when the first is slow or gone, and stored only
/// once it is proven.
#[derive(Debug)]
pub struct Replicator {
    shared: Shared,
    keys: StaticKeys,
    seed: [u8; 32],
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: u64,
    /// What connections that are gone have moved.
    past: ConnectionStats,
    feed: Feed,
    /// Connections that may have something to send.
    wake: BTreeSet<ConnectionId>,
}

impl Replicator {
    /// A replicator without logs and connections.
    ///
    /// All ephemeral keys come from `seed`, so it must be fresh from the operating system and
    /// never used again, except in tests.
    #[must_use]
    pub fn new(options: ReplicatorOptions, seed: [u8; 32]) -> Self {
        let static_seed = options
            .static_seed
            .unwrap_or_else(|| keyed_hash(&seed, &[b"multibee replicator static key"]));
        let (upload, download) = (options.upload_limit, options.download_limit);
        Self {
            keys: StaticKeys::from_seed(static_seed),
            seed,
            shared: Shared {
                options,
                now: None,
                logs: BTreeMap::new(),
                by_discovery_key: BTreeMap::new(),
                protocols: BTreeSet::new(),
                extensions: BTreeSet::new(),
                events: VecDeque::new(),
                upload: Bucket::new(upload),
                download: Bucket::new(download),
                effects: Vec::new(),
                last_channel: 0,
            },
            connections: BTreeMap::new(),
            last_connection: 0,
            past: ConnectionStats::default(),
            feed: Feed::default(),
            wake: BTreeSet::new(),
        }
    }

    /// The static public key that remotes see in the handshake.
    #[must_use]
    pub fn static_public_key(&self) -> [u8; 32] {
        self.keys.public_key()
    }

    /// Begins a connection over a byte stream that has just been set up.
    pub fn connect(&mut self, role: Role, now: Instant) -> ConnectionId {
        self.connect_link(Link::noise(role), now)
    }

    /// Begins a connection over whatever has just been set up.
    pub fn connect_link(&mut self, link: Link, now: Instant) -> ConnectionId {
        self.advance(now);
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        let seed = keyed_hash(
            &self.seed,
            &[b"multibee replicator connection", &self.last_connection.to_le_bytes()],
        );
        let mut connection = Connection::new(id, link, &self.keys, seed, &self.shared);
        connection.greet(&mut self.shared);
        self.connections.insert(id, connection);
        self.settle(Some(id));
        id
    }

    /// Takes bytes of a remote, cut however they come. On a [framed](Link::framed) connection:
    /// exactly one message.
    pub fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        self.advance(now);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.handle_bytes(bytes, &mut self.shared);
            self.settle(Some(id));
            self.touch_progress();
            self.tell_progress();
        }
    }

    /// The byte stream of a connection has ended or failed.
    pub fn handle_end(&mut self, id: ConnectionId, reason: CloseReason, now: Instant) {
        self.advance(now);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.end(reason);
            self.settle(Some(id));
            self.touch_progress();
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.handle_timeout_of(id, now);
            self.wake.insert(id);
        }
    }

    /// The next bytes for the remote of a connection, until there are none. On a
    /// [framed](Link::framed) connection: one message, which may be empty.
    pub fn poll_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        let bytes = self.connections.get_mut(&id)?.poll_transmit(&mut self.shared);
        if bytes.is_none() || !self.shared.effects.is_empty() {
            self.settle(Some(id));
        }
        bytes
    }

    /// A connection that may have something to send because of what happened elsewhere.
    pub fn poll_wake(&mut self) -> Option<ConnectionId> {
        self.wake.pop_first()
    }

    /// What has happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let options = &self.shared.options;
        let connections = self.connections.values();
        let own = connections.filter_map(|connection| connection.deadline(options)).min();
        own.into_iter().chain(self.flow_deadline()).min()
    }

    /// Whether a connection has ended.
    #[must_use]
    pub fn is_closed(&self, id: ConnectionId) -> bool {
        !self.connections.contains_key(&id)
    }

    /// Bytes that wait to be sent on a connection, about.
    #[must_use]
    pub fn queued_len(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, Connection::queued_len)
    }

    /// Whether a connection ends as soon as what is queued is out. That the remote has ended its
    /// part meanwhile is no reason to stop sending.
    #[must_use]
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(Connection::is_closing)
    }

    /// Whether more should be read from a remote. Not while it does not take the answers to what
    /// it has sent.
    #[must_use]
    pub fn wants_read(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let now = self.shared.now();
            connection.wants_read()
                && (connection.is_closing() || self.shared.download.ready_at(now).is_none())
        })
    }

    /// A log was appended to or cut, has become durable, or got blocks by other means: tells the
    /// remotes.
    pub fn log_changed(&mut self, key: &LogKey) {
        let Some(state) = self.shared.logs.get_mut(key) else { return };
        state.is_disputed = state.log.conflict().is_some();
        if state.notice_cut() {
            self.pass_on(key, Effect::Cut, None);
            self.settle(None);
        }
        for (&id, connection) in &mut self.connections {
            if let Some(channel) = connection.channel_mut(key) {
                channel.log_changed();
                self.wake.insert(id);
            }
        }
    }

    /// Wants blocks of a log, as far as they are not here; also such as no head covers yet.
    ///
    /// `priority` 0 is for downloads, 1 for what a reader waits for, 2 for more than that. Higher
    /// ones are asked for and answered first.
    pub fn want(&mut self, key: &LogKey, blocks: Range<u64>, priority: u64) {
        if let Some(state) = self.shared.logs.get_mut(key) {
            state.want(blocks, priority);
            self.touch_progress();
            self.mark_dirty(key, None);
        }
    }

    /// Wants all blocks of a log that there are and will be.
    pub fn want_all(&mut self, key: &LogKey) {
        self.want(key, 0..u64::MAX, 0);
    }

    /// No longer wants blocks of a log.
    pub fn unwant(&mut self, key: &LogKey, blocks: Range<u64>) {
        let Some(state) = self.shared.logs.get_mut(key) else { return };
        let cancelled = state.unwant(blocks).into_iter();
        let cancelled = cancelled.map(|(block, id)| (*key, Effect::Cancel(id, block)));
        self.shared.effects.extend(cancelled);
        // What is not wanted any more is not to be pushed, either.
        self.mark_dirty(key, None);
        self.settle(None);
        self.touch_progress();
    }

    /// The length of a log that a remote tells, in blocks.
    #[must_use]
    pub fn remote_length(&self, id: ConnectionId, key: &LogKey) -> Option<u64> {
        self.connections.get(&id)?.channel(key)?.remote_len()
    }

    /// Whether a remote tells a longer head of a log than is here, and has no way left to lead to
    /// it: it holds too little of the log to prove it from any length that both are known to have
    /// seen. [`Event::HeadOutOfReach`] tells when that comes about.
    #[must_use]
    pub fn is_head_out_of_reach(&self, id: ConnectionId, key: &LogKey) -> bool {
        let state = self.shared.logs.get(key);
        let channel = self.connections.get(&id).and_then(|connection| connection.channel(key));
        state
            .zip(channel)
            .zip(self.shared.now)
            .is_some_and(|((state, channel), now)| channel.is_head_out_of_reach(state, now))
    }

    /// The length up to which a remote can prove blocks of a log to us, in blocks, if the log is open
    /// and the remote has told its own length. One that is behind us can prove only what lies
    /// below the roots that we hold, too.
    #[must_use]
    pub fn provable_len(&self, id: ConnectionId, key: &LogKey) -> Option<u64> {
        self.connections.get(&id)?.channel(key)?.provable_len(self.shared.logs.get(key)?)
    }

    /// All counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut total = self.past;
        self.connections.values().for_each(|connection| total.add(connection.stats()));
        Stats {
            total,
            connections: self.connections.iter().map(|(&id, c)| (id, c.stats())).collect(),
            logs: self.shared.logs.iter().map(|(&key, state)| (key, state.stats)).collect(),
        }
    }

    /// Lets remotes open channels of an own protocol; each open is told by
    /// [`Event::ChannelRequested`]. Those of other protocols are rejected.
    pub fn accept_protocol(&mut self, protocol: &str) {
        self.shared.protocols.insert(protocol.to_owned());
    }

    /// Opens a channel of an own protocol, or answers the remote's open of these names. Messages
    /// may be sent at once; the remote drops them if it rejects the channel.
    pub fn open_channel(
        &mut self,
        id: ConnectionId,
        protocol: &str,
        channel_id: &[u8],
        handshake: &[u8],
    ) -> ChannelId {
        self.shared.last_channel += 1;
        let channel = ChannelId(self.shared.last_channel);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.open_channel(channel, protocol, channel_id, handshake, &mut self.shared);
            self.wake.insert(id);
            self.settle(Some(id));
        }
        channel
    }

    /// Refuses a channel that a remote wants to open.
    pub fn reject_channel(&mut self, id: ConnectionId, protocol: &str, channel_id: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.reject_channel(protocol, channel_id);
            self.wake.insert(id);
        }
    }

    /// Sends a message on a channel of an own protocol. Returns whether it is queued: not if the
    /// channel has ended, or if the message is longer than a frame (16 MiB).
    ///
    /// Nothing bounds what is queued: look at [`queued_len`](Self::queued_len) before sending much.
    pub fn send(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
        ty: u64,
        payload: impl Into<Bytes>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        self.wake.insert(id);
        connection.send(channel, ty, payload.into())
    }

    /// Closes a channel of an own protocol once what was sent on it is out.
    pub fn close_channel(&mut self, id: ConnectionId, channel: ChannelId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close_channel(channel);
            self.wake.insert(id);
        }
    }

    /// Ends a connection once what is queued is out, or
    /// [`close_timeout`](ReplicatorOptions::close_timeout) has passed.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let until = self.shared.now() + self.shared.options.close_timeout;
            connection.close(until, &mut self.shared);
            self.wake.insert(id);
            self.settle(Some(id));
        }
    }

    /// As [`close`](Self::close) for all connections, with a time of its own.
    pub fn close_all(&mut self, until: Instant) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.close(until, &mut self.shared);
                self.wake.insert(id);
                self.settle(Some(id));
            }
        }
    }

    /// Whether the handshake of a connection is done.
    #[must_use]
    pub fn is_live(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(Connection::is_live)
    }

    /// The owner has read nothing from a remote for a while, for reasons of its own: the time since
    /// the last byte begins anew.
    pub fn forgive_silence(&mut self, id: ConnectionId, now: Instant) {
        self.advance(now);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.forgive_silence(self.shared.now());
        }
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.shared.options.close_timeout
    }

    /// The logs that are here.
    pub(crate) fn all_logs(&self) -> impl Iterator<Item = &Log> {
        self.shared.logs.values().map(|state| &state.log)
    }

    /// Does what is due on one connection.
    pub(crate) fn handle_timeout_of(&mut self, id: ConnectionId, now: Instant) {
        let was_held_up = self.shared.now.is_some_and(|before| {
            // The limit kept us from reading, so that its silence means nothing.
            self.shared.download.ready_at(before).is_some()
        });
        self.advance(now);
        if let Some(connection) = self.connections.get_mut(&id) {
            if was_held_up {
                connection.forgive_silence(self.shared.now());
            }
            connection.handle_timeout(&mut self.shared);
            self.settle(Some(id));
        }
        self.tell_progress();
    }

    /// When something is due on one connection.
    pub(crate) fn poll_timeout_of(&self, id: ConnectionId) -> Option<Instant> {
        let own = self.connections.get(&id)?.deadline(&self.shared.options);
        own.into_iter().chain(self.flow_deadline()).min()
    }

    /// Time does not run backwards, whatever the caller says.
    fn advance(&mut self, now: Instant) {
        self.shared.now = self.shared.now.max(Some(now));
    }

    /// Passes on what a call has changed, and ends the connection called for if it is to end.
    fn settle(&mut self, id: Option<ConnectionId>) {
        loop {
            if let Some(id) = id
                && let Some(connection) = self.connections.get_mut(&id)
                && let Some(reason) = connection.closed()
            {
                connection.drop_logs(&mut self.shared);
                self.past.add(connection.stats());
                self.connections.remove(&id);
                self.wake.remove(&id);
                self.shared.events.push_back(Event::Closed { id, reason });
            }
            let effects = std::mem::take(&mut self.shared.effects);
            if effects.is_empty() {
                break;
            }
            for (key, effect) in effects {
                self.pass_on(&key, effect, id);
            }
        }
    }

    fn pass_on(&mut self, key: &LogKey, effect: Effect, from: Option<ConnectionId>) {
        match effect {
            Effect::Event(event) => self.shared.events.push_back(event),
            Effect::Stored(blocks) => {
                for (&id, connection) in &mut self.connections {
                    if Some(id) != from
                        && let Some(channel) = connection.channel_mut(key)
                    {
                        blocks.iter().for_each(|stretch| channel.note_stored(stretch));
                        self.wake.insert(id);
                    }
                }
            }
            Effect::Upgraded => self.log_changed(key),
            Effect::Cut => {
                for (&id, connection) in &mut self.connections {
                    // Each looks for itself what the cut means to it.
                    connection.with_channel(key, &mut self.shared, |_, _| Ok(()));
                    connection.mark_dirty();
                    self.wake.insert(id);
                }
            }
            Effect::CloseLog(id) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.close_log(key, &mut self.shared);
                    self.wake.insert(id);
                }
            }
            Effect::Cancel(id, block) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.with_channel(key, &mut self.shared, |channel, cx| {
                        channel.cancel(block, cx);
                        Ok(())
                    });
                    connection.mark_dirty();
                    self.wake.insert(id);
                }
            }
            Effect::Freed => self.mark_dirty(key, from),
            Effect::Failed(error) => {
                if self.shared.logs.contains_key(key) {
                    self.shared.events.push_back(Event::LogFailed { key: *key, error });
                    self.remove_log(key);
                }
            }
        }
    }

    /// Has all connections but one look for something to ask of a log.
    fn mark_dirty(&mut self, key: &LogKey, but: Option<ConnectionId>) {
        for (&id, connection) in &mut self.connections {
            if Some(id) != but && connection.channel_mut(key).is_some() {
                self.wake.insert(id);
            }
        }
    }
}
