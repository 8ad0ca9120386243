//! Nodes, wires between them, and a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::compact::{Reader, put_uint};
use multibee_log::{KeyPair, Log, LogKey, LogOptions, MemoryStorage};
use multibee_replica::{
    CloseReason, ConnectionId, Event, Handshake, Link, Replicator, ReplicatorOptions, Role,
};

/// Some replicators and the wires between them.
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    wires: Vec<Wire>,
    turn: usize,
    pub(crate) now: Instant,
    /// Bytes delivered, all wires and directions together.
    pub(crate) delivered_len: usize,
    /// Pieces delivered.
    pub(crate) delivered_count: usize,
}

pub(crate) struct Node {
    pub(crate) replicator: Replicator,
    /// All that it has told, in order.
    pub(crate) events: Vec<Event>,
}

/// A wire's number.
#[derive(Clone, Copy)]
pub(crate) struct WireId(usize);

struct Wire {
    ends: [(usize, ConnectionId); 2],
    is_cut: bool,
    /// Ends whose bytes go nowhere.
    is_deaf: [bool; 2],
    /// Each message goes alone; what each end has sent and did not go yet.
    single: Option<[VecDeque<Bytes>; 2]>,
    /// Makes other pieces of each.
    spoil: Option<Spoil>,
}

/// What somebody on the way makes of a piece that one of the two ends has sent.
pub(crate) type Spoil = Box<dyn FnMut(usize, Bytes) -> Vec<Bytes>>;

impl Network {
    /// Nodes 0, 1, .. without wires.
    pub(crate) fn new(count: u8) -> Self {
        Self::with_options(count, &one_by_one())
    }

    pub(crate) fn with_options(count: u8, options: &ReplicatorOptions) -> Self {
        let node = |number| Node {
            replicator: Replicator::new(options.clone(), [number; 32]),
            events: Vec::new(),
        };
        Self {
            nodes: (0..count).map(node).collect(),
            wires: Vec::new(),
            turn: 0,
            now: Instant::now(),
            delivered_len: 0,
            delivered_count: 0,
        }
    }

    /// Adds a node. Returns its number.
    pub(crate) fn add_node(&mut self, seed: u8) -> usize {
        let replicator = Replicator::new(one_by_one(), [seed; 32]);
        self.nodes.push(Node { replicator, events: Vec::new() });
        self.nodes.len() - 1
    }

    /// A wire from the initiator to the responder.
    pub(crate) fn connect(&mut self, from: usize, to: usize) -> WireId {
        self.connect_links((from, Link::noise(Role::Initiator)), (to, Link::noise(Role::Responder)))
    }

    /// A wire whose ends are set up in ways of their own.
    pub(crate) fn connect_links(&mut self, from: (usize, Link), to: (usize, Link)) -> WireId {
        let now = self.now;
        let ends = [from, to]
            .map(|(node, link)| (node, self.nodes[node].replicator.connect_link(link, now)));
        self.wires.push(Wire {
            ends,
            is_cut: false,
            is_deaf: [false; 2],
            single: None,
            spoil: None,
        });
        WireId(self.wires.len() - 1)
    }

    /// A wire without encryption.
    pub(crate) fn connect_framed(&mut self, from: usize, to: usize) -> WireId {
        let mut hash = [0; 64];
        hash[..8].copy_from_slice(&(self.wires.len() as u64).to_le_bytes());
        let handshake = |of| Handshake { hash, remote_static: [of as u8; 32] };
        let near = Link::framed(Role::Initiator, handshake(to));
        let far = Link::framed(Role::Responder, handshake(from));
        self.connect_links((from, near), (to, far))
    }

    /// A wire without encryption, over which each message goes alone, also those that are sent
    /// together.
    pub(crate) fn connect_singly(&mut self, from: usize, to: usize) -> WireId {
        let wire = self.connect_framed(from, to);
        self.wires[wire.0].single = Some([VecDeque::new(), VecDeque::new()]);
        wire
    }

    /// The connection of a wire's end at a node.
    pub(crate) fn id(&self, wire: WireId, node: usize) -> ConnectionId {
        self.wires[wire.0].ends.iter().find(|end| end.0 == node).unwrap().1
    }

    /// From now on somebody on the way makes other pieces of what goes over a wire.
    #[allow(dead_code, reason = "for tests of another binary")]
    pub(crate) fn spoil(&mut self, wire: WireId, spoil: Spoil) {
        self.wires[wire.0].spoil = Some(spoil);
    }

