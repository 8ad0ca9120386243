//! Values of mergeable types, conditional writes, rules and namespaces, on one device.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use multibee::{
    Choice, Counter, Error, Home, Map, Multibee, Options, PLAIN, RangeSpec, Rule, Set, Strategies,
    WriteError,
};

fn database() -> Multibee {
    Multibee::create(Home::memory(), Options::default()).unwrap()
}

fn text(db: &Multibee, key: &str) -> Option<String> {
    let entry = db.get(key).unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

/// A counter is read and written in one step, counts on from a plain integer, and refuses to count
/// what is none.
#[test]
fn counters_count() {
    let db = database();
    assert_eq!(db.increment("n", 5).unwrap(), 5);
    assert_eq!(db.increment("n", -7).unwrap(), -2);
    assert_eq!(text(&db, "n"), Some("-2".into()));
    assert_eq!(db.get("n").unwrap().unwrap().kind, Counter::KIND);

    db.put("plain", "40").unwrap();
    assert_eq!(db.increment("plain", 2).unwrap(), 42);
    db.put("words", "forty").unwrap();
    assert!(matches!(db.increment("words", 1), Err(Error::Value(_))));
    assert_eq!(text(&db, "words"), Some("forty".into()), "nothing has happened");

    // Ended by a delete, it begins anew.
    db.del("n").unwrap();
    assert_eq!(db.increment("n", 1).unwrap(), 1);
    // Adding nothing writes nothing.
    let length = db.status().unwrap().length;
    assert_eq!(db.increment("n", 0).unwrap(), 1);
    assert_eq!(db.status().unwrap().length, length);
}

/// Threads that count at the same time lose nothing.
#[test]
fn counting_is_atomic() {
    let db = Arc::new(database());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert!(db.increment("n", 1).unwrap() > 0)));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let add = |old: Option<multibee::Entry>| {
                        let old = old.map_or(0, |entry| entry.value.len());
                        Some("x".repeat(old + 1).into())
                    };
                    db.update("text", add).unwrap();
                }
            });
        }
    });
    assert_eq!(text(&db, "n"), Some("200".into()));
    assert_eq!(text(&db, "text").unwrap().len(), 50);
}

