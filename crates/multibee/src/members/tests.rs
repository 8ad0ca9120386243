//! Membership as a function of statements.

use multibee_log::{KeyPair, Log};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::author::Author;
use crate::statement::tests::log;

fn add(author: &Log, time: u64, subject: &Log) -> Statement {
    add_as(author, time, subject, DeviceRole::Full)
}

fn add_as(author: &Log, time: u64, subject: &Log, role: DeviceRole) -> Statement {
    let claim = Claim::Add { key: subject.key(), name: None, role };
    Statement::sign(author, Time::from_millis(time), claim).unwrap()
}

fn remove(author: &Log, time: u64, subject: &Log, length: u64) -> Statement {
    let applied = Extent { length, tag: None };
    let claim = Claim::Remove { key: subject.key(), applied, why: Leaving::Removed };
    Statement::sign(author, Time::from_millis(time), claim).unwrap()
}

fn retire(author: &Log, time: u64, subject: &Log, length: u64) -> Statement {
    let applied = Extent { length, tag: None };
    let claim = Claim::Remove { key: subject.key(), applied, why: Leaving::Absent };
    Statement::sign(author, Time::from_millis(time), claim).unwrap()
}

fn succeed(old: &Log, time: u64, heir: &Log) -> Statement {
    Statement::succeed(old, heir, None, Time::from_millis(time)).unwrap()
}

fn name(author: &Log, time: u64, subject: &Log, name: &str) -> Statement {
    let claim = Claim::Name { key: subject.key(), name: name.into() };
    Statement::sign(author, Time::from_millis(time), claim).unwrap()
}

fn find(me: &Log, statements: &[Statement], wanted: &Log) -> Member {
    let all = members(me.key(), statements);
    all.into_iter().find(|member| member.key == wanted.key()).unwrap()
}

fn active(me: &Log, statements: &[Statement]) -> Vec<LogKey> {
    let all = members(me.key(), statements);
    all.into_iter().filter(Member::is_active).map(|member| member.key).collect()
}

/// A device without statements is alone.
#[test]
fn a_new_device_is_alone() {
    assert_eq!(active(&log(1), &[]), [log(1).key()]);
}

/// Whoever was added by a member is one, through any number of hands.
#[test]
fn admission_is_transitive_and_sorted_by_seniority() {
    let [a, b, c] = [1, 2, 3].map(log);
    let statements = [add(&c, 30, &a), add(&b, 20, &c), add(&a, 10, &b)];
    assert_eq!(active(&c, &statements), [a.key(), b.key(), c.key()]);
}

/// Somebody whom no member added adds nobody.
#[test]
fn strangers_add_nobody() {
    let [a, b, x, y] = [1, 2, 3, 4].map(log);
    let statements = [add(&a, 10, &b), add(&x, 20, &y)];
    assert_eq!(active(&a, &statements), [a.key(), b.key()]);
}

/// Two databases become one by devices that both go on for others: all whom those had added stay, whoever
/// counts as the founder.
#[test]
fn what_a_log_goes_on_for_is_admitted_with_it() {
    let [a, b, heir, x, y, other] = [1, 2, 3, 4, 5, 6].map(log);
    let ours = [add(&a, 10, &b), succeed(&a, 20, &heir)];
    for early in [5, 15, 25] {
        let theirs = [add(&x, early, &y), succeed(&x, early + 1, &other)];
        let met = [add(&heir, 30, &other), add(&other, 31, &heir)];
        let all: Vec<_> = ours.iter().chain(&theirs).chain(&met).cloned().collect();
        let mut active = active(&b, &all);
        active.sort_unstable();
        let mut expected = [&b, &heir, &y, &other].map(Log::key);
        expected.sort_unstable();
        assert_eq!(active, expected, "{early}");
        assert_eq!(find(&b, &all, &heir).predecessor, Some(a.key()));
        assert_eq!(find(&b, &all, &other).predecessor, Some(x.key()));
    }
}

/// Two members that remove each other: the senior one stays.
#[test]
fn the_senior_wins_a_mutual_removal() {
    let [a, b, c] = [1, 2, 3].map(log);
    let statements =
        [add(&a, 10, &b), add(&a, 11, &c), remove(&c, 12, &b, 3), remove(&b, 13, &c, 3)];
    assert_eq!(active(&a, &statements), [a.key(), b.key()]);
}

/// A removed log counts as far as the member that got furthest.
#[test]
fn the_cut_is_the_greatest_applied_length() {
    let [a, b, c] = [1, 2, 3].map(log);
    let applied = Claim::Applied { key: c.key(), applied: Extent { length: 9, tag: None } };
    let applied = Statement::sign(&b, Time::from_millis(14), applied).unwrap();
    let statements = [add(&a, 10, &b), add(&a, 11, &c), remove(&a, 12, &c, 3), applied];
    let cut = members(a.key(), &statements).into_iter().find_map(|member| member.cut);
    assert_eq!(cut, Some(Extent { length: 9, tag: None }));
}

