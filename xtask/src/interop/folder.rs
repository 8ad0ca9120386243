//! One folder on disk, used by Hypercore 10 and by `multibee-log` in turn.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use multibee_log::{FileStorage, KeyPair, Log, LogOptions};
use serde::Deserialize;

use super::Case;
use super::program::Program;

const SEED: [u8; 32] = [0x5a; 32];

pub(super) fn cases() -> Vec<Case> {
    [false, true]
        .into_iter()
        .flat_map(|compat| {
            let kind = if compat { "compat" } else { "manifest" };
            [
                Case::new(format!("hypercore 10 continues our {kind} log"), move || ours(compat)),
                Case::new(format!("we continue a {kind} log of hypercore 10"), move || {
                    theirs(compat)
                }),
            ]
        })
        .collect()
}

/// What `core-open.mjs` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opened {
    key: String,
    length: u64,
    byte_length: u64,
    tree_hash: String,
    blocks: Vec<String>,
}

fn ours(compat: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let options = LogOptions { compat, ..LogOptions::default() };
    let log = Log::create(FileStorage::create(&path)?, KeyPair::from_seed(SEED), options)?;
    // One by one, then many at once: entries of the oplog, then a flush of it.
    for index in 0..40 {
        log.append(&[format!("single {index}")])?;
    }
    let batch: Vec<_> = (0..1000).map(|index| format!("batch {index}")).collect();
    log.append(&batch)?;
    drop(log);

    agree(&path, &["--append", "3"])?;
    let log = open(&path)?;
    ensure!(log.len() == 1043, "their appends did not arrive: {} blocks", log.len());
    ensure!(log.is_writable(), "our key was lost");
    log.append(&["after them"])?;
    drop(log);
    agree(&path, &[])
}

fn theirs(compat: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let mut arguments = vec!["--create", "--append", "50"];
    if compat {
        arguments.push("--compat");
    }
    agree(&path, &arguments)?;
    let log = open(&path)?;
    ensure!(log.is_writable(), "the key pair in the header was not found");
    log.append(&["one", "two", "three"])?;
    drop(log);
    agree(&path, &["--append", "2"])?;
    ensure!(open(&path)?.len() == 55, "{} blocks", open(&path)?.len());
    Ok(())
}

fn open(path: &Path) -> Result<Log> {
    Ok(Log::open(FileStorage::open(path)?, LogOptions::default())?)
}

/// Opens the folder with Hypercore, then with ours: both must see the same.
fn agree(path: &Path, arguments: &[&str]) -> Result<()> {
    let seed = hex::encode(SEED);
    let path_text = path.to_str().context("the temporary folder's name is not UTF-8")?;
    let mut all = vec![path_text, "--seed", &seed];
    all.extend(arguments);
    let printed = Program::node("core-open.mjs", &all)?.finish()?;
    let [seen]: [Opened; 1] = printed.try_into().ok().context("not one line")?;

    let log = open(path)?;
    ensure!(hex::encode(log.key().as_bytes()) == seen.key, "the keys differ");
    ensure!(log.len() == seen.length, "{} blocks here, {} there", log.len(), seen.length);
    ensure!(log.byte_len() == seen.byte_length, "the sizes differ");
    let head = log.head().context("the log is empty")?;
    ensure!(head.tree_hash.to_string() == seen.tree_hash, "the tree hashes differ");
    for (seq, theirs) in (0..).zip(&seen.blocks) {
        let block = log.get(seq)?.with_context(|| format!("block {seq} is missing here"))?;
        ensure!(hex::encode(&block) == *theirs, "block {seq} differs");
    }
    Ok(())
}
