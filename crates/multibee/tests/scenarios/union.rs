//! Reading several devices' data as one, without merging.

use multibee::{LogKey, Multibee, RangeSpec, Union, UnionEntry};

use crate::devices::{Device, Group, Kind, PATIENCE, link, until};
use crate::scenario;

async fn all(union: &Union, spec: RangeSpec) -> Vec<UnionEntry> {
    let mut range = union.range(spec);
    let mut entries = Vec::new();
    while let Some(entry) = range.next().await.unwrap() {
        entries.push(entry);
    }
    entries
}

/// What a device shows, as a union would.
fn shown(db: &Multibee, spec: RangeSpec) -> Vec<UnionEntry> {
    let entries = db.range(spec).unwrap().map(|entry| {
        let multibee::Entry { key, value, kind, device, time, conflicts, .. } = entry.unwrap();
        UnionEntry { key, value, kind, device, time, conflicts }
    });
    entries.collect()
}

fn keys(devices: &[Device]) -> Vec<LogKey> {
    devices.iter().map(|device| device.db.key()).collect()
}

/// Puts, deletes, conflicts, keys that look like records: some before the devices have met, some
/// after.
fn write(group: &Group, round: u64) {
    for (number, device) in group.devices.iter().enumerate() {
        device.clock.set(1_700_000_000_000 + round * 1000 + number as u64);
        for i in 0..30 {
            device.db.put(format!("{number}/{round}/{i:02}"), "value").unwrap();
        }
        device.db.put("same", format!("{number} in {round}")).unwrap();
        device.db.put([0xff, b't'], format!("{number}")).unwrap();
        if round > 0 {
            device.db.del(format!("0/0/{:02}", number * 3)).unwrap();
            device.db.del(format!("{number}/0/29")).unwrap();
            device.db.put("0/0/00", "edited").unwrap();
        }
    }
}

/// What a union of all devices shows is what each of them shows once they have merged each other's
/// writes: before that is done, and after, forwards, backwards, by parts and by key.
async fn oracle(kind: Kind) {
    let group = Group::new(kind, 3);
    write(&group, 0);
    let links = [group.link(0, 1).await, group.link(1, 2).await, group.link(0, 2).await];
    group.converge().await;
    for link in links {
        link.cut().await;
    }
    write(&group, 1);
    let _links = [group.link(0, 1).await, group.link(0, 2).await, group.link(1, 2).await];
    group.converge().await;

    let specs = [
        RangeSpec::default(),
        RangeSpec { reverse: true, ..RangeSpec::default() },
        RangeSpec::prefix(b"1/"),
        RangeSpec { gt: Some("1/0/03".into()), limit: Some(7), ..RangeSpec::default() },
    ];
    for device in &group.devices {
        let union = device.db.union(&keys(&group.devices)).await.unwrap();
        for spec in &specs {
            let expected = shown(&device.db, spec.clone());
            assert_eq!(all(&union, spec.clone()).await, expected);
        }
        for entry in shown(&device.db, RangeSpec::default()) {
            assert_eq!(union.get(&entry.key).await.unwrap(), Some(entry));
        }
        assert_eq!(union.get("0/0/03").await.unwrap(), None, "deleted");
        assert_eq!(union.get("never").await.unwrap(), None);
    }
}

scenario!(a_union_of_all_devices_shows_what_merging_shows, oracle);

/// A union holds still: what is written or merged later does not show in it.
async fn holds_still(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    a.put("k", "1").unwrap();
    let _link = group.link(0, 1).await;
    group.converge().await;
    let union = b.union(&[a.key()]).await.unwrap();
    let before = all(&union, RangeSpec::default()).await;
    a.put("k", "2").unwrap();
    a.put("new", "1").unwrap();
    group.converge().await;
    assert_eq!(all(&union, RangeSpec::default()).await, before);
    assert_eq!(union.versions().count(), 2);
}

scenario!(a_union_holds_still, holds_still);

/// What one device holds of others is enough: only it is asked, and its own primary says all.
async fn through_a_peer(kind: Kind) {
    let group = Group::new(kind, 3);
    group.db(0).put("k", "from A").unwrap();
    let met = group.link(0, 1).await;
    crate::devices::converge(&[group.db(0), group.db(1)]).await;
    met.cut().await;
    let _link = link(group.db(1), group.db(2)).await;
    until(group.db(2), "B's news is known", || group.db(2).get("k").unwrap().is_some()).await;
    let union = group.db(2).union(&[group.db(1).key()]).await.unwrap();
    let entry = union.get("k").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.device), ("from A".into(), group.db(0).device()));
}

scenario!(a_union_reads_what_a_peer_has_merged, through_a_peer);

/// Of whom nothing is known is waited for.
async fn who_is_not_there(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, key) = (group.db(0).clone(), group.db(1).key());
    let waiting = tokio::spawn(async move { a.union(&[key]).await.map(|_| ()) });
    assert!(!waiting.is_finished());
    let _link = group.link(0, 1).await;
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
}

scenario!(a_union_waits_for_whom_it_knows, who_is_not_there);
