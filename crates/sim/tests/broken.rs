//! Rules of the database that are broken on purpose are found to be: else it would prove little
//! that none is found broken otherwise.
#![cfg(feature = "broken")]
#![expect(clippy::panic, reason = "a test that fails says why")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use multibee::BrokenRule;
use multibee_sim::{Plan, Scope, run};

/// Runs in which a broken rule has to be found.
const RUNS: u64 = 150;

/// How many runs it takes until a rule is found broken, and what tells. A stop by one of the
/// database's own assertions counts, too.
fn found(rule: BrokenRule) -> Option<(u64, String)> {
    (1..=RUNS).find_map(|seed| {
        let plan = Plan::random(seed, Scope { devices: 4, steps: 100 });
        match catch_unwind(AssertUnwindSafe(|| rule.while_broken(|| run(&plan)))) {
            Ok(Ok(_)) => None,
            Ok(Err(violation)) => Some((seed, violation.to_string())),
            Err(_) => Some((seed, "an assertion of the database".into())),
        }
    })
}

/// Every rule that can be broken is found to be, in a few runs. Some are not looked for: the devices that
/// are simulated keep every tombstone, so none of them lacks a key that it knew, or collects too much.
/// A test of absorbing, and those of collecting, find these.
#[test]
fn what_is_broken_is_found() {
    let mut missed = Vec::new();
    let others = |rule: &BrokenRule| {
        use BrokenRule::{AbsentWithoutContext, CollectConflict, ForgetRemovedWriters};
        !matches!(rule, AbsentWithoutContext | CollectConflict | ForgetRemovedWriters)
    };
    for rule in BrokenRule::ALL.into_iter().filter(others) {
        match found(rule) {
            Some((seed, what)) => {
                println!("{rule:?}: run {seed}: {}", what.lines().next().unwrap_or_default());
            }
            None => missed.push(rule),
        }
    }
    if !missed.is_empty() {
        panic!("broken, and not found in {RUNS} runs: {missed:?}");
    }
}
