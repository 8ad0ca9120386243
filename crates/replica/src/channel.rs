//! One log on one connection.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::compact::{Reader, put_buffer};
use multibee_log::{LogKey, Proof, Request};

use crate::announcements::Announcements;
use crate::event::{ConnectionId, Event, Fault};
use crate::holdings::{Holdings, PageBudget};
use crate::kin::{KIN_EXTENSION, KIN_VERSION, KinMessage};
use crate::limits::{EXTENSION_NAME_LEN_MAX, EXTENSION_PAYLOAD_LEN_MAX};
use crate::log_state::{Effect, LogState};
use crate::message::{Message, Sync};
use crate::options::ReplicatorOptions;
use crate::pace::Pace;
use crate::pushes::Pushes;
use crate::requests::{Answer, Requests};
use crate::stats::RemoteProgress;
use crate::upload::Upload;

/// A log on a connection, from the check of the remote's capability on.
///
/// A plain state machine: messages in, messages out, no bytes and no clock. What it reads and
/// writes beside its own state comes with every call, as a [`Cx`].
#[derive(Debug, Default)]
pub(crate) struct Channel {
    remote: Remote,
    upload: Upload,
    requests: Requests,
    pushes: Pushes,
    announcements: Announcements,
    /// The fork of our log that the rest of this is about.
    fork: u64,
}

/// What a remote has told about its copy of a log.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    /// Its last sync; all zero before the first.
    pub(crate) sync: Sync,
    pub(crate) is_synced: bool,
    /// It is a Multibee replicator: it answers what it cannot prove with noData.
    pub(crate) is_kin: bool,
    /// It answers requests for runs.
    pub(crate) gives_runs: bool,
    /// It answers where a byte is.
    pub(crate) seeks: bool,
    /// The name of its last extension message, which one without a name repeats.
    extension: String,
    pub(crate) holdings: Holdings,
}

/// What a channel works with: its log, its connection, the time.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) now: Instant,
    pub(crate) options: &'a ReplicatorOptions,
    /// Names of the extensions whose messages the owner is told.
    pub(crate) extensions: &'a BTreeSet<String>,
    pub(crate) state: &'a mut LogState,
    pub(crate) budget: &'a mut PageBudget,
    pub(crate) pace: &'a mut Pace,
    pub(crate) out: &'a mut Vec<Message>,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Remote {
    /// Whether it has what the answer takes, or says so if it has not. A Hypercore 11 that lacks
    /// the nodes hangs up.
    pub(crate) fn may_be_asked_for(&self, request: &Request) -> bool {
        let leaf = request.hash.map_or(0, |hash| hash.index / 2);
        self.is_kin || self.holdings.contains(leaf)
    }
}

impl Cx<'_> {
    pub(crate) fn effect(&mut self, event: Event) {
        self.effects.push(Effect::Event(event));
    }

    pub(crate) fn key(&self) -> LogKey {
        self.state.key
    }
}

impl Channel {
    /// A channel to a remote that answers where bytes are, or does not.
    pub(crate) fn new(seeks: bool) -> Self {
        Self { remote: Remote { seeks, ..Remote::default() }, ..Self::default() }
    }

