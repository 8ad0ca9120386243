//! Appending, reading, proving.

use std::hint::black_box;

use anyhow::Result;
use multibee_log::{Log, MemoryStorage, Proof, Request, RequestBlock, RequestRun, RequestUpgrade};

use crate::kernel::{Kernel, Work};
use crate::sample;

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "log-append",
        what: "append a block of 128 bytes",
        operations: 200,
        prepare: |_| append(1),
    },
    Kernel {
        name: "log-append-1000",
        what: "append one of 1000 blocks in one call",
        operations: 10_000,
        prepare: |_| append(1000),
    },
    Kernel {
        name: "log-read",
        what: "get a random one of 20,000 blocks, of a log just opened",
        operations: 20_000,
        prepare: |_| read(),
    },
    Kernel {
        name: "log-verify",
        what: "ask for a block of a replica, prove it, check and store it",
        operations: 2048,
        prepare: |total| verify(total),
    },
    Kernel {
        name: "log-run",
        what: "the same of one of 256 blocks in a run",
        operations: 8192,
        prepare: |total| verify_runs(total),
    },
];

const BLOCK_LEN: usize = 128;

/// Appends `count` blocks from `first` on, in calls of `batch`.
fn fill(log: &Log, first: u64, count: u64, batch: u64) -> Result<()> {
    let mut next = first;
    let end = first + count;
    while next < end {
        let until = end.min(next + batch);
        let blocks: Vec<[u8; BLOCK_LEN]> = (next..until).map(block).collect();
        log.append(&blocks)?;
        next = until;
    }
    Ok(())
}

fn block(number: u64) -> [u8; BLOCK_LEN] {
    let mut block = [0x5a; BLOCK_LEN];
    let (start, _) = block.split_at_mut(8);
    start.copy_from_slice(&number.to_le_bytes());
    block
}

fn append(batch: u64) -> Result<Box<dyn Work>> {
    let (log, _) = sample::log()?;
    Ok(Box::new(move |count| fill(&log, log.len(), count, batch)))
}

/// Opens the log anew each time, so that its blocks are not in the cache.
struct Read {
    storage: MemoryStorage,
    log: Log,
}

fn read() -> Result<Box<dyn Work>> {
    let (log, storage) = sample::log()?;
    fill(&log, 0, Read::HELD, 1000)?;
    Ok(Box::new(Read { storage, log }))
}

impl Read {
    const HELD: u64 = 20_000;
}

impl Work for Read {
    fn make_ready(&mut self, _: u64) -> Result<()> {
        self.log = Log::open_read_only(self.storage.clone(), sample::options())?;
        Ok(())
    }

    fn run(&mut self, count: u64) -> Result<()> {
        let mut number = 0;
        for _ in 0..count {
            // A step without a common factor, so that all are read before one is again.
            number = (number + 7919) % Self::HELD;
            black_box(self.log.get(number)?);
        }
        Ok(())
    }
}

/// A log of `count` blocks, and a replica that has its head and none of them.
fn pair(count: u64) -> Result<(Log, Log)> {
    let (source, _) = sample::log()?;
    fill(&source, 0, count, 1000)?;
    source.sync()?;
    let replica = Log::create_replica(MemoryStorage::default(), source.key(), sample::options())?;
    let upgrade = Some(RequestUpgrade { start: 0, length: count });
    replica.apply(&source.prove(&Request { upgrade, manifest: true, ..Request::default() })?)?;
    Ok((source, replica))
}

/// 256 at a time.
fn verify(total: u64) -> Result<Box<dyn Work>> {
    let (source, replica) = pair(total)?;
    let mut next = 0;
    Ok(Box::new(move |count| {
        for first in (next..next + count).step_by(256) {
            let proofs: Vec<Proof> = (first..first + 256)
                .map(|index| {
                    let nodes = replica.missing_nodes(2 * index)?;
                    let block = Some(RequestBlock { index, nodes });
                    source.prove(&Request { block, ..Request::default() })
                })
                .collect::<Result<_, _>>()?;
            for applied in replica.apply_all(&proofs)? {
                applied?;
            }
        }
        next += count;
        Ok(())
    }))
}

fn verify_runs(total: u64) -> Result<Box<dyn Work>> {
    let (source, replica) = pair(total)?;
    let mut next = 0;
    Ok(Box::new(move |count| {
        for start in (next..next + count).step_by(256) {
            let request = RequestRun { start, depth: 8, nodes: 0 };
            let nodes = replica.missing_nodes(request.top().unwrap_or_default())?;
            let proof = source.prove_run(&RequestRun { nodes, ..request })?;
            for applied in replica.apply_runs(&[proof])? {
                applied?;
            }
        }
        next += count;
        Ok(())
    }))
}
