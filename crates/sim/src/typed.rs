//! What values of mergeable types come to, told by their history.
//!
//! Much simpler than the database's own states: every addition to a counter, and every statement
//! of an element or a field, is kept under the name of the write that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use multibee::{Counter, DeviceId, Dot, Map, Set};
use serde_json::Value;

/// When something was written, and by which write.
pub(crate) type Stamp = (u64, Dot);
/// An element of a set, or a field of a map and its value.
type Fact = (String, String);

/// What a write of a mergeable type knew and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The additions that count.
    Count(BTreeMap<Dot, i128>),
    /// What holds, and by which writes.
    Facts(Facts),
}

/// Facts, each with the writes that stated it, and all writes that anybody here has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    hold: BTreeMap<Fact, BTreeSet<Stamp>>,
    seen: BTreeSet<Dot>,
}

impl State {
    fn empty(kind: u32) -> Self {
        match kind {
            Counter::KIND => Self::Count(BTreeMap::new()),
            _ => Self::Facts(Facts::default()),
        }
    }

    /// The state after a put of `value`, a text that fits the type, by one who saw `base`.
    pub(crate) fn written(kind: u32, base: Option<&Self>, value: &[u8], stamp: Stamp) -> Self {
        let mut state = base.cloned().unwrap_or_else(|| Self::empty(kind));
        match &mut state {
            Self::Count(counts) => {
                let sum: i128 = counts.values().sum();
                counts.insert(stamp.1, number(value).unwrap_or_default() - sum);
            }
            Self::Facts(facts) => {
                let before = std::mem::take(&mut facts.hold);
                for fact in wanted(kind, value) {
                    let stamps = before.get(&fact).cloned();
                    facts.hold.insert(fact, stamps.unwrap_or_else(|| BTreeSet::from([stamp])));
                }
                facts.seen.insert(stamp.1);
            }
        }
        state
    }

    /// The writes of a device in these blocks are known by another id.
    pub(crate) fn rename(&mut self, from: DeviceId, to: DeviceId, blocks: &Range<u64>) {
        let is_meant = |dot: Dot| dot.device == from && blocks.contains(&dot.seq);
        let named = |dot: Dot| if is_meant(dot) { Dot { device: to, ..dot } } else { dot };
        match self {
            Self::Count(counts) => {
                let all = std::mem::take(counts).into_iter();
                *counts = all.map(|(dot, by)| (named(dot), by)).collect();
            }
            Self::Facts(facts) => {
                for stamps in facts.hold.values_mut() {
                    let all = std::mem::take(stamps).into_iter();
                    *stamps = all.map(|(time, dot)| (time, named(dot))).collect();
                }
                let seen = std::mem::take(&mut facts.seen).into_iter();
                facts.seen = seen.map(named).collect();
            }
        }
    }

    /// What two who come together know: additions all count; a fact is gone if one of them saw it
    /// and has it no more.
    pub(crate) fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Count(ours), Self::Count(theirs)) => {
                Self::Count(ours.iter().chain(theirs).map(|(dot, by)| (*dot, *by)).collect())
            }
            (Self::Facts(ours), Self::Facts(theirs)) => Self::Facts(ours.join(theirs)),
            _ => self.clone(),
        }
    }

    /// The value that users see.
    pub(crate) fn value(&self, kind: u32) -> Vec<u8> {
        let text = match self {
            Self::Count(counts) => counts.values().sum::<i128>().to_string(),
            Self::Facts(facts) if kind == Set::KIND => {
                let elements: Vec<_> = facts.hold.keys().map(|(text, _)| text.as_str()).collect();
                format!("[{}]", elements.join(","))
            }
            Self::Facts(facts) => facts.object(),
        };
        text.into_bytes()
    }
}

impl Facts {
    fn join(&self, other: &Self) -> Self {
        let mut hold: BTreeMap<Fact, BTreeSet<Stamp>> = BTreeMap::new();
        for (one, another) in [(self, other), (other, self)] {
            for (fact, stamps) in &one.hold {
                let still = another.hold.get(fact);
                let stays = stamps.iter().filter(|stamp| {
                    still.is_some_and(|still| still.contains(stamp))
                        || !another.seen.contains(&stamp.1)
                });
                let stays: Vec<_> = stays.copied().collect();
                if !stays.is_empty() {
                    hold.entry(fact.clone()).or_default().extend(stays);
                }
            }
        }
        Self { hold, seen: self.seen.union(&other.seen).copied().collect() }
    }

    /// Of each field the value that was written last.
    fn object(&self) -> String {
        let mut fields: BTreeMap<&str, (Option<Stamp>, &str)> = BTreeMap::new();
        for ((name, value), stamps) in &self.hold {
            let field = fields.entry(name).or_default();
            *field = (stamps.last().copied(), value.as_str()).max(*field);
        }
        let texts: Vec<_> =
            fields.iter().map(|(name, (_, value))| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", texts.join(","))
    }
}

fn wanted(kind: u32, value: &[u8]) -> BTreeSet<Fact> {
    match (kind, serde_json::from_slice(value)) {
        (Set::KIND, Ok(Value::Array(elements))) => {
            elements.iter().map(|element| (element.to_string(), String::new())).collect()
        }
        (Map::KIND, Ok(Value::Object(fields))) => {
            fields.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// A whole number.
pub(crate) fn number(value: &[u8]) -> Option<i128> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(device: u64, seq: u64) -> Stamp {
        (seq, Dot { device: DeviceId::from_u64(device), seq })
    }

    fn put(kind: u32, base: Option<&State>, value: &str, stamp: Stamp) -> State {
        State::written(kind, base, value.as_bytes(), stamp)
    }

    /// Concurrent additions add up; elements that somebody saw and removed are gone; of a field
    /// the later write stays.
    #[test]
    fn what_two_wrote_comes_together() {
        let base = put(Counter::KIND, None, "5", stamp(1, 1));
        let (up, down) = (put(Counter::KIND, Some(&base), "8", stamp(1, 2)), "3");
        let down = put(Counter::KIND, Some(&base), down, stamp(2, 1));
        assert_eq!(up.join(&down).value(Counter::KIND), b"6");

        let base = put(Set::KIND, None, "[1,2]", stamp(1, 1));
        let less = put(Set::KIND, Some(&base), "[2]", stamp(1, 2));
        let more = put(Set::KIND, Some(&base), "[1,2,3]", stamp(2, 2));
        assert_eq!(less.join(&more).value(Set::KIND), b"[2,3]");

        let base = put(Map::KIND, None, r#"{"a":1}"#, stamp(1, 1));
        let one = put(Map::KIND, Some(&base), r#"{"a":2,"b":1}"#, stamp(1, 2));
        let two = put(Map::KIND, Some(&base), r#"{"a":3}"#, stamp(2, 3));
        assert_eq!(one.join(&two).value(Map::KIND), br#"{"a":3,"b":1}"#);
    }
}
