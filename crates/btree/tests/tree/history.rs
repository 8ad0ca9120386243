//! History, sub-databases, conditional writes.

use multibee_btree::{Action, Bee, Error, Expect, HistoryOptions, Outcome, RangeOptions};
use proptest::prelude::*;

use crate::sparse::Replica;
use crate::{entries, new_bee, scrambled};

fn seqs(bee: &Bee, options: HistoryOptions) -> Vec<u64> {
    bee.history(options).map(|record| record.unwrap().entry.seq).collect()
}

proptest! {
    /// Bounds, direction and limit pick blocks as they pick numbers from a list; negative bounds
    /// count from its end.
    #[test]
    fn bounds_pick_blocks(
        (gt, gte) in (prop::option::of(-25..25_i64), prop::option::of(-25..25_i64)),
        (lt, lte) in (prop::option::of(-25..25_i64), prop::option::of(-25..25_i64)),
        reverse: bool,
        limit in prop::option::of(0..30_u64),
    ) {
        let bee = new_bee();
        for number in 0..19 {
            bee.put(&scrambled(number), Some("x")).unwrap();
        }
        let len = 20;
        let at = |number: i64| if number < 0 { (len + number).max(0) } else { number };
        let mut expected: Vec<u64> = (1..len)
            .filter(|seq| match (gt, gte) {
                (Some(gt), _) => *seq > at(gt),
                (None, gte) => *seq >= gte.map_or(0, at),
            })
            .filter(|seq| match (lt, lte) {
                (Some(lt), _) => *seq < at(lt),
                (None, lte) => *seq <= lte.map_or(len, at),
            })
            .map(|seq| seq as u64)
            .collect();
        if reverse {
            expected.reverse();
        }
        expected.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
        let options = HistoryOptions { gt, gte, lt, lte, reverse, limit, live: false };
        prop_assert_eq!(seqs(&bee, options), expected);
    }
}

/// A live history goes on with what comes later, and ends with its limit.
#[test]
fn a_live_history_goes_on() {
    let bee = new_bee();
    bee.put(b"a", Some("1")).unwrap();
    let mut history =
        bee.history(HistoryOptions { live: true, limit: Some(3), ..HistoryOptions::default() });
    let mut next = || history.next().unwrap().map(|record| (record.action, record.entry.seq));
    assert_eq!(next(), Some((Action::Put, 1)));
    assert_eq!(next(), None);
    bee.del(b"a").unwrap();
    bee.put(b"b", Some("2")).unwrap();
    bee.put(b"c", Some("3")).unwrap();
    assert_eq!(next(), Some((Action::Del, 2)));
    assert_eq!(next(), Some((Action::Put, 3)));
    assert_eq!(next(), None);
}

/// A log is known as a tree's by its first block.
#[test]
fn trees_are_known_by_their_header() {
    let bee = new_bee();
    assert!(!Bee::is_bee(bee.log()).unwrap());
    bee.create_header().unwrap();
    assert!(Bee::is_bee(bee.log()).unwrap());
    assert!(matches!(Bee::is_bee(Replica::of(&bee).bee.log()), Err(Error::Missing(_))));
    let other = crate::new_log();
    other.append(&["no header"]).unwrap();
    assert!(!Bee::is_bee(&other).unwrap());
}

/// A history that is not live ends where the log did when it was asked for, whatever its bounds.
#[test]
fn a_history_is_of_its_moment() {
    let bee = new_bee();
    bee.put(b"a", Some("1")).unwrap();
    for options in
        [HistoryOptions::default(), HistoryOptions { lt: Some(9), ..HistoryOptions::default() }]
    {
        let count = bee.log().len() - 1;
        let history = bee.history(options);
        bee.put(b"b", Some("2")).unwrap();
        assert_eq!(history.count() as u64, count);
    }
}

/// The last 50 blocks of a history over a log that is not here are asked for at once.
#[test]
fn a_cold_history_takes_a_round() {
    let bee = new_bee();
    for number in 0..200 {
        bee.put(&scrambled(number), Some("x")).unwrap();
    }
    for reverse in [false, true] {
        let mut replica = Replica::of(&bee);
        let options = HistoryOptions { gte: Some(-50), reverse, ..HistoryOptions::default() };
        let (found, rounds, blocks) = replica.ask(|bee| {
            let mut history = bee.history(options);
            let mut found = Vec::new();
            while let Some(record) = history.next()? {
                found.push(record.entry.seq);
            }
            Ok(found)
        });
        assert_eq!(found, seqs(&bee, options));
        assert_eq!((found.len(), rounds, blocks), (50, 1, 50));
    }
}

