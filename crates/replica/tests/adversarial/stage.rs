//! The replicator that is attacked, its honest neighbours, and the faulty peer's connection.

use std::time::Duration;

use bytes::Bytes;
use multibee_log::compact::put_uint;
use multibee_log::{Log, LogOptions, MemoryStorage, Part, Storage};
use multibee_replica::{
    ChannelHandshake, CloseReason, ConnectionId, Event, Handshake, Link, LocalId, Message, Mux,
    MuxEvent, PROTOCOL, ReplicatorOptions, Role, capability,
};

use crate::MEMORY;
use crate::network::{Network, append, assert_whole_copy, replica, writer};
use crate::referee::{Referee, told};

/// What one message may take beside three times its own length: as it arrives, as it is read, and
/// as it is kept or checked.
const LITTLE: usize = 64 << 10;

/// More steps than any case takes.
const STEPS_MAX: usize = 20_000;

/// When the faulty peer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Before anybody else: everything is asked of it.
    Empty,
    /// The same, and nothing is asked for by runs.
    EmptyOneByOne,
    /// Once there are some blocks; the others come after it.
    Half,
}

/// Node 0 copies a log from node 1, and node 2 copies it from node 0.
pub(crate) struct Stage {
    pub(crate) net: Network,
    /// The faulty peer's connection at node 0.
    pub(crate) peer: ConnectionId,
    /// What it says on the log's channel, and in proper frames.
    mux: Mux,
    channel: Option<LocalId>,
    heard: Vec<Message>,
    pub(crate) referee: Referee,
    /// The most memory that was in use, before it was looked at anew.
    pub(crate) peak_max: usize,
    /// What the copy has stored.
    storage: MemoryStorage,
    /// The log, at who writes it, who copies it, and who copies that.
    pub(crate) logs: [Log; 3],
    is_linked: bool,
}

/// What was told of the faulty peer.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// In order, with what lies behind each.
    pub(crate) faults: Vec<String>,
    pub(crate) log_closed: bool,
    pub(crate) reason: Option<CloseReason>,
}

/// The hash that the faulty peer's connection goes by.
pub(crate) const HASH: [u8; 64] = [77; 64];

/// Blocks of the log when the faulty peer comes.
pub(crate) const BLOCKS: u64 = 4;

impl Stage {
    pub(crate) fn new(start: Start) -> Self {
        let ask_for_runs = start != Start::EmptyOneByOne;
        let options = ReplicatorOptions { ask_for_runs, ..ReplicatorOptions::default() };
        let mut net = Network::with_options(3, &options);
        let ours = writer(1, BLOCKS);
        let storage = MemoryStorage::default();
        let copy = Log::create_replica(storage.clone(), ours.key(), LogOptions::default()).unwrap();
        let logs = [ours.clone(), copy, replica(ours.key())];
        for (node, log) in [(1, &logs[0]), (0, &logs[1]), (2, &logs[2])] {
            net.nodes[node].replicator.add_log(log.clone());
            net.nodes[node].replicator.want_all(&log.key());
        }
        net.nodes[0].replicator.accept_protocol("own");
        let link = Link::framed(Role::Responder, Handshake { hash: HASH, remote_static: [9; 32] });
        let now = net.now;
        let peer = net.nodes[0].replicator.connect_link(link, now);
        let mut stage = Self {
            net,
            peer,
            mux: Mux::new(),
            channel: None,
            heard: Vec::new(),
            referee: Referee::default(),
            peak_max: 0,
            storage,
            logs,
            is_linked: false,
        };
        if start == Start::Half {
            stage.link_honest();
            stage.run();
            assert_eq!(stage.logs[2].contiguous_len(), BLOCKS);
        }
        stage
    }

