//! From a log to its copy in a backup: what a peer would be sent who has the copy already.
//!
//! A copy is a list of proofs, each with its length and kind before it. It only grows: whatever is
//! new of the log comes behind what is there.

use std::ops::Range;

use multibee_log::{
    Error as LogError, Log, Proof, ProofUpgrade, Request, RequestBlock, RequestRun, RequestUpgrade,
};

use super::catalog::{LogEntry, union, without};
use super::folder::{Appending, Folder};
use crate::Error;

/// What a proof in a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A [`Proof`]: of a newer head, or of a block.
    Proof = 1,
    /// A run of blocks.
    Run = 2,
}

/// Bytes before each proof: its length, little-endian, and its kind.
pub(super) const FRAME_HEAD_LEN: usize = 5;

/// Times that a log is gone through again, because its blocks were dropped meanwhile.
const ROUNDS_MAX: u32 = 16;

/// Levels of the tree above the blocks that are copied at once.
const RUN_DEPTH: u32 = 8;

/// What a log's copy needs.
pub(super) struct Copying<'a> {
    pub(super) folder: &'a Folder,
    pub(super) log: &'a Log,
    /// All that the log holds has to be in the copy, or it is worth nothing.
    pub(super) is_whole: bool,
    /// Told the number of blocks that were copied.
    pub(super) told: &'a mut dyn FnMut(u64),
}

/// A copy as it has become.
pub(super) struct Copied {
    pub(super) entry: LogEntry,
    /// Bytes that were written for it.
    pub(super) written: u64,
}

