//! How fast Multibee is, by the workloads that its peers run too, in turns with it.
//!
//! Each job runs in a process of its own, so that no cache, allocator or page of memory is passed
//! on. Results are lines of JSON on the standard output; a table for people follows on the standard
//! error. Both, a report and pictures are kept in `bench` of the folder that cargo builds in.

mod compare;
mod data;
mod disk;
mod distance;
mod entries;
mod growth;
mod invented;
mod job;
mod keep;
mod legend;
mod machine;
mod memory;
mod merkle;
mod native;
mod node;
mod peer;
mod plot;
mod progress;
mod record;
mod report;
mod rooflines;
mod rows;
mod runner;
mod server;
mod stats;
mod store;
mod table;
mod task;
mod times;
mod transfer;
mod usage;
mod words;
mod work;
mod worker;
mod workload;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tempfile::TempDir;

use compare::Change;
use job::Job;
use keep::Kept;
use machine::Machine;
use peer::{Peer, Peers};
use progress::Progress;
use record::Record;
use report::Report;
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
    /// Also with more and more data and devices (G): takes minutes.
    #[arg(long)]
    growth: bool,
    /// Do a tenth of everything: to see whether it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// How often to run everything; the table has medians.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Whom to compare with, round by round: `none`, or some of `node` (that is `hyperbee` with
    /// Hypercore, `hyperbee2`, `autobase`), `redb`, `fjall`, `sqlite`.
    #[arg(long, default_value = "hyperbee", value_name = "PEER,..")]
    peers: Peers,
    /// Keep the results as a baseline of this name.
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Compare with the baseline of this name, or with the `previous` run, and fail if ours is slower
    /// by more than runs differ.
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Be the process of one job. This is how the program runs itself.
    #[arg(long, hide = true, value_parser = parse_task)]
    worker: Option<Task>,
    /// Be the distance to a port, of so many milliseconds there and back, until the input ends.
    #[arg(long, hide = true, num_args = 2, value_names = ["PORT", "MS"])]
    distance: Vec<u16>,
}

fn parse_task(text: &str) -> Result<Task, serde_json::Error> {
    serde_json::from_str(text)
}

/// Runs the workloads that `options` choose; whether all of them came to an end, none slower than the
/// baseline that they are compared with.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if let Some(task) = &options.worker {
        return worker::run(task).map(|()| true);
    }
    if options.instructions.are_wanted() {
        return instructions::run(&options.instructions).map(instructions::Outcome::is_good);
    }
    if let [port, ms] = options.distance[..] {
        return be_distance(port, Duration::from_millis(ms.into())).map(|()| true);
    }
    let kept = Kept::here();
    // Before hours of work, not after them.
    let baseline = options.against.as_deref().map(|name| kept.load(name)).transpose()?;
    let time = keep::now()?;
    let own = kept.run_folder(&time)?;
    let jobs: Vec<Job> = Workload::jobs().into_iter().filter(|job| options.chooses(*job)).collect();
    let (peers, absent) = options.peers.present(&jobs, Peer::obstacle);
    let absent: Vec<_> =
        absent.iter().map(|(peer, why)| format!("the peer {peer} was SKIPPED: {why}")).collect();
    let folder = data_folder()?;
    warn_of_circumstances(&folder);
    absent.iter().for_each(|line| eprintln!("!!! {line}"));
    let machine = Machine::here(folder.path());
    let (records, failed) = measure(options, &peers, &jobs, folder.path())?;
    folder.close().context("cannot remove the data")?;

    let legend = legend::legend(options.runs, options.quick);
    eprint!("\n{}{legend}", table::table(&records));
    // Once more, since the first time is far above by now.
    absent.iter().for_each(|line| eprintln!("!!! {line}"));
    failed.iter().for_each(|line| eprintln!("FAILED {line}"));
    let changes = baseline.map(|before| compare::compare(&before, &records));
    let changes = options.against.as_deref().zip(changes.as_deref());
    let complaints = [absent, failed.clone()].concat();
    let told = Told { time: &time, machine: &machine, records: &records, complaints, changes };
    told.write(&own, &legend)?;
    kept.remember(&time, &machine, &records)?;
    eprintln!("the report: {}", own.join("report.md").display());
    if let Some(name) = &options.save {
        eprintln!("kept as {name}: {}", kept.save(name, &records)?.display());
    }
    let mut is_slower = false;
    if let Some((name, changes)) = changes {
        eprint!("\n{}", compare::told(name, changes));
        is_slower = changes.iter().any(Change::is_regression);
    }
    Ok(failed.is_empty() && !is_slower)
}

