//! The laws of merging, as properties of random histories with deletes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use multibee_merge::{
    Applied, Clock, Content, DeviceId, Digest, Dot, LastWriter, MergeStrategy, State, Time,
    Version, entry_digest,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens in a history of one key: a device writes, deletes, or reads another's state.
#[derive(Clone, Debug)]
enum Step {
    Put { device: usize, time: u64 },
    Delete { device: usize, time: u64 },
    Join { into: usize, from: usize },
}

const DEVICES: usize = 5;

fn step() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES;
    prop_oneof![
        (device.clone(), 0..20_u64).prop_map(|(device, time)| Step::Put { device, time }),
        (device.clone(), 0..20_u64).prop_map(|(device, time)| Step::Delete { device, time }),
        (device.clone(), device).prop_map(|(into, from)| Step::Join { into, from }),
    ]
}

/// Runs a history and returns every state that any device was ever in, and the causal past of
/// each write: the reference against which joins are judged.
struct History {
    now: Vec<State>,
    ever: Vec<State>,
    past: BTreeMap<Dot, BTreeSet<Dot>>,
    known: Vec<BTreeSet<Dot>>,
}

impl History {
    fn run(steps: &[Step]) -> Self {
        let unwritten = State::default();
        let mut history = Self {
            now: vec![unwritten.clone(); DEVICES],
            ever: vec![unwritten],
            past: BTreeMap::new(),
            known: vec![BTreeSet::new(); DEVICES],
        };
        let mut seqs = [0; DEVICES];
        for step in steps {
            match *step {
                Step::Put { device, time } => {
                    let value = format!("{device}:{}", seqs[device]);
                    history.write(device, &mut seqs, time, Content::Value(value.into()));
                }
                Step::Delete { device, time } => {
                    history.write(device, &mut seqs, time, Content::Deleted);
                }
                Step::Join { into, from } => {
                    history.now[into] = history.now[into].join(&history.now[from]);
                    let learnt = history.known[from].clone();
                    history.known[into].extend(learnt);
                }
            }
            history.ever.extend(history.now.iter().cloned());
            history.ever.dedup();
        }
        history
    }

    fn write(&mut self, device: usize, seqs: &mut [u64; DEVICES], time: u64, content: Content) {
        let dot = Dot { device: DeviceId::from_u64(device as u64), seq: seqs[device] };
        seqs[device] += 1;
        self.past.insert(dot, self.known[device].clone());
        self.known[device].insert(dot);
        let version = Version::plain(dot, Time::from_millis(time), content);
        self.now[device] = State::written(version, self.now[device].context().clone());
    }

    /// The writes that no known write has superseded: what the versions must be.
    fn maximal(&self, known: &BTreeSet<Dot>) -> Vec<Dot> {
        let superseded: BTreeSet<Dot> =
            known.iter().flat_map(|dot| self.past[dot].clone()).collect();
        known.difference(&superseded).copied().collect()
    }
}

fn dots(state: &State) -> Vec<Dot> {
    state.versions().iter().map(|version| version.dot).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Any two states that occur in one history join to the same, whoever asks.
    #[test]
    fn join_is_commutative(steps in vec(step(), 0..40), a in 0..1000_usize, b in 0..1000_usize) {
        let ever = History::run(&steps).ever;
        let (a, b) = (&ever[a % ever.len()], &ever[b % ever.len()]);
        prop_assert_eq!(a.join(b), b.join(a));
    }

    /// Grouping does not matter.
    #[test]
    fn join_is_associative(
        steps in vec(step(), 0..40), a in 0..1000_usize, b in 0..1000_usize, c in 0..1000_usize,
    ) {
        let ever = History::run(&steps).ever;
        let [a, b, c] = [a, b, c].map(|i| &ever[i % ever.len()]);
        prop_assert_eq!(a.join(b).join(c), a.join(&b.join(c)));
    }

    /// Joining again what is known already changes nothing.
    #[test]
    fn join_is_idempotent(steps in vec(step(), 0..40), a in 0..1000_usize, b in 0..1000_usize) {
        let ever = History::run(&steps).ever;
        let (a, b) = (&ever[a % ever.len()], &ever[b % ever.len()]);
        prop_assert_eq!(&a.join(a), a);
        prop_assert_eq!(a.join(b).join(b), a.join(b));
    }

    /// The versions are exactly the writes that no known write saw: nothing that was superseded
    /// comes back, nothing concurrent is lost, deletes included.
    #[test]
    fn versions_are_the_causally_greatest_writes(steps in vec(step(), 0..60)) {
        let history = History::run(&steps);
        for (state, known) in history.now.iter().zip(&history.known) {
            prop_assert_eq!(dots(state), history.maximal(known));
        }
    }

    /// When everyone has met everyone, in whatever order, all show the same with one digest.
    #[test]
    fn all_devices_converge(steps in vec(step(), 0..40), order in vec((0..DEVICES, 0..DEVICES), 0..12)) {
        let mut states = History::run(&steps).now;
        for (into, from) in order {
            states[into] = states[into].join(&states[from]);
        }
        let whole = states.iter().fold(State::default(), |sum, state| sum.join(state));
        for state in &states {
            let end = state.join(&whole);
            prop_assert_eq!(&end, &whole);
            let shown = |state: &State| LastWriter.resolve(b"k", state.versions());
            prop_assert_eq!(shown(&end), shown(&whole));
            prop_assert_eq!(entry_digest(b"k", end.versions()), entry_digest(b"k", whole.versions()));
        }
    }

    /// A context never lies: it covers every version, and joins of clocks obey the same laws.
    #[test]
    fn clocks_join(a in vec((0..5_u64, 0..9_u64), 0..6), b in vec((0..5_u64, 0..9_u64), 0..6)) {
        let clock = |entries: &[(u64, u64)]| -> Clock {
            let entry = |&(id, length): &(u64, u64)| {
                (DeviceId::from_u64(id), Applied { length, tag: None })
            };
            entries.iter().map(entry).collect()
        };
        let (a, b) = (clock(&a), clock(&b));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        prop_assert_eq!(&ab, &ba);
        prop_assert!(ab.covers_all(&a) && ab.covers_all(&b));
        let mut rebuilt = a.clone();
        rebuilt.merge(&b.beyond(&a));
        prop_assert_eq!(rebuilt, ab);
    }
}

/// A state of deletes only has no share in the digest, so collecting it changes nothing.
#[test]
fn deletes_alone_have_no_digest() {
    let dot = Dot { device: DeviceId::from_u64(1), seq: 3 };
    let deleted = Version::plain(dot, Time::default(), Content::Deleted);
    assert_eq!(entry_digest(b"k", &[deleted]), Digest::EMPTY);
}
