//! Reading logs of which only some blocks are here.

use std::collections::BTreeSet;

use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, Entry, Error, RangeOptions, Tree};
use multibee_log::{Log, MemoryStorage, Request, RequestBlock, RequestUpgrade};
use proptest::prelude::*;

use crate::{entries, log_options, new_bee, new_log, scrambled};

const KEYS: u64 = 4000;

/// A tree of five levels.
pub(crate) fn writer(keys: u64) -> Bee {
    let bee = new_bee();
    for chunk in (0..keys).collect::<Vec<_>>().chunks(500) {
        let mut batch = bee.batch().unwrap();
        for i in chunk {
            batch.put(&scrambled(*i), Some(i.to_string()), "").unwrap();
        }
        batch.flush().unwrap();
    }
    bee
}

/// An empty copy of a writer's log that knows its head.
pub(crate) struct Replica {
    from: Log,
    pub(crate) bee: Bee,
    fetched: u64,
    rounds: u64,
}

impl Replica {
    pub(crate) fn of(writer: &Bee) -> Self {
        let from = writer.log().clone();
        from.sync().unwrap();
        let log = Log::create_replica(MemoryStorage::default(), from.key(), log_options()).unwrap();
        let upgrade = Some(RequestUpgrade { start: 0, length: from.len() });
        let request = Request { upgrade, manifest: true, ..Request::default() };
        log.apply(&from.prove(&request).unwrap()).unwrap();
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        Self { from, bee, fetched: 0, rounds: 0 }
    }

    /// Learns of the writer's newest head.
    pub(crate) fn upgrade(&mut self) {
        self.from.sync().unwrap();
        let start = self.bee.log().len();
        let upgrade = Some(RequestUpgrade { start, length: self.from.len() - start });
        let proof = self.from.prove(&Request { upgrade, ..Request::default() }).unwrap();
        self.bee.log().apply(&proof).unwrap();
    }

    pub(crate) fn fetch(&mut self, seqs: &[u64]) {
        let log = self.bee.log();
        assert!(!seqs.is_empty());
        assert_eq!(seqs.iter().collect::<BTreeSet<_>>().len(), seqs.len(), "each is named once");
        for seq in seqs {
            assert!(!log.has(*seq), "block {seq} is not missing");
            let nodes = log.missing_nodes(2 * seq).unwrap();
            let block = Some(RequestBlock { index: *seq, nodes });
            let proof = self.from.prove(&Request { block, ..Request::default() }).unwrap();
            log.apply(&proof).unwrap();
        }
        self.rounds += 1;
        self.fetched += seqs.len() as u64;
    }

    /// Asks, fetches what is missing, and asks again. Returns the answer, the rounds, the blocks.
    pub(crate) fn ask<T>(
        &mut self,
        mut ask: impl FnMut(&Bee) -> Result<T, Error>,
    ) -> (T, u64, u64) {
        (self.rounds, self.fetched) = (0, 0);
        loop {
            match ask(&self.bee) {
                Err(Error::Missing(seqs)) => self.fetch(&seqs),
                result => return (result.unwrap(), self.rounds, self.fetched),
            }
        }
    }
}

/// A cold get takes a round for the root and one for each level, and far fewer blocks than there
/// are. The next one finds the upper levels here.
#[test]
fn a_get_takes_one_round_a_level() {
    let writer = writer(KEYS);
    let mut replica = Replica::of(&writer);
    let key = scrambled(77);
    let (entry, rounds, blocks) = replica.ask(|bee| bee.snapshot()?.get(&key));
    assert_eq!(entry.unwrap().value.as_deref(), Some(&b"77"[..]));
    assert!((2..=6).contains(&rounds) && blocks <= 90, "{rounds} rounds, {blocks} blocks");

    let (entry, rounds, blocks) = replica.ask(|bee| bee.snapshot()?.get(b"none such"));
    assert_eq!(entry, None);
    assert!(rounds <= 5 && blocks <= 70, "{rounds} rounds, {blocks} blocks");

    let (_, rounds, _) = replica.ask(|bee| bee.snapshot()?.get(&key));
    assert_eq!(rounds, 0);
}

/// Large blocks are not guessed at: only keys that decide are named, then the one child.
#[test]
fn large_blocks_are_fetched_one_by_one() {
    let bee = new_bee();
    let mut batch = bee.batch().unwrap();
    for i in 0..100 {
        batch.put(&scrambled(i), Some(vec![0; 10_000]), "").unwrap();
    }
    batch.flush().unwrap();
    let mut replica = Replica::of(&bee);
    let (entry, _, blocks) = replica.ask(|bee| bee.snapshot()?.get(&scrambled(5)));
    assert!(entry.is_some());
    assert!(blocks <= 3 * 9, "{blocks} blocks");
}

