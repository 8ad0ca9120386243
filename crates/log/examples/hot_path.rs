//! Does one thing very often, for tools that count instructions or draw flame graphs.
//!
//! ```text
//! hot_path append1|append1000|read|verify COUNT
//! ```
//!
//! What it costs is the difference between two runs with different counts. `docs/performance.md`
//! shows how it is used. Everything is in memory, so that the system's work is not counted.

use std::error::Error;
use std::hint::black_box;

use multibee_log::{
    Durability, KeyPair, Log, LogOptions, MemoryStorage, Proof, Request, RequestBlock,
    RequestUpgrade,
};

const BLOCK_LEN: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(what), Some(count)) = (args.next(), args.next()) else {
        return Err("usage: hot_path append1|append1000|read|verify COUNT".into());
    };
    let count: u64 = count.parse()?;
    match what.as_str() {
        "append1" => drop(filled(count, 1)?),
        "append1000" => drop(filled(count, 1000)?),
        "read" => read(count)?,
        "verify" => verify(count)?,
        other => return Err(format!("nothing is called {other}").into()),
    }
    Ok(())
}

/// A log of `count` blocks, appended in calls of `batch`.
fn filled(count: u64, batch: u64) -> Result<(Log, MemoryStorage), Box<dyn Error>> {
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let storage = MemoryStorage::default();
    let log = Log::create(storage.clone(), KeyPair::from_seed([7; 32]), options)?;
    let mut next = 0;
    while next < count {
        let end = count.min(next + batch);
        let blocks: Vec<[u8; BLOCK_LEN]> = (next..end).map(block).collect();
        log.append(&blocks)?;
        next = end;
    }
    Ok((log, storage))
}

fn block(number: u64) -> [u8; BLOCK_LEN] {
    let mut block = [0x5a; BLOCK_LEN];
    let (start, _) = block.split_at_mut(8);
    start.copy_from_slice(&number.to_le_bytes());
    block
}

/// Reads `count` of 100,000 blocks in an order without neighbours, from a log that was reopened.
fn read(count: u64) -> Result<(), Box<dyn Error>> {
    const HELD: u64 = 100_000;
    let (log, storage) = filled(HELD, 1000)?;
    drop(log);
    let log = Log::open(storage, LogOptions::default())?;
    let mut number = 0;
    for _ in 0..count {
        number = (number + 61_803) % HELD;
        black_box(log.get(number)?);
    }
    Ok(())
}

/// Takes `count` blocks of another log into a replica, 256 at a time.
fn verify(count: u64) -> Result<(), Box<dyn Error>> {
    let (source, _) = filled(count, 1000)?;
    source.sync()?;
    let options = LogOptions::default();
    let replica = Log::create_replica(MemoryStorage::default(), source.key(), options)?;
    let upgrade = Some(RequestUpgrade { start: 0, length: count });
    replica.apply(&source.prove(&Request { upgrade, manifest: true, ..Request::default() })?)?;
    for first in (0..count).step_by(256) {
        let proofs: Vec<Proof> = (first..count.min(first + 256))
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
    Ok(())
}
