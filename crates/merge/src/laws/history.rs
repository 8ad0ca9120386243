//! Random histories of one key on several replicas.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Random, Workload};
use crate::{Content, DeviceId, Dot, MergeType, State, StateError, Time, Version};

/// Replicas in a history.
const REPLICAS: usize = 5;

/// Most steps of a history.
const STEPS_MAX: usize = 28;

/// A put that happened, and what its user knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its name.
    pub dot: Dot,
    /// When, by a clock that may be wrong.
    pub time: Time,
    /// What the user saw, if the key had a value.
    pub seen: Option<Bytes>,
    /// What the user put.
    pub put: Bytes,
    /// The writes and deletes that this one saw, directly or not.
    pub past: BTreeSet<Dot>,
    /// Those whose effect was still there: not ended by a delete of the key. With this one.
    pub counting: BTreeSet<Dot>,
}

/// Everything that happened, and what each replica knows in the end.
pub(super) struct History {
    /// Each replica's state.
    pub(super) now: Vec<State>,
    /// What each replica has learnt of.
    pub(super) known: Vec<BTreeSet<Dot>>,
    /// States on the way.
    pub(super) ever: Vec<State>,
    past: BTreeMap<Dot, BTreeSet<Dot>>,
    writes: BTreeMap<Dot, Write>,
    next: Vec<u64>,
}

impl History {
    /// A history of a mergeable type, or else of plain values.
    pub(super) fn run(
        subject: Option<(&dyn MergeType, &dyn Workload)>,
        random: &mut Random,
    ) -> Self {
        let mut history = Self {
            now: vec![State::default(); REPLICAS],
            known: vec![BTreeSet::new(); REPLICAS],
            ever: Vec::new(),
            past: BTreeMap::new(),
            writes: BTreeMap::new(),
            next: vec![0; REPLICAS],
        };
        for _ in 0..=random.below(STEPS_MAX) {
            let replica = random.below(REPLICAS);
            match random.below(8) {
                0 => history.delete(replica, subject, random),
                1..=3 => history.put(replica, subject, random),
                _ => history.exchange(replica, random.below(REPLICAS)),
            }
            history.ever.extend(history.now.get(replica).cloned());
        }
        history
    }

    /// The writes that none of `known` saw, in order.
    pub(super) fn greatest(&self, known: &BTreeSet<Dot>) -> Vec<Dot> {
        let superseded: BTreeSet<_> =
            known.iter().filter_map(|dot| self.past.get(dot)).flatten().collect();
        known.iter().filter(|dot| !superseded.contains(dot)).copied().collect()
    }

    /// What all replicas know together.
    pub(super) fn everything(&self) -> State {
        self.now.iter().fold(State::default(), |sum, state| sum.join(state))
    }

    /// The puts whose effect is there in a state: those of its live versions, oldest first.
    pub(super) fn counting(&self, state: &State) -> Vec<&Write> {
        let live = state.versions().iter().filter(|version| version.is_live());
        let dots: BTreeSet<Dot> = live
            .filter_map(|version| self.writes.get(&version.dot))
            .flat_map(|write| write.counting.iter().copied())
            .collect();
        let mut writes: Vec<_> = dots.iter().filter_map(|dot| self.writes.get(dot)).collect();
        writes.sort_by_key(|write| write.past.len());
        writes
    }

    fn exchange(&mut self, into: usize, from: usize) {
        let (Some(theirs), Some(learnt)) = (self.now.get(from), self.known.get(from)) else {
            return;
        };
        let (theirs, learnt) = (theirs.clone(), learnt.clone());
        if let (Some(state), Some(known)) = (self.now.get_mut(into), self.known.get_mut(into)) {
            *state = state.join(&theirs);
            known.extend(learnt);
        }
    }

    fn put(
        &mut self,
        replica: usize,
        subject: Option<(&dyn MergeType, &dyn Workload)>,
        random: &mut Random,
    ) {
        let Some(state) = self.now.get(replica).cloned() else { return };
        let (dot, time) = self.stamp(replica, random);
        let mut version =
            Version::plain(dot, time, Content::Value(random.number().to_string().into()));
        let mut counting = BTreeSet::from([dot]);
        let (mut seen, mut put) = (None, Bytes::new());
        if let Some((subject, workload)) = subject {
            let join = |a: &Bytes, b: &Bytes| subject.join(a, b);
            seen = joined(&state, &join).map(|joined| {
                let joined = joined.expect("states of this history join");
                subject.value(&joined).expect("states of this history show")
            });
            put = workload.next(random, seen.as_deref()).into();
            let base = base(&state, &join);
            let written = subject
                .write(base.as_deref(), &put, dot, time)
                .expect("the type takes what its workload puts");
            let value = subject.value(&written).expect("a written state shows");
            version = Version {
                kind: subject.kind(),
                state: Some(written),
                ..Version::plain(dot, time, Content::Value(value))
            };
            counting.extend(self.counting(&state).iter().map(|write| write.dot));
        }
        let past = self.known.get(replica).cloned().unwrap_or_default();
        self.writes.insert(dot, Write { dot, time, seen, put, past, counting });
        self.supersede(replica, version);
    }

    fn delete(
        &mut self,
        replica: usize,
        subject: Option<(&dyn MergeType, &dyn Workload)>,
        random: &mut Random,
    ) {
        let Some(state) = self.now.get(replica).cloned() else { return };
        let (dot, time) = self.stamp(replica, random);
        let mut version = Version::plain(dot, time, Content::Deleted);
        if let Some((subject, _)) = subject {
            let base = base(&state, &|a, b| subject.join(a, b));
            let left = subject.delete(base.as_deref(), dot).expect("a seen state is readable");
            version = Version { kind: subject.kind(), state: Some(left), ..version };
        }
        self.supersede(replica, version);
    }

    /// Dots grow, with gaps; times are as they please.
    fn stamp(&mut self, replica: usize, random: &mut Random) -> (Dot, Time) {
        let next = self.next.get_mut(replica).expect("there is such a replica");
        let seq = *next + random.below(3) as u64;
        *next = seq + 1;
        let dot = Dot { device: DeviceId::from_u64(replica as u64 + 1), seq };
        (dot, Time::from_millis(random.below(20) as u64))
    }

    fn supersede(&mut self, replica: usize, version: Version) {
        if let (Some(state), Some(known)) = (self.now.get_mut(replica), self.known.get_mut(replica))
        {
            self.past.insert(version.dot, known.clone());
            known.insert(version.dot);
            *state = State::written(version, state.context().clone());
        }
    }
}

type Join<'a> = &'a dyn Fn(&Bytes, &Bytes) -> Result<Bytes, StateError>;

/// The join of the live versions of a key, if there are any: what is shown.
pub(super) fn joined(state: &State, join: Join<'_>) -> Option<Result<Bytes, StateError>> {
    let live = state.versions().iter().filter(|version| version.is_live());
    join_all(live.filter_map(|version| version.state.as_ref()), join)
}

/// The join of all versions of a key, deletes too: what a write builds upon.
fn base(state: &State, join: Join<'_>) -> Option<Bytes> {
    let states = state.versions().iter().filter_map(|version| version.state.as_ref());
    join_all(states, join).map(|joined| joined.expect("states of this history join"))
}

fn join_all<'a>(
    mut states: impl Iterator<Item = &'a Bytes>,
    join: Join<'_>,
) -> Option<Result<Bytes, StateError>> {
    let first = states.next()?.clone();
    Some(states.try_fold(first, |sum, state| join(&sum, state)))
}
