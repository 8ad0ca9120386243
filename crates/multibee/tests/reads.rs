//! Reads beside single keys and ranges, reading one's own batch, and namespaces, on one device.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee::{
    Batch, Change, Changed, Commit, Counter, Durability, Entry, Error, HistoryOptions, Home, Json,
    Map, Multibee, Options, RangeSpec, Rule, Set, Utf8, encoded,
};
use proptest::collection::vec;
use proptest::prelude::*;

const KEYS: [&[u8]; 8] = [b"", b"a", b"a/1", b"b", b"n", &[0xfe], &[0xff], &[0xff, b't', b'a']];

fn database() -> Multibee {
    let options = Options { durability: Durability::Buffered, ..Options::default() };
    Multibee::create(Home::memory(), options).unwrap()
}

fn key() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(&KEYS[..])
}

fn range() -> impl Strategy<Value = RangeSpec> {
    let bound = || prop::option::of(key().prop_map(Bytes::from_static));
    (bound(), bound(), any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(0..4_u64))
        .prop_map(|(lower, upper, with_lower, with_upper, reverse, limit)| RangeSpec {
            gte: lower.clone().filter(|_| with_lower),
            gt: lower.filter(|_| !with_lower),
            lte: upper.clone().filter(|_| with_upper),
            lt: upper.filter(|_| !with_upper),
            reverse,
            limit,
        })
}

