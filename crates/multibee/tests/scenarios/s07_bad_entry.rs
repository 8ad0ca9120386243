//! S07: one entry that can't be read does not stop the rest.

use std::sync::Arc;

use bytes::Bytes;
use multibee::{
    Dot, FIRST_USER_KIND, MergeType, Options, Rule, StateError, Strategies, Time, Types, WriteError,
};

use crate::devices::{Group, Kind, text, versions};
use crate::scenario;

/// A type that only some programs know: the longest text ever put.
struct Longest;

impl MergeType for Longest {
    fn kind(&self) -> u32 {
        FIRST_USER_KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        Ok(Bytes::copy_from_slice(state))
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        Ok(Bytes::copy_from_slice(if (a.len(), a) > (b.len(), b) { a } else { b }))
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        _dot: Dot,
        _time: Time,
    ) -> Result<Bytes, WriteError> {
        Ok(self.join(base.unwrap_or_default(), value)?)
    }

    fn delete(&self, _base: Option<&[u8]>, _dot: Dot) -> Result<Bytes, StateError> {
        Ok(Bytes::new())
    }
}

fn knowing(options: Options) -> Options {
    let mut types = Types::standard();
    types.register(Arc::new(Longest)).unwrap();
    Options { types, ..options }
}

/// Entries 1-3 and 5-10 are merged, entry 4 is listed with author, position and reason. Nothing is
/// merged again while nothing comes. After an upgrade it is there, without its author.
async fn run(kind: Kind) {
    let mut group = Group::new(kind, 2);
    group.restart_as(0, knowing).await;
    let a = group.db(0).clone();
    for i in 1..=10 {
        match i {
            4 => a.put_typed("4", FIRST_USER_KIND, "longest").unwrap(),
            _ => a.put(i.to_string(), "v").unwrap(),
        }
    }
    let position = a.get("4").unwrap().unwrap().seq;
    let link = group.link(0, 1).await;
    group_converges(&group).await;

    let b = group.db(1);
    for i in 1..=10 {
        assert_eq!(text(b, &i.to_string()).is_some(), i != 4, "{i}");
    }
    let listed = b.not_merged().unwrap();
    assert_eq!((listed.len(), listed[0].key.as_ref()), (1, b"4".as_ref()));
    assert_eq!(listed[0].dot, Dot { device: a.device(), seq: position });
    assert!(listed[0].reason.contains("not known"), "{}", listed[0].reason);
    let status = b.status().unwrap();
    assert_eq!((status.not_merged, status.remaining), (1, 0));
    assert!(status.devices.iter().all(|device| device.stuck.is_none()));
    assert_eq!(a.digest(), b.digest(), "it counts, though it is not shown");

    // Opened again by the same program, nothing is written.
    let length = status.length;
    link.cut().await;
    group.restart(1).await;
    assert_eq!(group.db(1).status().unwrap().length, length);

    let clock = group.db(1).status().unwrap().clock;
    group.restart_as(1, knowing).await;
    let b = group.db(1);
    assert_eq!(text(b, "4"), Some("longest".into()));
    assert!(b.not_merged().unwrap().is_empty());
    assert!(b.status().unwrap().clock.same_lengths(&clock), "an upgrade is no news");
    b.verify().unwrap();
    b.put_typed("4", FIRST_USER_KIND, "longer than longest").unwrap();
    drop(a);
    let _link = group.link(0, 1).await;
    group_converges(&group).await;
    assert_eq!(text(group.db(0), "4"), Some("longer than longest".into()));
}

/// Clocks and digests are equal. What is shown need not be, while programs differ.
async fn group_converges(group: &Group) {
    let (a, b) = (group.db(0), group.db(1));
    let mut changes = [a.changes(), b.changes()];
    let same = async {
        loop {
            let clock = |db: &multibee::Multibee| db.status().unwrap().clock;
            changes.iter_mut().for_each(|change| drop(change.borrow_and_update()));
            if clock(a).same_lengths(&clock(b)) {
                return;
            }
            let [one, other] = &mut changes;
            tokio::select! {
                changed = one.changed() => changed.unwrap(),
                changed = other.changed() => changed.unwrap(),
            }
        }
    };
    tokio::time::timeout(crate::devices::PATIENCE, same).await.expect("both in sync in time");
    assert_eq!(a.digest(), b.digest());
    a.verify().unwrap();
    b.verify().unwrap();
}

scenario!(s07_one_bad_entry_does_not_stop_the_rest, run);

/// What can't be read stands beside what can, hides nothing, is a conflict, and goes with the next
/// put, as all that a device has seen does.
async fn beside_others(kind: Kind) {
    let mut group = Group::new(kind, 2);
    group.restart_as(0, knowing).await;
    group.db(0).put_typed("k", FIRST_USER_KIND, "unknown to b").unwrap();
    group.db(1).put("k", "plain").unwrap();
    let link = group.link(0, 1).await;
    group_converges(&group).await;
    let b = group.db(1);
    assert_eq!(text(b, "k"), Some("plain".into()));
    assert_eq!(b.not_merged().unwrap().len(), 1);
    assert_eq!(versions(b, "k").len(), 2);
    b.put("k", "settled").unwrap();
    group_converges(&group).await;
    for db in [group.db(0), group.db(1)] {
        assert_eq!(text(db, "k"), Some("settled".into()));
        assert!(db.conflicts().unwrap().is_empty() && db.not_merged().unwrap().is_empty());
    }
    drop(link);
}

scenario!(s07_beside_others, beside_others);

/// Of a key that shows nothing, a delete is heard of by others, too.
async fn hidden_deletes(kind: Kind) {
    let mut group = Group::new(kind, 2);
    group.restart_as(0, knowing).await;
    group.db(0).put_typed("k", FIRST_USER_KIND, "unknown to b").unwrap();
    let _link = group.link(0, 1).await;
    group_converges(&group).await;
    assert!(group.db(1).del("k").unwrap(), "something was there, if not shown");
    assert!(!group.db(1).del("k").unwrap());
    group_converges(&group).await;
    assert_eq!(text(group.db(0), "k"), None);
    assert!(group.db(1).not_merged().unwrap().is_empty());

    // So it is with what delete-wins hides.
    group.db(0).set_rule("", Rule::strategy(Strategies::DELETE_WINS)).unwrap();
    group.db(0).put("w", "1").unwrap();
    group_converges(&group).await;
}

scenario!(s07_deletes_of_what_is_not_shown, hidden_deletes);
