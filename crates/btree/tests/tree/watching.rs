//! Watching keys, and logs that go back.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_core::Stream;
use multibee_btree::{Bee, BeeOptions, Entry, Error, HistoryOptions, Moved, RangeOptions};
use proptest::prelude::*;

use crate::sparse::Replica;
use crate::{entries, new_bee, scrambled};

fn range(from: &'static str, to: &'static str) -> RangeOptions {
    RangeOptions { gte: Some(from.into()), lt: Some(to.into()), ..RangeOptions::default() }
}

fn changed(moved: &Moved, range: RangeOptions) -> Vec<bytes::Bytes> {
    let diff = moved.now.diff(&moved.before, range).unwrap();
    diff.map(|change| change.unwrap().key().clone()).collect()
}

/// Only what changes in the range shows, and commits that came between two looks show as one change.
#[test]
fn changes_in_the_range_show() {
    let bee = new_bee();
    let mut watch = bee.watch(range("b", "d")).unwrap();
    bee.put(b"a", Some("1")).unwrap();
    bee.put(b"d", Some("1")).unwrap();
    assert!(watch.look().unwrap().is_none());
    bee.put(b"b", Some("1")).unwrap();
    bee.put(b"c", Some("1")).unwrap();
    let moved = watch.look().unwrap().unwrap();
    assert_eq!(changed(&moved, range("b", "d")), ["b", "c"]);
    assert!(watch.look().unwrap().is_none());
    // Put and taken back between two looks: another block, but nothing there before or after.
    bee.put(b"bb", Some("1")).unwrap();
    bee.del(b"bb").unwrap();
    assert!(watch.look().unwrap().is_none());
    bee.del(b"b").unwrap();
    assert_eq!(changed(&watch.look().unwrap().unwrap(), range("b", "d")), ["b"]);
}

/// A watch in a sub-database sees its keys, as it shows them.
#[test]
fn subs_are_watched() {
    let bee = new_bee();
    let sub = bee.sub("s");
    let mut watch = sub.watch(RangeOptions::default()).unwrap();
    bee.put(b"x", Some("1")).unwrap();
    assert!(watch.look().unwrap().is_none());
    sub.put(b"x", Some("1")).unwrap();
    assert_eq!(changed(&watch.look().unwrap().unwrap(), RangeOptions::default()), ["x"]);
}

/// A watch that begins with an older version shows first what has changed since.
#[test]
fn changes_since_a_version_show() {
    let bee = new_bee();
    let version = bee.put(b"a", Some("1")).unwrap() + 1;
    bee.put(b"b", Some("1")).unwrap();
    let before = bee.checkout(version).unwrap();
    let mut watch = bee.watch_since(&before, RangeOptions::default()).unwrap();
    assert_eq!(changed(&watch.look().unwrap().unwrap(), RangeOptions::default()), ["b"]);
    assert!(watch.look().unwrap().is_none());
    let other = new_bee().snapshot().unwrap();
    let refused = bee.watch_since(&other, RangeOptions::default());
    assert!(matches!(refused, Err(Error::OtherTree)));
}

/// Whoever waits while another thread writes sees each key come, whole batches at a time, and ends up
/// with all of them.
#[test]
fn nothing_is_missed_between_threads() {
    let bee = new_bee();
    let mut watch = bee.watch(RangeOptions::default()).unwrap();
    let writer = thread::spawn({
        let bee = bee.clone();
        move || {
            for commit in 0..200 {
                let mut batch = bee.batch().unwrap();
                for number in 0..3 {
                    batch.put(&scrambled(3 * commit + number), Some("x"), "").unwrap();
                }
                batch.flush().unwrap();
            }
        }
    });
    let mut count = 0;
    while count < 600 {
        let moved = watch.wait().unwrap();
        count += changed(&moved, RangeOptions::default()).len();
        assert_eq!(count % 3, 0, "half of a commit was seen");
        assert_eq!(entries(&moved.now).len(), count);
    }
    writer.join().unwrap();
}

