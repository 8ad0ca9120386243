//! A replica that arbitrary proofs are applied to.

use std::sync::LazyLock;

use crate::cache::Cache;
use crate::compact::Reader;
use crate::head::Head;
use crate::key_pair::KeyPair;
use crate::log::{Log, LogOptions};
use crate::memory::MemoryStorage;
use crate::proof::Proof;
use crate::request::{Request, RequestBlock};

/// Lengths at which the copied log was signed.
const SIGNED_LENGTHS: [u64; 2] = [5, 11];

/// More messages of one input are not looked at.
const MESSAGES_MAX: usize = 24;

/// The log that is copied, as it was at its first length if `is_whole` is false.
///
/// # Panics
///
/// Never: it lies in memory.
#[must_use]
pub fn source(is_whole: bool) -> Log {
    let keys = KeyPair::from_seed([3; 32]);
    let log = Log::create(MemoryStorage::new(), keys, LogOptions::default());
    let log = log.expect("memory is empty and takes a log");
    let [first, second] = SIGNED_LENGTHS;
    log.append(&blocks(0..first)).expect("blocks are small");
    if is_whole {
        log.append(&blocks(first..second)).expect("blocks are small");
    }
    log
}

/// Blocks of different lengths; every fourth is empty.
fn block(number: u64) -> Vec<u8> {
    (0..number % 4 * 3).map(|at| (16 * number + at) as u8).collect()
}

fn blocks(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(block).collect()
}

/// The Data messages of an input for [`apply`]: each is preceded by its length, and a length that is
/// too large takes what is left.
pub fn messages(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let mut reader = Reader::new(rest);
        let len = usize::try_from(reader.uint().ok()?).unwrap_or(usize::MAX);
        let (message, after) = reader.rest().split_at(len.min(reader.remaining()));
        rest = after;
        Some(message)
    })
}

/// Whatever is sent to a replica, it holds only blocks that the writer wrote, its head is one that
/// the writer signed, a refused proof changes nothing, and what it holds it can prove to the next.
///
/// Input: [`messages`].
pub fn apply(data: &[u8]) {
    static HEADS: LazyLock<[Option<Head>; 3]> =
        LazyLock::new(|| [None, source(false).head(), source(true).head()]);
    static SOURCE: LazyLock<Log> = LazyLock::new(|| source(true));
    let storage = MemoryStorage::new();
    // A cache of its own, so that each run is like the first.
    let options = || LogOptions { cache: Cache::new(64 * 1024), ..LogOptions::default() };
    let replica = Log::create_replica(storage.clone(), SOURCE.key(), options());
    let replica = replica.expect("memory is empty and takes a log");
    for message in messages(data).take(MESSAGES_MAX) {
        let Ok((_, proof)) = Proof::decode(message) else { continue };
        let before = (replica.head(), replica.held(0..u64::MAX));
        let result = replica.apply(&proof);
        let after = (replica.head(), replica.held(0..u64::MAX));
        assert!(HEADS.contains(&after.0), "a head that nobody signed");
        assert!(result.is_ok() || before == after, "a refused proof changed something");
    }
    check_held(&replica);
    let before = (replica.head(), replica.held(0..u64::MAX));
    drop(replica);
    let replica = Log::open(storage, options()).expect("what was written opens");
    assert_eq!((replica.head(), replica.held(0..u64::MAX)), before, "and is what it was");
    check_held(&replica);
}

fn check_held(replica: &Log) {
    for number in replica.held(0..u64::MAX).into_iter().flatten() {
        let held = replica.get(number).expect("a block that is held can be read");
        assert_eq!(held.as_deref(), Some(&*block(number)), "block {number}");
        let request =
            Request { block: Some(RequestBlock { index: number, nodes: 0 }), ..Request::default() };
        let proof = replica.prove(&request).expect("a block that is held can be given");
        assert!(proof.block.is_some_and(|given| given.value == block(number)));
    }
}
