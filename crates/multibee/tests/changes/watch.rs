//! Waiting for changes.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use multibee::{Changed, Changes, Home, Multibee, Options, Origin, RangeSpec, Rule, Watch};
use proptest::prelude::*;

use crate::devices::{Group, Shown, contents, range, shown, steps, within};

fn all(changes: &Changes) -> Vec<Changed> {
    changes.iter().map(|changed| changed.unwrap()).collect()
}

fn key(changed: &Changed) -> &[u8] {
    &changed.key
}

/// Applies changes to what was shown before, and checks that they fit.
fn apply(changes: &Changes, contents: &mut BTreeMap<Bytes, Shown>) {
    assert!(changes.from_version() < changes.to_version());
    let mut last: Option<Bytes> = None;
    for changed in all(changes) {
        let Changed { key, before, now, .. } = changed;
        assert!(last.replace(key.clone()).is_none_or(|last| last < key), "in the order of keys");
        let before = before.map(|entry| shown(changes.before(), entry));
        assert_eq!(before.as_ref(), contents.get(&key), "what was told before");
        match now {
            Some(entry) => contents.insert(key, shown(changes.now(), entry)),
            None => contents.remove(&key),
        };
    }
}

/// The origin is the device that wrote what is shown now, if that is new.
fn check_origins(changes: &Changes, group: &Group, own: &Multibee) {
    for changed in all(changes) {
        let device = match changed.origin {
            Origin::Own => own.device(),
            Origin::Device(device) => device,
        };
        assert_eq!(changed.origin == Origin::Own, device == own.device());
        let number = group.devices.iter().position(|db| db.device() == device).unwrap();
        let (Some(now), is_count) = (&changed.now, key(&changed) == b"count") else { continue };
        let is_new = changed.before.as_ref().is_none_or(|old| old.value != now.value);
        // A version that was there all the time is shown again if a rule says so.
        let is_rewrite = changed.time != now.time;
        if is_new && !is_count && !is_rewrite {
            assert_eq!(now.device, device);
            assert!(now.value.starts_with(number.to_string().as_bytes()), "{changed:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The changes of all notices, put together, lead from what was shown when the watch began to
    /// what is shown in the end, however often it was looked at in between; nothing outside of the
    /// range is told, and no notice is empty.
    #[test]
    fn notices_lead_from_the_first_view_to_the_last(
        steps in steps(3), range in range(), looks in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let mut group = Group::new(3);
        let start = |db: &Multibee| {
            (db.watch(range.clone()).unwrap(), contents(&db.view().unwrap()))
        };
        let mut watches: Vec<_> = group.devices.iter().map(start).collect();
        for (_, contents) in &mut watches {
            contents.retain(|key, _| within(&range, key));
        }
        for (number, step) in steps.iter().enumerate() {
            group.carry_out(step);
            if looks[number] || number + 1 == steps.len() {
                for ((watch, told), db) in watches.iter_mut().zip(&group.devices) {
                    let Some(changes) = watch.look().unwrap() else { continue };
                    check_origins(&changes, &group, db);
                    let before = told.clone();
                    apply(&changes, told);
                    assert_ne!(before, *told, "something has changed");
                }
            }
        }
        for ((mut watch, told), db) in watches.into_iter().zip(&group.devices) {
            let mut now = contents(&db.view().unwrap());
            now.retain(|key, _| within(&range, key));
            assert_eq!(told, now);
            assert!(watch.look().unwrap().is_none());
            assert_eq!(watch.version(), db.view().unwrap().version());
        }
    }
}

/// Own writes, and what was merged, are told by those who wrote them: values, deletes, counts that
/// were joined, and writes that come to stand beside the one that is shown.
#[tokio::test]
async fn every_change_has_its_origin() {
    let mut group = Group::new(3);
    let [a, b, c] = [0, 1, 2].map(|at| group.devices[at].clone());
    let origin = |db: &Multibee| Origin::Device(db.device());
    let mut watch = a.watch(RangeSpec::default()).unwrap();
    a.put("own", "1").unwrap();
    let changes = watch.next().await.unwrap().unwrap();
    assert_eq!(all(&changes)[0].origin, Origin::Own);

    // Through B, A hears of C, whom it never meets.
    c.put("c", "1").unwrap();
    c.increment("count", 1).unwrap();
    group.meet(1, 2);
    b.put("b", "1").unwrap();
    b.del("c").unwrap();
    c.put("late", "1").unwrap();
    group.meet(1, 2);
    group.meet(0, 1);
    let mut told: Vec<_> = Vec::new();
    while let Some(changes) = watch.look().unwrap() {
        told.extend(all(&changes).iter().map(|one| (one.key.clone(), one.origin)));
    }
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [("b", &b), ("count", &c), ("late", &c)];
    assert_eq!(told, expected.map(|(key, db)| (Bytes::from(key), origin(db))));

    // A delete is that of who deleted.
    b.del("own").unwrap();
    group.meet(0, 1);
    let changes = watch.look().unwrap().unwrap();
    let changed = &all(&changes)[0];
    assert_eq!((key(changed), changed.origin, &changed.now), (&b"own"[..], origin(&b), &None));
    assert!(changed.time > changed.before.as_ref().unwrap().time);

    // What stays hidden behind an own value that is shown all the time is still another's news; so
    // is the part of another in a sum.
    b.put("both", "hidden").unwrap();
    b.increment("count", 1).unwrap();
    a.put("both", "shown").unwrap();
    a.increment("count", 1).unwrap();
    watch.look().unwrap().unwrap();
    group.meet(0, 1);
    let changes = watch.look().unwrap().unwrap();
    let changed = all(&changes);
    let told = changed.iter().map(|one| (key(one), one.origin)).collect::<Vec<_>>();
    assert_eq!(told, [(&b"both"[..], origin(&b)), (&b"count"[..], origin(&b))]);
    assert_eq!(changed[0].now.as_ref().unwrap().value, "shown");
    assert_eq!(changed[1].now.as_ref().unwrap().value, "3");
}

/// Of several new versions that one look brings, it is the shown one that counts, though a hidden one
/// be later.
#[test]
fn what_is_shown_says_whose_it_is() {
    let mut group = Group::new(3);
    let [a, b, c] = [0, 1, 2].map(|at| group.devices[at].clone());
    a.put("k", "1").unwrap();
    group.meet(0, 1);
    group.meet(0, 2);
    let mut watch = a.watch(RangeSpec::default()).unwrap();
    b.put("k", "an edit beats a delete").unwrap();
    group.move_clock(60_000);
    c.del("k").unwrap();
    group.meet(1, 2);
    group.meet(0, 1);
    let changed = &all(&watch.look().unwrap().unwrap())[0];
    assert_eq!(changed.now.as_ref().unwrap().conflicts, 1);
    assert_eq!(changed.origin, Origin::Device(b.device()));
}

/// A value that was hidden is shown again: whoever wrote what is new besides did that.
#[test]
fn what_was_hidden_is_not_new() {
    let mut group = Group::new(3);
    let [a, b, c] = [0, 1, 2].map(|at| group.devices[at].clone());
    a.set_rule("k", Rule::strategy("delete-wins")).unwrap();
    a.put("k", "1").unwrap();
    group.meet(0, 1);
    c.put("k", "early").unwrap();
    group.move_clock(60_000);
    a.del("k").unwrap();
    b.put("k", "late").unwrap();
    group.meet(0, 1);
    assert!(a.get("k").unwrap().is_none());
    let mut watch = a.watch(RangeSpec::default()).unwrap();
    b.clear_rule("k").unwrap();
    group.meet(1, 2);
    group.meet(0, 1);
    let changed = &all(&watch.look().unwrap().unwrap())[0];
    assert_eq!(changed.now.as_ref().unwrap().value, "late");
    assert_eq!(changed.origin, Origin::Device(c.device()));
}

/// A watch waits until its range is touched, and wakes up for that. A future that is dropped in
/// between loses nothing.
#[tokio::test]
async fn a_dropped_future_loses_nothing() {
    let db = Multibee::create(Home::memory(), Options::default()).unwrap();
    let mut watch = db.watch(RangeSpec::prefix(b"a")).unwrap();
    let mut key_watch = db.get_and_watch("a/2").unwrap();
    let pending = |watch: &mut Watch| {
        let next = pin!(watch.next());
        matches!(next.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    };
    assert!(pending(&mut watch));
    db.put("b", "elsewhere").unwrap();
    assert!(pending(&mut watch));
    db.put("a/1", "1").unwrap();
    db.put("a/2", "2").unwrap();
    let changes = watch.next().await.unwrap().unwrap();
    assert_eq!(all(&changes).iter().map(key).collect::<Vec<_>>(), [b"a/1", b"a/2"]);
    assert!(pending(&mut watch));

    let changed = key_watch.next().await.unwrap().unwrap();
    assert_eq!(key_watch.entry(), changed.now.as_ref());
    assert_eq!(changed.now.unwrap().value, "2");
    db.put("a/1", "other").unwrap();
    assert!(key_watch.look().unwrap().is_none());
    db.del("a/2").unwrap();
    assert!(key_watch.look().unwrap().unwrap().now.is_none());
    assert!(key_watch.entry().is_none());

    // A waiting task is woken.
    assert!(watch.look().unwrap().is_some());
    let waiting = tokio::spawn(async move { watch.next().await.unwrap().map(|c| all(&c)) });
    tokio::task::yield_now().await;
    db.put("a/3", "3").unwrap();
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told.iter().map(key).collect::<Vec<_>>(), [b"a/3"]);
}

/// A watch ends with the database: when it is closed by any handle, and when the last one goes. It
/// keeps nothing open, and another watch goes on where it ended.
#[tokio::test]
async fn a_watch_ends_with_the_database() {
    let home = Home::memory();
    let db = Multibee::create(home.clone(), Options::default()).unwrap();
    let other = db.clone();
    let (mut one, mut two) =
        (db.watch(RangeSpec::default()).unwrap(), db.get_and_watch("k").unwrap());
    let waiting = tokio::spawn(async move {
        let ended = two.next().await.unwrap().is_none();
        (ended, two)
    });
    tokio::task::yield_now().await;
    db.close().await.unwrap();
    let (ended, two) = waiting.await.unwrap();
    assert!(ended);
    // What is written by a handle that is left is told all the same.
    other.put("k", "1").unwrap();
    assert!(one.next().await.unwrap().is_some());
    assert!(one.next().await.unwrap().is_none());
    other.put("k", "2").unwrap();
    drop(other);
    assert!(one.next().await.unwrap().is_none());
    assert!(one.look().unwrap().is_none());

    let db = Multibee::open(home, Options::default()).unwrap();
    let mut watch = db.watch_since(one.version(), RangeSpec::default()).unwrap();
    let changes = watch.look().unwrap().unwrap();
    assert_eq!(all(&changes)[0].now.as_ref().unwrap().value, "2");
    assert!(db.watch_since(99, RangeSpec::default()).is_err());
    drop(two);
}

/// Who asks late is told once, however much there was, with the first and the last state only.
#[tokio::test]
async fn a_slow_consumer_is_told_once() {
    let db = Multibee::create(Home::memory(), Options::default()).unwrap();
    db.put("k", "0").unwrap();
    let mut watch = db.watch(RangeSpec::default()).unwrap();
    for i in 1..=50 {
        db.put("k", i.to_string()).unwrap();
        db.put("brief", "1").unwrap();
        db.del("brief").unwrap();
    }
    let changes = watch.next().await.unwrap().unwrap();
    let [changed] = &all(&changes)[..] else { panic!() };
    let value = |entry: &Option<multibee::Entry>| entry.as_ref().unwrap().value.clone();
    assert_eq!((value(&changed.before), value(&changed.now)), ("0".into(), "50".into()));
    assert!(watch.look().unwrap().is_none());
}
