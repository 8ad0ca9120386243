//! Dealing with other devices: what each event of the network means for the database.
//!
//! [`Session`] is everything that is shared between a database's handles: the state behind one
//! lock, and the endpoint that moves bytes. Locks are taken in that order, never the other way.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use multibee_log::{Log, LogKey};
use multibee_merge::Clock;
use multibee_replica::{ChannelId, ConnectionId, Endpoint, Event as NetEvent, Fault};
use tokio::sync::{broadcast, watch};

use crate::Error;
use crate::catch_up::Surroundings;
use crate::core::{Advance, Core};
use crate::event::Event;
use crate::follow::Hint;
use crate::hello::Side;
use crate::inquiries::{self, Inquiry};
use crate::look::Looks;
use crate::peer_message::{PROTOCOL, PeerMessage, RANGES_MAX, Status};
use crate::peers::{Contact, Peer, Peers, Standing, compare};
use crate::question::Question;
use crate::statement::Statement;

/// A gap in a log from which on its news is asked for as a list, rather than by its chain.
const ASK_FROM_BLOCKS: u64 = 16;

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: Core,
    pub(crate) peers: Peers,
    /// The disk failed while merging: nothing more is merged in this run.
    pub(crate) failed: Option<String>,
    pub(crate) blocks_downloaded: u64,
    /// What is looked at and does not belong to the database.
    pub(crate) looks: Looks,
}

/// What all handles of a database share.
#[derive(Debug)]
pub(crate) struct Session {
    state: Mutex<State>,
    pub(crate) endpoint: Endpoint,
    pub(crate) events: broadcast::Sender<Event>,
    /// Counts changes of anything that somebody may wait for.
    pub(crate) changes: watch::Sender<u64>,
    /// Somebody has closed the database, though other handles may be left.
    pub(crate) closed: AtomicBool,
}

