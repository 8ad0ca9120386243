//! The program as a user runs it: what it prints, what it refuses, and its exit codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{BufRead as _, BufReader, Write as _};
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

    /// Runs it with something on its standard input.
    fn fed(&self, db: &str, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir.path()).arg("--dir").arg(self.path(db)).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
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

    /// The key of a database's log.
    fn key(&self, db: &str) -> String {
        self.json(db, &["status"])[0]["key"].as_str().unwrap().to_owned()
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

    assert!(place.fails("b", &["remove", &a], 2).contains("--yes"));
    place.ok("b", &["remove", &a, "--yes"]);
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

/// A backup is made again and again, and put back where no database is: there the data is, under another
/// key. What is checked is fine; a log with a wrong byte is found.
#[test]
fn backups_are_made_and_put_back() {
    let place = Place::new();
    let key = place.ok("a", &["init"]);
    place.ok("a", &["put", "milk", "two"]);
    place.json("a", &["backup", "saved"]);
    place.ok("a", &["put", "bread", "one"]);
    let done = place.json("a", &["backup", "saved", "--replicas"]);
    assert!(done[0]["bytesWritten"].as_u64() < done[0]["bytes"].as_u64(), "{done:?}");
    place.ok("a", &["put", "salt", "later"]);
    assert_ne!(place.ok("b", &["restore", "saved"]), key);
    assert_eq!(place.ok("b", &["get", "bread"]), "one");
    place.fails("b", &["get", "salt"], 1);
    place.fails("b", &["restore", "saved"], 2);
    assert!(place.fails("c", &["restore", "a"], 2).contains("no backup"));

    assert!(place.ok("a", &["verify"]).contains("as signed"));
    let data = place.path("a/primary/data");
    let mut bytes = std::fs::read(&data).unwrap();
    // Not in the last commit: that would be taken for one that did not reach the disk.
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    place.fails("a", &["verify"], 5);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A copy of a directory is a device of its own as soon as it is opened; or goes on with the key of the
/// original, if it is said that that will never be used again.
#[test]
fn copies_are_devices_of_their_own_unless_adopted() {
    let place = Place::new();
    let key = place.ok("a", &["init"]);
    place.ok("a", &["put", "milk", "two"]);
    copy(&place.path("a/primary"), &place.path("b/primary"));
    copy(&place.path("a/primary"), &place.path("c/primary"));
    assert_eq!(place.ok("b", &["adopt"]), key);
    place.ok("b", &["put", "milk", "three"]);
    assert_eq!(place.ok("b", &["get", "milk"]), "three");
    assert_eq!(place.key("b"), key);

    place.ok("c", &["put", "milk", "four"]);
    assert_eq!(place.ok("c", &["get", "milk"]), "four");
    assert_ne!(place.key("c"), key);
    assert_eq!((place.ok("a", &["get", "milk"]), place.key("a")), ("two".into(), key));
    place.fails("nowhere", &["adopt"], 2);
}

/// Every change since a version, or a time, is listed with who made it, as text and as JSON.
#[test]
fn changes_are_listed() {
    let place = Place::new();
    place.ok("a", &["init"]);
    place.ok("a", &["put", "list/milk", "two"]);
    let version = place.json("a", &["status"])[0]["blocks"].to_string();
    place.ok("a", &["put", "list/milk", "three"]);
    place.ok("a", &["put", "bread", "rye"]);
    place.ok("a", &["del", "bread"]);
    place.ok("a", &["put", "list/tea", "green"]);
    let listed = "~ list/milk\tthree\tthis device\n+ list/tea\tgreen\tthis device";
    assert_eq!(place.ok("a", &["diff", &version]), listed);
    assert_eq!(place.ok("a", &["diff", &version, &version]), "");
    assert_eq!(place.ok("a", &["diff", "1", &version]), "+ list/milk\ttwo\tthis device");
    assert_eq!(place.ok("a", &["diff", "1970-01-01", "--prefix", "x"]), "");
    let changes = place.json("a", &["diff", &version, "--limit", "1"]);
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0]["before"], &changes[0]["value"]), (&"two".into(), &"three".into()));
    assert_eq!((&changes[0]["own"], &changes[0]["deleted"]), (&true.into(), &false.into()));
    assert!(place.fails("a", &["diff", "999"], 2).contains("is no version"));
    assert!(place.fails("a", &["diff", "9999-01-01", &version], 2).contains("comes after"));
    assert!(place.fails("a", &["diff", "soon"], 2).contains("neither a version nor a time"));

    let signs = |lines: &str| {
        lines
            .lines()
            .map(|line| line.split('\t').nth(2).unwrap()[..1].to_owned())
            .collect::<String>()
    };
    assert_eq!(signs(&place.ok("a", &["history"])), "+~+-+");
    assert_eq!(signs(&place.ok("a", &["history", "--reverse", "--limit", "2"])), "+-");
    assert_eq!(signs(&place.ok("a", &["history", "--prefix", "list/"])), "+~+");
    assert_eq!(signs(&place.ok("a", &["history", "bread"])), "+-");
    assert_eq!(signs(&place.ok("a", &["history", "bread", "--reverse", "--limit", "1"])), "-");
    assert_eq!(place.ok("a", &["history", "never"]), "");
    let since = place.json("a", &["history", "--since", &version]);
    assert_eq!(since.len(), 4);
    assert!(since.iter().all(|one| one["merge"] == false && one["atMs"].as_u64() > Some(0)));
    let until = place.ok("a", &["history", "--until", &version]);
    assert!(until.starts_with(&format!("{version}\t20")), "{until}");
}

