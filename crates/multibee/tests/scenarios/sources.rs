//! Plain Hyperbees of programs that know nothing of Multibee.

use multibee::{Event, KeyPair, Log, LogKey, LogOptions, Multibee, RangeSpec, Role};
use multibee_btree::{Bee, BeeOptions};
use multibee_log::MemoryStorage;
use multibee_replica::{Endpoint, EventReceiver, Replicator, ReplicatorOptions};

use crate::devices::{Group, Kind, PATIENCE, contents, converge, text};
use crate::scenario;

/// A program with a Hyperbee, which serves it to whoever asks.
struct Program {
    bee: Bee,
    endpoint: Endpoint,
    _events: EventReceiver,
}

impl Program {
    fn new() -> Self {
        let keys = KeyPair::from_seed([77; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        let bee = Bee::open(log.clone(), BeeOptions::default()).unwrap();
        let mut replicator = Replicator::new(ReplicatorOptions::default(), [7; 32]);
        replicator.add_log(log);
        let (endpoint, _events) = Endpoint::new(replicator);
        Self { bee, endpoint, _events }
    }

    fn key(&self) -> LogKey {
        self.bee.log().key()
    }

    /// A device connects. Neither is told who the other is.
    fn meet(&self, db: &Multibee) -> multibee::Connection {
        let (near, far) = tokio::io::duplex(1 << 20);
        let endpoint = self.endpoint.clone();
        tokio::spawn(async move { endpoint.drive(near, Role::Responder).await });
        db.attach(far, Role::Initiator)
    }

    fn put(&self, key: impl AsRef<[u8]>, value: &'static str) {
        self.bee.put(key.as_ref(), Some(value)).unwrap();
        self.tell();
    }

    fn del(&self, key: &str) {
        assert!(self.bee.del(key.as_bytes()).unwrap());
        self.tell();
    }

    fn tell(&self) {
        let key = self.key();
        self.endpoint.with(|replicator| replicator.log_changed(&key));
    }
}

async fn until(db: &Multibee, what: &str, seen: impl Fn() -> bool) {
    let waiting = async {
        let mut changes = db.changes();
        while !seen() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn is_taken_in(db: &Multibee, program: &Program) -> bool {
    db.sources()
        .iter()
        .any(|one| one.key == program.key() && one.applied == program.bee.log().len())
}

/// A plain Hyperbee can be looked at before it is added, beside what is here, and added while it is.
async fn looked_at(kind: Kind) {
    let group = Group::new(kind, 1);
    let db = group.db(0).clone();
    let program = Program::new();
    program.put("bread", "rye");
    program.put("milk", "two");
    program.put([0xff, b't', 1], "looks reserved");
    db.put("milk", "of the device").unwrap();
    let _met = program.meet(&db);
    let work = async {
        let union = db.union(&[program.key()]).await.unwrap();
        assert_eq!(union.get("bread").await.unwrap().unwrap().value, "rye");
        let milk = union.get("milk").await.unwrap().unwrap();
        assert_eq!((&milk.value[..], milk.conflicts), (&b"of the device"[..], 1));
        assert_eq!(union.get([0xff, b't', 1]).await.unwrap().unwrap().value, "looks reserved");
        assert!(union.get("butter").await.unwrap().is_none());
        let mut range = union.range(RangeSpec::default());
        let mut keys = Vec::new();
        while let Some(entry) = range.next().await.unwrap() {
            keys.push(entry.key);
        }
        assert_eq!(keys, [&b"bread"[..], b"milk", &[0xff, b't', 1]]);
        assert_eq!(contents(&db).len(), 1, "nothing of it is merged");
        assert!(db.sources().is_empty());

        // Again, after nobody looked any more; and added while somebody does.
        drop((range, union));
        let union = db.union(&[program.key()]).await.unwrap();
        db.add_source(program.key(), None).unwrap();
        until(&db, "it is taken in", || is_taken_in(&db, &program)).await;
        assert_eq!(text(&db, "bread"), Some("rye".into()));
        drop(union);
        program.put("butter", "none");
        until(&db, "it is followed", || is_taken_in(&db, &program)).await;
        let union = db.union(&[program.key()]).await.unwrap();
        assert_eq!(union.get("butter").await.unwrap().unwrap().value, "none");
    };
    tokio::time::timeout(PATIENCE, work).await.expect("in time");
}

scenario!(looked_at_before_it_is_added, looked_at);

/// A meets the program, B only A: both have what is in the Hyperbee, and follow its changes; what
/// they write themselves is kept beside what it writes.
async fn taken_in(kind: Kind) {
    let mut group = Group::new(kind, 2);
    let program = Program::new();
    program.put("bread", "rye");
    program.put("milk", "two");
    program.put([], "no key");
    program.put([0xff, b't', 1], "looks reserved");
    program.put("both", "of the program");
    group.db(0).put("both", "of A").unwrap();
    let link = group.link(0, 1).await;
    converge(&[group.db(0), group.db(1)]).await;

    let met = program.meet(group.db(0));
    group.db(0).add_source(program.key(), Some("shopping".into())).unwrap();
    for number in [0, 1] {
        let db = group.db(number);
        until(db, "it is taken in", || is_taken_in(db, &program)).await;
    }
    group.converge().await;
    let b = group.db(1).clone();
    assert_eq!(contents(&b).len(), 5);
    assert_eq!(b.get([0xff, b't', 1]).unwrap().unwrap().value, "looks reserved");
    assert_eq!(text(&b, ""), Some("no key".into()));
    let source = b.sources().remove(0);
    assert_eq!((source.name.as_deref(), source.stuck), (Some("shopping"), None));
    assert_eq!(b.get("bread").unwrap().unwrap().device, source.id);
    // Neither saw the other's write: a device's counts as later.
    assert_eq!(text(&b, "both"), Some("of A".into()));
    assert_eq!(b.conflict("both").unwrap().unwrap().versions.len(), 2);

    // B changes what the program wrote; the program changes and deletes something else.
    b.put("bread", "white").unwrap();
    program.put("milk", "three");
    program.del("both");
    for number in [0, 1] {
        let db = group.db(number);
        until(db, "changes are taken in", || is_taken_in(db, &program)).await;
    }
    group.converge().await;
    assert_eq!(text(group.db(0), "bread"), Some("white".into()));
    assert_eq!(text(&b, "milk"), Some("three".into()));
    assert!(b.conflict("both").unwrap().is_none(), "what the program took back is no version");
    assert_eq!(text(&b, "both"), Some("of A".into()));
    drop(b);

    // After a restart it goes on where it was, until the source is removed.
    group.db(0).disconnect(met);
    link.cut().await;
    group.restart(0).await;
    program.put("milk", "four");
    program.meet(group.db(0));
    let a = group.db(0);
    until(a, "it goes on", || is_taken_in(a, &program)).await;
    assert_eq!(text(a, "milk"), Some("four".into()));
    a.remove_source(&program.key()).unwrap();
    program.put("milk", "five");
    let _link = group.link(0, 1).await;
    group.converge().await;
    assert_eq!(text(group.db(1), "milk"), Some("four".into()));
    assert!(group.db(1).sources().iter().all(|source| source.removed));
}

scenario!(a_plain_hyperbee_is_taken_in, taken_in);

/// A program that takes back what it wrote is not followed any further; what was read stays.
async fn cut(kind: Kind) {
    let group = Group::new(kind, 1);
    let a = group.db(0);
    let program = Program::new();
    (0..10).for_each(|i| program.put(format!("key/{i}"), "1"));
    let mut events = a.events();
    a.add_source(program.key(), None).unwrap();
    program.meet(a);
    until(a, "it is taken in", || is_taken_in(a, &program)).await;
    program.bee.log().truncate(5).unwrap();
    program.put("key/other", "2");
    until(a, "that it was cut is said", || a.sources().iter().any(|one| one.stuck.is_some())).await;
    let said = std::iter::from_fn(|| events.try_recv().ok())
        .any(|event| matches!(event, Event::Stuck { device, .. } if device == program.key()));
    assert!(said);
    assert_eq!(a.verify().unwrap().keys, 10);
    assert_eq!(text(a, "key/other"), None);
}

scenario!(a_source_that_was_cut_is_left_alone, cut);
