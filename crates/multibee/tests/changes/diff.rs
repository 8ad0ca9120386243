//! Where two versions differ.

use std::collections::{BTreeMap, BTreeSet};

use multibee::{Change, Error, Home, Multibee, Options, Origin, RangeSpec, View};
use proptest::prelude::*;

use crate::devices::{Group, contents, range, shown, steps, within};

fn diff(left: &View, right: &View, spec: &RangeSpec) -> Vec<Change> {
    left.diff(right, spec.clone()).unwrap().map(|change| change.unwrap()).collect()
}

/// The differences of two views are the keys under which they show something else, in their order,
/// each with what is shown on both sides, and applied to one of them they give the other.
fn check(left: &View, right: &View, spec: &RangeSpec) {
    let (all_left, all_right) = (contents(left), contents(right));
    let keys: BTreeSet<_> = all_left.keys().chain(all_right.keys()).cloned().collect();
    let is_other = |key: &&bytes::Bytes| all_left.get(*key) != all_right.get(*key);
    let expected: Vec<_> =
        keys.iter().filter(|key| within(spec, key)).filter(is_other).cloned().collect();
    let changes = diff(left, right, spec);
    let found: Vec<_> = changes.iter().map(|change| change.key.clone()).collect();
    assert_eq!(found, expected);

    let mut applied: BTreeMap<_, _> = all_right.clone();
    for Change { key, left: on_left, right: on_right } in changes {
        assert_eq!(on_right.map(|entry| shown(right, entry)).as_ref(), all_right.get(&key));
        match on_left {
            Some(entry) => applied.insert(key, shown(left, entry)),
            None => applied.remove(&key),
        };
    }
    applied.retain(|key, _| within(spec, key));
    let all_left: BTreeMap<_, _> =
        all_left.into_iter().filter(|(key, _)| within(spec, key)).collect();
    assert_eq!(applied, all_left);

    let limited = RangeSpec { limit: Some(2), reverse: true, ..spec.clone() };
    let first: Vec<_> = diff(left, right, &limited).into_iter().map(|change| change.key).collect();
    assert_eq!(first, expected[..expected.len().min(2)], "a limit cuts, the order stays");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever devices write, delete, rule and merge, of any two versions of any of them, in any
    /// range, the differences are right.
    #[test]
    fn differences_lead_from_any_version_to_any_other(
        steps in steps(3), range in range(), picks in proptest::collection::vec(any::<(u8, u8)>(), 6),
    ) {
        let mut group = Group::new(3);
        let mut views: Vec<_> =
            group.devices.iter().map(|db| vec![db.view().unwrap()]).collect();
        for step in &steps {
            group.carry_out(step);
            for (views, db) in views.iter_mut().zip(&group.devices) {
                views.push(db.view().unwrap());
            }
        }
        for (one, other) in picks {
            for views in &views {
                let pick = |at: u8| &views[at as usize % views.len()];
                check(pick(one), pick(other), &range);
                check(pick(one), views.last().unwrap(), &RangeSpec::default());
            }
        }
    }
}

/// A device that hears of a write that was superseded elsewhere writes a block, and shows the same:
/// that is no change. A version that comes to stand beside the shown one is.
#[test]
fn what_looks_the_same_is_no_change() {
    let mut group = Group::new(2);
    let (a, b) = (group.devices[0].clone(), group.devices[1].clone());
    a.put("k", "1").unwrap();
    let before = a.view().unwrap();
    // The same value put again is another write.
    a.put("k", "1").unwrap();
    let again = a.view().unwrap();
    assert_eq!(diff(&again, &before, &RangeSpec::default()).len(), 1);
    assert_eq!(diff(&again, &again, &RangeSpec::default()), []);

    // Bookkeeping is none: devices, rules, tombstones of what was never shown here.
    a.set_rule("x", multibee::Rule::strategy("keep-all")).unwrap();
    b.put("gone", "1").unwrap();
    b.del("gone").unwrap();
    group.meet(0, 1);
    let met = a.view().unwrap();
    assert!(met.version() > again.version() + 1);
    assert_eq!(diff(&met, &again, &RangeSpec::default()), []);

    // Concurrent writes: whoever had the later one shows the same as before, but in conflict.
    b.put("k", "earlier").unwrap();
    a.put("k", "later").unwrap();
    let apart = a.view().unwrap();
    group.meet(0, 1);
    let met = a.view().unwrap();
    let changes = diff(&met, &apart, &RangeSpec::default());
    let [Change { left: Some(left), right: Some(right), .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((left.conflicts, right.conflicts), (1, 0));
}

/// A hidden version that takes the place of another hidden one is a change, though all that is shown
/// is the same, and as many are hidden.
#[test]
fn another_hidden_version_is_a_change() {
    let mut group = Group::new(3);
    let [a, b, c] = [0, 1, 2].map(|at| group.devices[at].clone());
    b.put("k", "hidden").unwrap();
    group.move_clock(60_000);
    a.put("k", "shown").unwrap();
    group.move_clock(-60_000);
    group.meet(1, 2);
    group.meet(2, 0);
    let before = a.view().unwrap();
    // B has not heard of what A wrote.
    b.put("k", "hidden, too").unwrap();
    group.meet(1, 2);
    group.meet(2, 0);
    let now = a.view().unwrap();
    let changes = diff(&now, &before, &RangeSpec::default());
    let [Change { left: Some(left), right: Some(right), .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((&left.value, left.conflicts), (&right.value, right.conflicts));
    let told: Vec<_> = now.changes_since(&before, RangeSpec::default()).unwrap().iter().collect();
    assert_eq!(told[0].as_ref().unwrap().origin, Origin::Device(b.device()));
    assert_eq!(c.get("k").unwrap().unwrap().conflicts, 1);
}

/// Views of other databases can't be compared, even if they hold the same.
#[test]
fn other_databases_are_refused() {
    let create = || Multibee::create(Home::memory(), Options::default()).unwrap();
    let (one, other) = (create().view().unwrap(), create().view().unwrap());
    let refused = one.diff(&other, RangeSpec::default());
    assert!(matches!(refused, Err(Error::OtherDatabase)));
    assert!(matches!(one.changes_since(&other, RangeSpec::default()), Err(Error::OtherDatabase)));
}
