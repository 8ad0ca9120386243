//! The laws of merging, for every strategy and type provided: 10,000 histories of five replicas
//! with deletes for each.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::cell::Cell;

use bytes::Bytes;
use multibee_merge::laws::{
    Broken, Counts, Documents, Elements, Random, Workload, Write, check_strategy, check_type,
};
use multibee_merge::{
    Counter, DeleteWins, Dot, FIRST_USER_KIND, KeepAll, LastWriter, Map, MergeStrategy, MergeType,
    Set, Shown, StateError, Time, Version, WriteError,
};

const CASES: u64 = 10_000;

fn obeys(kind: &dyn MergeType, workload: &dyn Workload) {
    run(|seed| check_type(kind, workload, seed));
}

fn run(check: impl Fn(u64) -> Result<(), Broken>) {
    for seed in 0..CASES {
        if let Err(broken) = check(seed) {
            panic!("{broken}");
        }
    }
}

/// Counts are exact: the sum of all steps that no delete has ended.
#[test]
fn a_counter_obeys_the_laws() {
    obeys(&Counter, &Counts);
}

/// An element is there if and only if no remove saw one of its adds.
#[test]
fn a_set_obeys_the_laws() {
    obeys(&Set, &Elements);
}

/// Fields hold their latest settings; list items are there once, in order.
#[test]
fn a_map_obeys_the_laws() {
    obeys(&Map, &Documents);
}

/// The strategies are functions of the versions, and versions are lost by nobody.
#[test]
fn strategies_obey_the_laws() {
    run(|seed| check_strategy(&LastWriter, seed));
    run(|seed| check_strategy(&DeleteWins, seed));
    run(|seed| check_strategy(&KeepAll, seed));
}

/// A user's own type: the greatest text ever put. Or, wrongly, all texts in a row.
struct Greatest {
    wrong: bool,
}

impl MergeType for Greatest {
    fn kind(&self) -> u32 {
        FIRST_USER_KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        Ok(Bytes::copy_from_slice(state))
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        let greatest = if a > b { a.to_vec() } else { b.to_vec() };
        Ok(if self.wrong { [a, b].concat() } else { greatest }.into())
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        _dot: Dot,
        _time: Time,
    ) -> Result<Bytes, WriteError> {
        Ok(self.join(base.unwrap_or_default(), value)?)
    }

    fn delete(&self, _base: Option<&[u8]>, _dot: Dot) -> Result<Bytes, StateError> {
        Ok(Bytes::new())
    }
}

impl Workload for Greatest {
    fn next(&self, random: &mut Random, _shown: Option<&[u8]>) -> Vec<u8> {
        random.number().to_string().into()
    }

    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        let greatest = writes.iter().map(|write| &write.put[..]).max();
        if greatest == Some(shown) { Ok(()) } else { Err(format!("not {greatest:?}")) }
    }
}

/// The laws are for users' own types, too: a good one passes, a wrong one is caught.
#[test]
fn own_types_are_judged() {
    obeys(&Greatest { wrong: false }, &Greatest { wrong: false });
    let wrong = Greatest { wrong: true };
    let broken = (0..20).find_map(|seed| check_type(&wrong, &wrong, seed).err()).unwrap();
    assert!(broken.to_string().contains("joining is"), "{broken}");
}

/// A type that forgets writes is caught by what its workload expects.
#[test]
fn lost_writes_are_caught() {
    let broken = (0..50).find_map(|seed| check_type(&Set, &Unremoved, seed).err()).unwrap();
    assert!(broken.law.contains("none is lost"), "{broken}");
}

/// Expects of a set that nothing is ever removed.
struct Unremoved;

impl Workload for Unremoved {
    fn next(&self, random: &mut Random, shown: Option<&[u8]>) -> Vec<u8> {
        Elements.next(random, shown)
    }

    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(shown);
        let put = writes.iter().flat_map(|write| write.put.iter().filter(|b| b.is_ascii_digit()));
        let lost = put.into_iter().find(|digit| !text.contains(char::from(**digit)));
        lost.map_or(Ok(()), |digit| Err(format!("{digit} is lost")))
    }
}

/// A strategy that is not a function of the versions, or shows a delete, is caught.
#[test]
fn wrong_strategies_are_caught() {
    struct Fickle(Cell<usize>);
    impl MergeStrategy for Fickle {
        fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
            self.0.set(self.0.get() + 1);
            Shown::One(self.0.get() % versions.len().max(1))
        }
    }
    struct First;
    impl MergeStrategy for First {
        fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
            if versions.is_empty() { Shown::Nothing } else { Shown::One(0) }
        }
    }
    let caught = |strategy: &dyn MergeStrategy| {
        (0..50).find_map(|seed| check_strategy(strategy, seed).err()).unwrap().law
    };
    assert!(!caught(&Fickle(Cell::new(0))).is_empty());
    assert_eq!(caught(&First), "only showable versions are shown");
}

#[cfg(feature = "automerge")]
use {serde_json::Value, std::collections::BTreeMap};

/// Fields that users set and take away, a nested object, a list and a text.
#[cfg(feature = "automerge")]
struct Drafts;

#[cfg(feature = "automerge")]
impl Workload for Drafts {
    fn next(&self, random: &mut Random, shown: Option<&[u8]>) -> Vec<u8> {
        let mut draft: serde_json::Map<String, Value> =
            serde_json::from_slice(&Documents.next(random, shown)).unwrap();
        if random.once_in(2) {
            let text = Value::from(format!("{:x}", random.number() % 4096));
            draft.insert(format!("t{}", random.below(2)), text);
        }
        Value::Object(draft).to_string().into()
    }

    /// A field that somebody set, and that nobody who saw it took away, is there, and has one of
    /// the settings that nobody replaced who saw it.
    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        let fields = |json: Option<&[u8]>| -> BTreeMap<String, Value> {
            json.map(|json| serde_json::from_slice(json).unwrap()).unwrap_or_default()
        };
        let changes: Vec<_> = writes
            .iter()
            .map(|write| (write, fields(write.seen.as_deref()), fields(Some(&write.put))))
            .collect();
        let shown = fields(Some(shown));
        for name in ["a", "b", "c"] {
            let standing: Vec<_> = changes
                .iter()
                .filter(|(write, seen, put)| {
                    seen.get(name) != put.get(name)
                        && put.contains_key(name)
                        && !changes.iter().any(|(other, seen, after)| {
                            other.counting.contains(&write.dot)
                                && other.dot != write.dot
                                && seen.get(name) != after.get(name)
                        })
                })
                .filter_map(|(_, _, put)| put.get(name))
                .collect();
            let holds = match shown.get(name) {
                Some(value) => standing.contains(&value),
                None => standing.is_empty(),
            };
            if !holds {
                return Err(format!("field {name} should be one of {standing:?}"));
            }
        }
        Ok(())
    }
}

/// Fields hold one of their standing settings, the same one on all devices. Run in full with
/// `MULTIBEE_LAWS=10000`: documents are slow to open.
#[cfg(feature = "automerge")]
#[test]
fn an_automerge_document_obeys_the_laws() {
    let cases = std::env::var("MULTIBEE_LAWS").ok().and_then(|cases| cases.parse().ok());
    for seed in 0..cases.unwrap_or(300) {
        if let Err(broken) = check_type(&multibee_merge::Automerge, &Drafts, seed) {
            panic!("{broken}");
        }
    }
}