/// Something to do in a batch.
#[derive(Clone, Debug)]
enum Op {
    Put(&'static [u8], u8),
    Typed(&'static [u8], u32, &'static str),
    Delete(&'static [u8]),
    Patch(&'static [u8], u8),
    Increment(&'static [u8], i64),
    Insert(&'static [u8], u8),
    Remove(&'static [u8], u8),
}

fn op() -> impl Strategy<Value = Op> {
    let typed = [(Counter::KIND, "7"), (Set::KIND, "[1]"), (Map::KIND, "{\"a\":1}"), (9, "?")];
    prop_oneof![
        3 => (key(), any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => (key(), prop::sample::select(typed.to_vec()))
            .prop_map(|(key, (kind, value))| Op::Typed(key, kind, value)),
        3 => key().prop_map(Op::Delete),
        1 => (key(), 0..3_u8).prop_map(|(key, value)| Op::Patch(key, value)),
        2 => (key(), -3..3_i64).prop_map(|(key, by)| Op::Increment(key, by)),
        1 => (key(), 0..3_u8).prop_map(|(key, value)| Op::Insert(key, value)),
        1 => (key(), 0..3_u8).prop_map(|(key, value)| Op::Remove(key, value)),
    ]
}

fn stage(batch: &mut Batch, op: &Op) {
    match *op {
        Op::Put(key, value) => batch.put(key, value.to_string()),
        Op::Typed(key, kind, value) => batch.put_typed(key, kind, value),
        Op::Delete(key) => batch.del(key),
        Op::Patch(key, value) => batch.patch(key, format!("{{\"b\":{value}}}")),
        Op::Increment(key, by) => batch.increment(key, by),
        Op::Insert(key, value) => batch.set_insert(key, value.to_string()),
        Op::Remove(key, value) => batch.set_remove(key, value.to_string()),
    };
}

fn contents(entries: impl Iterator<Item = Result<Entry, Error>>) -> Vec<(Bytes, Bytes)> {
    entries.map(|entry| entry.unwrap()).map(|entry| (entry.key, entry.value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Of any range, the first entry and the count are those of the range; many keys read at once
    /// are what each of them is.
    #[test]
    fn ranges_are_counted_and_peeked(
        puts in vec((key(), any::<bool>()), 0..12), ranges in vec(range(), 8), asked in vec(key(), 5),
    ) {
        let db = database();
        for (key, is_put) in puts {
            if is_put {
                db.put(key, "v").unwrap();
            } else {
                db.del(key).unwrap();
            }
        }
        db.set_rule("a", Rule::strategy("keep-all")).unwrap();
        for range in ranges {
            let all: Vec<_> = db.range(range.clone()).unwrap().map(|one| one.unwrap()).collect();
            prop_assert_eq!(db.count(range.clone()).unwrap(), all.len() as u64);
            prop_assert_eq!(db.peek(range).unwrap(), all.into_iter().next());
        }
        let each: Vec<_> = asked.iter().map(|key| db.get(key).unwrap()).collect();
        prop_assert_eq!(db.get_many(&asked).unwrap(), each);
    }

    /// What a batch says of a key, before and after each change of it, is what the key shows once
    /// it is committed; where it can't say, the commit fails, too; and asking changes nothing.
    #[test]
    fn a_batch_foretells_what_it_makes(before in vec(op(), 0..6), ops in vec(op(), 1..6)) {
        let db = database();
        db.set_rule("n", Rule::kind(Counter::KIND)).unwrap();
        for op in &before {
            let mut batch = db.batch();
            stage(&mut batch, op);
            // Some can't be written, and then are not.
            let _ = batch.commit();
        }
        let (version, digest) = (db.version(), db.digest());
        let mut batch = db.batch();
        for op in &ops {
            stage(&mut batch, op);
            for key in KEYS {
                let _ = batch.get(key);
            }
            prop_assert_eq!((db.version(), db.digest()), (version, digest));
        }
        let told: Result<Vec<_>, _> = KEYS.iter().map(|key| batch.get(key)).collect();
        match (told, batch.commit()) {
            (Ok(told), Ok(_)) => {
                let shown = db.get_many(KEYS).unwrap().into_iter();
                prop_assert_eq!(told, shown.map(|one| one.map(|one| one.value)).collect::<Vec<_>>());
            }
            (Err(_), Err(_)) => prop_assert_eq!(db.version(), version),
            (told, done) => prop_assert!(false, "{told:?} {done:?}"),
        }
    }
}

fn diff(changes: impl Iterator<Item = Result<Change, Error>>) -> Vec<(Bytes, Seen, Seen)> {
    changes.map(|one| one.unwrap()).map(|one| (one.key, seen(one.left), seen(one.right))).collect()
}

fn changed(changes: impl IntoIterator<Item = Result<Changed, Error>>) -> Vec<(Bytes, Seen, Seen)> {
    let changes = changes.into_iter().map(|one| one.unwrap());
    changes.map(|one| (one.key, seen(one.before), seen(one.now))).collect()
}

/// Key, value and type of an entry: blocks and times depend on what else is written.
type Seen = Option<(Bytes, Bytes, u32)>;

fn seen(entry: Option<Entry>) -> Seen {
    entry.map(|entry| (entry.key, entry.value, entry.kind))
}

fn all_seen(entries: impl Iterator<Item = Result<Entry, Error>>) -> Vec<Seen> {
    entries.map(|entry| seen(Some(entry.unwrap()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A namespace in a database full of other things behaves as a database of its own does, whatever
    /// its prefix: reads, batches, differences, history and watches.
    #[test]
    fn a_namespace_is_like_a_database(
        prefix in prop::sample::select(vec![&b"a"[..], b"a/", &[0xff], &[0xff, 0xff], b""]),
        batches in vec(vec(op(), 1..4), 1..8), range in range(), asked in key(),
    ) {
        let (alone, whole) = (database(), database());
        if !prefix.is_empty() {
            for key in [&b"a"[..], b"a/", b"b", &[0xfe], &[0xff, 0xfe], &[0xff, 0xff, 0xff]] {
                if !key.starts_with(prefix) {
                    whole.put(key, "other").unwrap();
                }
            }
        }
        let namespace = whole.namespace(prefix);
        alone.set_rule("n", Rule::kind(Counter::KIND)).unwrap();
        namespace.namespace("n").set_rule(Rule::kind(Counter::KIND)).unwrap();
        let (start, begun) = (alone.view().unwrap(), namespace.view().unwrap());
        let mut watches = (alone.watch(range.clone()).unwrap(), namespace.watch(range.clone()).unwrap());
        let mut keys = (alone.get_and_watch(asked).unwrap(), namespace.get_and_watch(asked).unwrap());
        for ops in &batches {
            let (mut one, mut other) = (alone.batch(), namespace.batch());
            for op in ops {
                stage(&mut one, op);
                stage_within(&mut other, op);
            }
            prop_assert_eq!(one.get(asked).ok(), other.get(asked).ok());
            prop_assert_eq!(one.len(), other.len());
            prop_assert_eq!(one.commit().ok(), other.commit().ok());
        }
        let (one, other) = (alone.view().unwrap(), namespace.view().unwrap());
        prop_assert_eq!(all_seen(one.range(range.clone())), all_seen(other.range(range.clone())));
        prop_assert_eq!(seen(one.peek(range.clone()).unwrap()), seen(other.peek(range.clone()).unwrap()));
        prop_assert_eq!(one.count(range.clone()).unwrap(), other.count(range.clone()).unwrap());
        prop_assert_eq!(seen(one.get(asked).unwrap()), seen(other.get(asked).unwrap()));
        let many = other.get_many(KEYS).unwrap().into_iter().map(seen);
        prop_assert_eq!(one.get_many(KEYS).unwrap().into_iter().map(seen).collect::<Vec<_>>(), many.collect::<Vec<_>>());
        let differences = diff(one.diff(&start, range.clone()).unwrap());
        prop_assert_eq!(&differences, &diff(other.diff(&begun, range.clone()).unwrap()));
        let told = |watch: &mut multibee::Watch| watch.look().unwrap().map(changed).unwrap_or_default();
        prop_assert_eq!(told(&mut watches.0), told(&mut watches.1));
        let told = |watch: &mut multibee::KeyWatch| watch.look().unwrap().map(|one| (one.key, seen(one.now)));
        prop_assert_eq!(told(&mut keys.0), told(&mut keys.1));
        prop_assert_eq!(seen(keys.0.entry().cloned()), seen(keys.1.entry().cloned()));
        let options = HistoryOptions { range, ..HistoryOptions::default() };
        let commits = |commit: Result<Commit, Error>| changed(commit.unwrap().changes);
        let history: Vec<_> = one.history(options.clone()).unwrap().map(commits).collect();
        let within = HistoryOptions { since: Some(begun.version()), ..options };
        prop_assert_eq!(history, other.history(within).unwrap().map(commits).collect::<Vec<_>>());
        let of_key = |one: Result<multibee::KeyCommit, Error>| changed([Ok(one.unwrap().changed)]);
        let history: Vec<_> = one.key_history(asked).map(of_key).collect();
        prop_assert_eq!(history, other.key_history(asked).map(of_key).collect::<Vec<_>>());
    }
}

fn stage_within(batch: &mut multibee::NamespaceBatch, op: &Op) {
    match *op {
        Op::Put(key, value) => batch.put(key, value.to_string()),
        Op::Typed(key, kind, value) => batch.put_typed(key, kind, value),
        Op::Delete(key) => batch.del(key),
        Op::Patch(key, value) => batch.patch(key, format!("{{\"b\":{value}}}")),
        Op::Increment(key, by) => batch.increment(key, by),
        Op::Insert(key, value) => batch.set_insert(key, value.to_string()),
        Op::Remove(key, value) => batch.set_remove(key, value.to_string()),
    };
}

/// Single writes under a prefix are those of the database, and their results, too.
#[test]
fn namespaces_have_all_writes() {
    let db = database();
    let home = db.namespace("home/");
    home.put_map("m", "{\"a\":1}").unwrap();
    assert_eq!(home.patch("m", "{\"b\":2}").unwrap(), "{\"a\":1,\"b\":2}");
    assert_eq!(home.increment("n", 5).unwrap(), 5);
    assert!(home.set_insert("s", "1").unwrap() && !home.set_remove("s", "2").unwrap());
    home.put_typed("t", Set::KIND, "[2]").unwrap();
    assert!(home.put_if("p", None, "1").unwrap() && !home.put_if("p", None, "2").unwrap());
    assert!(!home.del_if("p", b"2").unwrap() && home.del_if("p", b"1").unwrap());
    let add = |entry: Option<Entry>| {
        assert!(entry.is_none_or(|entry| entry.key == "u"));
        Some("1".into())
    };
    assert_eq!(home.update("u", add).unwrap(), home.update("u", add).unwrap());
    home.set_rule(Rule::strategy("keep-all")).unwrap();
    assert_eq!(db.rules().unwrap()[0].prefix, "home/");
    assert!(home.clear_rule().unwrap());
    let keys: Vec<_> = contents(db.range(RangeSpec::default()).unwrap());
    let keys = keys.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys, ["home/m", "home/n", "home/s", "home/t", "home/u"]);
    let other = db.view().unwrap().namespace("x");
    let refused = home.view().unwrap().diff(&other, RangeSpec::default());
    assert!(matches!(refused, Err(Error::OtherDatabase)));
}

/// A block says what it showed when it was written, whatever came later; deletes and bookkeeping show
/// nothing.
#[test]
fn blocks_say_what_they_showed() {
    let db = database();
    let mut shown = BTreeMap::new();
    for value in ["1", "2"] {
        db.put([0xff, b't'], value).unwrap();
        shown.insert(db.version() - 1, value);
    }
    db.del([0xff, b't']).unwrap();
    db.set_rule("a", Rule::default()).unwrap();
    let view = db.view().unwrap();
    for seq in 0..=view.version() {
        let entry = view.get_by_seq(seq).unwrap();
        assert_eq!(
            entry.as_ref().map(|entry| &entry.value[..]),
            shown.get(&seq).map(|v| v.as_bytes())
        );
        assert!(entry.is_none_or(|entry| entry.seq == seq && entry.key[..] == [0xff, b't']));
    }
}

/// A delete, or a batch, that depends on what was read does nothing once that has changed, be it to
/// the same value again.
#[test]
fn what_was_read_is_expected() {
    let db = database();
    assert!(!db.del_if("k", b"1").unwrap());
    db.put("k", "1").unwrap();
    assert!(!db.del_if("k", b"2").unwrap());
    let read = db.get("k").unwrap();
    db.put("k", "1").unwrap();
    let mut batch = db.batch();
    batch.expect_entry("k", read.as_ref()).put("j", "1");
    assert!(matches!(batch.commit(), Err(Error::NotAsExpected { .. })));
    let mut batch = db.batch();
    batch.expect_entry("k", db.get("k").unwrap().as_ref()).expect_entry("j", None).put("j", "1");
    batch.commit().unwrap();
    let mut batch = db.batch();
    batch.expect_entry("j", None).put("j", "2");
    assert!(batch.commit().is_err());
    assert!(db.del_if("k", b"1").unwrap() && db.get("k").unwrap().is_none());
}

/// Keys and values of one's own types come back, in every way of reading; what is no such value is an
/// error, and what comes behind it is still read.
#[tokio::test]
async fn encoded_values_come_back() {
    type Ages = encoded::Database<Utf8, Json<(String, u32)>>;
    let db = database();
    let ages: Ages = db.namespace("age/").encoded();
    let value = |name: &str, age| (name.to_owned(), age);
    let begun = ages.view().unwrap();
    let (mut watch, mut key) = (ages.watch("b"..).unwrap(), ages.get_and_watch("b").unwrap());
    ages.put("a", &value("Ada", 36)).unwrap();
    let mut batch = ages.batch();
    batch.expect("c", None).unwrap().put("b", &value("Bob", 1)).unwrap();
    batch.put("c", &value("Cy", 2)).unwrap().del("a").unwrap();
    assert_eq!(batch.get("b").unwrap(), Some(value("Bob", 1)));
    assert_eq!(batch.get("a").unwrap(), None);
    batch.commit().unwrap();
    assert_eq!(ages.get("b").unwrap().unwrap().value.1, 1);
    assert!(ages.put_if("b", Some(&value("Bob", 1)), &value("Bob", 2)).unwrap());
    assert!(!ages.del_if("b", &value("Bob", 1)).unwrap());

    let view = ages.view().unwrap();
    let keys = |range: encoded::Range<Utf8, Json<(String, u32)>>| {
        range.map(|entry| entry.unwrap().key).collect::<Vec<_>>()
    };
    assert_eq!(keys(view.range(..).unwrap()), ["b", "c"]);
    assert_eq!(keys(view.range_reversed(..="b").unwrap()), ["b"]);
    let left: Vec<_> = view.diff(&begun, ..).unwrap().map(|one| one.unwrap().left).collect();
    assert_eq!(left.iter().flatten().map(|entry| &entry.key).collect::<Vec<_>>(), ["b", "c"]);
    let changes = watch.next().await.unwrap().unwrap();
    let told: Vec<_> = changes.iter().map(|one| one.unwrap()).collect();
    assert_eq!(told.iter().map(|one| &one.key).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(told[0].now.as_ref().unwrap().value, value("Bob", 2));
    assert!(key.next().await.unwrap().is_some() && key.look().unwrap().is_none());
    assert_eq!(key.entry().unwrap().unwrap().value, value("Bob", 2));

    db.put("age/b", "no JSON").unwrap();
    assert!(matches!(ages.get("b"), Err(Error::Codec(_))));
    let range = ages.view().unwrap().range(..).unwrap();
    assert_eq!(range.map(|entry| entry.is_ok()).collect::<Vec<_>>(), [false, true]);
    // Values merge as their bytes do.
    ages.raw().set_rule(Rule::kind(Set::KIND)).unwrap();
    ages.put("d", &value("Di", 3)).unwrap();
    assert_eq!(ages.get("d").unwrap().map(|entry| entry.kind), Some(Set::KIND));
}
