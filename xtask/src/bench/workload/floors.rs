//! F: what the machine takes for the parts that no workload can do without.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread;

use anyhow::{Context, Result, ensure};
use blake2b_simd::many::{HashManyJob, hash_many};
use bytes::BytesMut;
use multibee_log::{KeyPair, verify};
use multibee_replica::{Pull, Push, Tag};
use serde::{Deserialize, Serialize};

use super::{Plan, Workload};
use crate::bench::data::BLOCK_LEN;
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::merkle::{LEAF_PREFIX_LEN, PARENT_INPUT_LEN, params};
use crate::bench::record::{Record, Title};
use crate::bench::store::SEED;
use crate::bench::task::Task;
use crate::bench::transfer::Wire;
use crate::bench::usage::{Meter, Span};

pub(super) const PLAN: Plan = Plan::of(Workload::F, jobs);

fn jobs() -> Vec<Job> {
    Part::ALL.map(|part| Job::Floor(Floor { part })).to_vec()
}

/// One thing that the machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::bench) enum Part {
    /// BLAKE2b-256 of a block as a leaf, alone.
    Leaf,
    /// The same, eight at once.
    Leaves,
    /// BLAKE2b-256 of two hashes, eight at once.
    Parents,
    /// Ed25519 over 32 bytes.
    Sign,
    Verify,
    /// XChaCha20-Poly1305 of so many bytes, one way.
    Seal256,
    Seal4K,
    Seal64K,
    Open64K,
    /// A write of 192 bytes and `fdatasync`.
    Sync,
    /// A write of 192 bytes, without.
    Write,
    /// A write of a mebibyte, without.
    WriteLarge,
    /// A read of a block from the system's cache.
    Pread,
    /// 64 KiB through a connection on loopback, both ends on one thread.
    Copy64K,
    /// A byte to another thread and back, by loopback.
    PingPong,
}

impl Part {
    pub(in crate::bench) const ALL: [Self; 15] = [
        Self::Leaf,
        Self::Leaves,
        Self::Parents,
        Self::Sign,
        Self::Verify,
        Self::Seal256,
        Self::Seal4K,
        Self::Seal64K,
        Self::Open64K,
        Self::Sync,
        Self::Write,
        Self::WriteLarge,
        Self::Pread,
        Self::Copy64K,
        Self::PingPong,
    ];

    /// Bytes of each.
    pub(in crate::bench) fn len(self) -> usize {
        match self {
            Self::Leaf | Self::Leaves => LEAF_PREFIX_LEN + BLOCK_LEN,
            Self::Parents => PARENT_INPUT_LEN,
            Self::Sign | Self::Verify => 32,
            Self::Seal256 => 256,
            Self::Seal4K => 4 << 10,
            Self::Seal64K | Self::Open64K | Self::Copy64K => 64 << 10,
            Self::Sync | Self::Write => 192,
            Self::WriteLarge => 1 << 20,
            Self::Pread => BLOCK_LEN,
            Self::PingPong => 1,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len();
        f.pad(&match self {
            Self::Leaf => format!("BLAKE2b of {len} B"),
            Self::Leaves | Self::Parents => format!("BLAKE2b of {len} B, 8 at once"),
            Self::Sign => "Ed25519 sign".to_owned(),
            Self::Verify => "Ed25519 verify".to_owned(),
            Self::Seal256 | Self::Seal4K | Self::Seal64K => format!("seal {len} B"),
            Self::Open64K => format!("open {len} B"),
            Self::Sync => format!("write {len} B + fdatasync"),
            Self::Write | Self::WriteLarge => format!("write {len} B"),
            Self::Pread => format!("pread {len} B"),
            Self::Copy64K => format!("loopback TCP, {len} B"),
            Self::PingPong => "loopback TCP, there and back".to_owned(),
        })
    }
}

/// Does one of them very often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Floor {
    pub(in crate::bench) part: Part,
}

impl Kind for Floor {
    fn workload(&self) -> Workload {
        Workload::F
    }

    fn name(&self) -> String {
        format!("{:?}", self.part).to_lowercase()
    }

    /// About as many as take a second, and a multiple of 80.
    fn full_n(&self) -> u32 {
        match self.part {
            Part::Leaf => 2_000_000,
            Part::Leaves | Part::Parents => 4_000_000,
            Part::Sign | Part::Verify => 20_000,
            Part::Seal256 => 400_000,
            Part::Seal4K => 160_000,
            Part::Seal64K | Part::Copy64K => 16_000,
            // Sealed beforehand, and in memory.
            Part::Open64K => 4_000,
            Part::Sync => 2_000,
            Part::Write | Part::Pread => 400_000,
            Part::WriteLarge => 240,
            Part::PingPong => 8_000,
        }
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        let n = task.n();
        let span = match self.part {
            Part::Leaf => hash_alone(n),
            Part::Leaves | Part::Parents => hash_at_once(n, self.part.len()),
            Part::Sign | Part::Verify => sign(n, self.part)?,
            Part::Seal256 | Part::Seal4K | Part::Seal64K | Part::Open64K => seal(n, self.part)?,
            Part::Sync | Part::Write | Part::WriteLarge | Part::Pread => file(task, self.part)?,
            Part::Copy64K => copy(n, self.part.len())?,
            Part::PingPong => ping(n)?,
        };
        let variant = self.part.to_string();
        let durability = match self.part {
            Part::Sync => "immediate",
            Part::Write | Part::WriteLarge => "buffered",
            _ => "read",
        };
        let title = Title { variant: &variant, durability, unit: "/s" };
        let record = Record::new(task, &title, span, DiskUse::default());
        Ok(vec![record.and_mb_per_s("mbPerS", self.part.len())])
    }
}

