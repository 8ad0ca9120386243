//! S62: a relay that has cleared what it passes on.

use multibee::{HoldReason, ReclaimOptions};

use crate::devices::{Group, Kind, converge, text};
use crate::scenario;

/// C cleared its copy of A's log before B asked for it. B never meets A, and gets all that is alive
/// through C. What comes later is passed on as always.
async fn run(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    for i in 0..100 {
        a.put(format!("key/{i}"), "1").unwrap();
    }
    (0..50).for_each(|i| assert!(a.del(format!("key/{i}")).unwrap()));
    b.put("from B", "1").unwrap();
    let ac = group.link(0, 2).await;
    converge(&[&a, &c]).await;

    // B may lack it, so it stays, unless C's user wants the room.
    let mut options = ReclaimOptions::default();
    let report = c.reclaim(&options).unwrap();
    let lacking = |device, reason| (device, reason) == (Some(b.key()), HoldReason::NotSeen);
    let held_back = report.replica_blocks.held_back.iter().chain(&report.tombstones.held_back);
    assert!(held_back.clone().any(|one| lacking(one.device, one.reason)), "{report:?}");
    assert_eq!((report.replica_blocks.count, report.tombstones.count), (0, 0));
    options.even_for_others = true;
    let report = c.reclaim(&options).unwrap();
    assert!(report.replica_blocks.count >= 100, "{report:?}");
    assert_eq!(report.tombstones.count, 0, "deletes are remembered for B all the same");

    let _bc = group.link(1, 2).await;
    converge(&[&b, &c]).await;
    assert_eq!(b.verify().unwrap().keys, 51);
    assert_eq!(b.get("key/99").unwrap().unwrap().device, a.device());
    a.put("later", "1").unwrap();
    group.converge().await;
    ac.cut().await;
    assert_eq!(text(&b, "later"), Some("1".into()));
    assert_eq!(text(&a, "from B"), Some("1".into()));
}

scenario!(s62_clear_on_a_relay, run);

/// C clears while B is downloading through it: B gets the rest otherwise.
async fn meanwhile(kind: Kind) {
    let group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    for i in 0..300 {
        a.put(format!("key/{i}"), "1".repeat(1000)).unwrap();
    }
    let ac = group.link(0, 2).await;
    converge(&[&a, &c]).await;
    ac.cut().await;
    let mut options = ReclaimOptions::default();
    options.even_for_others = true;
    let bc = group.link(1, 2).await;
    let clearing = {
        let c = c.clone();
        tokio::task::spawn_blocking(move || c.reclaim(&options))
    };
    clearing.await.unwrap().unwrap();
    converge(&[&b, &c]).await;
    assert_eq!(b.verify().unwrap().keys, 300);
    bc.cut().await;
}

scenario!(s62_clear_while_a_relay_is_read, meanwhile);

/// A deleted key is forgotten once every member is known to have seen the delete. Until then the report
/// names who is not. A never meets B again, and is told nothing by it: what B wrote later, and C passed
/// on, says what B had seen, also after a restart. Nothing comes back.
async fn known_by_its_log(kind: Kind) {
    let mut group = Group::new(kind, 3);
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number).clone());
    a.put("k", "1").unwrap();
    b.put("own", "1").unwrap();
    let links = [group.link(0, 2).await, group.link(1, 2).await];
    group.converge().await;
    let [ac, bc] = links;
    bc.cut().await;
    a.del("k").unwrap();
    converge(&[&a, &c]).await;
    let options = ReclaimOptions::default();
    let report = a.reclaim(&options).unwrap().tombstones;
    assert_eq!((report.count, report.held_back.len()), (0, 1));
    assert_eq!(report.held_back[0].device, Some(b.key()), "{report:?}");

    let _bc = group.link(1, 2).await;
    converge(&[&b, &c]).await;
    b.put("later", "1").unwrap();
    group.converge().await;
    ac.cut().await;
    drop(a);
    group.restart(0).await;
    let a = group.db(0).clone();
    let report = a.reclaim(&options).unwrap().tombstones;
    // Of C, who was connected and wrote nothing of its own, it may not be known.
    assert!(report.held_back.iter().all(|one| one.device == Some(c.key())), "{report:?}");
    let before = report.count;
    let _ac = group.link(0, 2).await;
    let forgotten = async {
        let mut changes = a.changes();
        while before + a.reclaim(&options).unwrap().tombstones.count == 0 {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(crate::devices::PATIENCE, forgotten).await.unwrap();
    assert_eq!(a.reclaim(&options).unwrap().tombstones, multibee::Reclaimed::default());
    b.put("later", "2").unwrap();
    group.converge().await;
    assert_eq!(text(&a, "k"), None);
    a.put("k", "again").unwrap();
    group.converge().await;
    assert_eq!(text(&b, "k"), Some("again".into()));
}

scenario!(s62_a_delete_is_forgotten_by_word_of_a_log, known_by_its_log);
