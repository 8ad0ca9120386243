//! What is refused on opening, and with which words.
#![allow(clippy::unwrap_used, reason = "tests")]

use multibee::{Error, Home, KeyPair, LogOptions, Multibee, Options};
use multibee_btree::{Bee, BeeOptions, Metadata};
use multibee_log::{FileStorage, Log};

/// A directory whose tree has this in its header.
fn home(user_data: Option<&'static str>) -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::create(dir.path().join("primary")).unwrap();
    let log = Log::create(storage, KeyPair::generate(), LogOptions::default()).unwrap();
    let metadata =
        user_data.map(|name| Metadata { user_data: Some(name.into()), content_feed: None });
    let bee = Bee::open(log, BeeOptions { metadata, ..BeeOptions::default() }).unwrap();
    bee.create_header().unwrap();
    drop(bee);
    let home = Home::dir(dir.path());
    (dir, home)
}

/// A database of a newer format is not touched, and the message says what to do.
#[test]
fn a_newer_format_is_refused() {
    let (_dir, home) = home(Some("multibee/2"));
    let error = Multibee::open(home, Options::default()).unwrap_err();
    assert!(matches!(&error, Error::NewerFormat { found } if found == "multibee/2"));
    assert!(error.to_string().contains("use a newer program"), "{error}");
}

/// A plain Hyperbee is none of our databases, and not called a newer one.
#[test]
fn a_plain_tree_is_refused() {
    for user_data in [None, Some("something else")] {
        let (_dir, home) = home(user_data);
        let error = Multibee::open(home, Options::default()).unwrap_err();
        assert!(matches!(error, Error::ForeignFormat { .. }), "{error}");
    }
}

/// A directory is one process's at a time, and free again once it is closed.
#[test]
fn a_directory_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::dir(dir.path());
    let first = Multibee::create(home.clone(), Options::default()).unwrap();
    let again = Multibee::open(home.clone(), Options::default());
    assert!(matches!(again, Err(Error::Locked { .. })));
    assert!(matches!(
        Multibee::create(home.clone(), Options::default()),
        Err(Error::AlreadyExists { .. })
    ));
    first.put("k", "v").unwrap();
    drop(first);
    let opened = Multibee::open(home, Options::default()).unwrap();
    assert_eq!(opened.get("k").unwrap().unwrap().value, "v");
}

/// The only versions are commit ends: a length within a batch is refused.
#[test]
fn only_commit_ends_are_versions() {
    let db = Multibee::create(Home::memory(), Options::default()).unwrap();
    db.put("a", "1").unwrap();
    let before = db.view().unwrap().version();
    let mut batch = db.batch();
    batch.put("b", "2").put("c", "3").put("a", "4");
    batch.commit().unwrap();
    let after = db.view().unwrap().version();
    assert_eq!(after, before + 3);
    assert!(db.checkout(before).unwrap().get(b"b").unwrap().is_none());
    assert_eq!(db.checkout(after).unwrap().get(b"a").unwrap().unwrap().value, "4");
    for within in [before + 1, before + 2, after + 1] {
        assert!(db.checkout(within).is_err(), "{within} is no version");
    }
}