/// Earlier versions are read by number and by time.
#[test]
fn earlier_versions_are_read() {
    let place = Place::new();
    place.ok("a", &["init"]);
    place.ok("a", &["put", "milk", "two"]);
    let version = place.json("a", &["status"])[0]["blocks"].to_string();
    place.ok("a", &["put", "milk", "three"]);
    place.ok("a", &["put", "bread", "rye"]);
    assert_eq!(place.ok("a", &["get", "milk", "--at", &version]), "two");
    assert_eq!(place.ok("a", &["ls", "--at", &version]), "milk\ttwo");
    assert_eq!(place.ok("a", &["ls", "--count"]), "2");
    assert_eq!(place.ok("a", &["ls", "--count", "--at", "1970-01-02 03:04:05"]), "0");
    assert!(place.ok("a", &["export", "--at", &version]).contains("two"));
    assert!(place.fails("a", &["get", "bread", "--at", &version], 1).contains("not found"));
    place.fails("a", &["get", "bread", "--at", "yesterday"], 2);
}

/// Values that merge by themselves, writes on a condition, and rules.
#[test]
fn typed_values_and_rules() {
    let place = Place::new();
    place.ok("a", &["init"]);
    place.ok("a", &["put", "note", "{\"a\":1}", "--type", "map"]);
    assert_eq!(place.ok("a", &["patch", "note", "{\"b\":2}"]), "{\"a\":1,\"b\":2}");
    assert_eq!(place.ok("a", &["incr", "visits"]), "1");
    assert_eq!(place.ok("a", &["incr", "visits", "-3"]), "-2");
    place.ok("a", &["set", "insert", "tags", "\"x\""]);
    assert_eq!(place.json("a", &["set", "remove", "tags", "\"y\""])[0]["changed"], false);
    assert_eq!(place.ok("a", &["get", "tags"]), "[\"x\"]");
    assert!(place.fails("a", &["incr", "note"], 2).contains("integer"));
    place.fails("a", &["put", "k", "v", "--type", "list"], 2);

    place.ok("a", &["put", "seat", "Ada", "--if-absent"]);
    assert!(
        place.fails("a", &["put", "seat", "Bob", "--if-absent"], 3).contains("not as expected")
    );
    place.fails("a", &["put", "seat", "Bob", "--if-value", "Cy"], 3);
    place.ok("a", &["put", "seat", "Bob", "--if-value", "Ada"]);
    assert_eq!(place.ok("a", &["get", "seat"]), "Bob");

    place.ok("a", &["rule", "n/", "--type", "counter"]);
    place.ok("a", &["rule", "n/", "--strategy", "keep-all"]);
    assert_eq!(place.ok("a", &["rules"]), "n/\tkeep-all\tcounter");
    place.ok("a", &["put", "n/1", "5"]);
    assert_eq!(
        place.json("a", &["get", "n/1"])[0]["type"],
        place.json("a", &["get", "visits"])[0]["type"]
    );
    place.fails("a", &["rule", "n/", "--strategy", "coin"], 2);
    place.ok("a", &["rule", "n/", "--clear"]);
    place.fails("a", &["rule", "n/", "--clear"], 1);
    assert_eq!(place.ok("a", &["not-merged"]), "");
}

