//! S43: a device comes back after a long time.

use multibee::Multibee;

use crate::devices::{Group, Kind, converge};
use crate::scenario;

const KEYS: usize = 8000;
const CHANGED: usize = 500;
const ROUNDS: usize = 200;

fn put_all(db: &Multibee, keys: impl Iterator<Item = usize>, value: &str) {
    let mut batch = db.batch();
    for key in keys {
        batch.put(format!("key/{key:05}"), value.to_owned());
    }
    batch.commit().unwrap();
}

/// B is off while A makes 100,000 changes to 500 of its keys. The work that B does then is bounded
/// by the keys that differ.
async fn run(kind: Kind, by_relay: bool) {
    let mut group = Group::new(kind, 3);
    let [a, c] = [0, 2].map(|number| group.db(number).clone());
    put_all(&a, 0..KEYS, "as it was");
    c.put("from C", "1").unwrap();
    let met = [group.link(0, 1).await, group.link(0, 2).await, group.link(1, 2).await];
    group.converge().await;
    let [ab, ac, bc] = met;
    ab.cut().await;
    bc.cut().await;
    group.restart(1).await;

    for round in 0..ROUNDS {
        put_all(&a, (0..CHANGED).map(|i| i * (KEYS / CHANGED)), &format!("changed {round}"));
    }
    converge(&[&a, &c]).await;
    ac.cut().await;
    let b = group.db(1).clone();
    let (near, near_number) = if by_relay { (&c, 2) } else { (&a, 0) };
    let _link = group.link(near_number, 1).await;
    converge(&[near, &b]).await;
    let read = b.status().unwrap().blocks_downloaded;
    assert!(read <= 10 * CHANGED as u64, "{read} blocks were read for {CHANGED} keys");
    let sync = b.sync_status();
    assert_eq!((sync.remaining, sync.fraction), (0, 1.0));
}

async fn by_the_author(kind: Kind) {
    run(kind, false).await;
}

/// C never writes: what B knew of it shows from no own commit.
async fn by_a_relay(kind: Kind) {
    run(kind, true).await;
}

scenario!(s43_a_dormant_device_reads_what_differs, by_the_author);
scenario!(s43_a_dormant_device_reads_it_of_a_relay, by_a_relay);
