//! S51: remove one device, add another one.

use multibee::{Error, Home, KeyPair, Multibee, Options};

use crate::devices::{Group, Kind, contents, link, options, text, until};
use crate::scenario;

/// Logs are not mixed up when one device goes and another one comes. The one that went may come back
/// with a new key; what it wrote meanwhile comes along if its user writes it there.
async fn remove_and_add(kind: Kind) {
    let mut group = Group::strangers(kind, 4);
    for other in [1, 2] {
        group.db(0).add_replica(group.db(other).key()).unwrap();
        group.db(other).add_replica(group.db(0).key()).unwrap();
        group.db(other).put(format!("of {other}"), other.to_string()).unwrap();
        let link = group.link(0, other).await;
        group.converge_pair(0, other).await;
        link.cut().await;
    }
    let b_key = group.db(1).key();
    group.db(0).remove_replica(&b_key).unwrap();
    group.db(0).add_replica(group.db(3).key()).unwrap();
    group.db(3).add_replica(group.db(0).key()).unwrap();
    group.restart(0).await;
    for other in [2, 3] {
        group.db(other).put(format!("since of {other}"), other.to_string()).unwrap();
        let link = group.link(other, 0).await;
        group.converge_pair(0, other).await;
        link.cut().await;
    }
    for (key, value) in [("of 1", "1"), ("of 2", "2"), ("since of 2", "2"), ("since of 3", "3")] {
        assert_eq!(text(group.db(0), key).as_deref(), Some(value), "{key}");
    }

    group.db(1).put("meanwhile", "1").unwrap();
    let told = group.link(1, 0).await;
    until(group.db(1), "B is told", || group.db(1).unmerged().unwrap().len() == 1).await;
    told.cut().await;
    assert!(matches!(group.db(0).add_replica(b_key), Err(Error::Removed { .. })));
    comes_back(&group).await;
}

/// B, as a device of another key.
async fn comes_back(group: &Group) {
    let (a, b) = (group.db(0), group.db(1));
    let keys = Some(KeyPair::from_seed([99; 32]));
    let again = Options { keys, ..options(&group.devices[1].clock) };
    let again = Multibee::create(Home::memory(), again).unwrap();
    a.add_replica(again.key()).unwrap();
    again.add_replica(a.key()).unwrap();
    let _link = link(&again, a).await;
    crate::devices::converge(&[a, &again]).await;
    assert_eq!(text(a, "meanwhile"), None, "unless its user wants it");
    for one in b.unmerged().unwrap() {
        match one.value {
            Some(value) => again.put(one.key, value).unwrap(),
            None => drop(again.del(one.key).unwrap()),
        }
    }
    crate::devices::converge(&[a, &again]).await;
    assert_eq!(text(a, "meanwhile"), Some("1".into()));
    assert_eq!(contents(a).len(), 5);
}

scenario!(s51_remove_one_add_another, remove_and_add);
