//! Doing what a workload says, to a log and a replica of it.

use std::io::ErrorKind;

use bytes::Bytes;

use super::faulty::Fault;
use super::history::Version;
use super::random::{Random, mix2};
use super::recording::RecordingStorage;
use super::side::{Promise, Side};
use super::workload::{Op, Start};
use crate::error::{Error, Result};
use crate::key_pair::KeyPair;
use crate::keys::LogKey;
use crate::log::{Log, LogOptions};
use crate::manifest::Manifest;
use crate::memory::MemoryStorage;
use crate::proof::Proof;
use crate::reorg::Reorg;
use crate::request::{Request, RequestBlock, RequestUpgrade};

/// Lengths of blocks, in turn: none, some that fit into a sector, one that does not.
const BLOCK_LENS: [usize; 7] = [40, 0, 13, 700, 1, 511, 90];

const BIG_LEN: usize = 64 * 1024;

/// Long enough for a header outside its slot.
const NOTES_LEN: usize = 5000;

/// A log and a replica, on disks that are recorded.
#[derive(Debug)]
pub(super) struct Session {
    keys: KeyPair,
    pub(super) writer: Side,
    pub(super) replica: Side,
    random: Random,
    /// How many blocks were made. No two are alike.
    made: u64,
    /// The moments at which log and replica were there.
    pub(super) opened: [usize; 2],
}

/// Logs that were in use for a while, and what they are.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    writer: (RecordingStorage, Version),
    replica: (RecordingStorage, Version),
    /// As `writer`, with a header outside its slot.
    annotated: (RecordingStorage, Version),
    /// As `replica`, with another history that is the same for so many blocks.
    disputed: (RecordingStorage, Version, u64),
}

impl Settled {
    /// Uses a log and a replica until there is something of everything: both headers were written,
    /// the log was cut, blocks are missing, and changes wait to be moved.
    pub(super) fn new() -> Result<Self> {
        let mut session = Session::new(LogOptions::default(), 0);
        let ops = [
            [Op::Batch, Op::Append, Op::Download, Op::Flush, Op::Put],
            [Op::Batch, Op::Truncate, Op::Batch, Op::Download, Op::Download],
            [Op::Flush, Op::Clear, Op::Append, Op::Put, Op::Download],
        ];
        ops.as_flattened().iter().try_for_each(|op| session.run(*op))?;
        let state = |side: &mut Side| {
            side.close();
            (side.disk.inner().copy(), side.current.clone())
        };
        let (writer, replica) = (state(&mut session.writer), state(&mut session.replica));
        session.annotate(NOTES_LEN)?;
        session.run(Op::Flush)?;
        session.run(Op::Put)?;
        let annotated = state(&mut session.writer);
        // Of this one, only what it learns of the other history may get lost.
        let disk = RecordingStorage::over(replica.0.image());
        session.replica = Side::over(disk, LogOptions::default(), replica.1.clone());
        session.meet_twin()?;
        let trusted_len = session.replica.log()?.trusted_len();
        let (disk, version) = state(&mut session.replica);
        Ok(Self { writer, replica, annotated, disputed: (disk, version, trusted_len) })
    }
}

impl Session {
    /// Begins with a log that is there, or is created.
    pub(super) fn start(
        options: LogOptions,
        start: Start,
        seed: u64,
        settled: &Settled,
    ) -> Result<Self> {
        let mut session = Self::prepare(options, start, seed, settled);
        match start {
            Start::Nothing | Start::Settled => {}
            Start::Unsynced => session.writer.open()?,
            Start::Disputed => {
                session.replica.open()?;
                let now = session.replica.now();
                session.replica.history.make_conflicts_safe(now);
            }
        }
        session.create()?;
        session.opened = [session.writer.now(), session.replica.now()];
        Ok(session)
    }

