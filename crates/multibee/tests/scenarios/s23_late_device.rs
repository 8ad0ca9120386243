//! S23: a delete is not undone by a device that comes late.

use crate::devices::{Group, Kind, contents, text};
use crate::scenario;

/// A device that was away while a key was deleted brings the old copy back to nobody, whoever it
/// meets first, and although it has written something else meanwhile.
async fn run(kind: Kind) {
    for meets in [0, 1] {
        let mut group = Group::new(kind, 3);
        group.db(0).put("k", "1").unwrap();
        let links = [group.link(0, 1).await, group.link(1, 2).await];
        group.converge().await;
        let [a_and_b, b_and_c] = links;
        b_and_c.cut().await;

        assert!(group.db(0).del("k").unwrap());
        group.db(2).put("other", "from C").unwrap();
        crate::devices::converge(&[group.db(0), group.db(1)]).await;
        a_and_b.cut().await;
        assert_eq!(text(group.db(2), "k"), Some("1".into()), "C does not know yet");
        group.restart(2).await;

        let met = group.link(2, meets).await;
        crate::devices::converge(&[group.db(2), group.db(meets)]).await;
        assert_eq!(text(group.db(2), "k"), None);
        let _links = [met, group.link(0, 1).await];
        group.converge().await;
        for device in &group.devices {
            assert_eq!(contents(&device.db), [("other".into(), "from C".into())]);
            assert!(device.db.conflicts().unwrap().is_empty());
        }
    }
}

scenario!(s23_a_delete_is_not_undone_by_a_late_device, run);
