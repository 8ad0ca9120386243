//! Peers that run on Node.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::peer::Peer;
use super::task::Task;
use super::work::arguments;
use crate::interop::{node_obstacle, node_program, obstacle};
use crate::root;

/// The program of a peer, about to do a task.
pub(super) fn command(task: &Task) -> Result<Command> {
    let mut command = program(task);
    command.args(["--task", &arguments(task)?]);
    Ok(command)
}

/// What Hypercore and Hyperbee do without a network is old enough to have its place beside the
/// programs of `interop`.
fn program(task: &Task) -> Command {
    let job = task.job.kind().at_peer(task.peer).map_or("", |work| work.job);
    if is_in_interop(task.peer, job) {
        return node_program("bench.mjs");
    }
    let mut command = Command::new("node");
    command.arg(folder().join(if task.peer == Peer::Autobase {
        "autobase.mjs"
    } else {
        "bee.mjs"
    }));
    command
}

fn is_in_interop(peer: Peer, job: &str) -> bool {
    peer == Peer::Node && !["W8", "W9", "W11"].contains(&job)
}

fn folder() -> PathBuf {
    root().join("bench-peers/node")
}

/// What keeps such peers from running here, if anything does.
pub(super) fn missing(peer: Peer) -> Option<String> {
    if peer == Peer::Node
        && let Some(why) = obstacle()
    {
        return Some(why);
    }
    let installed = folder().join("node_modules").is_dir();
    node_obstacle().or_else(|| {
        let why = "its packages are missing: run `npm ci --prefix bench-peers/node`";
        (!installed).then(|| why.to_owned())
    })
}
