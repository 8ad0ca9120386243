//! Absorbing gives what following gives, whatever came before, and however it is cut to pieces.

use std::collections::BTreeMap;
use std::sync::Arc;

use multibee_btree::{Bee, BeeOptions};
use multibee_log::{
    KeyPair, Log, LogOptions, MemoryStorage, Request, RequestBlock, RequestUpgrade,
};
use multibee_merge::Strategies;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::edit::Edit;
use crate::follow::{Follower, Step};
use crate::op::Op;
use crate::primary::Primary;
use crate::rules::Rule;
use crate::view::{RangeSpec, View};

/// From here on rules are written, not users' keys.
const RULES: u8 = 240;

/// A device, and what it has of the others' logs, sparsely.
struct Device {
    storage: MemoryStorage,
    primary: Primary,
    replicas: BTreeMap<usize, Bee>,
}

impl Device {
    fn new(seed: u8) -> Self {
        let storage = MemoryStorage::default();
        let keys = KeyPair::from_seed([seed + 1; 32]);
        let log = Log::create(storage.clone(), keys, LogOptions::default()).unwrap();
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        bee.create_header().unwrap();
        let primary = Primary::open(bee, Arc::default(), 0).unwrap();
        Self { storage, primary, replicas: BTreeMap::new() }
    }

    /// Ends without a word and starts anew on what is stored.
    fn restart(&mut self) {
        let (clock, ahead) = (self.primary.clock().clone(), self.primary.ahead().clone());
        let log = Log::open(self.storage.clone(), LogOptions::default()).unwrap();
        self.primary =
            Primary::open(Bee::open(log, BeeOptions::default()).unwrap(), Arc::default(), 0)
                .unwrap();
        assert_eq!((self.primary.clock(), self.primary.ahead()), (&clock, &ahead));
    }

    fn write(&mut self, key: u8, value: Option<u8>) {
        let rule = key.checked_sub(RULES).map(|number| Self::rule(number, value));
        let op = rule.unwrap_or_else(|| Self::change(key, value));
        self.primary.write(&[op], &[], 0).unwrap();
    }

    /// A rule for all keys, or for one of them.
    fn rule(number: u8, value: Option<u8>) -> Op {
        let prefix = if number == 0 { Bytes::new() } else { Bytes::from(vec![number]) };
        let names = [Strategies::LAST_WRITER, Strategies::DELETE_WINS, Strategies::KEEP_ALL];
        let rule = value.map(|value| Rule::strategy(names[usize::from(value) % names.len()]));
        Op::Rule { prefix, rule }
    }

    /// A put, a sum, or a delete.
    fn change(key: u8, value: Option<u8>) -> Op {
        let key = Bytes::from(vec![key]);
        match value {
            Some(value) if value % 4 == 0 => Op::Edit { key, edit: Edit::Add(i64::from(value)) },
            Some(value) => Op::Put { key, kind: None, value: value.to_string().into() },
            None => Op::Delete { key },
        }
    }

    fn view(&self) -> View {
        View::new(self.primary.bee().snapshot().unwrap(), self.primary.device(), Arc::default())
    }

    fn contents(&self) -> Vec<(Bytes, Bytes, DeviceId)> {
        let entries = self.view().range(RangeSpec::default());
        entries.map(|e| e.unwrap()).map(|e| (e.key, e.value, e.device)).collect()
    }

    /// What the commits say is what a full scan finds.
    fn check(&self) {
        assert_eq!(self.view().scan().unwrap().digest, self.primary.digest());
    }
}

struct World {
    devices: Vec<Device>,
}

impl World {
    fn new(count: u8) -> Self {
        Self { devices: (0..count).map(Device::new).collect() }
    }

