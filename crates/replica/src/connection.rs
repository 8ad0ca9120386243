//! One connection: the encrypted stream, its channels, and what each of them is for.

mod extension;
mod life;
mod requested;
mod routing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::{DiscoveryKey, LogKey};

use crate::bucket::Bucket;
use crate::channel::{Channel, Cx};
use crate::event::{ChannelId, CloseReason, ConnectionId, Event, Fault};
use crate::fault::PeerFault;
use crate::holdings::PageBudget;
use crate::limits::{ANSWER_QUEUE_LEN, GATHERED_FRAME_LEN, SEND_QUEUE_LEN_MAX, SERVE_QUEUE_LEN};
use crate::link::{Link, Wire};
use crate::log_state::{Effect, LogState};
use crate::message::{Message, NoDataReason};
use crate::mux::{LocalId, Mux, RemoteId};
use crate::noise::StaticKeys;
use crate::options::ReplicatorOptions;
use crate::pace::Pace;
use crate::secure::Role;
use crate::stats::ConnectionStats;
use requested::Requested;

/// What all connections of a replicator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ReplicatorOptions,
    /// The latest time that was told; none before the first connection.
    pub(crate) now: Option<Instant>,
    pub(crate) logs: BTreeMap<LogKey, LogState>,
    /// Logs that remotes may open: those that are here, and those that the owner can bring.
    pub(crate) by_discovery_key: BTreeMap<DiscoveryKey, LogKey>,
    /// Own protocols whose channels remotes may open.
    pub(crate) protocols: BTreeSet<String>,
    /// Extensions whose messages the owner is told.
    pub(crate) extensions: BTreeSet<String>,
    pub(crate) events: VecDeque<Event>,
    /// Limits of all connections together.
    pub(crate) upload: Bucket,
    pub(crate) download: Bucket,
    /// What the last call changed, for the other connections and the owner.
    pub(crate) effects: Vec<(LogKey, Effect)>,
    pub(crate) last_channel: u64,
}

impl Shared {
    pub(crate) fn now(&self) -> Instant {
        self.now.expect("whoever begins a connection tells the time")
    }
}

/// A connection, from its first byte to its last.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    role: Role,
    /// Where the remote is, if that was told.
    address: Option<SocketAddr>,
    wire: Wire,
    /// The remote may know that there is something to know.
    is_admitted: bool,
    mux: Mux,
    life: Life,
    logs: BTreeMap<LogKey, LogChannel>,
    own: BTreeMap<ChannelId, LocalId>,
    /// What our channels are for.
    targets: BTreeMap<LocalId, Target>,
    /// Opens of own protocols that the owner has not answered.
    undecided: Vec<Undecided>,
    /// Opens of logs that are not here, while the owner is asked for them.
    requested: BTreeMap<LogKey, Requested>,
    /// Logs to open as soon as the handshake allows.
    offers: BTreeSet<LogKey>,
    /// Logs that the remote gets only when the owner says so.
    withheld: BTreeSet<LogKey>,
    /// The remote gets no logs, whatever it knows.
    is_barred: bool,
    budget: PageBudget,
    pace: Pace,
    /// Requests that wait, of all logs.
    pending_count: usize,
    /// The log whose answers filled the last round of serving: the next one starts behind it, so
    /// that no log starves another.
    served_last: Option<LogKey>,
    last_in: Instant,
    last_out: Instant,
    /// Since when something waits and the remote has taken none of it.
    stalled_since: Option<Instant>,
    stats: ConnectionStats,
    /// Answers wait for the upload limit until then.
    throttled_until: Option<Instant>,
    /// Something may have to be sent.
    is_dirty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Handshake {
        until: Instant,
    },
    Live,
    /// What is queued still goes out.
    Closing {
        until: Instant,
    },
    Closed(CloseReason),
}

#[derive(Debug)]
struct LogChannel {
    local_id: LocalId,
    /// Once the remote has shown that it knows the log's key.
    channel: Option<Box<Channel>>,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Log(LogKey),
    Own(ChannelId),
}

