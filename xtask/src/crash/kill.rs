//! Killing a process that writes a log, again and again, and looking at what it left.

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use multibee_log::{Durability, FileStorage, KeyPair, Log, LogOptions};

use crate::random::Random;

/// Lines that a process prints before it is killed, at most.
const LINES_MAX: u64 = 60;
/// Blocks at which the log is cut, so that it does not grow for ever.
const LEN_MAX: u64 = 3000;

/// Starts a process that writes a log, kills it after some acknowledged changes, and checks that
/// all of them are there, so many times.
pub(super) fn run(rounds: u32, seed: u64) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("log");
    let mut random = Random::new(seed);
    let (mut acknowledged, mut reopened) = (0_u64, 0_u64);
    for round in 0..rounds {
        let lines = 1 + random.number_below(LINES_MAX);
        let promised = write_and_kill(&dir, random.next(), lines)?;
        acknowledged += promised.len() as u64;
        if let Err(error) = check(&dir, promised.last()) {
            let kept = folder.keep();
            println!("round {round}: {error:#}; the log is in {}", kept.display());
            return Ok(false);
        }
        reopened += 1;
    }
    println!("killed {rounds} times: {acknowledged} changes acknowledged, {reopened} logs whole");
    Ok(true)
}

/// What the process said was done: fork, length, and the head's hash.
type Line = (u64, u64, String);

fn write_and_kill(dir: &Path, seed: u64, lines: u64) -> Result<Vec<Line>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(["crash", "--seed", &seed.to_string(), "--child"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process of this program")?;
    let promised = read_lines(&mut child, lines);
    // It may be in the midst of anything by now.
    child.kill()?;
    child.wait()?;
    promised
}

fn read_lines(child: &mut Child, lines: u64) -> Result<Vec<Line>> {
    let output = child.stdout.take().context("the process has no output")?;
    let mut promised = Vec::new();
    for line in BufReader::new(output).lines().take(usize::try_from(lines)?) {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let [fork, len, hash] = *words else { bail!("the process said {line:?}") };
        promised.push((fork.parse()?, len.parse()?, hash.to_owned()));
    }
    ensure!(!promised.is_empty(), "the process ended by itself");
    Ok(promised)
}

/// The last acknowledged change is there, perhaps with later ones; all is sound; the log goes on.
fn check(dir: &Path, promised: Option<&Line>) -> Result<()> {
    let log = Log::open(FileStorage::open(dir)?, LogOptions::default())?;
    if let Some((fork, len, hash)) = promised {
        let found = (log.fork(), log.len());
        ensure!(found >= (*fork, *len), "{found:?} is left of {fork}, {len}");
        // A later cut may have taken it.
        if log.fork() == *fork {
            let tree_hash = log.tree_hash_at(*len)?.context("the roots are missing")?;
            ensure!(tree_hash.to_string() == *hash, "another history at length {len}");
        }
    }
    let audit = log.audit(|_| ())?;
    ensure!(audit.is_clean(), "{:?}", audit.findings);
    for run in log.held(0..log.len()) {
        for number in run {
            let block = log.get(number)?.context("a block is missing")?;
            ensure!(block.starts_with(&number.to_le_bytes()), "block {number} is another");
        }
    }
    let len = log.len();
    log.append(&[block(len, 9)])?;
    let head = log.head();
    drop(log);
    let log = Log::open(FileStorage::open(dir)?, LogOptions::default())?;
    ensure!(log.head() == head, "what was appended is not there");
    Ok(())
}

/// The process: changes the log as long as it lives, and tells of each change that is durable.
pub(super) fn write(dir: &Path, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let durability = match random.number_below(3) {
        0 => Durability::Buffered,
        _ => Durability::Immediate,
    };
    let options = LogOptions { durability, ..LogOptions::default() };
    let log = if FileStorage::exists(dir)? {
        Log::open(FileStorage::open(dir)?, options)?
    } else {
        Log::create(FileStorage::create(dir)?, KeyPair::from_seed([7; 32]), options)?
    };
    let mut output = stdout().lock();
    loop {
        let len = log.len();
        match random.number_below(12) {
            0 => log.flush()?,
            1 => log.clear(random.number_below(len + 1)..len)?,
            2 if len > LEN_MAX => drop(log.truncate(random.number_below(len))?),
            3 => log.set_user_data("number", &random.next().to_le_bytes())?,
            4 => drop(log.append(&blocks(len, 200 + random.number_below(200), 100))?),
            _ => drop(log.append(&blocks(
                len,
                1 + random.number_below(5),
                random.number_below(5000),
            ))?),
        }
        if durability == Durability::Immediate || random.number_below(4) == 0 {
            log.sync()?;
            let hash = log.tree_hash_at(log.len())?.context("the roots are missing")?;
            writeln!(output, "{} {} {hash}", log.fork(), log.len())?;
            output.flush()?;
        }
    }
}

fn blocks(from: u64, count: u64, len: u64) -> Vec<Vec<u8>> {
    (from..from + count).map(|number| block(number, len)).collect()
}

/// A block that tells its number.
fn block(number: u64, len: u64) -> Vec<u8> {
    let mut block = number.to_le_bytes().to_vec();
    block.resize(8 + len as usize, number as u8);
    block
}