impl Copying<'_> {
    /// Copies what the copy of the log lacks.
    pub(super) fn run(mut self, before: Option<&LogEntry>) -> Result<Copied, Error> {
        let mut written = 0;
        let mut before = before.cloned();
        for _ in 0..ROUNDS_MAX {
            let entry = self.base(before.as_ref());
            let copied = self.copy(entry)?;
            written += copied.written;
            let is_same = self.log.fork() == copied.entry.fork;
            // What was dropped while it was copied may be part of the version that was copied.
            let held = self.log.held(0..copied.entry.length);
            let is_done =
                is_same && (!self.is_whole || without(&held, &copied.entry.held).is_empty());
            if is_done && !copied.is_short {
                return Ok(Copied { entry: copied.entry, written });
            }
            before = Some(copied.entry);
        }
        Err(self
            .folder
            .bad("the log was cut or cleared again and again while it was copied".into()))
    }

    /// The copy to go on with: a new one, if the log was cut or is another one by now.
    fn base(&self, before: Option<&LogEntry>) -> LogEntry {
        let fork = self.log.fork();
        let number = |entry: &LogEntry| entry.file.rsplit('-').next()?.parse::<u64>().ok();
        match before {
            Some(entry) if entry.fork == fork && entry.length <= self.log.len() => entry.clone(),
            entry => {
                let next = entry.and_then(number).unwrap_or(0) + 1;
                let file = format!("{}-{next}", self.log.discovery_key());
                LogEntry::empty(self.log.key(), file, fork)
            }
        }
    }

    fn copy(&mut self, mut entry: LogEntry) -> Result<Round, Error> {
        self.log.sync()?;
        // First of all: the version of the head needs none that are dropped later than that.
        let held = self.log.held(0..self.log.len());
        let mut file = self.folder.append(&entry.file, entry.bytes)?;
        let durable = self.log.durable_len();
        if durable > entry.length {
            entry.length = self.copy_head(&mut file, entry.length, durable)?;
        }
        let held = union(held, self.log.held(0..entry.length));
        let new = without(&held, &entry.held);
        let (mut copied, mut is_short) = (Vec::new(), false);
        for blocks in new {
            for run in runs(blocks) {
                is_short |= !self.copy_run(&mut file, run, entry.length, &mut copied)?;
            }
        }
        let written = file.finish()?;
        entry.bytes += written;
        entry.held = union(std::mem::take(&mut entry.held), copied);
        Ok(Round { entry, written, is_short: is_short && self.is_whole })
    }

    /// Copies the newest head. Returns its length.
    fn copy_head(&self, file: &mut Appending, from: u64, to: u64) -> Result<u64, Error> {
        let upgrade = Some(RequestUpgrade { start: from, length: to - from });
        let proof = self.log.prove(&Request { upgrade, manifest: true, ..Request::default() })?;
        write_proof(file, &proof)?;
        Ok(proof.upgrade.as_ref().map_or(from, length_of))
    }

    /// Copies a run of blocks, in pieces if they are long. Returns whether all of them were there.
    fn copy_run(
        &mut self,
        file: &mut Appending,
        run: Range<u64>,
        length: u64,
        copied: &mut Vec<Range<u64>>,
    ) -> Result<bool, Error> {
        let depth = (run.end - run.start).trailing_zeros();
        let nodes = levels_above(run.start, depth, length);
        let request = RequestRun { start: run.start, depth, nodes };
        match self.log.prove_run(&request) {
            Ok(proof) => {
                let mut bytes = Vec::new();
                proof.encode(&mut bytes);
                write_frame(file, Kind::Run, &bytes)?;
            }
            // They are too long together, or not all of them are here any more.
            Err(LogError::NotAvailable { .. }) if depth > 0 => {
                let middle = run.start + (run.end - run.start) / 2;
                let first = self.copy_run(file, run.start..middle, length, copied)?;
                let second = self.copy_run(file, middle..run.end, length, copied)?;
                return Ok(first && second);
            }
            Err(LogError::NotAvailable { .. }) => {
                let block = Some(RequestBlock { index: run.start, nodes });
                match self.log.prove(&Request { block, ..Request::default() }) {
                    Ok(proof) => write_proof(file, &proof)?,
                    Err(LogError::NotAvailable { .. }) => return Ok(false),
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
        (self.told)(run.end - run.start);
        copied.push(run);
        Ok(true)
    }
}

/// What came of going through a log once.
struct Round {
    entry: LogEntry,
    written: u64,
    /// Blocks were gone when their turn came.
    is_short: bool,
}

fn write_proof(file: &mut Appending, proof: &Proof) -> Result<(), Error> {
    let mut bytes = Vec::new();
    proof.encode(0, &mut bytes);
    write_frame(file, Kind::Proof, &bytes)
}

fn write_frame(file: &mut Appending, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
    let len = u32::try_from(bytes.len()).expect("a proof has some nodes and a block of 16 MiB");
    file.write(&[&len.to_le_bytes()[..], &[kind as u8], bytes].concat())
}

/// The length of the log that a head is of.
fn length_of(upgrade: &ProofUpgrade) -> u64 {
    // A node is above as many blocks as the ones at the end of its index say.
    let blocks = |index: u64| 1_u64.checked_shl(index.trailing_ones()).unwrap_or(0);
    let more = upgrade.additional_nodes.iter().map(|node| blocks(node.index));
    upgrade.start + upgrade.length + more.sum::<u64>()
}

/// Levels of the tree above the node that is `depth` levels above block `start`, in a log of this
/// length.
fn levels_above(start: u64, depth: u32, length: u64) -> u64 {
    let is_there = |depth: &u32| {
        let count = 1_u64.checked_shl(*depth).unwrap_or(u64::MAX);
        (start / count + 1).checked_mul(count).is_some_and(|end| end <= length)
    };
    (depth + 1..u64::BITS).take_while(is_there).count() as u64
}

/// Takes blocks apart into runs that each lie below one node of the tree.
fn runs(mut blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    std::iter::from_fn(move || {
        let len = blocks.end.checked_sub(blocks.start).filter(|len| *len > 0)?;
        let depth = blocks.start.trailing_zeros().min(len.ilog2()).min(RUN_DEPTH);
        let run = blocks.start..blocks.start + (1 << depth);
        blocks.start = run.end;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs are all of the blocks, in order, each as many as divide where it begins.
    #[test]
    fn runs_are_aligned() {
        let runs: Vec<_> = runs(3..1030).collect();
        assert_eq!(
            runs.iter().cloned().flatten().collect::<Vec<_>>(),
            (3..1030).collect::<Vec<_>>()
        );
        for run in &runs {
            let len = run.end - run.start;
            assert!(len.is_power_of_two() && run.start % len == 0 && len <= 1 << RUN_DEPTH);
        }
        assert_eq!(runs.len(), 1 + 1 + 1 + 1 + 1 + 1 + 1 + 3 + 1 + 1);
    }

    /// The way up from a block ends below the root that is above it.
    #[test]
    fn the_way_up_ends_at_a_root() {
        // Roots of a log of 11: 0..8, 8..10, 10.
        for (start, depth, levels) in
            [(0, 0, 3), (5, 0, 3), (4, 2, 1), (0, 3, 0), (9, 0, 1), (10, 0, 0)]
        {
            assert_eq!(levels_above(start, depth, 11), levels, "{start} {depth}");
        }
    }
}
