//! Spoilt streams: the handshake and what is encrypted after it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use multibee_log::Log;
use multibee_replica::{CloseReason, Event, ReplicatorOptions};

use crate::MEMORY;
use crate::case::{MEMORY_MAX, alone, one_by_one};
use crate::network::{Network, WireId, append, assert_whole_copy, replica, writer};
use crate::referee::told;

/// Pieces that each side sends of a sync, about; what is after them is not spoilt.
const PIECES: usize = 12;

/// Of these, how many belong to the handshake: nothing of a log is in them.
const HANDSHAKE_PIECES: usize = 4;

/// Node 0 copies a log from node 1 over an encrypted stream that somebody spoils. Beside it node 0 copies
/// another one from node 2, and node 2 copies the first one from node 1.
struct Triangle {
    net: Network,
    spoilt: WireId,
    /// The first log and its copies at nodes 0 and 2.
    first: [Log; 3],
    /// The other one and its copy.
    other: [Log; 2],
}

/// What has become of a spoilt stream: for each end, what was told of the other, and why it ended.
type Ends = [(Vec<String>, Option<CloseReason>); 2];

impl Triangle {
    fn new(is_another: bool) -> Self {
        let mut net = Network::with_options(3, &ReplicatorOptions::default());
        let (first, other) = (writer(1, 4), writer(2, 4));
        let first = [first.clone(), replica(first.key()), replica(first.key())];
        let other = [other.clone(), replica(other.key())];
        for (node, log) in
            [(1, &first[0]), (0, &first[1]), (2, &first[2]), (2, &other[0]), (0, &other[1])]
        {
            net.nodes[node].replicator.add_log(log.clone());
            net.nodes[node].replicator.want_all(&log.key());
        }
        if is_another {
            // Ephemeral keys are those of another connection then.
            let unused = net.connect(0, 1);
            net.cut(unused);
        }
        let spoilt = net.connect(0, 1);
        let mut triangle = Self { net, spoilt, first, other };
        for (from, to) in [(0, 2), (2, 1)] {
            let wire = triangle.net.connect_framed(from, to);
            let log = if to == 2 { &triangle.other[0] } else { &triangle.first[0] };
            let id = triangle.net.id(wire, from);
            triangle.net.nodes[from].replicator.offer(id, &log.key());
        }
        triangle.offer(spoilt);
        triangle
    }

    fn offer(&mut self, wire: WireId) {
        let id = self.net.id(wire, 0);
        self.net.nodes[0].replicator.offer(id, &self.first[0].key());
    }

    /// Lets 150 seconds pass in which both logs grow, and only the spoilt stream may not bring it.
    fn run(&mut self) {
        for _ in 0..15 {
            self.net.pass(Duration::from_secs(10));
            for (node, log) in [(1, &self.first[0]), (2, &self.other[0])] {
                append(log, 1);
                self.net.nodes[node].replicator.log_changed(&log.key());
            }
            self.net.run();
            assert_whole_copy(&self.other[0], &self.other[1]);
            assert_whole_copy(&self.first[0], &self.first[2]);
        }
    }

    /// What has become of the spoilt stream. Nobody else is named, and the log that it was for comes
    /// over a new one.
    fn finish(mut self) -> Ends {
        let ids = [0, 1].map(|node| self.net.id(self.spoilt, node));
        let mut ends = Ends::default();
        for (node, id) in
            self.net.nodes.iter().zip(ids).zip(&mut ends).map(|((n, i), e)| ((n, e), i))
        {
            let (node, (faults, reason)) = node;
            for event in &node.events {
                match event {
                    Event::Fault { id: of, fault, .. } if *of == id => faults.push(told(fault)),
                    Event::Closed { id: of, reason: why } if *of == id => *reason = Some(*why),
                    Event::Fault { .. } | Event::LogFailed { .. } | Event::Conflict { .. } => {
                        panic!("somebody else is named: {event:?}")
                    }
                    _ => {}
                }
            }
        }
        self.net.nodes[2].assert_no_faults();
        let copied = self.first[1].held(0..u64::MAX).into_iter().flatten();
        copied.for_each(|seq| {
            assert_eq!(self.first[1].get(seq).unwrap(), self.first[0].get(seq).unwrap())
        });
        self.net.cut(self.spoilt);
        let wire = self.net.connect_framed(0, 1);
        self.offer(wire);
        self.net.run();
        assert_whole_copy(&self.first[0], &self.first[1]);
        ends
    }
}

/// All pieces of a stream that nobody spoils.
fn pieces(is_another: bool) -> Vec<Bytes> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let mut triangle = Triangle::new(is_another);
    let heard = Rc::clone(&all);
    let listen = move |_, piece: Bytes| {
        heard.borrow_mut().push(piece.clone());
        vec![piece]
    };
    triangle.net.spoil(triangle.spoilt, Box::new(listen));
    triangle.run();
    assert_whole_copy(&triangle.first[0], &triangle.first[1]);
    assert_eq!(triangle.finish(), Ends::default(), "an honest stream goes on");
    all.take()
}

/// What may be done to one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Flipped,
    Lost,
    Twice,
    Replaced,
    Cut,
    Reflected,
    Late,
}

const WAYS: [(Way, &str); 7] = [
    (Way::Flipped, "flipped at every byte"),
    (Way::Lost, "lost"),
    (Way::Twice, "sent twice"),
    (Way::Replaced, "replaced by one of another connection"),
    (Way::Cut, "cut"),
    (Way::Reflected, "replaced by the one before"),
    (Way::Late, "late"),
];

