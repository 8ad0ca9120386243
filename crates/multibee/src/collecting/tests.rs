//! What holds a tombstone back, and what comes of collecting.

use std::collections::BTreeSet;
use std::sync::Arc;

use multibee_btree::{Bee, BeeOptions};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
use multibee_merge::{Applied, Content, Dot, State, Time, Version};

use super::*;
use crate::merging::device_of;
use crate::op::Op;
use crate::view::View;

fn key(number: u8) -> LogKey {
    LogKey::from_bytes([number; 32])
}

fn clock(lengths: &[(u8, u64)]) -> Clock {
    let entry =
        |&(number, length): &(u8, u64)| (device_of(&key(number)), Applied { length, tag: None });
    lengths.iter().map(entry).collect()
}

fn delete(number: u8, seq: u64) -> Version {
    let dot = Dot { device: device_of(&key(number)), seq };
    Version::plain(dot, Time::from_millis(1), Content::Deleted)
}

fn seen(number: u8, applied: &[(u8, u64)], newest: &[(u8, u64)]) -> Seen {
    Seen { key: key(number), applied: clock(applied), newest: clock(newest) }
}

fn obstacle(grounds: &Grounds, tombstone: &Held) -> Option<Obstacle> {
    grounds.common_obstacle().or_else(|| grounds.obstacle(tombstone))
}

/// Each thing that is missing is told, with the device that is waited for.
#[test]
fn what_is_missing_is_told() {
    let tombstone = Held { versions: vec![delete(1, 4)], ..Held::default() };
    let free = Grounds {
        clock: clock(&[(1, 5), (2, 9), (3, 3)]),
        members: vec![seen(2, &[(1, 5)], &[(1, 5)])],
        ..Grounds::default()
    };
    assert_eq!(obstacle(&free, &tombstone), None);

    let unseen = Grounds { members: vec![seen(2, &[(1, 4)], &[(1, 4)])], ..free.clone() };
    assert_eq!(obstacle(&unseen, &tombstone), Some(Obstacle::Unseen(key(2))));
    let unapplied = Grounds { members: vec![seen(2, &[(1, 4)], &[(1, 5)])], ..free.clone() };
    assert_eq!(obstacle(&unapplied, &tombstone), Some(Obstacle::Unapplied(key(2))));
    let with_source = Grounds { sources: vec![key(9)], ..free.clone() };
    assert_eq!(obstacle(&with_source, &tombstone), Some(Obstacle::Source(key(9))));

    let removed = |cut, unsettled| Grounds {
        ended: vec![Ended { key: key(3), device: device_of(&key(3)), cut, unsettled }],
        ..free.clone()
    };
    assert_eq!(obstacle(&removed(Some(3), vec![]), &tombstone), None);
    let short = Some(Obstacle::Unreached(key(3)));
    assert_eq!(obstacle(&removed(Some(4), vec![]), &tombstone), short);
    let unsettled = Some(Obstacle::Unsettled(key(2)));
    assert_eq!(obstacle(&removed(Some(3), vec![key(2)]), &tombstone), unsettled);
    let mut moved = removed(None, vec![]);
    assert_eq!(obstacle(&moved, &tombstone), None);
    moved.members = vec![seen(2, &[(1, 5)], &[(1, 5), (3, 4)])];
    assert_eq!(obstacle(&moved, &tombstone), short);

    let seen = clock(&[(4, 1)]);
    let further = Held { seen, ..tombstone.clone() };
    assert_eq!(obstacle(&free, &further), Some(Obstacle::Context));
    let live = Version { content: Content::Value("v".into()), ..delete(2, 0) };
    let hidden = Held { versions: vec![delete(1, 4), live], ..Held::default() };
    assert_eq!(obstacle(&free, &hidden), Some(Obstacle::Live));
}

fn primary() -> (Primary, Bee) {
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    let bee = Bee::open(log, BeeOptions::default()).unwrap();
    bee.create_header().unwrap();
    (Primary::open(bee.clone(), Arc::default(), 0).unwrap(), bee)
}

fn tombstones(bee: &Bee) -> u64 {
    let mut records = bee.snapshot().unwrap().range(between(keyspace::tombstones()));
    std::iter::from_fn(|| records.next().unwrap()).count() as u64
}

/// Goes through all tombstones in pieces; says what went, what stays, and how many commits it took.
fn collect_all(primary: &mut Primary, grounds: &Grounds, mode: Mode) -> (u64, u64, u64) {
    let (mut at, mut result) = (None, (0, 0, 0));
    loop {
        let piece = primary.collect(grounds, at.as_ref(), mode, 0).unwrap();
        result.0 += piece.collected.count;
        result.1 += piece.held_back.values().map(|amount| amount.count).sum::<u64>();
        result.2 += u64::from(piece.committed);
        at = piece.last;
        if at.is_none() {
            return result;
        }
    }
}

