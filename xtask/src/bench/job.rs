//! What there is to measure, how much of it, and what has to be there before.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::peer::Peer;

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
}

impl Workload {
    /// Whether it is run only if it is asked for.
    pub(super) fn is_large(self) -> bool {
        matches!(self, Self::L3 | Self::N2)
    }
}

/// The order in which keys come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    Ascending,
    Random,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ascending => "ascending",
            Self::Random => "random",
        })
    }
}

/// When a write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Durability {
    /// When it is on disk.
    Immediate,
    /// When the system has it.
    Buffered,
}

impl From<Durability> for multibee::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Immediate => Self::Immediate,
            Durability::Buffered => Self::Buffered,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Immediate => "immediate",
            Self::Buffered => "buffered",
        })
    }
}

/// What entries are put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Layer {
    /// The tree over a log: what Hyperbee is.
    Tree,
    /// The database, with what several writers take.
    Database,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tree => "btree",
            Self::Database => "multibee",
        })
    }
}

/// One measurement, or two that share a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Job {
    /// W1, in calls of `batch` blocks.
    Append { batch: u32, durability: Durability },
    /// The least that W1 can cost.
    AppendFloor { batch: u32, durability: Durability },
    /// W2, on so many threads.
    Read { threads: u32 },
    /// W2 on so many threads, while another one appends.
    ReadWhileWriting { threads: u32 },
    /// W3.
    PutSingle { layer: Layer, durability: Durability },
    /// W4.
    PutBatch { layer: Layer, durability: Durability },
    /// W5.
    Get { layer: Layer },
    /// W6.
    Scan { layer: Layer },
    /// W7's data: a copy of W4's, with some entries overwritten.
    Overwrite,
    /// W7.
    Diff,
    /// L3's data, which is measured too.
    LoadLarge { order: Order },
    /// L3.
    OpenLarge { order: Order },
    /// The least that W8 can cost on one core.
    CloneFloor,
    /// W8, the client's side.
    Clone,
    /// W8 and W9, the server's side: started by the client.
    Serve,
    /// N1, the clients' side.
    Idle,
    /// N1, the server's side: started by the client.
    IdleServe,
    /// W9, the client's side.
    Sparse { round_trip_ms: u32, is_hinted: bool },
    /// N2 and N3, the client's side: blocks of so many bytes, of which the data is kept or not.
    CloneLarge { len: u32, keeps: bool },
    /// The least that N3 can cost on one core.
    CloneLargeFloor { len: u32 },
    /// N2 and N3, the server's side: started by the client.
    ServeLarge { len: u32, keeps: bool },
    /// L1's data.
    WriteLong,
    /// L1.
    OpenLong,
    /// L2.
    Verify,
}

/// Operations in one batch of W4.
pub(super) const BATCH_OPS: u32 = 1000;
/// Gets in flight at once in the concurrent half of W2.
pub(super) const IN_FLIGHT: u32 = 64;

/// Blocks that are asked for before the first answer is there, in L2.
pub(super) const VERIFY_BATCH: usize = 256;

/// What full sizes are divided by for a quick look.
const QUICK_DIVISOR: u32 = 10;

impl Job {
    /// All that is measured, in an order in which each job finds what it needs.
    pub(super) fn all() -> Vec<Self> {
        let durabilities = [Durability::Immediate, Durability::Buffered];
        let layers = [Layer::Tree, Layer::Database];
        let mut jobs = Vec::new();
        for batch in [1, 100, 1000] {
            for durability in durabilities {
                jobs.push(Self::AppendFloor { batch, durability });
                jobs.push(Self::Append { batch, durability });
            }
        }
        jobs.extend([1, 8].map(|threads| Self::Read { threads }));
        jobs.push(Self::ReadWhileWriting { threads: 8 });
        for layer in layers {
            jobs.extend(durabilities.map(|durability| Self::PutSingle { layer, durability }));
        }
        for layer in layers {
            jobs.extend(durabilities.map(|durability| Self::PutBatch { layer, durability }));
        }
        jobs.extend(layers.map(|layer| Self::Get { layer }));
        jobs.extend(layers.map(|layer| Self::Scan { layer }));
        jobs.extend([Self::Overwrite, Self::Diff, Self::CloneFloor, Self::Clone, Self::Idle]);
        for round_trip_ms in [0, 20] {
            let sparse = |is_hinted| Self::Sparse { round_trip_ms, is_hinted };
            jobs.extend([false, true].map(sparse));
        }
        jobs.extend([4096, 1 << 20].map(|len| Self::CloneLarge { len, keeps: false }));
        let len = 4096;
        jobs.extend([Self::CloneLargeFloor { len }, Self::CloneLarge { len, keeps: true }]);
        jobs.extend([Self::OpenLong, Self::Verify]);
        for order in [Order::Ascending, Order::Random] {
            jobs.extend([Self::LoadLarge { order }, Self::OpenLarge { order }]);
        }
        jobs
    }

