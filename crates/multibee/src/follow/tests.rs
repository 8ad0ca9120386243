//! A log is followed commit by commit, whatever a relay says and whatever has arrived.

use std::sync::Arc;

use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions};
use multibee_log::{
    KeyPair, Log, LogOptions, MemoryStorage, Request, RequestBlock, RequestUpgrade,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::format::Meta;
use crate::op::Op;
use crate::primary::Primary;

/// A log with own commits of these sizes; behind some of them lies a merge commit.
fn author(sizes: &[usize]) -> (Bee, Vec<Range<u64>>) {
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    let bee = Bee::open(log.clone(), BeeOptions::default()).unwrap();
    bee.create_header().unwrap();
    let mut primary = Primary::open(bee.clone(), Arc::default(), 0).unwrap();
    let mut ranges = Vec::new();
    for (number, &size) in sizes.iter().enumerate() {
        let start = log.len();
        let put = |i| {
            let key = format!("{number}/{i}").into();
            Op::Put { key, kind: None, value: "v".into() }
        };
        primary.write(&(0..size).map(put).collect::<Vec<_>>(), &[], 0).unwrap();
        ranges.push(start..log.len());
        if number % 2 == 1 {
            merge_something(&mut primary, number as u64);
        }
    }
    (bee, ranges)
}

fn merge_something(primary: &mut Primary, seq: u64) {
    let author = LogKey::from_bytes([9; 32]);
    let extra = Meta { time: Some(1), ..Meta::default() }.into_extra();
    let key = Bytes::from(format!("merged/{seq}"));
    let block = multibee_btree::Entry { seq, key, value: Some("m".into()), extra };
    let commits = vec![OwnCommit { clock: Clock::new(), blocks: vec![block] }];
    let applied = Applied { length: seq + 1, tag: None };
    primary.merge(&[News { author, device: device_of(&author), commits, applied }], 0).unwrap();
}

/// Follows until nothing is left, handing over the blocks that are asked for. Returns the blocks
/// in the order in which they came.
fn follow(follower: &mut Follower, head: u64, part: u64, give: impl Fn(Range<u64>)) -> Vec<u64> {
    let (mut applied, mut seqs) = (0, Vec::new());
    for _ in 0..10_000 {
        match follower.next(applied, head, part).unwrap() {
            Step::Idle => return seqs,
            Step::Need(ranges) => {
                let all_but_last = ranges.len().saturating_sub(1);
                let blocks = ranges.iter().take(all_but_last).map(|one| one.end - one.start);
                assert!(blocks.sum::<u64>() < part && !ranges.is_empty());
                ranges.into_iter().for_each(&give);
            }
            Step::Ready(news) => {
                seqs.extend(news.commits.iter().flat_map(|one| &one.blocks).map(|one| one.seq));
                assert!(news.applied.length > applied && news.applied.tag.is_some());
                applied = news.applied.length;
            }
        }
    }
    panic!("following does not end");
}

fn flat(ranges: &[Range<u64>]) -> Vec<u64> {
    ranges.iter().cloned().flatten().collect()
}

/// An empty replica that knows the author's head, and how it gets blocks.
fn replica(of: &Log) -> Log {
    let log =
        Log::create_replica(MemoryStorage::default(), of.key(), LogOptions::default()).unwrap();
    let upgrade = Some(RequestUpgrade { start: 0, length: of.len() });
    let request = Request { upgrade, manifest: true, ..Request::default() };
    log.apply(&of.prove(&request).unwrap()).unwrap();
    log
}

fn give(from: &Log, to: &Log, blocks: Range<u64>) {
    for index in blocks {
        let nodes = to.missing_nodes(2 * index).unwrap();
        let block = Some(RequestBlock { index, nodes });
        to.apply(&from.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a relay lists (all, some, none, or nonsense), exactly the own commits come, each
    /// once and in order; nothing is fetched that is no news but what the chain needs, and no more
    /// than a part of it at a time, if it is to be so.
    #[test]
    fn no_list_can_leave_out_a_commit(
        sizes in vec(1..5_usize, 1..8),
        kept in vec(any::<bool>(), 8),
        shift in 0..3_u64,
        by_author: bool,
        since in 0..3_u64,
        part in prop_oneof![1..6_u64, Just(u64::MAX)],
    ) {
        let (bee, ranges) = author(&sizes);
        let head = bee.log().len();
        let log = replica(bee.log());
        let mut follower = Follower::new(Bee::open(log.clone(), BeeOptions::default()).unwrap());
        let mut listed: Vec<_> =
            ranges.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(range, _)| range.clone()).collect();
        if let Some(last) = listed.last_mut() {
            last.start = last.start.saturating_sub(shift);
        }
        // An author that lies about itself leaves out the end only: the links tell the rest.
        let by_author = by_author && kept[sizes.len() - 1];
        follower.take_hint(Hint { since, upto: head, ranges: listed, by_author });
        let came = follow(&mut follower, head, part, |blocks| give(bee.log(), &log, blocks));
        prop_assert_eq!(came, flat(&ranges));
        prop_assert_eq!(follower.remaining(), 0);
    }

    /// The list that a device gives of what it has applied is the one that another can follow.
    #[test]
    fn lists_match_the_chain(sizes in vec(1..5_usize, 1..8), from in 0..8_usize) {
        let (bee, ranges) = author(&sizes);
        let follower = Follower::new(bee.clone());
        let applied = ranges.last().unwrap().end;
        let from = from.min(ranges.len() - 1);
        let listed = follower.applied_ranges(ranges[from].start, applied).unwrap();
        prop_assert_eq!(&listed, &ranges[from..]);
        let own = Primary::open(bee, Arc::default(), 0).unwrap().own_ranges(ranges[from].start).unwrap();
        prop_assert_eq!(own, listed);
    }
}

/// The author's word that nothing is new spares looking at its head; a relay's does not.
#[test]
fn only_the_author_is_believed_about_silence() {
    let (bee, ranges) = author(&[1, 1]);
    let (applied, head) = (ranges[1].end, bee.log().len());
    assert!(head > applied, "a merge commit lies behind");
    for by_author in [true, false] {
        let mut follower =
            Follower::new(Bee::open(replica(bee.log()), BeeOptions::default()).unwrap());
        follower.take_hint(Hint { since: applied, upto: head, ranges: vec![], by_author });
        let step = follower.next(applied, head, u64::MAX).unwrap();
        match step {
            Step::Idle => assert!(by_author),
            Step::Need(ranges) => {
                assert!(!by_author && ranges.iter().eq(std::iter::once(&(head - 1..head))))
            }
            Step::Ready(_) => panic!("nothing is new"),
        }
    }
}

/// A relay that has nothing to hand out does not make a better list of another one forgotten: the
/// author's head, which leads to the same blocks, may be out of reach.
#[test]
fn an_empty_list_takes_nothing_back() {
    let (bee, ranges) = author(&[1, 2]);
    let (end, head) = (ranges[1].end, bee.log().len());
    let mut follower = Follower::new(Bee::open(replica(bee.log()), BeeOptions::default()).unwrap());
    let by_author = false;
    follower.take_hint(Hint { since: 0, upto: end, ranges: ranges.clone(), by_author });
    follower.take_hint(Hint { since: 0, upto: 0, ranges: vec![], by_author });
    let step = follower.next(0, head, u64::MAX).unwrap();
    assert!(matches!(step, Step::Need(needed) if flat(&needed) == flat(&ranges)));
}

/// A log whose blocks are no records of ours is its author's fault, and named so.
#[test]
fn what_cannot_be_read_blames_the_author() {
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    let bee = Bee::open(log, BeeOptions::default()).unwrap();
    bee.put(b"k", Some("a plain tree")).unwrap();
    let mut follower = Follower::new(bee.clone());
    let fault = follower.next(0, bee.log().len(), u64::MAX).unwrap_err();
    assert!(matches!(fault, FollowError::Author(BadNews { seq: 1, .. })), "{fault}");
}