/// As streams, watches are woken by what is written, and by nothing else.
#[test]
fn streams_are_woken() {
    let bee = new_bee();
    let mut cx = Context::from_waker(Waker::noop());
    let mut watch = pin!(bee.watch(range("b", "c")).unwrap());
    let mut entry = pin!(bee.get_and_watch(b"b").unwrap());
    assert!(watch.as_mut().poll_next(&mut cx).is_pending());
    assert!(entry.as_mut().poll_next(&mut cx).is_pending());
    let mut listener = pin!(bee.log().listen());
    assert!(listener.as_mut().poll(&mut cx).is_pending());
    bee.put(b"a", Some("1")).unwrap();
    assert!(listener.as_mut().poll(&mut cx).is_ready());
    assert!(watch.as_mut().poll_next(&mut cx).is_pending());
    assert!(entry.as_mut().poll_next(&mut cx).is_pending());
    bee.put(b"b", Some("2")).unwrap();
    assert!(matches!(watch.as_mut().poll_next(&mut cx), Poll::Ready(Some(Ok(_)))));
    let Poll::Ready(Some(Ok(Some(Entry { value, .. })))) = entry.as_mut().poll_next(&mut cx) else {
        panic!("the entry has changed");
    };
    assert_eq!(value.unwrap(), "2");
    bee.del(b"b").unwrap();
    assert!(matches!(entry.as_mut().poll_next(&mut cx), Poll::Ready(Some(Ok(None)))));
    assert_eq!(entry.entry(), None);
    assert!(entry.as_mut().poll_next(&mut cx).is_pending());
}

/// A copy sees what arrives. What is not here is asked for, and then nothing was missed.
#[test]
fn copies_are_watched() {
    let bee = new_bee();
    bee.put(b"a", Some("1")).unwrap();
    let mut replica = Replica::of(&bee);
    let mut watch = replica.ask(|bee| bee.get_and_watch(b"b")).0;
    for number in 0..30 {
        bee.put(&scrambled(number), Some("x")).unwrap();
    }
    bee.put(b"b", Some("2")).unwrap();
    bee.put(b"c", Some("3")).unwrap();
    replica.upgrade();
    assert!(matches!(watch.look(), Err(Error::Missing(_))));
    let (entry, ..) = replica.ask(|_| watch.look());
    assert_eq!(entry.unwrap().unwrap().value.unwrap(), "2");
    assert_eq!(watch.look().unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A log that is cut and goes on differently: trees from before say so, new ones have what was
    /// written since, whatever was cached; and a watch sees a change.
    #[test]
    fn cut_logs_are_noticed(before in 1..60_u64, cut in 0..60_u64, after in 0..60_u64) {
        let bee = new_bee();
        for number in 0..before {
            bee.put(&scrambled(number), Some("old")).unwrap();
        }
        let old = bee.snapshot().unwrap();
        prop_assert_eq!(entries(&old).len() as u64, before);
        let mut history = bee.history(HistoryOptions::default());
        let mut watch = bee.watch(RangeOptions::default()).unwrap();
        let kept = 1 + cut.min(before - 1);
        bee.log().truncate(kept).unwrap();
        for number in 0..after {
            bee.put(&scrambled(number), Some("new")).unwrap();
        }
        let is_refused = matches!(old.get(&scrambled(0)), Err(Error::WentBack { fork: 1 }));
        prop_assert!(is_refused);
        let is_refused = matches!(
            old.range(RangeOptions::default()).next(),
            Err(Error::WentBack { .. })
        );
        prop_assert!(is_refused);
        let went_back = after == 0 || matches!(history.next(), Err(Error::WentBack { .. }));
        prop_assert!(went_back);
        prop_assert!(watch.look().unwrap().is_some());
        let fresh = Bee::open(bee.log().clone(), BeeOptions::default()).unwrap();
        let now = entries(&bee.snapshot().unwrap());
        prop_assert_eq!(&now, &entries(&fresh.snapshot().unwrap()));
        prop_assert_eq!(now.len() as u64, after.max(kept - 1));
    }
}

/// A batch that was begun before the log was cut appends nothing, even if the log is as long again as
/// it was: its nodes would name blocks that are others by now.
#[test]
fn batches_do_not_outlive_a_cut() {
    let bee = new_bee();
    bee.put(b"a", Some("1")).unwrap();
    bee.put(b"b", Some("2")).unwrap();
    let mut batch = bee.batch().unwrap();
    batch.put(b"c", Some("3"), "").unwrap();
    let last = bee.log().get(2).unwrap().unwrap();
    bee.log().truncate(2).unwrap();
    bee.log().append(&[last]).unwrap();
    assert!(matches!(batch.flush(), Err(Error::WentBack { fork: 1 })));
    assert_eq!(entries(&bee.snapshot().unwrap()).len(), 2);
    bee.put(b"c", Some("3")).unwrap();
    assert_eq!(entries(&bee.snapshot().unwrap()).len(), 3);
}