/// A collection goes through all tombstones in small commits that are nobody's news; the digest, the
/// clock and what is shown stay as they are; a second one finds nothing; a crash between two commits
/// leaves a database that goes on from there; looking changes nothing.
#[test]
fn tombstones_go_in_pieces() {
    let (mut primary, bee) = primary();
    let put = |n: u8| Op::Put { key: vec![n].into(), value: "v".into(), kind: None };
    let puts: Vec<_> = (0..9).map(put).collect();
    primary.write(&puts, &[], 0).unwrap();
    let dels: Vec<_> = (0..7).map(|n: u8| Op::Delete { key: vec![n].into() }).collect();
    primary.write(&dels, &[], 0).unwrap();
    let grounds = Grounds { clock: primary.whole_clock().unwrap(), ..Grounds::default() };
    let (digest, before) = (primary.digest(), primary.whole_clock().unwrap());
    let own_end = primary.last_own_end();
    let length = bee.log().len();
    assert_eq!(collect_all(&mut primary, &grounds, Mode::Look), (7, 0, 0));
    assert_eq!((tombstones(&bee), bee.log().len()), (7, length));

    let piece = primary.collect(&grounds, None, Mode::Collect, 0).unwrap();
    assert_eq!((piece.collected.count, tombstones(&bee)), (2, 5));
    let mut again = Primary::open(bee.clone(), Arc::default(), 0).unwrap();
    assert_eq!(collect_all(&mut again, &grounds, Mode::Collect), (5, 0, 3));
    assert_eq!((tombstones(&bee), again.last_own_end()), (0, own_end));
    assert_eq!((again.digest(), again.whole_clock().unwrap()), (digest, before));
    let view = View::new(bee.snapshot().unwrap(), again.device(), Arc::default());
    let scan = view.scan().unwrap();
    assert_eq!((scan.keys, scan.digest), (2, digest));
    assert_eq!(collect_all(&mut again, &grounds, Mode::Collect), (0, 0, 0));
}

/// A key without versions whose context the clock does not cover yet is remembered until it does: a
/// write that was superseded elsewhere, and comes late, does not come alive.
#[test]
fn what_was_seen_beyond_the_clock_is_remembered() {
    let (mut primary, bee) = primary();
    let (other, third) = (device_of(&key(2)), device_of(&key(3)));
    let absorbed = |state: State| {
        let mut batch = crate::absorb::Batch::default();
        (batch.keys, batch.clock) = (vec![("k".into(), state)], clock(&[(2, 5), (3, 9)]));
        batch
    };
    let theirs = State::written(delete(2, 4), clock(&[(2, 5), (3, 9)]));
    primary.absorb(&absorbed(theirs), 0, |_| None).unwrap();
    // They have collected it meanwhile. Only a part of what they hold is joined when they go away.
    let theirs = State::unwritten(clock(&[(2, 5), (3, 9)]));
    primary.absorb(&absorbed(theirs), 0, |_| None).unwrap();
    let view = || View::new(bee.snapshot().unwrap(), primary.device(), Arc::default());
    let held = view().held(b"k").unwrap();
    assert_eq!((held.versions.len(), held.seen.length(third)), (0, 9));
    assert_eq!(held.aside, BTreeSet::new());
    let grounds = |clock| Grounds { clock, ..Grounds::default() };
    assert_eq!(grounds(Clock::new()).obstacle(&held), Some(Obstacle::Context));
    assert_eq!(grounds(clock(&[(2, 5), (3, 9)])).obstacle(&held), None);
    assert_eq!(held.seen.length(other), 5);
}

/// The tombstone of a key that is live again goes at once, whoever has not seen it; what the live key
/// has standing aside stays. What a tombstone has standing aside goes with it.
#[test]
fn what_stands_aside_goes_with_its_tombstone() {
    let forget = |number, seq| {
        let state = Some("a long state".into());
        Version { kind: multibee_merge::Counter::KIND, state, ..delete(number, seq) }
    };
    let absorb = |primary: &mut Primary, number, version: Version| {
        let seen = clock(&[(number, version.dot.seq + 1)]);
        let mut batch = crate::absorb::Batch::default();
        batch.keys = vec![("k".into(), State::written(version, seen.clone()))];
        (batch.clock, batch.is_last) = (seen, true);
        primary.absorb(&batch, 0, |_| None).unwrap();
    };
    let asides = |bee: &Bee| {
        let mut records = bee.snapshot().unwrap().range(between(keyspace::asides()));
        std::iter::from_fn(|| records.next().unwrap()).count()
    };
    for is_live_again in [true, false] {
        let (mut primary, bee) = primary();
        absorb(&mut primary, 2, forget(2, 4));
        absorb(&mut primary, 3, forget(3, 4));
        let before = asides(&bee);
        assert!(before > 0);
        if is_live_again {
            let value = Version { content: Content::Value("v".into()), ..delete(4, 4) };
            absorb(&mut primary, 4, value);
        }
        let sources = if is_live_again { vec![key(9)] } else { Vec::new() };
        let clock = primary.whole_clock().unwrap();
        let grounds = Grounds { clock, sources, ..Grounds::default() };
        assert_eq!(collect_all(&mut primary, &grounds, Mode::Collect), (1, 0, 1));
        assert_eq!(tombstones(&bee), 0);
        let tree = bee.snapshot().unwrap();
        let held = View::new(tree, primary.device(), Arc::default()).held(b"k").unwrap();
        assert_eq!(held.versions.len(), if is_live_again { 3 } else { 0 });
        assert_eq!(asides(&bee), if is_live_again { before } else { 0 });
    }
}