    fn follow(&mut self, reader: usize, author: usize) {
        let bee = self.devices[author].primary.bee().clone();
        let mut follower = Follower::new(bee.clone());
        let primary = &mut self.devices[reader].primary;
        loop {
            let applied = primary.clock().length(follower.device());
            match follower.next(applied, bee.log().len(), u64::MAX).unwrap() {
                Step::Idle => return,
                Step::Ready(news) => {
                    primary.merge(&[news], 0).unwrap();
                }
                Step::Need(_) => panic!("all of it is here"),
            }
        }
    }

    /// An absorb of one device's newest version, over a replica that knows its head.
    fn absorb(&mut self, reader: usize, author: usize, budget: Option<u64>) -> Option<Absorb> {
        let from = self.devices[author].primary.log().clone();
        let version = from.len();
        if version < 2 || reader == author {
            return None;
        }
        let device = &mut self.devices[reader];
        let bee = device.replicas.entry(author).or_insert_with(|| {
            let log =
                Log::create_replica(MemoryStorage::default(), from.key(), LogOptions::default());
            Bee::open(log.unwrap(), BeeOptions::default()).unwrap()
        });
        let head = bee.log().len();
        if head < version {
            let upgrade = Some(RequestUpgrade { start: head, length: version - head });
            let request = Request { upgrade, manifest: true, ..Request::default() };
            bee.log().apply(&from.prove(&request).unwrap()).unwrap();
        }
        let applied = device.primary.clock().length(device_of(&from.key()));
        let mut absorb =
            Absorb::new(bee.clone(), Origin::Device, version, vec![applied, head], budget);
        absorb.batch_keys_max = 3;
        Some(absorb)
    }

    /// Takes one step; returns how it went and whether it was the last.
    fn step(&mut self, reader: usize, author: usize, absorb: &mut Absorb) -> Option<Batch> {
        for _ in 0..10_000 {
            let device = &mut self.devices[reader];
            let clock = device.primary.whole_clock().unwrap();
            let ours =
                Ours { clock: &clock, bee: device.primary.bee(), device: device.primary.device() };
            let step = absorb.next(&ours).unwrap();
            match step {
                AbsorbStep::Target(_) => {}
                AbsorbStep::Need(ranges) => {
                    let from = self.devices[author].primary.log();
                    ranges.into_iter().for_each(|range| give(from, absorb.log.bee.log(), range));
                }
                AbsorbStep::Ready(batch) => {
                    device.primary.absorb(&batch, 0, |_| None).unwrap();
                    return Some(batch);
                }
                AbsorbStep::Done => return None,
                AbsorbStep::TooFar => panic!("no budget was set"),
            }
        }
        panic!("absorbing does not end");
    }

    fn absorb_all(&mut self, reader: usize, author: usize) {
        let Some(mut absorb) = self.absorb(reader, author, None) else { return };
        while self.step(reader, author, &mut absorb).is_some() {}
    }

    /// Everybody follows everybody, and a fresh device too: all have to hold what that one holds.
    fn check_all(&mut self) {
        let count = self.devices.len();
        for reader in 0..count {
            (0..count).filter(|author| *author != reader).for_each(|a| self.follow(reader, a));
        }
        self.devices.push(Device::new(99));
        (0..count).for_each(|author| self.follow(count, author));
        let fresh = self.devices.pop().unwrap();
        for device in &self.devices {
            device.check();
            assert!(device.primary.ahead().is_empty(), "everything is covered in the end");
            assert_eq!(device.contents(), fresh.contents());
            assert_eq!(device.primary.digest(), fresh.primary.digest());
            assert_eq!(device.view().conflicts().unwrap(), fresh.view().conflicts().unwrap());
            assert_eq!(device.primary.rules(), fresh.primary.rules());
        }
    }
}

