//! The workloads of Multibee's benchmarks that a store of entries can do, by stores that are linked
//! with a program: redb, fjall, SQLite. `cargo xtask bench` runs it, each job in a process of its own.

#[allow(dead_code, reason = "the data of all workloads, of which stores have a part")]
#[path = "../../xtask/src/bench/data.rs"]
mod data;
#[path = "../../xtask/src/bench/disk.rs"]
#[allow(dead_code, reason = "the file system is told by who runs this")]
mod disk;
mod fjall_store;
mod jobs;
mod redb_store;
mod sqlite_store;
mod store;
mod task;
#[allow(dead_code, reason = "the memory over time is of other workloads")]
#[path = "../../xtask/src/bench/usage.rs"]
mod usage;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use fjall_store::Fjall;
use redb_store::Redb;
use sqlite_store::Sqlite;
use task::Task;

const HELP: &str = "usage: bench-peers --task JSON

Does what `cargo xtask bench --peers redb,fjall,sqlite` asks for, and prints one result a line.
  {\"peer\":\"redb\"|\"fjall\"|\"sqlite\",\"job\":\"W3\"..\"W6\"|\"W11\",\"size\":N,\"n\":N,
   \"durability\":\"Immediate\"|\"Buffered\",\"population\":N,\"source\":PATH,\"folder\":PATH,
   \"run\":N,\"quick\":BOOLEAN}
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let task = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--task"), Some(text)) => serde_json::from_str::<Task>(&text).context("the task")?,
        _ => bail!("{HELP}"),
    };
    let results = match task.peer.as_str() {
        "redb" => jobs::run::<Redb>(&task),
        "fjall" => jobs::run::<Fjall>(&task),
        "sqlite" => jobs::run::<Sqlite>(&task),
        other => bail!("there is no peer {other:?}"),
    };
    for result in results? {
        println!("{}", serde_json::to_string(&result)?);
    }
    Ok(())
}
