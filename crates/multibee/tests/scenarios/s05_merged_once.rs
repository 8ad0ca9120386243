//! S05: a device crashes around the moment at which a merge becomes durable.

use std::fs;
use std::path::Path;

use multibee::{Home, LogOptions, Multibee};

use crate::devices::{Group, Kind, converge, link, options, text};
use crate::s04_downloaded_not_merged::download;
use crate::scenario;

/// A count is merged once, whether the crash keeps the merge or takes it back; there is no state in
/// between, since data and progress are one commit.
async fn run(kind: Kind) {
    let mut group = Group::new(kind, 2);
    group.db(0).increment("k", 1).unwrap();
    let key_of_a = group.db(0).key();
    let (b, a) = (group.devices.pop().unwrap(), group.devices.pop().unwrap());
    a.db.close().await.unwrap();
    b.db.close().await.unwrap();
    {
        let primary_of_a = a.home.open_primary(LogOptions::default()).unwrap();
        let replica = b.home.replica(key_of_a, LogOptions::default()).unwrap();
        download(&primary_of_a, &replica);
    }
    let before = files(&b.home);

    // Merged, then crashed: what is durable is not merged again.
    let b_again = Multibee::open(b.home.clone(), options(&b.clock)).unwrap();
    assert_eq!(text(&b_again, "k"), Some("1".into()));
    let length = b_again.status().unwrap().length;
    b_again.close().await.unwrap();
    let b_again = Multibee::open(b.home.clone(), options(&b.clock)).unwrap();
    assert_eq!(text(&b_again, "k"), Some("1".into()));
    assert_eq!(b_again.status().unwrap().length, length, "no second version of the key");
    b_again.close().await.unwrap();

    // Merged, but the crash took the commit back: it is merged again, to the same end.
    if let (Home::Dir(path), Some(before)) = (&b.home, before) {
        for (name, bytes) in before {
            fs::write(path.join("primary").join(name), bytes).unwrap();
        }
    }
    let b_again = Multibee::adopt(b.home.clone(), options(&b.clock)).unwrap();
    assert_eq!(text(&b_again, "k"), Some("1".into()));
    assert_eq!(b_again.status().unwrap().length, length);

    let a_again = Multibee::open(a.home.clone(), options(&a.clock)).unwrap();
    let _link = link(&a_again, &b_again).await;
    converge(&[&a_again, &b_again]).await;
    b_again.increment("k", 1).unwrap();
    converge(&[&a_again, &b_again]).await;
    assert_eq!(text(&a_again, "k"), Some("2".into()));
    assert_eq!(a_again.increment("k", 1).unwrap(), 3);
}

/// The files of a device's own log, if it is on disk.
fn files(home: &Home) -> Option<Vec<(std::ffi::OsString, Vec<u8>)>> {
    let Home::Dir(path) = home else { return None };
    let entries = fs::read_dir(path.join("primary")).unwrap().map(|entry| entry.unwrap());
    let read = |path: &Path| fs::read(path).unwrap();
    Some(entries.map(|entry| (entry.file_name(), read(&entry.path()))).collect())
}

scenario!(s05_merged_once, run);
