//! A replica that arbitrary proofs are given to.

use std::ops::Range;
use std::sync::LazyLock;

use crate::cache::Cache;
use crate::compact::Reader;
use crate::conflict::Conflict;
use crate::error::Error;
use crate::head::Head;
use crate::key_pair::KeyPair;
use crate::log::{Log, LogOptions};
use crate::memory::MemoryStorage;
use crate::proof::Proof;
use crate::reorg::Reorg;
use crate::request::{Request, RequestBlock, RequestUpgrade};

/// More messages of one input are not looked at.
const MESSAGES_MAX: usize = 24;

/// The log that is copied, at the times when its writer signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Five blocks.
    Young,
    /// Eleven blocks.
    Grown,
    /// Cut to three blocks and grown to seven again.
    Cut,
}

/// Returns the log that is copied.
///
/// # Panics
///
/// Never: it lies in memory.
#[must_use]
pub fn source(age: Age) -> Log {
    let keys = KeyPair::from_seed([3; 32]);
    let log = Log::create(MemoryStorage::new(), keys, options());
    let log = log.expect("memory is empty and takes a log");
    log.append(&blocks(0, 0..5)).expect("blocks are small");
    if age != Age::Young {
        log.append(&blocks(0, 5..11)).expect("blocks are small");
    }
    if age == Age::Cut {
        log.truncate(CUT_TO).expect("the log is longer");
        log.append(&blocks(1, CUT_TO..7)).expect("blocks are small");
    }
    log
}

const CUT_TO: u64 = 3;

/// A cache of its own, so that each run is like the first.
fn options() -> LogOptions {
    LogOptions { cache: Cache::new(64 * 1024), ..LogOptions::default() }
}

/// Blocks of different lengths; some are empty.
fn block(fork: u64, number: u64) -> Vec<u8> {
    let first = if number < CUT_TO { number } else { number + 5 * fork };
    (0..first % 4 * 3).map(|at| 16 * first + at).flat_map(u64::to_le_bytes).step_by(8).collect()
}

fn blocks(fork: u64, range: Range<u64>) -> Vec<Vec<u8>> {
    range.map(|number| block(fork, number)).collect()
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
/// the writer signed, a refused proof changes nothing, what it holds it can prove to the next, and it
/// never accuses a writer who signed one history for each fork.
///
/// A proof of a higher fork starts a reorg, and those after it go on with that.
///
/// Input: [`messages`].
pub fn apply(data: &[u8]) {
    static SOURCES: LazyLock<[Log; 3]> =
        LazyLock::new(|| [Age::Young, Age::Grown, Age::Cut].map(source));
    let [young, ..] = &*SOURCES;
    let signed =
        |head: &Option<Head>| head.is_none() || SOURCES.iter().any(|source| source.head() == *head);
    let storage = MemoryStorage::new();
    let replica = Log::create_replica(storage.clone(), young.key(), options());
    let replica = replica.expect("memory is empty and takes a log");
    let mut reorg = None;
    for message in messages(data).take(MESSAGES_MAX) {
        let Ok((_, proof)) = Proof::decode(message) else { continue };
        let before = (replica.head(), replica.held(0..u64::MAX));
        let is_taken = take(&replica, &mut reorg, &proof);
        let after = (replica.head(), replica.held(0..u64::MAX));
        assert!(signed(&after.0), "a head that nobody signed");
        assert!(is_taken || before == after, "a refused proof changed something");
        let conflict = replica.check_conflict(&proof);
        assert!(!matches!(conflict, Ok(Some(_))), "an honest writer is accused");
    }
    assert_eq!(replica.conflict(), None);
    check_held(&replica);
    let before = (replica.head(), replica.held(0..u64::MAX));
    drop((replica, reorg));
    let replica = Log::open(storage, options()).expect("what was written opens");
    assert_eq!((replica.head(), replica.held(0..u64::MAX)), before, "and is what it was");
    check_held(&replica);
}

/// Gives a proof to whom it is for. Returns whether it was taken.
fn take(replica: &Log, reorg: &mut Option<Reorg>, proof: &Proof) -> bool {
    let mut is_taken = match reorg {
        Some(reorg) if reorg.request().is_some() => reorg.add(proof).is_ok(),
        _ => false,
    };
    if !is_taken {
        let applied = replica.apply(proof);
        is_taken = applied.is_ok();
        if let Err(Error::ForkMismatch { ours, theirs }) = applied
            && theirs > ours
        {
            *reorg = replica.start_reorg(proof).ok();
        }
    }
    if reorg.as_ref().is_some_and(|reorg| reorg.request().is_none())
        && let Some(reorg) = reorg.take()
    {
        is_taken |= replica.apply_reorg(reorg).is_ok();
    }
    is_taken
}

fn check_held(replica: &Log) {
    for number in replica.held(0..u64::MAX).into_iter().flatten() {
        let expected = block(replica.fork(), number);
        let held = replica.get(number).expect("a block that is held can be read");
        assert_eq!(held.as_deref(), Some(&*expected), "block {number}");
        let request =
            Request { block: Some(RequestBlock { index: number, nodes: 0 }), ..Request::default() };
        let proof = replica.prove(&request).expect("a block that is held can be given");
        assert!(proof.block.is_some_and(|given| given.value == expected));
    }
}

/// One valid input for [`conflict`] of a log of each kind.
///
/// # Panics
///
/// Never: the logs lie in memory.
#[must_use]
pub fn conflicts() -> Vec<Vec<u8>> {
    let of_kind = |compat| {
        let log = |last: &str| {
            let options = LogOptions { compat, ..options() };
            let log = Log::create(MemoryStorage::new(), KeyPair::from_seed([4; 32]), options);
            let log = log.expect("memory is empty and takes a log");
            log.append(&["the same", "on both sides", last]).expect("blocks are small");
            log
        };
        let [ours, theirs] = ["one", "another"].map(log);
        let upgrade = Some(RequestUpgrade { start: 0, length: 3 });
        let request = Request { upgrade, manifest: true, ..Request::default() };
        let proof = theirs.prove(&request).expect("all is there");
        let conflict = ours.check_conflict(&proof).expect("both are signed");
        conflict.expect("they are of two histories").encode()
    };
    vec![of_kind(true), of_kind(false)]
}

/// A conflict that decodes has one form, and only one that is signed twice is taken over.
pub fn conflict(data: &[u8]) {
    let Ok(conflict) = Conflict::decode(data) else { return };
    assert_eq!(conflict.encode(), data, "there is one form of each");
    let log = source(Age::Grown);
    assert!(log.accept_conflict(&conflict).is_err(), "an honest writer is accused");
    assert_eq!(log.conflict(), None);
    let _ = conflict.verify(None);
}