    /// Says who we are and what we have: the first messages of a channel.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.fork = cx.state.cuts.fork();
        cx.out.push(KinMessage::Hello { version: KIN_VERSION }.encode());
        self.announcements.start(self.takes_pushes(cx), &self.remote, cx);
    }

    /// Takes a message. `room` is how many more requests the connection may queue.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn handle(
        &mut self,
        message: Message,
        room: usize,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        match message {
            Message::Sync(sync) => self.handle_sync(sync, cx),
            Message::Request { id, fork, priority, request } => {
                self.upload.push((id, fork, priority), request, room, cx.out);
            }
            Message::Cancel { request } => self.upload.cancel(request),
            Message::Data { request, proof } => return self.handle_data(request, proof, cx),
            Message::NoData { request, .. } => {
                return self.requests.take_refusal(request, &mut self.remote, cx);
            }
            Message::Want { start, length, .. } => {
                self.announcements.want(start, length);
                self.upload.push_want(start, length);
            }
            Message::Unwant { start, length, .. } => self.announcements.unwant(start, length),
            Message::Bitfield { start, words } => {
                self.remote.holdings.replace(start, &words, cx.budget);
            }
            Message::Range { drop, start, length } => {
                let range = start..start.saturating_add(length);
                if drop {
                    self.remote.holdings.remove(range, cx.budget);
                } else {
                    self.remote.holdings.add(range, cx.budget);
                }
            }
            Message::Extension { name, payload } => {
                return self.handle_extension(name, payload, room, cx);
            }
        }
        Ok(())
    }

    /// Stores what has arrived.
    pub(crate) fn store(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.requests.store(&self.remote, cx)
    }

    /// Drops what is of a history that our log has left, if it was cut; the remote is told. To be
    /// called before anything else.
    pub(crate) fn keep_up(&mut self, cx: &mut Cx<'_>) {
        let fork = cx.state.cuts.fork();
        if std::mem::replace(&mut self.fork, fork) == fork {
            return;
        }
        if self.announcements.has_begun() {
            self.requests.handle_cut(cx);
            self.pushes.reset();
            self.announcements.note_cut(cx);
        }
    }

    /// Sends what is due: news, pushes worth about `room` bytes, requests.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn pump(&mut self, room: &mut usize, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.store(cx)?;
        if self.remote.is_synced {
            self.pushes.send(&self.remote, room, cx);
        }
        self.announcements.send(self.takes_pushes(cx), &self.remote, cx);
        self.requests.ask(&self.remote, cx);
        if let Some(lacked) = self.requests.lacked() {
            self.announcements.withdraw(lacked, cx);
        }
        Ok(())
    }

    /// Whether the remote has a longer head that it can't lead to from ours.
    pub(crate) fn is_head_out_of_reach(&self, state: &LogState, now: Instant) -> bool {
        self.remote.is_synced && self.requests.is_head_out_of_reach(&self.remote, state, now)
    }

    /// The length up to which the remote can prove blocks to us, if it has told its own.
    pub(crate) fn provable_len(&self, state: &LogState) -> Option<u64> {
        // What can't be read here says nothing about the remote.
        let len = Requests::provable_len(&self.remote, state).unwrap_or(u64::MAX);
        self.remote.is_synced.then_some(len)
    }

    /// Sends answers worth about `room` bytes.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn serve(&mut self, room: &mut usize, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.upload.serve(cx, room)
    }

    /// Our log is longer, or more of it is durable or here.
    pub(crate) fn log_changed(&mut self) {
        self.announcements.note_change();
    }

    /// A block was stored that another connection brought.
    pub(crate) fn note_stored(&mut self, blocks: Range<u64>) {
        self.announcements.note_stored(blocks, self.fork, &self.remote);
    }

    /// Blocks are no longer here.
    pub(crate) fn note_cleared(&mut self, blocks: Range<u64>, cx: &mut Cx<'_>) {
        self.announcements.note_cleared(blocks, cx);
    }

    /// A block need not come any more.
    pub(crate) fn cancel(&mut self, block: u64, cx: &mut Cx<'_>) {
        self.requests.cancel(block, cx);
    }

    /// Gives up what ran out of time. A [`pump`](Self::pump) is due then.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.remote.holdings.readmit(cx.now, cx.budget);
        self.requests.handle_timeout(cx)
    }

    /// When there is something to do for the time alone.
    pub(crate) fn deadline(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let readmission = self.remote.holdings.readmission_at();
        self.requests.deadline(options).into_iter().chain(readmission).min()
    }

    /// Ends the channel: what was asked of this remote may be asked of others.
    pub(crate) fn end(&mut self, cx: &mut Cx<'_>) {
        self.requests.end(cx);
        self.remote.holdings.clear(cx.budget);
    }

    /// What this remote does for the download.
    pub(crate) fn progress(&self, round_trip: Option<Duration>, now: Instant) -> RemoteProgress {
        let meter = self.requests.meter();
        let rates = meter.rates(now);
        RemoteProgress {
            length: self.remote.sync.length,
            received: meter.blocks,
            received_bytes: meter.bytes,
            in_flight: self.requests.block_count() as u64,
            blocks_per_s: rates.blocks,
            bytes_per_s: rates.bytes,
            round_trip,
        }
    }

    /// Whether there may be something to ask of this remote.
    pub(crate) fn is_hungry(&self) -> bool {
        self.requests.is_hungry()
    }

    /// Blocks that are asked of this remote.
    pub(crate) fn in_flight_count(&self) -> usize {
        self.requests.block_count()
    }

    /// Whether a reader at the remote waits for an answer.
    pub(crate) fn has_urgent(&self) -> bool {
        self.upload.has_urgent()
    }

    /// Requests of the remote that wait.
    pub(crate) fn pending_count(&self) -> usize {
        self.upload.pending_count()
    }

    /// The length that the remote has told, in blocks.
    pub(crate) fn remote_len(&self) -> Option<u64> {
        self.remote.is_synced.then_some(self.remote.sync.length)
    }

    /// Sends a message of an extension, unless it is longer than anybody takes. It is framed as
    /// Hypercore frames those of extensions that choose no encoding: the length, then the bytes.
    pub(crate) fn send_extension(&self, name: &str, payload: &Bytes, cx: &mut Cx<'_>) -> bool {
        let is_name = (1..=EXTENSION_NAME_LEN_MAX).contains(&name.len()) && name != KIN_EXTENSION;
        let may_be_sent = is_name && payload.len() <= EXTENSION_PAYLOAD_LEN_MAX;
        if may_be_sent {
            let mut framed = Vec::new();
            put_buffer(&mut framed, payload);
            cx.out.push(Message::Extension { name: name.to_owned(), payload: framed.into() });
        }
        may_be_sent
    }

    fn handle_extension(
        &mut self,
        name: String,
        payload: Bytes,
        room: usize,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if !name.is_empty() {
            self.remote.extension = name;
        }
        let name = &self.remote.extension;
        if name == KIN_EXTENSION {
            return self.handle_kin(&payload, room, cx);
        }
        if cx.extensions.contains(name)
            && let Ok(body) = Reader::new(&payload).buffer()
        {
            let (id, key, name) = (cx.connection, cx.key(), name.clone());
            let payload = payload.slice_ref(body);
            cx.effect(Event::Extension { id, key, name, payload });
        }
        Ok(())
    }

    fn handle_kin(&mut self, payload: &Bytes, room: usize, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match KinMessage::decode(payload)? {
            Some(KinMessage::Hello { version }) => {
                self.remote.is_kin = true;
                self.remote.gives_runs = version >= 2;
            }
            Some(KinMessage::AskRun { id, fork, request }) => {
                self.upload.push((id, fork, 0), request, room, cx.out);
            }
            Some(KinMessage::Run { id, run }) => {
                return self.requests.take_answer(id, Answer::Run(run), &mut self.remote, cx);
            }
            None => {}
        }
        Ok(())
    }

    fn handle_sync(&mut self, sync: Sync, cx: &mut Cx<'_>) {
        let before = std::mem::replace(&mut self.remote.sync, sync);
        let was_synced = std::mem::replace(&mut self.remote.is_synced, true);
        self.announcements.note_change();
        let (id, key) = (cx.connection, cx.key());
        if !was_synced || (before.length, before.fork) != (sync.length, sync.fork) {
            cx.effect(Event::RemoteHead { id, key, length: sync.length, fork: sync.fork });
        }
        if before.fork != sync.fork {
            let (ours, theirs) = (cx.state.log.fork(), sync.fork);
            let is_followed = cx.options.follow_cuts || !cx.state.follows();
            if theirs > ours && !is_followed && !cx.state.log.is_empty() {
                let fault = Fault::ForkAhead { ours, theirs, length: sync.length };
                cx.effect(Event::Fault { id, key: Some(key), fault });
            }
            // What it has beyond is of the fork that it has left.
            self.remote.holdings.remove(sync.length..u64::MAX, cx.budget);
            self.requests.remote_forked();
        } else if was_synced && sync.length < before.length && self.requests.remote_went_back(cx) {
            self.remote.holdings.clear(cx.budget);
            let fault = Fault::WentBack { from: before.length, to: sync.length };
            cx.effect(Event::Fault { id, key: Some(key), fault });
        }
    }

    fn handle_data(&mut self, id: u64, proof: Proof, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if id == 0 && !is_head_alone(&proof) {
            return self.handle_push(&proof, cx);
        }
        if id == 0 {
            self.requests.take_head(proof, &mut self.remote, cx)?;
        } else {
            self.requests.take_answer(id, Answer::Data(proof), &mut self.remote, cx)?;
        }
        // It may have been the last one that a cut was waiting for.
        self.keep_up(cx);
        Ok(())
    }

    fn handle_push(&mut self, proof: &Proof, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.store(cx)?;
        if !self.announcements.allow_push() || !self.requests.is_in_good_standing() {
            return Ok(());
        }
        match self.pushes.take(proof, cx) {
            Err(Fault::BadData(error)) => self.requests.doubt(error, &self.remote, cx),
            outcome => outcome,
        }
    }

    /// Whether blocks may come unasked. Only Multibee peers know when.
    fn takes_pushes(&self, cx: &Cx<'_>) -> bool {
        self.remote.is_kin && self.pushes.is_welcome() && cx.state.wants_new()
    }
}

/// Whether a proof brings a head that starts from nothing, and nothing else: the answer to a
/// question about our common history.
fn is_head_alone(proof: &Proof) -> bool {
    let brings_more = proof.block.is_some() || proof.hash.is_some() || proof.seek.is_some();
    !brings_more && proof.upgrade.as_ref().is_some_and(|upgrade| upgrade.start == 0)
}
