//! What devices are called, and what they may do.

use multibee::{AddOptions, Device, DeviceRole, Error, Multibee};

use crate::devices::{Group, Kind, converge, text, until};
use crate::scenario;

fn seen(by: &Multibee, of: &Multibee) -> Device {
    by.devices().unwrap().into_iter().find(|device| device.key == of.key()).unwrap()
}

/// B may read only, and has written before it was told so. It is admitted by A, and by C through A.
fn with_reader(kind: Kind) -> Group {
    let group = Group::strangers(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    b.put("early", "1").unwrap();
    let role = DeviceRole::ReadOnly;
    a.add_with(b.key(), AddOptions { role, name: Some("reader".into()) }).unwrap();
    a.add_replica(c.key()).unwrap();
    // Whoever admits first founds the database.
    for number in [1, 2] {
        group.devices[number].clock.move_by(1000);
        group.db(number).add_replica(a.key()).unwrap();
    }
    group
}

/// A device that may only read refuses writes, and nobody takes any from it; but it reads all, and
/// passes on what others wrote.
async fn read_only(kind: Kind) {
    let group = with_reader(kind);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    a.put("of a", "1").unwrap();
    let link = group.link(0, 1).await;
    until(b, "B reads", || text(b, "of a").is_some()).await;
    assert!(matches!(b.put("late", "1"), Err(Error::ReadOnly { key }) if key == b.key()));
    until(a, "A sees what B did", || seen(a, b).stuck.is_some()).await;
    link.cut().await;
    c.add_with(b.key(), AddOptions { role: DeviceRole::ReadOnly, name: None }).unwrap();
    let link = group.link(1, 2).await;
    until(c, "B passes on", || text(c, "of a").is_some()).await;
    for db in [a, c] {
        assert_eq!(text(db, "early"), None);
        assert_eq!(seen(db, b).role, DeviceRole::ReadOnly);
        assert_eq!(seen(db, b).name.as_deref(), Some("reader"));
    }
    link.cut().await;
}

scenario!(a_reader_reads_and_passes_on, read_only);

/// A reader that may write from now on loses nothing of what it wrote before.
async fn promoted(kind: Kind) {
    let group = with_reader(kind);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    let _links = [group.link(0, 1).await, group.link(0, 2).await];
    until(a, "A sees what B did", || seen(a, b).stuck.is_some()).await;
    a.add_with(b.key(), AddOptions { role: DeviceRole::Mirror, name: None }).unwrap();
    until(b, "B may write", || seen(b, b).role == DeviceRole::Mirror).await;
    b.put("late", "1").unwrap();
    converge(&[a, b, c]).await;
    assert_eq!((text(c, "early"), text(c, "late")), (Some("1".into()), Some("1".into())));
    assert_eq!(seen(c, b).role, DeviceRole::Mirror);
    assert_eq!(seen(c, b).name.as_deref(), Some("reader"));
    assert_eq!(seen(a, b).stuck, None);
    // None allows less, once given.
    a.add_replica(b.key()).unwrap();
    assert_eq!(seen(a, b).role, DeviceRole::Mirror);
}

scenario!(a_reader_may_be_allowed_to_write, promoted);

/// A name given on one device is the name everywhere; the last one counts.
async fn names(kind: Kind) {
    let group = Group::new(kind, 2);
    let (a, b) = (group.db(0), group.db(1));
    a.rename(&b.key(), "phone").unwrap();
    group.devices[1].clock.move_by(1000);
    b.rename(&b.key(), "my phone").unwrap();
    b.rename(&a.key(), "laptop").unwrap();
    let _link = group.link(0, 1).await;
    group.converge().await;
    for db in [a, b] {
        let named = |of| seen(db, of).name;
        assert_eq!((named(a), named(b)), (Some("laptop".into()), Some("my phone".into())));
    }
    let long = "x".repeat(257);
    assert!(matches!(a.rename(&b.key(), long), Err(Error::NameTooLong { len: 257 })));
    let stranger = multibee::LogKey::from_bytes([7; 32]);
    assert!(matches!(a.rename(&stranger, "who"), Err(Error::UnknownDevice { .. })));
}

scenario!(names_are_the_same_everywhere, names);

/// A device that stayed away too long takes part no more; who had seen more of it shares that.
async fn absentee(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    b.put("early", "1").unwrap();
    let link = group.link(1, 2).await;
    converge(&[b, c]).await;
    link.cut().await;
    assert!(seen(c, b).wrote_ms.is_some_and(|ms| ms >= 1_700_000_000_000));
    a.retire(&b.key()).unwrap();
    assert!(matches!(a.retire(&b.key()), Err(Error::Removed { .. })));
    let _link = group.link(0, 2).await;
    converge(&[a, c]).await;
    for db in [a, c] {
        let device = seen(db, b);
        assert!(device.retired && !device.removed && !device.is_active());
        assert_eq!(text(db, "early"), Some("1".into()));
    }
}

scenario!(an_absentee_is_waited_for_no_longer, absentee);

/// Removing a device that has moved removes every log of it; whoever has it has all their keys.
async fn every_log(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    let first = b.key();
    b.compact(|_| {}).unwrap();
    b.put("moved", "1").unwrap();
    let links = [group.link(0, 1).await, group.link(0, 2).await];
    converge(&[a, b, c]).await;
    assert!(a.devices().unwrap().iter().any(|device| {
        device.key == first && device.retired && device.successor == Some(b.key())
    }));
    assert!(matches!(b.remove_replica(&first), Err(Error::OwnKey { .. })));
    a.remove_replica(&b.key()).unwrap();
    until(c, "C knows", || seen(c, b).removed).await;
    for db in [a, c] {
        let gone = db.devices().unwrap().into_iter().filter(|device| device.removed);
        assert_eq!(gone.filter(|device| device.removed_by == Some(a.key())).count(), 2);
        assert_eq!(text(db, "moved"), Some("1".into()));
    }
    drop(links);
}

scenario!(a_device_is_removed_with_all_its_logs, every_log);