/// A log that goes on for another one has its name, its role and its place; that one is finished,
/// and is cut nowhere.
#[test]
fn an_heir_stands_where_its_predecessor_stood() {
    let [a, b, c, b2, b3] = [1, 2, 3, 4, 5].map(log);
    let statements = [
        add_as(&a, 10, &b, DeviceRole::Mirror),
        add(&a, 11, &c),
        name(&a, 12, &b, "cloud"),
        succeed(&b, 30, &b2),
        succeed(&b2, 40, &b3),
        remove(&c, 50, &b3, 1),
        remove(&b3, 51, &c, 1),
    ];
    assert_eq!(active(&a, &statements), [a.key(), b3.key()], "B's heir is senior to C");
    let heir = find(&a, &statements, &b3);
    assert_eq!((heir.name.as_deref(), heir.role), (Some("cloud"), DeviceRole::Mirror));
    assert_eq!(heir.predecessor, Some(b2.key()));
    let old = find(&a, &statements, &b);
    assert!(old.is_retired && old.cut.is_none() && old.removed_by.is_none());
    assert_eq!(old.successors, [b2.key()]);
}

/// Two copies of a device may each go on with a log of its own: both are members.
#[test]
fn copies_may_both_go_on() {
    let [a, b, x, y] = [1, 2, 3, 4].map(log);
    let statements = [add(&a, 10, &b), succeed(&b, 30, &y), succeed(&b, 20, &x)];
    assert_eq!(active(&a, &statements), [a.key(), x.key(), y.key()]);
    assert_eq!(find(&a, &statements, &b).successors, [x.key(), y.key()]);
}

/// Who was away too long is no member any more, but may come back with a fresh log; who was
/// thrown out may not.
#[test]
fn an_absentee_may_come_back_with_a_fresh_log() {
    let [a, b, b2] = [1, 2, 3].map(log);
    let mut statements = vec![add(&a, 10, &b), retire(&a, 20, &b, 7)];
    let away = find(&a, &statements, &b);
    assert!(away.is_retired && !away.is_active() && away.removed_by.is_none());
    assert_eq!(away.cut, Some(Extent { length: 7, tag: None }));
    statements.push(succeed(&b, 30, &b2));
    assert_eq!(active(&a, &statements), [a.key(), b2.key()]);
    statements.push(remove(&a, 40, &b, 7));
    assert_eq!(active(&a, &statements), [a.key()]);
    let out = find(&a, &statements, &b2);
    assert_eq!((out.removed_by, out.cut), (Some(a.key()), Some(Extent::default())));
}

/// A device may leave by itself. Nothing that it wrote is cut off.
#[test]
fn a_device_may_leave() {
    let [a, b] = [1, 2].map(log);
    let statements = [add(&a, 10, &b), remove(&b, 20, &b, 9)];
    let gone = find(&a, &statements, &b);
    assert!(gone.is_retired && gone.cut.is_none() && gone.removed_by.is_none());
}

/// What is said last of a name counts, unless somebody says it who was thrown out.
#[test]
fn the_last_name_counts() {
    let [a, b, c] = [1, 2, 3].map(log);
    let mut statements = vec![
        add(&a, 10, &b),
        add(&a, 11, &c),
        name(&c, 40, &b, "mine"),
        name(&b, 30, &b, "phone"),
        name(&log(9), 50, &b, "a stranger's"),
    ];
    assert_eq!(find(&a, &statements, &b).name.as_deref(), Some("mine"));
    statements.push(remove(&a, 60, &c, 0));
    assert_eq!(find(&a, &statements, &b).name.as_deref(), Some("phone"));
}

/// Of several roles the one counts that allows most; the founder may always write.
#[test]
fn the_role_that_allows_most_counts() {
    let [a, b, c] = [1, 2, 3].map(log);
    let mut statements = vec![
        add(&a, 10, &b),
        add_as(&a, 11, &c, DeviceRole::ReadOnly),
        add_as(&b, 12, &a, DeviceRole::ReadOnly),
    ];
    let roles = |set: &[Statement]| -> Vec<_> {
        members(a.key(), set).into_iter().map(|member| member.role).collect()
    };
    let [all, read] = [DeviceRole::Full, DeviceRole::ReadOnly];
    assert_eq!(roles(&statements), [all, all, read]);
    statements.push(add_as(&b, 9, &c, DeviceRole::ReadOnly));
    assert_eq!(find(&b, &statements, &c).role, read);
    statements.push(add(&b, 13, &c));
    assert_eq!(find(&a, &statements, &c).role, all);
}

