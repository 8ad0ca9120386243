//! One measurement, or several that share a process.

use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::record::Record;
use super::task::Task;
use super::work::Work;
use super::workload::{self, Workload};

/// What there is to know about a job. Each workload's file says it of its own.
pub(super) trait Kind {
    /// What it is part of.
    fn workload(&self) -> Workload;

    /// What tells it from the others of its workload.
    fn name(&self) -> String;

    /// The job whose data this one reads.
    fn source(&self) -> Option<Job> {
        None
    }

    /// The job of the other process, which this one starts.
    fn server(&self) -> Option<Job> {
        None
    }

    /// Number of operations, unless it is only a quick look.
    fn full_n(&self) -> u32;

    /// The same for a peer's program, if that can do it.
    fn at_peer(&self, _: Peer) -> Option<Work> {
        None
    }

    /// Does it in this process.
    fn run(&self, task: &Task) -> Result<Vec<Record>>;

    /// A result, ours or a peer's, under the name that it has here.
    fn named(&self, _: &Task, record: Record) -> Record {
        record
    }
}

/// A job, as processes tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Job {
    Append(workload::Append),
    AppendFloor(workload::AppendFloor),
    Read(workload::Read),
    ReadWhileWriting(workload::ReadWhileWriting),
    PutSingle(workload::PutSingle),
    PutBatch(workload::PutBatch),
    Get(workload::Get),
    Scan(workload::Scan),
    Overwrite,
    Diff,
    CloneFloor,
    Clone,
    Serve,
    Sparse(workload::Sparse),
    Idle,
    IdleServe,
    CloneLargeFloor(workload::CloneLargeFloor),
    CloneLarge(workload::CloneLarge),
    ServeLarge(workload::ServeLarge),
    WriteLong,
    OpenLong,
    Verify,
    LoadLarge(workload::LoadLarge),
    OpenLarge(workload::OpenLarge),
    Converge(workload::Converge),
    CatchUp,
    Silence,
    Device(workload::GroupDevice),
    Merge(workload::Merge),
    OpenGroup,
    OpenStated(workload::OpenStated),
    Compact(workload::Compact),
    Floor(workload::Floor),
    Open(workload::Open),
    Grow(workload::Grow),
}

impl Job {
    /// What there is to know about it.
    pub(super) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Append(kind) => kind,
            Self::AppendFloor(kind) => kind,
            Self::Read(kind) => kind,
            Self::ReadWhileWriting(kind) => kind,
            Self::PutSingle(kind) => kind,
            Self::PutBatch(kind) => kind,
            Self::Get(kind) => kind,
            Self::Scan(kind) => kind,
            Self::Overwrite => &workload::Overwrite,
            Self::Diff => &workload::Diff,
            Self::CloneFloor => &workload::CloneFloor,
            Self::Clone => &workload::CloneTree,
            Self::Serve => &workload::ServeTree,
            Self::Sparse(kind) => kind,
            Self::Idle => &workload::Idle,
            Self::IdleServe => &workload::IdleServe,
            Self::CloneLargeFloor(kind) => kind,
            Self::CloneLarge(kind) => kind,
            Self::ServeLarge(kind) => kind,
            Self::WriteLong => &workload::WriteLong,
            Self::OpenLong => &workload::OpenLong,
            Self::Verify => &workload::Verify,
            Self::LoadLarge(kind) => kind,
            Self::OpenLarge(kind) => kind,
            Self::Converge(kind) => kind,
            Self::CatchUp => &workload::CatchUp,
            Self::Silence => &workload::Silence,
            Self::Device(kind) => kind,
            Self::Merge(kind) => kind,
            Self::OpenGroup => &workload::OpenGroup,
            Self::OpenStated(kind) => kind,
            Self::Compact(kind) => kind,
            Self::Floor(kind) => kind,
            Self::Open(kind) => kind,
            Self::Grow(kind) => kind,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{}", self.kind().workload(), self.kind().name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// All that are measured, what they read, and those whom they start.
    fn all() -> Vec<Job> {
        let mut jobs = Workload::jobs();
        let mut next = 0;
        while let Some(job) = jobs.get(next).copied() {
            let others = [job.kind().source(), job.kind().server()];
            let new: Vec<_> =
                others.into_iter().flatten().filter(|job| !jobs.contains(job)).collect();
            jobs.extend(new);
            next += 1;
        }
        jobs
    }

    /// What a job reads was written before it, whichever jobs are left out later.
    #[test]
    fn sources_come_before_those_who_read_them() {
        let jobs = Workload::jobs();
        for (index, job) in jobs.iter().enumerate() {
            if let Some(source) = job.kind().source() {
                // The runner does those first that nobody measures.
                let is_measured = source != Job::WriteLong;
                assert!(!is_measured || jobs[..index].contains(&source), "{job} needs {source}");
            }
        }
    }

    /// A server has as much as its client wants, and reads the same.
    #[test]
    fn servers_have_what_their_clients_want() {
        for job in Workload::jobs() {
            if let Some(server) = job.kind().server() {
                assert_eq!(server.kind().source(), job.kind().source(), "{job}");
                let is_all = server.kind().full_n() == job.kind().full_n();
                assert!(is_all || matches!(job, Job::Sparse(_)), "{job}");
            }
        }
    }

    /// Jobs never share a folder, and come through the command line unchanged, under the names that
    /// they have always had.
    #[test]
    fn jobs_have_names_of_their_own() {
        let jobs = all();
        let names: BTreeSet<_> = jobs.iter().map(Job::to_string).collect();
        assert_eq!(names.len(), jobs.len());
        for job in jobs {
            let text = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
        }
        let old = [
            (r#""Diff""#, "W7-diff"),
            (r#""Clone""#, "W8-clone"),
            (r#"{"Scan":{"layer":"Tree"}}"#, "W6-btree"),
            (
                r#"{"PutBatch":{"layer":"Database","durability":"Immediate"}}"#,
                "W4-multibee-immediate",
            ),
            (r#"{"Sparse":{"round_trip_ms":20,"is_hinted":true}}"#, "W9-20ms-hints"),
        ];
        for (text, name) in old {
            assert_eq!(serde_json::from_str::<Job>(text).unwrap().to_string(), name);
        }
    }

    /// No kind of job is forgotten: each is measured, or read by one that is, or started by one.
    #[test]
    fn every_kind_of_job_is_done() {
        let tag = |job: &Job| match serde_json::to_value(job).unwrap() {
            Value::String(tag) => tag,
            Value::Object(fields) => fields.keys().next().unwrap().clone(),
            other => panic!("{other}"),
        };
        let done: BTreeSet<String> = all().iter().map(tag).collect();
        // Whoever names a job that there is not is told all that there are.
        let error = serde_json::from_str::<Job>(r#""?""#).unwrap_err().to_string();
        let known: BTreeSet<String> =
            error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert_eq!(done, known);
    }
}
