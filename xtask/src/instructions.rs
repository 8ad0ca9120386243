//! How many instructions hot paths take: exact enough for machines whose clocks say nothing.
//!
//! The program `multibee-kernels` does each of them over and over, and callgrind counts what its
//! function `counted` executes. The counts are compared with `xtask/instructions.json`.

mod baseline;
mod comparison;
mod program;

use std::process::Command;

use anyhow::{Result, bail, ensure};
use clap::Args;

use baseline::Baseline;
use comparison::Comparison;
use program::{Kernel, Program};

#[derive(Args, Default)]
pub(crate) struct Counting {
    /// Count the instructions of hot paths instead, of all or of these, by callgrind. Fails if one
    /// takes over 3 % more than in `xtask/instructions.json`.
    #[arg(long, value_name = "KERNEL,..", num_args = 0.., value_delimiter = ',')]
    instructions: Option<Vec<String>>,
    /// Compare with these counts from now on.
    #[arg(long, requires = "instructions")]
    save_counts: bool,
}

impl Counting {
    /// Whether they ask for anything.
    pub(crate) fn are_wanted(&self) -> bool {
        self.instructions.is_some()
    }
}

/// How counting ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Whether nothing has grown.
    Counted(bool),
    /// There is nothing to count with.
    Skipped,
}

impl Outcome {
    /// Whether that is what was asked for.
    pub(crate) fn is_good(self) -> bool {
        self == Self::Counted(true)
    }
}

/// Counts the kernels named, or all, and compares them with the baseline; or makes them the baseline.
pub(crate) fn run(options: &Counting) -> Result<Outcome> {
    let only = options.instructions.as_deref().unwrap_or_default();
    if let Some(why) = obstacle() {
        println!("!!! instructions were NOT counted: {why}");
        return Ok(Outcome::Skipped);
    }
    let program = Program::build()?;
    let (environment, kernels) = program.describe()?;
    let kernels = choose(kernels, only)?;
    println!("counting {} kernels", kernels.len());
    let counts = program.count(&kernels)?;
    let before = Baseline::load()?;
    let is_whole = only.is_empty();
    let comparison = Comparison::new(&kernels, &counts, &environment, before.as_ref(), is_whole);
    print!("{}", comparison.table());
    if options.save_counts {
        Baseline::replaced(before, environment, counts, is_whole)?.store()?;
        println!("saved");
        return Ok(Outcome::Counted(true));
    }
    Ok(Outcome::Counted(comparison.is_good()))
}

/// Why there are no counts to be had here.
fn obstacle() -> Option<String> {
    let found = Command::new("valgrind").arg("--version").output();
    match found {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("valgrind does not run ({})", output.status)),
        Err(error) => Some(format!("valgrind does not run ({error}); install it")),
    }
}

fn choose(mut kernels: Vec<Kernel>, only: &[String]) -> Result<Vec<Kernel>> {
    let names: Vec<String> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        bail!("there is no kernel {unknown}, only {}", names.join(", "));
    }
    if !only.is_empty() {
        kernels.retain(|kernel| only.contains(&kernel.name));
    }
    ensure!(!kernels.is_empty(), "the program has no kernels");
    Ok(kernels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> Vec<Kernel> {
        ["a", "b"].map(|name| Kernel::new(name, 10, "do it")).to_vec()
    }

    #[test]
    fn only_what_is_named_is_counted() {
        assert_eq!(choose(kernels(), &[]).unwrap(), kernels());
        assert_eq!(choose(kernels(), &["b".to_owned()]).unwrap(), kernels()[1..]);
        let error = choose(kernels(), &["W1".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "there is no kernel W1, only a, b");
    }
}
