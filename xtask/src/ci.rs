//! All that CI checks, in one command.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::command::cargo;
use crate::{crash, instructions, interop, tidy};

#[derive(Args)]
pub(crate) struct Options {
    /// `cargo test` has just passed: run only the tests that it leaves out.
    #[arg(long)]
    after_tests: bool,
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

struct Step {
    name: &'static str,
    run: fn(&Options) -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "format", run: |_| check_format() },
    Step { name: "clippy", run: |_| run_cargo(CLIPPY, &[]) },
    // Programs aren't documented: `multibee` is also the name of a library.
    Step { name: "doc", run: |_| run_cargo(DOC, &[("RUSTDOCFLAGS", "-D warnings")]) },
    Step { name: "test", run: test },
    Step { name: "features", run: |_| try_features() },
    Step { name: "broken", run: |_| find_what_is_broken() },
    Step { name: "kill", run: |_| crash::kill_a_few_times().map(passed_if) },
    Step { name: "count", run: |_| count_instructions() },
    Step { name: "interop", run: |_| interoperate() },
    Step { name: "tidy", run: |_| tidy::run().map(passed_if) },
];

const CLIPPY: &[&str] = &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
const DOC: &[&str] = &["doc", "--workspace", "--lib", "--no-deps"];

/// Runs every step, also after one that failed; whether all passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut results = Vec::new();
    for step in STEPS {
        println!("\n=== {}", step.name);
        let start = Instant::now();
        let outcome = (step.run)(options).unwrap_or_else(|error| {
            println!("{}: {error:#}", step.name);
            Outcome::Failed
        });
        let took = start.elapsed();
        println!("=== {}: {outcome} after {}", step.name, seconds(took));
        results.push((step.name, outcome, took));
    }
    print!("\n{}", summary(&results));
    Ok(results.iter().all(|(_, outcome, _)| *outcome != Outcome::Failed))
}

/// Of the workspace, and of the peers' program, which nothing here builds.
fn check_format() -> Result<Outcome> {
    if run_cargo(&["fmt", "--all", "--check"], &[])? == Outcome::Failed {
        return Ok(Outcome::Failed);
    }
    run_cargo(&["fmt", "--manifest-path", "bench-peers/Cargo.toml", "--check"], &[])
}

fn test(options: &Options) -> Result<Outcome> {
    if options.after_tests {
        println!("the tests of `cargo test` have just run and are not repeated");
        return run_cargo(&["test", "--workspace", "--bin", "xtask"], &[]);
    }
    run_cargo(&["test", "--workspace"], &[])
}

/// What is left out of a build that asks for no feature.
fn try_features() -> Result<Outcome> {
    let lint =
        ["clippy", "-p", "multibee", "--features", "automerge,aws-lc,broken", "--all-targets"];
    let lint = [&lint[..], &["--", "-D", "warnings"]].concat();
    let merge = ["test", "-p", "multibee-merge", "--features", "automerge", "--lib", "automerge"];
    let facade = ["test", "-p", "multibee", "--features", "automerge", "--lib", "documents"];
    let log = ["test", "-p", "multibee-log", "--features", "aws-lc", "--lib", "key_pair"];
    for step in [&lint[..], &merge, &facade, &log] {
        if run_cargo(step, &[])? == Outcome::Failed {
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Passed)
}

/// Rules of the database that are broken on purpose have to be found.
fn find_what_is_broken() -> Result<Outcome> {
    let simulated = ["test", "-p", "multibee-sim", "--features", "broken", "--test", "broken"];
    if run_cargo(&simulated, &[])? == Outcome::Failed {
        return Ok(Outcome::Failed);
    }
    let lib = ["test", "-p", "multibee", "--features", "broken", "--lib", "--"];
    run_cargo(&[&lib[..], &["absorb", "statement"]].concat(), &[])
}

/// A machine without valgrind can check the rest, CI's too: a change that costs instructions is none
/// that breaks something.
fn count_instructions() -> Result<Outcome> {
    Ok(match instructions::run(&instructions::Counting::default())? {
        instructions::Outcome::Skipped => Outcome::Skipped,
        instructions::Outcome::Counted(is_good) => passed_if(is_good),
    })
}

/// A machine without Node can check the rest, but CI must not.
fn interoperate() -> Result<Outcome> {
    Ok(match interop::run(&interop::Options::everything())? {
        interop::Outcome::Skipped if !is_ci() => Outcome::Skipped,
        interop::Outcome::Skipped => {
            println!("CI is set: what is skipped counts as failed");
            Outcome::Failed
        }
        ran @ interop::Outcome::Ran { .. } => passed_if(ran.is_good()),
    })
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

fn run_cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Outcome> {
    println!("cargo {}", arguments.join(" "));
    let status = cargo(arguments)
        .envs(variables.iter().copied())
        .status()
        .with_context(|| format!("cargo {}", arguments.join(" ")))?;
    Ok(passed_if(status.success()))
}

fn passed_if(good: bool) -> Outcome {
    if good { Outcome::Passed } else { Outcome::Failed }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The table at the end, and below it one line for a program to read.
fn summary(results: &[(&str, Outcome, Duration)]) -> String {
    let mut text = String::new();
    for (name, outcome, took) in results {
        text += &format!("{name:<10}{outcome:<10}{:>10}\n", seconds(*took));
    }
    let count = |wanted| results.iter().filter(|(_, outcome, _)| *outcome == wanted).count();
    text += &format!("{} passed, {} failed", count(Outcome::Passed), count(Outcome::Failed));
    match count(Outcome::Skipped) {
        0 => text += "\n",
        skipped => text += &format!(", {skipped} skipped\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_each_step_once() {
        let second = Duration::from_secs(1);
        let results = [
            ("a", Outcome::Passed, second),
            ("b", Outcome::Failed, second),
            ("c", Outcome::Passed, second),
        ];
        let text = summary(&results);
        assert_eq!(text.lines().last(), Some("2 passed, 1 failed"));
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn what_was_skipped_is_said() {
        let results =
            [("a", Outcome::Passed, Duration::ZERO), ("b", Outcome::Skipped, Duration::ZERO)];
        assert_eq!(summary(&results).lines().last(), Some("1 passed, 0 failed, 1 skipped"));
    }
}