    /// As [`start`](Self::start), but the log is not yet opened or created.
    pub(super) fn prepare(options: LogOptions, start: Start, seed: u64, settled: &Settled) -> Self {
        let settled_side = |(disk, version): &(RecordingStorage, Version)| {
            let disk = RecordingStorage::over(disk.image());
            Side::over(disk, options.clone(), version.clone())
        };
        match start {
            Start::Nothing => Self::new(options, seed),
            Start::Settled => {
                let writer = settled_side(&settled.writer);
                let replica = settled_side(&settled.replica);
                Self { writer, replica, ..Self::new(options, !seed) }
            }
            Start::Disputed => {
                let writer = settled_side(&settled.writer);
                let (disk, version, common_len) = &settled.disputed;
                let disk = RecordingStorage::over_unsynced(&disk.recording(), disk.image());
                let mut replica = Side::over(disk, options.clone(), version.clone());
                replica.history.push_conflict(*common_len, 0, usize::MAX);
                Self { writer, replica, ..Self::new(options, !seed) }
            }
            Start::Unsynced => {
                let is_annotated = !seed.is_multiple_of(2);
                let (disk, version) =
                    if is_annotated { &settled.annotated } else { &settled.writer };
                let disk = RecordingStorage::over_unsynced(&disk.recording(), disk.image());
                let writer = Side::over(disk, options.clone(), version.clone());
                Self { writer, ..Self::new(options, !seed) }
            }
        }
    }

    fn new(options: LogOptions, seed: u64) -> Self {
        let made = mix2(seed, 0);
        let mut random = Random::new(made);
        // Half of the file systems know what a hole is.
        let keeps = random.chance(1, 2);
        let side = |options| {
            let side = Side::nowhere(options);
            side.disk.inner().keep_discarded(keeps);
            side
        };
        let (writer, replica) = (side(options.clone()), side(options));
        Self { keys: KeyPair::from_seed([7; 32]), writer, replica, random, made, opened: [0; 2] }
    }

    /// Creates the log, if there is none yet.
    pub(super) fn create(&mut self) -> Result<()> {
        let keys = self.keys.clone();
        self.writer.create(|disk, options| Log::create(disk, keys, options))
    }

    /// What was found wrong when a log was opened.
    pub(super) fn complaint(&self) -> String {
        let complaints = [&self.writer, &self.replica].map(|side| side.complaint.clone());
        complaints.into_iter().flatten().collect()
    }

    pub(super) fn key(&self) -> LogKey {
        Manifest::single(self.keys.public_key()).key()
    }

    pub(super) fn keys(&self) -> &KeyPair {
        &self.keys
    }

    /// Does one thing.
    pub(super) fn run(&mut self, op: Op) -> Result<()> {
        self.create()?;
        // What was found when they were opened anew is what is changed next.
        self.writer.log()?;
        self.on_replica(|replica| replica.log().map(drop))?;
        match op {
            Op::Append => self.append(1, Promise::AsOptions),
            Op::Batch => self.append(3, Promise::AsOptions),
            Op::Many => self.append(20, Promise::AsOptions),
            Op::Submit => {
                self.append(1, Promise::Accepted)?;
                self.append(1, Promise::Accepted)
            }
            Op::Big => {
                let block = self.block(BIG_LEN);
                self.append_blocks(&[block], Promise::AsOptions)
            }
            Op::Put => self.put(),
            Op::Notes => self.notes(),
            Op::Truncate => self.truncate(),
            Op::Clear => self.clear(),
            Op::Download => self.download(),
            Op::Flush => {
                self.writer.make_safe(Log::flush)?;
                self.on_replica(|replica| replica.make_safe(Log::flush))
            }
            Op::Sync => {
                self.writer.make_safe(Log::sync)?;
                self.on_replica(|replica| replica.make_safe(Log::sync))
            }
            Op::Reclaim => {
                self.writer.make_safe(|log| log.reclaim().map(drop))?;
                self.on_replica(|replica| replica.make_safe(|log| log.reclaim().map(drop)))
            }
            Op::Reopen => {
                self.writer.open()?;
                self.on_replica(Side::open)
            }
            Op::Kill => self.kill(),
            Op::Twin => self.meet_twin(),
        }
    }

    fn on_replica(&mut self, f: impl FnOnce(&mut Side) -> Result<()>) -> Result<()> {
        if self.replica.is_there() { f(&mut self.replica) } else { Ok(()) }
    }

    fn block(&mut self, len: usize) -> Bytes {
        self.made = self.made.wrapping_add(1);
        let mut bytes = vec![0; len];
        Random::new(self.made).fill(&mut bytes);
        bytes.into()
    }

    fn short_block(&mut self) -> Bytes {
        let len = BLOCK_LENS.get(self.made as usize % BLOCK_LENS.len()).copied().unwrap_or(0);
        self.block(len)
    }

    fn append(&mut self, count: usize, promise: Promise) -> Result<()> {
        let blocks: Vec<Bytes> = (0..count).map(|_| self.short_block()).collect();
        self.append_blocks(&blocks, promise)
    }

