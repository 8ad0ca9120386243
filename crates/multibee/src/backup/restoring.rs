//! From a backup to a home: its proofs are checked as if a peer had sent them.

use std::io::Read;

use bytes::Bytes;
use multibee_log::{Error as LogError, Log, Proof, ProofRun};

use super::catalog::{LogEntry, without};
use super::copying::{FRAME_HEAD_LEN, Kind};
use super::folder::Folder;
use crate::Error;

/// Bytes of runs that are checked and stored at once.
const APPLIED_BYTES: usize = 8 << 20;

/// Fills an empty log with what a backup has of it. `told` hears the number of blocks.
pub(super) fn fill(
    folder: &Folder,
    entry: &LogEntry,
    log: &Log,
    told: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let mut reader = folder.read(entry)?;
    let mut left = entry.bytes;
    let mut runs = Runs { log, folder, waiting: Vec::new(), bytes: 0 };
    while let Some((kind, bytes)) = read_frame(folder, &mut reader, &mut left)? {
        match kind {
            Kind::Run => {
                let run = ProofRun::decode(&bytes).map_err(|error| damaged(folder, &error))?;
                told(run.lens.len() as u64);
                runs.add(run)?;
            }
            Kind::Proof => {
                // What comes before it may be what it builds upon.
                runs.apply()?;
                let (_, proof) = Proof::decode(&bytes).map_err(|error| damaged(folder, &error))?;
                told(u64::from(proof.block.is_some()));
                log.apply(&proof).map_err(|error| blamed(folder, error))?;
            }
        }
    }
    runs.apply()?;
    let held = log.held(0..log.len());
    if log.len() != entry.length || !without(&entry.held, &held).is_empty() {
        let what = format!("blocks of the log {} are not in it", entry.key);
        return Err(folder.bad(what));
    }
    Ok(log.sync()?)
}

/// Runs of blocks that are still to be stored.
struct Runs<'a> {
    log: &'a Log,
    folder: &'a Folder,
    waiting: Vec<ProofRun>,
    bytes: usize,
}

impl Runs<'_> {
    fn add(&mut self, run: ProofRun) -> Result<(), Error> {
        self.bytes += run.data.len();
        self.waiting.push(run);
        if self.bytes > APPLIED_BYTES { self.apply() } else { Ok(()) }
    }

    fn apply(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        let runs = std::mem::take(&mut self.waiting);
        let applied = self.log.apply_runs(&runs)?;
        applied.into_iter().collect::<Result<(), _>>().map_err(|error| blamed(self.folder, error))
    }
}

fn read_frame(
    folder: &Folder,
    reader: &mut impl Read,
    left: &mut u64,
) -> Result<Option<(Kind, Bytes)>, Error> {
    if *left == 0 {
        return Ok(None);
    }
    let mut head = [0; FRAME_HEAD_LEN];
    reader.read_exact(&mut head).map_err(|error| damaged(folder, &error))?;
    let [a, b, c, d, kind] = head;
    let len = u32::from_le_bytes([a, b, c, d]);
    let kind = match kind {
        1 => Kind::Proof,
        2 => Kind::Run,
        kind => return Err(folder.bad(format!("a proof of kind {kind} is unknown"))),
    };
    let rest =
        left.checked_sub(FRAME_HEAD_LEN as u64).and_then(|left| left.checked_sub(len.into()));
    *left = rest.ok_or_else(|| folder.bad("a proof is longer than the file".into()))?;
    let mut bytes = Vec::new();
    let read = reader.take(len.into()).read_to_end(&mut bytes);
    if read.map_err(|error| damaged(folder, &error))? as u64 != u64::from(len) {
        return Err(folder.bad("the file of a log is cut short".into()));
    }
    Ok(Some((kind, bytes.into())))
}

fn damaged(folder: &Folder, error: &dyn std::error::Error) -> Error {
    folder.bad(format!("it is damaged: {error}"))
}

/// What is wrong with a proof is the backup's fault, the rest is the disk's to which it is restored.
fn blamed(folder: &Folder, error: LogError) -> Error {
    match error {
        LogError::Io(_) | LogError::Locked { .. } => error.into(),
        other => damaged(folder, &other),
    }
}
