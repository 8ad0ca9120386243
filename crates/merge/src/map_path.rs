//! The facts of which a map consists: "at this path is this".

use std::sync::Arc;

use crate::codec::{Reader, Writer};
use crate::facts::Fact;
use crate::item::ItemId;
use crate::json;
use crate::limits::MAX_DEPTH;
use crate::{Renaming, StateError};

/// One step down into a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// The field with this name.
    Field(Arc<str>),
    /// The list item with this name.
    Item(ItemId),
}

/// What a path holds by itself. What lies below it are facts of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Atom {
    /// An object, perhaps empty.
    Object,
    /// A list, perhaps empty.
    List,
    /// Null, a truth value, a number or a string, by its canonical JSON text.
    Scalar(Arc<str>),
}

/// One fact of a map. Facts are ordered by path, so that those below a path stand together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MapFact {
    pub(crate) path: Vec<Segment>,
    pub(crate) atom: Atom,
}

impl Fact for MapFact {
    fn encode(&self, previous: Option<&Self>, out: &mut Writer) {
        let previous = previous.map_or(&[][..], |fact| &fact.path);
        let shared = self.path.iter().zip(previous).take_while(|(a, b)| a == b).count();
        out.count(shared);
        out.count(self.path.len() - shared);
        for segment in self.path.iter().skip(shared) {
            match segment {
                Segment::Field(name) => {
                    out.byte(0);
                    out.text(name);
                }
                Segment::Item(id) => {
                    out.byte(1);
                    id.encode(out);
                }
            }
        }
        match &self.atom {
            Atom::Object => out.byte(0),
            Atom::List => out.byte(1),
            Atom::Scalar(text) => {
                out.byte(2);
                out.text(text);
            }
        }
    }

    fn decode(previous: Option<&Self>, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let previous = previous.map_or(&[][..], |fact| &fact.path);
        let shared = usize::try_from(reader.varint()?).ok().and_then(|n| previous.get(..n));
        let mut path = shared.ok_or(StateError::Malformed { what: "a path" })?.to_vec();
        for _ in 0..reader.varint()? {
            if path.len() == MAX_DEPTH {
                return Err(StateError::TooMany { what: "levels", limit: MAX_DEPTH });
            }
            path.push(match reader.byte()? {
                0 => Segment::Field(reader.text()?.into()),
                1 => Segment::Item(ItemId::decode(reader)?),
                _ => return Err(StateError::Malformed { what: "a step of a path" }),
            });
        }
        let atom = match reader.byte()? {
            0 => Atom::Object,
            1 => Atom::List,
            2 => Atom::Scalar(scalar(reader.text()?)?),
            _ => return Err(StateError::Malformed { what: "what a path holds" }),
        };
        Ok(Self { path, atom })
    }

    fn rename(&self, renaming: &Renaming) -> Self {
        let renamed = |segment: &Segment| match segment {
            Segment::Field(name) => Segment::Field(name.clone()),
            Segment::Item(id) => Segment::Item(id.rename(renaming)),
        };
        Self { path: self.path.iter().map(renamed).collect(), atom: self.atom.clone() }
    }
}

fn scalar(text: &str) -> Result<Arc<str>, StateError> {
    if text.starts_with(['{', '[']) || !json::is_canonical(text) {
        return Err(StateError::Malformed { what: "a scalar" });
    }
    Ok(text.into())
}
