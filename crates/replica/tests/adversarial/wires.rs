//! Spoilt streams: the handshake and what is encrypted after it.

use std::time::Duration;

use bytes::Bytes;
use multibee_replica::{
    CloseReason, ConnectionId, Event, Link, Replicator, ReplicatorOptions, Role,
};

use crate::case::{alone, one_by_one};
use crate::network::{replica, writer};

/// Pieces that each side sends of a sync, about; what is after them is not spoilt.
const PIECES: usize = 12;

/// Two replicators and their encrypted stream, of which every piece may be spoilt.
struct Pair {
    ends: [(Replicator, ConnectionId); 2],
    now: std::time::Instant,
    sent: usize,
}

impl Pair {
    fn new(seed: u8) -> Self {
        let (log, now) = (writer(1, 4), std::time::Instant::now());
        let logs = [log.clone(), replica(log.key())];
        let roles = [Role::Initiator, Role::Responder];
        let mut seeds = seed..;
        let ends = [0, 1].map(|end: usize| {
            let seed = [seeds.next().unwrap(); 32];
            let mut replicator = Replicator::new(ReplicatorOptions::default(), seed);
            replicator.add_log(logs[end].clone());
            replicator.want_all(&log.key());
            let id = replicator.connect_link(Link::noise(roles[end]), now);
            replicator.offer(id, &log.key());
            (replicator, id)
        });
        Self { ends, now, sent: 0 }
    }

    /// Carries pieces as `spoil` makes others of them, until both sides have nothing to say; then 70
    /// seconds pass. Returns why each side has closed.
    fn run(&mut self, spoil: impl Fn(usize, Bytes) -> Vec<Bytes>) -> [Option<CloseReason>; 2] {
        for _ in 0..30 {
            for _ in 0..1000 {
                let next = [0, 1].into_iter().find_map(|end| {
                    let (replicator, id) = &mut self.ends[end];
                    Some((end, replicator.poll_transmit(*id)?))
                });
                let Some((from, piece)) = next else { break };
                let (to, id) = &mut self.ends[1 - from];
                for piece in spoil(self.sent, piece) {
                    to.handle_bytes(*id, &piece, self.now);
                }
                self.sent += 1;
            }
            self.now += Duration::from_secs(5);
            let now = self.now;
            self.ends.iter_mut().for_each(|(replicator, _)| replicator.handle_timeout(now));
        }
        self.ends.each_mut().map(|(replicator, _)| {
            let events: Vec<Event> = std::iter::from_fn(|| replicator.poll_event()).collect();
            let is_named = events.iter().any(|event| matches!(event, Event::Fault { .. }));
            let reason = events.iter().find_map(|event| match event {
                Event::Closed { reason, .. } => Some(*reason),
                _ => None,
            });
            assert!(reason != Some(CloseReason::Fault) || is_named, "nobody is named");
            reason
        })
    }
}

/// All pieces of a stream that nobody spoils.
fn pieces(seed: u8) -> Vec<Bytes> {
    let all = std::cell::RefCell::new(Vec::new());
    let reasons = Pair::new(seed).run(|_, piece| {
        all.borrow_mut().push(piece.clone());
        vec![piece]
    });
    assert_eq!(reasons, [None; 2]);
    all.into_inner()
}

/// What may be done to one piece.
const WAYS: [&str; 7] =
    ["flipped at every byte", "lost", "sent twice", "replaced", "cut", "reflected", "late"];

pub(crate) fn names() -> Vec<String> {
    let ways = WAYS.iter().flat_map(|way| (0..PIECES).map(move |piece| (way, piece)));
    ways.map(|(way, piece)| format!("piece {piece} of a stream {way}")).collect()
}

/// Whatever happens to a piece of an encrypted stream, from the first of the handshake on: the one who
/// hears it hangs up, with a fault that names the connection, or for what it waits for in vain; but for
/// a frame whose length is changed, which nobody can know before it is full, and a piece that is only
/// late, which the handshake may allow. A stream of another connection is no better than noise.
#[test]
fn no_spoilt_stream_goes_on() {
    let _alone = alone();
    let (own, other) = (pieces(1), pieces(3));
    assert!(own.len() >= PIECES, "{} pieces", own.len());
    let names = names();
    let cases = names.iter().enumerate().map(|(number, name)| {
        let (way, which) = (number / PIECES, number % PIECES);
        let (own, other) = (&own, &other);
        (name.as_str(), move || {
            let inputs = if way == 0 { own[which].len() } else { 1 };
            for byte in 0..inputs {
                let held = std::cell::RefCell::new(Vec::new());
                let reasons = Pair::new(1).run(|at, piece| {
                    let is_spoilt = at == which;
                    if !is_spoilt {
                        return [vec![piece], held.take()].concat();
                    }
                    match way {
                        0 => {
                            let mut piece = piece.to_vec();
                            piece[byte] ^= 1 << (byte % 8);
                            vec![piece.into()]
                        }
                        1 => Vec::new(),
                        2 => vec![piece.clone(), piece],
                        3 => vec![other[which].clone()],
                        4 => vec![piece.slice(..piece.len() / 2)],
                        5 => vec![own[which.saturating_sub(1)].clone()],
                        _ => {
                            held.borrow_mut().push(piece);
                            Vec::new()
                        }
                    }
                });
                let is_closed = reasons.iter().any(Option::is_some);
                let is_first_again = way == 5 && which == 0;
                // A frame that says it is longer than it is swallows what follows, until it is full.
                let is_longer = way == 0 && byte < 3;
                assert!(
                    is_closed || is_first_again || is_longer || way == 6,
                    "byte {byte}: it goes on"
                );
            }
        })
    });
    let failed = one_by_one(cases);
    assert!(failed.is_empty(), "failed: {failed:#?}");
}
