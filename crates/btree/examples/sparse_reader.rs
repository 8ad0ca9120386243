//! Reads from a large tree of which only the head is here: blocks are fetched as they are needed.
//!
//!     cargo run -p multibee-btree --example sparse_reader
//!
//! The other side is a log in the same process, and a round trip is a call. With a network it would
//! be a connection of `multibee-replica`: what changes is where [`Remote::fetch`] gets its answers.

use std::error::Error;

use multibee_btree::{Bee, BeeOptions, Error as TreeError, RangeOptions};
use multibee_log::{
    KeyPair, Log, LogOptions, MemoryStorage, Proof, Request, RequestBlock, RequestUpgrade,
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What answers requests, somewhere else.
struct Remote {
    log: Log,
    round_trips: usize,
    blocks: usize,
}

impl Remote {
    fn ask(&self, request: &Request) -> Result<Proof> {
        Ok(self.log.prove(request)?)
    }

    /// Fetches blocks, all in one round trip, and verifies each.
    fn fetch(&mut self, copy: &Log, seqs: &[u64]) -> Result<()> {
        for &index in seqs {
            let nodes = copy.missing_nodes(2 * index)?;
            let block = Some(RequestBlock { index, nodes });
            copy.apply(&self.ask(&Request { block, ..Request::default() })?)?;
        }
        self.round_trips += 1;
        self.blocks += seqs.len();
        Ok(())
    }

    /// Reads, and each time that blocks are missing fetches them and reads again.
    fn read<T>(&mut self, bee: &Bee, mut read: impl FnMut() -> Result<T, TreeError>) -> Result<T> {
        loop {
            match read() {
                Err(TreeError::Missing(seqs)) => self.fetch(bee.log(), &seqs)?,
                result => return Ok(result?),
            }
        }
    }

    fn report(&mut self, what: &str) {
        println!("{what}: {} round trips, {} blocks", self.round_trips, self.blocks);
        (self.round_trips, self.blocks) = (0, 0);
    }
}

fn main() -> Result<()> {
    let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    let bee = Bee::open(log.clone(), BeeOptions::default())?;
    let mut batch = bee.batch()?;
    for number in 0..10_000 {
        batch.put(format!("town {number:05}").as_bytes(), Some(format!("{number} people")), "")?;
    }
    let version = batch.flush()?;
    println!("there: {version} blocks");

    let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default())?;
    let mut remote = Remote { log, round_trips: 0, blocks: 0 };
    let upgrade = Some(RequestUpgrade { start: 0, length: 1 });
    copy.apply(&remote.ask(&Request { upgrade, manifest: true, ..Request::default() })?)?;
    let bee = Bee::open(copy.clone(), BeeOptions::default())?;
    println!("here: the signed head of {} blocks, and none of them", copy.len());

    let tree = bee.snapshot()?;
    let entry = remote.read(&bee, || tree.get(b"town 04711"))?.ok_or("no such town")?;
    println!("{:?} has {:?}", entry.key, entry.value.unwrap_or_default());
    remote.report("one key");

    let bounds = RangeOptions {
        gte: Some("town 08000".into()),
        limit: Some(100),
        ..RangeOptions::default()
    };
    let mut range = tree.range(bounds);
    let mut count = 0;
    while remote.read(&bee, || range.next())?.is_some() {
        count += 1;
    }
    remote.report(&format!("a range of {count} keys"));

    remote.read(&bee, || tree.get(b"town 04711"))?;
    remote.report("the same key again");
    Ok(())
}
