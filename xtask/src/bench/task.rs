//! A job and its circumstances: how much of it, and where its data is.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::job::Job;
use super::peer::Peer;

/// A job for one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    /// Who does it.
    pub(super) peer: Peer,
    pub(super) job: Job,
    /// Where all jobs keep their data.
    pub(super) root: PathBuf,
    /// From 1.
    pub(super) run: u32,
    /// With a tenth of everything.
    pub(super) quick: bool,
}

impl Task {
    /// The same circumstances for another job.
    pub(super) fn with(&self, job: Job) -> Self {
        Self { job, ..self.clone() }
    }

    /// Number of operations.
    pub(super) fn n(&self) -> u32 {
        self.n_of(self.job)
    }

    /// Number of blocks or entries in the data that is read; 0 if none is.
    pub(super) fn population(&self) -> u32 {
        self.job.kind().source().map_or(0, |source| self.n_of(source))
    }

    fn n_of(&self, job: Job) -> u32 {
        let full_n = job.kind().full_n();
        if self.quick { (full_n / QUICK_DIVISOR).max(1) } else { full_n }
    }

    /// Where the job writes.
    pub(super) fn folder(&self) -> PathBuf {
        self.root.join(self.to_string())
    }

    /// Where the job reads: its own folder if it reads nobody else's.
    pub(super) fn source_folder(&self) -> PathBuf {
        self.with(self.job.kind().source().unwrap_or(self.job)).folder()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.peer, self.job)
    }
}

/// What full sizes are divided by for a quick look.
const QUICK_DIVISOR: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::{Grow, Growing, PutBatch, Workload};

    /// Peers never share a folder, and read what they have written themselves.
    #[test]
    fn peers_have_folders_of_their_own() {
        let task = |peer, job| Task { peer, job, root: PathBuf::new(), run: 1, quick: false };
        for job in Workload::jobs() {
            let (ours, theirs) = (task(Peer::Multibee, job), task(Peer::Node, job));
            assert_ne!(ours.folder(), theirs.folder());
            assert_ne!(ours.source_folder(), theirs.source_folder());
            let source = job.kind().source().unwrap_or(job);
            assert_eq!(theirs.source_folder(), task(Peer::Node, source).folder());
        }
    }

    /// Whole batches only, also in a quick run.
    #[test]
    fn sizes_divide_into_batches() {
        for job in Workload::jobs() {
            let size = match job {
                Job::Append(append) => append.batch,
                Job::PutBatch(_) => PutBatch::OPS,
                Job::Grow(Grow { of: Growing::Put, .. }) => PutBatch::OPS,
                _ => 1,
            };
            for quick in [false, true] {
                let peer = Peer::Multibee;
                let n = Task { peer, job, root: PathBuf::new(), run: 1, quick }.n();
                assert!(n > 0 && n.is_multiple_of(size), "{job}");
            }
        }
    }
}
