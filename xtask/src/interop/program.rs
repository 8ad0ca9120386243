//! A running program: one of the Node programs in the folder `interop`, or `multibee`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command::cargo;
use crate::root;

/// How long a program may take in all. Nothing waits for this time to pass: it ends what hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The folder of the Node programs.
fn folder() -> PathBuf {
    root().join("interop")
}

/// What keeps Node programs from running here, if anything does.
pub(crate) fn obstacle() -> Option<String> {
    let installed = folder().join("node_modules").is_dir();
    node_obstacle().or_else(|| {
        let why = "its packages are missing: run `npm ci --prefix interop`";
        (!installed).then(|| why.to_owned())
    })
}

/// What keeps any program from running on Node here, whatever it needs beside.
pub(crate) fn node_obstacle() -> Option<String> {
    let version = Command::new("node").arg("--version").output();
    let is_there = version.is_ok_and(|output| output.status.success());
    (!is_there).then(|| "there is no `node` on this machine".to_owned())
}

/// A Node program by the name of its file, without arguments.
pub(crate) fn node_program(file: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(folder().join(file));
    command
}

/// Builds `multibee` as this program was built, for debugging or for release, beside it.
pub(super) fn build_multibee() -> Result<()> {
    // Together with the workspace: what was built for its tests fits.
    let mut arguments = vec!["build", "--quiet", "--workspace", "--bin", "multibee"];
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    let status = cargo(&arguments).status().context("cargo build")?;
    ensure!(status.success(), "`multibee` does not build");
    Ok(())
}

fn multibee_path() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program")?;
    Ok(own.with_file_name(format!("multibee{}", std::env::consts::EXE_SUFFIX)))
}

/// A running program; ended when dropped.
pub(super) struct Program {
    name: String,
    child: Child,
    /// None once closed, which is how a program is asked to end.
    input: Option<ChildStdin>,
    output: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
    deadline: Instant,
}

impl Program {
    /// Starts a Node program by the name of its file.
    pub(super) fn node(file: &str, arguments: &[&str]) -> Result<Self> {
        Self::start(file, node_program(file).args(arguments))
    }

    /// Starts `multibee`.
    pub(super) fn multibee(arguments: &[&str]) -> Result<Self> {
        Self::start("multibee", Command::new(multibee_path()?).args(arguments))
    }

    fn start(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut stderr = child.stderr.take().context("no standard error")?;
        let (send, output) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let complaints = thread::spawn(move || {
            let mut text = String::new();
            // What isn't UTF-8 is lost; it would be for a person to read anyway.
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Ok(Self {
            name: name.to_owned(),
            input: child.stdin.take(),
            child,
            output,
            complaints: Some(complaints),
            deadline: Instant::now() + LIMIT,
        })
    }

    /// The next line that the program prints.
    pub(super) fn line<T: DeserializeOwned>(&mut self) -> Result<T> {
        let Some(line) = self.next_line()? else {
            return Err(self.unexpected_end());
        };
        serde_json::from_str(&line).with_context(|| format!("{} printed {line}", self.name))
    }

    /// Sends a line, and reads the one that answers it.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, question: &Value) -> Result<T> {
        self.tell(question)?;
        self.line()
    }

    /// Sends a line.
    pub(super) fn tell(&mut self, what: &Value) -> Result<()> {
        let input = self.input.as_mut().context("standard input is closed already")?;
        writeln!(input, "{what}").with_context(|| format!("cannot write to {}", self.name))
    }

    /// Lets the program come to its end: closes its input and reads what it still prints.
    pub(super) fn finish<T: DeserializeOwned>(mut self) -> Result<Vec<T>> {
        self.input = None;
        let mut lines = Vec::new();
        while let Some(line) = self.next_line()? {
            let value = serde_json::from_str(&line);
            lines.push(value.with_context(|| format!("{} printed {line}", self.name))?);
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{}", self.unexpected_end());
        Ok(lines)
    }

    /// None when the program printed all it will.
    fn next_line(&mut self) -> Result<Option<String>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.output.recv_timeout(left) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} was not done after {} s", self.name, LIMIT.as_secs())
            }
        }
    }

    /// Why the program ended, in its own words.
    fn unexpected_end(&mut self) -> anyhow::Error {
        let status = self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        let said = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        anyhow!("{} ended ({status}): {}", self.name, said.trim())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
