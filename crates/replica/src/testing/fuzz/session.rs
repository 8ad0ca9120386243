//! Arbitrary messages to a replicator, from a remote that knows the log's key.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::compact::{put_buffer, put_uint};
use multibee_log::testing::fuzz::{Age, messages, source as signed_log};
use multibee_log::{Log, LogOptions, MemoryStorage};

use crate::capability::capability;
use crate::event::{ConnectionId, Event};
use crate::link::Link;
use crate::message::{ChannelHandshake, PROTOCOL};
use crate::mux_frame::{CONTROL, Control, FrameEntries};
use crate::options::ReplicatorOptions;
use crate::replicator::Replicator;
use crate::secure::{Handshake, Role};

/// More messages of one input are not looked at.
const MESSAGES_MAX: usize = 48;

/// More steps than anything takes here: whoever takes more turns in a circle.
const STEPS_MAX: usize = 20_000;

/// Begins a message of an input that is a frame of the mux.
const FRAME: u8 = 255;

/// Begins a message of an input that lets a number of seconds pass.
const TIME: u8 = 254;

/// Whatever is sent to one who has a log, the log stays what it is, and another remote is served all
/// of it.
///
/// Input: [`messages`], each a byte and what it begins. The byte is the type of a message on the log's
/// channel, or 255 for a frame of the mux, or 254 for so many seconds that pass.
pub fn source(data: &[u8]) {
    let log = signed_log(Age::Grown);
    let before = log.head();
    let mut session = Session::new(log.clone());
    session.take(data);
    assert_eq!(log.head(), before, "the log has changed");
    session.check_beside(&copy());
}

/// Whatever is sent to one who copies a log, it holds only what was signed, and gets the rest from
/// another remote.
///
/// Input: as of [`source`].
pub fn follower(data: &[u8]) {
    let log = copy();
    let mut session = Session::new(log.clone());
    session.take(data);
    let signed = SIGNED.iter().any(|source| source.head() == log.head());
    assert!(signed || log.head().is_none(), "a head that nobody signed");
    session.check_beside(&signed_log(Age::Grown));
}

/// Inputs for [`source`]: what one says who copies the log.
#[must_use]
pub fn source_inputs() -> Vec<Vec<u8>> {
    let [said, _] = conversation(&signed_log(Age::Grown), &copy());
    vec![said, vec![2, TIME, 30], vec![4, FRAME, 0, 3, 1]]
}

/// Inputs for [`follower`]: what one says who has the log.
#[must_use]
pub fn follower_inputs() -> Vec<Vec<u8>> {
    let [by_runs, one_by_one] = conversation(&copy(), &signed_log(Age::Grown));
    vec![by_runs, one_by_one, vec![2, TIME, 30]]
}

/// What `SIGNED` are: the heads that the writer of these logs has signed.
static SIGNED: LazyLock<[Log; 2]> = LazyLock::new(|| [Age::Young, Age::Grown].map(signed_log));

fn copy() -> Log {
    let log = Log::create_replica(
        MemoryStorage::new(),
        signed_log(Age::Young).key(),
        LogOptions::default(),
    );
    log.expect("memory is empty and takes a log")
}

/// A replicator with one log, and a connection on which the log's channel is open.
struct Session {
    replicator: Replicator,
    log: Log,
    id: ConnectionId,
    now: Instant,
    hash: [u8; 64],
}

impl Session {
    fn new(log: Log) -> Self {
        Self::asking(log, ReplicatorOptions::default())
    }

    fn asking(log: Log, options: ReplicatorOptions) -> Self {
        let mut replicator = Replicator::new(options, [5; 32]);
        replicator.add_log(log.clone());
        replicator.want_all(&log.key());
        let (now, hash) = (Instant::now(), [7; 64]);
        let handshake = Handshake { hash, remote_static: [6; 32] };
        let id = replicator.connect_link(Link::framed(Role::Responder, handshake), now);
        Self { replicator, log, id, now, hash }
    }

    /// Opens the log's channel, as a remote that knows the key, and then says what the input has.
    fn take(&mut self, data: &[u8]) {
        let capability = capability(&self.hash, Role::Initiator, &self.log.key());
        let open = Control::Open {
            id: CHANNEL,
            protocol: PROTOCOL.to_owned(),
            channel_id: Bytes::copy_from_slice(self.log.discovery_key().as_bytes()),
            handshake: ChannelHandshake { seeks: true, capability }.encode().into(),
        };
        let open = open.to_entry();
        self.give(&frame(CONTROL, open.ty, &open.payload));
        for message in messages(data).take(MESSAGES_MAX) {
            match message.split_first() {
                None => self.give(&[]),
                Some((&FRAME, bytes)) => self.give(bytes),
                Some((&TIME, bytes)) => {
                    let seconds = bytes.first().copied().unwrap_or(1);
                    self.now += Duration::from_secs(seconds.into());
                    self.replicator.handle_timeout(self.now);
                    self.drain();
                }
                Some((&ty, payload)) => self.give(&frame(CHANNEL, ty.into(), payload)),
            }
        }
    }

