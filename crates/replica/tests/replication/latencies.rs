//! Three replicators, each joined to each, whose messages take time: virtual time, one seed for all that
//! happens.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::Log;
use multibee_replica::{
    CloseReason, ConnectionId, Event, Link, Replicator, ReplicatorOptions, Role,
};

use crate::network::{append, assert_whole_copy, replica, writer};

/// Who is joined to whom: a triangle.
const PAIRS: [(usize, usize); 3] = [(1, 0), (2, 0), (2, 1)];

/// Things that happen in one run, between which up to this long passes.
const ACTS: u32 = 80;
const PAUSE_MAX_MS: u64 = 150;

/// A run of everything.
struct Sim {
    nodes: [Replicator; 3],
    /// The writer's log, and two copies.
    logs: [Log; 3],
    wires: [Option<Wire>; 3],
    under_way: BinaryHeap<Reverse<Piece>>,
    start: Instant,
    now: Instant,
    random: u64,
    /// Pieces sent, joins made.
    sent: u64,
    joins: u64,
    /// What was delivered when.
    trace: DefaultHasher,
    /// The greatest number of a piece that was delivered, and how many came after a later one.
    newest: u64,
    overtaken: u64,
    faults: Vec<Event>,
}

struct Wire {
    /// Which join it is.
    join: u64,
    ends: [ConnectionId; 2],
    /// How long a piece takes from each end.
    latency: [Duration; 2],
    /// When the last one from each end arrives: a stream keeps its order.
    last: [Instant; 2],
}

