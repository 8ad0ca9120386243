//! Building the fuzz targets, and running them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::corpus;
use crate::command::{cargo, compiler};
use crate::root;

/// What makes the compiler count which branches are taken and what is compared with what.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// One input may take this many seconds. Nothing waits for it: it ends what hangs.
const INPUT_SECONDS_MAX: u64 = 20;

/// Longer inputs are kept cut: the little that they reach besides isn't worth their room.
const KEPT_LEN_MAX: usize = 1024;

/// When a run ends.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    After(Duration),
    Runs(u64),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Inputs tried.
    pub(super) executions: u64,
    /// Branches reached.
    pub(super) edges: u64,
    /// Inputs that each reach something that the others do not.
    pub(super) inputs: u64,
    /// Whether an input broke the property.
    pub(super) failed: bool,
}

/// The programs of all targets.
pub(super) struct Programs {
    /// For all that comes and goes.
    work: PathBuf,
    /// Where they are.
    programs: PathBuf,
}

impl Programs {
    /// Builds the programs of these targets, in a target folder of its own: other flags would have
    /// everything built anew.
    pub(super) fn build(targets: &[String]) -> Result<Self> {
        check_compiler()?;
        let host = compiler()?.host;
        let work = work_folder();
        let build = work.join("build");
        println!("building the fuzz targets for {host}");
        // With the system named, the flags are not used for build scripts and macros, which could
        // not be linked with them.
        let status = in_crate(&["build", "--quiet", "--release", "--target", &host], &build)
            .args(targets.iter().flat_map(|target| ["--bin", target]))
            .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"))
            .status()
            .context("cargo build")?;
        ensure!(status.success(), "the fuzz targets do not build");
        Ok(Self { programs: build.join(host).join("release"), work })
    }

    /// Has inputs made from the golden vectors, for the next run to begin with.
    pub(super) fn make_seeds(&self) -> Result<()> {
        let vectors = std::env::var_os("MULTIBEE_VECTORS");
        let vectors = vectors.map_or_else(|| root().join("vectors"), PathBuf::from);
        // Without coverage: nothing would be there to count it.
        let run = &["run", "--quiet", "--bin", "seeds", "--"];
        let mut command = in_crate(run, &self.work.join("build"));
        let status = command.arg(vectors).arg(self.work.join("corpus")).status()?;
        ensure!(status.success(), "no inputs could be made from the vectors");
        Ok(())
    }

    /// Runs a target. Inputs that lead somewhere new are collected in the work folder.
    pub(super) fn fuzz(&self, target: &str, stop: Stop) -> Result<End> {
        let found = self.found(target)?;
        let broken = self.work.join("broken").join(target);
        fs::create_dir_all(&broken)?;
        let stop = match stop {
            Stop::After(time) => format!("-max_total_time={}", time.as_secs().max(1)),
            Stop::Runs(count) => format!("-runs={count}"),
        };
        let mut command = self.command(target);
        command
            .arg(&found)
            .arg(self.kept(target)?)
            .arg(stop)
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-artifact_prefix={}/", broken.display()))
            .arg("-print_final_stats=1");
        let end = watch(&mut command)?;
        if end.failed {
            println!(
                "{target} was broken. The input is in {}: mend the code, name the input\n\
                 regression-WHAT and keep it in {}.",
                broken.display(),
                corpus::kept(target).display()
            );
        }
        Ok(end)
    }

    /// Puts the fewest inputs into `fuzz/corpus` that reach all that was ever reached.
    pub(super) fn keep(&self, target: &str) -> Result<()> {
        let fewest = self.work.join("fewest").join(target);
        if fewest.exists() {
            fs::remove_dir_all(&fewest)?;
        }
        fs::create_dir_all(&fewest)?;
        let kept = self.kept(target)?;
        let mut command = self.command(target);
        // By the branches reached, not by how often: fewer inputs, which every test run repeats.
        command.args(["-set_cover_merge=1", "-reduce_inputs=1", "-use_counters=0"]);
        command.arg(format!("-max_len={KEPT_LEN_MAX}"));
        command.arg(&fewest).arg(&kept).arg(self.found(target)?);
        let output = command.output().context("merging")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        corpus::replace(&kept, &fewest)?;
        let (count, bytes) = corpus::size(&kept)?;
        println!("kept {count} inputs, {bytes} bytes");
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.programs.join(program))
    }

    fn found(&self, target: &str) -> Result<PathBuf> {
        made(self.work.join("corpus").join(target))
    }

    fn kept(&self, target: &str) -> Result<PathBuf> {
        made(corpus::kept(target))
    }
}

