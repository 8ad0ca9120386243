//! How many round trips and blocks a reader needs for a log of which only the head is here.
//!
//! The workload and the peer's figures are those of section 10.1 of docs/spec/btree.md.

use std::sync::LazyLock;

use bytes::Bytes;
use multibee_btree::{Bee, Entry, Error, Range, RangeOptions};

use crate::sparse::Replica;
use crate::{entries, new_bee};

/// 10,000 keys of 16 bytes, in batches of 1000, then 50 one by one.
static WRITER: LazyLock<Bee> = LazyLock::new(|| {
    let bee = new_bee();
    for chunk in (0..10_000).collect::<Vec<_>>().chunks(1000) {
        let mut batch = bee.batch().unwrap();
        for i in chunk {
            batch.put(&key(*i), Some(vec![b'v'; 100]), "").unwrap();
        }
        batch.flush().unwrap();
    }
    for i in 10_000..10_050 {
        bee.put(&key(i), Some(vec![b'v'; 100])).unwrap();
    }
    bee
});

/// A key without pattern.
fn key(i: u64) -> [u8; 16] {
    let mut hash = blake2::Blake2b512::default();
    blake2::Digest::update(&mut hash, i.to_le_bytes());
    *blake2::Digest::finalize(hash).first_chunk().unwrap()
}

/// A reader with a cold log, who counts.
struct Reader {
    replica: Replica,
    rounds: u64,
    blocks: u64,
}

impl Reader {
    fn new() -> Self {
        Self { replica: Replica::of(&WRITER), rounds: 0, blocks: 0 }
    }

    /// Calls until nothing is missing any more, and fetches in between.
    fn ask<T>(&mut self, mut ask: impl FnMut(&Bee) -> Result<T, Error>) -> T {
        loop {
            match ask(&self.replica.bee) {
                Err(Error::Missing(seqs)) => {
                    self.rounds += 1;
                    self.blocks += seqs.len() as u64;
                    self.replica.fetch(&seqs);
                }
                result => return result.unwrap(),
            }
        }
    }

    fn get(&mut self, key: &[u8]) -> Option<Entry> {
        self.ask(|bee| bee.snapshot()?.get(key))
    }

    fn range(&mut self, options: RangeOptions) -> Vec<Entry> {
        let mut range: Range = self.replica.bee.snapshot().unwrap().range(options);
        std::iter::from_fn(|| self.ask(|_| range.next())).collect()
    }
}

/// A row of the table: what is read, and the most rounds and blocks it may take.
struct Row {
    what: &'static str,
    read: Read,
    rounds: u64,
    blocks: u64,
}

enum Read {
    Get(u64),
    GetMissing,
    Range(RangeOptions),
}

fn row(what: &'static str, read: Read, rounds: u64, blocks: u64) -> Row {
    Row { what, read, rounds, blocks }
}

fn rows() -> Vec<Row> {
    let all: Vec<Bytes> = entries(&WRITER.snapshot().unwrap()).into_iter().map(|e| e.key).collect();
    let from = |n: usize| RangeOptions { gte: Some(all[n].clone()), ..RangeOptions::default() };
    let hundred = |n: usize| RangeOptions { lt: Some(all[n + 100].clone()), ..from(n) };
    let limited = |n: usize, limit| RangeOptions { limit: Some(limit), ..from(n) };
    let down = RangeOptions { lte: Some(all[4321].clone()), ..RangeOptions::default() };
    let reverse = RangeOptions { limit: Some(100), reverse: true, ..down };
    let whole = RangeOptions::default();
    let back = RangeOptions { reverse: true, ..RangeOptions::default() };
    vec![
        row("get, first batch", Read::Get(7), 6, 60),
        row("get, last batch", Read::Get(9_900), 6, 60),
        row("get, last put", Read::Get(10_049), 6, 60),
        row("get, missing", Read::GetMissing, 6, 60),
        row("range, limit 10", Read::Range(limited(5000, 10)), 7, 54),
        row("range, limit 100", Read::Range(limited(2000, 100)), 8, 200),
        row("range of 100 keys", Read::Range(hundred(2000)), 8, 170),
        row("range of 100 keys, at an edge", Read::Range(hundred(0)), 8, 170),
        row("range of 100 keys, in the middle", Read::Range(hundred(5000)), 8, 170),
        row("range, limit 100, reverse", Read::Range(reverse), 8, 200),
        row("whole range", Read::Range(whole), 10, 10_050),
        row("whole range, reverse", Read::Range(back), 10, 10_050),
    ]
}

/// Every read gives what the writer has, within the rounds and the blocks of its row.
#[test]
fn cold_reads_take_few_rounds() {
    println!("{:34} {:>6} {:>6}", "", "rounds", "blocks");
    let tree = WRITER.snapshot().unwrap();
    let mut over = Vec::new();
    for Row { what, read, rounds, blocks } in rows() {
        let mut reader = Reader::new();
        match read {
            Read::Get(i) => assert_eq!(reader.get(&key(i)), tree.get(&key(i)).unwrap()),
            Read::GetMissing => assert_eq!(reader.get(&key(99_999)), None),
            Read::Range(options) => {
                let expected: Vec<_> = tree.range(options.clone()).map(Result::unwrap).collect();
                assert_eq!(reader.range(options), expected, "{what}");
            }
        }
        println!("{what:34} {:6} {:6}", reader.rounds, reader.blocks);
        if reader.rounds > rounds || reader.blocks > blocks {
            over.push(format!("{what}: {rounds} rounds, {blocks} blocks allowed"));
        }
    }
    assert!(over.is_empty(), "{over:?}");
}
