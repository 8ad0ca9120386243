//! Copies and restored backups of a database's directory.

use std::sync::Arc;

use multibee::{Home, Multibee};

use crate::devices::{TestClock, contents, converge, link, options, put_files, text, until};

/// A copy of a directory becomes a device of its own as it is opened: it goes on from the data as it
/// was, the original goes on as well, and all that either writes is there in the end.
#[tokio::test]
async fn a_copy_is_another_device() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let clock = Arc::new(TestClock::new());
    let original = Multibee::create(Home::dir(at("one")), options(&clock)).unwrap();
    let other = Multibee::create(Home::dir(at("other")), options(&clock)).unwrap();
    original.add_replica(other.key()).unwrap();
    other.add_replica(original.key()).unwrap();
    original.put("shared", "before").unwrap();
    let met = link(&original, &other).await;
    converge(&[&original, &other]).await;
    met.cut().await;
    let key = original.key();
    original.close().await.unwrap();
    put_files(&at("one"), &at("copy"));

    let original = Multibee::open(Home::dir(at("one")), options(&clock)).unwrap();
    let copied = Multibee::open(Home::dir(at("copy")), options(&clock)).unwrap();
    assert_eq!((original.key(), original.device()), (key, original.device()));
    assert_ne!(copied.key(), key);
    assert_eq!(contents(&copied), contents(&original));
    original.put("by the original", "1").unwrap();
    copied.put("by the copy", "1").unwrap();
    copied.put("shared", "after").unwrap();
    let copied_key = copied.key();
    drop(copied);
    let copied = Multibee::open(Home::dir(at("copy")), options(&clock)).unwrap();
    assert_eq!(copied.key(), copied_key, "it moves once");

    // The others have known the original only; whoever learns that a copy goes on for it, goes on
    // in a fresh log, too.
    let _met = link(&copied, &other).await;
    converge(&[&copied, &other]).await;
    let _also = link(&original, &other).await;
    until(&original, "it has moved", || original.key() != key).await;
    converge(&[&copied, &other, &original]).await;
    for db in [&copied, &other, &original] {
        assert_eq!(text(db, "by the original"), Some("1".into()));
        assert_eq!(text(db, "by the copy"), Some("1".into()));
        assert_eq!(text(db, "shared"), Some("after".into()));
    }
}
