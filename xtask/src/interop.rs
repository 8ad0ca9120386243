//! Multibee against Hypercore and Hyperbee on Node.

mod bees;
mod carrying;
mod cores;
mod damage;
mod fetching;
mod folder;
mod network;
mod our_bee;
mod program;
mod sample;
mod script;
mod serving;
mod steps;
mod taking_in;

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use anyhow::Result;
use clap::Args;

pub(crate) use program::{node_obstacle, node_program, obstacle};

#[derive(Args)]
pub(crate) struct Options {
    /// Run only the cases that have this in their name.
    filter: Option<String>,
    /// Print the names of the cases and run none.
    #[arg(long)]
    list: bool,
    /// Instead of the cases, run so many random scripts on trees, other ones each time.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["filter", "list"])]
    btree: Option<u32>,
    /// With --btree: the seed of the first script.
    #[arg(long, requires = "btree")]
    seed: Option<u64>,
}

impl Options {
    pub(crate) fn everything() -> Self {
        Self { filter: None, list: false, btree: None, seed: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ran {
        passed: usize,
        failed: usize,
    },
    /// This machine cannot run them.
    Skipped,
}

impl Outcome {
    /// Whether cases ran and none failed.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Ran { passed: 1.., failed: 0 })
    }
}

/// One thing that must work between the two.
struct Case {
    name: String,
    run: Box<dyn Fn() -> Result<()>>,
}

impl Case {
    fn new(name: impl Into<String>, run: impl Fn() -> Result<()> + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// The major versions of Hypercore that are tried.
const HYPERCORES: &[&str] = &["10", "11"];

fn all_cases() -> Vec<Case> {
    [
        folder::cases(),
        carrying::cases(),
        damage::cases(),
        bees::cases(),
        fetching::cases(),
        serving::cases(),
        taking_in::cases(),
        cores::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs the cases that `options` choose. A case that fails doesn't keep others from running.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let mut cases = all_cases();
    if let Some(filter) = &options.filter {
        cases.retain(|case| case.name.contains(filter.as_str()));
    }
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(Outcome::Ran { passed: cases.len(), failed: 0 });
    }
    if let Some(why) = obstacle() {
        println!("!!! interoperability was SKIPPED: {why}");
        return Ok(Outcome::Skipped);
    }
    if let Some(count) = options.btree {
        return Ok(bees::run(count, options.seed.unwrap_or_else(any_seed)));
    }
    program::build_multibee()?;
    let mut failed = 0;
    for case in &cases {
        let start = Instant::now();
        match (case.run)() {
            Ok(()) => println!("ok {} ({:.1} s)", case.name, start.elapsed().as_secs_f64()),
            Err(error) => {
                failed += 1;
                println!("FAILED {}: {error:#}", case.name);
            }
        }
    }
    let passed = cases.len() - failed;
    println!("{passed} passed, {failed} failed");
    Ok(Outcome::Ran { passed, failed })
}

/// Another one each time.
fn any_seed() -> u64 {
    // The standard library seeds its hash maps at random.
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_nothing_is_not_good() {
        assert!(Outcome::Ran { passed: 3, failed: 0 }.is_good());
        assert!(!Outcome::Ran { passed: 3, failed: 1 }.is_good());
        assert!(!Outcome::Ran { passed: 0, failed: 0 }.is_good());
        assert!(!Outcome::Skipped.is_good());
    }

    #[test]
    fn names_of_cases_are_unique() {
        let mut names: Vec<_> = all_cases().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