impl Session {
    pub(crate) fn new(core: Core, endpoint: Endpoint) -> Self {
        let (peers, looks) = (Peers::default(), Looks::default());
        let state = State { core, peers, failed: None, blocks_downloaded: 0, looks };
        let (events, _) = broadcast::channel(256);
        let (changes, _) = watch::channel(0);
        let closed = AtomicBool::new(false);
        Self { state: Mutex::new(state), endpoint, events, changes, closed }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is held is a bug of ours; the log itself is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the network told, merges what can be, asks for what is wanted, and tells
    /// peers what is new and on the disk.
    pub(crate) fn process(&self, events: Vec<NetEvent>) {
        let mut questions = Vec::new();
        let log = {
            let mut state = self.lock();
            for event in events {
                match Question::of(event, &state.core) {
                    Ok(question) => questions.extend(question),
                    Err(event) => self.handle(&mut state, event),
                }
            }
            state.core.primary.log().clone()
        };
        // One commit at a time: whoever writes meanwhile need not wait for all of them.
        while self.advance(&mut self.lock()) {
            self.changes.send_modify(|count| *count += 1);
        }
        // Not under the lock: readers of the state need not wait for the disk.
        for question in questions {
            question.answer(&self.endpoint);
        }
        if log.durable_len() < log.len()
            && let Err(error) = log.sync()
        {
            self.fail(&mut self.lock(), &error.into());
        }
        self.tell_peers(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
    }

    /// Merges what can be merged in one commit. Returns whether there is more.
    fn advance(&self, state: &mut State) -> bool {
        if state.failed.is_some() {
            return false;
        }
        let around = self.surroundings(state);
        let advanced = state.core.advance(&around);
        let is_unfinished = match &advanced {
            Ok(advance) => advance.is_unfinished,
            Err(_) => state.core.is_disproved(),
        };
        self.settle(state, advanced);
        is_unfinished
    }

    fn surroundings(&self, state: &State) -> Surroundings {
        let State { core, peers, .. } = state;
        let length_of = |key| {
            self.endpoint.with(|r| peers.others().filter_map(|id| r.remote_length(id, &key)).max())
        };
        let logs = core.source_logs().map(Log::key);
        let sources = logs.filter_map(|key| Some((key, length_of(key)?))).collect();
        let is_cut_off = |id, key: &LogKey, blocks: Option<&Range<u64>>| {
            self.endpoint.with(|replicator| match blocks {
                None => replicator.is_head_out_of_reach(id, key),
                Some(blocks) => {
                    replicator.provable_len(id, key).is_some_and(|len| len < blocks.end)
                }
            })
        };
        let reachable = peers.reachable(core, true, is_cut_off);
        let readers = peers.reachable(core, false, is_cut_off);
        Surroundings { reachable, readers, sources }
    }

    fn fail(&self, state: &mut State, error: &Error) {
        tracing::error!(%error, "the disk failed: nothing more is merged in this run");
        state.failed = Some(causes(error));
    }

    /// Passes on what came of a step of the core.
    pub(crate) fn settle(&self, state: &mut State, advance: Result<Advance, Error>) {
        match advance {
            Ok(advance) => self.carry_out(state, advance),
            // That nothing can be appended is to be dealt with, and no fault of the disk.
            Err(_) if state.core.is_disproved() => {}
            Err(error) => self.fail(state, &error),
        }
    }

    fn carry_out(&self, state: &mut State, advance: Advance) {
        if advance.events.contains(&Event::DevicesChanged) {
            self.part_with_removed(state);
            self.look_again(state);
        }
        for (_, peer) in state.peers.devices_mut() {
            advance.old_logs.iter().for_each(|key| {
                peer.offered.remove(key);
            });
        }
        // What a mirror wants it goes on to want, whatever is not needed for merging any more.
        let is_mirroring_due = !advance.new_logs.is_empty()
            || !advance.unwants.is_empty()
            || advance.events.contains(&Event::DevicesChanged);
        let mirrored = if is_mirroring_due { state.core.mirrored() } else { Vec::new() };
        let taken: Vec<_> = advance.new_logs.iter().map(Log::key).collect();
        let looked_at: Vec<_> = taken.into_iter().filter(|key| state.looks.give_way(key)).collect();
        looked_at.iter().for_each(|key| state.peers.offer_again(key));
        self.endpoint.with(|replicator| {
            for key in looked_at {
                replicator.remove_log(&key);
            }
            for key in advance.old_logs {
                replicator.remove_log(&key);
            }
            for log in advance.new_logs {
                replicator.add_log(log);
            }
            for key in advance.grown {
                replicator.log_changed(&key);
            }
            for (key, range) in advance.cleared {
                replicator.cleared(&key, range);
            }
            for (key, range) in advance.unwants {
                replicator.unwant(&key, range);
            }
            for (key, ranges) in advance.wants {
                for range in ranges {
                    replicator.want(&key, range, 0);
                }
            }
            mirrored.iter().for_each(|key| replicator.want_all(key));
        });
        for event in advance.events {
            // Nobody listening is no failure.
            let _ = self.events.send(event);
        }
    }

    fn handle(&self, state: &mut State, event: NetEvent) {
        match event {
            NetEvent::Connected { id, handshake_hash, role, .. } => {
                self.connected(state, id, Side { role, handshake_hash });
            }
            NetEvent::ChannelRequested { id, protocol, handshake, .. } => {
                self.requested(state, id, &protocol, handshake);
            }
            NetEvent::ChannelOpened { id, channel, handshake } => {
                self.opened(state, id, channel, &handshake);
            }
            NetEvent::ChannelRejected { id, .. } => {
                let why = "it does not take this device for one of its database".into();
                state.peers.set(id, Contact::Stranger { why, shown: None });
            }
            NetEvent::ChannelMessage { id, ty, payload, .. } => {
                self.message(state, id, ty, payload);
            }
            NetEvent::ChannelClosed { id, .. } => self.endpoint.with(|r| r.close(id)),
            NetEvent::Stored { blocks, .. } => {
                state.blocks_downloaded += blocks.end - blocks.start;
            }
            NetEvent::Fault { key, fault, .. } => {
                if let (Some(key), Fault::ForkAhead { .. }) = (key, &fault)
                    && let Some(event) = state.core.source_was_cut(&key)
                {
                    let _ = self.events.send(event);
                }
                let _ = self.events.send(Event::PeerFault { why: fault.to_string() });
            }
            NetEvent::Closed { id, reason } => self.closed(state, id, &reason.to_string()),
            NetEvent::LogFailed { .. } if state.core.is_disproved() => {}
            NetEvent::LogFailed { error, .. } => self.fail(state, &error.into()),
            _ => {}
        }
    }

    fn message(&self, state: &mut State, id: ConnectionId, ty: u64, payload: Bytes) {
        let message = match PeerMessage::decode(ty, payload) {
            Ok(message) => message,
            Err(error) => {
                let why = format!("a message on {PROTOCOL}: {error}");
                let _ = self.events.send(Event::PeerFault { why });
                self.endpoint.with(|r| r.close(id));
                return;
            }
        };
        if let PeerMessage::Proof(proof) = message {
            self.take_proof(state, id, proof);
            return;
        }
        let Some(peer) = state.peers.peer_mut(id) else { return };
        match message {
            PeerMessage::Statements(signed) => self.take_statements(state, id, signed),
            PeerMessage::Status(status) if !peer.removed => self.take_status(state, id, status),
            PeerMessage::AskRanges { key, since } if !peer.removed => {
                let channel = peer.channel;
                // An empty answer is one, too: the asker waits for no better.
                let none = Hint { since, upto: since, ranges: Vec::new(), by_author: false };
                let hint = ranges(&state.core, &key, since).unwrap_or(none);
                self.send(id, channel, &PeerMessage::Ranges { key, hint });
            }
            PeerMessage::Ranges { key, mut hint }
                if peer.answered(&key, hint.upto > hint.since) =>
            {
                hint.by_author = key == peer.key;
                state.core.take_hint(&key, hint);
            }
            PeerMessage::AskCommon { number, key, question }
                if !state.core.is_removed(&peer.key) =>
            {
                peer.inquiries.wonder(number, Inquiry { key, landmarks: question });
            }
            PeerMessage::Common { number, of, answers } if !state.core.is_removed(&peer.key) => {
                let who = of.unwrap_or(peer.key);
                if let Some(key) = peer.inquiries.hear(number, who, &answers) {
                    state.core.take_common(who, of.is_some(), &key, &answers);
                }
            }
            _ => {}
        }
    }

    fn take_statements(&self, state: &mut State, id: ConnectionId, signed: Vec<Bytes>) {
        let mut statements = Vec::new();
        for signed in signed {
            match Statement::verify(signed) {
                Ok(statement) => statements.push(statement),
                Err(error) => {
                    let _ = self.events.send(Event::PeerFault { why: error.to_string() });
                }
            }
        }
        if let Some(peer) = state.peers.peer_mut(id) {
            let is_heard = |one: &Statement| !peer.removed || state.core.counts_from_outside(one);
            peer.told.extend(statements.iter().filter(|one| is_heard(one)).map(Statement::hash));
        }
        loop {
            let is_removed = state.peers.peer_mut(id).is_some_and(|peer| peer.removed);
            let core = &state.core;
            let is_heard = |one: &Statement| !is_removed || core.counts_from_outside(one);
            let (heard, rest): (Vec<_>, Vec<_>) = statements.into_iter().partition(is_heard);
            if heard.is_empty() {
                return;
            }
            let learnt = state.core.learn(heard);
            self.settle(state, learnt);
            // Some of the rest may count now: one of them may be by whom another one speaks of.
            statements = rest;
        }
    }

    fn take_status(&self, state: &mut State, id: ConnectionId, status: Status) {
        let State { core, peers, .. } = state;
        let Some(peer) = peers.peer_mut(id) else { return };
        let device = crate::merging::device_of(&peer.key);
        let (own, applied) = (status.clock.length(device), core.applied(device));
        if own == applied {
            // The author says that nothing of its own is new: its head need not be looked at.
            let upto = status.length;
            let hint = Hint { since: applied, upto, ranges: Vec::new(), by_author: true };
            core.take_hint(&peer.key, hint);
        }
        core.hear_clock(peer.key, &status.clock);
        let heard = core.hear_of_own(peer.key, &status.yours);
        peer.status = Some(status);
        self.settle(state, heard);
    }

    /// Tells every connected device what it does not know yet: statements, logs, how far we are.
    fn tell_peers(&self, state: &mut State) {
        let State { core, peers, looks, .. } = state;
        let own = match own_status(core) {
            Ok(own) => own,
            Err(error) => {
                tracing::error!(%error, "our own status can't be read");
                return;
            }
        };
        let (messages, wanted) = inquiries::exchange(core, peers);
        for (id, peer) in peers.devices_mut() {
            self.tell_statements(core, id, peer);
            self.prove_again(core, id, peer);
            for (_, message) in messages.iter().filter(|(at, _)| *at == id) {
                self.send(id, peer.channel, message);
            }
            if peer.removed {
                continue;
            }
            // The status goes first, so that a new head is known for what it is when it comes.
            if peer.our_status.as_ref() != Some(&own) {
                let is_first = peer.our_status.replace(own.clone()).is_none();
                let yours = if is_first { core.held_of(&peer.key) } else { Clock::new() };
                let told = Status { yours, ..own.clone() };
                self.send(id, peer.channel, &PeerMessage::Status(told));
            }
            let logs = core.following().keys().copied().chain([core.key()]);
            let logs = logs.chain(core.source_logs().map(Log::key));
            for key in logs.filter(|key| *key != peer.key || core.is_active(key)) {
                // What it knows of our own log is heard first: it may be more than we do.
                let is_due =
                    key != core.key() || (peer.status.is_some() && core.refusal().is_none());
                if is_due && peer.offered.insert(key) {
                    self.endpoint.with(|r| {
                        r.yield_log(id, &key);
                        r.offer(id, &key);
                    });
                }
            }
            self.ask(core, id, peer);
            let theirs = peer.status.as_ref();
            let standing = theirs.map_or(Standing::Apart, |theirs| compare(&own, theirs));
            let is_diverged = standing == Standing::Diverged
                && !theirs.is_some_and(|theirs| core.is_looking_into(&theirs.clock));
            if is_diverged && !peer.diverged {
                let _ = self.events.send(Event::Diverged { peer: peer.key });
            }
            peer.diverged = is_diverged;
        }
        let key = core.key();
        let offers = peers.sources_to_offer(core, looks);
        self.endpoint.with(|r| {
            offers.iter().for_each(|(id, key)| r.offer(*id, key));
            r.log_changed(&key);
        });
        self.carry_out(state, wanted);
    }

    /// Tells a device the statements that it does not know yet.
    fn tell_statements(&self, core: &Core, id: ConnectionId, peer: &mut Peer) {
        if peer.told_count == core.statement_count() {
            return;
        }
        let (names, signed): (Vec<_>, Vec<_>) =
            core.untold(&peer.told).map(|(name, one)| (*name, one.signed.clone())).unzip();
        if !signed.is_empty() {
            self.send(id, peer.channel, &PeerMessage::Statements(signed));
        }
        peer.told.extend(names);
        peer.told_count = core.statement_count();
    }

    /// Asks a device for where the news lies that it has and we have not.
    fn ask(&self, core: &Core, id: ConnectionId, peer: &mut Peer) {
        let Some(clock) = peer.status.as_ref().map(|status| status.clock.clone()) else { return };
        if core.absorbing_from().is_some() {
            // What is news will be another question then.
            return;
        }
        for (key, following) in core.following() {
            let device = following.follower.device();
            let (applied, theirs) = (core.applied(device), clock.length(device));
            let gap = theirs.saturating_sub(applied);
            // The author's chain can be walked from its head. A relay need not have that head.
            let is_worth_it = gap >= ASK_FROM_BLOCKS || (gap > 0 && *key != peer.key);
            // While something is planned and on its way, it comes first: what is asked then is out of
            // date. If nothing is on its way, nobody may be able to hand out what is planned.
            let is_planned = following.follower.remaining() > 0 && peer.was_asked(key);
            let is_under_way = || self.endpoint.with(|r| r.progress(key).in_flight > 0);
            let is_due = !is_planned || !is_under_way();
            // With another head than when it was asked, it may be another thing to prove.
            let head = if is_planned { following.follower.bee().log().len() } else { 0 };
            if is_worth_it && is_due && peer.is_to_be_asked(*key, applied, theirs, head) {
                let ask = PeerMessage::AskRanges { key: *key, since: applied };
                self.send(id, peer.channel, &ask);
            }
        }
    }

    pub(crate) fn send(&self, id: ConnectionId, channel: ChannelId, message: &PeerMessage) {
        let (ty, payload) = message.encode();
        self.endpoint.with(|r| r.send(id, channel, ty, payload));
    }
}

/// How far this device is.
pub(crate) fn own_status(core: &Core) -> Result<Status, Error> {
    Ok(Status {
        clock: core.primary.whole_clock()?,
        digest: core.primary.digest(),
        length: core.primary.log().durable_len(),
        ahead: core.primary.ahead().clone(),
        yours: Clock::new(),
    })
}

/// Where the news of a log lies, as far as it is here.
fn ranges(core: &Core, key: &LogKey, since: u64) -> Option<Hint> {
    let (mut ranges, mut upto) = if *key == core.key() {
        (core.primary.own_ranges(since).ok()?, core.primary.log().durable_len())
    } else {
        let follower = &core.following().get(key)?.follower;
        let applied = core.applied(follower.device());
        let ranges = follower.applied_ranges(since, applied)?;
        let log = follower.bee().log();
        if log.len() < applied && since < applied {
            // It came with somebody's state.
            return None;
        }
        // What can't be proven from the head that is here now is as good as not here.
        if !ranges.iter().all(|range| log.can_prove(range.clone()).unwrap_or(false)) {
            return None;
        }
        (ranges, applied)
    };
    if ranges.len() > RANGES_MAX {
        ranges.truncate(RANGES_MAX);
        upto = ranges.last()?.end;
    }
    Some(Hint { since, upto, ranges, by_author: false })
}

/// An error, and what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text += &format!(": {one}");
        cause = one.source();
    }
    text
}
