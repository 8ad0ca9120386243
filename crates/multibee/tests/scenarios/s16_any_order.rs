//! S16: any order gives the same state, the one that a simple model has.
//!
//! The model knows of each write which writes of its key its author had seen. A device shows what
//! remains of the writes that have reached it when all are left out that another one of them had
//! seen. Time decides only which of the rest is shown.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multibee::{DeviceId, Multibee, Time};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::devices::{Group, Kind, Link, contents, until, versions};
use crate::scenario;

/// What happens to devices; numbers beyond those that there are begin anew.
#[derive(Clone, Debug)]
enum Step {
    /// A call with changes of these keys; `true` puts, `false` deletes.
    Write(usize, BTreeMap<u8, bool>),
    /// Two devices are linked until each has what the other one has written.
    Meet(usize, usize),
    /// Two devices are linked, if they were not, or the link is cut, however far they are.
    Link(usize, usize),
    Restart(usize),
    /// A device's clock goes so many milliseconds on, or back.
    Clock(usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..5_usize;
    let pair = (0..5_usize, 1..5_usize);
    let changes = proptest::collection::btree_map(0..12_u8, prop::bool::weighted(0.7), 1..4);
    prop_oneof![
        8 => (device.clone(), changes).prop_map(|(device, keys)| Step::Write(device, keys)),
        2 => pair.clone().prop_map(|(one, by)| Step::Meet(one, by)),
        3 => pair.prop_map(|(one, by)| Step::Link(one, by)),
        1 => device.clone().prop_map(Step::Restart),
        1 => (device, -5_000..5_000_i64).prop_map(|(device, by)| Step::Clock(device, by)),
    ]
}

/// A write as the model knows it.
#[derive(Clone, Debug)]
struct Write {
    author: DeviceId,
    key: String,
    value: Option<Bytes>,
    /// Of a put; deletes are not shown anyway.
    time: Option<Time>,
    /// Length of the author's log behind it.
    end: u64,
    /// Numbers of the writes of this key that its author had seen.
    seen: BTreeSet<usize>,
}

/// All writes, in the order in which they were acknowledged.
#[derive(Default)]
struct Model {
    writes: Vec<Write>,
}

impl Model {
    /// The writes of a key that have reached a device.
    fn known(&self, db: &Multibee, key: &str) -> BTreeSet<usize> {
        let clock = db.status().unwrap().clock;
        let reached = |write: &Write| clock.length(write.author) >= write.end;
        let of_key = self.writes.iter().enumerate().filter(|(_, write)| write.key == key);
        of_key.filter(|(_, write)| reached(write)).map(|(number, _)| number).collect()
    }

    /// Those of them that no other one supersedes.
    fn versions(&self, known: &BTreeSet<usize>) -> Vec<&Write> {
        let is_seen = |number| known.iter().any(|other| self.writes[*other].seen.contains(number));
        known.iter().filter(|number| !is_seen(number)).map(|&number| &self.writes[number]).collect()
    }

    /// Writes in one call. A delete of what is not there is none.
    fn write(&mut self, db: &Multibee, changes: &BTreeMap<u8, bool>) {
        let key = |key: &u8| format!("key/{key:02}");
        let seen: Vec<_> = changes.keys().map(|number| self.known(db, &key(number))).collect();
        let mut batch = db.batch();
        for (number, (change, is_put)) in changes.iter().enumerate() {
            if *is_put {
                batch.put(key(change), value(self.writes.len() + number));
            } else {
                batch.del(key(change));
            }
        }
        let changed = batch.commit().unwrap();
        let (first, end) = (self.writes.len(), db.view().unwrap().version());
        for (number, (change, is_put)) in changes.iter().enumerate() {
            let time = db.get(key(change)).unwrap().map(|entry| entry.time);
            let write = Write {
                author: db.device(),
                key: if changed[number] { key(change) } else { String::new() },
                value: is_put.then(|| value(first + number)),
                time,
                end,
                seen: seen[number].clone(),
            };
            self.writes.push(write);
        }
    }

