//! Logs replicated between Multibee and Hypercore on Node: each scenario with each version, in both
//! directions, and with each side as the one that dials.

#![expect(clippy::single_range_in_vec_init, reason = "what is held is a list of ranges")]

mod blocks;
mod chain;
mod many;
mod ours;
mod reading;
mod theirs;
mod writing;

use anyhow::{Result, ensure};
use multibee_log::{KeyPair, Log, LogKey, LogOptions, MemoryStorage};

use self::blocks::blocks;
use self::ours::Ours;
use self::theirs::{State, Theirs};
use super::{Case, HYPERCORES};

/// Makes the key pair of logs that are written here.
const SEED: [u8; 32] = [0x31; 32];

/// Blocks in a log at the start.
const COUNT: u64 = 200;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &version in HYPERCORES {
        for dialer in [Dialer::We, Dialer::They] {
            cases.extend(reading::cases(version, dialer));
            cases.extend(writing::cases(version, dialer));
            cases.extend(many::cases(version, dialer));
        }
        cases.extend(chain::cases(version));
    }
    cases
}

/// Who connects, and so speaks first in the handshake.
#[derive(Clone, Copy)]
enum Dialer {
    We,
    They,
}

impl Dialer {
    /// For the names of cases.
    fn name(self) -> &'static str {
        match self {
            Self::We => "we dial",
            Self::They => "they dial",
        }
    }
}

/// What a log's key is.
#[derive(Clone, Copy)]
enum Kind {
    /// The hash of a manifest.
    Manifest,
    /// The public key, as in the first versions of Hypercore 10.
    Compat,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Manifest, Self::Compat];

    /// For the names of cases.
    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Compat => "compat",
        }
    }

    fn is_compat(self) -> bool {
        matches!(self, Self::Compat)
    }
}

/// A log of ours with the first blocks of a history.
fn our_log(seed: [u8; 32], kind: Kind, history: u64) -> Result<Log> {
    let options = LogOptions { compat: kind.is_compat(), ..LogOptions::default() };
    let log = Log::create(MemoryStorage::default(), KeyPair::from_seed(seed), options)?;
    log.append(&blocks(history, 0..COUNT))?;
    Ok(log)
}

/// An empty copy of somebody else's log.
fn our_copy(key: LogKey) -> Result<Log> {
    Ok(Log::create_replica(MemoryStorage::default(), key, LogOptions::default())?)
}

/// Connects the two, and waits until both see it.
fn meet(ours: &mut Ours, theirs: &mut Theirs, dialer: Dialer) -> Result<()> {
    match dialer {
        Dialer::We => ours.dial(theirs.listen()?),
        Dialer::They => {
            theirs.dial(ours.listen()?)?;
            ours.met()
        }
    }
}

/// Both must have the same log, whatever blocks of it each holds.
fn agree(log: &Log, theirs: &State) -> Result<()> {
    ensure!(hex::encode(log.key().as_bytes()) == theirs.key, "the keys differ");
    let (ours, there) = ((log.len(), log.fork()), (theirs.length, theirs.fork));
    ensure!(ours == there, "length and fork are {ours:?} here, {there:?} there");
    ensure!(log.byte_len() == theirs.byte_length, "the sizes differ");
    let head = log.head().map(|head| head.tree_hash.to_string());
    ensure!(head.is_none_or(|hash| hash == theirs.tree_hash), "the tree hashes differ");
    Ok(())
}

/// Compares what a log holds of a history with what was written.
fn check_blocks(log: &Log, history: u64, range: std::ops::Range<u64>) -> Result<()> {
    for (seq, block) in range.clone().zip(blocks(history, range)) {
        ensure!(log.get(seq)?.is_some_and(|held| held == block), "block {seq} differs");
    }
    Ok(())
}
