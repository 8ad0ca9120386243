//! Tasks of this workspace: `cargo xtask --help` lists them.

mod bench;
mod ci;
mod command;
mod crash;
mod fuzz;
mod instructions;
mod interop;
mod random;
mod sim;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure how fast Multibee is.
    Bench(bench::Options),
    /// Check all that CI checks: format, lints, docs, tests, interoperability, house rules.
    Ci(ci::Options),
    /// Look for crashes that a log does not survive: power cuts in memory, kills on real files.
    Crash(crash::Options),
    /// Look for inputs that break a decoder's properties, guided by coverage.
    Fuzz(fuzz::Options),
    /// Try Multibee against Hypercore and Hyperbee on Node.
    Interop(interop::Options),
    /// Simulate groups of devices whose disks, networks and clocks fail, for years.
    Sim(sim::Options),
    /// Check the house rules that a program can check.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Crash(options) => crash::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Interop(options) => interop::run(&options).map(interop::Outcome::is_good),
        Task::Sim(options) => sim::run(&options),
        Task::Tidy => tidy::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace's folder")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }
}
