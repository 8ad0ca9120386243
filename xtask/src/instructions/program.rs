//! The program with the kernels: built, and run under valgrind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::baseline::Environment;
use crate::command::{cargo, compiler};
use crate::root;

/// A line of what the program says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) operations: u64,
    pub(super) what: String,
}

/// The program, ready to run.
pub(super) struct Program(PathBuf);

impl Program {
    /// Builds it as it is shipped. What the user gives the compiler besides is left out: the counts
    /// are compared with those of others, and valgrind does not know every processor's instructions.
    pub(super) fn build() -> Result<Self> {
        let status = cargo(&["build", "--release", "-p", "multibee-kernels"])
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .context("cargo build")?;
        ensure!(status.success(), "multibee-kernels does not build");
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = root().join(target.as_deref().unwrap_or(Path::new("target")));
        Ok(Self(target.join("release").join("multibee-kernels")))
    }

    /// On what it runs, and its kernels.
    pub(super) fn describe(&self) -> Result<(Environment, Vec<Kernel>)> {
        let text = run(valgrind("none").arg(&self.0))?;
        let (features, kernels) = parse_list(&text)?;
        let compiler = compiler()?;
        let environment = Environment {
            compiler: compiler.version,
            target: compiler.host,
            libc: libc(),
            features,
        };
        Ok((environment, kernels))
    }

    /// Instructions of one operation of each kernel, by its name. As many are counted at once as
    /// there are processors: nobody looks at the time.
    pub(super) fn count(&self, kernels: &[Kernel]) -> Result<BTreeMap<String, f64>> {
        let folder = TempDir::new().context("a folder for what callgrind writes")?;
        let waiting = Mutex::new(kernels.iter());
        let next = || waiting.lock().expect("nobody panics with it").next();
        let work = || -> Result<Vec<(String, f64)>> {
            let mut counts = Vec::new();
            while let Some(kernel) = next() {
                let count = self.count_one(kernel, folder.path());
                counts.push((kernel.name.clone(), count.with_context(|| kernel.name.clone())?));
            }
            Ok(counts)
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let found: Result<Vec<_>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
            threads.into_iter().map(join).collect()
        });
        Ok(found?.into_iter().flatten().collect())
    }

    fn count_one(&self, kernel: &Kernel, folder: &Path) -> Result<f64> {
        let out = folder.join(&kernel.name);
        let mut command = valgrind("callgrind");
        command
            .args(["--collect-atstart=no", "--toggle-collect=*multibee_kernels*counted*"])
            .arg(format!("--callgrind-out-file={}", out.display()));
        run(command.arg(&self.0).arg(&kernel.name))?;
        let text = fs::read_to_string(&out).with_context(|| out.display().to_string())?;
        let total = total(&text).context("callgrind has written no total")?;
        ensure!(total > 0, "callgrind has not found the function `counted`");
        Ok(by_operation(total, kernel.operations))
    }
}

/// Nothing of the user's variables is passed on, so that the program begins alike everywhere.
fn valgrind(tool: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.arg(format!("--tool={tool}")).arg("--quiet");
    command
}

/// What a command prints. If it fails, what it complains of is part of the error.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("valgrind")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, complaint.trim());
    String::from_utf8(output.stdout).context("what the program prints")
}

/// The C library: it brings the allocator and copies memory.
fn libc() -> String {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.ok().filter(|output| output.status.success());
    let text = text.and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// What the processor can do, and the kernels.
fn parse_list(text: &str) -> Result<(String, Vec<Kernel>)> {
    let mut lines = text.lines();
    let features = lines.next().and_then(|line| line.strip_prefix("features\t"));
    let features = features.context("the program does not say what the processor can do")?;
    let kernels = lines.map(parse_kernel).collect::<Option<_>>();
    Ok((features.to_owned(), kernels.context("the program lists a kernel without its parts")?))
}

fn parse_kernel(line: &str) -> Option<Kernel> {
    let mut parts = line.splitn(3, '\t');
    let name = parts.next()?;
    let operations = parts.next()?.parse().ok().filter(|count| *count > 0)?;
    Some(Kernel::new(name, operations, parts.next()?))
}

impl Kernel {
    pub(super) fn new(name: &str, operations: u64, what: &str) -> Self {
        Self { name: name.to_owned(), operations, what: what.to_owned() }
    }
}

/// What callgrind counted in all.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// To a tenth of an instruction.
fn by_operation(total: u64, operations: u64) -> f64 {
    (10.0 * total as f64 / operations as f64).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_says_what_it_has() {
        let (features, kernels) = parse_list("features\tavx avx2\nget\t20\tget it\n").unwrap();
        assert_eq!(features, "avx avx2");
        assert_eq!(kernels, [Kernel::new("get", 20, "get it")]);
        for broken in ["", "get\t20\tget it", "features\t\nget\t0\tget it", "features\t\nget\t20"] {
            assert!(parse_list(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn callgrinds_total_is_shared_out() {
        assert_eq!(
            total("# callgrind format\nevents: Ir\nfn=(0)\n1 2\ntotals: 1234\n"),
            Some(1234)
        );
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(by_operation(1234, 1000), 1.2);
    }
}
