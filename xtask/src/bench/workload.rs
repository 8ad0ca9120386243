//! What there is to measure: a file for each workload, and one table of all.

mod append;
mod clone;
mod compact;
mod converge;
mod device;
mod diff;
mod floors;
mod get;
mod group;
mod growth;
mod idle;
mod large;
mod large_tree;
mod long_log;
mod merge;
mod open;
mod put_batch;
mod put_single;
mod read;
mod scan;
mod silence;
mod sparse;
mod statements;
mod verify;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(super) use append::{Append, AppendFloor};
pub(super) use clone::{CloneFloor, CloneTree, ServeTree};
pub(super) use compact::Compact;
pub(super) use converge::{CatchUp, Converge};
pub(super) use device::GroupDevice;
pub(super) use diff::{Diff, Overwrite};
pub(super) use floors::{Floor, Part};
pub(super) use get::Get;
pub(super) use growth::Grow;
#[cfg(test)]
pub(super) use growth::Growing;
pub(super) use idle::{Idle, IdleServe};
pub(super) use large::{CloneLarge, CloneLargeFloor, ServeLarge};
pub(super) use large_tree::{LoadLarge, OpenLarge};
pub(super) use long_log::{OpenLong, WriteLong};
pub(super) use merge::{Merge, OpenGroup};
pub(super) use open::Open;
pub(super) use put_batch::PutBatch;
pub(super) use put_single::PutSingle;
pub(super) use read::{Read, ReadWhileWriting};
pub(super) use scan::Scan;
pub(super) use silence::Silence;
pub(super) use sparse::Sparse;
pub(super) use statements::OpenStated;
pub(super) use verify::Verify;

use super::job::Job;
use super::memory;

/// A workload that all peers know by this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "UPPER")]
pub(super) enum Workload {
    /// Append to a log.
    W1,
    /// Read a log at random.
    W2,
    /// Put entries one by one.
    W3,
    /// Put entries in batches.
    W4,
    /// Get entries at random.
    W5,
    /// Scan all entries.
    W6,
    /// Tell which entries differ between two versions.
    W7,
    /// Clone over a connection.
    W8,
    /// Get single entries over a connection.
    W9,
    /// Follow a log of 10 GiB without keeping its data, for the memory. Not run by peers, and only if
    /// named: it takes minutes.
    N2,
    /// Clone a log of blocks of 4 KiB. Not run by peers.
    N3,
    /// Open a log of ten million blocks. Not run by peers.
    L1,
    /// Check a download against a log's tree. Not run by peers.
    L2,
    /// Load a tree with ten million entries in ascending order, or a million at random, and open it.
    /// Not run by peers, and only if named: it takes minutes and gigabytes.
    L3,
    /// Hold idle connections. Not run by peers.
    N1,
    /// Write on several devices at once until all hold the same; catch up after being away.
    W10,
    /// Several devices that hold the same, and do nothing. Not run by peers.
    N4,
    /// Merge what was downloaded. Not run by peers.
    M1,
    /// Merge a million entries of five devices, and open what has become of it. Not run by peers, and
    /// only if named: it takes a minute and gigabytes.
    M2,
    /// Open a database in which much was said about devices. Not run by peers.
    M3,
    /// Move a database to a fresh log while somebody writes. Not run by peers.
    M4,
    /// Open a tree and get one entry.
    W11,
    /// The memory that W4 and W8 take; runs those.
    W12,
    /// What the machine takes for hashing, signing, encrypting, writing, sending. Not run by peers.
    F,
    /// W4, W5, W8 and W11 at 10^4, 10^5 and 10^6 entries, W10 at 2, 3, 6 and 12 devices. Only if
    /// named: it takes minutes.
    G,
    /// The same at 10^7 entries. Only if named: it takes many minutes and gigabytes.
    G7,
}

/// All workloads, in an order in which each finds what it needs.
const PLANS: [Plan; 25] = [
    floors::PLAN,
    append::PLAN,
    read::PLAN,
    put_single::PLAN,
    put_batch::PLAN,
    get::PLAN,
    scan::PLAN,
    diff::PLAN,
    open::PLAN,
    clone::PLAN,
    idle::PLAN,
    sparse::PLAN,
    large::FOLLOW,
    large::CLONE,
    long_log::PLAN,
    verify::PLAN,
    large_tree::PLAN,
    converge::PLAN,
    silence::PLAN,
    merge::PLAN,
    merge::LARGE,
    statements::PLAN,
    compact::PLAN,
    growth::PLAN,
    growth::LARGE,
];

impl Workload {
    /// What its file says of it.
    pub(super) fn plan(self) -> &'static Plan {
        // What is measured with others has the plan of the first of those.
        let wanted = self.parts().first().copied().unwrap_or(self);
        let plan = PLANS.iter().find(|plan| plan.workload == wanted);
        plan.expect("a test looks for the plan of each")
    }

    /// The workloads that are run in its place.
    pub(super) fn parts(self) -> &'static [Self] {
        if self == Self::W12 { &memory::OF } else { &[] }
    }

    /// All that is measured, in an order in which each job finds what it needs.
    pub(super) fn jobs() -> Vec<Job> {
        PLANS.iter().flat_map(|plan| (plan.jobs)()).collect()
    }
}

/// What there is to know about a workload, beside its [jobs](super::job::Kind).
pub(super) struct Plan {
    workload: Workload,
    /// All that is measured, in an order in which each job finds what it needs.
    jobs: fn() -> Vec<Job>,
    /// Whether it is run only if it is asked for.
    pub(super) is_large: bool,
    /// The variant that is the floor of another one, if that has any.
    pub(super) floor: fn(&str) -> Option<String>,
    /// What a peer, by its name, calls one of our variants, if it has another name for it.
    pub(super) theirs: fn(&str, &str) -> Option<String>,
}

impl Plan {
    /// Of a workload that is small, has no floor, and is called by peers as by us.
    const fn of(workload: Workload, jobs: fn() -> Vec<Job>) -> Self {
        Self { workload, jobs, is_large: false, floor: |_| None, theirs: |_, _| None }
    }
}

/// The floor where each variant has its own.
fn floor_of_same_name(variant: &str) -> Option<String> {
    (!variant.ends_with("FLOOR")).then(|| format!("{variant} FLOOR"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each workload has one plan, with jobs of its own only.
    #[test]
    fn each_workload_has_a_plan() {
        let ids = |plan: &Plan| format!("{:?}", plan.workload);
        let planned: BTreeSet<_> = PLANS.iter().map(ids).collect();
        let all = Workload::value_variants().iter().filter(|known| known.parts().is_empty());
        let known: BTreeSet<_> = all.map(|known| format!("{known:?}")).collect();
        assert_eq!((planned, PLANS.len()), (known.clone(), known.len()));
        for plan in &PLANS {
            let jobs = (plan.jobs)();
            assert!(!jobs.is_empty(), "{:?}", plan.workload);
            assert!(jobs.iter().all(|job| job.kind().workload() == plan.workload));
        }
    }
}
