//! Many channels over one stream of frames (docs/spec/wire.md section 3).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::fault::PeerFault;
use crate::limits::{
    CHANNEL_ID_LEN_MAX, CHANNELS_MAX, GATHERED_FRAME_LEN, HELD_LEN_MAX, HELD_MESSAGE_COST,
    PLAINTEXT_LEN_MAX, PROTOCOL_LEN_MAX, UNDECIDED_OPENS_MAX,
};
use crate::mux_frame::{CONTROL, Control, Entry, FrameEntries, Outbox};
use crate::secure::SendError;

/// A channel that we opened. Never means another one, although numbers on the wire are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId {
    serial: u64,
    number: u64,
}

/// A channel that the remote opens and that we have not answered. Never means another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteId {
    serial: u64,
    number: u64,
}

/// What the remote did to our channels.
#[expect(missing_docs, reason = "the fields are those of the wire format")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MuxEvent {
    /// The remote opens a channel that we have not opened: answer with [`Mux::open`] under the same
    /// protocol and channel id, or with [`Mux::reject`].
    RemoteOpen { remote_id: RemoteId, protocol: String, channel_id: Bytes, handshake: Bytes },
    /// An unanswered open is void: the remote took it back, or sent too much before the answer.
    Withdrawn { remote_id: RemoteId },
    /// Both sides have opened the channel. `handshake` is the remote's.
    Opened { local_id: LocalId, handshake: Bytes },
    /// A message on a channel that both sides have opened.
    Message { local_id: LocalId, ty: u64, payload: Bytes },
    /// The remote does not want our channel.
    Rejected { local_id: LocalId },
    /// The remote closed the channel. Our own [`Mux::close`] gives no event.
    Closed { local_id: LocalId },
}

/// The channels of one connection: frames in, events out; calls in, frames out.
///
/// A channel is open once both sides have opened it under the same protocol and channel id, in
/// whichever order. Frames are decoded as [`poll_event`](Self::poll_event) is called, one entry at
/// a time: **answer a [`MuxEvent::RemoteOpen`] before polling on** and nothing has to be held for
/// it. After every other call drain [`poll_frame`](Self::poll_frame).
///
/// What the remote can make this hold is bounded: its channels, its unanswered opens, and the
/// messages held for those. An open beyond a limit is rejected, not a fault.
#[derive(Debug, Default)]
pub struct Mux {
    /// Received frames that are not decoded yet, the first of them perhaps in part.
    inbox: VecDeque<FrameEntries>,
    /// Events to give out before any more is decoded.
    events: VecDeque<MuxEvent>,
    /// Our channels by their number, also closed ones whose number the remote has not freed.
    locals: HashMap<u64, Local>,
    /// The remote's channels by their number.
    remotes: HashMap<u64, Remote>,
    /// Opens of either side that wait for the other, by protocol and channel id. No entry is empty.
    waiting: HashMap<Name, Waiting>,
    /// Numbers of ours to use again, the next one last.
    free_numbers: Vec<u64>,
    /// The highest number that we, and that the remote, have ever used.
    local_number_max: u64,
    remote_number_max: u64,
    /// How many ids were ever given out.
    serials: u64,
    undecided_count: usize,
    /// Bytes held for undecided channels, as limits count them.
    held_len: usize,
    outbox: Outbox,
}

/// Protocol and channel id.
type Name = (String, Bytes);

#[derive(Debug)]
struct Local {
    id: LocalId,
    name: Name,
    state: LocalState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LocalState {
    /// The remote has not opened or rejected it.
    Waiting,
    /// As `Waiting`, but we have closed it meanwhile. The remote's answer frees the number.
    Closed,
    /// Open on both sides; the number is the remote's.
    Paired(u64),
}

#[derive(Debug)]
enum Remote {
    Undecided(Undecided),
    Paired(LocalId),
}

/// A channel of the remote that nobody has answered.
#[derive(Debug)]
struct Undecided {
    id: RemoteId,
    name: Name,
    handshake: Bytes,
    held: Vec<(u64, Bytes)>,
    /// What this counts in `Mux::held_len`.
    held_len: usize,
}

/// Numbers in the order of opening, which is the order of pairing. One of the two is empty.
#[derive(Debug, Default)]
struct Waiting {
    ours: VecDeque<u64>,
    theirs: VecDeque<u64>,
}

impl Mux {
    /// A connection without any channel.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a frame from the remote, to be decoded by [`Self::poll_event`].
    pub fn handle_frame(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.inbox.push_back(FrameEntries::new(frame));
        }
    }