/// What is under way on a wire from one of its ends, in the order of arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    at: Instant,
    number: u64,
    wire: usize,
    join: u64,
    from: usize,
    bytes: Bytes,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let ours = writer(1, 30);
        let logs = [ours.clone(), replica(ours.key()), replica(ours.key())];
        let options = ReplicatorOptions {
            ask_for_runs: seed.is_multiple_of(2),
            ..ReplicatorOptions::default()
        };
        let nodes = [1, 2, 3].map(|number| Replicator::new(options.clone(), [number; 32]));
        let start = Instant::now();
        let mut sim = Self {
            nodes,
            logs,
            wires: [const { None }; 3],
            under_way: BinaryHeap::new(),
            start,
            now: start,
            random: seed,
            sent: 0,
            joins: 0,
            trace: DefaultHasher::new(),
            newest: 0,
            overtaken: 0,
            faults: Vec::new(),
        };
        for (node, log) in sim.nodes.iter_mut().zip(&sim.logs) {
            node.add_log(log.clone());
            node.want_all(&log.key());
        }
        (0..3).for_each(|wire| sim.join(wire));
        sim
    }

    /// A number below the bound, by SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn join(&mut self, wire: usize) {
        if self.wires[wire].is_some() {
            return;
        }
        let (from, to) = PAIRS[wire];
        let near = self.nodes[from].connect_link(Link::noise(Role::Initiator), self.now);
        let far = self.nodes[to].connect_link(Link::noise(Role::Responder), self.now);
        self.nodes[from].offer(near, &self.logs[0].key());
        self.joins += 1;
        // From next door to the other side of the world; each direction takes its own time.
        let scale = [1, 20, 150][self.below(3) as usize];
        let latency = [(); 2].map(|()| Duration::from_micros(scale * (300 + self.below(1000))));
        let (join, last) = (self.joins, [self.now; 2]);
        self.wires[wire] = Some(Wire { join, ends: [near, far], latency, last });
    }

    fn lose(&mut self, wire: usize) {
        let Some(lost) = self.wires[wire].take() else { return };
        let (from, to) = PAIRS[wire];
        for (node, id) in [from, to].into_iter().zip(lost.ends) {
            self.nodes[node].handle_end(id, CloseReason::Remote, self.now);
        }
    }

    /// Lets time pass, with everything that happens in it.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..1_000_000 {
            self.send();
            let due = self.nodes.iter().filter_map(Replicator::poll_timeout).min();
            let arrival = self.under_way.peek().map(|Reverse(piece)| piece.at);
            let Some(next) = due.into_iter().chain(arrival).min().filter(|&next| next <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                self.deliver();
            } else {
                self.nodes.iter_mut().for_each(|node| node.handle_timeout(self.now));
            }
        }
        panic!("it spins");
    }

    /// Takes what all ends have to send.
    fn send(&mut self) {
        for (number, pair) in PAIRS.into_iter().enumerate() {
            for (from, node) in [pair.0, pair.1].into_iter().enumerate() {
                loop {
                    let jitter = Duration::from_micros(self.below(500));
                    let Some(wire) = &mut self.wires[number] else { break };
                    let Some(bytes) = self.nodes[node].poll_transmit(wire.ends[from]) else {
                        break;
                    };
                    let at = (self.now + wire.latency[from] + jitter).max(wire.last[from]);
                    wire.last[from] = at;
                    self.sent += 1;
                    let (join, number_sent) = (wire.join, self.sent);
                    let piece = Piece { at, number: number_sent, wire: number, join, from, bytes };
                    self.under_way.push(Reverse(piece));
                }
            }
        }
        for (number, node) in self.nodes.iter_mut().enumerate() {
            while let Some(event) = node.poll_event() {
                let is_fault = matches!(
                    event,
                    Event::Fault { .. }
                        | Event::LogFailed { .. }
                        | Event::ReadFailed { .. }
                        | Event::Conflict { .. }
                        | Event::WrittenElsewhere { .. }
                );
                (number, std::mem::discriminant(&event)).hash(&mut self.trace);
                self.faults.extend(is_fault.then_some(event));
            }
        }
    }

    fn deliver(&mut self) {
        let Some(Reverse(piece)) = self.under_way.pop() else { return };
        let Some(wire) = self.wires[piece.wire].as_ref() else { return };
        if wire.join != piece.join {
            return;
        }
        self.overtaken += u64::from(piece.number < self.newest);
        self.newest = self.newest.max(piece.number);
        let to = 1 - piece.from;
        let node = [PAIRS[piece.wire].0, PAIRS[piece.wire].1][to];
        (self.now - self.start, piece.wire, to, &piece.bytes).hash(&mut self.trace);
        self.nodes[node].handle_bytes(wire.ends[to], &piece.bytes, self.now);
    }

    /// One of the things that happen.
    fn act(&mut self) {
        let (ours, key) = (self.logs[0].clone(), self.logs[0].key());
        match self.below(12) {
            0..3 => append(&ours, 1 + self.below(5)),
            3 => append(&ours, 60 + self.below(60)),
            4 => {
                let to = self.below(ours.len() + 1);
                ours.truncate(to).unwrap();
                let blocks: Vec<String> =
                    (0..=self.below(20)).map(|n| format!("fork {} {n}", ours.fork())).collect();
                ours.append(&blocks).unwrap();
            }
            5 => {
                let copy = 1 + self.below(2) as usize;
                let start = self.below(ours.len());
                let blocks = start..start + 1 + self.below(30);
                self.logs[copy].clear(blocks.clone()).unwrap();
                self.nodes[copy].cleared(&key, blocks);
            }
            6 => {
                let reader = 1 + self.below(2) as usize;
                let start = self.below(ours.len() + 5);
                let priority = self.below(3);
                self.nodes[reader].want(&key, start..start + 3, priority);
            }
            7 | 8 => {
                let wire = self.below(3) as usize;
                self.lose(wire);
            }
            _ => {
                let wire = self.below(3) as usize;
                self.join(wire);
            }
        }
        self.nodes[0].log_changed(&key);
    }

    fn requests(&self) -> u64 {
        let key = self.logs[0].key();
        self.nodes.iter().map(|node| node.stats().logs[&key].requests_out).sum()
    }

    /// Everything that happens by one seed. Returns what was delivered, and how much overtook.
    fn run(seed: u64) -> (u64, u64) {
        let mut sim = Self::new(seed);
        for _ in 0..ACTS {
            let pause = sim.below(PAUSE_MAX_MS);
            sim.pass(Duration::from_millis(pause));
            sim.act();
        }
        // All are well again: once more something new, and each wants all.
        let key = sim.logs[0].key();
        append(&sim.logs[0], 1);
        sim.nodes[0].log_changed(&key);
        sim.nodes.iter_mut().for_each(|node| node.want_all(&key));
        (0..3).for_each(|wire| sim.join(wire));
        sim.pass(Duration::from_secs(20));
        assert!(sim.faults.is_empty(), "seed {seed}: {:?}", sim.faults);
        for (number, copy) in sim.logs.iter().enumerate() {
            assert_eq!(copy.head(), sim.logs[0].head(), "seed {seed}, node {number}");
            assert_whole_copy(&sim.logs[0], copy);
            let progress = sim.nodes[number].progress(&key);
            assert_eq!((progress.remaining, progress.in_flight), (0, 0), "seed {seed}");
        }
        let before = sim.requests();
        sim.pass(Duration::from_secs(300));
        assert_eq!(sim.requests(), before, "seed {seed}: something is asked for ever after");
        (sim.trace.finish(), sim.overtaken)
    }
}

/// Whatever the writer appends and cuts, whatever the copies drop and want, whichever connections are
/// lost and made anew, while each connection delivers at its own pace: 20 seconds after the last of it
/// both copies are equal to the log, nobody has been blamed, and nothing is asked for any more. One seed
/// gives one course of things; and messages of different connections do overtake each other.
#[test]
fn three_peers_become_equal_at_any_latency() {
    let mut overtaken = 0;
    for seed in 0..40 {
        let (trace, count) = Sim::run(seed);
        overtaken += count;
        if seed.is_multiple_of(10) {
            assert_eq!(Sim::run(seed).0, trace, "seed {seed} takes two courses");
        }
    }
    assert!(overtaken > 1000, "{overtaken} pieces were overtaken");
}