    fn give(&mut self, frame: &[u8]) {
        self.replicator.handle_bytes(self.id, frame, self.now);
        self.drain();
    }

    /// Takes all that comes out, and forgets it.
    fn drain(&mut self) {
        let steps = (0..STEPS_MAX).find(|_| self.replicator.poll_transmit(self.id).is_none());
        assert!(steps.is_some(), "it never stops sending");
        self.check_events();
    }

    fn check_events(&mut self) {
        while let Some(event) = self.replicator.poll_event() {
            let is_ours = matches!(
                event,
                Event::LogFailed { .. } | Event::ReadFailed { .. } | Event::Conflict { .. }
            );
            assert!(!is_ours, "no remote can do this: {event:?}");
        }
    }

    /// Another remote, with its own copy of the log: in the end both have all of it.
    fn check_beside(&mut self, theirs: &Log) {
        let mut other = Replicator::new(ReplicatorOptions::default(), [9; 32]);
        other.add_log(theirs.clone());
        other.want_all(&theirs.key());
        let handshake = |of| Handshake { hash: [8; 64], remote_static: [of; 32] };
        let near = Link::framed(Role::Responder, handshake(9));
        let near = self.replicator.connect_link(near, self.now);
        let far = other.connect_link(Link::framed(Role::Initiator, handshake(5)), self.now);
        other.offer(far, &theirs.key());
        let until = self.now + Duration::from_secs(300);
        for _ in 0..STEPS_MAX {
            if let Some(bytes) = other.poll_transmit(far) {
                self.replicator.handle_bytes(near, &bytes, self.now);
            } else if let Some(bytes) = self.replicator.poll_transmit(near) {
                other.handle_bytes(far, &bytes, self.now);
            } else if self.replicator.poll_transmit(self.id).is_none() {
                let both = [self.log.contiguous_len(), theirs.contiguous_len()];
                let due = [self.replicator.poll_timeout(), other.poll_timeout()];
                let due = due.into_iter().flatten().min();
                if both == [WHOLE; 2] || due.is_none_or(|due| due > until) {
                    break;
                }
                self.now = self.now.max(due.unwrap_or(self.now));
                self.replicator.handle_timeout(self.now);
                other.handle_timeout(self.now);
            }
            self.check_events();
            while other.poll_event().is_some() {}
        }
        let lens = [self.log.contiguous_len(), theirs.contiguous_len()];
        assert_eq!(lens, [WHOLE; 2], "an honest remote came too short");
        assert_eq!(self.log.head(), theirs.head());
    }
}

/// Blocks of the log.
const WHOLE: u64 = 11;

/// The number that the remote gives the log's channel.
const CHANNEL: u64 = 1;

fn frame(channel: u64, ty: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_uint(&mut frame, channel);
    put_uint(&mut frame, ty);
    frame.extend_from_slice(payload);
    frame
}

/// What the second of two says to the first on the log's channel, as an input: when it asks for and
/// gives runs, and when not.
fn conversation(log: &Log, theirs: &Log) -> [Vec<u8>; 2] {
    [true, false].map(|ask_for_runs| {
        let options = || ReplicatorOptions { ask_for_runs, ..ReplicatorOptions::default() };
        let copies = [log, theirs].map(|log| if log.is_empty() { copy() } else { log.clone() });
        let [near, far] = copies;
        let mut session = Session::asking(near, options());
        let mut other = Replicator::new(options(), [6; 32]);
        other.add_log(far);
        other.want_all(&log.key());
        let handshake = Handshake { hash: session.hash, remote_static: [5; 32] };
        let id = other.connect_link(Link::framed(Role::Initiator, handshake), session.now);
        other.offer(id, &log.key());
        let mut input = Vec::new();
        for _ in 0..STEPS_MAX {
            if let Some(bytes) = other.poll_transmit(id) {
                session.replicator.handle_bytes(session.id, &bytes, session.now);
                note(bytes, &mut input);
            } else if let Some(bytes) = session.replicator.poll_transmit(session.id) {
                other.handle_bytes(id, &bytes, session.now);
            } else {
                break;
            }
        }
        input
    })
}

/// Adds the messages of a frame to an input.
fn note(frame: Bytes, input: &mut Vec<u8>) {
    let mut entries = FrameEntries::new(frame);
    while let Ok(Some(entry)) = entries.next_entry() {
        if entry.channel != CONTROL
            && let Ok(ty) = u8::try_from(entry.ty)
        {
            put_buffer(input, &[&[ty], &entry.payload[..]].concat());
        }
    }
}

/// How many blocks one has who copies a log and hears an input.
#[cfg(test)]
pub(super) fn heard_len(data: &[u8]) -> u64 {
    [true, false]
        .map(|ask_for_runs| {
            let log = copy();
            let options = ReplicatorOptions { ask_for_runs, ..ReplicatorOptions::default() };
            Session::asking(log.clone(), options).take(data);
            log.contiguous_len()
        })
        .into_iter()
        .max()
        .unwrap_or(0)
}
