//! Whatever several devices write, and in whatever order they hear of it, equal clocks mean equal
//! data: digests, what is shown, conflicts, rules, and what can't be read.

use std::sync::Arc;

use multibee_btree::{Bee, BeeOptions};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
use multibee_merge::{
    Counter, Dot, FIRST_USER_KIND, Map, MergeStrategy, MergeType, PLAIN, Set, Shown, StateError,
    Strategies, Version, WriteError,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Rule;
use crate::edit::Edit;
use crate::entry::{Conflict, Entry, NotMerged};
use crate::follow::{Follower, Step};
use crate::op::Op;
use crate::resolver::Resolver;
use crate::view::{RangeSpec, View};

const DEVICES: usize = 3;
const KEYS: [&str; 4] = ["a", "a/1", "b", "\u{e4}"];
const PREFIXES: [&str; 3] = ["", "a", "a/"];

/// A user's own type that keeps the greatest text.
struct Greatest;

impl MergeType for Greatest {
    fn kind(&self) -> u32 {
        FIRST_USER_KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        Ok(Bytes::copy_from_slice(state))
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        Ok(Bytes::copy_from_slice(a.max(b)))
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        _dot: Dot,
        _time: Time,
    ) -> Result<Bytes, WriteError> {
        Ok(Bytes::copy_from_slice(base.unwrap_or_default().max(value)))
    }

    fn delete(&self, _base: Option<&[u8]>, _dot: Dot) -> Result<Bytes, StateError> {
        Ok(Bytes::new())
    }
}

/// A user's own strategy: the first writer is shown.
struct FirstWriter;

impl MergeStrategy for FirstWriter {
    fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
        let live = versions.iter().enumerate().filter(|(_, version)| version.is_showable());
        let first = live.min_by_key(|(_, version)| (version.time, version.dot));
        first.map_or(Shown::Nothing, |(position, _)| Shown::One(position))
    }
}

fn knowing() -> Arc<Resolver> {
    let mut resolver = Resolver::default();
    resolver.types.register(Arc::new(Greatest)).unwrap();
    resolver.strategies.register("first-writer", Arc::new(FirstWriter)).unwrap();
    Arc::new(resolver)
}

#[derive(Clone, Debug)]
enum Doing {
    Write(usize, Vec<What>),
    /// One device hears from another: everything, or as far as an earlier length.
    Hear(usize, usize, usize),
    Reopen(usize),
}

#[derive(Clone, Debug)]
enum What {
    Put(usize, u8),
    Typed(usize, u8, u8),
    Edit(usize, u8),
    Delete(usize),
    Pick(usize, u8),
    Rule(usize, Option<u8>),
}

