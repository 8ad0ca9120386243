//! S31: a device from the future.

use multibee::{Event, LogKey, Rule};
use tokio::sync::broadcast::Receiver;

use crate::devices::{Group, Kind, converge, text};
use crate::scenario;

const NOW_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 60 * 60 * 1000;
const TEN_YEARS_MS: u64 = 10 * 365 * 24 * HOUR_MS;

/// The devices whose clocks were said to be ahead, and by how much.
fn ahead(events: &mut Receiver<Event>) -> Vec<(LogKey, u64)> {
    std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event {
            Event::ClockAhead { device, by_ms } => Some((device, by_ms)),
            _ => None,
        })
        .collect()
}

/// One write ten years ahead is merged, reported, and superseded by whoever saw it. It makes no
/// other write look late: of two devices that then write another key at once, one of which merged
/// it, the one wins whose right clock says later.
async fn run(kind: Kind) {
    for (saw, did_not) in [(1, 2), (2, 1)] {
        let group = Group::new(kind, 3);
        let a = group.db(0);
        let (mut told, mut told_self) = (group.db(saw).events(), a.events());
        group.devices[0].clock.set(NOW_MS + TEN_YEARS_MS);
        a.put("k", "from the future").unwrap();
        group.devices[0].clock.set(NOW_MS);
        a.put("after", "corrected").unwrap();

        let met = group.link(0, saw).await;
        converge(&[a, group.db(saw)]).await;
        assert_eq!(text(group.db(saw), "k"), Some("from the future".into()));
        for events in [&mut told, &mut told_self] {
            let said = ahead(events);
            let is_said = said.iter().any(|(device, by_ms)| {
                *device == a.key() && by_ms.abs_diff(TEN_YEARS_MS) < HOUR_MS
            });
            assert!(is_said, "who is ahead, and by how much: {said:?}");
        }
        group.db(saw).put("k", "superseded").unwrap();

        // Both right clocks go on; whoever did not merge A's write is an hour later.
        group.db(saw).put("k2", "earlier").unwrap();
        group.devices[did_not].clock.set(NOW_MS + HOUR_MS);
        group.db(did_not).put("k2", "later").unwrap();

        let _links = [met, group.link(saw, did_not).await];
        group.converge().await;
        for device in &group.devices {
            assert_eq!(text(&device.db, "k"), Some("superseded".into()));
            assert_eq!(text(&device.db, "after"), Some("corrected".into()), "at once");
            assert_eq!(text(&device.db, "k2"), Some("later".into()));
        }
        // No write is refused or delayed, whoever's clock is wrong.
        for (number, device) in group.devices.iter().enumerate() {
            device.db.put("k", format!("by {number}")).unwrap();
            assert_eq!(text(&device.db, "k"), Some(format!("by {number}")));
        }
    }
}

scenario!(s31_a_device_from_the_future, run);

/// What supersedes a write, a delete or a rule from the future is later than that, and leaves the
/// clock of its author where it was, also when the author starts anew.
async fn start_anew(kind: Kind) {
    for what in ["put", "delete", "rule"] {
        let mut group = Group::new(kind, 2);
        let (a, b) = (group.db(0), group.db(1));
        a.put("k", "before").unwrap();
        group.devices[0].clock.set(NOW_MS + TEN_YEARS_MS);
        match what {
            "put" => a.put("k", "from the future").unwrap(),
            "delete" => assert!(a.del("k").unwrap()),
            _ => a.set_rule("k", Rule::strategy("keep-all")).unwrap(),
        }
        let met = group.link(0, 1).await;
        converge(&[a, b]).await;
        met.cut().await;
        match what {
            "rule" => b.set_rule("k", Rule::strategy("delete-wins")).unwrap(),
            _ => b.put("k", "superseded").unwrap(),
        }

        group.restart(1).await;
        group.db(1).put("other", "now").unwrap();
        let written = group.db(1).get("other").unwrap().unwrap();
        assert!(written.time.millis() < NOW_MS + HOUR_MS, "{what}: {:?}", written.time);
    }
}

scenario!(s31_whoever_saw_the_future_starts_anew, start_anew);