/// All results of all rounds, and what failed.
fn measure(
    options: &Options,
    peers: &Peers,
    jobs: &[Job],
    folder: &Path,
) -> Result<(Vec<Record>, Vec<String>)> {
    // The peer and the job are set for each.
    let (peer, job, root) = (Peer::Multibee, Job::Clone, folder.to_path_buf());
    let mut runner = Runner::new(Task { peer, job, root, run: 1, quick: options.quick });
    let turns = peers.turns(jobs);
    let names = || turns.iter().map(|(peer, job)| format!("{peer} {job}"));
    let mut progress = Progress::of((0..options.runs).flat_map(|_| names()).collect())?;
    let (mut records, mut failed) = (Vec::new(), Vec::new());
    for run in 1..=options.runs {
        for (peer, job) in &turns {
            progress.begin(&format!("{peer} {job}, run {run} of {}", options.runs));
            let begun = Instant::now();
            match runner.run(*peer, *job, run) {
                Ok(found) => {
                    progress.pause(|| print(&found))?;
                    records.extend(found);
                }
                Err(error) => {
                    let line = format!("{peer} {job}, run {run}: {error:#}");
                    progress.pause(|| eprintln!("FAILED {line}"));
                    failed.push(line);
                }
            }
            progress.end(begun.elapsed());
        }
    }
    progress.finish();
    Ok((records, failed))
}

/// What a run has come to.
struct Told<'a> {
    time: &'a str,
    machine: &'a Machine,
    records: &'a [Record],
    complaints: Vec<String>,
    changes: Option<(&'a str, &'a [Change])>,
}

impl Told<'_> {
    /// Writes lines of JSON, pictures and the report.
    fn write(mut self, folder: &Path, legend: &str) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("{}", path.display()))
        };
        write("results.jsonl", keep::lines(self.records)?)?;
        let curves = growth::curves(self.records);
        let drawn = plot::draw(&rows::rows(self.records), &curves, folder)?;
        self.complaints.extend(drawn.complaint);
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let report = Report {
            time: self.time,
            command: &format!("cargo xtask {}", arguments.join(" ")),
            machine: self.machine,
            records: self.records,
            complaints: &self.complaints,
            legend,
            changes: self.changes,
            curves: &curves,
            plots: &drawn.pictures,
        };
        write("report.md", report.markdown())
    }
}

impl Options {
    fn chooses(&self, job: Job) -> bool {
        let workload = job.kind().workload();
        let is_named = |named: &Workload| *named == workload || named.parts().contains(&workload);
        let is_chosen = self.only.iter().any(is_named);
        let is_growth = self.growth && workload == Workload::G;
        is_chosen || is_growth || (self.only.is_empty() && !workload.plan().is_large)
    }
}

/// Tells its own port.
fn be_distance(port: u16, round_trip: Duration) -> Result<()> {
    println!("{}", distance::proxy(port, round_trip / 2)?);
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        options: Options,
    }

    fn chosen(arguments: &[&str]) -> Vec<Workload> {
        let typed = Typed::parse_from([&["bench"], arguments].concat());
        let jobs = Workload::jobs().into_iter().filter(|job| typed.options.chooses(*job));
        let mut workloads: Vec<_> = jobs.map(|job| job.kind().workload()).collect();
        workloads.dedup();
        workloads
    }

    /// What takes minutes runs only if it is named; what is measured with others runs those.
    #[test]
    fn workloads_are_chosen_by_name() {
        assert_eq!(chosen(&["--only", "w3,W11"]), [Workload::W3, Workload::W11]);
        assert_eq!(chosen(&["--only", "W12"]), [Workload::W4, Workload::W8]);
        assert_eq!(chosen(&["--only", "W3", "--growth"]), [Workload::W3, Workload::G]);
        let all = chosen(&[]);
        assert!(all.contains(&Workload::F) && all.contains(&Workload::W11));
        for large in [Workload::G, Workload::G7, Workload::L3] {
            assert!(!all.contains(&large) && chosen(&["--only", &format!("{large:?}")]) == [large]);
        }
    }
}
