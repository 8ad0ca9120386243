//! Rules of the database that are broken on purpose are found to be: else it would prove little
//! that none is found broken otherwise.
#![cfg(feature = "broken")]
#![expect(clippy::panic, reason = "a test that fails says why")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use multibee::BrokenRule;
use multibee_sim::{Action, Focus, Plan, Scope, run};

/// Runs in which a broken rule has to be found.
const RUNS: usize = 150;

/// Where a rule is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In plans about everything.
    Everywhere,
    /// In plans about something.
    In(Focus),
    /// In plans in which devices are copied, or put back to an earlier state: those that were kept first.
    InLives,
    /// A test of the database finds it, and no simulation.
    InTests,
}

/// Where a rule is looked for that is broken. Devices that are simulated keep every tombstone but where
/// they are told to collect, and nobody forges statements.
fn place(rule: BrokenRule) -> Where {
    use BrokenRule as R;
    match rule {
        R::AbsentWithoutContext | R::UnsignedSuccession => Where::InTests,
        R::HideStatements | R::TakeBeyondCut | R::IgnoreSeniority => Where::In(Focus::Members),
        R::AbsorbWithoutTags | R::MoveWithoutRenaming => Where::InLives,
        R::IgnoreRole => Where::In(Focus::Roles),
        R::CollectConflict => Where::In(Focus::Collecting),
        R::ForgetRemovedWriters => Where::In(Focus::CollectingApart),
        _ => Where::Everywhere,
    }
}

/// All plans that are kept since they broke a rule once, in the order of their names.
fn kept() -> Vec<Plan> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let files = fs::read_dir(&folder).expect("the folder can be listed");
    let mut paths: Vec<_> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.sort();
    let plan = |path: &std::path::PathBuf| {
        let json = fs::read(path).expect("a plan can be read");
        serde_json::from_slice(&json).expect("a plan is well formed")
    };
    paths.iter().map(plan).collect()
}

/// In which run a rule is found broken, by its seed, and what tells: something that is not found
/// while the rule holds. A stop by one of the database's own assertions counts, too.
fn found(rule: BrokenRule) -> Option<(u64, String)> {
    let has_lives = |plan: &Plan| {
        let is_life =
            |action: &Action| matches!(action, Action::Copy { .. } | Action::PutBack { .. });
        plan.steps.iter().any(|step| is_life(&step.action))
    };
    let is_in_lives = place(rule) == Where::InLives;
    let plans = (1..).map(|seed| Plan::random(seed, Scope { devices: 4, steps: 100 }));
    let plans = plans.filter(|plan| !is_in_lives || has_lives(plan)).take(RUNS);
    let known = if is_in_lives { kept() } else { Vec::new() };
    known.into_iter().chain(plans).find_map(|mut plan| {
        let seed = plan.seed;
        if let Where::In(focus) = place(rule) {
            plan = plan.focused(focus);
        }
        let told = match catch_unwind(AssertUnwindSafe(|| rule.while_broken(|| run(&plan)))) {
            Ok(Ok(_)) => return None,
            Ok(Err(violation)) => violation.to_string(),
            Err(_) => "an assertion of the database".into(),
        };
        run(&plan).is_ok().then_some((seed, told))
    })
}

/// Every rule that can be broken is found to be, in a few runs.
fn all_are_found(rules: impl Iterator<Item = BrokenRule>) {
    let mut missed = Vec::new();
    for rule in rules.filter(|rule| place(*rule) != Where::InTests) {
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

/// Half of them, so that two processors have something to do.
#[test]
fn what_is_broken_is_found() {
    all_are_found(BrokenRule::ALL.into_iter().step_by(2));
}

/// The other half.
#[test]
fn what_else_is_broken_is_found() {
    all_are_found(BrokenRule::ALL.into_iter().skip(1).step_by(2));
}