fn give(from: &Log, to: &Log, blocks: Range<u64>) {
    for index in blocks {
        let nodes = to.missing_nodes(2 * index).unwrap();
        let block = Some(RequestBlock { index, nodes });
        to.apply(&from.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write {
        device: usize,
        key: u8,
        value: Option<u8>,
    },
    Follow {
        reader: usize,
        author: usize,
    },
    Absorb {
        reader: usize,
        author: usize,
    },
    /// Begins an absorb, joins some batches with writes and restarts in between, and leaves it.
    Begin {
        reader: usize,
        author: usize,
        batches: usize,
        writes: Vec<(u8, Option<u8>)>,
        crash: bool,
    },
}

const DEVICES: usize = 4;

fn act() -> impl Strategy<Value = Act> {
    let device = || 0..DEVICES;
    let key = || prop_oneof![6 => 0..12_u8, 1 => RULES..RULES + 4];
    let change = || (key(), proptest::option::weighted(0.7, any::<u8>()));
    prop_oneof![
        6 => (device(), change())
            .prop_map(|(device, (key, value))| Act::Write { device, key, value }),
        3 => (device(), device())
            .prop_filter("two devices", |(a, b)| a != b)
            .prop_map(|(reader, author)| Act::Follow { reader, author }),
        1 => (device(), device()).prop_map(|(reader, author)| Act::Absorb { reader, author }),
        1 => (device(), device(), 0..4_usize, vec(change(), 0..4), any::<bool>()).prop_map(
            |(reader, author, batches, writes, crash)| {
                Act::Begin { reader, author, batches, writes, crash }
            }
        ),
    ]
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Write { device, key, value } => world.devices[device].write(key, value),
        Act::Follow { reader, author } => world.follow(reader, author),
        Act::Absorb { reader, author } => world.absorb_all(reader, author),
        Act::Begin { reader, author, batches, writes, crash } => {
            let Some(mut absorb) = world.absorb(reader, author, None) else { return };
            let mut writes = writes.into_iter();
            for _ in 0..batches {
                let before = world.devices[reader].primary.clock().clone();
                let Some(batch) = world.step(reader, author, &mut absorb) else { return };
                if !batch.is_last {
                    assert_eq!(world.devices[reader].primary.clock(), &before);
                }
                if let Some((key, value)) = writes.next() {
                    world.devices[reader].write(key, value);
                }
                if crash {
                    world.devices[reader].restart();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is written, ruled, followed, absorbed as a whole or in part, in whichever order: once all
    /// clocks are equal, all devices hold what one holds that only ever followed.
    #[test]
    fn absorbing_gives_what_following_gives(acts in vec(act(), 1..60)) {
        let mut world = World::new(4);
        for act in acts {
            perform(&mut world, act);
            world.devices.iter().for_each(Device::check);
        }
        world.check_all();
    }
}

/// Absorbing what is known writes nothing.
#[test]
fn absorbing_twice_changes_nothing() {
    let mut world = World::new(2);
    (0..20).for_each(|key| world.devices[0].write(key, Some(1)));
    (0..5).for_each(|key| world.devices[0].write(key, None));
    world.absorb_all(1, 0);
    let (length, digest) =
        (world.devices[1].primary.log().len(), world.devices[1].primary.digest());
    assert_eq!(digest, world.devices[0].primary.digest());
    world.absorb_all(1, 0);
    assert_eq!(world.devices[1].primary.log().len(), length);
    assert_eq!(world.devices[1].primary.digest(), digest);
}

/// Of a long history, only the live data is read; of a short difference, only that.
#[test]
fn the_work_is_bounded_by_the_difference() {
    let mut world = World::new(2);
    for round in 0..50 {
        (0..40).for_each(|key| world.devices[0].write(key, Some(round)));
    }
    world.absorb_all(1, 0);
    let held = |world: &World| {
        let log = world.devices[1].replicas[&0].log().clone();
        (0..log.len()).filter(|&seq| log.has(seq)).count()
    };
    let first = held(&world);
    assert!(first < 80, "{first} of 2,000 blocks were read");
    for round in 0..200 {
        world.devices[0].write(7, Some(round));
    }
    world.absorb_all(1, 0);
    let second = held(&world) - first;
    assert!(second < 12, "{second} of 200 blocks were read");
    assert_eq!(world.devices[1].contents(), world.devices[0].contents());
}

/// With a budget nothing is joined before it is known to suffice.
#[test]
fn a_budget_that_is_too_small_ends_it() {
    for (budget, is_enough) in [(5, false), (1000, true)] {
        let mut world = World::new(2);
        (0..100).for_each(|key| world.devices[0].write(key, Some(1)));
        let mut absorb = world.absorb(1, 0, Some(budget)).unwrap();
        let mut ended = false;
        while !ended {
            let device = &mut world.devices[1];
            let clock = device.primary.whole_clock().unwrap();
            let ours =
                Ours { clock: &clock, bee: device.primary.bee(), device: device.primary.device() };
            match absorb.next(&ours).unwrap() {
                AbsorbStep::Target(_) => {}
                AbsorbStep::Need(ranges) => {
                    let from = world.devices[0].primary.log();
                    ranges.into_iter().for_each(|range| give(from, absorb.log.bee.log(), range));
                }
                AbsorbStep::Ready(_) => {
                    assert!(is_enough);
                    assert_eq!(absorb.found, Some(100));
                    ended = true;
                }
                AbsorbStep::TooFar => {
                    assert!(!is_enough && absorb.fetched > budget);
                    ended = true;
                }
                AbsorbStep::Done => panic!("there is something to join"),
            }
        }
    }
}

/// Two histories of one log are told by their tags.
#[test]
fn tags_tell_two_histories() {
    let device = DeviceId::from_u64(1);
    let clock = |length, tag| -> Clock {
        [(device, multibee_merge::Applied { length, tag: Some([tag; 8]) })].into_iter().collect()
    };
    let known = |_, length| (length == 9).then_some([3; 8]);
    assert_eq!(forked(&clock(5, 1), &clock(5, 1), known), None);
    assert_eq!(forked(&clock(5, 1), &clock(5, 2), known), Some(device));
    assert_eq!(forked(&clock(6, 1), &clock(5, 2), known), None, "nothing is known of 6");
    assert_eq!(forked(&clock(9, 1), &clock(5, 2), known), Some(device));
    assert_eq!(forked(&clock(9, 3), &clock(5, 2), known), None);
}

/// A key that the other side knew and holds no trace of any more is gone here, too; one that it never
/// knew stays.
#[test]
fn a_key_without_an_entry_is_decided_by_the_clock() {
    absorb_what_lacks_a_key();
}

/// The same finds it, if such a key is taken for one that the other side never knew.
#[cfg(feature = "broken")]
#[test]
#[should_panic(expected = "is_none()")]
fn a_key_without_an_entry_is_not_taken_for_an_unknown_one() {
    crate::broken::BrokenRule::AbsentWithoutContext.while_broken(absorb_what_lacks_a_key);
}

fn absorb_what_lacks_a_key() {
    let mut world = World::new(2);
    (1..9).for_each(|key| world.devices[0].write(key, Some(1)));
    world.follow(1, 0);
    world.devices[1].write(3, None);
    // All know of the delete, so its tombstone is collected.
    let clock = world.devices[1].primary.whole_clock().unwrap();
    let keys = vec![(Bytes::from_static(&[3]), State::unwritten(clock))];
    let batch = Batch { keys, ..Batch::default() };
    world.devices[1].primary.absorb(&batch, 0, |_| None).unwrap();
    assert!(world.devices[1].view().get(&[3]).unwrap().is_none());
    world.devices[0].write(9, Some(2));

    world.absorb_all(0, 1);
    assert!(world.devices[0].view().get(&[3]).unwrap().is_none());
    assert_eq!(world.devices[0].contents().len(), 8);
    world.devices[0].check();
    world.follow(1, 0);
    assert_eq!(world.devices[0].primary.digest(), world.devices[1].primary.digest());
}
