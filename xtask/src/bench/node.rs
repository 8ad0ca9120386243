//! The jobs of Hypercore and Hyperbee, by a program on Node.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use super::task::Task;
use crate::interop::node_program;

/// What `interop/bench.mjs` is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Work {
    /// The program's own name of it.
    pub(super) job: &'static str,
    /// Operations in one batch, or in flight at once.
    pub(super) size: u32,
}

/// The program's argument.
#[derive(Debug, Serialize)]
struct Arguments {
    #[serde(flatten)]
    work: Work,
    n: u32,
    population: u32,
    source: PathBuf,
    folder: PathBuf,
    run: u32,
    quick: bool,
}

/// The program, about to do a task.
pub(super) fn command(task: &Task) -> Result<Command> {
    let arguments = Arguments {
        work: task.job.kind().on_node().with_context(|| format!("Node has no {}", task.job))?,
        n: task.n(),
        population: task.population(),
        source: task.source_folder(),
        folder: task.folder(),
        run: task.run,
        quick: task.quick,
    };
    let mut command = node_program("bench.mjs");
    command.args(["--task", &serde_json::to_string(&arguments)?]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::job::Job;
    use crate::bench::peer::Peer;
    use crate::bench::store::{Durability, Layer};
    use crate::bench::workload::{
        Append, AppendFloor, Get, PutBatch, PutSingle, ReadWhileWriting, Scan,
    };

    /// What the program gets: sizes and folders of the same task of ours, but folders of its own.
    #[test]
    fn a_task_is_told_in_full() {
        let root = PathBuf::from("root");
        let task = Task { peer: Peer::Node, job: Job::Overwrite, root, run: 2, quick: true };
        let command = command(&task).unwrap();
        let arguments: Vec<_> = command.get_args().map(|text| text.to_str().unwrap()).collect();
        assert!(arguments[0].ends_with("bench.mjs"));
        assert_eq!(arguments[1], "--task");
        let told: Value = serde_json::from_str(arguments[2]).unwrap();
        let source = PathBuf::from("root").join("node-W4-btree-buffered");
        let expected = json!({
            "job": "W7-overwrite", "size": 1, "n": 100, "population": 10_000,
            "source": source, "folder": PathBuf::from("root").join("node-W7-overwrite"),
            "run": 2, "quick": true,
        });
        assert_eq!(told, expected);
    }

    /// Nobody else's job is done: not what is synced, nor what only a database has, nor floors.
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
            Job::Clone,
            Job::Verify,
        ];
        for job in refused {
            let task = Task { peer: Peer::Node, job, root: PathBuf::new(), run: 1, quick: false };
            assert!(command(&task).is_err(), "{job}");
        }
        let batch = Job::Append(Append { batch: 100, durability: Durability::Buffered });
        assert_eq!(batch.kind().on_node(), Some(Work { job: "W1", size: 100 }));
    }
}
