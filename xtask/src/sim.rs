//! Runs the simulator, built for speed.

use std::ffi::OsString;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::cargo;

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// What the simulator is told: `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Whether every rule held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let status = cargo(&["run", "--release", "--quiet", "-p", "multibee-sim", "--"])
        .args(&options.arguments)
        .status()
        .context("cargo run")?;
    Ok(status.success())
}