/// A range over a cold log gives every entry once, in far fewer rounds than it has entries.
#[test]
fn a_range_goes_on_where_it_stopped() {
    let writer = writer(KEYS);
    let expected = entries(&writer.snapshot().unwrap());
    for reverse in [false, true] {
        let mut replica = Replica::of(&writer);
        let tree = replica.bee.snapshot().unwrap();
        let mut range = tree.range(RangeOptions { reverse, ..RangeOptions::default() });
        let mut found: Vec<Entry> = Vec::new();
        while let (Some(entry), ..) = {
            let (rounds, fetched) = (replica.rounds, replica.fetched);
            let next = replica.ask(|_| range.next());
            replica.rounds += rounds;
            replica.fetched += fetched;
            next
        } {
            found.push(entry);
        }
        if reverse {
            found.reverse();
        }
        assert_eq!(found, expected);
        assert!(replica.rounds < 60, "{} rounds", replica.rounds);
        // All but the header and blocks that only hold what was overwritten.
        assert!(replica.fetched <= writer.log().len());
    }
}

/// A range with a limit does not fetch much beyond it.
#[test]
fn a_limit_bounds_what_is_named() {
    let writer = writer(KEYS);
    let mut replica = Replica::of(&writer);
    let options = RangeOptions {
        gte: Some(Bytes::from_static(&[0x80])),
        limit: Some(10),
        ..RangeOptions::default()
    };
    let tree = replica.bee.snapshot().unwrap();
    let mut range = tree.range(options.clone());
    let (mut found, mut blocks, mut rounds) = (Vec::new(), 0, 0);
    loop {
        let (entry, more_rounds, more_blocks) = replica.ask(|_| range.next());
        (blocks, rounds) = (blocks + more_blocks, rounds + more_rounds);
        match entry {
            Some(entry) => found.push(entry),
            None => break,
        }
    }
    let full = writer.snapshot().unwrap().range(options).map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(found, full);
    assert!(blocks <= 130 && rounds <= 10, "{rounds} rounds, {blocks} blocks");
}

/// Headers, single blocks and old versions are asked for like anything else.
#[test]
fn other_reads_name_their_block() {
    let writer = writer(600);
    let mut replica = Replica::of(&writer);
    assert!(matches!(replica.bee.header(), Err(Error::Missing(seqs)) if seqs == [0]));
    let (header, ..) = replica.ask(Bee::header);
    assert!(header.unwrap().is_hyperbee());
    assert!(matches!(replica.bee.get_by_seq(9), Err(Error::Missing(seqs)) if seqs == [9]));
    let (entry, ..) = replica.ask(|bee| bee.get_by_seq(9));
    assert_eq!(entry, writer.get_by_seq(9).unwrap());
    assert!(matches!(replica.bee.checkout(501), Err(Error::Missing(seqs)) if seqs == [500]));
    let (tree, ..) = replica.ask(|bee| bee.checkout(501));
    assert_eq!(tree.version(), 501);
    assert!(matches!(replica.bee.batch(), Err(Error::NotWritable)));
    assert!(matches!(replica.bee.create_header(), Err(Error::NotWritable)));
}

/// A read needs no block that it does not look at: with just the probed ones here it succeeds.
#[test]
fn unrelated_blocks_may_be_gone() {
    let writer = writer(KEYS);
    let mut replica = Replica::of(&writer);
    let key = scrambled(1234);
    // Only ever fetch the first block named, which is the one that is needed.
    let mut rounds = 0;
    let entry = loop {
        match replica.bee.snapshot().unwrap().get(&key) {
            Err(Error::Missing(seqs)) => replica.fetch(&seqs[..1]),
            result => break result.unwrap().unwrap(),
        }
        rounds += 1;
        assert!(rounds < 60);
    };
    assert_eq!(entry.value.as_deref(), Some(&b"1234"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whichever blocks are here already, a reader ends up with what the writer has.
    #[test]
    fn any_subset_leads_to_the_same(held in prop::collection::btree_set(0..301_u64, 0..300), probe in 0..400_u64) {
        let writer = writer(300);
        let mut replica = Replica::of(&writer);
        if !held.is_empty() {
            replica.fetch(&held.into_iter().collect::<Vec<_>>());
        }
        let here = |tree: &Tree| tree.get(&scrambled(probe)).unwrap();
        let (found, ..) = replica.ask(|bee| bee.snapshot()?.get(&scrambled(probe)));
        prop_assert_eq!(found, here(&writer.snapshot().unwrap()));
        let mut range = replica.bee.snapshot().unwrap().range(RangeOptions::default());
        let mut all = Vec::new();
        while let (Some(entry), ..) = replica.ask(|_| range.next()) {
            all.push(entry);
        }
        prop_assert_eq!(all, entries(&writer.snapshot().unwrap()));
    }
}

/// An empty log has no header and no entries, and nothing of it is missing.
#[test]
fn an_empty_log_is_an_empty_tree() {
    let from = new_log();
    let log = Log::create_replica(MemoryStorage::default(), from.key(), log_options()).unwrap();
    let bee = Bee::open(log, BeeOptions::default()).unwrap();
    assert_eq!(bee.header().unwrap(), None);
    assert_eq!(bee.version(), 1);
    assert_eq!(entries(&bee.snapshot().unwrap()), []);
    assert_eq!(bee.snapshot().unwrap().get(b"").unwrap(), None);
}
