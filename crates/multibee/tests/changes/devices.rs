//! Devices that write and meet, with a model of what a view shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use multibee::{
    ByHand, Dot, Durability, Entry, Home, KeyPair, Multibee, Options, RangeSpec, Role, Rule, View,
    WallClock,
};
use multibee_replica::{ConnectionId, Handshake, Link};
use proptest::prelude::*;

/// A wall clock that moves with each write.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl WallClock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Devices that know each other. All that they do happens within the calls made here.
pub(crate) struct Group {
    pub(crate) devices: Vec<Multibee>,
    hands: Vec<ByHand>,
    clock: Arc<TestClock>,
    number: u64,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put(usize, u8),
    Delete(usize, u8),
    /// A put, a delete and a count as one commit, the first two of one key perhaps.
    Batch(usize, u8, u8),
    Increment(usize),
    /// Chooses what is shown under the first keys.
    Rule(usize, u8),
    /// The time of day goes on, or back.
    Clock(i64),
    Meet(usize, usize),
}

pub(crate) fn steps(devices: usize) -> impl Strategy<Value = Vec<Step>> {
    let device = 0..devices;
    let key = 0..KEYS.len() as u8;
    let step = prop_oneof![
        6 => (device.clone(), key.clone()).prop_map(|(device, key)| Step::Put(device, key)),
        3 => (device.clone(), key.clone()).prop_map(|(device, key)| Step::Delete(device, key)),
        2 => (device.clone(), key.clone(), key)
            .prop_map(|(device, put, deleted)| Step::Batch(device, put, deleted)),
        1 => device.clone().prop_map(Step::Increment),
        1 => (device.clone(), 0..3_u8).prop_map(|(device, rule)| Step::Rule(device, rule)),
        1 => (-9..9_i64).prop_map(Step::Clock),
        4 => (device, 1..devices).prop_map(move |(one, by)| Step::Meet(one, (one + by) % devices)),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Keys on both sides of the reserved ones, and some that look like them.
pub(crate) const KEYS: [&[u8]; 8] =
    [b"", b"a", b"a/1", b"a/2", b"b", &[0xfe], &[0xff], &[0xff, b't', b'a']];

const STRATEGIES: [&str; 3] = ["last-writer", "delete-wins", "keep-all"];

impl Group {
    pub(crate) fn new(count: u8) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(1_700_000_000_000)));
        let device = |number: u8| {
            let options = Options {
                keys: Some(KeyPair::from_seed([number + 1; 32])),
                durability: Durability::Buffered,
                clock: clock.clone(),
                ..Options::default()
            };
            Multibee::create(Home::memory(), options).unwrap()
        };
        let devices: Vec<_> = (0..count).map(device).collect();
        for one in &devices {
            for other in devices.iter().filter(|other| other.key() != one.key()) {
                one.add_replica(other.key()).unwrap();
            }
        }
        let hands = devices.iter().map(|db| ByHand::take(db).unwrap()).collect();
        Self { devices, hands, clock, number: 0 }
    }

    pub(crate) fn move_clock(&self, by_ms: i64) {
        self.clock.0.store(self.clock.now_ms().saturating_add_signed(by_ms), Ordering::SeqCst);
    }

    /// Connects two devices until nobody has anything to say any more, and parts them.
    pub(crate) fn meet(&mut self, one: usize, other: usize) {
        let connect = |number: usize, role: Role| {
            let handshake = Handshake { hash: [7; 64], remote_static: [0; 32] };
            self.hands[number].connect_link(Link::framed(role, handshake), Instant::now())
        };
        let ends = [(one, connect(one, Role::Initiator)), (other, connect(other, Role::Responder))];
        self.settle(ends);
        let clocks = [one, other].map(|number| self.hands[number].clock().unwrap());
        assert!(clocks[0].same_lengths(&clocks[1]), "they have met: {clocks:?}");
        for (number, id) in ends {
            self.hands[number].close(id);
        }
        self.settle(ends);
    }

    fn settle(&mut self, [one, other]: [(usize, ConnectionId); 2]) {
        loop {
            let mut moved = self.hands.iter_mut().map(ByHand::take_in).sum::<usize>();
            for ((from, out), (to, into)) in [(one, other), (other, one)] {
                while let Some(frame) = self.hands[from].transmit(out) {
                    moved += 1;
                    self.hands[to].receive(into, &frame, Instant::now());
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    pub(crate) fn carry_out(&mut self, step: &Step) {
        self.clock.0.fetch_add(self.number % 3, Ordering::SeqCst);
        self.number += 1;
        let value = |device: usize| format!("{device} {}", self.number);
        match *step {
            Step::Put(device, key) => {
                self.devices[device].put(KEYS[key as usize], value(device)).unwrap();
            }
            Step::Delete(device, key) => {
                self.devices[device].del(KEYS[key as usize]).unwrap();
            }
            Step::Batch(device, put, deleted) => {
                let mut batch = self.devices[device].batch();
                batch.put(KEYS[put as usize], value(device)).del(KEYS[deleted as usize]);
                batch.increment("count", 1);
                batch.commit().unwrap();
            }
            Step::Increment(device) => {
                self.devices[device].increment("count", 1).unwrap();
            }
            Step::Rule(device, rule) => {
                let rule = Rule::strategy(STRATEGIES[rule as usize]);
                self.devices[device].set_rule("a", rule).unwrap();
            }
            Step::Clock(by) => self.move_clock(by),
            Step::Meet(one, other) => self.meet(one, other),
        }
    }
}

/// What a key shows, the block left out, and the writes that are in conflict.
pub(crate) type Shown = (Entry, Vec<Dot>);

/// All that a view shows.
pub(crate) fn contents(view: &View) -> BTreeMap<Bytes, Shown> {
    let entries = view.range(RangeSpec::default()).map(|entry| entry.unwrap());
    entries.map(|entry| (entry.key.clone(), shown(view, entry))).collect()
}

pub(crate) fn shown(view: &View, entry: Entry) -> Shown {
    let conflict = view.conflict(&entry.key).unwrap();
    let versions = conflict.map(|conflict| conflict.versions).unwrap_or_default();
    (Entry { seq: 0, ..entry }, versions.into_iter().map(|version| version.dot).collect())
}

/// The part of what is shown that lies in a range.
pub(crate) fn within(spec: &RangeSpec, key: &Bytes) -> bool {
    spec.gte.as_ref().is_none_or(|gte| key >= gte)
        && spec.gt.as_ref().is_none_or(|gt| key > gt)
        && spec.lt.as_ref().is_none_or(|lt| key < lt)
        && spec.lte.as_ref().is_none_or(|lte| key <= lte)
}

/// A range of keys, bounded by some of those that there are.
pub(crate) fn range() -> impl Strategy<Value = RangeSpec> {
    let bound = || proptest::option::of((0..KEYS.len(), any::<bool>()));
    (bound(), bound()).prop_map(|(lower, upper)| {
        let at = |bound: Option<(usize, bool)>, wanted: bool| {
            let (at, inclusive) = bound?;
            (inclusive == wanted).then(|| Bytes::from_static(KEYS[at]))
        };
        RangeSpec {
            gte: at(lower, true),
            gt: at(lower, false),
            lte: at(upper, true),
            lt: at(upper, false),
            ..RangeSpec::default()
        }
    })
}
