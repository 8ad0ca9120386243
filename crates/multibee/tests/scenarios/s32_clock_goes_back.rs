//! S32: a device's clock goes back across a restart.

use multibee::{KeyPair, Log, LogOptions, Multibee};
use multibee_log::MemoryStorage;

use crate::devices::{Group, Kind, text};
use crate::scenario;

const NOW_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What the newest entry of the log is when the clock goes back.
#[derive(Clone, Copy, Debug)]
enum Newest {
    Put,
    Delete,
    Member,
}

fn write(db: &Multibee, newest: Newest) {
    match newest {
        Newest::Put => db.put("newest", "1").unwrap(),
        Newest::Delete => assert!(db.del("to delete").unwrap()),
        Newest::Member => {
            let keys = KeyPair::from_seed([99; 32]);
            let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
            db.add_replica(log.key()).unwrap();
        }
    }
}

/// Whatever the last entry before the restart was, the write after it has a later stamp than all
/// before, is not refused, and wins.
async fn run(kind: Kind) {
    for newest in [Newest::Put, Newest::Delete, Newest::Member] {
        let mut group = Group::new(kind, 2);
        group.db(0).put("to delete", "1").unwrap();
        group.db(0).put("k", "1").unwrap();
        write(group.db(0), newest);
        let keys = ["k", "to delete", "newest"];
        let times = |db: &Multibee| {
            let entries = keys.iter().filter_map(|key| db.get(key).unwrap());
            entries.map(|entry| entry.time).max().unwrap()
        };
        let before = times(group.db(0));

        group.devices[0].clock.set(NOW_MS - DAY_MS);
        group.restart(0).await;
        group.db(0).put("k", "2").unwrap();
        group.db(0).put("fresh", "1").unwrap();
        let stamp = |key: &str| group.db(0).get(key).unwrap().unwrap().time;
        assert!(before < stamp("k") && stamp("k") < stamp("fresh"), "{newest:?}");

        group.link(0, 1).await;
        group.converge().await;
        for number in 0..2 {
            assert_eq!(text(group.db(number), "k"), Some("2".into()), "{newest:?}");
            assert!(group.db(number).conflicts().unwrap().is_empty());
        }
    }
}

scenario!(s32_the_clock_goes_back_across_a_restart, run);
