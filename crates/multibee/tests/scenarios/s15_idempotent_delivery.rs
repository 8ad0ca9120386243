//! S15: messages that arrive twice, or once more after a restart, change nothing.

use std::time::Instant;

use bytes::Bytes;
use multibee::{ByHand, Conflict, Home, KeyPair, Multibee, Options, Role};
use multibee_log::compact::{Reader, put_uint};
use multibee_replica::{ConnectionId, Handshake, Link};
use tempfile::TempDir;

use crate::devices::{Kind, TestClock, check_same, contents, options};
use crate::scenario;

/// Three devices on links that keep messages apart and leave them readable, so that any of them can
/// be delivered again. Nothing runs but what a test calls.
struct Bench {
    homes: [Home; 3],
    clock: std::sync::Arc<TestClock>,
    devices: Vec<(Multibee, ByHand)>,
    copies: usize,
    /// The messages that device 0 has sent to device 1.
    recorded: Vec<Bytes>,
    _dir: TempDir,
}

/// The ends of a link: device, connection, and device, connection.
type Ends = [(usize, ConnectionId); 2];

impl Bench {
    /// Each message is delivered so many times.
    fn new(kind: Kind, copies: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let homes = [0, 1, 2].map(|number: u8| match kind {
            Kind::Memory => Home::memory(),
            Kind::Disk => Home::dir(dir.path().join(number.to_string())),
        });
        let clock = std::sync::Arc::new(TestClock::new());
        let create = |(number, home): (u8, &Home)| {
            let keys = Some(KeyPair::from_seed([number + 1; 32]));
            let db = Multibee::create(home.clone(), Options { keys, ..options(&clock) }).unwrap();
            let hand = ByHand::take(&db).unwrap();
            (db, hand)
        };
        let devices: Vec<_> = (0..).zip(&homes).map(create).collect();
        for (one, _) in &devices {
            for (other, _) in devices.iter().filter(|(other, _)| other.key() != one.key()) {
                one.add_replica(other.key()).unwrap();
            }
        }
        Self { homes, clock, devices, copies, recorded: Vec::new(), _dir: dir }
    }

    fn db(&self, number: usize) -> &Multibee {
        &self.devices[number].0
    }

    fn restart(&mut self, number: usize) {
        drop(self.devices.remove(number));
        let db = Multibee::open(self.homes[number].clone(), options(&self.clock)).unwrap();
        let hand = ByHand::take(&db).unwrap();
        self.devices.insert(number, (db, hand));
    }

    fn connect(&self, number: usize, role: Role) -> ConnectionId {
        // The same at both ends and for each connection: whatever was recorded fits another time.
        let handshake = Handshake { hash: [7; 64], remote_static: [0; 32] };
        self.devices[number].1.connect_link(Link::framed(role, handshake), Instant::now())
    }

    fn link(&self, one: usize, other: usize) -> Ends {
        [(one, self.connect(one, Role::Initiator)), (other, self.connect(other, Role::Responder))]
    }

