//! Coverage-guided fuzzing of the decoders, by libFuzzer and on stable Rust.
//!
//! The programs are those of the crate in the folder `fuzz`. They are built with the flags that the
//! tool cargo-fuzz uses without a sanitizer: no compiler of a certain day is needed for them.

mod corpus;
mod program;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use program::{End, Programs, Stop};

#[derive(Args)]
pub(crate) struct Options {
    /// The target to run; without it each in turn.
    target: Option<String>,
    /// How long to run each target. If neither this nor --runs is given, a minute.
    #[arg(long, value_name = "N", conflicts_with = "runs")]
    seconds: Option<u64>,
    /// How many inputs to give each target.
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Print the names of the targets and run none.
    #[arg(long)]
    list: bool,
    /// Begin with inputs made from the golden vectors too, not only with `fuzz/corpus`.
    #[arg(long)]
    seeds: bool,
    /// Put into `fuzz/corpus` what was found to lead somewhere new, and drop there what no longer
    /// does.
    #[arg(long)]
    keep: bool,
}

impl Options {
    fn stop(&self) -> Stop {
        match (self.seconds, self.runs) {
            (_, Some(runs)) => Stop::Runs(runs),
            (seconds, None) => Stop::After(Duration::from_secs(seconds.unwrap_or(60))),
        }
    }
}

/// Runs the targets that `options` choose; whether all inputs kept their properties.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut targets = corpus::targets()?;
    if let Some(wanted) = &options.target {
        let all = targets.join(", ");
        targets.retain(|target| target == wanted);
        ensure!(!targets.is_empty(), "there is no target {wanted}, only {all}");
    }
    if options.list {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(true);
    }
    let programs = Programs::build(&targets)?;
    if options.seeds {
        programs.make_seeds()?;
    }
    let mut ends = Vec::new();
    for target in &targets {
        println!("\n=== {target}");
        let end = programs.fuzz(target, options.stop()).with_context(|| target.clone())?;
        if options.keep && !end.failed {
            programs.keep(target).with_context(|| target.clone())?;
        }
        ends.push((target.as_str(), end));
    }
    print!("\n{}", summary(&ends));
    Ok(ends.iter().all(|(_, end)| !end.failed))
}

/// The table at the end, and below it one line for a program to read.
fn summary(ends: &[(&str, End)]) -> String {
    let mut text =
        format!("{:<12}{:>14}{:>10}{:>8}{:>8}\n", "target", "executions", "edges", "inputs", "");
    for (target, end) in ends {
        let outcome = if end.failed { "FAILED" } else { "ok" };
        text += &format!(
            "{target:<12}{:>14}{:>10}{:>8}{outcome:>8}\n",
            end.executions, end.edges, end.inputs
        );
    }
    let failed = ends.iter().filter(|(_, end)| end.failed).count();
    text + &format!("{} passed, {failed} failed\n", ends.len() - failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_of_each_target() {
        let good = End { executions: 12, edges: 3, inputs: 2, failed: false };
        let bad = End { failed: true, ..good };
        let text = summary(&[("a", good), ("b", bad)]);
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().nth(2).unwrap().ends_with("FAILED"));
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed"));
    }
}
