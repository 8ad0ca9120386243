//! Runs simulations until enough was tried, or repeats one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use multibee_sim::{Focus, Plan, Report, Rule, Scope, Violation, minimise, run};

/// Simulates groups of devices whose disks, networks and clocks fail, and checks that they keep
/// every promise.
#[derive(Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Options {
    /// Simulate so many years of devices' time at least.
    #[arg(long, default_value_t = 2_000.0)]
    device_years: f64,
    /// Inject so many faults at least.
    #[arg(long, default_value_t = 500_000)]
    faults: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Run only this plan, as it was kept in a file.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Only plans about this, beside everything else.
    #[arg(long)]
    focus: Option<Focus>,
    /// Devices in a group, at most.
    #[arg(long, default_value_t = Scope::default().devices)]
    devices: u8,
    /// Steps of a plan.
    #[arg(long, default_value_t = Scope::default().steps)]
    steps: u16,
    /// Threads to run on; by default, one for each processor.
    #[arg(long)]
    threads: Option<usize>,
    /// Where plans that break a rule are kept, cut down.
    #[arg(long, default_value = "target/sim")]
    folder: PathBuf,
    /// Runs that may be spent on cutting a plan down.
    #[arg(long, default_value_t = 3_000)]
    tries: u32,
}

impl Options {
    fn plan_of(&self, seed: u64, scope: Scope) -> Plan {
        let plan = Plan::random(seed, scope);
        match self.focus {
            Some(focus) => plan.focused(focus),
            None => plan,
        }
    }
}

fn main() -> ExitCode {
    match go(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every rule held, and everything was reached that has to be.
fn go(options: &Options) -> Result<bool> {
    let scope = Scope { devices: options.devices, steps: options.steps };
    if let Some(path) = &options.plan {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        let plan: Plan = serde_json::from_slice(&text)?;
        return Ok(repeat(&plan));
    }
    match options.seed {
        Some(seed) => {
            let plan = options.plan_of(seed, scope);
            match run(&plan) {
                Ok(_) => Ok(repeat(&plan)),
                Err(violation) => keep(options, &plan, &violation).map(|()| false),
            }
        }
        None => search(options, scope),
    }
}

fn repeat(plan: &Plan) -> bool {
    match run(plan) {
        Ok(report) => {
            println!("{report}, trace {:016x}", report.trace);
            true
        }
        Err(violation) => {
            println!("{violation}");
            false
        }
    }
}

/// What all threads have in common.
struct Search {
    next: AtomicU64,
    report: Mutex<Report>,
    bad: Mutex<Vec<(Plan, Violation)>>,
    bar: ProgressBar,
}

fn search(options: &Options, scope: Scope) -> Result<bool> {
    let style = "{elapsed_precise} [{bar:30}] {eta_precise} left  {msg}";
    let bar = ProgressBar::new(1_000);
    bar.set_style(ProgressStyle::with_template(style)?);
    let search = Search {
        next: AtomicU64::new(options.from),
        report: Mutex::default(),
        bad: Mutex::default(),
        bar,
    };
    let start = Instant::now();
    let threads = options.threads.or_else(|| thread::available_parallelism().ok().map(Into::into));
    thread::scope(|scoped| {
        for _ in 0..threads.unwrap_or(1) {
            scoped.spawn(|| while search.one_more(options, scope) {});
        }
    });
    search.bar.finish_and_clear();
    let report = search.report.into_inner().unwrap_or_default();
    let bad = search.bad.into_inner().unwrap_or_default();
    println!("{report} in {:.0} s, trace {:016x}", start.elapsed().as_secs_f64(), report.trace);
    for (name, count) in &report.situations {
        println!("{count:>12}  {name}");
    }
    for (plan, violation) in &bad {
        keep(options, plan, violation)?;
    }
    let unreached = report.unreached();
    for name in &unreached {
        println!("never reached: {name}");
    }
    Ok(bad.is_empty() && unreached.is_empty())
}

impl Search {
    /// Runs the next seed. Whether another one is wanted.
    fn one_more(&self, options: &Options, scope: Scope) -> bool {
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        let plan = options.plan_of(seed, scope);
        let outcome = run_anew(&plan);
        let Ok(mut report) = self.report.lock() else { return false };
        match outcome {
            Ok(one) => report.add(&one),
            Err(violation) => {
                self.bar.println(format!("seed {seed}: {violation}"));
                if let Ok(mut bad) = self.bad.lock() {
                    bad.push((plan, violation));
                }
            }
        }
        let share = (report.device_years() / options.device_years)
            .min(report.faults as f64 / options.faults.max(1) as f64);
        self.bar.set_position((share * 1_000.0) as u64);
        self.bar.set_message(report.to_string());
        let enough_bad = self.bad.lock().is_ok_and(|bad| bad.len() >= 5);
        share < 1.0 && !enough_bad
    }
}

/// Runs a plan; now and then twice, as both must be the same.
fn run_anew(plan: &Plan) -> Result<Report, Violation> {
    const EACH: u64 = 64;
    let report = run(plan)?;
    if plan.seed.is_multiple_of(EACH) && run(plan)? != report {
        let what = "the same plan gave another run".into();
        return Err(Violation { rule: Rule::S15, step: 0, what });
    }
    Ok(report)
}

/// Cuts a plan down, keeps it, and says how to repeat it.
fn keep(options: &Options, plan: &Plan, violation: &Violation) -> Result<()> {
    println!("seed {}: {violation}", plan.seed);
    let least = minimise(plan, violation.rule, options.tries);
    fs::create_dir_all(&options.folder)?;
    let path = options.folder.join(format!("{:?}-{}.json", violation.rule, plan.seed));
    fs::write(&path, serde_json::to_vec_pretty(&least)?)?;
    println!(
        "cut down from {} steps to {}; repeat it with: cargo xtask sim --plan {}",
        plan.steps.len(),
        least.steps.len(),
        Path::new(&path).display(),
    );
    Ok(())
}