    pub(super) fn workload(self) -> Workload {
        match self {
            Self::Append { .. } | Self::AppendFloor { .. } => Workload::W1,
            Self::Read { .. } | Self::ReadWhileWriting { .. } => Workload::W2,
            Self::PutSingle { .. } => Workload::W3,
            Self::PutBatch { .. } => Workload::W4,
            Self::Get { .. } => Workload::W5,
            Self::Scan { .. } => Workload::W6,
            Self::CloneFloor | Self::Clone | Self::Serve => Workload::W8,
            Self::CloneLargeFloor { .. } => Workload::N3,
            Self::Idle | Self::IdleServe => Workload::N1,
            Self::Sparse { .. } => Workload::W9,
            Self::CloneLarge { keeps, .. } | Self::ServeLarge { keeps, .. } => {
                if keeps {
                    Workload::N3
                } else {
                    Workload::N2
                }
            }
            Self::WriteLong | Self::OpenLong => Workload::L1,
            Self::Verify => Workload::L2,
            Self::Overwrite | Self::Diff => Workload::W7,
            Self::LoadLarge { .. } | Self::OpenLarge { .. } => Workload::L3,
        }
    }

    /// The job whose data this one reads.
    pub(super) fn source(self) -> Option<Self> {
        let durability = Durability::Buffered;
        match self {
            Self::Append { .. }
            | Self::AppendFloor { .. }
            | Self::PutSingle { .. }
            | Self::PutBatch { .. }
            | Self::WriteLong
            | Self::LoadLarge { .. }
            | Self::Idle
            | Self::IdleServe
            | Self::CloneLarge { .. }
            | Self::CloneLargeFloor { .. }
            | Self::ServeLarge { .. }
            | Self::Verify => None,
            Self::Diff => Some(Self::Overwrite),
            Self::OpenLarge { order } => Some(Self::LoadLarge { order }),
            Self::OpenLong => Some(Self::WriteLong),
            Self::Read { .. } | Self::ReadWhileWriting { .. } => {
                Some(Self::Append { batch: 1000, durability })
            }
            Self::Get { layer } | Self::Scan { layer } => {
                Some(Self::PutBatch { layer, durability })
            }
            Self::Overwrite
            | Self::CloneFloor
            | Self::Clone
            | Self::Serve
            | Self::Sparse { .. } => Some(Self::PutBatch { layer: Layer::Tree, durability }),
        }
    }