    /// Decodes until something has happened; `None` when all frames are done with.
    ///
    /// # Errors
    ///
    /// The remote broke the protocol; hang up.
    pub fn poll_event(&mut self) -> Result<Option<MuxEvent>, PeerFault> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let Some(entries) = self.inbox.front_mut() else {
                return Ok(None);
            };
            match entries.next_entry()? {
                None => drop(self.inbox.pop_front()),
                Some(entry) if entry.channel == CONTROL => self.handle_control(&entry)?,
                Some(entry) => self.handle_message(entry),
            }
        }
    }

    /// Opens a channel, or answers the oldest unanswered open of this protocol and channel id; then
    /// [`MuxEvent::Opened`] and the messages held for it are the next events.
    ///
    /// Messages may be sent on the channel at once. A remote like this one refuses protocols over
    /// 256 bytes and channel ids over 64.
    ///
    /// # Panics
    ///
    /// If the three together have more than 64 KiB.
    pub fn open(&mut self, protocol: &str, channel_id: &[u8], handshake: &[u8]) -> LocalId {
        let len = protocol.len() + channel_id.len() + handshake.len();
        assert!(len <= OPEN_LEN_MAX, "an open of {len} bytes");
        let number = self.free_numbers.pop().unwrap_or_else(|| {
            self.local_number_max += 1;
            self.local_number_max
        });
        let id = LocalId { serial: self.next_serial(), number };
        let name = (protocol.to_owned(), Bytes::copy_from_slice(channel_id));
        self.put_control(&Control::Open {
            id: number,
            protocol: protocol.to_owned(),
            channel_id: name.1.clone(),
            handshake: Bytes::copy_from_slice(handshake),
        });
        let answered = self.waiting.get_mut(&name).and_then(|waiting| waiting.theirs.pop_front());
        if let Some(remote_number) = answered {
            self.drop_empty_waiting(&name);
            self.locals
                .insert(number, Local { id, name, state: LocalState::Paired(remote_number) });
            self.pair_undecided(id, remote_number);
        } else {
            self.waiting.entry(name.clone()).or_default().ours.push_back(number);
            self.locals.insert(number, Local { id, name, state: LocalState::Waiting });
        }
        id
    }

    /// Refuses an open. Does nothing if it was answered or withdrawn.
    pub fn reject(&mut self, remote_id: RemoteId) {
        if let Some(Remote::Undecided(undecided)) = self.remotes.get(&remote_id.number)
            && undecided.id == remote_id
        {
            self.refuse(remote_id.number);
        }
    }

    /// Closes a channel once what was sent on it is out. Does nothing if it is closed.
    pub fn close(&mut self, local_id: LocalId) {
        let Some(local) = self.locals.get_mut(&local_id.number).filter(|l| l.id == local_id) else {
            return;
        };
        match local.state {
            LocalState::Closed => return,
            LocalState::Waiting => local.state = LocalState::Closed,
            LocalState::Paired(remote_number) => {
                self.locals.remove(&local_id.number);
                self.remotes.remove(&remote_number);
                self.free_numbers.push(local_id.number);
                self.events.retain(|event| event.local_id() != Some(local_id));
            }
        }
        self.put_control(&Control::Close { id: local_id.number });
    }

    /// Whether a channel that we opened is neither closed nor rejected.
    #[must_use]
    pub fn is_open(&self, local_id: LocalId) -> bool {
        let local = self.locals.get(&local_id.number);
        local.is_some_and(|local| local.id == local_id && local.state != LocalState::Closed)
    }

    /// Sends a message. On a channel that is closed it goes nowhere: the remote may have closed it
    /// a moment ago.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLong`] if it fits in no frame, 16,777,198 bytes less about 30.
    pub fn send(
        &mut self,
        local_id: LocalId,
        ty: u64,
        payload: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        let payload = payload.into();
        let (len, limit) = (payload.len(), PLAINTEXT_LEN_MAX - Entry::PAYLOAD_OVERHEAD_LEN_MAX);
        if len > limit {
            return Err(SendError::TooLong { len, limit });
        }
        if self.is_open(local_id) {
            self.outbox.put(Entry { channel: local_id.number, ty, payload });
        }
        Ok(())
    }

    /// Holds back all frames until the matching [`Self::uncork`], so that what is sent meanwhile
    /// leaves together. Nests.
    pub fn cork(&mut self) {
        self.outbox.cork();
    }

    /// Takes back one [`Self::cork`].
    ///
    /// # Panics
    ///
    /// If there is none to take back.
    pub fn uncork(&mut self) {
        self.outbox.uncork();
    }

    /// Bytes that wait for [`Self::poll_frame`], about.
    #[must_use]
    pub fn queued_len(&self) -> usize {
        self.outbox.len()
    }

    /// Gathers waiting messages, of whichever channels, into the next frame for the remote.
    ///
    /// It is of at most `len_max` and about 64 KiB, unless its only message is longer. `None` if
    /// nothing waits or the mux is corked.
    pub fn poll_frame(&mut self, len_max: usize) -> Option<Bytes> {
        self.outbox.take_frame(len_max.min(GATHERED_FRAME_LEN))
    }

    fn put_control(&mut self, control: &Control) {
        self.outbox.put(control.to_entry());
    }

    fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    fn handle_control(&mut self, entry: &Entry) -> Result<(), PeerFault> {
        match Control::decode(entry.ty, &entry.payload)? {
            None => Ok(()),
            Some(Control::Open { id, protocol, channel_id, handshake }) => {
                self.handle_open(id, (protocol, channel_id), handshake)
            }
            Some(Control::Reject { id }) => self.handle_reject(id),
            Some(Control::Close { id }) => {
                self.handle_close(id);
                Ok(())
            }
        }
    }

    fn handle_open(&mut self, number: u64, name: Name, handshake: Bytes) -> Result<(), PeerFault> {
        let next = self.remote_number_max.saturating_add(1);
        if number == 0 || number > next || self.remotes.contains_key(&number) {
            return Err(PeerFault::OpenId { id: number, next });
        }
        if self.outbox.reject_count() >= REJECTS_QUEUED_MAX {
            return Err(PeerFault::TooManyOpens { limit: REJECTS_QUEUED_MAX });
        }
        self.remote_number_max = self.remote_number_max.max(number);

        let ours = self.waiting.get_mut(&name).and_then(|waiting| waiting.ours.pop_front());
        if let Some(local_number) = ours {
            self.drop_empty_waiting(&name);
            self.pair_waiting(local_number, number, handshake);
            return Ok(());
        }
        if name.0.len() > PROTOCOL_LEN_MAX
            || name.1.len() > CHANNEL_ID_LEN_MAX
            || self.remotes.len() >= CHANNELS_MAX
            || self.undecided_count >= UNDECIDED_OPENS_MAX
            || self.held_len + handshake.len() > HELD_LEN_MAX
        {
            self.put_control(&Control::Reject { id: number });
            return Ok(());
        }
        // Copied, as all that is held: a slice would keep its whole frame in memory.
        let name = (name.0, Bytes::copy_from_slice(&name.1));
        let handshake = Bytes::copy_from_slice(&handshake);
        let held_len = handshake.len();
        let id = RemoteId { serial: self.next_serial(), number };
        self.undecided_count += 1;
        self.held_len += held_len;
        self.waiting.entry(name.clone()).or_default().theirs.push_back(number);
        self.events.push_back(MuxEvent::RemoteOpen {
            remote_id: id,
            protocol: name.0.clone(),
            channel_id: name.1.clone(),
            handshake: handshake.clone(),
        });
        let undecided = Undecided { id, name, handshake, held: Vec::new(), held_len };
        self.remotes.insert(number, Remote::Undecided(undecided));
        Ok(())
    }

    /// The remote's open meets ours.
    fn pair_waiting(&mut self, local_number: u64, remote_number: u64, handshake: Bytes) {
        let local = self.locals.get_mut(&local_number).expect("who waits is among the channels");
        if local.state == LocalState::Closed {
            // The remote frees its number when it gets our close, so we do not even take it.
            self.locals.remove(&local_number);
            self.free_numbers.push(local_number);
            return;
        }
        local.state = LocalState::Paired(remote_number);
        let local_id = local.id;
        self.remotes.insert(remote_number, Remote::Paired(local_id));
        self.events.push_back(MuxEvent::Opened { local_id, handshake });
    }

    fn handle_reject(&mut self, number: u64) -> Result<(), PeerFault> {
        let unpaired = |local: &&Local| !matches!(local.state, LocalState::Paired(_));
        let Some(local) = self.locals.get(&number).filter(unpaired) else {
            return Err(PeerFault::UnknownReject { id: number });
        };
        let (local_id, name) = (local.id, local.name.clone());
        if local.state == LocalState::Waiting {
            self.events.push_back(MuxEvent::Rejected { local_id });
        }
        if let Some(waiting) = self.waiting.get_mut(&name) {
            waiting.ours.retain(|&waiting| waiting != number);
        }
        self.drop_empty_waiting(&name);
        self.locals.remove(&number);
        self.free_numbers.push(number);
        Ok(())
    }

    fn handle_close(&mut self, number: u64) {
        match self.remotes.get(&number) {
            None => {}
            Some(&Remote::Paired(local_id)) => {
                self.remotes.remove(&number);
                self.locals.remove(&local_id.number);
                self.free_numbers.push(local_id.number);
                self.events.push_back(MuxEvent::Closed { local_id });
            }
            // The remote waits for an answer even so, before it uses the number again.
            Some(Remote::Undecided(_)) => self.withdraw(number),
        }
    }

    fn handle_message(&mut self, entry: Entry) {
        let Entry { channel, ty, payload } = entry;
        let cost = HELD_MESSAGE_COST + payload.len();
        match self.remotes.get_mut(&channel) {
            // A channel that was closed or rejected a moment ago, or never was.
            None => {}
            Some(&mut Remote::Paired(local_id)) => {
                self.events.push_back(MuxEvent::Message { local_id, ty, payload });
            }
            Some(Remote::Undecided(undecided)) if self.held_len + cost <= HELD_LEN_MAX => {
                undecided.held.push((ty, Bytes::copy_from_slice(&payload)));
                undecided.held_len += cost;
                self.held_len += cost;
            }
            Some(Remote::Undecided(_)) => self.withdraw(channel),
        }
    }

    /// Forgets an undecided channel and tells both the remote and the application so.
    fn withdraw(&mut self, number: u64) {
        if let Some(remote_id) = self.refuse(number) {
            self.events.push_back(MuxEvent::Withdrawn { remote_id });
        }
    }

    /// Forgets an undecided channel and tells the remote so.
    fn refuse(&mut self, number: u64) -> Option<RemoteId> {
        let undecided = self.take_undecided(number)?;
        if let Some(waiting) = self.waiting.get_mut(&undecided.name) {
            waiting.theirs.retain(|&waiting| waiting != number);
        }
        self.drop_empty_waiting(&undecided.name);
        self.put_control(&Control::Reject { id: number });
        Some(undecided.id)
    }

    /// Our open answers the remote's: gives out its handshake and what was held.
    fn pair_undecided(&mut self, local_id: LocalId, remote_number: u64) {
        let undecided = self.take_undecided(remote_number);
        let Undecided { handshake, held, .. } =
            undecided.expect("who waits for us is among the channels, undecided");
        self.remotes.insert(remote_number, Remote::Paired(local_id));
        self.events.push_back(MuxEvent::Opened { local_id, handshake });
        let messages = held.into_iter();
        self.events.extend(messages.map(|(ty, payload)| MuxEvent::Message {
            local_id,
            ty,
            payload,
        }));
    }

    fn take_undecided(&mut self, number: u64) -> Option<Undecided> {
        match self.remotes.remove(&number)? {
            Remote::Undecided(undecided) => {
                self.undecided_count -= 1;
                self.held_len -= undecided.held_len;
                Some(undecided)
            }
            paired @ Remote::Paired(_) => {
                self.remotes.insert(number, paired);
                None
            }
        }
    }

    fn drop_empty_waiting(&mut self, name: &Name) {
        if self.waiting.get(name).is_some_and(|w| w.ours.is_empty() && w.theirs.is_empty()) {
            self.waiting.remove(name);
        }
    }
}

impl MuxEvent {
    fn local_id(&self) -> Option<LocalId> {
        match self {
            Self::RemoteOpen { .. } | Self::Withdrawn { .. } => None,
            Self::Opened { local_id, .. }
            | Self::Message { local_id, .. }
            | Self::Rejected { local_id }
            | Self::Closed { local_id } => Some(*local_id),
        }
    }
}

/// Rejects that wait to be sent. Beyond it the remote only keeps us busy.
const REJECTS_QUEUED_MAX: usize = 16 * 1024;

/// Longest open that we send. It fits in any frame.
const OPEN_LEN_MAX: usize = 64 * 1024;
