//! What the programs of peers are asked to do.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use super::job::Job;
use super::store::Durability;
use super::task::Task;
use super::workload::GroupDevice;

/// One job of a peer's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Work {
    /// The program's own name of it.
    pub(super) job: &'static str,
    /// Operations in one batch, or in flight at once; of W9 the milliseconds of a round trip.
    size: u32,
    /// Of what is written.
    durability: Durability,
}

impl Work {
    /// Of what is buffered, or only read.
    pub(super) fn new(job: &'static str, size: u32) -> Self {
        Self { job, size, durability: Durability::Buffered }
    }

    /// The same, done when that says so.
    pub(super) fn with(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }
}

/// A program's argument.
#[derive(Debug, Serialize)]
struct Arguments {
    peer: String,
    #[serde(flatten)]
    work: Work,
    n: u32,
    population: u32,
    source: PathBuf,
    folder: PathBuf,
    run: u32,
    quick: bool,
    /// Which one of which group, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<GroupDevice>,
    /// This program, which puts a distance between two of theirs: `bench --distance PORT MS`.
    distance: PathBuf,
}

/// The argument for a task, as JSON.
pub(super) fn arguments(task: &Task) -> Result<String> {
    let (peer, work) = (task.peer, task.job.kind().at_peer(task.peer));
    let arguments = Arguments {
        peer: peer.to_string(),
        work: work.with_context(|| format!("{peer} has no {}", task.job))?,
        n: task.n(),
        population: task.population(),
        source: task.source_folder(),
        folder: task.folder(),
        run: task.run,
        quick: task.quick,
        device: match task.job {
            Job::Device(device) => Some(device),
            _ => None,
        },
        distance: std::env::current_exe().context("cannot find this program")?,
    };
    Ok(serde_json::to_string(&arguments)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::peer::Peer;
    use crate::bench::store::Layer;
    use crate::bench::workload::{
        Append, AppendFloor, Get, PutBatch, PutSingle, ReadWhileWriting, Scan,
    };

    fn task(peer: Peer, job: Job) -> Task {
        Task { peer, job, root: PathBuf::from("root"), run: 2, quick: true }
    }

    /// What the program gets: sizes and folders of the same task of ours, but folders of its own.
    #[test]
    fn a_task_is_told_in_full() {
        let mut told: Value =
            serde_json::from_str(&arguments(&task(Peer::Node, Job::Overwrite)).unwrap()).unwrap();
        assert!(told.as_object_mut().unwrap().remove("distance").is_some());
        let source = PathBuf::from("root").join("node-W4-btree-buffered");
        let expected = json!({
            "peer": "node", "job": "W7-overwrite", "size": 1, "durability": "Buffered",
            "n": 100, "population": 10_000,
            "source": source, "folder": PathBuf::from("root").join("node-W7-overwrite"),
            "run": 2, "quick": true,
        });
        assert_eq!(told, expected);
    }

    /// Nobody else's job is done: not what Node would have to sync, nor what only a database has, nor
    /// floors.
    #[test]
    fn what_node_cannot_do_is_refused() {
        let (layer, durability) = (Layer::Database, Durability::Immediate);
        let refused = [
            Job::Append(Append { batch: 100, durability }),
            Job::AppendFloor(AppendFloor { batch: 100, durability: Durability::Buffered }),
            Job::ReadWhileWriting(ReadWhileWriting { threads: 8 }),
            Job::PutSingle(PutSingle { layer: Layer::Tree, durability }),
            Job::PutBatch(PutBatch { layer, durability: Durability::Buffered }),
            Job::Get(Get { layer }),
            Job::Scan(Scan { layer }),
            Job::CloneFloor,
            Job::Verify,
        ];
        for job in refused {
            assert!(arguments(&task(Peer::Node, job)).is_err(), "{job}");
        }
        let batch = Job::Append(Append { batch: 100, durability: Durability::Buffered });
        assert_eq!(batch.kind().at_peer(Peer::Node), Some(Work::new("W1", 100)));
    }

    /// Stores without a network or a history do neither, but they can wait for the disk.
    #[test]
    fn stores_do_what_they_can() {
        let synced = PutSingle { layer: Layer::Tree, durability: Durability::Immediate };
        for peer in [Peer::Redb, Peer::Fjall, Peer::Sqlite] {
            let text = arguments(&task(peer, Job::PutSingle(synced))).unwrap();
            assert!(text.contains(r#""durability":"Immediate""#), "{text}");
            for job in [Job::Overwrite, Job::Diff, Job::Clone, Job::CatchUp] {
                assert!(arguments(&task(peer, job)).is_err(), "{peer} {job}");
            }
        }
    }
}
