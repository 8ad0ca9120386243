//! Sets from which only what was seen is removed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::codec::{Reader, Writer};
use crate::facts::{Fact, Facts};
use crate::json;
use crate::{Dot, MergeType, Renaming, StateError, Time, WriteError};

/// A set of JSON values: an add stays unless a remove saw it (an observed-remove set).
///
/// Its value is a JSON list without doubles, in the order of the elements' canonical texts. A put
/// adds the elements that were not seen and removes those that were seen and are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

/// An element, by its canonical text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Element(Arc<str>);

impl Set {
    /// The type's number in records.
    pub const KIND: u32 = 2;
}

impl Fact for Element {
    fn encode(&self, _previous: Option<&Self>, out: &mut Writer) {
        out.text(&self.0);
    }

    fn decode(_previous: Option<&Self>, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let text = reader.text()?;
        if !json::is_canonical(text) {
            return Err(StateError::Malformed { what: "an element" });
        }
        Ok(Self(text.into()))
    }

    fn rename(&self, _renaming: &Renaming) -> Self {
        self.clone()
    }
}

impl MergeType for Set {
    fn kind(&self) -> u32 {
        Self::KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        let facts = Facts::<Element>::decode(state)?;
        let elements: Vec<&str> = facts.iter().map(|(element, _)| &*element.0).collect();
        Ok(format!("[{}]", elements.join(",")).into())
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        let mut joined = Facts::<Element>::decode(a)?;
        joined.join(Facts::decode(b)?);
        Ok(joined.encode())
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        dot: Dot,
        time: Time,
    ) -> Result<Bytes, WriteError> {
        let Value::Array(elements) = json::parse(value)? else {
            return Err(WriteError::WrongShape { expected: "a JSON list" });
        };
        let wanted: BTreeSet<_> =
            elements.iter().map(|element| Element(json::canonical(element).into())).collect();
        let mut facts = Facts::decode_base(base)?;
        facts.write(wanted, dot, time)?;
        facts.encode_written()
    }

    fn delete(&self, base: Option<&[u8]>, dot: Dot) -> Result<Bytes, StateError> {
        let mut facts = Facts::<Element>::decode_base(base)?;
        facts.forget(dot);
        Ok(facts.encode())
    }

    fn rename(
        &self,
        state: &[u8],
        renaming: &Renaming,
        _base: Option<&[u8]>,
    ) -> Result<Bytes, StateError> {
        Facts::<Element>::renamed(state, renaming)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceId;

    /// A remove takes away what it saw, and not what was added again meanwhile.
    #[test]
    fn an_unseen_add_survives_a_remove() {
        let dot = |device, seq| Dot { device: DeviceId::from_u64(device), seq };
        let put = |base, value: &str, dot| {
            Set.write(base, value.as_bytes(), dot, Time::default()).unwrap()
        };
        let base = put(None, r#"["a", "b", "a"]"#, dot(1, 0));
        let without = put(Some(&base), r#"["b"]"#, dot(1, 1));
        let more = put(Some(&base), r#"["a","b",{"z":1,"c":2}]"#, dot(2, 0));
        let both = Set.join(&without, &more).unwrap();
        assert_eq!(Set.value(&both).unwrap(), r#"["b",{"c":2,"z":1}]"#);

        let again = put(Some(&put(Some(&base), "[]", dot(3, 0))), r#"["a"]"#, dot(3, 1));
        let all = Set.join(&both, &again).unwrap();
        assert_eq!(Set.value(&all).unwrap(), r#"["a",{"c":2,"z":1}]"#);
    }

    /// Bytes that no program writes are refused.
    #[test]
    fn bad_states_are_refused() {
        let dot = Dot { device: DeviceId::from_u64(1), seq: 0 };
        let good = Set.write(None, b"[1,2]", dot, Time::default()).unwrap();
        for len in 0..good.len() {
            assert!(Set.value(&good[..len]).is_err(), "{len}");
        }
        let longer = [&good[..], &[0]].concat();
        assert_eq!(Set.value(&longer), Err(StateError::NotCanonical));
        assert_eq!(Set.value(&[9]), Err(StateError::UnknownFormat { format: 9 }));
    }
}
