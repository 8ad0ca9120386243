//! Who does the workloads: we, and those we are compared with.

use std::fmt;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::store::Durability;
use super::task::Task;
use super::{native, node};

/// An implementation that does workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Peer {
    /// This workspace, floors included.
    Multibee,
    /// Hypercore 11 for logs and Hyperbee for trees, on Node.
    Node,
    /// The tree that is to come after Hyperbee, on Node.
    Hyperbee2,
    /// Several writers, on Node.
    Autobase,
    /// Stores that are linked with the program.
    Redb,
    Fjall,
    Sqlite,
}

impl Peer {
    /// Whether this one has a program for a job.
    pub(super) fn does(self, job: Job) -> bool {
        self == Self::Multibee || job.kind().at_peer(self).is_some()
    }

    /// Whether this is a tree over a log, with its history and replication.
    pub(super) fn is_tree(self) -> bool {
        matches!(self, Self::Node | Self::Hyperbee2)
    }

    /// Whether entries can be put into this one and read.
    pub(super) fn is_store(self) -> bool {
        self.is_tree() || self.is_native()
    }

    /// Whether entries can be put into this one with such a durability. What runs on Node never
    /// syncs, so nothing of it is durable at once.
    pub(super) fn stores_with(self, durability: Durability) -> bool {
        self.is_native() || (self.is_tree() && durability == Durability::Buffered)
    }

    fn is_native(self) -> bool {
        matches!(self, Self::Redb | Self::Fjall | Self::Sqlite)
    }

    /// What keeps this one from running here, if anything does.
    pub(super) fn obstacle(self) -> Option<String> {
        match self {
            Self::Multibee => None,
            Self::Node | Self::Hyperbee2 | Self::Autobase => node::missing(self),
            Self::Redb | Self::Fjall | Self::Sqlite => native::missing(self),
        }
    }

    /// The program that does a task.
    pub(super) fn command(self, task: &Task) -> Result<Command> {
        match self {
            Self::Multibee => own_command(task),
            // A group's processes are started and told by one of ours.
            Self::Autobase if !matches!(task.job, Job::Device(_)) => own_command(task),
            Self::Node | Self::Hyperbee2 | Self::Autobase => node::command(task),
            Self::Redb | Self::Fjall | Self::Sqlite => native::command(task),
        }
    }
}

/// This program again, about to do a task.
fn own_command(task: &Task) -> Result<Command> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(["bench", "--worker", &serde_json::to_string(task)?]);
    Ok(command)
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Multibee => "multibee",
            Self::Node => "node",
            Self::Hyperbee2 => "hyperbee2",
            Self::Autobase => "autobase",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
            Self::Sqlite => "sqlite",
        })
    }
}

/// The peers to compare with, each once. Never ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peers(Vec<Peer>);

impl Peers {
    /// Names to choose by, and whom each stands for.
    const NAMES: [(&'static str, &'static [Peer]); 7] = [
        ("node", &[Peer::Node, Peer::Hyperbee2, Peer::Autobase]),
        ("hyperbee", &[Peer::Node]),
        ("hyperbee2", &[Peer::Hyperbee2]),
        ("autobase", &[Peer::Autobase]),
        ("redb", &[Peer::Redb]),
        ("fjall", &[Peer::Fjall]),
        ("sqlite", &[Peer::Sqlite]),
    ];

    /// Those that do any of `jobs` and that nothing keeps from running; the others of them, each
    /// with the reason.
    pub(super) fn present(
        &self,
        jobs: &[Job],
        obstacle: impl Fn(Peer) -> Option<String>,
    ) -> (Self, Vec<(Peer, String)>) {
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for &peer in self.0.iter().filter(|peer| jobs.iter().any(|job| peer.does(*job))) {
            match obstacle(peer) {
                None => present.push(peer),
                Some(why) => absent.push((peer, why)),
            }
        }
        (Self(present), absent)
    }