/// Sets and maps are changed in part, and say whether anything changed.
#[test]
fn parts_are_changed() {
    let db = database();
    assert!(db.set_insert("s", "\"b\"").unwrap());
    assert!(db.set_insert("s", "1").unwrap());
    assert!(!db.set_insert("s", " 1 ").unwrap(), "it is there already");
    assert!(!db.set_remove("s", "2").unwrap(), "it was not there");
    assert!(db.set_remove("s", "1").unwrap());
    assert_eq!(text(&db, "s"), Some("[\"b\"]".into()));
    assert_eq!(db.get("s").unwrap().unwrap().kind, Set::KIND);

    db.put_map("m", r#"{"a":1,"b":{"c":2}}"#).unwrap();
    let whole = db.patch("m", r#"{"a":null,"b":{"d":3}}"#).unwrap();
    assert_eq!(whole, r#"{"b":{"c":2,"d":3}}"#);
    assert_eq!(text(&db, "m").unwrap(), r#"{"b":{"c":2,"d":3}}"#);
    assert!(matches!(db.put_map("m", "[1]"), Err(Error::Value(WriteError::WrongShape { .. }))));
    assert!(matches!(db.put_typed("m", 4242, "1"), Err(Error::Value(_))));
}

/// Compare and swap writes only over what it expects; a batch with expectations is all or nothing.
#[test]
fn expectations_are_checked() {
    let db = database();
    assert!(db.put_if("k", None, "1").unwrap());
    assert!(!db.put_if("k", None, "2").unwrap());
    assert!(!db.put_if("k", Some(b"2"), "3").unwrap());
    assert!(db.put_if("k", Some(b"1"), "4").unwrap());
    assert_eq!(text(&db, "k"), Some("4".into()));

    let mut batch = db.batch();
    batch.expect("k", Some(b"4")).expect("absent", None).put("k", "5").put("other", "1");
    batch.commit().unwrap();
    let mut batch = db.batch();
    batch.expect("k", Some(b"4")).put("k", "6").put("another", "1");
    assert!(matches!(batch.commit(), Err(Error::NotAsExpected { key }) if key == "k"));
    assert_eq!((text(&db, "k"), text(&db, "another")), (Some("5".into()), None));

    // An update keeps the type, puts a new key, and deletes.
    db.increment("n", 3).unwrap();
    assert_eq!(db.update("n", |_| Some("7".into())).unwrap(), Some("7".into()));
    assert_eq!(db.get("n").unwrap().unwrap().kind, Counter::KIND);
    assert_eq!(db.update("n", |_| None).unwrap(), None);
    assert_eq!(text(&db, "n"), None);
    assert_eq!(
        db.update("new", |old| old.is_none().then(|| "v".into())).unwrap(),
        Some("v".into())
    );
}

/// A rule's type is what plain puts write, the longest prefix counts, and values that the type does
/// not take are refused.
#[test]
fn puts_write_the_type_of_their_rule() {
    let db = database();
    db.set_rule("n/", Rule::kind(Counter::KIND)).unwrap();
    db.set_rule("n/plain/", Rule::default()).unwrap();
    db.put("n/a", "5").unwrap();
    db.put("n/plain/a", "five").unwrap();
    assert_eq!(db.get("n/a").unwrap().unwrap().kind, Counter::KIND);
    assert_eq!(db.get("n/plain/a").unwrap().unwrap().kind, PLAIN);
    assert!(matches!(db.put("n/b", "five"), Err(Error::Value(_))));

    let rules = db.rules().unwrap();
    assert_eq!(
        rules.iter().map(|rule| &rule.prefix[..]).collect::<Vec<_>>(),
        [&b"n/"[..], b"n/plain/"]
    );
    assert!(rules.iter().all(|rule| rule.is_strategy_known && rule.is_kind_known));
    assert!(db.clear_rule("n/").unwrap());
    assert!(!db.clear_rule("n/").unwrap(), "it is gone");
    db.put("n/b", "five").unwrap();

    // A plain put over a typed value is a plain value.
    db.put("n/a", "six").unwrap();
    assert_eq!(db.get("n/a").unwrap().unwrap().kind, PLAIN);
    assert!(matches!(
        db.set_rule("x", Rule::strategy("no such thing")),
        Err(Error::UnknownStrategy { name }) if name == "no such thing"
    ));
    assert!(db.set_rule("x", Rule::kind(4242)).is_err());
}

/// Rules and typed values are there after opening again, and a full scan agrees.
#[test]
fn rules_and_types_are_durable() {
    let home = Home::memory();
    let db = Multibee::create(home.clone(), Options::default()).unwrap();
    let keep_all = Rule { strategy: Strategies::KEEP_ALL.into(), kind: Map::KIND };
    db.set_rule("", keep_all.clone()).unwrap();
    db.put("m", r#"{"a":1}"#).unwrap();
    db.del("m").unwrap();
    db.put("m", r#"{"b":1}"#).unwrap();
    let (digest, length) = (db.digest(), db.status().unwrap().length);
    drop(db);
    let db = Multibee::open(home, Options::default()).unwrap();
    assert_eq!((db.digest(), db.status().unwrap().length), (digest, length), "nothing to redo");
    assert_eq!(db.rules().unwrap()[0].rule, keep_all);
    assert_eq!(db.verify().unwrap().keys, 1);
    db.patch("m", r#"{"c":2}"#).unwrap();
    assert_eq!(text(&db, "m").unwrap(), r#"{"b":1,"c":2}"#);
    assert_eq!(db.get_all("m").unwrap().len(), 1);
}

/// A namespace reads and writes its own keys only, without their prefix, in both directions.
#[test]
fn namespaces_hold_their_own() {
    let db = database();
    let notes = db.namespace("notes/");
    let inner = notes.namespace("old/");
    for key in ["note", "notes", "notes0"] {
        db.put(key, "outside").unwrap();
    }
    notes.put("b", "2").unwrap();
    let mut batch = notes.batch();
    batch.put("a", "1").put("c", "3").del("b");
    batch.commit().unwrap();
    inner.put("z", "26").unwrap();
    let keys = |spec: RangeSpec| -> Vec<String> {
        let entries = notes.range(spec).unwrap().map(|entry| entry.unwrap().key);
        entries.map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    };
    assert_eq!(keys(RangeSpec::default()), ["a", "c", "old/z"]);
    let reverse = RangeSpec { reverse: true, lt: Some("d".into()), ..RangeSpec::default() };
    assert_eq!(keys(reverse), ["c", "a"]);
    assert_eq!(inner.get("z").unwrap().unwrap().value, "26");
    assert_eq!(text(&db, "notes/old/z"), Some("26".into()));
    assert_eq!(notes.get("note").unwrap(), None);
    assert!(notes.del("a").unwrap() && notes.get("a").unwrap().is_none());
}

/// What is asked for and not there is an error of the caller's, and changes nothing.
#[test]
fn picks_name_versions_that_are_there() {
    let db = database();
    db.put("k", "v").unwrap();
    let dot = multibee::Dot { device: db.device(), seq: 77 };
    let error = db.resolve("k", Choice::Version(dot)).unwrap_err();
    assert!(matches!(error, Error::NoSuchVersion { .. }), "{error}");
    db.resolve("k", Choice::Value("w".into())).unwrap();
    assert_eq!(text(&db, "k"), Some("w".into()));
    db.resolve("k", Choice::Delete).unwrap();
    assert_eq!(text(&db, "k"), None);
}