/// A sub-database's history has its own keys only.
#[test]
fn a_sub_has_its_own_history() {
    let bee = new_bee();
    let (a, b) = (bee.sub("a"), bee.sub_with("a", "#"));
    a.put(b"x", Some("1")).unwrap();
    b.put(b"x", Some("2")).unwrap();
    a.del(b"x").unwrap();
    let records: Vec<_> = a
        .history(HistoryOptions::default())
        .map(|record| record.unwrap())
        .map(|record| (record.action, record.entry.seq, record.entry.key))
        .collect();
    assert_eq!(records, [(Action::Put, 1, "x".into()), (Action::Del, 3, "x".into())]);
    assert_eq!(b.get_by_seq(1).unwrap(), None);
    assert_eq!(b.get_by_seq(2).unwrap().unwrap().key, "x");
}

/// One batch writes to several sub-databases; after each the batch's own keys are in force again.
/// Its reads and conditions see the keys of the one that it is in.
#[test]
fn a_batch_writes_to_several_subs() {
    let bee = new_bee();
    let (a, b) = (bee.sub("a"), bee.sub("b"));
    let mut batch = bee.batch().unwrap();
    {
        let mut a = batch.within(&a).unwrap();
        a.put(b"", Some("empty"), "").unwrap();
        a.put(b"k", Some("1"), "").unwrap();
        assert_eq!(a.get(b"k").unwrap().unwrap().key, "k");
        let keys: Vec<_> =
            a.range(RangeOptions::default()).unwrap().map(|e| e.unwrap().key).collect();
        assert_eq!(keys, ["", "k"]);
    }
    let seen = std::cell::Cell::new(false);
    batch.within(&b).unwrap().put(b"k", Some("2"), "").unwrap();
    batch
        .within(&b)
        .unwrap()
        .put_if(b"k", Some("3"), "", |old, new| {
            seen.set(old.key == "k" && new.key == "k");
            true
        })
        .unwrap();
    assert!(seen.get());
    assert!(batch.within(&b).unwrap().del(b"absent", "").unwrap().is_none());
    batch.put(b"root", Some("4"), "").unwrap();
    batch.flush().unwrap();
    let keys: Vec<_> =
        entries(&bee.snapshot().unwrap()).into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["a\0", "a\0k", "b\0k", "root"]);
    assert_eq!(entries(&b.snapshot().unwrap())[0].value.as_deref(), Some(&b"3"[..]));
    let tree = bee.snapshot().unwrap().sub("a");
    assert_eq!(entries(&tree), entries(&a.snapshot().unwrap()));

    let other = new_bee();
    let mut batch = other.batch().unwrap();
    assert!(matches!(batch.within(&a), Err(Error::OtherTree)));
}

/// A write happens if what is there is as expected, and tells what is there if not.
#[test]
fn conditions_are_met_or_nothing_is_written() {
    let bee = new_bee();
    let put = |expect: &Expect| bee.put_expecting(b"k", Some("new"), expect).unwrap();
    let value = |value: &'static str| Expect::Value(value.into());
    // Where there is nothing.
    for expect in [Expect::Present, Expect::Seq(1), value("old")] {
        assert_eq!(put(&expect), Outcome::Refused(None));
        assert_eq!(bee.del_expecting(b"k", &expect).unwrap(), Outcome::Refused(None));
    }
    assert_eq!(bee.del_expecting(b"k", &Expect::Any).unwrap(), Outcome::Refused(None));
    assert_eq!(bee.version(), 1);
    for expect in [Expect::Absent, Expect::Any] {
        let seq = put(&expect).seq().unwrap();
        assert!(bee.del_expecting(b"k", &Expect::Seq(seq)).unwrap().is_written());
    }
    // Where there is something.
    let seq = bee.put(b"k", Some("old")).unwrap();
    let len = bee.log().len();
    let there = bee.snapshot().unwrap().get(b"k").unwrap();
    for expect in [Expect::Absent, Expect::Seq(seq + 1), value("new")] {
        assert_eq!(put(&expect), Outcome::Refused(there.clone()));
        assert_eq!(bee.del_expecting(b"k", &expect).unwrap(), Outcome::Refused(there.clone()));
    }
    assert_eq!(bee.log().len(), len);
    assert_eq!(put(&value("old")), Outcome::Written(len));
    assert_eq!(put(&Expect::Seq(len)), Outcome::Written(len + 1));
    assert_eq!(put(&Expect::Present), Outcome::Written(len + 2));
    assert!(bee.del_expecting(b"k", &value("new")).unwrap().is_written());
    // In a batch, what it has staged counts.
    let mut batch = bee.batch().unwrap();
    let expect = Expect::Absent;
    assert!(batch.put_expecting(b"k", Some("1"), "", &expect).unwrap().is_written());
    assert!(!batch.put_expecting(b"k", Some("2"), "", &expect).unwrap().is_written());
}