/// A cargo command for the crate of the fuzz targets.
fn in_crate(arguments: &[&str], target_folder: &Path) -> Command {
    let mut command = cargo(arguments);
    command.env("CARGO_TARGET_DIR", target_folder);
    command.current_dir(corpus::crate_folder());
    command
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Beside whatever else is built.
fn work_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.as_deref().unwrap_or(Path::new("target"))).join("fuzz")
}

/// libFuzzer comes as C++ source.
fn check_compiler() -> Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    // It may be a command with arguments.
    let program = compiler.split_whitespace().next().unwrap_or_default();
    let output = Command::new(program).arg("--version").output();
    ensure!(
        output.is_ok_and(|output| output.status.success()),
        "fuzzing needs a C++ compiler, to build libFuzzer, and `{compiler}` does not run: \
         install g++ or clang++, or name one in the variable CXX"
    );
    Ok(())
}

/// Runs a fuzz target, passing on what it says.
fn watch(command: &mut Command) -> Result<End> {
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start the target")?;
    let Some(stderr) = child.stderr.take() else {
        bail!("no standard error");
    };
    let (mut end, mut in_dictionary) = (End::default(), false);
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        end.learn(&line);
        in_dictionary |= line.starts_with("###### Recommended");
        if !in_dictionary && !is_noise(&line) {
            eprintln!("{line}");
        }
        in_dictionary &= !line.starts_with("###### End");
    }
    end.failed = !child.wait()?.success();
    Ok(end)
}

impl End {
    /// Takes what a line of libFuzzer tells of the run so far.
    fn learn(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        if line.starts_with('#') {
            let executions = words.first().and_then(|word| word.strip_prefix('#')?.parse().ok());
            self.executions = executions.unwrap_or(self.executions);
            self.edges = after("cov:").unwrap_or(self.edges);
            self.inputs = after("corp:").unwrap_or(self.inputs);
        }
        let total = after("stat::number_of_executed_units:");
        self.executions = total.unwrap_or(self.executions);
    }
}

/// Whether a line is one of very many, or tells nothing of the run.
fn is_noise(line: &str) -> bool {
    let events = ["NEW", "REDUCE", "RELOAD"];
    let is_event = line.starts_with('#') && line.split_whitespace().any(|w| events.contains(&w));
    is_event
        || line.starts_with("INFO: ")
        || line.starts_with("WARNING: Failed to find function")
        || line.trim_start().starts_with("NEW_FUNC")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libFuzzer prints: the numbers of the last line count.
    #[test]
    fn a_run_is_followed() {
        let mut end = End::default();
        end.learn("#2\tINITED cov: 10 ft: 12 corp: 1/1b exec/s: 0 rss: 40Mb");
        end.learn("#77\tNEW    cov: 31 ft: 40 corp: 5/120b lim: 4 exec/s: 0 rss: 41Mb L: 3/4");
        assert_eq!(end, End { executions: 77, edges: 31, inputs: 5, failed: false });
        end.learn("stat::number_of_executed_units: 1234");
        assert_eq!(end.executions, 1234);
        end.learn("==12== ERROR: libFuzzer: deadly signal");
        assert_eq!(end.edges, 31);
    }

    #[test]
    fn only_what_is_said_often_is_left_out() {
        assert!(is_noise("#77\tNEW    cov: 31 ft: 40 corp: 5/120b"));
        assert!(is_noise("\tNEW_FUNC[1/1]: 0x55c8ee9a2211"));
        assert!(!is_noise("#1024\tpulse  cov: 31 ft: 40 corp: 5/120b"));
        assert!(!is_noise("a NEW line of a panic"));
    }
}