/// A recovery secret admits and removes as a device does, and is none. It counts until it is
/// removed, and what it had admitted stays.
#[test]
fn a_recovery_secret_speaks_and_is_no_device() {
    let (a, b, c) = (log(1), log(2), log(3));
    let secret = KeyPair::from_seed([9; 32]);
    let key = Author::key(&secret);
    let said = |author: &KeyPair, time, claim| {
        Statement::sign(author, Time::from_millis(time), claim).unwrap()
    };
    let applied = Extent::default();
    let mut statements = vec![
        // A device that was admitted by the secret alone has this, with a clock that is behind.
        Statement::recovery(&secret, &secret, Time::from_millis(1)).unwrap(),
        Statement::recovery(&a, &secret, Time::from_millis(5)).unwrap(),
        add(&a, 10, &b),
        said(&secret, 20, Claim::Add { key: c.key(), name: None, role: DeviceRole::Full }),
        said(&secret, 21, Claim::Remove { key: a.key(), applied, why: Leaving::Removed }),
    ];
    let found = Membership::of(b.key(), &statements);
    assert_eq!(found.recovery, [key]);
    assert_eq!(found.devices[0].key, a.key(), "no secret founds somebody else's database");
    assert_eq!(active(&b, &statements), [b.key(), c.key()]);
    let claim = Claim::Remove { key, applied, why: Leaving::Removed };
    statements.push(Statement::sign(&b, Time::from_millis(30), claim).unwrap());
    assert_eq!(Membership::of(b.key(), &statements).recovery, []);
    assert_eq!(active(&b, &statements), [b.key(), c.key()]);
}

/// Statements of five logs: any of them may admit, remove and retire any, and go on for others.
fn any_statement() -> impl Strategy<Value = Statement> {
    let one = || (1..6_u8).prop_map(log);
    (0..6_u8, one(), one(), 1..50_u64).prop_filter_map("nobody succeeds itself", pick)
}

fn pick((kind, author, subject, time): (u8, Log, Log, u64)) -> Option<Statement> {
    let is_self = author.key() == subject.key();
    Some(match kind {
        0 | 1 => add(&author, time, &subject),
        2 => remove(&author, time, &subject, time),
        3 if !is_self => succeed(&author, time, &subject),
        4 => retire(&author, time, &subject, time),
        5 => name(&author, time, &subject, "x"),
        _ => return None,
    })
}

proptest! {
    /// However statements are ordered, repeated, and whoever asks: one set, one membership.
    #[test]
    fn only_the_set_counts(set in vec(any_statement(), 1..12), turn: prop::sample::Index) {
        prop_assume!(set.iter().any(|statement| admits(&statement.claim).is_some()));
        let mut other = set.clone();
        other.rotate_left(turn.index(set.len()));
        other.extend(set.iter().rev().cloned());
        prop_assert_eq!(
            Membership::of(log(1).key(), &set),
            Membership::of(log(2).key(), &other)
        );
    }

    /// What goes on for a log that was thrown out is thrown out, through any number; nobody both
    /// takes part and is cut; and who has an heir is finished.
    #[test]
    fn heirs_of_a_removed_log_are_out(set in vec(any_statement(), 1..16)) {
        let all = members(log(1).key(), &set);
        let get = |key: &LogKey| all.iter().find(|member| member.key == *key);
        for member in &all {
            for heir in member.successors.iter().filter_map(get) {
                prop_assert!(member.removed_by.is_none() || heir.removed_by.is_some());
                prop_assert!(!member.is_active());
            }
            prop_assert!(!(member.is_active() && member.cut.is_some()));
            prop_assert!(member.removed_by.is_none() || member.cut.is_some());
        }
    }

    /// An heir stands in its predecessor's place: whoever comes between them goes on for the
    /// predecessor, too.
    #[test]
    fn seniority_is_inherited(set in vec(any_statement(), 1..16)) {
        let all = members(log(1).key(), &set);
        let place = |key: &LogKey| all.iter().position(|member| member.key == *key).unwrap();
        for (at, heir) in all.iter().enumerate() {
            let Some(predecessor) = heir.predecessor else { continue };
            let from = place(&predecessor);
            prop_assert!(from < at);
            for between in &all[from + 1..at] {
                let mut up = between.predecessor;
                while let Some(key) = up.filter(|key| *key != predecessor) {
                    up = all[place(&key)].predecessor;
                }
                prop_assert_eq!(up, Some(predecessor));
            }
        }
    }

    /// The list depends on the set alone: not on its order, nor on who asks.
    #[test]
    fn order_does_not_matter(picked in subsequence((0..8_usize).collect::<Vec<_>>(), 1..8), seed: u64) {
        let [a, b, c] = [1, 2, 3].map(log);
        let all = [
            add(&a, 1, &b), add(&b, 2, &a), add(&b, 3, &c), add(&a, 3, &c),
            remove(&c, 4, &b, 1), remove(&b, 5, &c, 2), remove(&a, 6, &a, 0), add(&c, 7, &b),
        ];
        let set: Vec<_> = picked.iter().map(|&i| all[i].clone()).collect();
        prop_assume!(set.iter().any(|statement| matches!(statement.claim, Claim::Add { .. })));
        let mut shuffled = set.clone();
        let turn = usize::try_from(seed % set.len() as u64).unwrap();
        shuffled.rotate_left(turn);
        shuffled.reverse();
        prop_assert_eq!(members(a.key(), &set), members(c.key(), &shuffled));
    }
}