    /// Number of operations.
    ///
    /// Each of the single ones waits for the disk if it is to be durable, so there are fewer then.
    fn full_n(self) -> u32 {
        match self {
            Self::WriteLong | Self::LoadLarge { order: Order::Ascending } => 10_000_000,
            // Beyond the caches each put waits for several reads: ten times this takes half an hour.
            Self::LoadLarge { order: Order::Random } => 1_000_000,
            Self::OpenLong | Self::OpenLarge { .. } => 1,
            Self::Sparse { .. } => 100,
            // 10 GiB, and half a GiB.
            Self::CloneLarge { len, keeps: false } | Self::ServeLarge { len, keeps: false } => {
                u32::try_from((10_u64 << 30) / u64::from(len)).unwrap_or(u32::MAX)
            }
            Self::CloneLarge { .. } | Self::CloneLargeFloor { .. } | Self::ServeLarge { .. } => {
                131_072
            }
            Self::Overwrite | Self::Diff | Self::Idle | Self::IdleServe => 1_000,
            Self::Append { batch: 1, durability: Durability::Immediate }
            | Self::AppendFloor { batch: 1, durability: Durability::Immediate }
            | Self::PutSingle { durability: Durability::Immediate, .. } => 5_000,
            Self::PutSingle { durability: Durability::Buffered, .. } => 20_000,
            Self::Get { .. } => 50_000,
            Self::Append { .. }
            | Self::AppendFloor { .. }
            | Self::Read { .. }
            | Self::ReadWhileWriting { .. }
            | Self::Verify
            | Self::PutBatch { .. }
            | Self::Scan { .. }
            | Self::CloneFloor
            | Self::Clone
            | Self::Serve => 100_000,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workload = self.workload();
        match self {
            Self::Append { batch, durability } => {
                write!(f, "{workload:?}-batch{batch}-{durability}")
            }
            Self::AppendFloor { batch, durability } => {
                write!(f, "{workload:?}-floor{batch}-{durability}")
            }
            Self::Read { threads } => write!(f, "{workload:?}-threads{threads}"),
            Self::ReadWhileWriting { threads } => write!(f, "{workload:?}-writer-threads{threads}"),
            Self::WriteLong => write!(f, "{workload:?}-write"),
            Self::OpenLong => write!(f, "{workload:?}-open"),
            Self::Verify => write!(f, "{workload:?}-verify"),
            Self::PutSingle { layer, durability } | Self::PutBatch { layer, durability } => {
                write!(f, "{workload:?}-{layer}-{durability}")
            }
            Self::Get { layer } | Self::Scan { layer } => write!(f, "{workload:?}-{layer}"),
            Self::Overwrite => write!(f, "{workload:?}-overwrite"),
            Self::Diff => write!(f, "{workload:?}-diff"),
            Self::LoadLarge { order } => write!(f, "{workload:?}-load-{order}"),
            Self::OpenLarge { order } => write!(f, "{workload:?}-open-{order}"),
            Self::Clone => write!(f, "{workload:?}-clone"),
            Self::CloneFloor => write!(f, "{workload:?}-floor"),
            Self::CloneLargeFloor { len } => write!(f, "{workload:?}-floor-{len}"),
            Self::CloneLarge { len, .. } => write!(f, "{workload:?}-clone-{len}"),
            Self::ServeLarge { len, .. } => write!(f, "{workload:?}-serve-{len}"),
            Self::Sparse { round_trip_ms, is_hinted } => {
                let hints = if *is_hinted { "-hints" } else { "" };
                write!(f, "{workload:?}-{round_trip_ms}ms{hints}")
            }
            Self::Serve | Self::IdleServe => write!(f, "{workload:?}-serve"),
            Self::Idle => write!(f, "{workload:?}-idle"),
        }
    }
}

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
        self.job.source().map_or(0, |source| self.n_of(source))
    }

    fn n_of(&self, job: Job) -> u32 {
        if self.quick { (job.full_n() / QUICK_DIVISOR).max(1) } else { job.full_n() }
    }

    /// Where the job writes.
    pub(super) fn folder(&self) -> PathBuf {
        self.root.join(self.to_string())
    }

    /// Where the job reads: its own folder if it reads nobody else's.
    pub(super) fn source_folder(&self) -> PathBuf {
        self.with(self.job.source().unwrap_or(self.job)).folder()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.peer, self.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a job reads was written before it, whichever jobs are left out later.
    #[test]
    fn sources_come_before_those_who_read_them() {
        let jobs = Job::all();
        for (index, job) in jobs.iter().enumerate() {
            if let Some(source) = job.source() {
                // The runner does those first that nobody measures.
                let is_measured = source != Job::WriteLong;
                assert!(!is_measured || jobs[..index].contains(&source), "{job} needs {source}");
            }
        }
    }

    /// Jobs never share a folder, and come through the command line unchanged.
    #[test]
    fn jobs_have_names_of_their_own() {
        let mut names: Vec<_> = Job::all().iter().map(Job::to_string).collect();
        names.extend([Job::Serve, Job::IdleServe].map(|job| job.to_string()));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for job in Job::all() {
            let text = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
        }
    }

    /// Peers never share a folder, and read what they have written themselves.
    #[test]
    fn peers_have_folders_of_their_own() {
        let task = |peer, job| Task { peer, job, root: PathBuf::new(), run: 1, quick: false };
        for job in Job::all() {
            let (ours, theirs) = (task(Peer::Multibee, job), task(Peer::Node, job));
            assert_ne!(ours.folder(), theirs.folder());
            assert_ne!(ours.source_folder(), theirs.source_folder());
            let source = job.source().unwrap_or(job);
            assert_eq!(theirs.source_folder(), task(Peer::Node, source).folder());
        }
    }

    /// Whole batches only, also in a quick run.
    #[test]
    fn sizes_divide_into_batches() {
        for job in Job::all() {
            let size = match job {
                Job::Append { batch, .. } => batch,
                Job::PutBatch { .. } => BATCH_OPS,
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
