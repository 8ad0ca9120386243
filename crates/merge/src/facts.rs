//! Facts that writes add and later writes take away: what sets and maps are made of.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::codec::{Reader, Writer};
use crate::limits::{MAX_FACTS, MAX_WRITTEN_FACTS, MAX_WRITTEN_STATE_LEN};
use crate::seen::Seen;
use crate::{Dot, Renaming, StateError, Time, WriteError};

/// What a fact says. Written after the one before it, with which it may share a beginning.
pub(crate) trait Fact: Clone + Ord {
    fn encode(&self, previous: Option<&Self>, out: &mut Writer);
    fn decode(previous: Option<&Self>, reader: &mut Reader<'_>) -> Result<Self, StateError>;

    /// The fact with other names for the writes in it.
    fn rename(&self, renaming: &Renaming) -> Self;
}

/// The writes that stated a fact, concurrently, and when.
pub(crate) type Stamps = BTreeMap<Dot, Time>;

/// An observed-remove set: each fact with the writes that stated it, in one context.
///
/// A stamp that one side lacks though its context covers the dot was removed there, by a write
/// that saw it; a removal takes away only what it saw. Each fact has at least one stamp, and the
/// context covers them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts<F> {
    seen: Seen,
    facts: BTreeMap<F, Stamps>,
}

impl<F> Default for Facts<F> {
    fn default() -> Self {
        Self { seen: Seen::default(), facts: BTreeMap::new() }
    }
}

impl<F: Fact> Facts<F> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&F, &Stamps)> {
        self.facts.iter()
    }

    /// Makes exactly these facts hold: those that held keep their stamps, new ones get this one.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(crate) fn write(
        &mut self,
        wanted: BTreeSet<F>,
        dot: Dot,
        time: Time,
    ) -> Result<(), WriteError> {
        if wanted.len() > MAX_WRITTEN_FACTS {
            return Err(WriteError::TooLarge { what: "facts", limit: MAX_WRITTEN_FACTS });
        }
        let mut held = std::mem::take(&mut self.facts);
        let stamped = |fact: F| {
            let stamps = held.remove(&fact).unwrap_or_else(|| Stamps::from([(dot, time)]));
            (fact, stamps)
        };
        self.facts = wanted.into_iter().map(stamped).collect();
        self.seen.record(dot);
        Ok(())
    }

    /// Leaves what a delete of the whole key carries.
    pub(crate) fn forget(&mut self, dot: Dot) {
        self.facts.clear();
        self.seen.forget(dot);
    }

    pub(crate) fn join(&mut self, mut other: Self) {
        for (fact, ours) in &mut self.facts {
            let theirs = other.facts.remove(fact).unwrap_or_default();
            ours.retain(|dot, _| theirs.contains_key(dot) || !other.seen.covers(*dot));
            for (dot, time) in theirs {
                match ours.get_mut(&dot) {
                    Some(known) => *known = time.max(*known),
                    None if self.seen.covers(dot) => {}
                    None => {
                        ours.insert(dot, time);
                    }
                }
            }
        }
        for (fact, mut theirs) in other.facts {
            theirs.retain(|dot, _| !self.seen.covers(*dot));
            self.facts.insert(fact, theirs);
        }
        self.facts.retain(|_, stamps| !stamps.is_empty());
        self.seen.join(&other.seen);
    }

    /// A state with other names for the writes that a renaming concerns.
    ///
    /// # Errors
    ///
    /// It is unreadable.
    pub(crate) fn renamed(state: &[u8], renaming: &Renaming) -> Result<Bytes, StateError> {
        let Self { mut seen, facts } = Self::decode(state)?;
        seen.rename(renaming);
        let facts = facts.into_iter().map(|(fact, stamps)| {
            let stamps = stamps.into_iter().map(|(dot, time)| (renaming.dot(dot), time));
            (fact.rename(renaming), stamps.collect())
        });
        Ok(Self { seen, facts: facts.collect() }.encode())
    }

    /// The one encoding of this state.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        self.seen.encode(&mut out);
        let stamps: BTreeSet<(Dot, Time)> =
            self.facts.values().flatten().map(|(dot, time)| (*dot, *time)).collect();
        out.count(stamps.len());
        for (dot, time) in &stamps {
            out.device(dot.device);
            out.varint(dot.seq);
            out.u64(time.as_u64());
        }
        let numbers: BTreeMap<_, _> = stamps.iter().zip(0_u64..).collect();
        out.count(self.facts.len());
        let mut previous = None;
        for (fact, stamps) in &self.facts {
            fact.encode(previous, &mut out);
            out.count(stamps.len());
            for (dot, time) in stamps {
                let number = numbers.get(&(*dot, *time));
                out.varint(*number.expect("every stamp of a fact was collected above"));
            }
            previous = Some(fact);
        }
        out.into_bytes().into()
    }

    /// The encoding, if a write may leave so much.
    ///
    /// # Errors
    ///
    /// It is too long.
    pub(crate) fn encode_written(&self) -> Result<Bytes, WriteError> {
        let state = self.encode();
        if state.len() > MAX_WRITTEN_STATE_LEN {
            let what = "a state's bytes";
            return Err(WriteError::TooLarge { what, limit: MAX_WRITTEN_STATE_LEN });
        }
        Ok(state)
    }

    pub(crate) fn decode(state: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(state)?;
        let seen = Seen::decode(&mut reader)?;
        let mut stamps = Vec::new();
        for _ in 0..reader.varint()? {
            let dot = Dot { device: reader.device()?, seq: reader.varint()? };
            if !seen.covers(dot) {
                return Err(StateError::Malformed { what: "a stamp outside of its context" });
            }
            stamps.push((dot, Time::from_u64(reader.u64()?)));
        }
        let mut facts = BTreeMap::new();
        let mut previous = None;
        for _ in 0..reader.varint()? {
            if facts.len() == MAX_FACTS {
                return Err(StateError::TooMany { what: "facts", limit: MAX_FACTS });
            }
            let fact = F::decode(previous.as_ref(), &mut reader)?;
            facts.insert(fact.clone(), read_stamps(&stamps, &mut reader)?);
            previous = Some(fact);
        }
        reader.end()?;
        let decoded = Self { seen, facts };
        if decoded.encode() != state { Err(StateError::NotCanonical) } else { Ok(decoded) }
    }

    /// The state to write upon: what was seen, or nothing.
    pub(crate) fn decode_base(base: Option<&[u8]>) -> Result<Self, StateError> {
        base.map_or_else(|| Ok(Self::default()), Self::decode)
    }
}

fn read_stamps(all: &[(Dot, Time)], reader: &mut Reader<'_>) -> Result<Stamps, StateError> {
    let mut stamps = Stamps::new();
    for _ in 0..reader.varint()? {
        let number = usize::try_from(reader.varint()?).ok();
        let stamp = number.and_then(|number| all.get(number));
        let (dot, time) = *stamp.ok_or(StateError::Malformed { what: "the number of a stamp" })?;
        stamps.insert(dot, time);
    }
    if stamps.is_empty() {
        return Err(StateError::Malformed { what: "a fact that nobody stated" });
    }
    Ok(stamps)
}
