//! The laws of merging, for every strategy and type provided: 10,000 histories of five replicas
//! with deletes for each.

use multibee_merge::laws::{
    Broken, Counts, Documents, Elements, Workload, check_strategy, check_type,
};
use multibee_merge::{Counter, DeleteWins, KeepAll, LastWriter, Map, MergeType, Set};

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
