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
