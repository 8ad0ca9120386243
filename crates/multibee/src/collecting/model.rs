//! A small model of several devices that write, delete, hear of each other in any order, come and
//! go; once with collection and once without. What a device holds is the same in both: no key comes
//! back, and none has other versions. With any one condition left out that is no longer so.

use std::collections::{BTreeMap, BTreeSet};

use multibee_log::LogKey;
use multibee_merge::{Applied, Clock, Content, DeviceId, Dot, State, Time, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{Condition, Ended, Grounds, Seen};
use crate::merging::device_of;
use crate::published::Published;
use crate::record::Held;

const KEYS: usize = 2;
/// The first ones, at most; others join, or take over.
const FOUNDERS_MAX: usize = 3;
const DEVICES_MAX: usize = 6;
/// Number of the plain Hyperbee that any device may take in.
const SOURCE: usize = 99;

#[derive(Clone, Debug)]
enum Act {
    Put(usize, usize),
    Delete(usize, usize),
    /// One hears some of what another has written, from anybody.
    Follow(usize, usize, usize),
    /// Two meet: they exchange statements, and say how far they are.
    Meet(usize, usize),
    /// One hears the other's statements, from anybody.
    Tell(usize, usize),
    /// One reads the head of another's log.
    Head(usize, usize),
    /// One joins another's whole state, or only some keys of it.
    Absorb(usize, usize),
    AbsorbKey(usize, usize, usize),
    SourcePut(usize),
    TakeSource(usize),
    Remove(usize, usize),
    Join(usize),
    /// One goes on with a fresh log.
    Move(usize),
    Collect(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let device = || prop_oneof![3 => 0..FOUNDERS_MAX, 1 => 0..DEVICES_MAX];
    let key = || 0..KEYS;
    prop_oneof![
        4 => (device(), key()).prop_map(|(at, key)| Act::Put(at, key)),
        4 => (device(), key()).prop_map(|(at, key)| Act::Delete(at, key)),
        6 => (device(), device(), 1..3_usize).prop_map(|(at, of, count)| Act::Follow(at, of, count)),
        6 => (device(), device()).prop_map(|(at, other)| Act::Meet(at, other)),
        1 => (device(), device()).prop_map(|(at, of)| Act::Tell(at, of)),
        2 => (device(), device()).prop_map(|(at, of)| Act::Head(at, of)),
        1 => (device(), device()).prop_map(|(at, of)| Act::Absorb(at, of)),
        1 => (device(), device(), key()).prop_map(|(at, of, key)| Act::AbsorbKey(at, of, key)),
        1 => key().prop_map(Act::SourcePut),
        1 => device().prop_map(Act::TakeSource),
        1 => (device(), device()).prop_map(|(at, of)| Act::Remove(at, of)),
        1 => device().prop_map(Act::Join),
        1 => device().prop_map(Act::Move),
        8 => device().prop_map(Act::Collect),
    ]
}

/// A commit of one change.
#[derive(Clone, Debug)]
struct Commit {
    key: usize,
    state: State,
    /// The author's clock by then.
    clock: Clock,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Removed { of: usize, by: usize, applied: u64 },
    Applied { of: usize, by: usize, applied: u64 },
}

#[derive(Debug, Default)]
struct Device {
    /// Its own log is in it.
    clock: Clock,
    keys: BTreeMap<usize, Held>,
    log: Vec<Commit>,
    said: BTreeSet<Said>,
    published: Published,
    /// Another one has taken over.
    moved: bool,
}

/// What a run begins from.
#[derive(Clone, Copy, Debug)]
struct Start {
    founders: usize,
    has_source: bool,
    without: Option<Condition>,
}

#[derive(Debug)]
struct World {
    devices: Vec<Device>,
    source: BTreeMap<usize, Version>,
    source_len: u64,
    start: Start,
    collects: bool,
    time: u64,
}

fn key_of(number: usize) -> LogKey {
    LogKey::from_bytes([u8::try_from(number).unwrap() + 1; 32])
}

fn id(number: usize) -> DeviceId {
    device_of(&key_of(number))
}

const fn at(length: u64) -> Applied {
    Applied { length, tag: None }
}

impl Device {
    fn held(&self, key: usize) -> Held {
        self.keys.get(&key).cloned().unwrap_or_default()
    }

    fn join(&mut self, key: usize, theirs: &State, clock: &Clock) {
        let joined = self.held(key).state(&self.clock).join(theirs);
        let held = Held {
            versions: joined.versions().to_vec(),
            seen: joined.context().beyond(clock),
            ..Held::default()
        };
        let is_nothing = held.versions.is_empty() && held.seen.is_empty();
        if is_nothing {
            self.keys.remove(&key);
        } else {
            self.keys.insert(key, held);
        }
    }

    /// The versions of the keys that have a live one: all that counts.
    fn live(&self) -> BTreeMap<usize, Vec<Dot>> {
        let is_live = |held: &Held| held.versions.iter().any(Version::is_live);
        let live = self.keys.iter().filter(|(_, held)| is_live(held));
        let dots = |held: &Held| held.versions.iter().map(|version| version.dot).collect();
        live.map(|(key, held)| (*key, dots(held))).collect()
    }

    fn removed(&self) -> BTreeSet<usize> {
        let removed = self.said.iter().filter_map(|said| match said {
            Said::Removed { of, .. } => Some(*of),
            Said::Applied { .. } => None,
        });
        removed.collect()
    }

    /// How far a removed log counts, and who has said so.
    fn cut(&self, removed: usize) -> (u64, BTreeSet<usize>) {
        let said = self.said.iter().map(|said| match *said {
            Said::Removed { of, by, applied } | Said::Applied { of, by, applied } => {
                (of, by, applied)
            }
        });
        let said = said.filter(|(of, by, _)| *of == removed && *by != removed);
        said.fold((0, BTreeSet::new()), |(cut, mut all), (_, by, applied)| {
            all.insert(by);
            (cut.max(applied), all)
        })
    }
}

impl World {
    fn new(collects: bool, start: Start) -> Self {
        let devices = (0..start.founders).map(|_| Device::default()).collect();
        let source = BTreeMap::new();
        Self { devices, source, source_len: 0, start, collects, time: 0 }
    }

    /// Whether a device does anything at all: it is there, and nobody has told it to stop.
    fn is_up(&self, number: usize) -> bool {
        let device = self.devices.get(number);
        device.is_some_and(|device| !device.moved && !device.removed().contains(&number))
    }

    /// Whether one takes anything of another, as far as it knows.
    fn takes(&self, one: usize, other: usize) -> bool {
        one != other && self.is_up(one) && !self.devices[one].removed().contains(&other)
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Put(number, key) if self.is_up(number) => self.write(number, key, true),
            Act::Delete(number, key) if self.is_up(number) => self.write(number, key, false),
            Act::Follow(one, other, count) => self.follow(one, other, count),
            Act::Meet(one, other) if self.is_up(one) && self.is_up(other) => self.meet(one, other),
            Act::Tell(one, other) if self.is_up(one) && other < self.devices.len() => {
                let said = self.devices[other].said.clone();
                self.devices[one].said.extend(said);
                self.state(one);
            }
            Act::Head(one, other) if self.takes(one, other) && other < self.devices.len() => {
                let clock = self.devices[other].clock.clone();
                self.devices[one].published.note(key_of(other), clock);
            }
            Act::Absorb(one, other) if self.takes(one, other) && self.is_up(other) => {
                let clock = self.devices[other].clock.clone();
                let mut joined = self.devices[one].clock.clone();
                joined.merge(&clock);
                (0..KEYS).for_each(|key| self.absorb(one, other, key, &joined));
                self.devices[one].clock = joined;
            }
            Act::AbsorbKey(one, other, key) if self.takes(one, other) && self.is_up(other) => {
                let clock = self.devices[one].clock.clone();
                self.absorb(one, other, key, &clock);
            }
            Act::SourcePut(key) if self.start.has_source => {
                let dot = Dot { device: id(SOURCE), seq: self.source_len };
                let value = Content::Value("of the source".into());
                self.source.insert(key, Version::plain(dot, Time::default(), value));
                self.source_len += 1;
            }
            Act::TakeSource(number) if self.is_up(number) => self.take_source(number),
            Act::Remove(by, of) if self.takes(by, of) && of < self.devices.len() => {
                let applied = self.devices[by].clock.length(id(of));
                self.devices[by].said.insert(Said::Removed { of, by, applied });
            }
            Act::Join(by) if self.is_up(by) && self.devices.len() < DEVICES_MAX => {
                let by = &self.devices[by];
                let (clock, keys, said) = (by.clock.clone(), by.keys.clone(), by.said.clone());
                self.devices.push(Device { clock, keys, said, ..Device::default() });
                self.state(self.devices.len() - 1);
            }
            Act::Move(number) if self.is_up(number) && self.devices.len() < DEVICES_MAX => {
                self.devices[number].moved = true;
                let old = &self.devices[number];
                let (clock, keys, said) = (old.clock.clone(), old.keys.clone(), old.said.clone());
                self.devices.push(Device { clock, keys, said, ..Device::default() });
                self.state(self.devices.len() - 1);
            }
            Act::Collect(number) if self.is_up(number) && self.collects => self.collect(number),
            _ => {}
        }
    }

    fn write(&mut self, number: usize, key: usize, is_put: bool) {
        self.time += 1;
        let device = &mut self.devices[number];
        let held = device.held(key);
        if !is_put && !held.versions.iter().any(Version::is_live) {
            return;
        }
        let seq = device.log.len() as u64;
        let content = if is_put { Content::Value("v".into()) } else { Content::Deleted };
        let dot = Dot { device: id(number), seq };
        let version = Version::plain(dot, Time::from_millis(self.time), content);
        device.clock.advance(id(number), at(seq + 1));
        let mut context = device.clock.clone();
        context.merge(&held.seen);
        let seen = context.beyond(&device.clock);
        let state = State::written(version.clone(), context);
        device.keys.insert(key, Held { versions: vec![version], seen, ..Held::default() });
        device.log.push(Commit { key, state, clock: device.clock.clone() });
    }

    fn follow(&mut self, one: usize, other: usize, count: usize) {
        if one == other || !self.is_up(one) || other >= self.devices.len() {
            return;
        }
        let device = &self.devices[one];
        let from = device.clock.length(id(other));
        let mut end = (from + count as u64).min(self.devices[other].log.len() as u64);
        if device.removed().contains(&other) {
            end = end.min(device.cut(other).0);
        }
        for seq in from..end {
            let commit = self.devices[other].log[usize::try_from(seq).unwrap()].clone();
            let device = &mut self.devices[one];
            let mut clock = device.clock.clone();
            clock.advance(id(other), at(seq + 1));
            device.join(commit.key, &commit.state, &clock);
            device.clock = clock;
            device.published.note(key_of(other), commit.clock);
        }
    }

    fn meet(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        let all: BTreeSet<Said> =
            self.devices[one].said.union(&self.devices[other].said).cloned().collect();
        for number in [one, other] {
            self.devices[number].said = all.clone();
            self.state(number);
        }
        if self.takes(one, other) && self.takes(other, one) {
            for (one, other) in [(one, other), (other, one)] {
                let clock = self.devices[other].clock.clone();
                self.devices[one].published.note(key_of(other), clock);
            }
        }
    }

    /// A device says how far it has applied what was removed.
    fn state(&mut self, by: usize) {
        let device = &mut self.devices[by];
        for of in device.removed() {
            let applied = device.clock.length(id(of));
            let said = |said: &Said| match said {
                Said::Removed { of: it, by: who, .. } | Said::Applied { of: it, by: who, .. } => {
                    (*it, *who) == (of, by)
                }
            };
            if of != by && !device.said.iter().any(said) {
                device.said.insert(Said::Applied { of, by, applied });
            }
        }
    }

    fn absorb(&mut self, one: usize, other: usize, key: usize, clock: &Clock) {
        let theirs = self.devices[other].held(key).state(&self.devices[other].clock);
        self.devices[one].join(key, &theirs, clock);
    }

    fn take_source(&mut self, number: usize) {
        let context: Clock = [(id(SOURCE), at(self.source_len))].into_iter().collect();
        let device = &mut self.devices[number];
        let mut clock = device.clock.clone();
        clock.merge(&context);
        let known = device.clock.length(id(SOURCE));
        for (key, version) in self.source.iter().filter(|(_, version)| version.dot.seq >= known) {
            device.join(*key, &State::written(version.clone(), context.clone()), &clock);
        }
        device.clock = clock;
    }

    fn grounds(&mut self, number: usize) -> Grounds {
        let moved: Vec<_> = self.devices.iter().map(|device| device.moved).collect();
        let device = &mut self.devices[number];
        let clock = device.clock.clone();
        device.published.ripen(|device| clock.length(device));
        let removed = device.removed();
        let others: Vec<_> = (0..moved.len()).filter(|other| *other != number).collect();
        let is_active = |other: &usize| !removed.contains(other) && !moved[*other];
        let active: Vec<_> = others.iter().copied().filter(|other| is_active(other)).collect();
        let seen = |other: &usize| Seen {
            key: key_of(*other),
            applied: device.published.applied(&key_of(*other)).cloned().unwrap_or_default(),
            newest: device.published.newest(&key_of(*other)),
        };
        let ended = others.iter().filter(|other| !is_active(other)).map(|&of| {
            let (cut, stated) = device.cut(of);
            let is_removed = removed.contains(&of);
            let silent = active.iter().chain([&number]).filter(|other| !stated.contains(other));
            let unsettled = silent.filter(|_| is_removed).map(|other| key_of(*other)).collect();
            let cut = is_removed.then_some(cut);
            Ended { key: key_of(of), device: id(of), cut, unsettled }
        });
        let (members, ended) = (active.iter().map(seen).collect(), ended.collect());
        let sources = if self.start.has_source { vec![key_of(SOURCE)] } else { Vec::new() };
        Grounds { clock, members, ended, sources, without: self.start.without }
    }

    fn collect(&mut self, number: usize) {
        let grounds = self.grounds(number);
        if grounds.common_obstacle().is_some() {
            return;
        }
        let keys = &mut self.devices[number].keys;
        let is_hidden = |held: &Held| !held.versions.iter().any(Version::is_live);
        // A key that shows nothing may have live versions, too: say, where deletes win.
        let is_tombstone =
            |held: &Held| is_hidden(held) || held.versions.iter().any(crate::record::is_delete);
        keys.retain(|_, held| !is_tombstone(held) || grounds.obstacle(held).is_some());
    }

    fn live(&self) -> Vec<BTreeMap<usize, Vec<Dot>>> {
        self.devices.iter().map(Device::live).collect()
    }
}

fn check(acts: &[Act], start: Start) -> Result<(), TestCaseError> {
    let (mut collecting, mut keeping) = (World::new(true, start), World::new(false, start));
    let everybody =
        (0..DEVICES_MAX).flat_map(|one| (0..DEVICES_MAX).map(move |other| (one, other)));
    let meetings = everybody.clone().map(|(one, other)| Act::Meet(one, other));
    let hearing = everybody.map(|(one, other)| Act::Follow(one, other, usize::MAX >> 1));
    let collections = (0..DEVICES_MAX).map(Act::Collect);
    let sources = (0..DEVICES_MAX).map(Act::TakeSource);
    let round: Vec<_> = hearing.chain(meetings).chain(collections).chain(sources).collect();
    // In the end all hear of all.
    let rounds = std::iter::repeat_n(&round, 3).flatten();
    for act in acts.iter().chain(rounds) {
        collecting.act(act);
        keeping.act(act);
        prop_assert_eq!(collecting.live(), keeping.live(), "after {:?}", act);
    }
    Ok(())
}

/// Whatever is written, deleted, heard, removed, moved and collected, and in whatever order: nobody
/// holds anything else than without collection.
#[test]
fn nothing_comes_back() {
    let config = Config { cases: 5000, failure_persistence: None, ..Config::default() };
    let plan = (vec(act(), 1..40), 2..=FOUNDERS_MAX, any::<bool>());
    let checked = TestRunner::new(config).run(&plan, |(acts, founders, has_source)| {
        check(&acts, Start { founders, has_source, without: None })
    });
    checked.unwrap();
}

/// What happens where a condition is missed. The first device has deleted the key.
fn missed(condition: Condition) -> Vec<Act> {
    let all = usize::MAX >> 1;
    let mut acts = vec![Act::Put(0, 0), Act::Delete(0, 0)];
    let more = match condition {
        // The other one has changed it meanwhile.
        Condition::Deleted => {
            vec![Act::Put(1, 0), Act::Follow(0, 1, all), Act::Follow(1, 0, all), Act::Meet(0, 1)]
        }
        Condition::Context | Condition::Sourceless => vec![Act::SourcePut(0)],
        // The other one has not heard of it.
        Condition::Published => vec![Act::Put(1, 0)],
        // It has, but had changed the key before that.
        Condition::Applied => vec![Act::Put(1, 0), Act::Follow(1, 0, all), Act::Meet(0, 1)],
        // A third one has changed it and is removed; the other one has seen the change.
        Condition::Settled | Condition::Reached => vec![
            Act::Put(2, 0),
            Act::Follow(1, 0, all),
            Act::Meet(0, 1),
            Act::Follow(1, 2, all),
            Act::Remove(0, 2),
        ],
        // The other one has changed it before it moved to a fresh log.
        Condition::Ended => {
            vec![Act::Put(1, 0), Act::Move(1), Act::Follow(2, 0, all), Act::Meet(0, 2)]
        }
    };
    acts.extend(more);
    if condition == Condition::Reached {
        acts.extend([Act::Tell(1, 0), Act::Tell(0, 1)]);
    }
    acts.push(Act::Collect(0));
    acts
}

/// None of the conditions can be spared. (That the clock covers what a delete had seen follows from
/// the others here: it has a test of its own.)
#[test]
fn every_condition_is_needed() {
    for condition in Condition::ALL.into_iter().filter(|one| *one != Condition::Context) {
        let removes = matches!(condition, Condition::Settled | Condition::Reached);
        let founders = if removes { FOUNDERS_MAX } else { 2 };
        let has_source = condition == Condition::Sourceless;
        let acts = missed(condition);
        let start = |without| Start { founders, has_source, without };
        assert!(check(&acts, start(None)).is_ok(), "{condition:?}");
        assert!(check(&acts, start(Some(condition))).is_err(), "{condition:?} was not missed");
    }
}
