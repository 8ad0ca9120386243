//! G: W4, W5, W8 and W11 with more and more entries, W10 with more and more devices.

use anyhow::Result;
use multibee_btree::Bee;
use serde::{Deserialize, Serialize};

use super::clone::{CloneTree, ServeTree};
use super::converge::{Converge, converge};
use super::get::get;
use super::open::open;
use super::put_batch::put_batch;
use super::{Plan, PutBatch, Workload};
use crate::bench::growth::{GROWTH_OF, SIZE};
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::Record;
use crate::bench::store::{Durability, Layer};
use crate::bench::task::Task;
use crate::bench::work::Work;

/// As far as takes minutes.
pub(super) const PLAN: Plan = Plan { is_large: true, ..Plan::of(Workload::G, jobs) };

/// Beyond that.
pub(super) const LARGE: Plan = Plan { is_large: true, ..Plan::of(Workload::G7, large_jobs) };

fn jobs() -> Vec<Job> {
    let mut jobs: Vec<_> = [10_000, 100_000, 1_000_000].into_iter().flat_map(of_entries).collect();
    let converge = |devices| Job::Grow(Grow { of: Growing::Converge, size: devices });
    jobs.extend([2, 3, 6, 12].map(converge));
    jobs
}

fn large_jobs() -> Vec<Job> {
    of_entries(LARGE_SIZE)
}

const LARGE_SIZE: u32 = 10_000_000;

fn of_entries(size: u32) -> Vec<Job> {
    [Growing::Put, Growing::Get, Growing::Clone, Growing::Open]
        .map(|of| Job::Grow(Grow { of, size }))
        .to_vec()
}

/// What is done at several sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) enum Growing {
    Put,
    Get,
    Clone,
    /// The server's side of it.
    Serve,
    Open,
    Converge,
}

/// The same as in another workload, on so many entries or devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Grow {
    pub(in crate::bench) of: Growing,
    pub(in crate::bench) size: u32,
}

impl Grow {
    /// The workload that this is at another size.
    fn like(self) -> Workload {
        match self.of {
            Growing::Put => Workload::W4,
            Growing::Get => Workload::W5,
            Growing::Clone | Growing::Serve => Workload::W8,
            Growing::Open => Workload::W11,
            Growing::Converge => Workload::W10,
        }
    }

    fn converging(self) -> Converge {
        Converge { devices: u8::try_from(self.size).unwrap_or(u8::MAX), batch: 50 }
    }
}

impl Kind for Grow {
    fn workload(&self) -> Workload {
        if self.size == LARGE_SIZE { Workload::G7 } else { Workload::G }
    }

    fn name(&self) -> String {
        format!("{:?}-{}", self.of, self.size).to_lowercase()
    }

    fn source(&self) -> Option<Job> {
        let source = Job::Grow(Self { of: Growing::Put, ..*self });
        (!matches!(self.of, Growing::Put | Growing::Converge)).then_some(source)
    }

    fn server(&self) -> Option<Job> {
        match self.of {
            Growing::Clone => Some(Job::Grow(Self { of: Growing::Serve, ..*self })),
            Growing::Converge => self.converging().server(),
            _ => None,
        }
    }

    fn full_n(&self) -> u32 {
        match self.of {
            Growing::Put | Growing::Clone | Growing::Serve => self.size,
            Growing::Get => 50_000,
            Growing::Open => 1,
            Growing::Converge => self.converging().full_n(),
        }
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        // Beyond that they take hours.
        let most = match peer {
            Peer::Node => 100_000,
            Peer::Autobase => 3,
            Peer::Hyperbee2 => 1_000_000,
            _ => u32::MAX,
        };
        if self.size > most {
            return None;
        }
        match self.of {
            Growing::Put => peer.is_store().then_some(Work::new("W4", PutBatch::OPS)),
            Growing::Get => peer.is_store().then_some(Work::new("W5", 1)),
            Growing::Clone => CloneTree.at_peer(peer),
            Growing::Serve => None,
            Growing::Open => peer.is_store().then_some(Work::new("W11", 1)),
            Growing::Converge => self.converging().at_peer(peer),
        }
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        match self.of {
            Growing::Put => put_batch::<Bee>(task, Layer::Tree, Durability::Buffered),
            Growing::Get => get::<Bee>(task, Layer::Tree),
            Growing::Clone => CloneTree.run(task),
            Growing::Serve => ServeTree.run(task),
            Growing::Open => open::<Bee>(task, Layer::Tree),
            Growing::Converge => converge(self.converging(), task),
        }
    }

    fn named(&self, task: &Task, record: Record) -> Record {
        // As much as there really was, in a quick run too.
        let size = match self.of {
            Growing::Put => task.n(),
            Growing::Converge => self.size,
            _ => task.population(),
        };
        let pass =
            if self.of == Growing::Get { format!(" {}", record.variant) } else { String::new() };
        let of = format!("{:?}{pass}", self.like());
        let variant = format!("{of} of {size}");
        Record { workload: self.workload(), variant, ..record }.and(GROWTH_OF, of).and(SIZE, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    /// Ours and a peer's get the same name, whatever they call themselves, and the size that there was.
    #[test]
    fn points_are_named_by_what_grows() {
        let job = Job::Grow(Grow { of: Growing::Get, size: 100_000 });
        let (peer, root) = (Peer::Multibee, std::path::PathBuf::new());
        let task = Task { peer, job, root, run: 1, quick: true };
        let named = job.kind().named(&task, sample("redb", "warm"));
        assert_eq!((named.workload, &named.variant[..]), (Workload::G, "W5 warm of 10000"));
        assert_eq!(
            (&named.more[GROWTH_OF], &named.more[SIZE]),
            (&"W5 warm".into(), &10_000.into())
        );
        let job = Job::Grow(Grow { of: Growing::Put, size: 1_000_000 });
        let named = job.kind().named(&Task { job, quick: false, ..task }, sample("redb", "redb"));
        assert_eq!(named.variant, "W4 of 1000000");
    }

    /// What would take a peer hours is not asked of it.
    #[test]
    fn slow_peers_are_spared() {
        let asked = |peer, size| Grow { of: Growing::Put, size }.at_peer(peer).is_some();
        assert!(asked(Peer::Node, 100_000) && !asked(Peer::Node, 1_000_000));
        assert!(asked(Peer::Redb, LARGE_SIZE) && !asked(Peer::Hyperbee2, LARGE_SIZE));
        assert!(!asked(Peer::Autobase, 10_000));
    }
}
