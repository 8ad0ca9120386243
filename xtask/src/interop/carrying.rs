//! One folder that Hypercore 10 and `multibee-log` take turns to write, in every state that one of
//! them may leave it in.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use multibee_log::{
    Durability, FileStorage, KeyPair, Log, LogOptions, Manifest, Request, RequestBlock, Signer,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Case;
use super::steps::{Seen, Steps, text};

const SEED: [u8; 32] = [0x5a; 32];

/// How often each side writes after the other.
const ROUNDS: usize = 3;

/// Keys of user data that a log may have.
const USER_DATA: &[&str] = &["name", "note"];

pub(super) fn cases() -> Vec<Case> {
    let kinds = Kind::ALL.iter().flat_map(|&kind| {
        [
            Case::new(
                format!("hypercore 10 leaves a {} log in each state", kind.name()),
                move || theirs(kind),
            ),
            Case::new(format!("we leave a {} log in each state", kind.name()), move || ours(kind)),
        ]
    });
    let sparse = [
        Case::new("we and hypercore 10 take turns at a sparse copy of theirs", || {
            sparse(Side::Theirs)
        }),
        Case::new("we and hypercore 10 take turns at a sparse copy of ours", || sparse(Side::Ours)),
    ];
    kinds.chain(sparse).collect()
}

/// What the key of a log is.
#[derive(Clone, Copy)]
enum Kind {
    Compat,
    Manifest,
    /// A manifest that is not the default one.
    Namespace,
}

impl Kind {
    const ALL: &[Self] = &[Self::Compat, Self::Manifest, Self::Namespace];

    fn name(self) -> &'static str {
        match self {
            Self::Compat => "compat",
            Self::Manifest => "manifest",
            Self::Namespace => "namespaced",
        }
    }

    /// How Node is told to make one.
    fn node(self, folder: &Path) -> Result<Value> {
        let (open, seed) = (text(folder)?, hex::encode(SEED));
        Ok(match self {
            Self::Compat => json!({ "open": open, "create": true, "seed": seed }),
            Self::Manifest => {
                json!({ "open": open, "create": true, "seed": seed, "compat": false })
            }
            Self::Namespace => {
                json!({ "open": open, "create": true, "seed": seed, "namespace": "11".repeat(32) })
            }
        })
    }

    fn options(self) -> LogOptions {
        let public_key = KeyPair::from_seed(SEED).public_key();
        let signer = Signer { namespace: [0x11; 32], public_key };
        LogOptions {
            compat: matches!(self, Self::Compat),
            manifest: matches!(self, Self::Namespace).then(|| Manifest::new(vec![signer], 1)),
            ..LogOptions::default()
        }
    }
}

/// Something that either side can do to a log.
enum Step {
    Append(&'static [&'static str]),
    Truncate(u64),
    Clear(u64, u64),
    UserData(&'static str, &'static str),
    Flush,
    /// Blocks and user data at once, which only we can do.
    Batch(&'static [&'static str], &'static str, &'static str),
}

use Step::{Append, Batch, Clear, Flush, Truncate, UserData};

/// Ten blocks of different lengths, by three appends.
const TEN: [Step; 3] = [
    Append(&["zero", "", "two"]),
    Append(&["three"]),
    Append(&["four", "a block that is longer than the others", "six", "", "eight", "nine"]),
];

/// States to leave a log in: a name, and how to get there from ten blocks.
const STATES: &[(&str, &[Step])] = &[
    ("empty", &[Truncate(0)]),
    ("dirty", &[Append(&["ten"]), Append(&["eleven"])]),
    ("flushed", &[Append(&["ten"]), Flush]),
    ("cleared", &[Clear(2, 5), Clear(8, 9)]),
    ("cleared and flushed", &[Flush, Clear(0, 3), Flush]),
    ("all cleared", &[Clear(0, 10)]),
    ("cleared and grown", &[Clear(5, 10), Append(&["ten"]), Clear(10, 11), Append(&["eleven"])]),
    ("truncated", &[Truncate(7)]),
    ("truncated to a power of two", &[Truncate(8)]),
    ("truncated and grown", &[Truncate(3), Append(&["other three", "other four"])]),
    ("truncated and cleared", &[Clear(1, 3), Truncate(4), Append(&["new"]), Clear(4, 5)]),
    ("truncated twice", &[Truncate(9), Append(&["new nine", "ten"]), Truncate(2)]),
    ("with user data", &[UserData("name", "a log"), UserData("note", "x"), UserData("note", "")]),
    ("with user data and flushed", &[UserData("name", "first"), Flush, UserData("name", "last")]),
];