/// Another device's writes are told with its name as they come; a union shows them before; a conflict
/// is settled by one of its versions.
#[test]
fn others_changes_are_watched_and_settled() {
    let place = Place::new();
    let (a, b) = (place.ok("a", &["init"]), place.ok("b", &["init"]));
    place.ok("a", &["add", &b]);
    place.ok("b", &["add", &a, "--name", "phone"]);
    place.ok("b", &["put", "milk", "one"]);
    for key in ["milk", "bread", "x"] {
        place.ok("a", &["put", key, "two"]);
    }
    {
        let served = Served::new(&place.path("a"));
        place.ok("b", &["add", &format!("{a}@{}", served.address)]);
        let both = "bread\ttwo\nmilk\ttwo\nx\ttwo";
        assert_eq!(place.ok("b", &["union", "--with", &served.address]), both);
        assert_eq!(place.ok("b", &["union", "x"]), "x\ttwo");
    }
    let since = place.json("b", &["history", "milk"])[0]["version"].to_string();
    {
        let served = Served::new(&place.path("a"));
        place.ok("b", &["add", &format!("{a}@{}", served.address)]);
        let told = place.ok("b", &["watch", "b", "--since", &since, "--limit", "1"]);
        assert_eq!(told, "+ bread\ttwo\tphone");
        let told = place.json("b", &["watch", "--key", "milk", "--since", &since, "--limit", "1"]);
        assert_eq!((&told[0]["own"], &told[0]["conflicts"]), (&false.into(), &1.into()));
    }
    let conflicts = place.run("b", &["--json", "conflicts", "m"]);
    assert_eq!(conflicts.status.code(), Some(3));
    let conflict: Value = serde_json::from_slice(&conflicts.stdout).unwrap();
    let versions = conflict["versions"].as_array().unwrap();
    let one = versions.iter().find(|version| version["value"] == "one").unwrap();
    place.fails("b", &["resolve", "milk", "--pick", "somebody:1"], 1);
    place.fails("b", &["resolve", "milk"], 2);
    place.ok("b", &["resolve", "milk", "--pick", one["version"].as_str().unwrap()]);
    assert_eq!(place.ok("b", &["get", "milk"]), "one");
    assert_eq!(place.ok("b", &["conflicts"]), "");
    place.fails("b", &["resolve", "milk", "--delete"], 1);
}

/// A plain Hyperbee is named, listed and let go.
#[test]
fn sources_are_listed() {
    let place = Place::new();
    place.ok("a", &["init"]);
    let own = place.ok("b", &["init"]);
    place.ok("a", &["add-source", &own, "--name", "notes"]);
    assert!(place.ok("a", &["sources"]).contains("notes"));
    place.ok("a", &["remove-source", &own]);
    assert_eq!(place.json("a", &["sources"])[0]["removed"], true);
    place.fails("a", &["remove-source", &"0".repeat(64)], 1);
}

/// A dry run says what could be given back and because of whom what has to stay, and changes nothing.
/// What is given back is gone, and only once. Nobody is taken by surprise: a program says so.
#[test]
fn room_is_given_back() {
    let place = Place::new();
    place.ok("a", &["init"]);
    let other = place.ok("b", &["init"]);
    place.ok("a", &["put", "milk", "two"]);
    place.ok("a", &["del", "milk"]);
    let dry = place.json("a", &["reclaim", "--dry-run"]);
    assert_eq!((&dry[0]["dryRun"], &dry[0]["tombstones"]["count"]), (&true.into(), &1.into()));
    place.fails("a", &["reclaim"], 2);
    place.ok("a", &["add", &other, "--name", "tablet"]);
    let told = place.ok("a", &["reclaim", "--dry-run"]);
    assert!(told.contains("tablet: it is not known to have this yet"), "{told}");
    assert_eq!(place.json("a", &["reclaim", "--yes"])[0]["tombstones"]["count"], 0);
    place.ok("a", &["remove", &other, "--yes"]);
    assert_eq!(place.json("a", &["reclaim", "--yes"])[0]["tombstones"]["count"], 1);
    assert_eq!(place.json("a", &["reclaim", "--yes"])[0]["tombstones"]["count"], 0);
    place.ok("a", &["verify"]);
}

