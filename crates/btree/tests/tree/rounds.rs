//! How many round trips and blocks a reader needs for a log of which only the head is here.
//!
//! The workload and the peer's figures are those of section 10.1 of docs/spec/btree.md.

use std::sync::LazyLock;

use bytes::Bytes;
use multibee_btree::{Bee, Entry, Error, ExtensionMessage, RangeOptions};

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
///
/// In a round it sends what it asks and gets all that it has asked for; hints that it has asked for
/// come with the blocks, so what they name can be fetched in the next round.
struct Reader {
    replica: Replica,
    /// Whether the peer answers hints.
    is_hinted: bool,
    /// What the peer has named.
    named: Vec<u64>,
    rounds: u64,
    blocks: u64,
}

impl Reader {
    fn new(is_hinted: bool) -> Self {
        Self { replica: Replica::of(&WRITER), is_hinted, named: Vec::new(), rounds: 0, blocks: 0 }
    }

    fn round(&mut self, mut seqs: Vec<u64>, hint: Option<ExtensionMessage>) {
        let log = self.replica.bee.log();
        for seq in self.named.drain(..) {
            if !log.has(seq) && !seqs.contains(&seq) {
                seqs.push(seq);
            }
        }
        if let Some(hint) = hint.filter(|_| self.is_hinted) {
            for part in WRITER.answer_hint(&hint) {
                self.named.extend(part.cache.unwrap().missing(log));
            }
        }
        self.rounds += 1;
        self.blocks += seqs.len() as u64;
        self.replica.fetch(&seqs);
    }

    fn get(&mut self, key: &[u8]) -> Option<Entry> {
        let tree = self.replica.bee.snapshot().unwrap();
        let mut hint = tree.hint(key);
        loop {
            match tree.get(key) {
                Err(Error::Missing(seqs)) => self.round(seqs, hint.take()),
                result => return result.unwrap(),
            }
        }
    }

    fn range(&mut self, options: RangeOptions) -> Vec<Entry> {
        let mut range = self.replica.bee.snapshot().unwrap().range(options);
        let mut entries = Vec::new();
        loop {
            match range.next() {
                Err(Error::Missing(seqs)) => self.round(seqs, range.hint()),
                Ok(Some(entry)) => entries.push(entry),
                end => {
                    assert_eq!(end.unwrap(), None);
                    return entries;
                }
            }
        }
    }
}

/// A row of the table: what is read, and the most rounds and blocks it may take without hints, and
/// the most rounds with them.
struct Row {
    what: &'static str,
    read: Read,
    rounds: u64,
    blocks: u64,
    hinted_rounds: u64,
}

enum Read {
    Get(u64),
    GetMissing,
    Range(RangeOptions),
}

fn row(what: &'static str, read: Read, most: [u64; 3]) -> Row {
    let [rounds, blocks, hinted_rounds] = most;
    Row { what, read, rounds, blocks, hinted_rounds }
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
        row("get, first batch", Read::Get(7), [6, 60, 2]),
        row("get, last batch", Read::Get(9_900), [6, 60, 2]),
        row("get, last put", Read::Get(10_049), [6, 60, 2]),
        row("get, missing", Read::GetMissing, [6, 60, 2]),
        row("range, limit 10", Read::Range(limited(5000, 10)), [7, 54, 2]),
        row("range, limit 100", Read::Range(limited(2000, 100)), [8, 200, 2]),
        row("range of 100 keys", Read::Range(hundred(2000)), [8, 170, 2]),
        row("range of 100 keys, at an edge", Read::Range(hundred(0)), [8, 170, 2]),
        row("range of 100 keys, in the middle", Read::Range(hundred(5000)), [8, 170, 2]),
        row("range, limit 100, reverse", Read::Range(reverse), [8, 200, 2]),
        row("whole range", Read::Range(whole), [10, 10_050, 10]),
        row("whole range, reverse", Read::Range(back), [10, 10_050, 10]),
    ]
}

/// Every read gives what the writer has, within the rounds and the blocks of its row.
#[test]
fn cold_reads_take_few_rounds() {
    println!("{:34}    alone: rounds blocks    hinted: rounds blocks", "");
    let mut over = Vec::new();
    for row in rows() {
        let [alone, hinted] = [false, true].map(|is_hinted| {
            let mut reader = Reader::new(is_hinted);
            read(&mut reader, &row);
            (reader.rounds, reader.blocks)
        });
        let what = row.what;
        println!("{what:34} {:16} {:6} {:17} {:6}", alone.0, alone.1, hinted.0, hinted.1);
        let is_over = alone.0 > row.rounds || alone.1 > row.blocks || hinted.0 > row.hinted_rounds;
        if is_over {
            over.push(what);
        }
    }
    assert!(over.is_empty(), "more than allowed: {over:?}");
}

fn read(reader: &mut Reader, Row { what, read, .. }: &Row) {
    let tree = WRITER.snapshot().unwrap();
    match read {
        Read::Get(i) => assert_eq!(reader.get(&key(*i)), tree.get(&key(*i)).unwrap()),
        Read::GetMissing => assert_eq!(reader.get(&key(99_999)), None),
        Read::Range(options) => {
            let expected: Vec<_> = tree.range(options.clone()).map(Result::unwrap).collect();
            assert_eq!(reader.range(options.clone()), expected, "{what}");
        }
    }
}
