//! One connection: the encrypted stream, its channels, and what each of them is for.

mod extension;
mod routing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use multibee_log::{DiscoveryKey, LogKey};

use crate::channel::{Channel, Cx};
use crate::event::{ChannelId, CloseReason, ConnectionId, Event, Fault};
use crate::fault::PeerFault;
use crate::holdings::PageBudget;
use crate::limits::{GATHERED_FRAME_LEN, SEND_QUEUE_LEN_MAX, SERVE_QUEUE_LEN};
use crate::log_state::{Effect, LogState};
use crate::message::{Message, NoDataReason};
use crate::mux::{LocalId, Mux, RemoteId};
use crate::noise::StaticKeys;
use crate::options::ReplicatorOptions;
use crate::secure::{EphemeralSource, Role, SecureStream};
use crate::stats::ConnectionStats;

/// What all connections of a replicator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ReplicatorOptions,
    /// The latest time that was told; none before the first connection.
    pub(crate) now: Option<Instant>,
    pub(crate) logs: BTreeMap<LogKey, LogState>,
    pub(crate) by_discovery_key: BTreeMap<DiscoveryKey, LogKey>,
    /// Own protocols whose channels remotes may open.
    pub(crate) protocols: BTreeSet<String>,
    /// Extensions whose messages the owner is told.
    pub(crate) extensions: BTreeSet<String>,
    pub(crate) events: VecDeque<Event>,
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
    stream: SecureStream,
    mux: Mux,
    life: Life,
    logs: BTreeMap<LogKey, LogChannel>,
    own: BTreeMap<ChannelId, LocalId>,
    /// What our channels are for.
    targets: BTreeMap<LocalId, Target>,
    /// Opens of own protocols that the owner has not answered.
    undecided: Vec<Undecided>,
    /// Logs to open as soon as the handshake allows.
    offers: BTreeSet<LogKey>,
    /// The remote gets no logs, whatever it knows.
    is_barred: bool,
    budget: PageBudget,
    /// Requests that wait, of all logs.
    pending_count: usize,
    /// Where the next round of serving starts, so that no log starves another.
    serve_first: Option<LogKey>,
    last_in: Instant,
    last_out: Instant,
    stats: ConnectionStats,
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
        role: Role,
        keys: &StaticKeys,
        ephemeral: EphemeralSource,
        shared: &Shared,
    ) -> Self {
        Self {
            id,
            role,
            stream: SecureStream::new(role, keys, ephemeral),
            mux: Mux::new(),
            life: Life::Handshake { until: shared.now() + shared.options.handshake_timeout },
            logs: BTreeMap::new(),
            own: BTreeMap::new(),
            targets: BTreeMap::new(),
            undecided: Vec::new(),
            offers: BTreeSet::new(),
            is_barred: false,
            budget: PageBudget::default(),
            pending_count: 0,
            serve_first: None,
            last_in: shared.now(),
            last_out: shared.now(),
            stats: ConnectionStats::default(),
            is_dirty: true,
        }
    }

    pub(crate) fn closed(&self) -> Option<CloseReason> {
        match self.life {
            Life::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        self.stats
    }

    /// Bytes that wait to be sent, about.
    pub(crate) fn queued_len(&self) -> usize {
        self.stream.transmit_len() + self.mux.queued_len()
    }

    /// Whether more may be read: not while the remote does not take what it has caused.
    pub(crate) fn wants_read(&self) -> bool {
        self.queued_len() < SEND_QUEUE_LEN_MAX && !matches!(self.life, Life::Closing { .. })
    }

    pub(crate) fn mark_dirty(&mut self) {
        self.is_dirty = true;
    }

    /// The channel of a log, if it is open.
    pub(crate) fn channel(&self, key: &LogKey) -> Option<&Channel> {
        self.logs.get(key)?.channel.as_deref()
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
        self.is_dirty = true;
        if let Err(fault) = self.read(bytes, shared) {
            self.fail(None, fault.into(), shared);
        }
        let keys: Vec<LogKey> = self.logs.keys().copied().collect();
        for key in keys {
            self.with_channel(&key, shared, |channel, cx| channel.store(cx));
        }
    }

    /// The byte stream has ended.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        if self.closed().is_none() {
            let closing = matches!(self.life, Life::Closing { .. });
            self.life = Life::Closed(if closing { CloseReason::Local } else { reason });
        }
    }

    /// Ends the connection once what is queued is out.
    pub(crate) fn close(&mut self, shared: &Shared) {
        match self.life {
            Life::Handshake { .. } => self.life = Life::Closed(CloseReason::Local),
            Life::Live => {
                self.life = Life::Closing { until: shared.now() + shared.options.close_timeout };
                self.is_dirty = true;
            }
            Life::Closing { .. } | Life::Closed(_) => {}
        }
    }

    /// The next bytes for the remote.
    pub(crate) fn poll_transmit(&mut self, shared: &mut Shared) -> Option<Bytes> {
        if self.closed().is_some() {
            return None;
        }
        let bytes = self.stream.poll_transmit().or_else(|| {
            self.stream.handshake()?;
            if self.is_dirty && matches!(self.life, Life::Handshake { .. } | Life::Live) {
                self.pump(shared);
            }
            let frame = self.mux.poll_frame(GATHERED_FRAME_LEN)?;
            self.stream.send(&frame).expect("the mux makes no frame longer than a message");
            self.stream.poll_transmit()
        });
        match &bytes {
            Some(bytes) => {
                self.stats.bytes_out += bytes.len() as u64;
                self.last_out = shared.now();
            }
            None if matches!(self.life, Life::Closing { .. }) => {
                self.life = Life::Closed(CloseReason::Local);
            }
            None => {}
        }
        bytes
    }

    /// Does what is due at `shared.now`.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared) {
        let now = shared.now();
        match self.life {
            Life::Handshake { until } if until <= now => {
                self.life = Life::Closed(CloseReason::HandshakeTimeout);
            }
            Life::Closing { until } if until <= now => {
                self.life = Life::Closed(CloseReason::Local);
            }
            _ => {}
        }
        let is_over = |since: Instant, after| since + after <= now;
        let silence = shared.options.read_silence;
        if self.closed().is_none() && silence.is_some_and(|after| is_over(self.last_in, after)) {
            self.life = Life::Closed(CloseReason::Silence);
        }
        if self.closed().is_some() {
            return;
        }
        if shared.options.keepalive.is_some_and(|after| is_over(self.last_out, after)) {
            if self.queued_len() == 0 {
                self.stream.send_keepalive();
            }
            self.last_out = now;
        }
        let due = self.logs.iter().filter_map(|(&key, log)| {
            let deadline = log.channel.as_ref()?.deadline(&shared.options)?;
            (deadline <= now).then_some(key)
        });
        let due: Vec<LogKey> = due.collect();
        for key in due {
            self.with_channel(&key, shared, |channel, cx| channel.handle_timeout(cx));
            self.is_dirty = true;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let life = match self.life {
            Life::Closed(_) => return None,
            Life::Handshake { until } | Life::Closing { until } => Some(until),
            Life::Live => None,
        };
        let silence = options.read_silence.map(|after| self.last_in + after);
        let keepalive = options.keepalive.map(|after| self.last_out + after);
        let channels = self.logs.values().filter_map(|log| log.channel.as_ref()?.deadline(options));
        channels.chain(life).chain(silence).chain(keepalive).min()
    }

    /// Opens a channel for a log, now or when the handshake is done.
    pub(crate) fn offer(&mut self, key: &LogKey) {
        if !self.is_barred && !self.logs.contains_key(key) {
            self.offers.insert(*key);
            self.is_dirty = true;
        }
    }

    /// Closes the channel of a log.
    pub(crate) fn close_log(&mut self, key: &LogKey, shared: &mut Shared) {
        self.offers.remove(key);
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
        if let Err(fault) = self.drain_mux(shared) {
            self.fail(None, fault.into(), shared);
        }
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
        self.stream.receive(bytes)?;
        if matches!(self.life, Life::Handshake { .. })
            && self.stream.is_established()
            && let Some(handshake) = self.stream.handshake()
        {
            self.life = Life::Live;
            shared.events.push_back(Event::Connected {
                id: self.id,
                handshake_hash: handshake.hash,
                remote_static: handshake.remote_static,
                role: self.role,
            });
        }
        while self.life == Life::Live
            && let Some(frame) = self.stream.poll_plaintext()?
        {
            self.mux.handle_frame(frame);
            self.drain_mux(shared)?;
        }
        Ok(())
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
        let first = self.serve_first.take();
        let (before, after): (Vec<LogKey>, Vec<LogKey>) =
            self.logs.keys().partition(|&key| first.is_some_and(|first| *key < first));
        for key in after.into_iter().chain(before) {
            self.with_channel(&key, shared, |channel, cx| channel.pump(&mut room, cx));
            if room == 0 && self.serve_first.is_none() {
                self.serve_first = self.logs.range(key..).nth(1).map(|(&next, _)| next);
                self.is_dirty = true;
            }
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