    /// Carries messages over these links until nobody has anything to say.
    fn settle(&mut self, links: &[Ends]) {
        let ways: Vec<_> =
            links.iter().flat_map(|&[one, other]| [(one, other), (other, one)]).collect();
        loop {
            let mut moved = self.devices.iter_mut().map(|(_, hand)| hand.take_in()).sum::<usize>();
            for &((from, out), (to, into)) in &ways {
                while let Some(frame) = self.devices[from].1.transmit(out) {
                    moved += 1;
                    for message in messages(&frame) {
                        let copies = if is_control(&message) { 1 } else { self.copies };
                        (0..copies).for_each(|_| self.deliver(to, into, &message));
                        if (from, to) == (0, 1) {
                            self.recorded.push(message);
                        }
                    }
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn deliver(&mut self, to: usize, id: ConnectionId, message: &Bytes) {
        let hand = &mut self.devices[to].1;
        hand.receive(id, message, Instant::now());
        hand.take_in();
    }

    fn part(&self, links: Vec<Ends>) {
        for (number, id) in links.into_iter().flatten() {
            self.devices[number].1.close(id);
        }
    }

    /// What each device shows, and how many blocks it has written.
    fn outcome(&self) -> Vec<Outcome> {
        let of = |(db, _): &(Multibee, ByHand)| {
            (contents(db), db.conflicts().unwrap(), db.status().unwrap().length)
        };
        self.devices.iter().map(of).collect()
    }

    fn lengths(&self) -> Vec<u64> {
        self.outcome().into_iter().map(|(.., length)| length).collect()
    }
}

type Outcome = (Vec<(Bytes, Bytes)>, Vec<Conflict>, u64);

/// The single messages of a frame, which may be a batch: each as a frame of its own.
fn messages(frame: &Bytes) -> Vec<Bytes> {
    let mut reader = Reader::new(frame);
    let start = [reader.uint().unwrap(), reader.uint().unwrap()];
    if start != [CONTROL, BATCH] {
        return vec![frame.clone()];
    }
    // The channel, then for each message its length, its type and what it says. A length of 0 goes
    // before another channel.
    let (mut messages, mut channel) = (Vec::new(), reader.uint().unwrap());
    let mut rest = reader.rest();
    while !rest.is_empty() {
        let mut reader = Reader::new(rest);
        let len = usize::try_from(reader.uint().unwrap()).unwrap();
        if len == 0 {
            channel = reader.uint().unwrap();
            rest = reader.rest();
        } else {
            let (message, behind) = reader.rest().split_at(len);
            let mut single = Vec::new();
            put_uint(&mut single, channel);
            single.extend_from_slice(message);
            messages.push(single.into());
            rest = behind;
        }
    }
    messages
}

/// Whether a message opens, rejects or closes a channel: such a one belongs to the connection rather
/// than to what is said on it, and a second one breaks its rules.
fn is_control(message: &Bytes) -> bool {
    Reader::new(message).uint().unwrap() == CONTROL
}

/// The number of the channel that opens others, and of the message on it that holds several.
const CONTROL: u64 = 0;
const BATCH: u64 = 0;

/// Writes on all devices while they are apart, and some more while they are in touch.
fn story(kind: Kind, copies: usize) -> Bench {
    let mut bench = Bench::new(kind, copies);
    for number in 0..3 {
        let db = bench.db(number).clone();
        for i in 0..40 {
            db.put(format!("{number}/{i}"), "value").unwrap();
        }
        db.put("same", format!("by {number}")).unwrap();
        let mut batch = db.batch();
        batch.put(format!("batch/{number}"), "1").del(format!("{number}/7"));
        batch.commit().unwrap();
    }
    let links = vec![bench.link(0, 1), bench.link(1, 2)];
    bench.settle(&links);
    bench.db(0).put("late", "1").unwrap();
    bench.db(2).put("same", "settled").unwrap();
    bench.settle(&links);
    bench.part(links);
    bench
}

/// Every message twice, and then, after a restart, any beginning of the old conversation once more:
/// data, conflicts and the lengths of all logs are those of the run with single messages.
async fn run(kind: Kind) {
    let single = story(kind, 1).outcome();
    let mut bench = story(kind, 2);
    assert!(bench.outcome() == single);
    check_same(&[bench.db(0), bench.db(1), bench.db(2)]);
    assert_eq!(single[0].0.len(), 122, "everything has arrived");

    let doubled = bench.recorded.iter().filter(|message| !is_control(message)).count();
    assert!(doubled > 5, "only {doubled} messages came twice");
    let recorded = std::mem::take(&mut bench.recorded);
    let before = bench.lengths();
    let mut believed = 0;
    for part in 1..=10 {
        bench.restart(1);
        let id = bench.connect(1, Role::Responder);
        // A prime to the count of them: beginnings of all lengths, in no order.
        for message in recorded.iter().take(recorded.len() * (part * 7 % 10 + 1) / 10) {
            bench.deliver(1, id, message);
        }
        let devices = bench.db(1).devices().unwrap();
        believed += devices.iter().filter(|device| device.connected).count();
        assert_eq!(bench.lengths(), before, "a replayed message wrote something");
        assert!(bench.outcome() == single);
    }
    assert!(believed > 0, "the longer ones are taken for the real thing");
}

scenario!(s15_idempotent_delivery, run);