    /// Compares what a device that everything has reached shows with what the model says.
    fn check(&self, db: &Multibee) {
        let keys: BTreeSet<_> = self.writes.iter().map(|write| &write.key).collect();
        let mut shown = Vec::new();
        for key in keys.into_iter().filter(|key| !key.is_empty()) {
            let known = self.known(db, key);
            let all = self.writes.iter().filter(|write| write.key == *key).count();
            assert_eq!(known.len(), all, "a write has not arrived");
            let expected = self.versions(&known);
            let latest = expected.iter().filter(|write| write.value.is_some());
            let latest = latest.max_by_key(|write| (write.time, write.author));
            shown.extend(latest.map(|write| {
                (Bytes::from(key.clone()), write.value.clone().expect("only values are shown"))
            }));
            let is_conflict = latest.is_some() && expected.len() > 1;
            let expected: BTreeMap<_, _> = expected
                .into_iter()
                .filter(|_| is_conflict)
                .map(|write| (write.author.to_string(), write.value.clone()))
                .collect();
            assert_eq!(versions(db, key), expected, "the versions of {key}");
        }
        assert_eq!(contents(db), shown);
    }
}

fn value(number: usize) -> Bytes {
    format!("write {number}").into()
}

async fn carry_out(kind: Kind, count: u8, steps: &[Step]) {
    let mut group = Group::new(kind, count);
    let mut model = Model::default();
    let mut links: BTreeMap<(usize, usize), Link> = BTreeMap::new();
    let count = usize::from(count);
    let pair = |one: usize, by: usize| {
        let (one, other) = (one % count, (one + by) % count);
        (one.min(other), one.max(other))
    };
    for step in steps {
        match step {
            // A merge while the model looks would be a write that saw more than it thinks.
            Step::Write(device, changes) => {
                let number = device % count;
                for (_, link) in std::mem::take(&mut links) {
                    link.cut().await;
                }
                model.write(group.db(number), changes);
            }
            Step::Meet(one, by) => {
                let (one, other) = pair(*one, *by);
                if one != other && !links.contains_key(&(one, other)) {
                    let link = group.link(one, other).await;
                    exchanged(group.db(one), group.db(other)).await;
                    link.cut().await;
                }
            }
            Step::Link(one, by) => {
                let (one, other) = pair(*one, *by);
                match links.remove(&(one, other)) {
                    Some(link) => link.cut().await,
                    None if one == other => {}
                    None => drop(links.insert((one, other), group.link(one, other).await)),
                }
            }
            Step::Restart(device) => {
                for (_, link) in std::mem::take(&mut links) {
                    link.cut().await;
                }
                group.restart(device % count).await;
            }
            Step::Clock(device, by) => group.devices[device % count].clock.move_by(*by),
        }
    }
    let mut last = Vec::new();
    for (one, other) in (1..count).map(|other| (other - 1, other)) {
        if !links.contains_key(&(one, other)) {
            last.push(group.link(one, other).await);
        }
    }
    group.converge().await;
    group.devices.iter().for_each(|device| model.check(&device.db));
}

/// Waits until each of two linked devices has all that the other one has written.
async fn exchanged(one: &Multibee, other: &Multibee) {
    let has_all = |reader: &Multibee, author: &Multibee| {
        let length = |db: &Multibee| db.status().unwrap().clock.length(author.device());
        length(reader) == length(author)
    };
    for (reader, author) in [(one, other), (other, one)] {
        until(reader, "it has what the other one wrote", || has_all(reader, author)).await;
    }
}

/// However devices write, meet, part and restart: in the end all show what the model shows.
async fn run(kind: Kind) {
    let cases = if kind == Kind::Memory { 48 } else { 12 };
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let stories = (2..=5_u8, vec(step(), 1..60));
    let told = TestRunner::new(config).run(&stories, |(count, steps)| {
        block_in_place(|| Handle::current().block_on(carry_out(kind, count, &steps)));
        Ok(())
    });
    told.unwrap_or_else(|failure| panic!("{failure}"));
}

scenario!(s16_any_order_gives_the_same_state, run);
