//! The program as a user runs it: what it prints, what it refuses, and its exit codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_multibee");

/// A place with databases in it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the program on one of the databases.
    fn run(&self, db: &str, args: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir.path()).arg("--dir").arg(self.path(db)).args(args);
        command.output().unwrap()
    }

    /// Runs it, expects success, and returns what it printed.
    fn ok(&self, db: &str, args: &[&str]) -> String {
        let output = self.run(db, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs it, expects an exit code, and returns what it said about it.
    fn fails(&self, db: &str, args: &[&str], code: i32) -> String {
        let output = self.run(db, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        stderr(&output)
    }

    fn json(&self, db: &str, args: &[&str]) -> Vec<Value> {
        let args = [&["--json"], args].concat();
        self.ok(db, &args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A `serve` in the background, ended when the test ends.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn new(dir: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--json", "--dir"])
            .arg(dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: said["listening"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Put, get, list, delete; a key that is not there gives code 1.
#[test]
fn data_is_put_listed_and_deleted() {
    let place = Place::new();
    place.ok("a", &["init"]);
    for (key, value) in [("b", "2"), ("a/1", "x"), ("a/2", "y"), ("c", "3")] {
        place.ok("a", &["put", key, value]);
    }
    assert_eq!(place.ok("a", &["get", "b"]), "2");
    assert_eq!(place.ok("a", &["ls"]), "a/1\tx\na/2\ty\nb\t2\nc\t3");
    assert_eq!(place.ok("a", &["ls", "a/"]), "a/1\tx\na/2\ty");
    assert_eq!(place.ok("a", &["ls", "--from", "a/2", "--to", "c"]), "a/2\ty\nb\t2");
    assert_eq!(place.ok("a", &["ls", "--reverse", "--limit", "1"]), "c\t3");
    assert_eq!(place.json("a", &["get", "b"])[0]["value"], "2");
    place.ok("a", &["del", "b", "c"]);
    assert!(place.fails("a", &["get", "b"], 1).contains("not found"));
    assert!(place.fails("a", &["del", "b"], 1).contains("not found"));
    assert_eq!(place.json("a", &["verify"])[0]["keys"], 2);
}

/// Wrong input is named plainly, with code 2, and changes nothing.
#[test]
fn bad_input_is_named() {
    let place = Place::new();
    assert!(place.fails("a", &["get", "k"], 2).contains("holds no Multibee database"));
    let key = place.ok("a", &["init"]);
    assert!(place.fails("a", &["init"], 2).contains("already"));
    assert!(place.fails("a", &["add", "nonsense"], 2).contains("is no key"));
    assert!(place.fails("a", &["add", &key], 2).contains("this device itself"));
    let other = place.ok("b", &["init"]);
    assert!(place.fails("a", &["add", &format!("{other}@nowhere")], 2).contains("HOST:PORT"));
    assert!(place.fails("a", &["remove", &other], 1).contains("is not a device"));
    assert!(place.fails("a", &["sync"], 2).contains("no device's address is known"));
    assert!(place.fails("a", &["import", "no-such-file.jsonl"], 2).contains("no-such-file"));
    assert!(place.fails("a", &["import", "file.doc"], 2).contains(".jsonl or .tsv"));
    place.fails("a", &["no-such-command"], 2);
    assert_eq!(place.json("a", &["status"])[0]["blocks"], 1);
}

/// What is imported comes out again; a bad line is named, and what stood before it went in.
#[test]
fn imports_say_what_went_in() {
    let place = Place::new();
    place.ok("a", &["init"]);
    let lines: String =
        (0..2500).map(|i| format!("{{\"key\":\"k{i:04}\",\"value\":{i}}}\n")).collect();
    std::fs::write(place.path("good.jsonl"), &lines).unwrap();
    assert_eq!(place.json("a", &["import", "good.jsonl"])[0]["records"], 2500);
    place.ok("a", &["export", "out.tsv"]);
    place.ok("b", &["init"]);
    place.ok("b", &["import", "out.tsv"]);
    assert_eq!(place.ok("a", &["export"]), place.ok("b", &["export"]));

    std::fs::write(place.path("bad.jsonl"), format!("{lines}{{\"key\":1}}\n")).unwrap();
    place.ok("c", &["init"]);
    let said = place.fails("c", &["import", "bad.jsonl"], 2);
    assert!(said.contains("line 2501") && said.contains("2500 records went in"), "{said}");
    assert_eq!(place.json("c", &["verify"])[0]["keys"], 2500);
}

/// Two processes, a real socket: strangers are turned away, members end with the same data and
/// the same conflict, and a directory is one process's at a time.
#[test]
fn two_processes_sync() {
    let place = Place::new();
    let (a, b) = (place.ok("a", &["init"]), place.ok("b", &["init"]));
    place.ok("a", &["put", "milk", "two"]);
    place.ok("b", &["put", "milk", "one"]);
    place.ok("b", &["put", "bread", "rye"]);
    place.ok("a", &["add", &b, "--name", "bee"]);
    let served = Served::new(&place.path("a"));
    assert!(place.fails("a", &["ls"], 2).contains("in use by another process"));
    assert!(place.fails("b", &["sync", "--with", &served.address], 4).contains("add it first"));

    place.ok("b", &["add", &format!("{a}@{}", served.address)]);
    place.ok("b", &["sync"]);
    let said = place.fails("b", &["conflicts"], 3);
    assert!(said.contains("milk") || said.contains("in conflict"), "{said}");
    assert_eq!(place.ok("b", &["get", "milk"]), "one");
    drop(served);
    assert_eq!(place.ok("a", &["ls"]), "bread\trye\nmilk\tone");
    let digest = |db| place.json(db, &["status"])[0]["digest"].clone();
    assert_eq!(digest("a"), digest("b"));

    assert!(place.fails("b", &["sync"], 4).contains("can't be reached"));
    place.fails("b", &["sync", "--wait", "--timeout", "1"], 4);
    place.ok("b", &["put", "milk", "settled"]);
    assert_eq!(place.ok("b", &["conflicts"]), "");

    place.ok("b", &["remove", &a]);
    assert!(place.fails("b", &["add", &a], 3).contains("was removed"));
    let devices = place.json("b", &["devices"]);
    assert!(devices.iter().any(|device| device["removed"] == true && device["key"] == *a));
}

/// The main job on a file of one's own: all three devices end the same, and can be used after.
#[test]
fn the_demo_runs() {
    let place = Place::new();
    let lines: String = (0..400).map(|i| format!("k{i:03}\tvalue {i}\n")).collect();
    std::fs::write(place.path("records.tsv"), lines).unwrap();
    let rows = place.json("demo-out", &["demo", "records.tsv", "--out", "demo-out"]);
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!((&row["keys"], &row["conflicts"]), (&350.into(), &50.into()));
        assert_eq!(row["digest"], rows[0]["digest"]);
    }
    for device in ["laptop", "phone", "cloud"] {
        let verified = place.json(&format!("demo-out/{device}"), &["verify"]);
        assert_eq!(verified[0]["digest"], rows[0]["digest"]);
    }
    // A second run takes the place of the first; anything else that stands there is left alone.
    place.json("demo-out", &["demo", "records.tsv", "--out", "demo-out"]);
    std::fs::create_dir(place.path("mine")).unwrap();
    assert!(place.fails("x", &["demo", "--out", "mine"], 2).contains("was not made by a demo"));
}

/// A copied directory is refused, and says what to do; the original is as before. Once adopted, the
/// copy goes on, with the original's key and data.
#[test]
fn copies_are_refused_until_adopted() {
    let place = Place::new();
    let key = place.ok("a", &["init"]);
    place.ok("a", &["put", "milk", "two"]);
    let (from, to) = (place.path("a/primary"), place.path("b/primary"));
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let said = place.fails("b", &["put", "milk", "three"], 2);
    assert!(said.contains("is a copy") && said.contains("adopt"), "{said}");
    assert_eq!(place.ok("a", &["get", "milk"]), "two");

    assert_eq!(place.ok("b", &["adopt"]), key);
    assert_eq!(place.ok("b", &["get", "milk"]), "two");
    place.ok("b", &["put", "milk", "three"]);
    assert_eq!(place.ok("b", &["get", "milk"]), "three");
    place.fails("nowhere", &["adopt"], 2);
}