    /// Opens the log's channel as one does who knows the key.
    pub(crate) fn open(&mut self) {
        let key = self.logs[0].key();
        let capability = capability(&HASH, Role::Initiator, &key);
        let handshake = ChannelHandshake { seeks: true, capability }.encode();
        self.open_as(PROTOCOL, key.discovery_key().as_bytes(), &handshake);
    }

    /// Opens a channel of any names.
    pub(crate) fn open_as(&mut self, protocol: &str, channel_id: &[u8], handshake: &[u8]) {
        self.channel = Some(self.mux.open(protocol, channel_id, handshake));
        self.send_frames();
    }

    pub(crate) fn say(&mut self, message: &Message) {
        self.say_raw(message.ty(), message.encode());
    }

    /// Says anything on the channel that was opened. However long it says it is, the memory that it takes
    /// is bounded by how long it is; and what it is hung up on for changes nothing that is stored.
    pub(crate) fn say_raw(&mut self, ty: u64, payload: Vec<u8>) {
        let payload = Bytes::from(payload);
        let is_fatal = self.referee.says(ty, &payload, &self.logs[0]);
        let before = is_fatal.then(|| self.image());
        self.mux.send(self.channel.unwrap(), ty, payload).unwrap();
        while let Some(frame) = self.mux.poll_frame(1 << 16) {
            self.peak_max = self.peak_max.max(MEMORY.peak_usage());
            MEMORY.reset_peak_usage();
            let (before, now) = (MEMORY.current_usage(), self.net.now);
            self.net.nodes[0].replicator.handle_bytes(self.peer, &frame, now);
            let growth = MEMORY.peak_usage().saturating_sub(before);
            assert!(growth <= 3 * frame.len() + LITTLE, "{growth} bytes for {}", frame.len());
        }
        self.run();
        if let Some(before) = before {
            assert!(self.image() == before, "what was refused has changed what is stored");
        }
    }

