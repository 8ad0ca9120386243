//! S04: a device crashes when it has downloaded a change and not merged it.

use multibee::{Log, LogOptions, Multibee};
use multibee_log::{Request, RequestBlock, RequestUpgrade};

use crate::devices::{Group, Kind, options, text};
use crate::scenario;

/// Copies a log block by block, each proven, as a download does.
pub(crate) fn download(from: &Log, to: &Log) {
    let upgrade = RequestUpgrade { start: to.len(), length: from.len() - to.len() };
    let request = Request { upgrade: Some(upgrade), manifest: true, ..Request::default() };
    to.apply(&from.prove(&request).unwrap()).unwrap();
    for index in 0..from.len() {
        let block = RequestBlock { index, nodes: to.missing_nodes(2 * index).unwrap() };
        let request = Request { block: Some(block), ..Request::default() };
        to.apply(&from.prove(&request).unwrap()).unwrap();
    }
}

/// Reopened with no link, it merges what it has; later, nothing is downloaded again.
async fn run(kind: Kind) {
    let mut group = Group::new(kind, 2);
    group.db(0).put("k", "1").unwrap();
    let key_of_a = group.db(0).key();
    let (b, a) = (group.devices.pop().unwrap(), group.devices.pop().unwrap());
    a.db.close().await.unwrap();
    b.db.close().await.unwrap();

    // What a download leaves behind when the process dies before merging.
    let downloaded = {
        let primary_of_a = a.home.open_primary(LogOptions::default()).unwrap();
        let replica = b.home.replica(key_of_a, LogOptions::default()).unwrap();
        download(&primary_of_a, &replica);
        replica.len()
    };

    let b_again = Multibee::open(b.home.clone(), options(&b.clock)).unwrap();
    assert_eq!(text(&b_again, "k"), Some("1".into()), "merged without a link");

    let a_again = Multibee::open(a.home.clone(), options(&a.clock)).unwrap();
    let _link = crate::devices::link(&a_again, &b_again).await;
    crate::devices::converge(&[&a_again, &b_again]).await;
    // What the first device has written since may have come.
    let new = a_again.status().unwrap().length - downloaded;
    let came = b_again.status().unwrap().blocks_downloaded;
    assert!(came <= new, "nothing comes twice: {came} blocks came, {new} are new");
}

scenario!(s04_downloaded_but_not_merged_then_crash, run);

/// A device that restarts in the midst of everything goes on where it was.
async fn restarts(kind: Kind) {
    let mut group = Group::new(kind, 2);
    for round in 0..5 {
        for i in 0..50 {
            group.db(0).put(format!("{round}/{i}"), "a").unwrap();
        }
        let link = group.link(0, 1).await;
        if round % 2 == 0 {
            group.converge().await;
        }
        link.cut().await;
        group.restart(1).await;
        group.restart(0).await;
    }
    group.link(0, 1).await;
    group.converge().await;
    assert_eq!(group.db(1).verify().unwrap().keys, 250);
}

scenario!(s04_restarts_resume, restarts);
