//! S61: a device clears what it holds of another one's log while more of it arrives.

use std::sync::Arc;
use std::time::Instant;

use multibee::{ByHand, Multibee, Options, ReclaimOptions, Role};

use crate::devices::{Group, Kind, TestClock, converge, options};
use crate::scenario;

/// A writes all the time, in commits of one and of many, while B clears again and again. Nothing is
/// lost, nobody complains, and B goes on following.
async fn run(kind: Kind) {
    let group = Group::new(kind, 2);
    let [a, b] = [0, 1].map(|number| group.db(number).clone());
    let mut events = b.events();
    let _link = group.link(0, 1).await;
    let writer = {
        let a = a.clone();
        tokio::task::spawn_blocking(move || {
            for i in 0..400 {
                a.put(format!("single/{i}"), "1").unwrap();
                if i % 20 == 0 {
                    let mut batch = a.batch();
                    (0..50).for_each(|n| {
                        batch.put(format!("many/{i}/{n}"), "1");
                    });
                    batch.commit().unwrap();
                    a.del(format!("many/{i}/0")).unwrap();
                }
            }
        })
    };
    let mut cleared = 0;
    while !writer.is_finished() || cleared == 0 {
        let b = b.clone();
        let reclaiming = tokio::task::spawn_blocking(move || b.reclaim(&ReclaimOptions::default()));
        cleared += reclaiming.await.unwrap().unwrap().replica_blocks.count;
    }
    writer.await.unwrap();
    group.converge().await;
    assert_eq!(b.verify().unwrap().keys, 400 + 20 * 49);
    b.reclaim(&ReclaimOptions::default()).unwrap();
    a.put("after", "1").unwrap();
    group.converge().await;
    let complaint = |event: &multibee::Event| {
        use multibee::Event::{Diverged, PeerFault, Stuck};
        matches!(event, PeerFault { .. } | Stuck { .. } | Diverged { .. })
    };
    while let Ok(event) = events.try_recv() {
        assert!(!complaint(&event), "{event:?}");
    }
}

scenario!(s61_clear_while_an_update_is_arriving, run);

/// Two devices whose messages a test moves one by one.
struct Pair {
    dbs: [Multibee; 2],
    hands: [ByHand; 2],
    ids: [multibee_replica::ConnectionId; 2],
    now: Instant,
}

impl Pair {
    fn meet(group: &Group) -> Self {
        let dbs = [0, 1].map(|number| group.db(number).clone());
        let hands = dbs.each_ref().map(|db| ByHand::take(db).unwrap());
        let now = Instant::now();
        let ids = [hands[0].connect(Role::Initiator, now), hands[1].connect(Role::Responder, now)];
        Self { dbs, hands, ids, now }
    }

    /// Moves one message, of whoever has one; `false` if nobody has.
    fn step(&mut self) -> bool {
        for (from, to) in [(0, 1), (1, 0)] {
            self.hands[from].take_in();
            if let Some(bytes) = self.hands[from].transmit(self.ids[from]) {
                self.hands[to].receive(self.ids[to], &bytes, self.now);
                self.hands[to].take_in();
                return true;
            }
        }
        false
    }
}

/// B clears once, after so many messages of a catch-up: after each number of them the two end with the
/// same, and B goes on following.
async fn at_every_step(kind: Kind) {
    for at in (1..).step_by(if kind == Kind::Memory { 1 } else { 4 }) {
        let group = Group::new(kind, 2);
        let a = group.db(0).clone();
        (0..30).for_each(|i| a.put(format!("early/{i}"), "1").unwrap());
        let mut pair = Pair::meet(&group);
        let (mut count, mut was_cleared) = (0, false);
        while pair.step() {
            count += 1;
            if count % 7 == 3 && count < 60 {
                a.put(format!("late/{count}"), "1").unwrap();
            }
            if count == at {
                pair.dbs[1].reclaim(&ReclaimOptions::default()).unwrap();
                was_cleared = true;
            }
            assert!(count < 5000, "they come to rest");
        }
        a.put("after", "1").unwrap();
        while pair.step() {}
        crate::devices::check_same(&[group.db(0), group.db(1)]);
        assert_eq!(pair.hands[0].digest(), pair.hands[1].digest());
        assert!(group.db(1).get("after").unwrap().is_some(), "cleared after {at}");
        if !was_cleared {
            assert!(at > 10, "a catch-up takes more than {at} messages");
            break;
        }
    }
}

scenario!(s61_at_every_step, at_every_step);

/// Without being asked, a device clears what all members have seen, now and then, and forgets what was
/// deleted; it writes about as much as it would without.
async fn by_itself(kind: Kind) {
    let clock = Arc::new(TestClock::new());
    let mut group = Group::new(kind, 2);
    let tidy =
        |options: Options| Options { tidy_blocks: Some(64), forget_deletes: true, ..options };
    group.restart_as(0, tidy).await;
    group.restart_as(1, tidy).await;
    let [a, b] = [0, 1].map(|number| group.db(number).clone());
    assert_eq!(options(&clock).tidy_blocks, None);
    let _link = group.link(0, 1).await;
    for i in 0..300 {
        a.put(format!("{i}"), "1").unwrap();
        a.del(format!("{i}")).unwrap();
        if i % 25 == 0 {
            group.converge().await;
        }
    }
    group.converge().await;
    let mut dry = ReclaimOptions::default();
    dry.dry_run = true;
    for (db, name) in [(&a, "A"), (&b, "B")] {
        let left = |db: &Multibee| {
            let report = db.reclaim(&dry).unwrap();
            let staying = report.tombstones.held_back.iter().map(|one| one.count).sum::<u64>();
            (report.tombstones.count + staying, report.replica_blocks.count)
        };
        let tidied = async {
            while left(db).0 > 150 || left(db).1 > 150 {
                let mut changes = db.changes();
                a.put("go on", "1").unwrap();
                changes.changed().await.unwrap();
            }
        };
        let result = tokio::time::timeout(crate::devices::PATIENCE, tidied).await;
        assert!(result.is_ok(), "{name} keeps {:?}: {:?}", left(db), db.reclaim(&dry));
    }
    converge(&[&a, &b]).await;
}

scenario!(s61_by_itself, by_itself);