/// States that only we can leave a log in.
const OUR_STATES: &[(&str, &[Step])] = &[
    ("after a batch", &[Batch(&["ten", "eleven"], "name", "set at once")]),
    ("after a flushed batch", &[Batch(&["ten"], "note", "set at once"), Flush, Append(&["more"])]),
];

impl Step {
    fn for_node(&self) -> Value {
        let hexes = |blocks: &[&str]| blocks.iter().map(hex::encode).collect::<Vec<_>>();
        match self {
            Append(blocks) => json!({ "append": hexes(blocks) }),
            Truncate(len) => json!({ "truncate": len }),
            Clear(start, end) => json!({ "clear": [start, end] }),
            UserData(key, "") => json!({ "userData": [key, null] }),
            UserData(key, value) => json!({ "userData": [key, hex::encode(value)] }),
            Flush => json!({ "flush": true }),
            Batch(..) => unreachable!("there is no such thing in Node"),
        }
    }

    fn take(&self, log: &Log) -> Result<()> {
        match self {
            Append(blocks) => drop(log.append(blocks)?),
            Truncate(len) => drop(log.truncate(*len)?),
            Clear(start, end) => log.clear(*start..*end)?,
            UserData(key, value) => log.set_user_data(key, value.as_bytes())?,
            Flush => log.flush()?,
            Batch(blocks, key, value) => {
                let mut batch = log.batch();
                for block in *blocks {
                    batch.append(*block);
                }
                batch.set_user_data(*key, *value);
                batch.commit()?;
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Log> {
    Ok(Log::open(FileStorage::open(path)?, LogOptions::default())?)
}

fn theirs(kind: Kind) -> Result<()> {
    let folder = TempDir::new()?;
    let mut node = Steps::start()?;
    for (number, (state, steps)) in STATES.iter().enumerate() {
        let path = folder.path().join(number.to_string());
        let mut seen = node.step(&kind.node(&path)?)?;
        ensure!(seen.writable && seen.header_secret, "Node keeps the secret key in the header");
        for step in TEN.iter().chain(*steps) {
            seen = node.step(&step.for_node())?;
        }
        node.close()?;
        take_turns(&mut node, &path, state, seen, true)?;
    }
    node.finish()
}

fn ours(kind: Kind) -> Result<()> {
    let folder = TempDir::new()?;
    let mut node = Steps::start()?;
    // Written without waiting, entries come without their nodes: those are at their places.
    let buffered =
        LogOptions { durability: Durability::Buffered, little_is_much: true, ..kind.options() };
    let states = || STATES.iter().chain(OUR_STATES);
    let waited_for = states().map(|state| (kind.options(), state));
    let all = waited_for.chain(states().map(|state| (buffered.clone(), state)));
    for (number, (options, (state, steps))) in all.enumerate() {
        let path = folder.path().join(number.to_string());
        let state = &format!("{state}, {:?}", options.durability);
        let keys = KeyPair::from_seed(SEED);
        let log = Log::create(FileStorage::create(&path)?, keys, options)?;
        for step in TEN.iter().chain(*steps) {
            step.take(&log)?;
        }
        let seen = Seen::of(&log, USER_DATA)?;
        drop(log);
        // We are the first to open it again: what we read from disk is what we wrote.
        seen.agrees_with(&Seen::of(&open(&path)?, USER_DATA)?, state)?;
        let seen = turn_of_node(&mut node, &path, state, &seen, 0, false)?;
        take_turns(&mut node, &path, state, seen, false)?;
    }
    node.finish()
}

/// Has both sides open the log in turn: each must see what the other left, and goes on from there.
/// Begins with us.
fn take_turns(
    node: &mut Steps,
    path: &Path,
    state: &str,
    mut seen: Seen,
    header_secret: bool,
) -> Result<()> {
    for round in 0..ROUNDS {
        let log = open(path)?;
        let now = Seen::of(&log, USER_DATA)?;
        seen.agrees_with(&now, &format!("{state}, our turn {round}"))?;
        ensure!(now.writable, "{state}: our key was lost");
        log.append(&[format!("ours {round}")])?;
        log.append(&["", "at once"])?;
        seen = Seen::of(&log, USER_DATA)?;
        drop(log);
        seen = turn_of_node(node, path, state, &seen, round, header_secret)?;
    }
    let last = Seen::of(&open(path)?, USER_DATA)?;
    seen.agrees_with(&last, &format!("{state}, at the end"))?;
    if !header_secret {
        check_secret(path)?;
    }
    Ok(())
}

/// Has Node open the log, check it, and append to it. It is given the key pair, which it needs for
/// a log of ours, and must not store it.
fn turn_of_node(
    node: &mut Steps,
    path: &Path,
    state: &str,
    before: &Seen,
    round: usize,
    header_secret: bool,
) -> Result<Seen> {
    let now = node.step(&json!({ "open": text(path)?, "seed": hex::encode(SEED) }))?;
    before.agrees_with(&now, &format!("{state}, Node's turn {round}"))?;
    ensure!(now.writable == header_secret, "{state}: writable to Node is {}", now.writable);
    node.step(&Append(&["theirs"]).for_node())?;
    let mut after = node.step(&Append(&["", "theirs at once"]).for_node())?;
    // So that the header is written too, by the one who was given a key that is not in it.
    if round == 1 {
        after = node.step(&Flush.for_node())?;
    }
    ensure!(after.header_secret == header_secret, "{state}: Node changed where the secret is");
    node.close()?;
    Ok(after)
}

/// Fails if the secret key lies anywhere but in its own file.
fn check_secret(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_key = file.file_name().is_some_and(|name| name == "key");
        let bytes = fs::read(&file)?;
        let is_there = bytes.windows(SEED.len()).any(|part| part == SEED);
        ensure!(is_there == is_key, "{}: secret key in it: {is_there}", file.display());
    }
    Ok(())
}

/// Who made the log that is copied, and the copy.
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Theirs,
}

/// A copy of some blocks, to which both sides add blocks that they fetch from the log itself.
fn sparse(side: Side) -> Result<()> {
    let folder = TempDir::new()?;
    let [source, copy] = ["source", "copy"].map(|name| folder.path().join(name));
    let mut node = Steps::start()?;
    match side {
        Side::Theirs => {
            node.step(&Kind::Manifest.node(&source)?)?;
            for step in &TEN {
                node.step(&step.for_node())?;
            }
            node.fetch(&copy, &[0, 9])?;
            node.close()?;
        }
        Side::Ours => {
            let keys = KeyPair::from_seed(SEED);
            let log = Log::create(FileStorage::create(&source)?, keys, Kind::Manifest.options())?;
            for step in &TEN {
                step.take(&log)?;
            }
            let storage = FileStorage::create(&copy)?;
            let replica = Log::create_replica(storage, log.key(), LogOptions::default())?;
            replica.apply(&log.prove(&Request {
                upgrade: upgrade(&log),
                manifest: true,
                ..Request::default()
            })?)?;
            fetch(&log, &replica, &[0, 9])?;
        }
    }
    let mut held = vec![0, 9];
    for (round, (here, there)) in [(4, 3), (1, 7), (5, 6)].into_iter().enumerate() {
        let (log, replica) = (open(&source)?, open(&copy)?);
        ensure!(!replica.is_writable(), "a copy has no key");
        fetch(&log, &replica, &[here])?;
        if round == 1 {
            replica.flush()?;
        }
        held.push(here);
        check_copy(&log, &Seen::of(&replica, USER_DATA)?, &held, "we")?;
        drop((log, replica));
        node.step(&json!({ "open": text(&source)? }))?;
        node.fetch(&copy, &[there])?;
        node.close()?;
        let seen = node.step(&json!({ "open": text(&copy)? }))?;
        node.close()?;
        held.push(there);
        check_copy(&open(&source)?, &seen, &held, "Node")?;
        Seen::of(&open(&copy)?, USER_DATA)?.agrees_with(&seen, "the copy")?;
    }
    node.finish()
}

fn upgrade(log: &Log) -> Option<multibee_log::RequestUpgrade> {
    Some(multibee_log::RequestUpgrade { start: 0, length: log.len() })
}

/// Gives `replica` some blocks of `log`.
fn fetch(log: &Log, replica: &Log, blocks: &[u64]) -> Result<()> {
    for &index in blocks {
        let nodes = replica.missing_nodes(2 * index)?;
        let block = Some(RequestBlock { index, nodes });
        replica.apply(&log.prove(&Request { block, ..Request::default() })?)?;
    }
    Ok(())
}

/// Fails unless a copy holds those blocks of `log` and no others.
fn check_copy(log: &Log, copy: &Seen, held: &[u64], who: &str) -> Result<()> {
    let mut expected = Seen::of(log, USER_DATA)?;
    for (seq, block) in (0..).zip(&mut expected.blocks) {
        if !held.contains(&seq) {
            *block = super::steps::Block::Missing;
        }
    }
    expected.agrees_with(copy, &format!("the copy as {who} left it"))
}