pub(crate) fn names() -> Vec<String> {
    let ways = WAYS.iter().flat_map(|(_, way)| (0..PIECES).map(move |piece| (way, piece)));
    ways.map(|(way, piece)| format!("piece {piece} of a stream {way}")).collect()
}

/// A stream of which one piece was spoilt.
#[derive(Debug)]
struct Spoilt {
    ends: Ends,
    /// The node that was to hear the piece, and the blocks that the copy had then.
    heard_by: usize,
    before: u64,
    /// The blocks that the copy had in the end.
    after: u64,
}

/// Spoils one piece of a stream.
fn spoil(way: Way, which: usize, byte: usize, own: &[Bytes], other: &[Bytes]) -> Spoilt {
    let mut triangle = Triangle::new(false);
    let copy = triangle.first[1].clone();
    let heard = Rc::new(Cell::new((0, 0)));
    let (mut at, mut held) = (0, Vec::new());
    let (own, other) = (own.to_vec(), other.to_vec());
    let hears = Rc::clone(&heard);
    let act = move |end: usize, piece: Bytes| {
        at += 1;
        if at != which + 1 {
            return [vec![piece], std::mem::take(&mut held)].concat();
        }
        hears.set((1 - end, copy.contiguous_len()));
        match way {
            Way::Flipped => {
                let mut piece = piece.to_vec();
                piece[byte] ^= 1 << (byte % 8);
                vec![piece.into()]
            }
            Way::Lost => Vec::new(),
            Way::Twice => vec![piece.clone(), piece],
            Way::Replaced => vec![other[which].clone()],
            Way::Cut => vec![piece.slice(..piece.len() / 2)],
            Way::Reflected => vec![own[which.saturating_sub(1)].clone()],
            Way::Late => {
                held.push(piece);
                Vec::new()
            }
        }
    };
    triangle.net.spoil(triangle.spoilt, Box::new(act));
    triangle.run();
    let after = triangle.first[1].contiguous_len();
    let (heard_by, before) = heard.get();
    Spoilt { ends: triangle.finish(), heard_by, before, after }
}

/// What the transport may say of a spoilt stream.
const FAULTS: [&str; 6] = [
    "the handshake does not authenticate",
    "header frame of",
    "wrong stream id",
    "message authentication failed",
    "encrypted message of",
    "frame of",
];

/// Whatever happens to a piece of an encrypted stream, from the first of the handshake on: one of its ends
/// hangs up, with a fault that names the connection, or for what it waits for in vain; but for a frame
/// whose length is changed, which nobody can know before it is full, and a piece that is only late, which
/// the handshake may allow. A stream of another connection is no better than noise. Nothing is taken
/// after the first change; and beside it, at both ends, all goes on.
#[test]
fn no_spoilt_stream_goes_on() {
    let _alone = alone();
    let (own, other) = (pieces(false), pieces(true));
    assert!(own.len() >= PIECES, "{} pieces", own.len());
    let names = names();
    let cases = names.iter().enumerate().map(|(number, name)| {
        let ((way, _), which) = (WAYS[number / PIECES], number % PIECES);
        let (own, other) = (&own, &other);
        (name.as_str(), move || {
            let inputs = if way == Way::Flipped { own[which].len() } else { 1 };
            for byte in 0..inputs {
                let before = MEMORY.current_usage();
                MEMORY.reset_peak_usage();
                let spoilt = spoil(way, which, byte, own, other);
                let growth = MEMORY.peak_usage().saturating_sub(before);
                assert!(growth <= MEMORY_MAX, "byte {byte}: {growth} bytes of memory");
                judge(way, which, byte, &spoilt);
            }
        })
    });
    let failed = one_by_one(cases);
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

fn judge(way: Way, which: usize, byte: usize, spoilt: &Spoilt) {
    let Spoilt { ends, heard_by, before, after } = spoilt;
    // A frame that says it is longer than it is swallows what follows, until it is full.
    let is_longer = way == Way::Flipped && byte < 3;
    let is_same = way == Way::Reflected && which == 0;
    for (faults, reason) in ends {
        let is_known = |fault: &String| {
            FAULTS.iter().any(|known| fault.starts_with(known))
                || is_longer && fault.starts_with("no answer to 4 rounds")
        };
        assert!(faults.iter().all(is_known), "byte {byte}: {spoilt:?}");
        assert_eq!(
            faults.len() == 1,
            *reason == Some(CloseReason::Fault),
            "byte {byte}: {spoilt:?}"
        );
    }
    let is_noticed = ends.iter().any(|(_, reason)| match reason {
        Some(CloseReason::Fault | CloseReason::HandshakeTimeout | CloseReason::Silence) => true,
        Some(_) | None => false,
    });
    assert!(is_noticed || is_same || is_longer || way == Way::Late, "byte {byte}: {spoilt:?}");
    if which >= HANDSHAKE_PIECES && !is_longer {
        // What is encrypted and changed is told by who hears it; and what is late, by who hears it
        // together with the next piece, wherever that goes.
        let is_named = |end: usize| !ends[end].0.is_empty();
        let is_told = is_named(*heard_by) || way == Way::Late && is_named(1 - *heard_by);
        assert!(is_told, "byte {byte}: {spoilt:?}");
    }
    if *heard_by == 0 && is_noticed {
        // The first of two equal pieces is right.
        let allowed = if way == Way::Twice { (*before).max(4) } else { *before };
        assert!(*after <= allowed, "byte {byte}: {spoilt:?}");
    }
}
