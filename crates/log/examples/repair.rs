//! A log on disk is damaged; an audit finds it, and a repair takes what is lost from another copy.
//!
//! Run with `cargo run -p multibee-log --example repair`.

use std::error::Error;
use std::fs;

use multibee_log::{
    FileStorage, KeyPair, Log, LogOptions, MemoryStorage, Request, RequestBlock, RequestUpgrade,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("log");
    let log = Log::create(FileStorage::create(&dir)?, KeyPair::generate(), LogOptions::default())?;
    let lines: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
    log.append(&lines)?;
    log.flush()?;
    let copy = copy_of(&log)?;

    // A bad sector in `data`, and one in `tree`.
    for (part, at) in [("data", 3000), ("tree", 20_000)] {
        let path = dir.join(part);
        let mut bytes = fs::read(&path)?;
        bytes.get_mut(at..at + 512).ok_or("the part is too short")?.fill(0xff);
        fs::write(&path, bytes)?;
    }
    let audit = log.audit(|_| {})?;
    println!("an audit of {} blocks finds {} faults", audit.blocks, audit.findings.len());
    for finding in audit.findings.iter().take(3) {
        println!("  {finding:?}");
    }

    // What cannot be computed from the rest is asked of the copy, over a network otherwise.
    let repair = log.repair(|request| copy.prove(request), |_| {})?;
    println!(
        "a repair computes {} nodes and fetches {} blocks",
        repair.mended, repair.fetched_blocks
    );
    println!("what is left: {:?}", repair.remaining.findings);
    Ok(())
}

/// A replica with all blocks.
fn copy_of(log: &Log) -> multibee_log::Result<Log> {
    let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default())?;
    let upgrade = Some(RequestUpgrade { start: 0, length: log.durable_len() });
    copy.apply(&log.prove(&Request { upgrade, manifest: true, ..Request::default() })?)?;
    for index in 0..copy.len() {
        let block = Some(RequestBlock { index, nodes: copy.missing_nodes(2 * index)? });
        copy.apply(&log.prove(&Request { block, ..Request::default() })?)?;
    }
    Ok(copy)
}