    /// Both ends learn that the wire is gone; what was under way is lost.
    pub(crate) fn cut(&mut self, wire: WireId) {
        self.wires[wire.0].is_cut = true;
        for (node, id) in self.wires[wire.0].ends {
            self.nodes[node].replicator.handle_end(id, CloseReason::Remote, self.now);
        }
    }

    /// Loses what a node has to send on a wire: it has left the node, and does not arrive.
    pub(crate) fn lose(&mut self, wire: WireId, node: usize) {
        let end = self.wires[wire.0].ends.iter().position(|end| end.0 == node).unwrap();
        while self.take_bytes(wire.0, end).is_some() {}
        self.take_events();
    }

    /// From now on nothing that a node sends on a wire arrives, and nobody notices.
    pub(crate) fn silence(&mut self, wire: WireId, node: usize) {
        let wire = &mut self.wires[wire.0];
        let end = wire.ends.iter().position(|end| end.0 == node).unwrap();
        wire.is_deaf[end] = true;
    }

    /// Gives bytes to a node as if its remote on a wire had sent them.
    pub(crate) fn inject(&mut self, wire: WireId, node: usize, bytes: &[u8]) {
        let id = self.id(wire, node);
        self.nodes[node].replicator.handle_bytes(id, bytes, self.now);
        self.take_events();
    }

    /// Carries one piece of bytes over one wire. Returns whether there was any.
    pub(crate) fn step(&mut self) -> bool {
        for offset in 0..self.wires.len() {
            // Each wire in turn, as independent sockets would.
            let number = (self.turn + offset) % self.wires.len();
            for end in [0, 1] {
                if let Some(bytes) = self.take_bytes(number, end) {
                    self.turn = number + 1;
                    self.delivered_len += bytes.len();
                    self.delivered_count += 1;
                    let wire = &mut self.wires[number];
                    let pieces = match &mut wire.spoil {
                        Some(spoil) => spoil(end, bytes),
                        None => vec![bytes],
                    };
                    if !wire.is_cut && !wire.is_deaf[end] {
                        let (node, id) = wire.ends[1 - end];
                        for piece in pieces {
                            self.nodes[node].replicator.handle_bytes(id, &piece, self.now);
                        }
                    }
                    self.take_events();
                    return true;
                }
            }
        }
        self.carry_ends()
    }

    /// Carries that many pieces, as far as there are any.
    pub(crate) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Carries one piece over a wire, from one of its ends. Returns whether there was any.
    pub(crate) fn carry(&mut self, wire: WireId, from: usize) -> bool {
        let end = self.wires[wire.0].ends.iter().position(|end| end.0 == from).unwrap();
        let Some(bytes) = self.take_bytes(wire.0, end) else { return false };
        let (node, id) = self.wires[wire.0].ends[1 - end];
        self.nodes[node].replicator.handle_bytes(id, &bytes, self.now);
        self.take_events();
        true
    }

    /// Runs until nobody has anything to send.
    pub(crate) fn run(&mut self) {
        while self.step() {}
        self.take_events();
    }

    /// Lets time pass, with everything that happens in it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.run();
            let due = self.nodes.iter().filter_map(|node| node.replicator.poll_timeout()).min();
            match due.filter(|&due| due <= until) {
                Some(due) => {
                    assert!(due >= self.now || due + Duration::from_secs(1) > self.now, "stuck");
                    self.now = self.now.max(due);
                    for node in &mut self.nodes {
                        node.replicator.handle_timeout(self.now);
                    }
                }
                None => break,
            }
        }
        self.now = until;
    }

    fn take_bytes(&mut self, wire: usize, end: usize) -> Option<Bytes> {
        // One that does not want to read is not sent to, as with a full socket.
        let (far, far_id) = self.wires[wire].ends[1 - end];
        let far = &self.nodes[far].replicator;
        if !far.is_closed(far_id) && !far.wants_read(far_id) {
            return None;
        }
        let Wire { ends, single, .. } = &mut self.wires[wire];
        let (node, id) = ends[end];
        let Some(waiting) = single else { return self.nodes[node].replicator.poll_transmit(id) };
        while waiting[end].is_empty() {
            let frame = self.nodes[node].replicator.poll_transmit(id)?;
            waiting[end].extend(messages_of(&frame));
        }
        waiting[end].pop_front()
    }

    /// A connection that one side has closed ends on the other.
    fn carry_ends(&mut self) -> bool {
        let mut carried = false;
        for wire in &mut self.wires {
            for end in [0, 1] {
                let ((near, near_id), (far, far_id)) = (wire.ends[end], wire.ends[1 - end]);
                let is_closed = self.nodes[near].replicator.is_closed(near_id);
                if is_closed && !wire.is_deaf[end] && !self.nodes[far].replicator.is_closed(far_id)
                {
                    let far = &mut self.nodes[far].replicator;
                    far.handle_end(far_id, CloseReason::Remote, self.now);
                    carried = true;
                }
            }
        }
        carried
    }

    pub(crate) fn take_events(&mut self) {
        for node in &mut self.nodes {
            while let Some(event) = node.replicator.poll_event() {
                node.events.push(event);
            }
        }
    }
}

