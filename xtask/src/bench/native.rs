//! Peers that are Rust crates: a program of their own, outside of the workspace.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::keep::built_in;
use super::peer::Peer;
use super::task::Task;
use super::work::arguments;
use crate::command::cargo;

/// The program, about to do a task.
pub(super) fn command(task: &Task) -> Result<Command> {
    let mut command = Command::new(program());
    command.args(["--task", &arguments(task)?]);
    Ok(command)
}

fn folder() -> PathBuf {
    built_in().join("bench-peers")
}

fn program() -> PathBuf {
    folder().join("release").join(format!("bench-peers{}", std::env::consts::EXE_SUFFIX))
}

/// What keeps a peer from running here, if anything does: builds the program, once.
pub(super) fn missing(_: Peer) -> Option<String> {
    static BUILT: OnceLock<Option<String>> = OnceLock::new();
    BUILT.get_or_init(|| build().err().map(|error| format!("{error:#}"))).clone()
}

fn build() -> Result<()> {
    eprintln!("building redb, fjall and SQLite: some minutes the first time");
    let folder = folder();
    let mut command = cargo(&["build", "--release", "--locked"]);
    command.args(["--manifest-path", "bench-peers/Cargo.toml", "--target-dir"]).arg(folder);
    let status = command.stdout(Stdio::null()).status().context("cargo build")?;
    ensure!(
        status.success(),
        "`cargo build --release --manifest-path bench-peers/Cargo.toml` failed"
    );
    Ok(())
}
