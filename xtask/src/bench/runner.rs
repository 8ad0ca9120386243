//! Runs jobs one after the other, each in a fresh process.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use super::job::Job;
use super::peer::Peer;
use super::record::Record;
use super::task::Task;

/// Runs jobs, and before them those whose data they need.
pub(super) struct Runner {
    /// The circumstances that all jobs share.
    task: Task,
    /// Names of the tasks whose data is there.
    written: BTreeSet<String>,
}

impl Runner {
    /// With the circumstances of `task`, whatever its peer and job.
    pub(super) fn new(task: Task) -> Self {
        Self { task, written: BTreeSet::new() }
    }

    /// Has a peer do a job, and returns the results.
    pub(super) fn run(&mut self, peer: Peer, job: Job, run: u32) -> Result<Vec<Record>> {
        (self.task.peer, self.task.run) = (peer, run);
        self.prepare(job)?;
        self.run_alone(job)
    }

    /// Sees to it that the data is there that a job reads, written by the same peer.
    fn prepare(&mut self, job: Job) -> Result<()> {
        if let Some(source) = job.kind().source()
            && !self.written.contains(&self.task.with(source).to_string())
        {
            self.prepare(source)?;
            eprintln!("{}: preparing its data by {source}", self.task.with(job));
            self.run_alone(source).with_context(|| format!("the data of {source}"))?;
        }
        Ok(())
    }

    fn run_alone(&mut self, job: Job) -> Result<Vec<Record>> {
        let task = self.task.with(job);
        self.written.remove(&task.to_string());
        match fs::remove_dir_all(task.folder()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{}", task.folder().display()));
            }
            _ => {}
        }
        let output = spawn(&task)?.wait_with_output()?;
        ensure!(output.status.success(), "the process ended with {}", output.status);
        let output = String::from_utf8(output.stdout).context("a result is not UTF-8")?;
        let named = |record| job.kind().named(&task, record);
        let records: Vec<Record> = output
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("a result: {line}")))
            .map(|record| record.map(named))
            .collect::<Result<_>>()?;
        ensure!(!records.is_empty(), "the process told no result");
        self.written.insert(task.to_string());
        Ok(records)
    }
}

/// Starts the program of a peer for one job, with pipes for its input and output.
pub(super) fn spawn(task: &Task) -> Result<Child> {
    let mut command = task.peer.command(task)?;
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start a process for {task}"))
}