    fn append_blocks(&mut self, blocks: &[Bytes], promise: Promise) -> Result<()> {
        let after = self.writer.current.append(&self.keys, blocks)?;
        self.writer.change(after, promise, |log| match promise {
            Promise::Accepted => log.submit(blocks).map(drop),
            _ => log.append(blocks).map(drop),
        })
    }

    fn put(&mut self) -> Result<()> {
        let block = self.short_block();
        let value = self.block(20);
        let after = self.writer.current.append(&self.keys, std::slice::from_ref(&block))?;
        let after = after.set_user_data("cursor", &value);
        self.writer.change(after, Promise::AsOptions, |log| {
            let mut batch = log.batch();
            batch.append(block).set_user_data("cursor", value);
            batch.commit().map(drop)
        })
    }

    fn notes(&mut self) -> Result<()> {
        let len = if self.random.chance(2, 3) { NOTES_LEN } else { 0 };
        self.annotate(len)
    }

    fn annotate(&mut self, len: usize) -> Result<()> {
        let value = self.block(len);
        let after = self.writer.current.set_user_data("notes", &value);
        self.writer.change(after, Promise::AsOptions, |log| log.set_user_data("notes", &value))
    }

    fn truncate(&mut self) -> Result<()> {
        let len = self.writer.current.len();
        let len = len.saturating_sub(1 + self.random.below(3));
        let after = self.writer.current.truncate(&self.keys, len)?;
        self.writer.change(after, Promise::Safe, |log| log.truncate(len).map(drop))
    }

    fn clear(&mut self) -> Result<()> {
        let pick = self.random.next();
        clear(&mut self.writer, pick)?;
        self.on_replica(|replica| clear(replica, pick))
    }

    /// Lets a few of an operation's changes reach the system, and then no more.
    fn kill(&mut self) -> Result<()> {
        let ops =
            [Op::Append, Op::Put, Op::Flush, Op::Flush, Op::Truncate, Op::Clear, Op::Download];
        let op = ops.get(self.random.below(ops.len() as u64) as usize).unwrap_or(&Op::Flush);
        let changes = self.random.below(12);
        let fault = Fault { kind: ErrorKind::BrokenPipe, written: self.random.below(600) as usize };
        for side in [&mut self.writer, &mut self.replica] {
            side.disk.fail_after(changes, fault);
        }
        // Whether it came to its end or not: what is on the disk will tell.
        let _ = self.run(*op);
        for side in [&mut self.writer, &mut self.replica] {
            side.end();
            side.disk.heal();
        }
        self.writer.open()?;
        self.on_replica(Side::open)
    }

    /// Has the replica take over the writer's head if it does not have it, and one block.
    fn download(&mut self) -> Result<()> {
        let key = self.key();
        self.replica.create(|disk, options| Log::create_replica(disk, key, options))?;
        let (writer, replica) = (self.writer.log()?, self.replica.log()?);
        let Some(head) = writer.durable_head() else {
            return Ok(());
        };
        let Some(source) = self.writer.history.with_head(&head) else {
            return Err(Error::WrongStorage { what: "a durable head that nobody has signed" });
        };
        let source = source.clone();
        let ours = self.replica.current.clone();
        if replica.conflict().is_some() {
            return Ok(());
        }
        if ours.fork != source.fork {
            self.share(&head);
            let reorg = reorg(&writer, &replica)?;
            let after = ours.reorg(&source, reorg.shared_len());
            self.replica.change(after, Promise::Safe, |log| log.apply_reorg(reorg).map(drop))?;
        } else if ours.head != source.head {
            self.share(&head);
            let proof = writer.prove(&upgrade_request(&replica, head.length))?;
            let after = ours.follow(&source, None);
            self.replica.change(after, Promise::Accepted, |log| log.apply(&proof).map(drop))?;
        }
        let ours = self.replica.current.clone();
        let lacks = |block: &u64| source.holds(*block) && writer.has(*block) && !ours.holds(*block);
        let wanted: Vec<u64> = (0..source.len()).filter(lacks).collect();
        let pick = self.random.below(wanted.len() as u64) as usize;
        let Some(&index) = wanted.get(pick) else {
            return Ok(());
        };
        self.share(&head);
        let proof = prove_block(&writer, &replica, index)?;
        let after = ours.follow(&source, Some(index));
        self.replica.change(after, Promise::Accepted, |log| log.apply(&proof).map(drop))
    }