#[derive(Debug)]
struct Undecided {
    remote_id: RemoteId,
    protocol: String,
    channel_id: Bytes,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        link: Link,
        keys: &StaticKeys,
        seed: [u8; 32],
        shared: &Shared,
    ) -> Self {
        Self {
            id,
            role: link.role(),
            address: link.address(),
            wire: link.wire(keys, seed),
            is_admitted: false,
            mux: Mux::new(),
            life: Life::Handshake { until: shared.now() + shared.options.handshake_timeout },
            logs: BTreeMap::new(),
            own: BTreeMap::new(),
            targets: BTreeMap::new(),
            undecided: Vec::new(),
            requested: BTreeMap::new(),
            offers: BTreeSet::new(),
            withheld: BTreeSet::new(),
            is_barred: false,
            budget: PageBudget::default(),
            pace: Pace::default(),
            pending_count: 0,
            served_last: None,
            last_in: shared.now(),
            last_out: shared.now(),
            stalled_since: None,
            stats: ConnectionStats::default(),
            throttled_until: None,
            is_dirty: true,
        }
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        self.stats
    }

    /// Bytes that wait to be sent, about.
    pub(crate) fn queued_len(&self) -> usize {
        self.wire.transmit_len() + self.mux.queued_len()
    }

    /// Whether more may be read: not while the remote does not take what it has caused. Once the
    /// connection is being closed it is read and dropped, lest two that close wait for each other.
    pub(crate) fn wants_read(&self) -> bool {
        self.queued_len() < SEND_QUEUE_LEN_MAX || self.is_closing()
    }

    pub(crate) fn mark_dirty(&mut self) {
        self.is_dirty = true;
    }

    /// The channel of a log, if it is open.
    pub(crate) fn channel(&self, key: &LogKey) -> Option<&Channel> {
        self.logs.get(key)?.channel.as_deref()
    }

    /// How long the remote's answers usually take.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.pace.round_trip()
    }

    /// As [`channel`](Self::channel), to tell it something. Something may have to be sent then.
    pub(crate) fn channel_mut(&mut self, key: &LogKey) -> Option<&mut Channel> {
        let channel = self.logs.get_mut(key)?.channel.as_deref_mut()?;
        self.is_dirty = true;
        Some(channel)
    }

    /// Takes bytes of the remote.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8], shared: &mut Shared) {
        if !matches!(self.life, Life::Handshake { .. } | Life::Live) {
            return;
        }
        self.last_in = shared.now();
        self.stats.bytes_in += bytes.len() as u64;
        shared.download.spend(bytes.len(), shared.now());
        self.is_dirty = true;
        if let Err(fault) = self.read(bytes, shared) {
            self.fail(None, fault.into(), shared);
        }
        let keys: Vec<LogKey> = self.logs.keys().copied().collect();
        for key in keys {
            self.with_channel(&key, shared, |channel, cx| channel.store(cx));
        }
    }

    /// The next bytes for the remote.
    pub(crate) fn poll_transmit(&mut self, shared: &mut Shared) -> Option<Bytes> {
        if self.closed().is_some() {
            return None;
        }
        let was_reading = self.wants_read();
        let bytes = self.wire.poll_transmit().or_else(|| {
            self.wire.handshake()?;
            if self.is_dirty && matches!(self.life, Life::Handshake { .. } | Life::Live) {
                self.pump(shared);
            }
            let frame = self.mux.poll_frame(GATHERED_FRAME_LEN)?;
            self.wire.send(frame);
            self.wire.poll_transmit()
        });
        match &bytes {
            Some(bytes) => {
                self.stats.bytes_out += bytes.len() as u64;
                shared.upload.spend(bytes.len(), shared.now());
                self.last_out = shared.now();
                if !was_reading {
                    self.last_in = shared.now();
                }
                self.note_stall(true, shared.now());
            }
            None if matches!(self.life, Life::Closing { .. }) => {
                self.life = Life::Closed(CloseReason::Local);
            }
            None => {}
        }
        bytes
    }

    /// Whether a log's channel is open, or being opened.
    pub(crate) fn has_log(&self, key: &LogKey) -> bool {
        self.logs.contains_key(key) || self.offers.contains(key) || self.requested.contains_key(key)
    }

    /// Opens a channel for a log, now or when the handshake is done.
    pub(crate) fn offer(&mut self, key: &LogKey) {
        if !self.is_barred && !self.logs.contains_key(key) {
            self.offers.insert(*key);
            self.is_dirty = true;
        }
    }

    /// Has the remote wait for a log until it is [granted](Self::grant_log).
    pub(crate) fn withhold_log(&mut self, key: LogKey) {
        self.withheld.insert(key);
    }

    /// Withholds a log no longer. Returns whether it was withheld.
    pub(crate) fn yield_log(&mut self, key: &LogKey) -> bool {
        self.withheld.remove(key)
    }

    /// Closes the channel of a log.
    pub(crate) fn close_log(&mut self, key: &LogKey, shared: &mut Shared) {
        self.offers.remove(key);
        self.refuse_log(key);
        if let Some(local_id) = self.logs.get(key).map(|log| log.local_id) {
            self.drop_log(key, local_id, shared);
            self.mux.close(local_id);
            self.is_dirty = true;
        }
    }

    /// Closes the channels of all logs, and opens none from now on.
    pub(crate) fn bar_logs(&mut self, shared: &mut Shared) {
        self.is_barred = true;
        self.offers.clear();
        self.refuse_logs();
        let open: Vec<LogKey> = self.logs.keys().copied().collect();
        for key in open {
            self.close_log(&key, shared);
        }
    }

    /// Ends all channels of logs, without a word to the remote.
    pub(crate) fn drop_logs(&mut self, shared: &mut Shared) {
        let all: Vec<_> = self.logs.iter().map(|(&key, log)| (key, log.local_id)).collect();
        for (key, local_id) in all {
            self.drop_log(&key, local_id, shared);
        }
    }

    /// Opens a channel of an own protocol, or answers the remote's open of these names.
    pub(crate) fn open_channel(
        &mut self,
        channel: ChannelId,
        protocol: &str,
        channel_id: &[u8],
        handshake: &[u8],
        shared: &mut Shared,
    ) {
        let answered = self.undecided.iter().position(|undecided| {
            undecided.protocol == protocol && undecided.channel_id == channel_id
        });
        if let Some(answered) = answered {
            self.undecided.remove(answered);
        }
        let local_id = self.mux.open(protocol, channel_id, handshake);
        self.own.insert(channel, local_id);
        self.targets.insert(local_id, Target::Own(channel));
        self.is_dirty = true;
        // An answer brings what the remote has sent on the channel already.
        self.drain_or_fail(shared);
    }

    /// Refuses the remote's open of these names.
    pub(crate) fn reject_channel(&mut self, protocol: &str, channel_id: &[u8]) {
        let refused = self.undecided.iter().position(|undecided| {
            undecided.protocol == protocol && undecided.channel_id == channel_id
        });
        if let Some(refused) = refused {
            self.mux.reject(self.undecided.remove(refused).remote_id);
            self.is_dirty = true;
        }
    }

    /// Sends on a channel of an own protocol.
    pub(crate) fn send(&mut self, channel: ChannelId, ty: u64, payload: Bytes) -> bool {
        let Some(&local_id) = self.own.get(&channel) else { return false };
        self.is_dirty = true;
        self.mux.send(local_id, ty, payload).is_ok()
    }

    /// Closes a channel of an own protocol.
    pub(crate) fn close_channel(&mut self, channel: ChannelId) {
        if let Some(local_id) = self.own.remove(&channel) {
            self.targets.remove(&local_id);
            self.mux.close(local_id);
            self.is_dirty = true;
        }
    }

    /// Lets a log's channel do something, and sends what it has to say.
    pub(crate) fn with_channel(
        &mut self,
        key: &LogKey,
        shared: &mut Shared,
        act: impl FnOnce(&mut Channel, &mut Cx<'_>) -> Result<(), Fault>,
    ) {
        let Some(LogChannel { local_id, channel: Some(channel) }) = self.logs.get_mut(key) else {
            return;
        };
        let now = shared.now();
        let Some(state) = shared.logs.get_mut(key) else { return };
        let (mut out, mut effects) = (Vec::new(), Vec::new());
        if state.notice_cut() {
            effects.push(Effect::Cut);
        }
        let pending_before = channel.pending_count();
        let mut cx = Cx {
            connection: self.id,
            now,
            options: &shared.options,
            extensions: &shared.extensions,
            state,
            budget: &mut self.budget,
            pace: &mut self.pace,
            out: &mut out,
            effects: &mut effects,
        };
        channel.keep_up(&mut cx);
        let outcome = act(channel, &mut cx);
        self.pending_count = self.pending_count - pending_before + channel.pending_count();
        for message in out {
            send_message(&mut self.mux, *local_id, &message);
        }
        shared.effects.extend(effects.into_iter().map(|effect| (*key, effect)));
        if let Err(fault) = outcome {
            self.fail(Some(*key), fault, shared);
        }
    }

    /// Takes the stream apart into what happened on each channel.
    fn read(&mut self, bytes: &[u8], shared: &mut Shared) -> Result<(), PeerFault> {
        self.wire.receive(bytes)?;
        self.greet(shared);
        while self.life == Life::Live
            && let Some(frame) = self.wire.poll_frame()?
        {
            self.mux.handle_frame(frame);
            self.drain_mux(shared)?;
        }
        Ok(())
    }

    fn drain_or_fail(&mut self, shared: &mut Shared) {
        if let Err(fault) = self.drain_mux(shared) {
            self.fail(None, fault.into(), shared);
        }
    }

    fn drain_mux(&mut self, shared: &mut Shared) -> Result<(), PeerFault> {
        while self.life == Life::Live
            && let Some(event) = self.mux.poll_event()?
        {
            self.handle_mux_event(event, shared)?;
        }
        Ok(())
    }

    /// Sends what channels have to send.
    fn pump(&mut self, shared: &mut Shared) {
        for key in std::mem::take(&mut self.offers) {
            if shared.logs.contains_key(&key) && !self.logs.contains_key(&key) {
                let discovery_key = key.discovery_key();
                self.open_log(key, discovery_key.as_bytes());
            }
        }
        let mut room = SERVE_QUEUE_LEN.saturating_sub(self.mux.queued_len());
        if room == 0 {
            return;
        }
        self.is_dirty = false;
        let now = shared.now();
        // The limit is for answers: all else is short, and must not wait behind them.
        room = room.min(shared.upload.room(now).saturating_sub(self.mux.queued_len()));
        let channels = self.logs.values().filter_map(|log| log.channel.as_ref());
        self.pace.share_among(channels.filter(|channel| channel.is_hungry()).count());
        let mut order: Vec<LogKey> = self.logs.keys().copied().collect();
        // The log asks first that has least under way.
        order.sort_by_key(|key| self.channel(key).map(Channel::in_flight_count));
        for key in order {
            self.with_channel(&key, shared, |channel, cx| channel.pump(&mut room, cx));
        }
        let mut for_answers = room.min(ANSWER_QUEUE_LEN.saturating_sub(self.mux.queued_len()));
        self.serve(&mut for_answers, shared);
        self.is_dirty |= room == 0 || for_answers == 0;
        self.throttled_until = shared.upload.ready_at(now).filter(|_| self.pending_count > 0);
    }

    /// Answers what waits: for each log as much as there is room for, one after the other. What
    /// readers wait for goes first.
    fn serve(&mut self, room: &mut usize, shared: &mut Shared) {
        let has_pending =
            |key: &&LogKey| self.channel(key).is_some_and(|channel| channel.pending_count() > 0);
        let last = self.served_last;
        let (before, after): (Vec<LogKey>, Vec<LogKey>) = self
            .logs
            .keys()
            .filter(has_pending)
            .partition(|&key| last.is_some_and(|last| *key <= last));
        let mut order: Vec<LogKey> = after.into_iter().chain(before).collect();
        order.sort_by_key(|key| !self.channel(key).is_some_and(Channel::has_urgent));
        for key in order {
            if *room == 0 {
                break;
            }
            self.with_channel(&key, shared, |channel, cx| channel.serve(room, cx));
            self.served_last = Some(key);
        }
    }

    /// Ends the connection because of what the remote did.
    fn fail(&mut self, key: Option<LogKey>, fault: Fault, shared: &mut Shared) {
        if self.closed().is_none() {
            shared.events.push_back(Event::Fault { id: self.id, key, fault });
            self.life = Life::Closed(CloseReason::Fault);
        }
    }
}

fn send_message(mux: &mut Mux, local_id: LocalId, message: &Message) {
    if mux.send(local_id, message.ty(), message.encode()).is_err()
        && let Message::Data { request, .. } = message
    {
        // A block that fits in no frame can be sent to nobody.
        let refusal = Message::NoData { request: *request, reason: NoDataReason::NOT_AVAILABLE };
        let sent = mux.send(local_id, refusal.ty(), refusal.encode());
        debug_assert!(sent.is_ok(), "a refusal is short");
    }
}
