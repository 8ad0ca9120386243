//! Who does the workloads: we, and those we are compared with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::job::Job;

/// An implementation that does workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Peer {
    /// This workspace, floors included.
    Multibee,
    /// Hypercore 11 for logs and Hyperbee for trees, on Node.
    Node,
}

impl Peer {
    /// Whether this one has a program for a job.
    pub(super) fn does(self, job: Job) -> bool {
        match self {
            Self::Multibee => true,
            Self::Node => job.kind().on_node().is_some(),
        }
    }

    /// What keeps this one from running here, if anything does.
    pub(super) fn obstacle(self) -> Option<String> {
        match self {
            Self::Multibee => None,
            Self::Node => crate::interop::obstacle(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Multibee => "multibee",
            Self::Node => "node",
        })
    }
}

/// The peers to compare with, each once. Never ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peers(Vec<Peer>);

impl Peers {
    /// Those to choose from.
    const ALL: [Peer; 1] = [Peer::Node];

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
            let peer = Self::ALL.into_iter().find(|peer| peer.to_string() == name);
            let peer = peer.ok_or_else(|| format!("there is no peer {name:?}"))?;
            if !peers.contains(&peer) {
                peers.push(peer);
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
        assert_eq!(peers("node"), Peers(vec![Peer::Node]));
        assert_eq!(peers("node,node"), Peers(vec![Peer::Node]));
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

        let turns = peers("node").turns(&jobs);
        assert_eq!(turns.len(), jobs.len() + 11);
        for (index, (peer, job)) in turns.iter().enumerate() {
            if *peer != Peer::Multibee {
                assert_eq!(turns[index - 1], (Peer::Multibee, *job));
            }
        }
        let ours = turns.into_iter().filter(|(peer, _)| *peer == Peer::Multibee);
        assert!(ours.eq(alone));
    }

    /// A peer that cannot run is named with the reason, unless nothing is asked of it.
    #[test]
    fn who_is_absent_is_told() {
        let jobs = Workload::jobs();
        let here = peers("node").present(&jobs, |_| None);
        assert_eq!(here, (peers("node"), Vec::new()));

        let away = |_| Some("it sleeps".to_owned());
        let (present, absent) = peers("node").present(&jobs, away);
        assert_eq!(present, peers("none"));
        assert_eq!(absent, [(Peer::Node, "it sleeps".to_owned())]);
        assert_eq!(peers("node").present(&[Job::Clone], away), (peers("none"), Vec::new()));
        assert_eq!(peers("none").present(&jobs, away), (peers("none"), Vec::new()));
    }

    /// A peer reads what it has written itself: who does a job does its source, too.
    #[test]
    fn peers_prepare_their_own_sources() {
        for job in Workload::jobs() {
            if let Some(source) = job.kind().source()
                && Peer::Node.does(job)
            {
                assert!(Peer::Node.does(source), "{job} needs {source}");
            }
        }
    }
}