    /// Who does what in one round: each job by us, and right after it by all who do it, too.
    pub(super) fn turns(&self, jobs: &[Job]) -> Vec<(Peer, Job)> {
        let mut turns = Vec::new();
        for &job in jobs {
            turns.push((Peer::Multibee, job));
            let others = self.0.iter().filter(|peer| peer.does(job));
            turns.extend(others.map(|peer| (*peer, job)));
        }
        turns
    }
}

impl FromStr for Peers {
    type Err = String;

    /// From names with commas between them, or `none`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut peers = Vec::new();
        if text == "none" {
            return Ok(Self(peers));
        }
        for name in text.split(',') {
            let found = Self::NAMES.into_iter().find(|(known, _)| *known == name);
            let (_, named) = found.ok_or_else(|| format!("there is no peer {name:?}"))?;
            for peer in named {
                if !peers.contains(peer) {
                    peers.push(*peer);
                }
            }
        }
        Ok(Self(peers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::Workload;

    fn peers(text: &str) -> Peers {
        text.parse().unwrap()
    }

    /// `none` is nobody, and nobody else; a name that nobody has is refused, and so is our own.
    #[test]
    fn names_of_peers_are_read() {
        assert_eq!(peers("none"), Peers(Vec::new()));
        let on_node = vec![Peer::Node, Peer::Hyperbee2, Peer::Autobase];
        assert_eq!(peers("node"), Peers(on_node.clone()));
        assert_eq!(peers("node,hyperbee2,node"), Peers(on_node));
        assert_eq!(peers("redb,hyperbee"), Peers(vec![Peer::Redb, Peer::Node]));
        for wrong in ["", "multibee", "node,none", "node,", "Node"] {
            assert!(wrong.parse::<Peers>().is_err(), "{wrong:?}");
        }
    }

    /// A round has all of our jobs in their order, and a peer's directly after the same one of ours.
    #[test]
    fn a_peer_has_its_turn_right_after_us() {
        let jobs = Workload::jobs();
        let alone = peers("none").turns(&jobs);
        assert_eq!(alone, jobs.iter().map(|job| (Peer::Multibee, *job)).collect::<Vec<_>>());

        let turns = peers("hyperbee,redb").turns(&jobs);
        for (index, (peer, job)) in turns.iter().enumerate() {
            match peer {
                Peer::Multibee => {}
                Peer::Node => assert_eq!(turns[index - 1], (Peer::Multibee, *job)),
                _ => assert_eq!(turns[index - 1].1, *job),
            }
        }
        let done_by =
            |wanted: Peer| turns.iter().filter(|(peer, _)| *peer == wanted).collect::<Vec<_>>();
        assert!(done_by(Peer::Node).len() > 14 && done_by(Peer::Redb).len() > 7);
        let ours = turns.into_iter().filter(|(peer, _)| *peer == Peer::Multibee);
        assert!(ours.eq(alone));
    }

    /// A peer that cannot run is named with the reason, unless nothing is asked of it.
    #[test]
    fn who_is_absent_is_told() {
        let jobs = Workload::jobs();
        let here = peers("hyperbee").present(&jobs, |_| None);
        assert_eq!(here, (peers("hyperbee"), Vec::new()));

        let away = |_| Some("it sleeps".to_owned());
        let (present, absent) = peers("hyperbee").present(&jobs, away);
        assert_eq!(present, peers("none"));
        assert_eq!(absent, [(Peer::Node, "it sleeps".to_owned())]);
        assert_eq!(peers("node").present(&[Job::Verify], away), (peers("none"), Vec::new()));
        assert_eq!(peers("none").present(&jobs, away), (peers("none"), Vec::new()));
    }

    /// A peer reads what it has written itself: who does a job does its source, too.
    #[test]
    fn peers_prepare_their_own_sources() {
        for job in Workload::jobs() {
            for peer in Peers::NAMES.into_iter().flat_map(|(_, peers)| peers) {
                if let Some(source) = job.kind().source()
                    && peer.does(job)
                {
                    assert!(peer.does(source), "{peer}: {job} needs {source}");
                }
            }
        }
    }
}
