//! What was done, commit by commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee::{
    Changed, Commit, Entry, Error, HistoryOptions, Home, KeyCommit, Multibee, Options, Origin,
    RangeSpec,
};
use proptest::prelude::*;

use crate::devices::{Group, KEYS, Step, contents, range, shown, steps, within};

fn history(db: &Multibee, options: &HistoryOptions) -> Vec<Commit> {
    db.history(options.clone()).unwrap().map(|commit| commit.unwrap()).collect()
}

fn all(commit: &Commit) -> Vec<Changed> {
    commit.changes.iter().map(|changed| changed.unwrap()).collect()
}

fn versions(commits: &[Commit]) -> Vec<u64> {
    commits.iter().map(|commit| commit.version).collect()
}

/// What became of each key, the first change first.
fn by_key(commits: &[Commit]) -> BTreeMap<Bytes, Vec<KeyCommit>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for commit in commits {
        for changed in all(commit) {
            let &Commit { version, is_merge, at, .. } = commit;
            let one = KeyCommit { version, is_merge, at, changed };
            keys.entry(one.changed.key.clone()).or_default().push(one);
        }
    }
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The commits, applied one after the other, lead through every version that there was to the
    /// last one; backwards they are the same; those in a range, or between two versions, are a part
    /// of them; own ones are told from merges; and the history of a key is what they say of it.
    #[test]
    fn commits_lead_from_nothing_to_now(
        steps in steps(2), range in range(), limit in 0..5_u64, cut in any::<(u8, u8)>(),
    ) {
        let mut group = Group::new(2);
        let db = group.devices[0].clone();
        let mut states = BTreeMap::new();
        let mut own = Vec::new();
        for step in &steps {
            let before = db.view().unwrap().version();
            group.carry_out(step);
            let view = db.view().unwrap();
            if !matches!(step, Step::Meet(..) | Step::Rule(..)) && view.version() > before {
                own.push(view.version());
            }
            states.insert(view.version(), contents(&view));
        }
        let commits = history(&db, &HistoryOptions::default());
        let mut told = BTreeMap::new();
        for commit in &commits {
            assert_eq!(commit.changes.to_version(), commit.version);
            assert_eq!(commit.is_merge, !own.contains(&commit.version));
            for Changed { key, before, now, .. } in all(commit) {
                let before = before.map(|entry| shown(commit.changes.before(), entry));
                assert_eq!(before.as_ref(), told.get(&key));
                match now {
                    Some(entry) => told.insert(key, shown(commit.changes.now(), entry)),
                    None => told.remove(&key),
                };
            }
            if let Some(state) = states.get(&commit.version) {
                assert_eq!(&told, state, "version {}", commit.version);
            }
        }
        assert_eq!(told, contents(&db.view().unwrap()));
        check_parts(&db, &commits, &range, limit, cut);
        check_keys(&db, &commits);
    }
}

fn check_parts(
    db: &Multibee,
    commits: &[Commit],
    range: &RangeSpec,
    limit: u64,
    (from, to): (u8, u8),
) {
    let ranged = HistoryOptions { range: range.clone(), ..HistoryOptions::default() };
    let is_in = |commit: &&Commit| all(commit).iter().any(|one| within(range, &one.key));
    let expected: Vec<_> = commits.iter().filter(is_in).map(|commit| commit.version).collect();
    let found = history(db, &ranged);
    assert_eq!(versions(&found), expected);
    for commit in &found {
        assert!(all(commit).iter().all(|one| within(range, &one.key)));
    }
    let mut backwards =
        versions(&history(db, &HistoryOptions { reverse: true, limit: Some(limit), ..ranged }));
    backwards.reverse();
    assert_eq!(backwards, expected[expected.len().saturating_sub(limit as usize)..]);

    let version = |at: u8| {
        let all = versions(commits);
        if all.is_empty() { 1 } else { all[at as usize % all.len()] }
    };
    let (since, until) = (version(from), version(to));
    let part = HistoryOptions {
        since: Some(since),
        until: Some(until),
        reverse: from > to,
        ..HistoryOptions::default()
    };
    let mut found = versions(&history(db, &part));
    if part.reverse {
        found.reverse();
    }
    let all = versions(commits).into_iter();
    assert_eq!(found, all.filter(|one| (since + 1..=until).contains(one)).collect::<Vec<_>>());
}

fn check_keys(db: &Multibee, commits: &[Commit]) {
    let mut expected = by_key(commits);
    for key in KEYS.into_iter().chain([&b"count"[..], b"never"]) {
        let found: Result<Vec<_>, Error> = db.key_history(key).unwrap().collect();
        let mut found = found.unwrap();
        found.reverse();
        assert_eq!(found, expected.remove(key).unwrap_or_default());
    }
    assert!(expected.is_empty());
}

/// A key that is written more than once in a batch changes once; a batch of nothing, and changes of
/// rules and devices, are no commits that anybody is told of.
#[test]
fn a_commit_changes_a_key_once() {
    let db = Multibee::create(Home::memory(), Options::default()).unwrap();
    let mut batch = db.batch();
    batch.put("k", "1").put("k", "2").put("gone", "1").del("gone").put("j", "1");
    batch.commit().unwrap();
    db.batch().commit().unwrap();
    db.set_rule("k", multibee::Rule::strategy("keep-all")).unwrap();
    let other = Multibee::create(Home::memory(), Options::default()).unwrap();
    db.add_replica(other.key()).unwrap();
    let commits = history(&db, &HistoryOptions::default());
    let [commit] = &commits[..] else { panic!("{commits:?}") };
    let value = |entry: Option<Entry>| entry.map(|entry| entry.value);
    let changed = all(commit).into_iter().map(|one| (one.key, value(one.before), value(one.now)));
    let put = |key: &'static str, new: &'static str| (key.into(), None, Some(new.into()));
    assert_eq!(changed.collect::<Vec<_>>(), [put("j", "1"), put("k", "2")]);
    assert!(commit.at.is_some() && !commit.is_merge);
    let key: Vec<_> = db.key_history("k").unwrap().map(|one| one.unwrap().version).collect();
    assert_eq!(key, [commit.version]);
}

/// A merge says who wrote what it brought, and when it came; a version within a commit is refused.
#[test]
fn merges_have_origins() {
    let mut group = Group::new(2);
    let [a, b] = [0, 1].map(|at| group.devices[at].clone());
    let mut batch = b.batch();
    batch.put("x", "1").put("y", "1");
    batch.commit().unwrap();
    a.put("own", "1").unwrap();
    let own_version = a.view().unwrap().version();
    group.meet(0, 1);
    let commits = history(&a, &HistoryOptions { since: Some(own_version), ..<_>::default() });
    let changed: Vec<_> = commits.iter().flat_map(all).collect();
    assert!(commits.iter().all(|commit| commit.is_merge));
    assert_eq!(changed.iter().map(|one| &one.key[..]).collect::<Vec<_>>(), [b"x", b"y"]);
    assert!(changed.iter().all(|one| one.origin == Origin::Device(b.device())));
    let within = HistoryOptions { until: Some(a.view().unwrap().version() - 1), ..<_>::default() };
    assert!(matches!(a.history(within), Err(Error::NotAVersion { .. })));
    let beyond = HistoryOptions { since: Some(9_999), ..<_>::default() };
    assert!(matches!(a.history(beyond), Err(Error::NotAVersion { version: 9_999 })));
}