fn what() -> impl Strategy<Value = What> {
    let key = 0..KEYS.len();
    prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| What::Put(key, value)),
        3 => (key.clone(), 0..4_u8, any::<u8>()).prop_map(|(k, kind, v)| What::Typed(k, kind, v)),
        3 => (key.clone(), any::<u8>()).prop_map(|(key, value)| What::Edit(key, value)),
        2 => key.clone().prop_map(What::Delete),
        1 => (key, any::<u8>()).prop_map(|(key, which)| What::Pick(key, which)),
        1 => (0..PREFIXES.len(), proptest::option::of(0..6_u8)).prop_map(|(p, rule)| What::Rule(p, rule)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Doing>> {
    let device = 0..DEVICES;
    let step = prop_oneof![
        4 => (device.clone(), vec(what(), 1..4)).prop_map(|(device, all)| Doing::Write(device, all)),
        3 => (device.clone(), 1..DEVICES, 0..9_usize)
            .prop_map(|(to, ahead, back)| Doing::Hear(to, (to + ahead) % DEVICES, back)),
        1 => device.prop_map(Doing::Reopen),
    ];
    vec(step, 0..40)
}

/// All that users see of a device, the numbers of its own blocks left out.
#[derive(Debug, PartialEq)]
struct Seen {
    entries: Vec<(Entry, Vec<Entry>)>,
    conflicts: Vec<Conflict>,
    rules: Vec<crate::RuleEntry>,
    not_merged: Vec<NotMerged>,
}

struct Devices {
    primaries: Vec<Primary>,
    /// The lengths of each log at which a commit ended.
    ends: Vec<Vec<u64>>,
    now_ms: u64,
}

impl Devices {
    /// Only the first one knows the user's own type and strategy.
    fn new() -> Self {
        let primary = |number: u8| {
            let keys = KeyPair::from_seed([number + 1; 32]);
            let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
            let bee = Bee::open(log, BeeOptions::default()).unwrap();
            bee.create_header().unwrap();
            let resolver = if number == 0 { knowing() } else { Arc::default() };
            Primary::open(bee, resolver, 0).unwrap()
        };
        let primaries = (0..DEVICES as u8).map(primary).collect();
        Self { primaries, ends: vec![Vec::new(); DEVICES], now_ms: 1 }
    }

    fn view(&self, device: usize) -> View {
        let primary = &self.primaries[device];
        View::new(primary.bee().snapshot().unwrap(), primary.device(), primary.resolver().clone())
    }

    fn op(&self, device: usize, what: &What) -> Option<Op> {
        let key = |key: usize| Bytes::from(KEYS[key]);
        Some(match what {
            What::Put(at, value) => {
                // Valid for every type that a rule may name.
                let kind =
                    self.primaries[device].rules().of(KEYS[*at].as_bytes()).map_or(0, |r| r.kind);
                Op::Put { key: key(*at), kind: None, value: value_of(kind, *value) }
            }
            What::Typed(at, kind, value) => {
                let kind =
                    [Counter::KIND, Set::KIND, Map::KIND, FIRST_USER_KIND][usize::from(*kind)];
                self.primaries[device].resolver().types.get(kind)?;
                Op::Put { key: key(*at), kind: Some(kind), value: value_of(kind, *value) }
            }
            What::Edit(at, value) => {
                let edit = match value % 4 {
                    0 => Edit::Add(i64::from(*value) - 100),
                    1 => Edit::Insert(value.to_string().into()),
                    2 => Edit::Remove((value % 16).to_string().into()),
                    _ => Edit::Patch(value_of(Map::KIND, *value)),
                };
                Op::Edit { key: key(*at), edit }
            }
            What::Delete(at) => Op::Delete { key: key(*at) },
            What::Pick(at, which) => {
                let held = self.view(device).held(KEYS[*at].as_bytes()).unwrap();
                let count = held.versions.len().max(1);
                let dot = held.versions.get(usize::from(*which) % count)?.dot;
                Op::Pick { key: key(*at), dot }
            }
            What::Rule(prefix, rule) => {
                let rule = rule.map(|rule| match rule {
                    0 => Rule::strategy(Strategies::DELETE_WINS),
                    1 => Rule::strategy(Strategies::KEEP_ALL),
                    2 => Rule::strategy("first-writer"),
                    3 => Rule::kind(Counter::KIND),
                    4 => Rule { strategy: Strategies::DELETE_WINS.into(), kind: Map::KIND },
                    _ => Rule::default(),
                });
                Op::Rule { prefix: PREFIXES[*prefix].into(), rule }
            }
        })
    }

    fn write(&mut self, device: usize, all: &[What]) {
        let ops: Vec<_> = all.iter().filter_map(|what| self.op(device, what)).collect();
        self.now_ms += 1;
        let before = self.primaries[device].digest();
        match self.primaries[device].write(&ops, &[], self.now_ms) {
            Ok(_) => self.ends[device].push(self.primaries[device].last_own_end()),
            // An edit of something of another shape, say: then nothing has happened.
            Err(Error::Value(_) | Error::NoSuchVersion { .. }) => {
                assert_eq!(self.primaries[device].digest(), before);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn hear(&mut self, to: usize, from: usize, back: usize) {
        let bee = self.primaries[from].bee().clone();
        let ends = &self.ends[from];
        let Some(&head) = ends.len().checked_sub(1 + back).and_then(|at| ends.get(at)) else {
            return;
        };
        let mut follower = Follower::new(bee);
        let applied = |to: &Primary| to.clock().length(follower.device());
        let mut length = applied(&self.primaries[to]);
        while let Step::Ready(news) = follower.next(length, head, u64::MAX).unwrap() {
            check(&news).unwrap();
            self.primaries[to].merge(&[news], self.now_ms).unwrap();
            length = self.primaries[to].clock().length(follower.device());
        }
    }

    fn hear_all(&mut self) {
        for to in 0..DEVICES {
            for ahead in 1..DEVICES {
                self.hear(to, (to + ahead) % DEVICES, 0);
            }
        }
    }

    fn reopen(&mut self, device: usize, resolver: Arc<Resolver>) {
        let old = &self.primaries[device];
        let new = Primary::open(old.bee().clone(), resolver, self.now_ms).unwrap();
        assert_eq!(
            (new.clock(), new.digest(), new.rules()),
            (old.clock(), old.digest(), old.rules())
        );
        self.primaries[device] = new;
    }

    /// What a device shows; its digest and indexes are what a scan finds.
    fn seen(&self, device: usize) -> Seen {
        let (view, primary) = (self.view(device), &self.primaries[device]);
        let scan = view.scan().unwrap();
        let conflicts = view.conflicts().unwrap();
        assert_eq!(scan.digest, primary.digest(), "the digest is kept up to date");
        assert_eq!(scan.conflicts, conflicts.len() as u64, "the index has every conflict");
        check_aside(&view);
        let unnumbered = |entry: Entry| Entry { seq: 0, ..entry };
        let entries = view.range(RangeSpec::default()).map(|entry| {
            let entry = entry.unwrap();
            let all = view.get_all(&entry.key).unwrap();
            assert_eq!(all.first(), Some(&entry), "the foremost value is the entry's");
            let resolution =
                view.resolve(&entry.key, &view.held(&entry.key).unwrap().versions).unwrap();
            assert_eq!(
                resolution.shown[0].value, entry.value,
                "what is shown follows from the rules"
            );
            (unnumbered(entry), all.into_iter().map(unnumbered).collect())
        });
        let entries = entries.collect();
        let rules = view.rules().unwrap();
        Seen { entries, conflicts, rules, not_merged: view.not_merged().unwrap() }
    }
}

/// What stands aside is what the keys' records name, and nothing else.
fn check_aside(view: &View) {
    let (first, end) = keyspace::asides();
    let mut range = view.tree().range(crate::primary::between((first, end)));
    let mut found = std::collections::BTreeSet::new();
    while let Some(block) = range.next().unwrap() {
        found.insert(block.key);
    }
    let mut named = std::collections::BTreeSet::new();
    for key in KEYS {
        let dots = view.held(key.as_bytes()).unwrap().aside;
        named.extend(dots.into_iter().map(|dot| keyspace::aside(key.as_bytes(), dot)));
    }
    found.retain(|key| key.get(2) != Some(&0xff));
    assert_eq!(found, named);
}

fn value_of(kind: u32, value: u8) -> Bytes {
    let (number, small) = (value, value % 16);
    match kind {
        PLAIN | FIRST_USER_KIND | Counter::KIND => number.to_string().into(),
        Set::KIND => format!("[{small}, {}]", number / 16).into(),
        _ => format!("{{\"f{}\": {number}, \"l\": [{small}]}}", number % 3).into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Devices that know the same show the same, however they came to know it; also those that can't
    /// read everything count the same, and show the same once they can.
    #[test]
    fn equal_clocks_mean_equal_data(steps in steps()) {
        let mut devices = Devices::new();
        for step in &steps {
            match step {
                Doing::Write(device, all) => devices.write(*device, all),
                Doing::Hear(to, from, back) => devices.hear(*to, *from, *back),
                Doing::Reopen(device) => {
                    let resolver = devices.primaries[*device].resolver().clone();
                    devices.reopen(*device, resolver);
                }
            }
        }
        devices.hear_all();
        devices.hear_all();
        let clocks: Vec<_> =
            devices.primaries.iter().map(|one| one.whole_clock().unwrap()).collect();
        prop_assert!(clocks.windows(2).all(|pair| pair[0].same_lengths(&pair[1])));
        let digests: Vec<_> = devices.primaries.iter().map(Primary::digest).collect();
        prop_assert!(digests.iter().all(|digest| *digest == digests[0]));
        prop_assert_eq!(devices.seen(1), devices.seen(2));

        let all_seen = devices.seen(0);
        prop_assert!(all_seen.not_merged.is_empty());
        for device in 1..DEVICES {
            devices.reopen(device, knowing());
            prop_assert_eq!(&devices.seen(device), &all_seen);
            // Nothing is left to do.
            let length = devices.primaries[device].log().len();
            devices.reopen(device, knowing());
            prop_assert_eq!(devices.primaries[device].log().len(), length);
        }
    }
}
