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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::job::Job;
    use crate::bench::workload::{Converge, GroupDevice};

    fn file(peer: Peer, job: Job) -> Option<String> {
        let task = Task { peer, job, root: PathBuf::new(), run: 1, quick: false };
        let command = command(&task).ok()?;
        let path = PathBuf::from(command.get_args().next()?);
        Some(path.file_name()?.to_str()?.to_owned())
    }

    /// Each peer has a program for what it does; a group of devices is no single process.
    #[test]
    fn each_peer_has_its_program() {
        let named = |peer, job| file(peer, job).unwrap();
        assert_eq!(named(Peer::Node, Job::Diff), "bench.mjs");
        assert_eq!(named(Peer::Node, Job::Clone), "bee.mjs");
        assert_eq!(named(Peer::Hyperbee2, Job::Diff), "bee.mjs");
        let device = GroupDevice { number: 1, devices: 3, batch: 50, n: 7500 };
        assert_eq!(named(Peer::Autobase, Job::Device(device)), "autobase.mjs");
        assert_eq!(file(Peer::Autobase, Job::Diff), None);
        let group = Job::Converge(Converge { devices: 3, batch: 50 });
        assert_eq!(file(Peer::Hyperbee2, group), None);
    }
}