/// Devices have names and roles; what can't be undone is asked, and a name that two have is no name.
#[test]
fn devices_are_named_and_removed() {
    let place = Place::new();
    place.ok("a", &["init"]);
    let [b, c] = ["b", "c"].map(|name| place.ok(name, &["init"]));
    place.ok("a", &["add", &b, "--name", "phone", "--role", "read-only"]);
    place.ok("a", &["add", &c, "--name", "phone", "--role", "mirror"]);
    assert!(place.fails("a", &["add", &c, "--role", "king"], 2).contains("is no role"));
    assert!(place.fails("a", &["remove", "phone", "--yes"], 2).contains("several"));
    assert!(place.fails("a", &["rename", "laptop", "x"], 1).contains("neither a device"));
    place.ok("a", &["rename", &c, "cloud"]);
    assert!(place.fails("a", &["remove", "phone"], 2).contains("phone"));
    place.ok("a", &["remove", "phone", "--yes"]);
    place.ok("a", &["retire", "cloud", "--yes"]);
    let devices = place.json("a", &["devices"]);
    let all = |what: &str| devices.iter().map(|one| one[what].clone()).collect::<Vec<_>>();
    assert_eq!(all("role"), ["full", "read-only", "mirror"]);
    assert_eq!(all("removed"), [false, true, false]);
    assert_eq!(devices[2]["retired"], true);
    assert!(place.ok("a", &["devices"]).contains("removed"));
    assert_eq!(place.ok("a", &["unmerged"]), "");
}

/// With nothing but the words and an address a new device has all data, and the lost one is out.
#[test]
fn a_new_device_recovers() {
    let place = Place::new();
    let (lost, cloud) = (place.ok("lost", &["init"]), place.ok("cloud", &["init"]));
    place.ok("lost", &["put", "milk", "two"]);
    place.ok("lost", &["add", &cloud, "--name", "cloud"]);
    place.ok("cloud", &["add", &lost, "--name", "phone"]);
    let words = place.json("lost", &["recovery", "create"])[0]["words"].clone();
    let words = words.as_str().unwrap();
    assert_eq!(place.fed("lost", &["recovery", "check"], words).status.code(), Some(0));
    assert!(place.fails("lost", &["recovery", "create"], 2).contains("--yes"));
    let other = place.json("lost", &["recovery", "create", "--yes"])[0]["words"].clone();
    assert_eq!(place.fed("lost", &["recovery", "check"], words).status.code(), Some(1));
    let words = other.as_str().unwrap();
    let served = Served::new(&place.path("cloud"));
    place.ok("lost", &["sync", "--with", &served.address]);

    assert_eq!(place.fed("new", &["recover", "127.0.0.1:1"], "abandon").status.code(), Some(2));
    let unreached = place.fed("new", &["recover", "127.0.0.1:1"], words);
    assert_eq!(unreached.status.code(), Some(4), "{}", stderr(&unreached));
    let args = ["recover", &served.address, "--name", "new", "--lost", "phone"];
    let done = place.fed("new", &args, words);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert_eq!(place.ok("new", &["get", "milk"]), "two");
    drop(served);
    for db in ["new", "cloud"] {
        let devices = place.json(db, &["devices"]);
        assert!(devices.iter().any(|one| one["key"] == *lost && one["removed"] == true), "{db}");
    }
}

/// Compacting asks, gives the device another key, and keeps the data.
#[test]
fn compacting_keeps_the_data() {
    let place = Place::new();
    let key = place.ok("a", &["init"]);
    for number in 0..20 {
        place.ok("a", &["put", "milk", &number.to_string()]);
    }
    assert!(place.fails("a", &["compact"], 2).contains("--yes"));
    let foretold = place.json("a", &["compact", "--dry-run"]);
    assert_eq!(foretold[0]["kinds"]["live"]["count"], 1);
    assert!(place.ok("a", &["compact", "--dry-run"]).contains("left behind"));
    assert_eq!(place.key("a"), key);
    let done = place.json("a", &["compact", "--yes"]);
    assert!(done[0]["bytesAfter"].as_u64().unwrap() < done[0]["bytesBefore"].as_u64().unwrap());
    assert_eq!(
        (&done[0]["key"], place.ok("a", &["get", "milk"])),
        (&place.key("a").into(), "19".into())
    );
    assert_ne!(place.key("a"), key);
    place.ok("a", &["verify"]);
}
