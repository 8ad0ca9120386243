//! S21: each read-change-write is a new version.

use multibee::{Multibee, Time};

use crate::devices::{Group, Kind, text, versions};
use crate::scenario;

/// The stamps of a key in the history of a device, oldest first.
fn stamps(db: &Multibee, key: &str) -> Vec<Time> {
    let mut stamps = Vec::new();
    for version in 1..=db.view().unwrap().version() {
        let Ok(view) = db.checkout(version) else { continue };
        let time = view.get(key.as_bytes()).unwrap().map(|entry| entry.time);
        stamps.extend(time.filter(|time| stamps.last() != Some(time)));
    }
    stamps
}

/// Puts the value and changes it five times, each time from what was read. The clock stands still.
fn edit(db: &Multibee) {
    db.put("k", "0").unwrap();
    for _ in 0..5 {
        let read: u32 = text(db, "k").unwrap().parse().unwrap();
        db.put("k", (read + 1).to_string()).unwrap();
    }
}

/// Six edits in one tick are six versions with growing stamps. An edit on another device, between
/// the second and the third of them by its stamp, loses to the last one; one behind the last wins.
async fn run(kind: Kind) {
    for (place, wins) in [(2, false), (6, true)] {
        let group = Group::new(kind, 2);
        let (a, b) = (group.db(0), group.db(1));
        edit(a);
        let stamps = stamps(a, "k");
        assert_eq!(stamps.len(), 6);
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");

        // B's clock stands still, too: as many writes as A made bring it to the same counter. Its
        // stamp is then equal to A's at that place, or right before it, by which the ids decide.
        let before = if b.device() > a.device() { place - 1 } else { place };
        for number in 0..before {
            b.put(format!("other/{number}"), "1").unwrap();
        }
        b.put("k", "from B").unwrap();
        let time = b.get("k").unwrap().unwrap().time;
        let order = |time: Time, db: &Multibee| (time, db.device());
        let earlier = stamps.iter().filter(|stamp| order(**stamp, a) < order(time, b)).count();
        assert_eq!(earlier, place, "B's edit is where it should be among A's");

        group.link(0, 1).await;
        group.converge().await;
        let expected = if wins { "from B" } else { "5" };
        for db in [a, b] {
            assert_eq!(text(db, "k").as_deref(), Some(expected));
            assert_eq!(versions(db, "k").len(), 2, "the other one is listed");
        }
    }
}

scenario!(s21_read_change_write_makes_a_new_version, run);
