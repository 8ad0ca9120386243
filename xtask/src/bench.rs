//! How fast Multibee is, by the workloads that its peers run too, in turns with it.
//!
//! Each job runs in a process of its own, so that no cache, allocator or page of memory is passed
//! on. Results are lines of JSON on the standard output; a table for people follows on the standard
//! error.

mod data;
mod disk;
mod distance;
mod entries;
mod invented;
mod job;
mod merkle;
mod node;
mod peer;
mod record;
mod runner;
mod server;
mod store;
mod table;
mod task;
mod times;
mod transfer;
mod usage;
mod worker;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tempfile::TempDir;

use job::Job;
use peer::{Peer, Peers};
use record::Record;
use runner::Runner;
use task::Task;
use workload::Workload;

use crate::instructions;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    instructions: instructions::Counting,
    /// Run only these workloads, as in W1,W4.
    #[arg(long, value_delimiter = ',', value_enum, ignore_case = true)]
    only: Vec<Workload>,
    /// Do a tenth of everything: to see whether it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// How often to run everything; the table has medians.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Whom to compare with, round by round: `node` (Hypercore 11 and Hyperbee) or `none`.
    #[arg(long, default_value = "node", value_name = "PEER,..")]
    peers: Peers,
    /// Be the process of one job. This is how the program runs itself.
    #[arg(long, hide = true, value_parser = parse_task)]
    worker: Option<Task>,
}

fn parse_task(text: &str) -> Result<Task, serde_json::Error> {
    serde_json::from_str(text)
}

/// Runs the workloads that `options` choose; whether all of them came to an end.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if let Some(task) = &options.worker {
        return worker::run(task).map(|()| true);
    }
    if options.instructions.are_wanted() {
        return instructions::run(&options.instructions).map(instructions::Outcome::is_good);
    }
    let jobs: Vec<Job> = Workload::jobs().into_iter().filter(|job| options.chooses(*job)).collect();
    let (peers, absent) = options.peers.present(&jobs, Peer::obstacle);
    let absent: String = absent
        .iter()
        .map(|(peer, why)| format!("!!! the peer {peer} was SKIPPED: {why}\n"))
        .collect();
    let folder = data_folder()?;
    warn_of_circumstances(&folder);
    eprint!("{absent}");
    let root = folder.path().to_path_buf();
    // The peer and the job are set for each.
    let (peer, job, quick) = (Peer::Multibee, Job::Clone, options.quick);
    let mut runner = Runner::new(Task { peer, job, root, run: 1, quick });
    let (mut records, mut failed) = (Vec::new(), Vec::new());
    for run in 1..=options.runs {
        for (peer, job) in peers.turns(&jobs) {
            eprintln!("{peer} {job}, run {run} of {}", options.runs);
            match runner.run(peer, job, run) {
                Ok(found) => {
                    print(&found)?;
                    records.extend(found);
                }
                Err(error) => failed.push(format!("{peer} {job}, run {run}: {error:#}")),
            }
        }
    }
    folder.close().context("cannot remove the data")?;
    // Once more, since the first time is far above by now.
    eprint!("\n{}{}{absent}", table::table(&records), legend(options));
    for failure in &failed {
        eprintln!("FAILED {failure}");
    }
    Ok(failed.is_empty())
}

impl Options {
    fn chooses(&self, job: Job) -> bool {
        let workload = job.kind().workload();
        self.only.contains(&workload) || (self.only.is_empty() && !workload.plan().is_large)
    }
}

fn print(records: &[Record]) -> Result<()> {
    for record in records {
        println!("{}", serde_json::to_string(record)?);
    }
    Ok(())
}

/// A new folder in `$BENCH_DATA`, or in the system's folder for temporary files.
fn data_folder() -> Result<TempDir> {
    let parent = std::env::var_os("BENCH_DATA").map_or_else(std::env::temp_dir, PathBuf::from);
    ensure!(!parent.as_os_str().is_empty(), "BENCH_DATA names no folder");
    fs::create_dir_all(&parent).with_context(|| format!("{}", parent.display()))?;
    let folder = tempfile::Builder::new().prefix("multibee-bench-").tempdir_in(&parent);
    folder.with_context(|| format!("no folder in {}", parent.display()))
}

/// Says where the data is, and what would make the results worthless.
fn warn_of_circumstances(folder: &TempDir) {
    let kind = disk::file_system(folder.path());
    let processors = available_parallelism().map_or(0, usize::from);
    let shown = kind.as_deref().unwrap_or("unknown file system");
    eprintln!("data in {} ({shown}), {processors} processors", folder.path().display());
    if kind.as_deref() == Some("tmpfs") {
        eprintln!("WARNING: that is memory, so `immediate` costs nothing; choose by BENCH_DATA");
    }
    if cfg!(debug_assertions) {
        eprintln!("WARNING: this is a debug build");
    }
    if let Some(load) = usage::load1().filter(|load| *load > 0.5) {
        eprintln!("WARNING: load {load}: the machine is busy; compare `per CPU s` rather");
    }
}

/// What the columns mean that don't speak for themselves.
fn legend(options: &Options) -> String {
    let mut lines = vec![
        "immediate: each call returns when it is on disk; buffered: when the system has it \
         (nothing is synced before the time stops); read: nothing is written."
            .to_owned(),
        "reopened: first pass in a new process, the files in the system's cache; warm: the same \
         again. n-threads: blocking gets on that many threads, groups of 64 shared out."
            .to_owned(),
        "FLOOR: what the machine takes for the least of it. W1: hashing, signing, writing (and \
         syncing, for immediate) of the same blocks; W2: one pread each; L2: the hashing alone; W8, \
         N3: encrypting, copying over loopback, decrypting, and hashing the same blocks, on one \
         thread: the sum of sealMs, copyMs, openMs, hashMs."
            .to_owned(),
        "times: our rate by that of the floor, and by that of a peer for the same, if both or neither \
         wait for the disk (CPU times: per processor second, with that of the server, from 20 ms on). W2's sequential by sequential-await, \
         8-threads by 64-in-flight (64 gets begun before the first is awaited), the first pass of \
         each; `multibee` rows by Hyperbee's, which knows but one writer."
            .to_owned(),
        format!(
            "Medians of {}; `more` is of the first. CPU time is exact to 4 ms, and where threads ended (immediate) to 20 ms.",
            if options.runs == 1 { "one run".to_owned() } else { format!("{} runs", options.runs) }
        ),
    ];
    if options.quick {
        lines.push("QUICK: a tenth of each workload. Not to be compared with anything.".to_owned());
    }
    lines.join("\n") + "\n"
}