    /// Has the replica meet a peer whose log was written with the same keys, the same for some blocks
    /// and then another one.
    fn meet_twin(&mut self) -> Result<()> {
        let ours = self.replica.current.clone();
        if ours.len() == 0 || self.replica.log()?.conflict().is_some() {
            return Ok(());
        }
        let common_len = self.random.below(ours.len());
        let twin = Log::create(MemoryStorage::new(), self.keys.clone(), LogOptions::default())?;
        if ours.fork > 0 {
            twin.truncate_to_fork(0, ours.fork)?;
        }
        twin.append(&ours.first_blocks(common_len))?;
        let others: Vec<Bytes> = (common_len..ours.len()).map(|_| self.block(30)).collect();
        twin.append(&others)?;
        // How much of the common blocks is known to be so depends on what is held: tried on a copy.
        let mut known = Vec::new();
        let copy = RecordingStorage::over(self.replica.disk.inner().image());
        let copy = Log::open(copy, self.replica.options.clone())?;
        if accept_twin(&copy, &twin, |log| known.push(log.trusted_len())).is_err() {
            return Ok(());
        }
        let log = self.replica.log()?;
        let begun = self.replica.now();
        let mut safe = Vec::new();
        let accepted = accept_twin(&log, &twin, |_| safe.push(self.replica.now()));
        let begun = [begun].into_iter().chain(safe.iter().copied());
        for (number, (common_len, begun)) in known.into_iter().zip(begun).enumerate() {
            let safe = safe.get(number).copied().unwrap_or(usize::MAX);
            self.replica.history.push_conflict(common_len, begun, safe);
        }
        accepted
    }

    fn share(&mut self, head: &crate::head::Head) {
        let now = self.writer.now();
        self.writer.disk.inner().share(head);
        self.writer.history.make_head_safe(Some(head), now);
    }
}

/// Has a log find out that a twin was written with its keys, and up to where they are the same.
fn accept_twin(log: &Log, twin: &Log, mut known: impl FnMut(&Log)) -> Result<()> {
    if log.check_conflict(&prove_whole(twin)?)?.is_some() {
        known(log);
        accept_divergence(log, twin)?;
        known(log);
    }
    Ok(())
}

/// Has a log that knows of a conflict find out up to where it is the same as its twin.
fn accept_divergence(log: &Log, twin: &Log) -> Result<()> {
    let Some(mut divergence) = log.start_divergence()? else {
        return Ok(());
    };
    while let Some(request) = divergence.request() {
        divergence.add(&twin.prove(&request)?)?;
    }
    log.apply_divergence(divergence).map(drop)
}

/// Proves a head to one who holds nothing.
fn prove_whole(log: &Log) -> Result<Proof> {
    let upgrade = Some(RequestUpgrade { start: 0, length: log.len() });
    log.prove(&Request { upgrade, ..Request::default() })
}

/// Asks for the head of a writer whose log has `len` blocks.
pub(super) fn upgrade_request(replica: &Log, len: u64) -> Request {
    let start = replica.len();
    let upgrade = Some(RequestUpgrade { start, length: len.saturating_sub(start) });
    Request { upgrade, manifest: replica.manifest().is_none(), ..Request::default() }
}

/// Finds out how `replica` gets over to the fork of `writer`.
pub(super) fn reorg(writer: &Log, replica: &Log) -> Result<Reorg> {
    let upgrade = Some(RequestUpgrade { start: 0, length: writer.durable_len() });
    let manifest = replica.manifest().is_none();
    let proof = writer.prove(&Request { upgrade, manifest, ..Request::default() })?;
    let mut reorg = replica.start_reorg(&proof)?;
    while let Some(request) = reorg.request() {
        reorg.add(&writer.prove(&request)?)?;
    }
    Ok(reorg)
}

/// Has `writer` prove one block to `replica`, which has the same head.
pub(super) fn prove_block(writer: &Log, replica: &Log, index: u64) -> Result<Proof> {
    let nodes = replica.missing_nodes(2 * index)?;
    let block = Some(RequestBlock { index, nodes });
    writer.prove(&Request { block, ..Request::default() })
}

/// Clears up to three blocks, some of which are held.
fn clear(side: &mut Side, pick: u64) -> Result<()> {
    let held: Vec<u64> = side.current.held().collect();
    let pick = Random::new(pick).below(held.len() as u64) as usize;
    let Some(&first) = held.get(pick) else {
        return Ok(());
    };
    let range = first..first + 1 + first % 3;
    let after = side.current.clear(range.clone());
    side.change(after, Promise::Safe, |log| log.clear(range))
}