    /// Says many things in few frames, so that nothing is answered in between.
    pub(crate) fn say_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            let payload = Bytes::from(message.encode());
            self.referee.says(message.ty(), &payload, &self.logs[0]);
            self.mux.send(self.channel.unwrap(), message.ty(), payload).unwrap();
        }
        let now = self.net.now;
        while let Some(frame) = self.mux.poll_frame(1 << 16) {
            self.net.nodes[0].replicator.handle_bytes(self.peer, &frame, now);
        }
        self.run();
    }

    /// Sends any bytes as a frame.
    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.frames([frame.to_vec()]);
    }

    /// Sends frames of which none is answered in between.
    pub(crate) fn frames(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let now = self.net.now;
        for frame in frames {
            self.net.nodes[0].replicator.handle_bytes(self.peer, &frame, now);
        }
        self.run();
    }

    /// What node 0 has said to the faulty peer since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.heard)
    }

    /// All bytes that the copy has stored.
    fn image(&self) -> Vec<Vec<u8>> {
        let part = |part| {
            let mut bytes = vec![0; self.storage.len(part).unwrap() as usize];
            self.storage.read_at(part, 0, &mut bytes).unwrap();
            bytes
        };
        Part::ALL.map(part).into()
    }

    /// Lets time pass, in which the faulty peer does nothing but keep its connection.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(5) {
            self.frame(&[]);
            let until = self.net.now + Duration::from_secs(5);
            for _ in 0..STEPS_MAX {
                self.run();
                let due = self.net.nodes.iter().filter_map(|node| node.replicator.poll_timeout());
                let Some(due) = due.min().filter(|&due| due <= until) else { break };
                self.net.now = self.net.now.max(due);
                let now = self.net.now;
                self.net.nodes.iter_mut().for_each(|node| node.replicator.handle_timeout(now));
            }
            self.net.now = until;
        }
    }

    /// Lets time pass, in which not even a keepalive comes of the faulty peer.
    pub(crate) fn pass_in_silence(&mut self, time: Duration) {
        let until = self.net.now + time;
        while self.net.now < until {
            self.net.now += Duration::from_secs(1);
            let now = self.net.now;
            self.net.nodes.iter_mut().for_each(|node| node.replicator.handle_timeout(now));
            self.run();
        }
    }

    /// What was told of the faulty peer.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for event in &self.net.nodes[0].events {
            match event {
                Event::Fault { id, fault, .. } if *id == self.peer => {
                    outcome.faults.push(told(fault));
                }
                Event::LogClosed { id, .. } | Event::LogRejected { id, .. } if *id == self.peer => {
                    outcome.log_closed = true
                }
                Event::Closed { id, reason } if *id == self.peer => outcome.reason = Some(*reason),
                Event::Fault { .. } | Event::LogFailed { .. } | Event::ReadFailed { .. } => {
                    panic!("somebody else is named: {event:?}")
                }
                _ => {}
            }
        }
        outcome
    }

    /// What is stored is what was signed; and all who are honest have all there is in the end, also of
    /// what comes now.
    pub(crate) fn check_honest(&mut self) {
        let [ours, copy, _] = self.logs.clone();
        assert!(copy.len() <= ours.len(), "more than was written");
        for seq in copy.held(0..u64::MAX).into_iter().flatten() {
            assert_eq!(copy.get(seq).unwrap(), ours.get(seq).unwrap(), "block {seq}");
        }
        if !self.is_linked {
            self.link_honest();
        }
        append(&ours, 3);
        self.net.nodes[1].replicator.log_changed(&ours.key());
        self.run();
        self.pass(200);
        for log in &self.logs[1..] {
            assert_whole_copy(&ours, log);
        }
        assert_eq!(copy.conflict(), None, "an honest writer is accused");
        let progress = self.net.nodes[0].replicator.progress(&ours.key());
        assert_eq!((progress.remaining, progress.in_flight), (0, 0));
    }

    /// Carries until nobody has anything to say.
    fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            let bytes = self.net.nodes[0].replicator.poll_transmit(self.peer);
            let is_idle = bytes.is_none();
            if let Some(bytes) = bytes {
                self.mux.handle_frame(bytes);
                while let Ok(Some(event)) = self.mux.poll_event() {
                    if let MuxEvent::Message { ty, payload, .. } = event
                        && let Some(message) = Message::decode(ty, &payload).unwrap()
                    {
                        self.referee.heard(&message, &self.logs[1]);
                        self.heard.push(message);
                    }
                }
            }
            if (!self.is_linked || !self.net.step()) && is_idle {
                self.net.take_events();
                return;
            }
        }
        panic!("it spins");
    }

    fn link_honest(&mut self) {
        self.is_linked = true;
        for (from, to, hash) in [(0, 1, 5), (2, 0, 6)] {
            let handshake = |of| Handshake { hash: [hash; 64], remote_static: [of; 32] };
            let near = Link::framed(Role::Initiator, handshake(to as u8));
            let far = Link::framed(Role::Responder, handshake(from as u8));
            let wire = self.net.connect_links((from, near), (to, far));
            let id = self.net.id(wire, from);
            self.net.nodes[from].replicator.offer(id, &self.logs[0].key());
        }
    }

    fn send_frames(&mut self) {
        let frames: Vec<Vec<u8>> =
            std::iter::from_fn(|| self.mux.poll_frame(1 << 16)).map(|f| f.to_vec()).collect();
        self.frames(frames);
    }
}

/// A frame with one message.
pub(crate) fn frame(channel: u64, ty: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = numbers(&[channel, ty]);
    frame.extend_from_slice(payload);
    frame
}

/// Numbers as the protocol writes them.
pub(crate) fn numbers(all: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    all.iter().for_each(|&number| put_uint(&mut out, number));
    out
}

/// A message of Multibee's extension.
pub(crate) fn kin(kind: u8, body: &[u8]) -> Message {
    let payload = Bytes::from([&[kind], body].concat());
    Message::Extension { name: "multibee/replica".to_owned(), payload }
}
