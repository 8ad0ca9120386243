//! Looking for states of a log's disk after a crash in which the log is not what it should be.
//!
//! First in memory, where every moment and everything that a power cut may have left can be tried;
//! then with real files and a process that is killed.

mod kill;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use std::{fs, thread};

use anyhow::{Context, Result};
use clap::Args;
use multibee_log::Part;
use multibee_log::testing::{Ablation, Bad, Effort, Enumerator, Tally, Workload};

#[derive(Args)]
pub(crate) struct Options {
    /// Look at this many different states at least, besides those of all short workloads.
    #[arg(long, default_value_t = 1_000_000)]
    states: u64,
    /// Kill a process that writes a log so many times.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Decides what is tried: workloads, what a power cut leaves, when a process is killed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try only this workload, as it was told of a bad state: "immediate settled 0: append flush".
    #[arg(long)]
    workload: Option<Workload>,
    /// Leave out the search with one wait for the disk left out.
    #[arg(long)]
    no_ablation: bool,
    /// Where bad states are written.
    #[arg(long, default_value = "target/crash")]
    folder: std::path::PathBuf,
    /// Be the process that is killed. This is how the program runs itself.
    #[arg(long, hide = true)]
    child: Option<std::path::PathBuf>,
}

/// Runs the searches; whether nothing bad was found.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if let Some(folder) = &options.child {
        return kill::write(folder, options.seed).map(|()| true);
    }
    let all = Enumerator::new()?;
    let bad = Mutex::new(Vec::new());
    if let Some(workload) = &options.workload {
        let effort = Effort { exhaustive: 12, samples: 64, seed: options.seed };
        match all.explore(workload, 0, effort) {
            Ok(tally) => println!("{workload}: {}", told(tally)),
            Err(found) => report(&options.folder, 0, &found)?,
        }
        return Ok(true);
    }
    search(&all, options, &bad);
    let found = bad.into_inner().unwrap_or_default();
    for (number, bad) in found.iter().enumerate() {
        report(&options.folder, number, bad)?;
    }
    println!("{} different images, {} bad states", all.image_count(), found.len());
    let mut is_good = found.is_empty();
    if !options.no_ablation {
        is_good &= ablate(options)?;
    }
    if options.rounds > 0 {
        is_good &= kill::run(options.rounds, options.seed)?;
    }
    Ok(is_good)
}

/// Kills a process that writes a log a few times; whether the log was whole each time.
pub(crate) fn kill_a_few_times() -> Result<bool> {
    kill::run(20, 1)
}

/// All workloads of at most three operations, then random ones until there were enough states.
fn search(all: &Enumerator, options: &Options, bad: &Mutex<Vec<Bad>>) {
    let effort = Effort { exhaustive: 12, samples: 16, seed: options.seed };
    for len in 0..=3_u32 {
        // For a small search, not all of the longest.
        let step = if len == 3 && options.states < 1_000_000 { 16 } else { 1 };
        let workloads = Workload::all_of_len(len).step_by(step);
        let from = (len as usize).saturating_sub(1);
        let name = format!("workloads of {len} operations");
        in_parallel(&name, workloads, |w| all.explore(w, from, effort), |_| true, bad);
    }
    let random = (0_u64..).map(|number| Workload::random(options.seed.wrapping_add(number)));
    let effort = Effort { exhaustive: 4, samples: 4, seed: options.seed };
    let is_wanted = |_: &Tally| all.image_count() < options.states;
    in_parallel("random workloads", random, |w| all.explore(w, 0, effort), is_wanted, bad);
}

/// Tries workloads on all processors, as long as more is wanted.
fn in_parallel(
    name: &str,
    workloads: impl Iterator<Item = Workload> + Send,
    explore: impl Fn(&Workload) -> Result<Tally, Box<Bad>> + Sync,
    is_wanted: impl Fn(&Tally) -> bool + Sync,
    bad: &Mutex<Vec<Bad>>,
) {
    let start = Instant::now();
    let (next, count) = (Mutex::new(workloads), AtomicU64::new(0));
    let total = Mutex::new(Tally::default());
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let workload = next.lock().ok().and_then(|mut next| next.next());
                    let Some(workload) = workload else { break };
                    let found = explore(&workload);
                    count.fetch_add(1, Ordering::Relaxed);
                    let (Ok(mut total), Ok(mut bad)) = (total.lock(), bad.lock()) else { break };
                    match found {
                        Ok(tally) => total.add(tally),
                        Err(found) => {
                            println!("BAD {found}");
                            bad.push(*found);
                        }
                    }
                    // A log that is broken is broken in very many states.
                    if !is_wanted(&total) || bad.len() >= 100 {
                        is_done.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_default();
    let bad_count = bad.lock().map_or(0, |bad| bad.len());
    let took = start.elapsed();
    let each = took.as_secs_f64() * 1e6 / total.states.max(1) as f64;
    println!(
        "{name}: {} of them, {}, {bad_count} bad so far, {:.1} s, {each:.0} us a state",
        count.into_inner(),
        told(total),
        took.as_secs_f64()
    );
}

fn told(tally: Tally) -> String {
    format!(
        "{} images, {} distinct, {} states, {} of them after a second crash",
        tally.images, tally.distinct, tally.states, tally.again
    )
}

/// Leaves out each wait for the disk in turn: a bad state must be found.
fn ablate(options: &Options) -> Result<bool> {
    let effort = Effort { exhaustive: 6, samples: 4, seed: options.seed };
    let mut is_good = true;
    for wait in Ablation::waits()? {
        let found = Ablation::run(wait, 200, effort)?;
        let (barrier, part) = found.left_out;
        match &found.bad {
            Some(bad) => {
                let invariant = bad.invariant.map_or_else(String::new, |i| format!("{i:?}, "));
                println!("without {barrier:?} of {part}: {invariant}`{}`", bad.workload);
            }
            None => {
                is_good = false;
                println!("without {barrier:?} of {part}: NOTHING FOUND in {}", told(found.tally));
            }
        }
    }
    Ok(is_good)
}

/// Tells of a bad state, and writes what the disk held, to be opened by hand.
fn report(folder: &Path, number: usize, bad: &Bad) -> Result<()> {
    let folder = folder.join(number.to_string());
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    for part in Part::ALL {
        let bytes = bad.image.bytes(part);
        if !bytes.is_empty() {
            fs::write(folder.join(part.name()), bytes)?;
        }
    }
    println!("BAD {bad}\n    in {}", folder.display());
    Ok(())
}