impl Node {
    /// How many of its events fit.
    pub(crate) fn count(&self, fits: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| fits(event)).count()
    }

    /// Panics if anything went wrong for it.
    pub(crate) fn assert_no_faults(&self) {
        let bad = |event: &&Event| {
            matches!(
                event,
                Event::Fault { .. } | Event::LogFailed { .. } | Event::ReadFailed { .. }
            )
        };
        assert!(self.events.iter().find(bad).is_none(), "{:?}", self.events.iter().find(bad));
    }
}

/// The messages of a frame (docs/spec/wire.md section 3.1), each in a frame of its own.
fn messages_of(frame: &Bytes) -> Vec<Bytes> {
    let Some(batch) = frame.strip_prefix(&[0, 0]) else { return vec![frame.clone()] };
    let mut messages = Vec::new();
    let mut reader = Reader::new(batch);
    let mut channel = reader.uint().unwrap();
    while let Ok(len) = reader.uint() {
        if len == 0 {
            channel = reader.uint().unwrap();
            continue;
        }
        let mut message = Vec::new();
        put_uint(&mut message, channel);
        message.extend_from_slice(reader.raw(len as usize).unwrap());
        messages.push(message.into());
    }
    messages
}

/// A log of our own with blocks `block-0`, `block-1`, ..
pub(crate) fn writer(seed: u8, blocks: u64) -> Log {
    let keys = KeyPair::from_seed([seed; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    append(&log, blocks);
    log
}

/// Appends that many blocks, in one commit.
pub(crate) fn append(log: &Log, count: u64) {
    let len = log.len();
    let blocks: Vec<Vec<u8>> = (len..len + count).map(block).collect();
    log.append(&blocks).unwrap();
}

/// What a block of [`writer`] holds.
pub(crate) fn block(seq: u64) -> Vec<u8> {
    format!("block-{seq}").into_bytes()
}

/// Joins two nodes and opens a log between them.
pub(crate) fn link(net: &mut Network, from: usize, to: usize, key: &LogKey) -> WireId {
    let wire = net.connect(from, to);
    let id = net.id(wire, from);
    net.nodes[from].replicator.offer(id, key);
    wire
}

/// Panics unless two logs have the same head, and the second one all its blocks.
pub(crate) fn assert_whole_copy(ours: &Log, theirs: &Log) {
    assert_eq!(theirs.head(), ours.head());
    assert_eq!(theirs.contiguous_len(), ours.len());
    for seq in 0..ours.len() {
        assert_eq!(theirs.get(seq).unwrap(), ours.get(seq).unwrap(), "block {seq}");
    }
}

/// An empty copy of somebody else's log.
pub(crate) fn replica(key: LogKey) -> Log {
    Log::create_replica(MemoryStorage::default(), key, LogOptions::default()).unwrap()
}

/// Panics unless a log holds exactly these blocks, with the right bytes.
pub(crate) fn assert_holds(log: &Log, blocks: impl IntoIterator<Item = u64>) {
    let held: Vec<u64> = log.held(0..u64::MAX).into_iter().flatten().collect();
    assert_eq!(held, blocks.into_iter().collect::<Vec<_>>());
    for seq in held {
        assert_eq!(log.get(seq).unwrap().as_deref(), Some(&block(seq)[..]), "block {seq}");
    }
}

/// Options with which each block is asked for alone, as it is of Hypercore.
fn one_by_one() -> ReplicatorOptions {
    ReplicatorOptions { ask_for_runs: false, ..ReplicatorOptions::default() }
}