fn hash_alone(n: u32) -> Span {
    let params = params();
    let mut input = vec![7; Part::Leaf.len()];
    let meter = Meter::start();
    for _ in 0..n {
        // Each needs the one before, so that none can be left out.
        let hash = params.hash(&input);
        input.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    }
    meter.stop()
}

fn hash_at_once(n: u32, len: usize) -> Span {
    let params = params();
    let mut inputs = vec![vec![7; len]; 8];
    let meter = Meter::start();
    for _ in 0..n / 8 {
        let mut jobs: Vec<_> =
            inputs.iter().map(|input| HashManyJob::new(&params, input)).collect();
        hash_many(jobs.iter_mut());
        let first = jobs.first().map(HashManyJob::to_hash);
        drop(jobs);
        let bytes = first.iter().flat_map(|hash| hash.as_bytes());
        inputs.iter_mut().flatten().zip(bytes).for_each(|(to, from)| *to = *from);
    }
    meter.stop()
}

fn sign(n: u32, part: Part) -> Result<Span> {
    let keys = KeyPair::from_seed(SEED);
    let public_key = keys.public_key();
    let mut message = [7; 32];
    let signature = keys.sign(&message);
    let meter = Meter::start();
    for _ in 0..n {
        if part == Part::Sign {
            let signature = keys.sign(&message);
            message.iter_mut().zip(signature).for_each(|(to, from)| *to = from);
        } else {
            ensure!(verify(&public_key, &message, &signature), "a signature does not hold");
        }
    }
    Ok(meter.stop())
}

/// In both directions, of which one is timed.
fn seal(n: u32, part: Part) -> Result<Span> {
    let (key, header) = ([4; 32], [5; 24]);
    let (mut push, mut pull) = (Push::new(&key, &header), Pull::new(&key, &header));
    let message = vec![7; part.len()];
    let mut sealed = BytesMut::new();
    let meter = Meter::start();
    if part != Part::Open64K {
        for _ in 0..n {
            sealed.clear();
            push.seal(Tag::MESSAGE, &message, &mut sealed);
        }
        return Ok(meter.stop());
    }
    let mut messages = Vec::new();
    for _ in 0..n {
        let mut sealed = BytesMut::new();
        push.seal(Tag::MESSAGE, &message, &mut sealed);
        messages.push(sealed);
    }
    let meter = Meter::start();
    for sealed in messages {
        let (_, plain) = pull.open(sealed)?;
        ensure!(plain.len() == message.len(), "a message has another length");
    }
    Ok(meter.stop())
}

/// One file, written or read from its start on.
fn file(task: &Task, part: Part) -> Result<Span> {
    fs::create_dir_all(task.folder())?;
    let path = task.folder().join("file");
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path);
    let file = file.with_context(|| format!("{}", path.display()))?;
    let mut block = vec![7; part.len()];
    let place = |number: u32| u64::from(number) * part.len() as u64;
    let all = 0..task.n();
    if part == Part::Pread {
        fill(&file, place(task.n()))?;
    }
    let meter = Meter::start();
    for number in all {
        match part {
            Part::Pread => file.read_exact_at(&mut block, place(number))?,
            _ => file.write_all_at(&block, place(number))?,
        }
        if part == Part::Sync {
            file.sync_data()?;
        }
    }
    let span = meter.stop();
    drop(file);
    fs::remove_file(&path).with_context(|| format!("{}", path.display()))?;
    Ok(span)
}

fn fill(mut file: &File, len: u64) -> Result<()> {
    file.write_all(&vec![7; usize::try_from(len)?])?;
    Ok(())
}

fn copy(n: u32, len: usize) -> Result<Span> {
    let (mut wire, message) = (Wire::new()?, vec![7; len]);
    let meter = Meter::start();
    for _ in 0..n {
        ensure!(wire.copy(&message)?.len() == len, "a message has another length");
    }
    Ok(meter.stop())
}

fn ping(n: u32) -> Result<Span> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        let mut byte = [0];
        // Until the other end is gone.
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    let meter = Meter::start();
    let mut byte = [7];
    for _ in 0..n {
        near.write_all(&byte)?;
        near.read_exact(&mut byte)?;
    }
    let span = meter.stop();
    drop(near);
    echo.join().map_err(|_| anyhow::anyhow!("the echo ended in a panic"))?;
    Ok(span)
}
